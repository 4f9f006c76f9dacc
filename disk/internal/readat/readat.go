// Package readat reads what must be there whole.
package readat

import (
	"errors"
	"fmt"
	"io"
)

// Full fills b from off on, or fails. Unlike a bare ReadAt it takes neither a
// short read for success nor the end of file after the last byte for an error; a
// reader that ends before that fails with [io.ErrUnexpectedEOF].
func Full(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%d of %d bytes at %d: %w", n, len(b), off, io.ErrUnexpectedEOF)
	}
	return err
}
