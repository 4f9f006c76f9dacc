package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
)

// MismatchError says that a block of the target isn't what was copied there.
type MismatchError struct {
	Offset, Length int64 // of the block on the target, bytes
}

// Error names the block.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("target offset %d: the %d bytes there differ from what was copied", e.Offset, e.Length)
}

// ErrNotCopied is returned if a block to verify has no digest.
var ErrNotCopied = errors.New("not copied yet")

// Verify reads dst back and compares it with o.Digests, which must be those of
// a finished copy of the same mappings. It doesn't read the images. Its error
// is a [*MismatchError] for the first block found to differ and wraps
// [ErrNotCopied] if the copy isn't finished. Holes of a raw file are zeros on
// the file system's word; all else is read from the device, not from memory,
// where the target knows how ([Raw] does).
func Verify(ctx context.Context, dst Target, maps []Mapping, o Options) (Stats, error) {
	ps, err := readBack(dst, maps, o)
	if err != nil {
		return Stats{}, err
	}
	e := &engine{Options: o, sink: &verifier{digests: o.Digests, zero: fullZero()}}
	return e.run(ctx, scheduled(ps, nothing))
}

// readBack returns the pieces of a finished copy so that what is read of them is
// what is on dst, and no longer in memory.
func readBack(dst Target, maps []Mapping, o Options) ([]piece, error) {
	ps, blocks, err := pieces(dst.Size(), maps)
	if err != nil {
		return nil, err
	}
	if o.Digests == nil {
		return nil, errors.New("verifying needs the digests of the copy")
	}
	if err := o.Digests.matches(dst.Size(), blocks); err != nil {
		return nil, err
	}
	if u, ok := dst.(interface{ Uncache() error }); ok {
		if err := u.Uncache(); err != nil {
			return nil, fmt.Errorf("target: %w", err)
		}
	}
	img := asImage(dst)
	for i := range ps {
		ps[i].Source, ps[i].SourceOffset = img, ps[i].TargetOffset
	}
	return ps, nil
}

// asImage lets t be read like an image: with its holes, if it knows them.
func asImage(t Target) Image {
	if img, ok := t.(Image); ok {
		return img
	}
	return FromReaderAt(t, t.Size())
}

// verifier is the sink of Verify, and with a tally of a comparison.
type verifier struct {
	digests *Digests
	later   *Digests // nil: what was copied is all that counts
	zero    digest
	tally   *tally // nil: the first block that differs ends it
}

func (v *verifier) hashed() bool { return true }

func (v *verifier) block(_ context.Context, j job, buf []byte) (Stats, error) {
	return Stats{}, v.compare(j, sha256.Sum256(buf))
}

func (v *verifier) zeros(_ context.Context, j job) (Stats, error) {
	for b := range blocksOf(j) {
		sum := v.zero
		if b.n != BlockSize {
			sum = zeroDigest(b.n)
		}
		if err := v.compare(b, sum); err != nil {
			return Stats{}, err
		}
	}
	return Stats{Zero: j.n}, nil
}

// blocksOf yields a job for each block of j.
func blocksOf(j job) iter.Seq[job] {
	return func(yield func(job) bool) {
		for left := j.n; left > 0; left -= BlockSize {
			b := j
			b.n = min(left, BlockSize)
			if !yield(b) {
				return
			}
			j.block++
			j.off += BlockSize
		}
	}
}

func (v *verifier) compare(j job, got digest) error {
	want, later, err := v.want(j.block)
	if err != nil {
		return err
	}
	if !want.there() {
		return fmt.Errorf("target offset %d: %w", j.target(), ErrNotCopied)
	}
	if v.tally != nil {
		v.tally.add(j, later, got == want)
		return nil
	}
	if got != want {
		return &MismatchError{Offset: j.target(), Length: j.n}
	}
	return nil
}

// want is the digest that a block is to have, all zero if none is known, and
// whether it is one of those that were recorded after the copy.
func (v *verifier) want(block int64) (sum digest, later bool, err error) {
	if v.later != nil {
		if err := v.later.get(block, sum[:]); err != nil || sum.there() {
			return sum, true, err
		}
	}
	err = v.digests.get(block, sum[:])
	return sum, false, err
}
