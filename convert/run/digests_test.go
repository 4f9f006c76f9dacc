package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/plan/plantest"
	"esxodus/convert/runs"
	"esxodus/disk"
)

// copied is a run whose disks are copied and not verified yet.
func copied(t *testing.T) (*converttest.World, string) {
	t.Helper()
	w := converttest.New(t)
	j := w.Create()
	looks := 0
	w.Tick = func(what string) error {
		if what == "inventory" {
			if looks++; looks == 2 { // after the copies
				return errRead
			}
		}
		return nil
	}
	if err, _ := apply(t.Context(), w, j); !errors.Is(err, ErrStopped) {
		t.Fatalf("Apply = %v, want it stopped", err)
	}
	w.Tick = func(string) error { return nil }
	return w, j.Path("scsi0:0.digests")
}

// TestDamagedDigests: a digest file that can't be read, or lies, costs no copy
// of what was copied. Without it that disk is copied again.
func TestDamagedDigests(t *testing.T) {
	t.Parallel()
	const header = 4096
	for name, change := range map[string]func(path string, b []byte) error{
		"zeros":       func(path string, b []byte) error { return os.WriteFile(path, make([]byte, len(b)), 0o600) },
		"empty":       func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"cut":         func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)-1], 0o600) },
		"another's":   func(path string, b []byte) error { b[40] ^= 1; return os.WriteFile(path, b, 0o600) },
		"a wrong sum": func(path string, b []byte) error { b[header] ^= 1; return os.WriteFile(path, b, 0o600) },
		"a directory": func(path string, _ []byte) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"gone":        func(path string, _ []byte) error { return os.Remove(path) },
		"a link to nowhere": func(path string, _ []byte) error {
			return errors.Join(os.Remove(path), os.Symlink("/nowhere/at/all", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, path := copied(t)
			if err := change(path, converttest.Must(os.ReadFile(path))); err != nil {
				t.Fatal(err)
			}
			err, _ := apply(t.Context(), w, w.Open())
			if name != "gone" {
				if !errors.Is(err, ErrStopped) || errors.Is(err, ErrUndone) || !strings.Contains(err.Error(), path) {
					t.Errorf("Apply = %v; want it stopped because of %s", err, path)
				}
				for _, d := range plantest.VM().Disks {
					file := filepath.Join(w.Storage(), "web_"+strings.Replace(d.Address(), ":", "-", 1))
					if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, w.Want(d.Path)) {
						t.Errorf("%s isn't the copy any more (%v)", file, err)
					}
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				err, _ = apply(t.Context(), w, w.Open())
			}
			if err != nil {
				t.Errorf("Apply without the digests = %v", err)
			}
			w.CheckDone()
		})
	}
}

// TestUnfinishedDigests: what a kill leaves of a digest file in the making goes
// with the next command, and nothing else does.
func TestUnfinishedDigests(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(context.Context, *runs.Journal, Effects) error{"resume": Apply, "rollback": Rollback, "commit": Commit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, path := copied(t)
			if name == "commit" {
				if err, _ := apply(t.Context(), w, w.Open()); err != nil {
					t.Fatal(err)
				}
			}
			mine := filepath.Join(filepath.Dir(path), "notes.new")
			left := []string{path + ".1234567890.new", strings.Replace(path, "0:0", "0:1", 1) + ".7.new"}
			for _, file := range append(left, mine) {
				if err := os.WriteFile(file, make([]byte, 512), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			j := w.Open()
			if err := errors.Join(act(t.Context(), j, effects(w)), j.Close()); err != nil {
				t.Fatal(err)
			}
			for _, file := range left {
				if _, err := os.Lstat(file); err == nil {
					t.Errorf("%s is left", file)
				}
			}
			if _, err := os.Lstat(mine); err != nil {
				t.Errorf("somebody else's file: %v", err)
			}
		})
	}
}

// TestStateFails: a journal that takes no more records stops the run where it
// is; it removes nothing.
func TestStateFails(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	j := w.Create()
	w.Tick = func(what string) error {
		if what == "define" { // then the journal takes no record
			return errors.Join(j.Close(), errors.New("no space left on device"))
		}
		return nil
	}
	err := Apply(t.Context(), j, effects(w))
	if !errors.Is(err, ErrStopped) || errors.Is(err, ErrUndone) {
		t.Errorf("Apply = %v; want it stopped", err)
	}
	_ = j.Close() // it was
	w.Tick = func(string) error { return nil }
	if err, _ := apply(t.Context(), w, w.Open()); err != nil {
		t.Fatal(err)
	}
	w.CheckDone()
}

// TestBlame: of what goes wrong in a copy or verification, the target's failures
// alone undo it.
func TestBlame(t *testing.T) {
	t.Parallel()
	w, _ := copied(t)
	j := w.Open()
	defer func() { _ = j.Close() }()
	a := &executor{job: j.Job(), journal: j}
	for _, tt := range []struct {
		err  error
		undo bool
	}{
		{fmt.Errorf("writing: %w", &os.PathError{Op: "write", Path: "/disks/web", Err: syscall.ENOSPC}), true},
		{&disk.ReadError{Length: 512, Err: io.ErrUnexpectedEOF}, false},
		{&disk.DigestsError{Path: "/state/x.digests", Err: syscall.ENOSPC}, false},
		{&disk.MismatchError{Length: 512}, false},
		{fmt.Errorf("block 3: %w", disk.ErrNotCopied), false},
	} {
		err := a.blame(&a.job.VM.Disks[0], tt.err)
		if !errors.Is(err, tt.err) || a.undoes(t.Context(), err) != tt.undo {
			t.Errorf("%v: undone %v; want %v", err, !tt.undo, tt.undo)
		}
	}
}
