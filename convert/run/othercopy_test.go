package run

import (
	"context"
	"errors"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/plan"
	"esxodus/disk"
)

// cachedHost answers the checks itself, while some cache answers what is copied:
// of the calls to open a disk, these are the third and the fourth.
type cachedHost struct {
	*converttest.World
	opened int
}

// OpenDisk implements Host.
func (h *cachedHost) OpenDisk(ctx context.Context, from plan.Origin) (disk.Image, func() error, error) {
	h.opened++
	day := "Tuesday"
	if h.opened == 3 || h.opened == 4 {
		day = "Monday"
	}
	img, closeImage, err := h.World.OpenDisk(ctx, from)
	return versionedImage{img, from.Path + ": last modified on " + day}, closeImage, err
}

// TestOtherCopy has a cache answer with Monday's copy of a disk for as long as it
// is copied, and the host before and after: nothing of Monday's is copied.
func TestOtherCopy(t *testing.T) {
	t.Parallel()
	for name, world := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := world(t)
			j, e := w.Create(), effects(w)
			e.Host = &cachedHost{World: w}
			read := false
			w.Tick = func(what string) error { read = read || what == "read"; return nil }
			err := errors.Join(Apply(t.Context(), j, e), j.Close())
			if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "it was [ds] web/web.vmdk: last modified on Tuesday, and is [ds] web/web.vmdk: last modified on Monday") {
				t.Errorf("Apply = %v; want it stopped, by another copy", err)
			}
			if read || len(w.Defined) > 0 {
				t.Errorf("read: %v, %d domains; want nothing done with the other copy", read, len(w.Defined))
			}
		})
	}
}
