package volume

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"esxodus/fixtures"

	"golang.org/x/sys/unix"
)

// TestLVMLock: whoever asks LVM for a group waits until no template is there.
func TestLVMLock(t *testing.T) {
	if os.Getuid() != 0 {
		fixtures.Missing(t, "the lock of LVM is root's")
	}
	release, err := LockLVM(t.Context(), unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*lockPause)
	defer cancel()
	if _, err := LockLVM(ctx, unix.LOCK_SH); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lockLVM beside a template = %v, want to wait", err)
	}
	time.AfterFunc(5*lockPause, release)
	for range 2 { // which don't exclude each other
		shared, err := LockLVM(t.Context(), unix.LOCK_SH)
		if err != nil {
			t.Fatal(err)
		}
		defer shared()
	}
}
