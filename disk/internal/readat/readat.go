// Package readat reads what must be there whole: what the readers of disk
// formats ask of an [io.ReaderAt].
package readat

import (
	"errors"
	"fmt"
	"io"
)

// Full fills b from off on, or fails; a reader that ends before that does so
// with [io.ErrUnexpectedEOF].
func Full(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading %d bytes at %d: %w", len(b), off, err)
}
