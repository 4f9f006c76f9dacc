package extfs

import (
	"context"
	"fmt"
	"iter"

	"esxodus/disk"
	"esxodus/disk/internal/freemap"
	"esxodus/disk/internal/readat"
)

const (
	bitmapsRead = 1 << 20   // bytes of bitmaps that are read at a time
	bitmapsGap  = 128 << 10 // bytes between them that cost less than another request
)

// Unused yields the runs of bytes, from the start of the file system, that hold
// nothing: ascending, disjoint, not touching, each inside the size given to [Open].
//
// Of one that was unmounted the block bitmaps say it, as they're on the disk, if
// checksums and counts fit. Of one whose journal needs to be replayed they don't:
// what isn't used there may be when the journal has been replayed, and the other way
// round. What counts as used is all that the bitmaps on the disk or any copy of them
// in the journal have as used, so that where the journal ends doesn't matter. Both
// count the metadata of all groups as used, whatever bitmaps say of it.
//
// A [*disk.UntrustedError] says why it can't be told; an error that wraps
// [ErrFormat] says that it makes no sense. Others are of reading, or the context's.
// An error voids what was yielded before. It needs some 8 MiB of memory.
func (f *FS) Unused(ctx context.Context) iter.Seq2[disk.Range, error] {
	return freemap.Runs(func(yield func(disk.Range) bool) error { return f.unused(ctx, yield) })
}

func (f *FS) unused(ctx context.Context, yield func(disk.Range) bool) error {
	if err := f.trusted(); err != nil {
		return err
	}
	m, err := f.survey(ctx)
	if err != nil {
		return err
	}
	c, err := f.journalled(ctx, m)
	if err != nil {
		return err
	}
	s := newSweep(m, c, yield)
	for w, err := range f.windows(ctx) {
		if err != nil {
			return err
		}
		for i := int64(0); i < w.len(); {
			n, err := s.groups(ctx, w, i)
			if err != nil {
				return err
			}
			i += n
		}
	}
	return s.flush()
}

// sweep goes through the groups and puts together what they don't use.
type sweep struct {
	f       *FS
	foreign []span  // of other groups; those before the present group are dropped
	copies  *copies // what the journal has of bitmaps, nil if it is empty
	used    bitmap  // of the present group
	last    span    // unused, not yet yielded
	buf     []byte  // what bitmaps are read into
	yield   func(disk.Range) bool
}

func newSweep(m *metadata, c *copies, yield func(disk.Range) bool) *sweep {
	return &sweep{f: m.f, foreign: m.foreign, copies: c, yield: yield, used: make(bitmap, m.f.accounting.clusters/8)}
}

// unwritten reports whether a group's bitmap isn't on the disk but follows from
// where metadata lies. In a file system with a journal to replay, a group's bitmap may be
// in its place before the descriptor that says so; what else lies there can only
// make more of it count as used.
func (s *sweep) unwritten(g group) bool {
	return g.flags&flagNoBitmap != 0 && (s.f.sums.metadata || s.f.sums.desc) && s.copies == nil
}

// batch is how many groups from one on have bitmaps that lie close enough to be
// read at once, and the blocks to read, which may be none.
func (s *sweep) batch(w window, i int64) (n int64, blocks span) {
	size := s.f.blockSize
	for ; i+n < w.len(); n++ {
		g := w.at(i + n)
		if s.unwritten(g) {
			continue
		}
		end := blocks.start + blocks.count
		switch {
		case blocks.count == 0:
			blocks = span{g.bitmap, 1}
		case g.bitmap < end || (g.bitmap-end)*size > bitmapsGap || (g.bitmap+1-blocks.start)*size > bitmapsRead:
			return n, blocks
		default:
			blocks.count = g.bitmap + 1 - blocks.start
		}
	}
	return n, blocks
}

// groups adds what some groups don't use, from one on, and returns how many they are.
func (s *sweep) groups(ctx context.Context, w window, i int64) (int64, error) {
	n, blocks := s.batch(w, i)
	size := blocks.count * s.f.blockSize
	if int64(len(s.buf)) < size {
		s.buf = make([]byte, size)
	}
	b := s.buf[:size]
	err := ctx.Err()
	if err == nil {
		err = readat.Full(s.f.r, b, blocks.start*s.f.blockSize)
	}
	if err != nil {
		return 0, fmt.Errorf("bitmaps of groups %d to %d: %w", w.first+i, w.first+i+n-1, err)
	}
	for k := range n {
		if err := s.group(w.at(i+k), b, blocks.start); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// group adds what a group doesn't use. Its bitmap, if it has one, is among the
// blocks read, of which the first has a number.
func (s *sweep) group(g group, read []byte, first int64) error {
	f := s.f
	start, count := f.start(g.number), f.count(g.number)
	clusters := (count + f.accounting.ratio - 1) / f.accounting.ratio
	owned := f.owned(g)
	if s.unwritten(g) {
		clear(s.used)
		s.mark(owned[:], start, count)
	} else {
		b := read[(g.bitmap-first)*f.blockSize:][:f.blockSize]
		copy(s.used, b)
		if err := s.checkBitmap(g, b); err != nil {
			return err
		}
	}
	if n := s.used.unused(clusters); s.copies == nil && n != g.free {
		return &disk.UntrustedError{Why: fmt.Sprintf("the bitmap of group %d has %d clusters free, its descriptor %d", g.number, n, g.free)}
	}
	s.mark(owned[:], start, count)
	s.markForeign(start, count)
	if s.copies != nil {
		s.copies.mark(g.number, s.used)
	}
	return s.add(start, count, clusters)
}

// checkBitmap compares the bitmap of a clean file system with its checksum.
func (s *sweep) checkBitmap(g group, b []byte) error {
	if s.copies != nil || !s.f.sums.metadata {
		return nil
	}
	sum := crc32c(s.f.sums.seed, b[:s.f.accounting.clusters/8])
	if s.f.descSize < 64 {
		sum &= 0xffff
	}
	if sum != g.sum {
		return &disk.UntrustedError{Why: fmt.Sprintf("the checksum of the bitmap of group %d is wrong", g.number)}
	}
	return nil
}

// mark marks blocks as used as far as they lie in a group.
func (s *sweep) mark(rs []span, start, count int64) {
	for _, r := range rs {
		from, to := max(r.start-start, 0), min(r.start+r.count-start, count)
		if from < to {
			ratio := s.f.accounting.ratio
			s.used.set(from/ratio, (to+ratio-1)/ratio)
		}
	}
}

// markForeign marks the metadata of other groups.
func (s *sweep) markForeign(start, count int64) {
	for len(s.foreign) > 0 && s.foreign[0].start+s.foreign[0].count <= start {
		s.foreign = s.foreign[1:]
	}
	for i, r := range s.foreign {
		if r.start >= start+count {
			break
		}
		s.mark(s.foreign[i:i+1], start, count)
	}
}

// add adds the unused clusters of a group.
func (s *sweep) add(start, count, clusters int64) error {
	ratio := s.f.accounting.ratio
	for at := int64(0); ; {
		from := s.used.next(at, clusters, false)
		if from == clusters {
			return nil
		}
		at = s.used.next(from, clusters, true)
		r := span{start + from*ratio, min(at*ratio, count) - from*ratio}
		if s.last.start+s.last.count == r.start {
			s.last.count += r.count
			continue
		}
		if err := s.flush(); err != nil {
			return err
		}
		s.last = r
	}
}

// flush yields what was put together.
func (s *sweep) flush() error {
	if s.last.count == 0 {
		return nil
	}
	size := s.f.blockSize
	if !s.yield(disk.Range{Offset: s.last.start * size, Length: s.last.count * size}) {
		return freemap.ErrStopped
	}
	return nil
}
