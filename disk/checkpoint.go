package disk

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	checkpointBytes   = 2 << 30         // of the target between two checkpoints
	checkpointTime    = 5 * time.Second // or this
	checkpointRecords = 8192            // or this many records, of 56 bytes
)

// record says that count blocks, each with the same digest, have been given to
// the target.
type record struct {
	block, count int64
	bytes        int64
	sum          digest
}

// checkpoint moves records into the digest file, each after the block that it
// speaks for: it collects some, has the target put everything on stable
// storage, and only then writes them.
type checkpoint struct {
	dst     Target
	digests *Digests
	zero    digest // of a whole block of zeros
	in      chan record
	pending []record
	bytes   int64
	buf     []byte // digests on their way to the file
}

func newCheckpoint(dst Target, d *Digests) *checkpoint {
	return &checkpoint{
		dst: dst, digests: d, zero: fullZero(),
		in: make(chan record, 1024), pending: make([]record, 0, checkpointRecords),
	}
}

// add hands r over. While a checkpoint is being made it is queued.
func (c *checkpoint) add(ctx context.Context, r record) error { return send(ctx, c.in, r) }

// run makes checkpoints until c.in is closed, and then a last one, unless ctx
// has ended: who cancels wants to be rid of it soon, and what is lost is a few
// seconds' work.
func (c *checkpoint) run(ctx context.Context) error {
	tick := time.NewTicker(checkpointTime)
	defer tick.Stop()
	for {
		select {
		case r, ok := <-c.in:
			if !ok && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !ok {
				return c.flush()
			}
			c.pending = append(c.pending, r)
			c.bytes += r.bytes
			if c.bytes < c.digests.every && len(c.pending) < checkpointRecords {
				continue
			}
		case <-tick.C:
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
}

// flush makes one checkpoint.
func (c *checkpoint) flush() error {
	if len(c.pending) == 0 {
		return nil
	}
	if err := syncTarget(c.dst); err != nil {
		return err
	}
	slices.SortFunc(c.pending, func(a, b record) int { return cmp.Compare(a.block, b.block) })
	for rest := c.pending; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].block == rest[n-1].block+rest[n-1].count {
			n++
		}
		if err := c.write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	c.pending, c.bytes = c.pending[:0], 0
	return c.digests.sync()
}

// write writes records whose blocks follow each other.
func (c *checkpoint) write(rs []record) error {
	c.buf = c.buf[:0]
	for _, r := range rs {
		for range r.count {
			c.buf = append(c.buf, r.sum[:]...)
		}
	}
	return c.digests.put(rs[0].block, c.buf)
}
