package survey

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"esxodus/convert/plan"
	"esxodus/disk"
	"esxodus/inventory"
)

// slowHost serves each read of a disk after a while, and no disk of a path that it
// refuses.
type slowHost struct {
	Host
	opened  []string
	refused string
}

func (h *slowHost) OpenDisk(_ context.Context, from plan.Origin) (disk.Image, func() error, error) {
	if from.Path == h.refused {
		return nil, nil, errors.New("refused")
	}
	h.opened = append(h.opened, from.Path)
	return disk.FromReaderAt(slowly{}, 1<<30), func() error { return nil }, nil
}

type slowly struct{}

func (slowly) ReadAt(p []byte, _ int64) (int, error) {
	time.Sleep(70 * time.Millisecond) // no read ends with the measurement
	return len(p), nil
}

// TestSpeed: the largest disk tells it that can be read and isn't too small; what can't
// be opened tells nothing.
func TestSpeed(t *testing.T) {
	vm := func(id string, power inventory.PowerState, size int64) *inventory.VM {
		return &inventory.VM{ID: id, Name: id, Power: power, Disks: []inventory.Disk{{Path: "[ds] " + id, Capacity: size, Format: inventory.FormatFlat}}}
	}
	vms := []*inventory.VM{
		vm("small", inventory.PoweredOff, 1<<20), vm("on", inventory.PoweredOn, 8<<30), vm("sick", inventory.PoweredOff, 9<<30),
		vm("large", inventory.PoweredOff, 4<<30), vm("larger", inventory.PoweredOff, 5<<30),
	}
	f := &plan.Facts{Source: plan.Source{URL: "https://esx1"}, Unread: map[string]*plan.UnreadError{"sick": {}}}
	synctest.Test(t, func(t *testing.T) {
		h := &slowHost{}
		const want = 60 * 4 << 20 * 100 / 105 // 60 blocks of 4 MiB in 1.05 s
		if got := speed(t.Context(), h, f, &plan.Options{}, vms); got != want || len(h.opened) != 1 || h.opened[0] != "[ds] larger" {
			t.Errorf("%d bytes a second of %q; want %d", got, h.opened, want)
		}
	})
	for _, of := range [][]*inventory.VM{nil, vms[:3], vms[4:]} {
		if got := speed(t.Context(), &slowHost{refused: "[ds] larger"}, f, &plan.Options{}, of); got != 0 {
			t.Errorf("%d bytes a second of nothing", got)
		}
	}
	lease := &plan.Options{Via: map[string]plan.Way{"": plan.WayNFC}}
	if got := speed(t.Context(), &slowHost{}, f, lease, vms); got != 0 {
		t.Errorf("%d bytes a second by a lease", got)
	}
}
