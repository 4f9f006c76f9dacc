package run

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/plan"
	"esxodus/disk"
)

// versionedHost is a world whose images tell which state of their files they
// read.
type versionedHost struct {
	*converttest.World
	tuesday atomic.Bool // the files have changed
}

type versionedImage struct {
	disk.Image
	state string
}

func (v versionedImage) Versions() []string { return []string{v.state} }

// OpenDisk implements Host.
func (h *versionedHost) OpenDisk(ctx context.Context, from plan.Origin) (disk.Image, func() error, error) {
	img, closeImage, err := h.World.OpenDisk(ctx, from)
	day := "Monday"
	if h.tuesday.Load() {
		day = "Tuesday"
	}
	return versionedImage{img, from.Path + ": last modified on " + day}, closeImage, err
}

// TestOtherFiles has the files of a disk change, or what is in between answer
// with another copy of them, while nothing that the API tells does: in mid-copy
// and while a run is stopped. The run doesn't become ready.
func TestOtherFiles(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"never", "during the copy", "before resume", "unknown before"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			h := &versionedHost{World: w}
			j, e := w.Create(), effects(w)
			defer func() {
				if err := j.Close(); err != nil {
					t.Error(err)
				}
			}()
			e.Host = h
			if when == "unknown before" { // as of a journal that an older esxodus wrote
				e.Host = w
			}
			link := errors.New("the link is down")
			w.Tick = func(what string) error {
				switch {
				case what != "read" || when == "never" || !copying(t, j):
					return nil
				case when == "during the copy":
					h.tuesday.Store(true)
					return nil
				}
				return link
			}
			err := Apply(t.Context(), j, e)
			if when == "before resume" || when == "unknown before" {
				if !errors.Is(err, ErrStopped) || !errors.Is(err, link) {
					t.Fatalf("Apply over a link that is down = %v; want %v", err, ErrStopped)
				}
				w.Tick = func(string) error { return nil }
				h.tuesday.Store(true)
				e.Host = h
				err = Apply(t.Context(), j, e)
			}
			if when == "never" || when == "unknown before" {
				if err != nil {
					t.Errorf("Apply = %v", err)
				}
				return
			}
			if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "has changed since this run began") ||
				!strings.Contains(err.Error(), "Monday") || !strings.Contains(err.Error(), "Tuesday") || len(w.Defined) > 0 {
				t.Errorf("Apply = %v with %d domains; want it stopped, by a file that changed", err, len(w.Defined))
			}
			if _, err := os.Stat(j.Job().VM.Disks[0].Volume.Path); err != nil {
				t.Errorf("what was copied: %v", err)
			}
		})
	}
}
