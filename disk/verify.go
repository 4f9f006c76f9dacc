package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
)

// MismatchError says that a block of the target isn't what was copied there,
// or that its source isn't what it was then.
type MismatchError struct {
	Offset, Length int64 // of the block on the target, bytes
	Source         bool  // it is the source that differs
}

// Error names the block.
func (e *MismatchError) Error() string {
	if e.Source {
		return fmt.Sprintf("the source of the %d bytes at target offset %d has changed since they were copied", e.Length, e.Offset)
	}
	return fmt.Sprintf("target offset %d: the %d bytes there aren't those that were copied", e.Offset, e.Length)
}

// ErrNotCopied is returned where a block that shall be verified has no digest.
var ErrNotCopied = errors.New("not copied yet")

// Verify reads dst back and compares it with o.Digests, which must be those of
// a finished copy of the same mappings. It doesn't read the images. Its error
// is a [*MismatchError] for the first block found to differ and wraps
// [ErrNotCopied] if the copy isn't finished. Holes of a raw file are zeros on
// the file system's word; all else is read from the device, not from memory,
// where the target knows how ([Raw] does).
func Verify(ctx context.Context, dst Target, maps []Mapping, o Options) (Stats, error) {
	ps, blocks, err := pieces(dst.Size(), maps)
	if err != nil {
		return Stats{}, err
	}
	if u, ok := dst.(interface{ Uncache() error }); ok {
		if err := u.Uncache(); err != nil {
			return Stats{}, fmt.Errorf("target: %w", err)
		}
	}
	img := asImage(dst)
	for i := range ps {
		ps[i].Source, ps[i].SourceOffset = img, ps[i].TargetOffset
	}
	return verify(ctx, dst.Size(), ps, blocks, o, false)
}

// VerifySource reads the images again and compares them with o.Digests, as
// [Verify] does with the target of size bytes: it tells whether the source has
// changed since it was copied. A [*MismatchError] names the target's offset.
func VerifySource(ctx context.Context, size int64, maps []Mapping, o Options) (Stats, error) {
	ps, blocks, err := pieces(size, maps)
	if err != nil {
		return Stats{}, err
	}
	return verify(ctx, size, ps, blocks, o, true)
}

// verify compares what the pieces read with o.Digests.
func verify(ctx context.Context, size int64, ps []piece, blocks int64, o Options, source bool) (Stats, error) {
	if o.Digests == nil {
		return Stats{}, errors.New("verifying needs the digests of the copy")
	}
	if err := o.Digests.matches(size, blocks); err != nil {
		return Stats{}, err
	}
	e := &engine{Options: o, sink: &verifier{digests: o.Digests, zero: fullZero(), source: source}}
	return e.run(ctx, ps, func(job) (bool, error) { return false, nil })
}

// asImage lets t be read like an image: with its holes, if it knows them.
func asImage(t Target) Image {
	if img, ok := t.(Image); ok {
		return img
	}
	return FromReaderAt(t, t.Size())
}

// verifier is the sink of Verify.
type verifier struct {
	digests *Digests
	zero    digest
	source  bool // the images are compared, not the target
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
	var want digest
	if err := v.digests.get(j.block, want[:]); err != nil {
		return err
	}
	if want == (digest{}) {
		return fmt.Errorf("target offset %d: %w", j.target(), ErrNotCopied)
	}
	if got != want {
		return &MismatchError{Offset: j.target(), Length: j.n, Source: v.source}
	}
	return nil
}
