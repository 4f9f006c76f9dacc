package disktest

import (
	"context"
	"errors"
	"iter"
	"testing"

	"esxodus/disk"
)

// Runs collects what a file system in size bytes says it doesn't use, and checks
// that it ascends, doesn't touch, and lies inside. The error ends it.
func Runs(tb testing.TB, unused iter.Seq2[disk.Range, error], size int64) (runs []disk.Range, err error) {
	tb.Helper()
	end := int64(-1)
	for r, err := range unused {
		if err != nil {
			if r != (disk.Range{}) {
				tb.Errorf("%+v comes with the error %v; want nothing", r, err)
			}
			return runs, err
		}
		if r.Offset <= end || r.Length <= 0 || r.Length > size-r.Offset {
			tb.Fatalf("%+v follows on what ends at %d; want a run behind that, inside %d bytes", r, end, size)
		}
		end = r.Offset + r.Length
		runs = append(runs, r)
	}
	return runs, nil
}

// Each yields runs as a file system does.
func Each(runs []disk.Range) iter.Seq2[disk.Range, error] {
	return func(yield func(disk.Range, error) bool) {
		for _, r := range runs {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Cancelled cancels a context at the first run that a file system says it doesn't use, and
// returns how many come until it takes notice.
func Cancelled(tb testing.TB, unused func(ctx context.Context) iter.Seq2[disk.Range, error]) (runs int) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	var last error
	for _, err := range unused(ctx) {
		cancel()
		if last = err; err == nil {
			runs++
		}
	}
	if !errors.Is(last, context.Canceled) {
		tb.Errorf("Unused: %v in the end; want context.Canceled", last)
	}
	return runs
}
