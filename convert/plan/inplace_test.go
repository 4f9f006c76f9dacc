package plan

import (
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/plan/plantest"
	"esxodus/inventory"
)

// named is a draft of a Debian that keeps its layout, and whose network
// configuration has a name for its NIC.
func named(t *testing.T, o Options, controller string, change func(*guest.Guest)) *Draft {
	t.Helper()
	h := plantest.Host()
	vm := &h.VMs[0]
	vm.Controllers[0].Model = controller
	vm.NICs[0].PCISlot = 192
	g := plantest.Debian(vm)
	plantest.SlotNames(&g, "ens192")
	if change != nil {
		change(&g)
	}
	o.Layout = layout.Keep
	d, err := NewDraft(Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: g}, Target: TargetFacts{VirtTypes: []string{"qemu"}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func kinds(v *VMPlan) string {
	var out []string
	for _, s := range v.Steps {
		out = append(out, string(s.Kind))
	}
	return strings.Join(out, " ")
}

func has(cs []ledger.Concern, id, text string) bool {
	return slices.ContainsFunc(cs, func(c ledger.Concern) bool { return c.ID == id && strings.Contains(c.Evidence, text) })
}

// TestInPlace: a guest that keeps its layout is changed where it would not come up
// as it was, and only there; the plan that says so passes the check.
func TestInPlace(t *testing.T) {
	const edited = "recheck create create unused copy copy recheck verify verify guest merge define prove"
	plain := strings.Replace(edited, "guest merge ", "", 1)
	counts := func(g *guest.Guest) { g.Interfaces, g.Config.Naming = nil, guest.Naming{} } // eth0, by its order
	lacks := func(g *guest.Guest) {
		counts(g)
		g.Initrds[0].Virtio, g.Initrds[0].Modules = guest.No, []string{"virtio_pci", "virtio_blk"}
	}
	const other = "lsilogic"        // QEMU doesn't have it
	older := func(g *guest.Guest) { // is the one that boots
		lacks(g)
		g.Kernels = append(g.Kernels, "6.2")
		g.Initrds = append(g.Initrds, guest.Initrd{Kernel: "6.2", Path: "/boot/initrd.img-6.2", Virtio: guest.Yes})
		g.Config.Image = "/boot/vmlinuz-6.1"
	}
	for _, tt := range []struct {
		name       string
		controller string
		change     func(*guest.Guest)
		noEdits    bool
		missing    string
		kinds      string
		edits      int
		bus        string
		left       string // in the concern that the guest is left as it is; "" for none
		blocked    bool
	}{
		{"a NIC's name", "pvscsi", nil, false, "", edited, 1, "virtio", "", false},
		{"a NIC's name that its configuration doesn't have", "pvscsi", func(g *guest.Guest) { g.Interfaces = nil }, false, "", edited, 1, "virtio", "", false},
		{"nothing to do", "pvscsi", counts, false, "", plain, 0, "virtio", "", false},
		{"declined", "pvscsi", nil, true, "", plain, 0, "virtio", "", false},
		{"no appliance", "pvscsi", nil, false, "no guestfish", plain, 0, "virtio", "its NIC is still called ens192; it is left as it is: no guestfish", false},
		{"no fstab", "pvscsi", func(g *guest.Guest) { g.Config.Files = nil }, false, "", plain, 0, "virtio", "/etc/fstab was not found", false},
		{"no virtio, and another way", "pvscsi", lacks, false, "", plain, 0, "scsi", "", false},
		{"no virtio, a NIC's name", "pvscsi", func(g *guest.Guest) { lacks(g); plantest.SlotNames(g, "ens192") }, false, "", edited, 1, "scsi", "", false},
		{"no virtio", other, lacks, false, "", edited, 0, "virtio", "", false},
		{"no virtio, declined", other, lacks, true, "", plain, 0, "virtio", "", true},
		{"no virtio, no appliance", other, lacks, false, "no guestfish", plain, 0, "virtio", "kernel 6.1 finds its disks on virtio; it is left as it is: no guestfish", true},
		{"another root", "pvscsi", func(g *guest.Guest) { g.OtherRoots = []string{"scsi0:1"} }, false, "", plain, 0, "virtio", "the guest may start another root than scsi0:0 partition 1 (scsi0:1)", false},
		{"no room", "pvscsi", func(g *guest.Guest) { g.Config.Free = map[string]guest.Space{"/": {Bytes: 1 << 20, Files: -1}} }, false, "", plain, 0, "virtio", "1 MiB free", false},
		{"no virtio in the default kernel", other, older, false, "", edited, 0, "virtio", "", false},
		{"no virtio in the default kernel, declined", other, older, true, "", plain, 0, "virtio", "", true},
		{"large sectors", "pvscsi", func(g *guest.Guest) { g.Disks[0].SectorSize = 4096 }, false, "", plain, 0, "virtio", "sectors of 4096 bytes", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions(t)
			o.NoEdits = tt.noEdits
			d := named(t, o, tt.controller, tt.change)
			d.Answer(func(Need) GuestFacts { return GuestFacts{Missing: tt.missing} })
			d.Facts.Storage.Free = 1 << 40
			p := d.Finish()
			v := &p.VMs[0]
			if v.Layout.Kind != layout.Keep || kinds(v) != tt.kinds || (v.Conversion != nil) != (tt.kinds == edited) {
				t.Fatalf("layout %s with %s, conversion %+v; want it kept with %s", v.Layout.Kind, kinds(v), v.Conversion, tt.kinds)
			}
			if c := v.Conversion; c != nil && (len(c.Edits) != tt.edits || len(c.Overlays) != 1 || c.Mounts[0].Device != "disk:scsi0:0#1") {
				t.Errorf("conversion = %+v; want %d edits and an addition to the initrd", c, tt.edits)
			}
			if has(v.Concerns, ConcernLeft, tt.left) != (tt.left != "") || tt.left == "" && has(v.Concerns, ConcernLeft, "") || has(v.Concerns, ConcernLeft, "--no-edits") {
				t.Errorf("concerns = %+v; want %s with %q", v.Concerns, ConcernLeft, tt.left)
			}
			var dom libvirtxml.Domain
			if err := dom.Unmarshal(v.Domain.XML); err != nil {
				t.Fatal(err)
			}
			if got := dom.Devices.Disks[0].Target.Bus; got != tt.bus {
				t.Errorf("the disk is on %s, want %s", got, tt.bus)
			}
			if err := p.Check(); err != nil || ledger.Blocked(v.Concerns) != tt.blocked {
				t.Errorf("Check = %v, concerns %+v", err, v.Concerns)
			}
		})
	}
}

// TestInPlaceLies: a plan file can't have a guest that keeps its layout changed
// beyond edits and its initrds.
func TestInPlaceLies(t *testing.T) {
	const more = "a guest that keeps its layout gets no packages, programs or boot loader"
	for _, tt := range []struct {
		name string
		lie  func(*guest.Conversion)
		want string
	}{
		{"a program", func(c *guest.Conversion) {
			c.Programs = []guest.Program{{Path: "/sbin/lilo", Source: "lilo", Mode: 0o755}}
		}, more},
		{"a package", func(c *guest.Conversion) { c.Remove = []string{"grub-pc"} }, more},
		{"a loader", func(c *guest.Conversion) { c.Loader, c.OwnLoader = []string{"lilo"}, "lilo 24.2" }, more},
		{"no root", func(c *guest.Conversion) { c.Mounts = c.Mounts[1:] }, "conversion.mounts: the first one must be the guest's root"},
	} {
		d := named(t, testOptions(t), "pvscsi", nil)
		d.Answer(func(Need) GuestFacts { return GuestFacts{} })
		p := d.Finish()
		tt.lie(p.VMs[0].Conversion)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Check = %v; want %q", tt.name, err, tt.want)
		}
	}
}

// TestSameID: VMs that bear one id are each asked about once, and no more.
func TestSameID(t *testing.T) {
	h := plantest.Host()
	vm := &h.VMs[0]
	vm.NICs[0].PCISlot = 192
	g := plantest.Debian(vm)
	plantest.SlotNames(&g, "ens192")
	h.VMs = []inventory.VM{*vm, *vm}
	o := testOptions(t)
	o.VMs, o.Layout = nil, layout.Keep
	d, err := NewDraft(Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: g}}, o)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	d.Answer(func(Need) GuestFacts {
		if asked++; asked > 2 {
			t.Fatal("asked a third time about two VMs")
		}
		return GuestFacts{}
	})
	if asked != 2 {
		t.Errorf("asked %d times about two VMs", asked)
	}
}
