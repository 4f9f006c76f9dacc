package survey

import (
	"context"
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/packages"
	"esxodus/convert/plan"
	"esxodus/convert/plan/plantest"
	"esxodus/inventory"
	"esxodus/network"
)

// able can convert every guest, with nothing to install.
type able struct{}

func (able) Missing([]string) string { return "" }

func (able) Packages(context.Context, guest.Guest, []byte, []string) (packages.Set, error) {
	return packages.Set{}, nil
}

// surveyed asks about a guest, and plans its VM, with a layout if one is given.
func surveyed(t *testing.T, h *inventory.Host, g guest.Guest, kind ...layout.Kind) (plan.VMPlan, *libvirtxml.Domain) {
	t.Helper()
	vm := &h.VMs[0]
	o := plan.Options{
		Storage: "dir:" + t.TempDir(), Libvirt: "qemu:///system",
		Network: network.Options{Uplinks: map[string]string{"vmnic0": "eno1"}},
	}
	if len(kind) > 0 {
		o.Layout = kind[0]
	}
	f := plan.Facts{Host: h, Guests: map[string]guest.Guest{vm.ID: g}, Target: plan.TargetFacts{VirtTypes: []string{"qemu"}, EFI: true}}
	d, err := plan.NewDraft(f, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := askGuests(t.Context(), d, able{}, func(string) ([]byte, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	p := d.Finish()
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(p.VMs[0].Domain.XML); err != nil {
		t.Fatal(err)
	}
	return p.VMs[0], &dom
}

// TestHiddenDisks: where the guest's LVM finds disks of one bus only, the
// domain has that bus; where it finds none, the layout stays.
func TestHiddenDisks(t *testing.T) {
	tests := []struct{ name, conf, bus, kept, reason string }{
		{"no filter", "", "virtio", "", ""},
		{"SCSI only", `devices { filter = [ "a|^/dev/sd|", "r|.*|" ] }`, "scsi", "", "filter of /etc/lvm/lvm.conf"},
		{"virtio-blk only", `devices { filter = [ "a|^/dev/vd|", "r|.*|" ] }`, "virtio", "", ""},
		{"none", `devices { filter = [ "r|.*|" ] }`, "", "it hides whole disks", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := plantest.Host()
			g := plantest.Debian(&h.VMs[0])
			plantest.SetLVMConf(&g, tt.conf)
			v, dom := surveyed(t, &h, g)
			if l := v.Layout; (l.Kind == layout.Keep) != (tt.kept != "") || !strings.Contains(strings.Join(l.Reasons, "\n"), tt.kept) {
				t.Fatalf("layout %s because %q, want it kept because %q", l.Kind, l.Reasons, tt.kept)
			}
			if tt.kept != "" {
				return
			}
			if got := dom.Devices.Disks[0].Target.Bus; got != tt.bus {
				t.Errorf("the disk is on %s, want %s", got, tt.bus)
			}
			i := slices.IndexFunc(v.Ledger, func(e ledger.Entry) bool { return e.Property == "disks[scsi0:0].class" })
			if i < 0 || !strings.Contains(v.Ledger[i].Reason, tt.reason) {
				t.Errorf("the ledger has %+v of disks[scsi0:0].class, want %q in it", v.Ledger, tt.reason)
			}
		})
	}
}

// TestNoRoom: a guest without room for its conversion keeps its layout, with
// the reason, before anything is copied.
func TestNoRoom(t *testing.T) {
	h := plantest.Host()
	for _, tt := range []struct {
		free   guest.Space
		reason string // "" for the new layout
	}{
		{guest.Space{Bytes: 1 << 20, Files: 1 << 20}, "/ of the guest has 1 MiB free, but "},
		{guest.Space{Bytes: 1 << 30, Files: 3}, "/ of the guest has room for 3 more files (df -i), but 1"},
		{guest.Space{Bytes: 1 << 30, Files: 1 << 20}, ""},
		{guest.Space{Bytes: 1 << 30, Files: -1}, ""},
	} {
		g := plantest.Debian(&h.VMs[0])
		g.Config.Free = map[string]guest.Space{"/": tt.free}
		v, _ := surveyed(t, &h, g)
		if l := v.Layout; (l.Kind == layout.LVM) != (tt.reason == "") || !strings.Contains(strings.Join(l.Reasons, "; "), tt.reason) {
			t.Errorf("%+v free: layout %s because %q; want %q", tt.free, l.Kind, l.Reasons, tt.reason)
		}
	}
}

// TestImmutable: a guest whose files nobody can change keeps its layout, and the
// reason names them and what to do. Where the layout was asked for, that blocks.
func TestImmutable(t *testing.T) {
	const want = "chattr -i /etc/lilo.conf"
	h := plantest.Host()
	g := plantest.Debian(&h.VMs[0])
	g.Config.Fixed = []guest.Fixed{{Path: "/etc/lilo.conf", Real: "/etc/lilo.conf"}}
	v, _ := surveyed(t, &h, g)
	if l := v.Layout; l.Kind != layout.Keep || !strings.Contains(strings.Join(l.Reasons, "; "), want) {
		t.Errorf("layout %s because %q; want it kept, and %q", l.Kind, l.Reasons, want)
	}
	v, _ = surveyed(t, &h, g, layout.LVM)
	if !slices.ContainsFunc(v.Concerns, func(c ledger.Concern) bool { return c.Severity == ledger.Blocker && strings.Contains(c.Evidence, want) }) {
		t.Errorf("concerns %+v; want a blocker with %q", v.Concerns, want)
	}
}

// TestUnreadBoot: where /boot can't be listed, that is the reason, and not that it
// has no kernel.
func TestUnreadBoot(t *testing.T) {
	h := plantest.Host()
	g := plantest.Debian(&h.VMs[0])
	g.Kernels, g.Initrds = nil, nil
	g.Config.Unread = []string{"/boot: too large"}
	v, _ := surveyed(t, &h, g)
	if got := strings.Join(v.Layout.Reasons, "; "); v.Layout.Kind != layout.Keep || !strings.Contains(got, "/boot: too large") || strings.Contains(got, "no kernel") {
		t.Errorf("layout %s because %q; want it kept for /boot", v.Layout.Kind, got)
	}
}
