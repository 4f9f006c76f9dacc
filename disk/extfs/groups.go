package extfs

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"esxodus/disk"
	"esxodus/disk/internal/readat"
)

const (
	descriptorsRead = 256 << 10 // bytes of descriptors that are read at a time
	maxPieces       = 1 << 16   // of metadata

	flagNoBitmap = 0x2 // BLOCK_UNINIT
)

// group is a group's descriptor.
type group struct {
	number                     int64
	bitmap, inodeBitmap, table int64 // blocks; of inodes
	free                       int64 // clusters
	flags                      uint16
	sum                        uint32 // of its bitmap
}

// window is some neighbouring descriptors.
type window struct {
	f     *FS
	first int64 // group
	raw   []byte
}

func (w window) len() int64 { return int64(len(w.raw)) / w.f.descSize }

// at decodes the descriptor with an index.
func (w window) at(i int64) group {
	le := binary.LittleEndian
	b := w.raw[i*w.f.descSize:]
	g := group{
		number: w.first + i,
		bitmap: int64(le.Uint32(b)), inodeBitmap: int64(le.Uint32(b[4:])), table: int64(le.Uint32(b[8:])),
		free: int64(le.Uint16(b[12:])), flags: le.Uint16(b[18:]), sum: uint32(le.Uint16(b[24:])),
	}
	if w.f.incompat&incompat64Bit != 0 && w.f.descSize >= 64 {
		g.bitmap |= int64(le.Uint32(b[32:])) << 32
		g.inodeBitmap |= int64(le.Uint32(b[36:])) << 32
		g.table |= int64(le.Uint32(b[40:])) << 32
		g.free |= int64(le.Uint16(b[44:])) << 16
		g.sum |= uint32(le.Uint16(b[56:])) << 16
	}
	return g
}

// windows reads all descriptors. What it yields is good until the next.
func (f *FS) windows(ctx context.Context) iter.Seq2[window, error] {
	return func(yield func(window, error) bool) {
		buf := make([]byte, min(descriptorsRead, f.groups()*f.descSize))
		perBlock := f.blockSize / f.descSize
		for first, end := int64(0), f.groups(); first < end; {
			n := min(end-first, descriptorsRead/f.descSize)
			if f.incompat&incompatMetaBG != 0 {
				if plain := f.firstMeta * perBlock; first < plain {
					n = min(n, plain-first)
				} else {
					n = min(n, perBlock-first%perBlock)
				}
			}
			w := window{f: f, first: first, raw: buf[:n*f.descSize]}
			err := ctx.Err()
			if err == nil {
				err = readat.Full(f.r, w.raw, f.descriptorAt(first))
			}
			if err != nil {
				err = fmt.Errorf("descriptors of groups %d to %d: %w", first, first+n-1, err)
			}
			if !yield(w, err) || err != nil {
				return
			}
			first += n
		}
	}
}

// start is the first block of a group, count how many blocks it has.
func (f *FS) start(group int64) int64 { return f.firstData + group*f.blocksPer }
func (f *FS) count(group int64) int64 { return min(f.blocksPer, f.blocks-f.start(group)) }

// span is some blocks.
type span struct{ start, count int64 }

// base is what lies at a group's start: the superblock, group descriptors and
// room for more, or their copies.
func (f *FS) base(group int64) int64 {
	perBlock := f.blockSize / f.descSize
	super := int64(0)
	if f.hasSuper(group) {
		super = 1
		if group == 0 && f.firstData == 0 && f.blockSize == superOffset {
			super++ // bigalloc counts the boot block too
		}
	}
	plain := (f.groups() + perBlock - 1) / perBlock
	if f.incompat&incompatMetaBG != 0 {
		if plain = min(plain, f.firstMeta); group >= f.firstMeta*perBlock {
			if in := group % perBlock; in == 0 || in == 1 || in == perBlock-1 {
				super++
			}
			return super
		}
	}
	if super == 0 {
		return 0
	}
	return super + plain + f.accounting.reserved
}

// metadata is where all groups' bitmaps and tables of inodes lie.
type metadata struct {
	f       *FS
	foreign []span // those in other groups, at the least
	limit   int    // how many before they're joined
	bitmaps []bitmapSpan
	free    int64 // clusters, as the descriptors have it
}

// bitmapSpan is where bitmaps of consecutive groups lie, one after the other.
type bitmapSpan struct{ start, count, group int64 }

// survey reads all descriptors. Those of a clean file system, and of one that isn't,
// have checksums that fit: the kernel refuses it otherwise, before it replays anything.
func (f *FS) survey(ctx context.Context) (*metadata, error) {
	m := &metadata{f: f}
	for w, err := range f.windows(ctx) {
		if err != nil {
			return nil, err
		}
		for i := range w.len() {
			if err := f.checkSum(w, i); err != nil {
				return nil, err
			}
			if err := m.add(w.at(i)); err != nil {
				return nil, err
			}
		}
	}
	m.foreign = merge(m.foreign)
	slices.SortFunc(m.bitmaps, func(a, b bitmapSpan) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(m.bitmaps); i++ {
		if before := m.bitmaps[i-1]; before.start+before.count > m.bitmaps[i].start {
			return nil, fmt.Errorf("%w: block %d is the bitmap of two groups", ErrFormat, m.bitmaps[i].start)
		}
	}
	return m, nil
}

// checkSum compares a descriptor with its checksum.
func (f *FS) checkSum(w window, i int64) error {
	if !f.sums.metadata && !f.sums.desc {
		return nil
	}
	n, b := w.first+i, w.raw[i*f.descSize:][:f.descSize]
	if f.sums.ofDescriptor(n, b) != binary.LittleEndian.Uint16(b[descSum:]) {
		return &disk.UntrustedError{Why: fmt.Sprintf("the checksum of the descriptor of group %d is wrong", n)}
	}
	return nil
}

// tableBlocks is how long a group's table of inodes is.
func (f *FS) tableBlocks() int64 { return (f.perGroup*f.inodeSize + f.blockSize - 1) / f.blockSize }

// owned are the blocks of a group's bitmaps, of its table of inodes, and what lies at
// its start.
func (f *FS) owned(g group) [4]span {
	return [4]span{{g.bitmap, 1}, {g.inodeBitmap, 1}, {g.table, f.tableBlocks()}, {f.start(g.number), f.base(g.number)}}
}

// add notes a group.
func (m *metadata) add(g group) error {
	f := m.f
	from, to := f.start(g.number), f.start(g.number)+f.count(g.number)
	owned := f.owned(g)
	for _, r := range owned[:3] {
		if r.start <= 0 || r.start > f.blocks-r.count {
			return fmt.Errorf("%w: bitmap or inodes of group %d at block %d of %d", ErrFormat, g.number, r.start, f.blocks)
		}
		// Where groups share places for their metadata, a group's own joins it to one piece.
		if f.incompat&incompatFlexBG != 0 || r.start < from || r.start+r.count > to {
			m.foreign = append(m.foreign, r)
		}
	}
	if g.free > f.accounting.clusters {
		return fmt.Errorf("%w: group %d has %d clusters free", ErrFormat, g.number, g.free)
	}
	if len(m.foreign) > m.limit {
		m.foreign = merge(m.foreign)
		if m.limit = 2*len(m.foreign) + maxPieces/16; m.limit > 2*maxPieces {
			return &disk.UntrustedError{Why: "the metadata of its groups is scattered too widely"}
		}
	}
	m.free += g.free
	if !f.NeedsRecovery() {
		return nil
	}
	if last := len(m.bitmaps) - 1; last >= 0 && m.bitmaps[last].start+m.bitmaps[last].count == g.bitmap {
		m.bitmaps[last].count++ // groups come one after the other
		return nil
	}
	if m.bitmaps = append(m.bitmaps, bitmapSpan{g.bitmap, 1, g.number}); len(m.bitmaps) > maxPieces {
		return &disk.UntrustedError{Why: "the bitmaps of its groups are scattered too widely to be looked for in its journal"}
	}
	return nil
}

// merge sorts runs and joins those that touch.
func merge(rs []span) []span {
	slices.SortFunc(rs, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	n := 0
	for _, r := range rs {
		if n > 0 && rs[n-1].start+rs[n-1].count >= r.start {
			rs[n-1].count = max(rs[n-1].count, r.start+r.count-rs[n-1].start)
			continue
		}
		rs[n] = r
		n++
	}
	return rs[:n]
}

// groupOf is the group whose bitmap is in a block.
func (m *metadata) groupOf(block int64) (int64, bool) {
	i, found := slices.BinarySearchFunc(m.bitmaps, block, func(r bitmapSpan, block int64) int { return cmp.Compare(r.start, block) })
	if !found {
		i--
	}
	if i < 0 || block >= m.bitmaps[i].start+m.bitmaps[i].count {
		return 0, false
	}
	return m.bitmaps[i].group + block - m.bitmaps[i].start, true
}
