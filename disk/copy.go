package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"math/bits"

	"golang.org/x/sync/errgroup"

	"esxodus/disk/internal/readat"
)

const (
	defaultWorkers = 4
	maxWorkers     = 8 // of BlockSize each: 32 MiB
)

// Options say how to copy. The zero value is good.
type Options struct {
	// Workers is how many blocks are in flight, 4 if 0 and never more than 8; with
	// Connections it is 8.
	Workers int
	// Connections limits how many of them are being read, if set.
	Connections *Connections
	// Progress gets the bytes of the target that are done with: copied,
	// cleared, or skipped because an earlier run did them. It is called from
	// several goroutines; the sum of the calls of a whole copy is the
	// target's size.
	Progress func(n int64)
	// Digests takes the hash of each block and says which blocks are there
	// already. Without it nothing is hashed and nothing can be resumed.
	Digests *Digests
	// Rate limits what is read from the image, if set.
	Rate *Rate
}

func (o *Options) workers() int {
	if o.Connections != nil {
		return maxWorkers
	}
	if o.Workers <= 0 {
		return defaultWorkers
	}
	return min(o.Workers, maxWorkers)
}

func (o *Options) progress(n int64) {
	if o.Progress != nil {
		o.Progress(n)
	}
}

// Stats count bytes of the target, and of the image in Read.
type Stats struct {
	Bytes   int64 // all that was handled, Skipped included
	Read    int64 // read from the image (by Verify: from the target)
	Written int64 // written as data
	Zero    int64 // made, or found to be, zero
	Skipped int64 // known to be there from an earlier run
}

func (s *Stats) add(t Stats) {
	s.Bytes += t.Bytes
	s.Read += t.Read
	s.Written += t.Written
	s.Zero += t.Zero
	s.Skipped += t.Skipped
}

// Copy puts the mappings' bytes on dst and zeros wherever none of them lies,
// and returns when all of it is on stable storage. Mappings that overlap or
// don't fit are refused before anything is written. The first error ends it
// and names the image offset; what was recorded in o.Digests by then need not
// be copied again. When ctx ends, Copy returns its cause after the reads and
// writes in flight. The statistics are valid in every case.
func Copy(ctx context.Context, dst Target, maps []Mapping, o Options) (Stats, error) {
	ps, blocks, err := pieces(dst.Size(), maps)
	if err != nil {
		return Stats{}, err
	}
	if o.Digests == nil {
		return unrecorded(ctx, dst, o, scheduled(ps, nothing))
	}
	if err := o.Digests.matches(dst.Size(), blocks); err != nil {
		return Stats{}, err
	}
	var skipped int64
	known := o.Digests.scan()
	skip := func(j job) (bool, error) {
		sum, err := known.at(j.block)
		if err != nil || !sum.there() {
			return false, err
		}
		skipped += j.n
		o.progress(j.n)
		return true, nil
	}
	st, err := recorded(ctx, dst, o, scheduled(ps, skip), func(w *writer) sink { return w })
	st.Skipped, st.Bytes = skipped, st.Bytes+skipped
	return st, err
}

// unrecorded copies what feed has to be copied, without digests.
func unrecorded(ctx context.Context, dst Target, o Options, feed feed) (Stats, error) {
	e := &engine{Options: o, sink: &writer{dst: dst}}
	st, err := e.run(ctx, feed)
	if err == nil {
		err = syncTarget(dst)
	}
	return st, err
}

// recorded copies what feed has to be copied and records the blocks' digests. into makes
// the sink out of the one that writes and records.
func recorded(ctx context.Context, dst Target, o Options, feed feed, into func(*writer) sink) (Stats, error) {
	c := newCheckpoint(dst, o.Digests)
	// A failed checkpoint must end the copy at once: nothing that follows
	// could be recorded.
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	kept := make(chan error, 1)
	go func() {
		err := c.run(ctx)
		if err != nil {
			cancel(err)
		}
		kept <- err
	}()
	e := &engine{Options: o, sink: into(&writer{dst: dst, record: c})}
	st, err := e.run(work, feed)
	close(c.in)
	if kerr := <-kept; err == nil {
		err = kerr
	}
	return st, err
}

// forgetful is what a target may offer to give back the memory that what is on
// stable storage takes.
type forgetful interface{ Forget() }

func syncTarget(dst Target) error {
	if err := dst.Sync(); err != nil {
		return fmt.Errorf("target: writing back to stable storage: %w", err)
	}
	if f, ok := dst.(forgetful); ok {
		f.Forget()
	}
	return nil
}

// sink is what becomes of a block once it is in memory.
type sink interface {
	// block handles the j.n bytes of buf. Bits of j.data that are not set
	// stand for zeros; that part of buf holds zeros if hashed() is true and is
	// undefined otherwise.
	block(ctx context.Context, j job, buf []byte) (Stats, error)
	// zeros handles a run of blocks that are all zero.
	zeros(ctx context.Context, j job) (Stats, error)
	hashed() bool
}

// feed sends the jobs of a whole target, in its order. It ends early with ctx.
type feed func(ctx context.Context, out chan<- job) error

// scheduled is the feed of those blocks of ps for which skip says no.
func scheduled(ps []piece, skip func(job) (bool, error)) feed {
	return func(ctx context.Context, out chan<- job) error {
		s := &scheduler{out: out, done: skip}
		return s.run(ctx, ps)
	}
}

// nothing is what is skipped where all is to be handled.
func nothing(job) (bool, error) { return false, nil }

// engine runs jobs through a sink: one goroutine feeds, some work.
type engine struct {
	Options
	sink sink
}

// run handles what feed sends.
func (e *engine) run(ctx context.Context, feed feed) (Stats, error) {
	n := e.workers()
	jobs := make(chan job, n)
	g, work := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(jobs)
		return feed(work, jobs)
	})
	stats := make([]Stats, n)
	for i := range n {
		g.Go(func() error {
			w := &worker{engine: e}
			defer func() { stats[i] = w.st }()
			return w.run(work, jobs)
		})
	}
	err := g.Wait()
	var sum Stats
	for _, st := range stats {
		sum.add(st)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return sum, err
}

// worker handles one block at a time in a buffer of its own.
type worker struct {
	*engine
	buf []byte
	st  Stats
}

func (w *worker) run(ctx context.Context, jobs <-chan job) error {
	for j := range jobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		st, err := w.handle(ctx, j)
		if err != nil {
			return err
		}
		st.Bytes = j.n
		w.st.add(st)
		w.progress(j.n)
	}
	return nil
}

func (w *worker) handle(ctx context.Context, j job) (Stats, error) {
	if j.data == 0 {
		return w.sink.zeros(ctx, j)
	}
	if w.buf == nil {
		w.buf = make([]byte, BlockSize)
	}
	buf := w.buf[:j.n]
	if err := w.fetch(ctx, j, buf); err != nil {
		return Stats{}, err
	}
	j.data = notZero(j.data, buf)
	return w.sink.block(ctx, j, buf)
}

// fetch fills buf when it is the job's turn.
func (w *worker) fetch(ctx context.Context, j job, buf []byte) error {
	if err := w.Connections.enter(ctx); err != nil {
		return err
	}
	before := w.st.Read
	err := w.fill(ctx, j, buf)
	w.Connections.leave(w.st.Read - before)
	return err
}

// fill puts the job's bytes into buf, where they may be data.
func (w *worker) fill(ctx context.Context, j job, buf []byte) error {
	if j.packed != nil {
		return j.packed.unpack(buf)
	}
	for r := range runs(j.data, j.n) {
		if !r.data {
			if w.sink.hashed() {
				clear(buf[r.from:r.to])
			}
			continue
		}
		if err := w.read(ctx, j, buf, r.from, r.to); err != nil {
			return err
		}
	}
	return nil
}

// read fills buf[from:to] with the job's bytes of the image.
func (w *worker) read(ctx context.Context, j job, buf []byte, from, to int64) error {
	if err := w.Rate.wait(ctx, to-from); err != nil {
		return err
	}
	off := j.source() + from
	if err := readat.Full(j.piece.Source, buf[from:to], off); err != nil {
		return &ReadError{Offset: off, Length: to - from, Err: err}
	}
	w.st.Read += to - from
	return nil
}

// span is a stretch of a block.
type span struct {
	from, to int64
	data     bool
}

// runs yields the stretches of n bytes whose bits in data are alike.
func runs(data uint64, n int64) iter.Seq[span] {
	return func(yield func(span) bool) {
		for from := int64(0); from < n; {
			i := uint(from / subSize)
			rest := data >> i
			set := rest&1 != 0
			if set {
				rest = ^rest
			}
			to := min(n, from+int64(bits.TrailingZeros64(rest))*subSize)
			if !yield(span{from, to, set}) {
				return
			}
			from = to
		}
	}
}

// notZero clears those bits of data whose bytes in buf are all zero.
func notZero(data uint64, buf []byte) uint64 {
	for m := data; m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m)
		if isZero(buf[i*subSize : min((i+1)*subSize, len(buf))]) {
			data &^= 1 << i
		}
	}
	return data
}

// isZero compares b with itself, one byte on: quick, and needs no zeros to
// compare with.
func isZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:])
}

// writer is the sink of a copy.
type writer struct {
	dst    Target
	record *checkpoint // nil: no digests are kept
}

func (w *writer) hashed() bool { return w.record != nil }

func (w *writer) block(ctx context.Context, j job, buf []byte) (Stats, error) {
	var st Stats
	for r := range runs(j.data, j.n) {
		off, n := j.target()+r.from, r.to-r.from
		if !r.data {
			if err := w.clear(off, n); err != nil {
				return st, err
			}
			st.Zero += n
			continue
		}
		if k, err := w.dst.WriteAt(buf[r.from:r.to], off); err != nil {
			return st, fmt.Errorf("writing %d bytes of image offset %d: target offset %d: %w", n, j.source()+r.from, off+int64(k), err)
		}
		st.Written += n
	}
	if w.record == nil {
		return st, nil
	}
	return st, w.record.add(ctx, record{block: j.block, count: 1, bytes: j.n, sum: sha256.Sum256(buf)})
}

func (w *writer) zeros(ctx context.Context, j job) (Stats, error) {
	if err := w.clear(j.target(), j.n); err != nil {
		return Stats{}, err
	}
	st := Stats{Zero: j.n}
	if w.record == nil {
		return st, nil
	}
	full, rest := j.n/BlockSize, j.n%BlockSize
	if full > 0 {
		r := record{block: j.block, count: full, bytes: full * BlockSize, sum: w.record.zero}
		if err := w.record.add(ctx, r); err != nil {
			return st, err
		}
	}
	if rest > 0 {
		return st, w.record.add(ctx, record{block: j.block + full, count: 1, bytes: rest, sum: zeroDigest(rest)})
	}
	return st, nil
}

func (w *writer) clear(off, n int64) error {
	if err := w.dst.Zero(off, n); err != nil {
		return fmt.Errorf("clearing %d bytes at target offset %d: %w", n, off, err)
	}
	return nil
}
