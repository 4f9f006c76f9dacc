package inspect

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"esxodus/disk"
)

// maxRead is how many bytes of one disk a look may fetch. A real one needs a
// few MiB; a guest built to cost more gets no further.
const maxRead = 256 << 20

var errTooMuch = errors.New("gave up looking inside after reading 256 MiB of this disk")

// guarded is a disk that remembers why reading it failed, and stops when told
// to ([guarded.fail], when the ctx ends) and at maxRead. So parsers may treat every error alike, and Look can
// tell afterwards a guest's nonsense from a lost connection.
type guarded struct {
	img disk.Image

	mu      sync.Mutex
	fetched int64
	reads   int64
	err     error // the first failure of the transport, or ctx's
}

func (g *guarded) Size() int64                            { return g.img.Size() }
func (g *guarded) Extents() iter.Seq2[disk.Extent, error] { return g.img.Extents() }

func (g *guarded) ReadAt(p []byte, off int64) (int, error) {
	if err := g.admit(int64(len(p))); err != nil {
		return 0, err
	}
	n, err := g.img.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		g.fail(err)
	}
	return n, err
}

func (g *guarded) admit(n int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return g.err
	}
	if g.fetched += n; g.fetched > maxRead {
		return errTooMuch
	}
	g.reads++
	return nil
}

func (g *guarded) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
}

// spent reports whether more was to be read than may be.
func (g *guarded) spent() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fetched > maxRead
}

// failure is the transport's first error, nil when all was read.
func (g *guarded) failure(address string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		return nil
	}
	return fmt.Errorf("looking inside disk %s: %w", address, g.err)
}
