package vmdk

import (
	"bytes"
	"fmt"
	"iter"
	"sync"

	"esxodus/disk"
)

// sparse is the content of a hosted sparse extent, compressed or not.
type sparse struct {
	name    string
	file    File
	h       Header
	footer  bool // the directory is in a footer, and tables have markers
	size    int64
	grain   int64 // bytes
	gd      []uint32
	tables  *tableCache
	scratch sync.Pool // of *inflater
}

// newSparse opens the sparse extent in f.
func (m *Image) newSparse(name string, f File) (*sparse, error) {
	b, err := head(f, sectorSize)
	if err != nil {
		return nil, err
	}
	s := &sparse{name: name, file: f, tables: m.tables}
	if s.h, err = ParseHeader(b); err != nil {
		return nil, err
	}
	if s.h.Directory < 0 {
		if err := s.readFooter(); err != nil {
			return nil, err
		}
	}
	s.size, s.grain = s.h.Capacity*sectorSize, s.h.GrainSize*sectorSize
	return s, s.loadDirectory(&m.gds)
}

// descriptor is the text embedded in the file.
func (s *sparse) descriptor() ([]byte, error) {
	n, at := s.h.DescriptorSize*sectorSize, s.h.DescriptorOffset*sectorSize
	if n > maxDescriptor || at > s.file.Size()-n {
		return nil, fmt.Errorf("%w: header offset 28: descriptor of %d bytes at %d, the most is %d, the file has %d",
			ErrFormat, n, at, maxDescriptor, s.file.Size())
	}
	b := make([]byte, n)
	if err := readFull(s.file, b, at); err != nil {
		return nil, fmt.Errorf("embedded descriptor: %w", err)
	}
	text, _, _ := bytes.Cut(b, []byte{0})
	return text, nil
}

// cursor looks grains up; it remembers the last table.
type cursor struct {
	s     *sparse
	index int64
	table *table
}

// at is where in the file the grain begins, in bytes, or 0 if it is zero. It
// is checked against the file's bounds.
func (c *cursor) at(grain int64) (int64, error) {
	s := c.s
	index := grain / tableEntries
	if s.gd[index] == 0 {
		return 0, nil
	}
	if c.table == nil || c.index != index {
		t, err := s.table(index)
		if err != nil {
			return 0, err
		}
		c.table, c.index = t, index
	}
	sector := int64(c.table[grain%tableEntries])
	if sector == 0 || sector == 1 && s.h.zeroGrains() {
		return 0, nil
	}
	need := int64(grainMarker + 1)
	if !s.h.Compressed() {
		need = s.length(grain)
	}
	switch {
	case sector < max(s.h.Overhead, 1):
		return 0, fmt.Errorf("%w: %s: grain %d is in sector %d, among the metadata (which ends at %d)",
			ErrFormat, s.name, grain, sector, max(s.h.Overhead, 1))
	case sector*sectorSize > s.file.Size()-need:
		return 0, fmt.Errorf("%w: %s: grain %d is in sector %d, beyond the file's end at %d bytes; it may be cut short",
			ErrFormat, s.name, grain, sector, s.file.Size())
	}
	return sector * sectorSize, nil
}

// length is how many bytes of the disk the grain holds; the last one may hold
// fewer than the others.
func (s *sparse) length(grain int64) int64 { return min(s.grain, s.size-grain*s.grain) }

func (s *sparse) read(p []byte, off int64) error {
	if s.h.Compressed() {
		return s.readCompressed(p, off)
	}
	c := cursor{s: s}
	for len(p) > 0 {
		at, n, err := s.run(&c, off, int64(len(p)))
		if err != nil {
			return err
		}
		if at == 0 {
			clear(p[:n])
		} else if err := readFull(s.file, p[:n], at); err != nil {
			return fmt.Errorf("%s: grain %d: %w", s.name, off/s.grain, err)
		}
		p, off = p[n:], off+n
	}
	return nil
}

// run says where the byte at off is in the file (0: it is zero), and how many
// bytes up to most follow it there.
func (s *sparse) run(c *cursor, off, most int64) (at, n int64, err error) {
	grain := off / s.grain
	skip := off % s.grain
	first, err := c.at(grain)
	if err != nil {
		return 0, 0, err
	}
	n = s.grain - skip
	for n < most {
		grain++
		next, err := c.at(grain)
		if err != nil {
			return 0, 0, err
		}
		if first == 0 && next != 0 || first != 0 && next != first+skip+n {
			break
		}
		n += s.grain
	}
	if first != 0 {
		at = first + skip
	}
	return at, min(n, most), nil
}

func (s *sparse) extents(off int64) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		c := cursor{s: s}
		for off < s.size {
			e, err := s.extent(&c, off)
			if !yield(e, err) || err != nil {
				return
			}
			off = e.Offset + e.Length
		}
	}
}

// extent is a run of data or zeros that begins at off. It ends with its grain
// table at the latest, so that no step takes long.
func (s *sparse) extent(c *cursor, off int64) (disk.Extent, error) {
	per := s.grain * tableEntries
	end := min((off/per+1)*per, s.size)
	if s.gd[off/per] == 0 {
		return disk.Extent{Offset: off, Length: end - off, Kind: disk.Zero}, nil
	}
	first, err := c.at(off / s.grain)
	if err != nil {
		return disk.Extent{}, err
	}
	e := disk.Extent{Offset: off, Kind: kindAt(first)}
	next := (off/s.grain + 1) * s.grain
	for ; next < end; next += s.grain {
		at, err := c.at(next / s.grain)
		if err != nil {
			return disk.Extent{}, err
		}
		if kindAt(at) != e.Kind {
			break
		}
	}
	e.Length = min(next, end) - off
	return e, nil
}

// kindAt is the kind of a grain by where it is in the file.
func kindAt(at int64) disk.Kind {
	if at == 0 {
		return disk.Zero
	}
	return disk.Data
}
