package run

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/journal"
	"esxodus/disk"
)

// TestOtherMask: a resume doesn't copy, and a comparison isn't made, under a mask that
// is sound and fits the disk, but isn't the one that the run found: the other disk's.
func TestOtherMask(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	j := w.Create()
	w.Tick = func(what string) error {
		if what == "read" && copying(t, j) {
			return errRead
		}
		return nil
	}
	if err, _ := apply(t.Context(), w, j); !errors.Is(err, ErrStopped) {
		t.Fatalf("Apply = %v, want it stopped", err)
	}
	w.Tick = func(string) error { return nil }
	first, second := j.Path("scsi0:0.unused"), j.Path("scsi0:1.unused")
	own, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	other, err := disk.LoadMask(second)
	if err != nil || other.Unused() == 0 {
		t.Fatalf("the second disk's mask hides %v, %v; the test wants that", other, err)
	}
	// Both are of one size. An admin is told to remove digests that don't fit.
	if err := errors.Join(other.Save(first), os.Remove(j.Path("scsi0:0.digests"))); err != nil {
		t.Fatal(err)
	}
	const want = "scsi0:0.unused: damaged: it isn't what this run found for the disk; roll back"
	if err, _ := apply(t.Context(), w, w.Open()); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), want) {
		t.Errorf("resume with the other disk's mask = %v; want %q", err, want)
	}
	if err := os.WriteFile(first, own, 0o600); err != nil {
		t.Fatal(err)
	}
	// The journal of an older esxodus doesn't name them.
	text, err := os.ReadFile(j.Path(journal.FileName))
	if err != nil || !bytes.Contains(text, []byte(`,"masks":{`)) {
		t.Fatalf("%v; the test wants a journal with masks", err)
	}
	text = bytes.Replace(text, []byte(`,"masks":{`), []byte(`,"nothing":{`), 1)
	if err := os.WriteFile(j.Path(journal.FileName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err, _ := apply(t.Context(), w, w.Open()); err != nil {
		t.Fatal(err)
	}
	w.CheckDone()
}
