package xfs

import (
	"context"
	"iter"

	"esxodus/disk"
)

// Unused is a stand-in until the branch comes.
func (f *FS) Unused(context.Context) iter.Seq2[disk.Range, error] {
	return func(yield func(disk.Range, error) bool) { yield(disk.Range{}, &disk.UntrustedError{Why: "stub"}) }
}
