package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Stream is a disk that comes once, from its beginning to its end.
type Stream interface {
	Size() int64 // bytes
	// Next is the next run of data. Runs ascend; what lies between them is zeros. It
	// returns [io.EOF] once all have come, and only if the stream is known to be whole.
	Next() (Run, error)
	// Packed appends the last run's bytes to buf, as they come.
	Packed(buf []byte) ([]byte, error)
	// Unpack fills p with a run's bytes from what Packed appended. Several goroutines
	// may call it.
	Unpack(p, packed []byte) error
}

// Run is a run of a stream's data. It doesn't cross the border of a block.
type Run struct {
	Offset, Length int64 // bytes of the disk
	Packed         int64 // bytes that come
}

// ErrStreamChanged is wrapped where a stream that comes again has other bytes than the
// first time: what lies on the target would be of two states of the disk.
var ErrStreamChanged = errors.New("the disk isn't what it was when the copy began: copy it from the start")

// StreamMappings are the mappings of a copy of s, for its digests.
func StreamMappings(s Stream) []Mapping { return Whole(FromReaderAt(nil, s.Size())) }

// CopyStream puts the stream's bytes at the start of dst, zeros wherever it has none, and
// returns when all of it is on stable storage. It is [Copy] for what can be read once
// only: with digests of an earlier run the stream comes from its beginning nevertheless,
// but what is on the target by then is compared, not written. Besides Copy's errors
// there is [ErrStreamChanged]. Stats.Read counts packed bytes.
func CopyStream(ctx context.Context, dst Target, s Stream, o Options) (Stats, error) {
	ps, blocks, err := pieces(dst.Size(), StreamMappings(s))
	if err != nil {
		return Stats{}, err
	}
	f := newFeeder(s, &o, ps)
	var st Stats
	if o.Digests == nil {
		st, err = unrecorded(ctx, dst, o, f.run)
	} else if err = o.Digests.matches(dst.Size(), blocks); err == nil {
		st, err = recorded(ctx, dst, o, f.run, func(w *writer) sink { return &again{w, o.Digests} })
	}
	st.Read += f.read
	return st, err
}

// batch is what a stream has of one block, packed.
type batch struct {
	stream Stream
	off    int64 // of the block on the disk, bytes
	runs   []Run
	bytes  []byte
	free   chan<- *batch
}

// unpack fills buf, zeros between the runs, and gives the batch back.
func (b *batch) unpack(buf []byte) error {
	defer func() { b.free <- b }()
	end, packed := int64(0), b.bytes
	for _, r := range b.runs {
		from := r.Offset - b.off
		clear(buf[end:from])
		end = from + r.Length
		if err := b.stream.Unpack(buf[from:end], packed[:r.Packed]); err != nil {
			return &ReadError{Offset: r.Offset, Length: r.Length, Err: err}
		}
		packed = packed[r.Packed:]
	}
	clear(buf[end:])
	return nil
}

// feeder makes jobs of a stream. The batches that it owns are all the memory that a
// stream takes.
type feeder struct {
	src    Stream
	o      *Options
	pieces []piece
	free   chan *batch
	read   int64 // packed bytes
}

func newFeeder(s Stream, o *Options, ps []piece) *feeder {
	n := 2*o.workers() + 1 // queued, in work, and the one being filled
	f := &feeder{src: s, o: o, pieces: ps, free: make(chan *batch, n)}
	for range n {
		f.free <- &batch{stream: s, free: f.free}
	}
	return f
}

// run is a [feed].
func (f *feeder) run(ctx context.Context, out chan<- job) error {
	s := &scheduler{out: out, done: nothing}
	b := builder{s: s, cur: job{piece: &f.pieces[0], block: f.pieces[0].first}}
	pos := int64(0)
	for pos < f.src.Size() {
		r, err := f.src.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &ReadError{Offset: pos, Err: err}
		}
		if err := checkRun(r, pos, f.src.Size()); err != nil {
			return err
		}
		if err := b.add(ctx, r.Offset-pos, true); err != nil {
			return err
		}
		if err := f.take(ctx, &b.cur, r); err != nil {
			return err
		}
		if pos = r.Offset + r.Length; pos == f.src.Size() {
			if err := f.ends(); err != nil {
				return err
			}
		}
		if err := b.add(ctx, r.Length, false); err != nil {
			return err
		}
	}
	if err := b.add(ctx, f.src.Size()-pos, true); err != nil {
		return err
	}
	return errors.Join(s.flush(ctx), s.run(ctx, f.pieces[1:])) // the target's rest
}

// ends makes sure that nothing follows the last run. The disk's last block is sent on
// only then: a stream that isn't known to be whole leaves digests that aren't.
func (f *feeder) ends() error {
	r, err := f.src.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return &ReadError{Offset: f.src.Size(), Err: err}
	}
	return checkRun(r, f.src.Size(), f.src.Size())
}

// checkRun reports whether r can follow what ended at pos.
func checkRun(r Run, pos, size int64) error {
	switch {
	case r.Length <= 0 || r.Packed < 0 || r.Offset < pos || r.Offset > size || r.Length > size-r.Offset:
		return fmt.Errorf("stream: impossible run of %d bytes at %d, after %d of %d bytes", r.Length, r.Offset, pos, size)
	case r.Offset/BlockSize != (r.Offset+r.Length-1)/BlockSize:
		return fmt.Errorf("stream: the run of %d bytes at %d crosses the border of a block", r.Length, r.Offset)
	}
	return nil
}

// take reads r, which begins where the job j has come to.
func (f *feeder) take(ctx context.Context, j *job, r Run) error {
	if err := f.o.Rate.wait(ctx, r.Packed); err != nil {
		return err
	}
	if j.packed == nil {
		select {
		case j.packed = <-f.free:
			j.packed.off, j.packed.runs, j.packed.bytes = j.source(), j.packed.runs[:0], j.packed.bytes[:0]
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b := j.packed
	was := len(b.bytes)
	var err error
	if b.bytes, err = f.src.Packed(b.bytes); err != nil {
		return &ReadError{Offset: r.Offset, Length: r.Length, Err: err}
	}
	if n := int64(len(b.bytes) - was); n != r.Packed {
		return fmt.Errorf("stream: %d bytes for the run at %d, which was to have %d", n, r.Offset, r.Packed)
	}
	b.runs = append(b.runs, r)
	f.read += r.Packed
	return nil
}

// again is the sink of a stream that may have come before.
type again struct {
	*writer
	digests *Digests
}

func (a *again) block(ctx context.Context, j job, buf []byte) (Stats, error) {
	known, err := a.known(j)
	if err != nil {
		return Stats{}, err
	}
	if !known[0].there() {
		return a.writer.block(ctx, j, buf)
	}
	return skipped(j, known[0], sha256.Sum256(buf))
}

func (a *again) zeros(ctx context.Context, j job) (Stats, error) {
	known, err := a.known(j)
	if err != nil {
		return Stats{}, err
	}
	if !slices.ContainsFunc(known, digest.there) {
		return a.writer.zeros(ctx, j)
	}
	var sum Stats
	for b := range blocksOf(j) {
		is := known[b.block-j.block]
		var st Stats
		switch {
		case !is.there():
			st, err = a.writer.zeros(ctx, b)
		case b.n == BlockSize:
			st, err = skipped(b, is, a.record.zero)
		default:
			st, err = skipped(b, is, zeroDigest(b.n))
		}
		sum.add(st)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// known are the digests of the job's blocks.
func (a *again) known(j job) ([]digest, error) {
	raw := make([]byte, (j.n+BlockSize-1)/BlockSize*int64(len(digest{})))
	if err := a.digests.get(j.block, raw); err != nil {
		return nil, err
	}
	out := make([]digest, 0, len(raw)/len(digest{}))
	for ; len(raw) > 0; raw = raw[len(digest{}):] {
		out = append(out, digest(raw))
	}
	return out, nil
}

// skipped is what a block comes to that is on the target already.
func skipped(j job, is, want digest) (Stats, error) {
	if is != want {
		return Stats{}, fmt.Errorf("image offset %d: the %d bytes there are others than before: %w", j.source(), j.n, ErrStreamChanged)
	}
	return Stats{Skipped: j.n}, nil
}
