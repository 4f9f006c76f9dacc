package batch

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/convert/plan/plantest"
	"esxodus/convert/runs"
)

// TestNeededName is the field's case: with the layout kept, fstab needs a device
// whose name nothing in the domain has. The plan is blocked, and a batch, which
// asks nobody, copies nothing.
func TestNeededName(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	vm := &w.Host.VMs[0]
	g := plantest.Debian(vm)
	g.SerialLogin = []string{"ttyS0"}
	g.DiskNames = []string{"/dev/nvme0n2p1"}
	g.Config.Files["/etc/fstab"] = guest.File{Path: "/etc/fstab", Text: "UUID=d0c1 / ext4 defaults 0 1\n/dev/nvme0n2p1 /opt ext4 nodiratime 0 2\n"}
	g.Config.Needs = []guest.Need{{File: "/etc/fstab", Spec: "/dev/nvme0n2p1", Mount: "/opt"}}
	for _, kind := range []layout.Kind{layout.Keep, layout.Auto, layout.LVM} {
		o := w.Options()
		o.Layout = kind
		p := converttest.Planned(t, plan.Facts{Host: &w.Host, Guests: map[string]guest.Guest{vm.ID: g}, Target: plan.TargetFacts{VirtTypes: []string{"qemu"}}}, o)
		if i := slices.IndexFunc(p.Blockers(0), func(c ledger.Concern) bool { return c.Subject == "/opt" }); i < 0 {
			t.Errorf("layout %s: blockers %+v; want one about /opt", kind, p.Blockers(0))
		}
		if i := slices.IndexFunc(p.VMs[0].Concerns, func(c ledger.Concern) bool { return c.ID == domain.ConcernDiskNames }); kind == layout.Keep && i < 0 {
			t.Errorf("layout %s: %+v; want %s", kind, p.VMs[0].Concerns, domain.ConcernDiskNames)
		}
		r := Run(t.Context(), p, w.State(), effects(w), Options{Parallel: 1})[0]
		if r.Did != DidRefuse || !strings.Contains(r.Error, "/dev/nvme0n2p1") {
			t.Errorf("layout %s: batch = %+v; want it refused", kind, r)
		}
		if _, err := w.State().State("web"); !errors.Is(err, runs.ErrNoRun) {
			t.Errorf("layout %s: State = %v; want that nothing was begun", kind, err)
		}
	}
}

// TestNeededBesides: what no conversion rewrites is missed in every layout.
func TestNeededBesides(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	vm := &w.Host.VMs[0]
	g := plantest.Debian(vm)
	g.Config.Needs = []guest.Need{
		{File: "/etc/fstab", Spec: "/dev/sr0", Mount: "/mnt/dvd"},
		{File: "/etc/fstab's logdev=", Spec: "/dev/nvme0n2p1", Mount: "/data"},
	}
	for _, kind := range []layout.Kind{layout.Keep, layout.LVM} {
		o := w.Options()
		o.Layout = kind
		p := converttest.Planned(t, plan.Facts{Host: &w.Host, Guests: map[string]guest.Guest{vm.ID: g}, Target: plan.TargetFacts{VirtTypes: []string{"qemu"}}}, o)
		for _, mount := range []string{"/mnt/dvd", "/data"} {
			if !slices.ContainsFunc(p.Blockers(0), func(c ledger.Concern) bool { return c.Subject == mount }) {
				t.Errorf("layout %s: blockers %+v; want one about %s", kind, p.Blockers(0), mount)
			}
		}
	}
}
