package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/plan"
	"esxodus/convert/plan/plantest"
	"esxodus/disk"
	"esxodus/disk/vmdk"
	"esxodus/inventory"
	"esxodus/inventory/esxi"
)

// wayward serves disks by one way only, the first disk of a VM by its number.
type wayward struct {
	host  inventory.Host
	fails map[plan.Way]error
	only  string // of the paths that begin so; "" for all

	mu    sync.Mutex
	tried []plan.Way
}

func (w *wayward) Inventory(context.Context) (*inventory.Host, error) { return &w.host, nil }

func (w *wayward) OpenDisk(_ context.Context, from plan.Origin) (disk.Image, func() error, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tried = append(w.tried, from.Way)
	if err := w.fails[from.Way]; err != nil && strings.HasPrefix(from.Path, w.only) {
		return nil, nil, err
	}
	size := w.host.VMs[0].Disks[0].Capacity
	for _, d := range w.host.VMs[0].Disks {
		if d.Path == from.Path {
			size = d.Capacity
		}
	}
	return emptyDisk(size), func() error { return nil }, nil
}

// emptyDisk is a disk of zeros.
func emptyDisk(size int64) disk.Image { return disk.FromReaderAt(zeros{}, size) }

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// TestDetour: a VM whose disks HTTPS doesn't serve comes by SSH; by a lease where that
// doesn't serve them either, there is room for it, and the licence allows one.
func TestDetour(t *testing.T) {
	refused := errors.New("403 Forbidden")
	object := fmt.Errorf("%w: %w", vmdk.ErrUnsupported, vmdk.ErrObject)
	tests := []struct {
		name    string
		fails   map[plan.Way]error
		scratch string
		free    bool
		want    plan.Way // "" for none
		never   plan.Way
	}{
		{"by SSH", map[plan.Way]error{plan.WayHTTPS: refused}, "/scratch", false, plan.WaySSH, plan.WayNFC},
		{"by a lease", map[plan.Way]error{plan.WayHTTPS: refused, plan.WaySSH: refused}, "/scratch", false, plan.WayNFC, plan.WayFile},
		{"an object", map[plan.Way]error{plan.WayHTTPS: object}, "/scratch", false, plan.WayNFC, plan.WaySSH},
		{"no room", map[plan.Way]error{plan.WayHTTPS: object}, "", false, "", plan.WayNFC},
		{"the free licence", map[plan.Way]error{plan.WayHTTPS: object}, "/scratch", true, "", plan.WayNFC},
		{"nothing", map[plan.Way]error{plan.WayHTTPS: refused, plan.WaySSH: refused, plan.WayNFC: refused}, "/scratch", false, "", plan.WayFile},
	}
	for _, tt := range tests {
		w := &wayward{host: plantest.Host(), fails: tt.fails}
		w.host.License.ReadOnly = tt.free
		vms := []*inventory.VM{&w.host.VMs[0]}
		f, o := plan.Facts{Host: &w.host, Source: plan.Source{Scratch: tt.scratch}}, plan.Options{}
		var err error
		if f.Guests, f.Unread, err = lookAll(t.Context(), w, &f.Source, &o, vms); err != nil {
			t.Fatal(err)
		}
		if err := detour(t.Context(), w, &f, &o, vms); err != nil {
			t.Fatal(err)
		}
		got := f.Detours[vms[0].ID]
		if got.Way != tt.want || (f.Unread[vms[0].ID] == nil) != (tt.want != "") {
			t.Errorf("%s: detour %+v, unread %v; want %q", tt.name, got, f.Unread, tt.want)
		}
		if tt.want != "" && got.Why == "" {
			t.Errorf("%s: no reason", tt.name)
		}
		if slices.Contains(w.tried, tt.never) {
			t.Errorf("%s: tried %s", tt.name, w.tried)
		}
		w.tried = nil
		if _, err := records(t.Context(), w, &f, &o, vms[0].ID); (err == nil) != (tt.want != "") || tt.want != "" && w.tried[0] != tt.want {
			t.Errorf("%s: dpkg's records are asked for by %s: %v; want %q", tt.name, w.tried, err, tt.want)
		}
	}
}

// TestDetourRunning: disks of a VM that runs can't be tried, but where they are objects
// that is known. They come by a lease, or the VM is refused before it is shut down.
func TestDetourRunning(t *testing.T) {
	tests := []struct {
		name, store, scratch string
		via                  plan.Way
		parent               bool // only the disk's parent is on the datastore
		want                 plan.Way
		refused              bool
	}{
		{name: "on vSAN", store: "vsan", scratch: "/scratch", want: plan.WayNFC},
		{name: "a virtual volume", store: "VVOL", scratch: "/scratch", want: plan.WayNFC},
		{name: "its parent", store: "vsan", scratch: "/scratch", parent: true, want: plan.WayNFC},
		{name: "no room", store: "vsan", refused: true},
		{name: "asked for HTTPS", store: "vsan", scratch: "/scratch", via: plan.WayHTTPS, refused: true},
		{name: "asked for SSH", store: "vsan", scratch: "/scratch", via: plan.WaySSH, refused: true},
		{name: "asked for a lease", store: "vsan", scratch: "/scratch", via: plan.WayNFC},
		{name: "files", store: "VMFS", scratch: "/scratch"},
	}
	for _, tt := range tests {
		w := &wayward{host: plantest.Host()}
		w.host.License.ReadOnly = false
		w.host.Datastores = []inventory.Datastore{{Name: "ds", Type: "VMFS"}, {Name: "ds] x", Type: tt.store}}
		vm := &w.host.VMs[0]
		vm.Power = inventory.PoweredOn
		for i := range vm.Disks {
			if tt.parent {
				vm.Disks[i].Parents = []string{"[ds] x] web/base.vmdk"}
			} else {
				vm.Disks[i].Path = "[ds] x] web/web.vmdk"
			}
		}
		f, o := plan.Facts{Host: &w.host, Source: plan.Source{Scratch: tt.scratch}, Unread: map[string]*plan.UnreadError{}, Guests: map[string]guest.Guest{}}, plan.Options{Via: map[string]plan.Way{}}
		if tt.via != "" {
			o.Via[""] = tt.via
		}
		objects(&f, &o, []*inventory.VM{vm})
		if err := detour(t.Context(), w, &f, &o, []*inventory.VM{vm}); err != nil {
			t.Fatal(err)
		}
		u := f.Unread[vm.ID]
		if got := f.Detours[vm.ID].Way; got != tt.want || (u != nil) != tt.refused || len(w.tried) > 0 {
			t.Errorf("%s: detour %q, unread %v, tried %s; want %q, %t, none", tt.name, got, u, w.tried, tt.want, tt.refused)
		}
		if u != nil && (u.Address != "scsi0:0" || !errors.Is(u, vmdk.ErrObject)) {
			t.Errorf("%s: unread %v", tt.name, u)
		}
	}
}

// TestInVain: each VM on a datastore that refuses all takes a minute of tries. After some
// the others aren't tried, but those on another datastore are, and all come by SSH.
func TestInVain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		tired bool
	}{
		{"tries", fmt.Errorf("%w after 6 tries: 500", esxi.ErrGaveUp), true},
		{"an answer at once", errors.New("403 Forbidden"), false},
	} {
		w := &wayward{host: plantest.Host(), fails: map[plan.Way]error{plan.WayHTTPS: tt.err}, only: "[bad] "}
		w.host.VMs = nil
		var vms []*inventory.VM
		for i := range 40 {
			vm := plantest.VM()
			vm.ID = fmt.Sprint(i)
			vm.Disks = vm.Disks[:1]
			if i%2 == 0 {
				vm.Disks[0].Path = "[bad] web/web.vmdk"
			}
			if i == 38 {
				vm.Power = inventory.PoweredOn
			}
			w.host.VMs, vms = append(w.host.VMs, vm), append(vms, &vm)
		}
		f, o := plan.Facts{Host: &w.host}, plan.Options{}
		var err error
		if f.Guests, f.Unread, err = lookAll(t.Context(), w, &f.Source, &o, vms); err != nil {
			t.Fatal(err)
		}
		if len(f.Unread) != 19 || f.Unread["38"] != nil {
			t.Errorf("%s: %d VMs unread; want the 19 that are off on one datastore", tt.name, len(f.Unread))
		}
		notTried := 0
		for _, u := range f.Unread {
			if strings.Contains(u.Error(), "not tried, after ") && errors.Is(u, esxi.ErrGaveUp) {
				notTried++
			}
		}
		if tt.tired && (notTried < 19-maxVain-lookers || len(w.tried)+notTried != 20+19) || !tt.tired && notTried > 0 {
			t.Errorf("%s: %d of %d VMs weren't tried", tt.name, notTried, len(f.Unread))
		}
		if err := detour(t.Context(), w, &f, &o, vms); err != nil || len(f.Detours) != 19 {
			t.Errorf("%s: %d come by SSH (%v); want 19", tt.name, len(f.Detours), err)
		}
	}
}
