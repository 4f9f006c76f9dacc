package esxi

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadSoon: a pipe without a writer is empty, one with a writer is read to
// its end.
func TestReadSoon(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadSoon(pipe); err != nil || len(b) > 0 {
		t.Errorf("a pipe without a writer: %q, %v", b, err)
	}
	w, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := w.WriteString("key")
		done <- err
		_ = w.Close()
	}()
	if b, err := ReadSoon(pipe); err != nil || string(b) != "key" {
		t.Errorf("a pipe with a writer: %q, %v", b, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
