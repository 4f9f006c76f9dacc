package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"esxodus/disk/internal/readat"
)

// Range is a run of bytes.
type Range struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// Comparison is what [CompareTarget] or [CompareSource] found. Its Stats count
// what was read.
type Comparison struct {
	Stats
	Blocks int64 // that were compared
	Later  int64 // of those, the ones that were compared with what [Record] read
	Differ int64 // blocks that aren't what their digest says
	First  Range // the first of these, where it was read; zero if there is none
	// FirstLater says that First was compared with what [Record] read.
	FirstLater bool
}

// CompareTarget reads dst back, as [Verify] does, but goes on where a block
// differs and counts those that do. A block that has a digest in later, made by
// [Record] of the same mappings, is compared with that one; later may be nil. The
// error is of what couldn't be read or compared; the comparison is then in part.
func CompareTarget(ctx context.Context, dst Target, maps []Mapping, later *Digests, o Options) (Comparison, error) {
	ps, err := readBack(dst, maps, o)
	if err != nil {
		return Comparison{}, err
	}
	return compare(ctx, ps, &verifier{digests: o.Digests, later: later}, o)
}

// CompareSource reads again what maps take of img, to a target of size bytes, and
// compares it with the digests of the finished copy in o.Digests. What maps take
// of other images, or of none, isn't read. First is in img.
func CompareSource(ctx context.Context, img Image, size int64, maps []Mapping, o Options) (Comparison, error) {
	ps, blocks, err := pieces(size, maps)
	if err != nil {
		return Comparison{}, err
	}
	if o.Digests == nil {
		return Comparison{}, errors.New("comparing needs the digests of the copy")
	}
	if err := o.Digests.matches(size, blocks); err != nil {
		return Comparison{}, err
	}
	ps = slices.DeleteFunc(ps, func(p piece) bool { return p.Source != img })
	return compare(ctx, ps, &verifier{digests: o.Digests}, o)
}

// compare runs ps through v, which counts.
func compare(ctx context.Context, ps []piece, v *verifier, o Options) (Comparison, error) {
	v.zero, v.tally = fullZero(), &tally{}
	e := &engine{Options: o, sink: v}
	st, err := e.run(ctx, scheduled(ps, nothing))
	found := v.tally.found
	found.Stats = st
	return found, err
}

// tally counts blocks that were compared, from several goroutines.
type tally struct {
	mu    sync.Mutex
	found Comparison
}

// add counts j, which was compared with a digest that was recorded later or not.
func (t *tally) add(j job, later, same bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found.Blocks++
	if later {
		t.found.Later++
	}
	if same {
		return
	}
	t.found.Differ++
	if at := j.source(); t.found.First.Length == 0 || at < t.found.First.Offset {
		t.found.First, t.found.FirstLater = Range{Offset: at, Length: j.n}, later
	}
}

// Apart reads n bytes of a at aOff and of b at bOff, and returns the range of a from
// the first byte to the last that isn't the same in b; nil if all are. n is at most
// a block.
func Apart(a io.ReaderAt, aOff int64, b io.ReaderAt, bOff, n int64) (*Range, error) {
	if n > BlockSize {
		return nil, fmt.Errorf("comparing %d bytes: more than a block", n)
	}
	in, other := make([]byte, n), make([]byte, n)
	if err := readat.Full(a, in, aOff); err != nil {
		return nil, &ReadError{Offset: aOff, Length: n, Err: err}
	}
	if err := readat.Full(b, other, bOff); err != nil {
		return nil, &ReadError{Offset: bOff, Length: n, Err: err}
	}
	var out *Range
	for i := range in {
		switch at := aOff + int64(i); {
		case in[i] == other[i]:
		case out == nil:
			out = &Range{Offset: at, Length: 1}
		default:
			out.Length = at + 1 - out.Offset
		}
	}
	return out, nil
}

// Record reads the blocks of dst that any of ranges touches, and puts their digests
// into o.Digests, which is of the same mappings: they tell what a later change of
// the target left there. Ranges ascend. What dst holds must be on stable storage.
func Record(ctx context.Context, dst Target, maps []Mapping, ranges []Range, o Options) error {
	ps, err := readBack(dst, maps, o)
	if err != nil {
		return err
	}
	untouched := func(j job) (bool, error) {
		for len(ranges) > 0 && ranges[0].Offset+ranges[0].Length <= j.target() {
			ranges = ranges[1:]
		}
		return len(ranges) == 0 || ranges[0].Offset >= j.target()+j.n, nil
	}
	e := &engine{Options: o, sink: &recorder{o.Digests}}
	if _, err := e.run(ctx, scheduled(ps, untouched)); err != nil {
		return err
	}
	return o.Digests.sync()
}

// recorder is the sink of Record.
type recorder struct{ digests *Digests }

func (r *recorder) hashed() bool { return true }

func (r *recorder) block(_ context.Context, j job, buf []byte) (Stats, error) {
	sum := sha256.Sum256(buf)
	return Stats{}, r.digests.put(j.block, sum[:])
}

func (r *recorder) zeros(_ context.Context, j job) (Stats, error) {
	for b := range blocksOf(j) {
		sum := zeroDigest(b.n)
		if err := r.digests.put(b.block, sum[:]); err != nil {
			return Stats{}, err
		}
	}
	return Stats{Zero: j.n}, nil
}
