package vmdk

import (
	"cmp"
	"io"
	"slices"
	"sync"

	"esxodus/disk/internal/readat"
)

const (
	// gapBytes is how much that isn't wanted is read rather than asking twice: over a
	// network a question costs more.
	gapBytes = 64 << 10
	// gatherBytes bounds one read of several pieces.
	gatherBytes = 4 << 20
)

// piece is some bytes that are to be read from a place.
type piece struct {
	to []byte
	at int64
}

//nolint:gochecknoglobals // its buffers are nobody's
var scratches = sync.Pool{New: func() any { b := make([]byte, gatherBytes); return &b }}

// gather reads pieces in as few reads as make sense: those that lie close to each
// other in one. A snapshot's grains are in the order of their writing.
func gather(r io.ReaderAt, pieces []piece) error {
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.at, b.at) })
	for len(pieces) > 0 {
		n, end := 1, pieces[0].at+int64(len(pieces[0].to))
		for ; n < len(pieces); n++ {
			next := pieces[n].at + int64(len(pieces[n].to))
			if pieces[n].at-end > gapBytes || next-pieces[0].at > gatherBytes {
				break
			}
			end = max(end, next)
		}
		if err := together(r, pieces[:n], end); err != nil {
			return err
		}
		pieces = pieces[n:]
	}
	return nil
}

// together reads pieces, none of which goes beyond end, in one read.
func together(r io.ReaderAt, pieces []piece, end int64) error {
	first := pieces[0]
	if len(pieces) == 1 {
		return readat.Full(r, first.to, first.at)
	}
	buf := scratches.Get().(*[]byte) //nolint:errcheck // the pool holds nothing else
	defer scratches.Put(buf)
	b := (*buf)[:end-first.at]
	if err := readat.Full(r, b, first.at); err != nil {
		return err
	}
	for _, p := range pieces {
		copy(p.to, b[p.at-first.at:])
	}
	return nil
}
