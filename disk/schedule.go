package disk

import (
	"context"
	"errors"
	"fmt"
)

const (
	// subSize is the step in which zeros are found inside a block, so that a
	// block's map fits in one word. It is also VMware's grain.
	subSize = BlockSize / 64

	// maxZeroRun is how many blocks of zeros become one job: few enough that
	// a device which writes them out in full answers a cancel soon.
	maxZeroRun = 16
)

// job is one block to handle, or several neighbouring ones that are all zero.
type job struct {
	piece *piece
	block int64  // number of the first block
	off   int64  // where it starts in the mapping
	n     int64  // bytes; more than BlockSize only where data is 0
	data  uint64 // bit i is set where bytes [i*subSize, (i+1)*subSize) may be data
	// packed has the bytes of a stream; nil: they are read of the piece's image.
	packed *batch
}

func (j *job) source() int64 { return j.piece.SourceOffset + j.off }
func (j *job) target() int64 { return j.piece.TargetOffset + j.off }

// scheduler turns pieces into jobs, in the target's order.
type scheduler struct {
	out  chan<- job
	done func(j job) (bool, error) // says whether a single block can be skipped
	zero job                       // a run of zero blocks not yet sent
}

// run sends the jobs of all pieces. It ends early with ctx.
func (s *scheduler) run(ctx context.Context, ps []piece) error {
	for i := range ps {
		if err := s.piece(ctx, &ps[i]); err != nil {
			return err
		}
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *scheduler) piece(ctx context.Context, p *piece) error {
	b := builder{s: s, cur: job{piece: p, block: p.first}}
	if p.Source == nil {
		return b.add(ctx, p.Length, true)
	}
	end := p.SourceOffset + p.Length
	pos := int64(-1) // where the next extent must start
	for e, err := range ExtentsFrom(p.Source, p.SourceOffset) {
		if err != nil {
			return &ReadError{Offset: max(pos, p.SourceOffset), Err: err}
		}
		if err := checkExtent(e, pos, p); err != nil {
			return err
		}
		pos = e.Offset + e.Length
		from := max(e.Offset, p.SourceOffset)
		if err := b.add(ctx, min(pos, end)-from, e.Kind != Data); err != nil {
			return err
		}
		if pos >= end {
			return nil
		}
	}
	return fmt.Errorf("extents of the image end at %d, but %d bytes at %d are to be copied", max(pos, 0), p.Length, p.SourceOffset)
}

// checkExtent reports whether e can follow an extent that ended at pos (-1: e is
// the first one).
func checkExtent(e Extent, pos int64, p *piece) error {
	size := p.Source.Size()
	if e.Length <= 0 || e.Offset < 0 || e.Offset > size || e.Length > size-e.Offset {
		return fmt.Errorf("extents of the image: impossible extent of %d bytes at %d in %d bytes", e.Length, e.Offset, size)
	}
	if e.Kind == Unused && maskOf(p.Source) == "" {
		return fmt.Errorf("extents of the image: %d bytes at %d are unused, but no mask is named for the digests", e.Length, e.Offset)
	}
	first := pos < 0 && e.Offset <= p.SourceOffset && p.SourceOffset < e.Offset+e.Length
	if !first && e.Offset != pos {
		return fmt.Errorf("extents of the image: one starts at %d where %d was next", e.Offset, max(pos, p.SourceOffset))
	}
	return nil
}

// builder gathers one piece's extents into blocks.
type builder struct {
	s   *scheduler
	cur job // the block being filled; n counts what is known of it
}

// add appends n bytes that are data, or known to be zero.
func (b *builder) add(ctx context.Context, n int64, zero bool) error {
	for n > 0 {
		room := min(BlockSize, b.cur.piece.Length-b.cur.off) - b.cur.n
		step := min(n, room)
		if !zero {
			b.cur.data |= mask(b.cur.n, b.cur.n+step)
		}
		b.cur.n += step
		n -= step
		if step < room {
			return nil
		}
		if err := b.s.add(ctx, b.cur); err != nil {
			return err
		}
		b.cur = job{piece: b.cur.piece, block: b.cur.block + 1, off: b.cur.off + b.cur.n}
	}
	return nil
}

// mask has the bits set of all sub-blocks that [from, to) touches; from < to.
func mask(from, to int64) uint64 {
	lo, hi := uint(from/subSize), uint((to-1)/subSize)
	return (^uint64(0) >> (63 - hi)) &^ (1<<lo - 1)
}

// add sends one whole block on, or keeps it if it is zero.
func (s *scheduler) add(ctx context.Context, j job) error {
	if skip, err := s.done(j); skip || err != nil {
		return errors.Join(err, s.flush(ctx))
	}
	if j.data != 0 {
		if err := s.flush(ctx); err != nil {
			return err
		}
		return send(ctx, s.out, j)
	}
	if s.zero.n == 0 {
		s.zero = j
	} else {
		s.zero.n += j.n
	}
	if s.zero.n >= maxZeroRun*BlockSize {
		return s.flush(ctx)
	}
	return ctx.Err()
}

// flush sends the zero blocks kept so far.
func (s *scheduler) flush(ctx context.Context) error {
	if s.zero.n == 0 {
		return nil
	}
	j := s.zero
	s.zero = job{}
	return send(ctx, s.out, j)
}

func send[T any](ctx context.Context, c chan<- T, v T) error {
	select {
	case c <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
