package disk

import (
	"cmp"
	"fmt"
	"slices"
)

// piece is a mapping with its place in the numbering of blocks. The pieces of
// a target ascend, touch and cover it.
type piece struct {
	Mapping
	first int64 // number of its first block
}

func (p *piece) blocks() int64 { return (p.Length + BlockSize - 1) / BlockSize }

// pieces checks maps against a target of size bytes and against each other,
// and fills what they leave open with zeros. It also returns the number of
// blocks.
func pieces(size int64, maps []Mapping) ([]piece, int64, error) {
	sorted := slices.Clone(maps)
	slices.SortStableFunc(sorted, func(a, b Mapping) int { return cmp.Compare(a.TargetOffset, b.TargetOffset) })

	var out []piece
	var end, blocks int64
	add := func(m Mapping) {
		p := piece{Mapping: m, first: blocks}
		blocks += p.blocks()
		end = m.TargetOffset + m.Length
		out = append(out, p)
	}
	for _, m := range sorted {
		if err := m.check(size); err != nil {
			return nil, 0, err
		}
		if m.TargetOffset < end {
			return nil, 0, fmt.Errorf("mapping to target offset %d overlaps the one before it, which ends at %d", m.TargetOffset, end)
		}
		if m.TargetOffset > end {
			add(Mapping{TargetOffset: end, Length: m.TargetOffset - end})
		}
		add(m)
	}
	if end < size {
		add(Mapping{TargetOffset: end, Length: size - end})
	}
	return out, blocks, nil
}

// check returns what is wrong with m on a target of size bytes.
func (m Mapping) check(size int64) error {
	if m.SourceOffset < 0 || m.TargetOffset < 0 || m.Length <= 0 {
		return fmt.Errorf("mapping of %d bytes at %d to target offset %d: impossible numbers", m.Length, m.SourceOffset, m.TargetOffset)
	}
	if (m.SourceOffset|m.TargetOffset|m.Length)%SectorSize != 0 {
		return fmt.Errorf("mapping of %d bytes at %d to target offset %d: not whole sectors of %d bytes",
			m.Length, m.SourceOffset, m.TargetOffset, SectorSize)
	}
	if m.TargetOffset > size || m.Length > size-m.TargetOffset {
		return fmt.Errorf("mapping of %d bytes to target offset %d: the target has only %d bytes", m.Length, m.TargetOffset, size)
	}
	if m.Source == nil {
		return nil
	}
	if have := m.Source.Size(); m.SourceOffset > have || m.Length > have-m.SourceOffset {
		return fmt.Errorf("mapping of %d bytes at image offset %d: the image has only %d bytes", m.Length, m.SourceOffset, have)
	}
	return nil
}
