package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/runs"
	"esxodus/convert/volume"
)

// TestUnmounted: where another directory is in the place of the one that holds
// the volumes, or none, they aren't taken to be gone. Nothing is said to be
// undone, done or committed, until it is back.
func TestUnmounted(t *testing.T) {
	t.Parallel()
	away := map[string]func(w *converttest.World) error{
		"another directory": func(w *converttest.World) error { return os.Mkdir(w.Storage(), 0o755) },
		"a file of the name": func(w *converttest.World) error {
			return os.WriteFile(filepath.Join(w.Storage(), "web_scsi0-0"), nil, 0o600)
		},
		"no directory": func(*converttest.World) error { return nil },
	}
	for name, replace := range away {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			if err, _ := apply(t.Context(), w, w.Create()); err != nil {
				t.Fatal(err)
			}
			e := effects(w)
			disks, aside := w.Storage(), w.Storage()+"-aside"
			if err := os.Rename(disks, aside); err != nil {
				t.Fatal(err)
			}
			if err := replace(w); name != "another directory" && err != nil {
				t.Fatal(err)
			}
			if name == "no directory" {
				if err := os.RemoveAll(disks); err != nil {
					t.Fatal(err)
				}
			}
			j := w.Open()
			for verb, act := range map[string]func(context.Context, *runs.Journal, Effects) error{"rollback": Rollback, "commit": Commit, "resume": Apply} {
				var p *volume.PlaceError
				if err := act(t.Context(), j, e); !errors.Is(err, ErrStopped) || !errors.As(err, &p) || !strings.Contains(err.Error(), "mount again") {
					t.Errorf("%s = %v; want it stopped, and what to do", verb, err)
				}
				if j.Committing() || j.State().Ended() {
					t.Errorf("after %s: %s", verb, j.State().Phase)
				}
			}
			s := j.State()
			if err := s.Look(t.Context(), func(string) (volume.Storage, error) { return e.Storage, nil }); err != nil || len(s.Volumes) != 2 || !strings.Contains(s.Volumes[0], "it isn't known whether") {
				t.Errorf("Look = %v, volumes %q; want both unknown", err, s.Volumes)
			}
			if err := errors.Join(os.RemoveAll(disks), os.Rename(aside, disks)); err != nil {
				t.Fatal(err)
			}
			s = j.State()
			if err := s.Look(t.Context(), func(string) (volume.Storage, error) { return e.Storage, nil }); err != nil || len(s.Volumes) != 0 {
				t.Errorf("Look = %v, volumes %q; want nothing wrong", err, s.Volumes)
			}
			if err := errors.Join(Rollback(t.Context(), j, e), j.Close()); err != nil {
				t.Errorf("Rollback of what is back = %v", err)
			}
			w.CheckGone()
		})
	}
}

// TestUnmountedResume: a run whose file system is away is neither resumed into
// the mount point nor undone.
func TestUnmountedResume(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"claim", "created", "read"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			j := w.Create()
			w.Tick = func(what string) error {
				if what != at {
					return nil
				}
				if at == "read" {
					return errRead
				}
				panic(converttest.Crash{})
			}
			_, _ = apply(t.Context(), w, j) // it ends somehow
			w.Tick = func(string) error { return nil }
			disks, aside := w.Storage(), w.Storage()+"-aside"
			if err := errors.Join(os.Rename(disks, aside), os.Mkdir(disks, 0o755)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second one knows no less
				err, _ := apply(t.Context(), w, w.Open())
				if p := (*volume.PlaceError)(nil); !errors.Is(err, ErrStopped) || !errors.As(err, &p) {
					t.Errorf("Apply = %v; want it stopped", err)
				}
			}
			if left, err := os.ReadDir(disks); err != nil || len(left) > 0 {
				t.Errorf("in the mount point: %v, %v", left, err)
			}
			if err := errors.Join(os.Remove(disks), os.Rename(aside, disks)); err != nil {
				t.Fatal(err)
			}
			if err, _ := apply(t.Context(), w, w.Open()); err != nil {
				t.Fatal(err)
			}
			w.CheckDone()
		})
	}
}

// TestLost: what is gone for good can be left, and only by the admin's word.
func TestLost(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	if err, _ := apply(t.Context(), w, w.Create()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.Storage()); err != nil {
		t.Fatal(err)
	}
	j := w.Open()
	if err := Rollback(t.Context(), j, effects(w)); !errors.Is(err, ErrStopped) {
		t.Errorf("Rollback = %v; want it stopped", err)
	}
	e := effects(w)
	e.Lost = true
	if err := errors.Join(Rollback(t.Context(), j, e), j.Close()); err != nil {
		t.Errorf("Rollback without what is lost = %v", err)
	}
	w.CheckGone()
}

// TestRemovedByHand: a volume that an admin removed from where it was is gone.
func TestRemovedByHand(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	if err, _ := apply(t.Context(), w, w.Create()); err != nil {
		t.Fatal(err)
	}
	j := w.Open()
	if err := os.Remove(j.Job().VM.Disks[0].Volume.Path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Rollback(t.Context(), j, effects(w)), j.Close()); err != nil {
		t.Errorf("Rollback = %v", err)
	}
	w.CheckGone()
}
