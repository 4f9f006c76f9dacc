package appliance

import (
	"fmt"
	"io"
)

// Sizes of pieces, in bytes. Each costs a call, so a file that is read from one
// end to the other is read in ever larger ones.
const (
	smallFile = 8 << 20 // and less: read at once
	minPiece  = 64 << 10
	maxPiece  = 8 << 20
)

// pieces reads something piece by piece, and remembers the last one.
type pieces struct {
	size  int64
	fetch func(off, length int64) ([]byte, error)
	at    int64 // of the piece
	piece []byte
	next  int64 // how much is fetched next, if it follows
}

// ReadAt implements [io.ReaderAt].
func (p *pieces) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		if off >= p.size {
			return n, io.EOF
		}
		if err := p.load(off, int64(len(b)-n)); err != nil {
			return n, err
		}
		m := copy(b[n:], p.piece[off-p.at:])
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

// load sees to it that the piece holds the byte at an offset; want is how much
// is asked for.
func (p *pieces) load(off, want int64) error {
	end := p.at + int64(len(p.piece))
	if off >= p.at && off < end {
		return nil
	}
	length := max(minPiece, min(want, maxPiece))
	if off == end && p.piece != nil {
		length = max(length, p.next)
	}
	if p.size <= smallFile {
		off, length = 0, p.size
	}
	length = min(length, p.size-off)
	b, err := p.fetch(off, length)
	if err != nil {
		return err
	}
	if int64(len(b)) != length {
		return fmt.Errorf("%d bytes at %d, but %d were asked for", len(b), off, length)
	}
	p.at, p.piece, p.next = off, b, min(2*length, maxPiece)
	return nil
}
