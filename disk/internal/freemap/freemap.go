// Package freemap has what the readers of file systems' maps of free space share.
package freemap

import (
	"errors"
	"fmt"
	"iter"

	"esxodus/disk"
)

// ErrStopped ends a walk whose results aren't wanted any more.
var ErrStopped = errors.New("stopped")

// Runs are those that a walk yields. An error of the walk's other than [ErrStopped]
// comes last. yield returns false when no more is wanted: then the walk ends with
// ErrStopped.
func Runs(walk func(yield func(disk.Range) bool) error) iter.Seq2[disk.Range, error] {
	return func(yield func(disk.Range, error) bool) {
		err := walk(func(r disk.Range) bool { return yield(r, nil) })
		if err != nil && !errors.Is(err, ErrStopped) {
			yield(disk.Range{}, err)
		}
	}
}

// Untrusted is a [*disk.UntrustedError].
func Untrusted(format string, args ...any) error {
	return &disk.UntrustedError{Why: fmt.Sprintf(format, args...)}
}

// Untrusting makes a [*disk.UntrustedError] of an error that says that bytes make no
// sense, and leaves others as they are.
func Untrusting(err, malformed error) error {
	if errors.Is(err, malformed) {
		return &disk.UntrustedError{Why: err.Error()}
	}
	return err
}
