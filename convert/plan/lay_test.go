package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/appliance"
	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/lilo/install"
	"esxodus/convert/packages"
	"esxodus/convert/plan/plantest"
	"esxodus/convert/volume"
	"esxodus/inventory"
	"esxodus/network"
)

// testOptions are those of plans that nobody carries out.
func testOptions(t *testing.T) Options {
	t.Helper()
	return Options{
		Storage: "dir:" + t.TempDir(), Libvirt: "qemu:///system",
		Network: network.Options{Uplinks: map[string]string{"vmnic0": "eno1"}},
	}
}

// planOf makes the plan of a VM with a Debian that is laid out anew, and
// returns the VM's part and its domain.
func planOf(t *testing.T, change func(vm *inventory.VM, g *guest.Guest)) (VMPlan, *libvirtxml.Domain) {
	t.Helper()
	h := plantest.Host()
	vm := &h.VMs[0]
	g := plantest.Debian(vm)
	change(vm, &g)
	facts := Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: g}, Target: TargetFacts{VirtTypes: []string{"qemu"}, EFI: true}}
	p := planned(t, facts, testOptions(t))
	v := p.VMs[0]
	if v.Layout.Kind != layout.LVM || ledger.Blocked(v.Concerns) {
		t.Fatalf("layout %s because %q, concerns %+v; want lvm and no blocker", v.Layout.Kind, v.Layout.Reasons, v.Concerns)
	}
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(v.Domain.XML); err != nil {
		t.Fatal(err)
	}
	return v, &dom
}

// planned is a plan where nothing is open: the storage is among the facts, and each
// guest can be converted here.
func planned(t *testing.T, f Facts, o Options) *Plan {
	t.Helper()
	d, err := NewDraft(f, o)
	if err != nil {
		t.Fatal(err)
	}
	d.Answer(func(Need) GuestFacts { return GuestFacts{} })
	return d.Finish()
}

// laid is the layout of the first VM of a plan.
func laid(t *testing.T, f Facts, kind layout.Kind) layout.Layout {
	t.Helper()
	o := testOptions(t)
	o.Layout = kind
	p := planned(t, f, o)
	return p.VMs[0].Layout
}

// fateOf returns what a plan's ledger says of a property and why.
func fateOf(v *VMPlan, property string) string {
	i := slices.IndexFunc(v.Ledger, func(e ledger.Entry) bool { return e.Property == property })
	if i < 0 {
		return ""
	}
	return string(v.Ledger[i].Fate) + ": " + v.Ledger[i].Reason
}

// TestByLilo: a guest that LILO boots gets a domain with a BIOS, also where it
// started through UEFI.
func TestByLilo(t *testing.T) {
	for _, firmware := range []inventory.Firmware{inventory.BIOS, inventory.EFI} {
		v, dom := planOf(t, func(vm *inventory.VM, _ *guest.Guest) { vm.Firmware = firmware })
		if want := firmware == inventory.EFI; v.Layout.Boot.UEFI != want {
			t.Errorf("%s: the source boots through UEFI: %v", firmware, v.Layout.Boot.UEFI)
		}
		if dom.OS.Firmware != "" || dom.OS.FirmwareInfo != nil {
			t.Errorf("%s: the domain has the firmware %q: %+v", firmware, dom.OS.Firmware, dom.OS.FirmwareInfo)
		}
		if got := v.Conversion.Loader; !slices.Equal(got[max(0, len(got)-2):], []string{"--bus", "virtio"}) {
			t.Errorf("%s: the loader's command is %q, want it to end in --bus virtio", firmware, got)
		}
	}
}

// TestLoaderFirst: the disk with the loader is the first hard disk to boot,
// whichever of the VM's disks it is.
func TestLoaderFirst(t *testing.T) {
	second := func(_ *inventory.VM, g *guest.Guest) {
		g.Disks[1].Table, g.Disks[1].TableID = "mbr", "89abcdef"
		g.Disks[1].Partitions = []guest.Partition{{Number: 1, Offset: 1 << 20, Length: 2 << 20, Type: "83", Content: "ext2", UUID: "b007", Mount: "/boot"}}
		f := g.Config.Files["/etc/fstab"]
		f.Text += "UUID=b007 /boot ext2 defaults 0 2\n"
		g.Config.Files["/etc/fstab"] = f
	}
	tests := []struct {
		name   string
		change func(*inventory.VM, *guest.Guest)
		disk   string
		orders [2]uint
		ledger string
	}{
		{"/boot on the first disk", func(*inventory.VM, *guest.Guest) {}, "scsi0:0", [2]uint{1, 2}, ""},
		{"/boot on the second disk", second, "scsi0:1", [2]uint{2, 1}, "changed: the new loader is on scsi0:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, dom := planOf(t, tt.change)
			if v.Layout.Boot.Disk != tt.disk {
				t.Fatalf("the loader is on %s, want %s", v.Layout.Boot.Disk, tt.disk)
			}
			var got [2]uint
			for i := range got {
				got[i] = dom.Devices.Disks[i].Boot.Order
			}
			if got != tt.orders {
				t.Errorf("the disks boot as numbers %v, want %v", got, tt.orders)
			}
			if got := fateOf(&v, "hddOrder"); got != tt.ledger {
				t.Errorf("hddOrder is %q, want %q", got, tt.ledger)
			}
		})
	}
}

// TestBootBus: the installer is told the bus in its own words, and a boot
// volume that can't be read there is refused before anything is copied.
func TestBootBus(t *testing.T) {
	const limit = 1 << 32 * 512
	tests := []struct {
		bus, want string
		end       int64
		blocked   bool
	}{
		{"virtio", "virtio", limit, false},
		{"virtio", "virtio", limit + 1, false},
		{"scsi", "scsi", limit, false},
		{"scsi", "scsi", limit + 1, true},
		{"sata", "ata", limit + 1, false},
		{"ide", "ata", limit + 1, false},
	}
	for _, tt := range tests {
		dom := &libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Disks: []libvirtxml.DomainDisk{
			diskOn("usb", "/images/other"), diskOn(tt.bus, "/images/boot"),
		}}}
		v := VMPlan{
			Layout:     layout.Layout{Kind: layout.LVM, Boot: &layout.Boot{Disk: "scsi0:1", Volume: "vg/boot", End: tt.end}},
			Conversion: &guest.Conversion{Loader: []string{"lilo", "-v"}},
			Disks: []Disk{
				{Address: "scsi0:0", Volume: volume.Volume{Path: "/images/other"}}, {Address: "scsi0:1", Volume: volume.Volume{Path: "/images/boot"}},
			},
		}
		v.boots(dom)
		if want := []string{"lilo", "-v", "--bus", tt.want}; !slices.Equal(v.Conversion.Loader, want) {
			t.Errorf("%s: the loader's command is %q, want %q", tt.bus, v.Conversion.Loader, want)
		}
		if _, err := install.ParseBus(tt.want); err != nil {
			t.Error(err)
		}
		v.highBoot(dom)
		if ledger.Blocked(v.Concerns) != tt.blocked || len(v.Concerns) > 0 && v.Concerns[0].ID != ConcernHighBoot {
			t.Errorf("%s, /boot up to byte %d: concerns %+v, want a blocker: %v", tt.bus, tt.end, v.Concerns, tt.blocked)
		}

		v.Conversion = &guest.Conversion{Loader: []string{"/sbin/lilo"}, OwnLoader: "lilo 1:24.2-5"}
		if v.boots(dom); len(v.Conversion.Loader) != 1 {
			t.Errorf("%s: the guest's own LILO is run as %q", tt.bus, v.Conversion.Loader)
		}
		v.Conversion, v.Layout.Boot, v.Concerns = nil, nil, nil
		v.boots(dom)
		if v.highBoot(dom); len(v.Concerns) > 0 {
			t.Errorf("%s, kept: %+v", tt.bus, v.Concerns)
		}
	}
}

func diskOn(bus, path string) libvirtxml.DomainDisk {
	return libvirtxml.DomainDisk{
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}},
		Target: &libvirtxml.DomainDiskTarget{Bus: bus},
	}
}

// TestHighBootOfPlan: a /boot beyond what a BIOS reads on virtio-scsi keeps the
// layout, with the reason; where the new one was asked for, the plan is blocked.
// On virtio-blk it is none.
func TestHighBootOfPlan(t *testing.T) {
	const size = 3 << 40
	root := func(g *guest.Guest) { // holds /boot, and is new
		g.Disks[0].Table, g.Disks[0].Partitions[0].Length = "gpt", size-2<<20
	}
	full := func(g *guest.Guest) { // a group that has no room for /boot but at its end
		const pv, vg = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg", "gggggg-bbbb-cccc-dddd-eeee-ffff-gggggg"
		g.Disks[0].Table, g.Root = "gpt", "vg/root"
		g.Disks[0].Partitions = []guest.Partition{
			{Number: 1, Offset: 1 << 20, Length: 512 << 20, Content: "ext2", UUID: "b007", Mount: "/boot"},
			{Number: 2, Offset: 513 << 20, Length: size - 514<<20, Content: "lvm2", UUID: pv},
		}
		extents := int64(size-514<<20)/(4<<20) - 1
		g.Groups = []guest.Group{{
			Name: "vg", UUID: vg, ExtentSize: 4 << 20, Status: []string{"RESIZEABLE", "READ", "WRITE"},
			PVs: []guest.GroupPV{{
				UUID: pv, Disk: "scsi0:0", Partition: 2, Offset: 513 << 20, Length: size - 514<<20, Start: 1 << 20, Extents: extents,
				Status: []string{"ALLOCATABLE"}, Label: 1, Copies: 1,
			}},
			LVs: []guest.GroupLV{{Name: "root", Visible: true, Types: []string{"linear"}, Segments: []guest.LVSegment{{Count: extents, Areas: []guest.LVArea{{PV: pv}}}}}},
		}}
		g.Volumes = []guest.Volume{{Group: "vg", Name: "root", Content: "ext4", UUID: "d0c1", Mount: "/"}}
	}
	tests := []struct {
		name  string
		guest func(*guest.Guest)
		asked layout.Kind
		uuids bool // which keep the disk from virtio-blk
		kind  layout.Kind
		block bool
		says  string
	}{
		{"on virtio-blk", root, layout.Auto, false, layout.LVM, false, ""},
		{"on virtio-scsi", root, layout.Auto, true, layout.Keep, false, "give /boot its own partition"},
		{"on virtio-scsi, by default", root, "", true, layout.Keep, false, "give /boot its own partition"},
		{"on virtio-scsi, asked for", root, layout.LVM, true, layout.LVM, true, "give /boot its own partition"},
		{"on virtio-scsi, plain", root, layout.Plain, true, layout.Plain, true, "give /boot its own partition"},
		{"a full group", full, layout.Auto, true, layout.Keep, false, "the volume group vg has no room for it there: make some with lvreduce or a pvmove of low extents"},
		{"a full group, asked for", full, layout.LVM, true, layout.LVM, true, "the volume group vg has no room for it there: make some with lvreduce or a pvmove of low extents"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := plantest.Host()
			vm := &h.VMs[0]
			vm.Disks[0].Capacity, vm.DiskEnableUUID = size, tt.uuids
			g := plantest.Debian(vm)
			tt.guest(&g)
			o := testOptions(t)
			o.Layout = tt.asked
			f := Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: g}, Target: TargetFacts{VirtTypes: []string{"qemu"}, EFI: true}}
			p := planned(t, f, o)
			v := p.VMs[0]
			if v.Layout.Kind != tt.kind || v.Layout.Refused {
				t.Fatalf("layout = %s, refused %v, because %q; want %s", v.Layout.Kind, v.Layout.Refused, v.Layout.Reasons, tt.kind)
			}
			var told []string
			for _, c := range v.Concerns {
				if c.ID == ConcernHighBoot && c.Severity == ledger.Blocker && c.Subject == "scsi0:0" {
					told = append(told, c.Evidence+": "+c.Advice)
				}
			}
			if (len(told) > 0) != tt.block || ledger.Blocked(v.Concerns) != tt.block {
				t.Errorf("concerns %+v; want %s: %v", v.Concerns, ConcernHighBoot, tt.block)
			}
			if told = append(told, v.Layout.Reasons...); !strings.Contains(strings.Join(told, "\n"), tt.says) {
				t.Errorf("the plan says %q; want %q in it", told, tt.says)
			}
		})
	}
}

// TestUnseenDisks: a layout that can't be planned since the disks can't be read
// is told by the true reason, and what to do about it.
func TestUnseenDisks(t *testing.T) {
	tests := []struct {
		name   string
		change func(*inventory.VM, *Facts)
		reason string
		advice string // begins
	}{
		{"running", func(vm *inventory.VM, _ *Facts) { vm.Power = inventory.PoweredOn }, "it is running, and its disks can't be read while it runs: shut it down, then plan again for the new layout", "do that, and plan again; or leave --layout out"},
		{"suspended", func(vm *inventory.VM, _ *Facts) { vm.Power = inventory.Suspended }, "it is suspended, and its disks can't be read until it is off: resume it and shut it down, then plan again for the new layout", "do that"},
		{"on a LUN", func(vm *inventory.VM, _ *Facts) { vm.Disks[0].Format = inventory.FormatRDM }, `scsi0:0: the disk's backing is "rdm": [ds] web/web.vmdk: its data are on a LUN, not in a file: clone it into one with vmkfstools -i on ESXi, or present the LUN to the target host`, "do that"},
		{"unreadable", func(vm *inventory.VM, f *Facts) {
			f.Unread = map[string]*UnreadError{vm.ID: {"scsi0:1", errors.New("403 Forbidden")}}
		}, "a disk can't be opened: scsi0:1: 403 Forbidden", "leave --layout out"},
		{"nobody knows", func(*inventory.VM, *Facts) {}, "it isn't known what its disks hold", "leave --layout out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := plantest.Host()
			vm := &h.VMs[0]
			f := Facts{Host: &h}
			tt.change(vm, &f)
			for _, kind := range []layout.Kind{layout.Auto, layout.LVM} {
				l := laid(t, f, kind)
				if len(l.Reasons) != 1 || l.Reasons[0] != tt.reason || l.Refused != (kind == layout.LVM) {
					t.Errorf("lay for %s: refused %v, because %q; want %q", kind, l.Refused, l.Reasons, tt.reason)
				}
				v := VMPlan{Source: *vm, Layout: l}
				v.layoutConcerns()
				if kind == layout.LVM && !strings.HasPrefix(v.Concerns[0].Advice, tt.advice) {
					t.Errorf("the advice is %q; want it to begin %q", v.Concerns[0].Advice, tt.advice)
				}
			}
		})
	}
}

// TestKeptDisks: a guest that stays as it is gets disks of the names that its
// LVM takes.
func TestKeptDisks(t *testing.T) {
	for conf, want := range map[string]string{"": "virtio", `devices { filter = [ "a|^/dev/sda5$|", "r|.*|" ] }`: "scsi"} {
		h := plantest.Host()
		vm := &h.VMs[0]
		g := plantest.Debian(vm)
		g.Groups = []guest.Group{{Name: "vg", PVs: []guest.GroupPV{{Disk: "scsi0:0", Partition: 5}}}}
		plantest.SetLVMConf(&g, conf)
		o := testOptions(t)
		o.Layout = layout.Keep
		p := planned(t, Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: g}}, o)
		var dom libvirtxml.Domain
		if err := dom.Unmarshal(p.VMs[0].Domain.XML); err != nil {
			t.Fatal(err)
		}
		if got := dom.Devices.Disks[0].Target.Bus; got != want {
			t.Errorf("with %q the disk is on %s, want %s", conf, got, want)
		}
	}
}

// TestManyDisks: a guest with more disks than the appliance takes keeps its
// layout, with the reason; where a new one was asked for, that is a blocker.
func TestManyDisks(t *testing.T) {
	for _, kind := range []layout.Kind{layout.Auto, layout.LVM} {
		h := plantest.Host()
		vm := &h.VMs[0]
		g := plantest.Debian(vm)
		f := Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: g}}
		for n := len(vm.Disks); n <= appliance.MaxDisks; n++ {
			if l := laid(t, f, kind); l.Kind != layout.LVM {
				t.Fatalf("%s, %d disks: layout %s because %q; want lvm", kind, n, l.Kind, l.Reasons)
			}
			d := vm.Disks[1]
			d.Bus, d.Unit = 1+n/15, n%15
			vm.Disks = append(vm.Disks, d)
			g.Disks = append(g.Disks, guest.DiskLayout{Address: d.Address(), Size: d.Capacity, Table: "none"})
			f.Guests[vm.ID] = g
		}
		l := laid(t, f, kind)
		want := "it has 26 disks, but the appliance in which guests are converted takes at most 25"
		if l.Kind != layout.Keep || !slices.Contains(l.Reasons, want) || l.Refused != (kind == layout.LVM) || len(l.Disks) != len(vm.Disks) {
			t.Errorf("%s: layout %s of %d disks, refused %v, because %q; want it kept: %s", kind, l.Kind, len(l.Disks), l.Refused, l.Reasons, want)
		}
	}
}

// TestTouchPackages: files of packages that come are told, also of those that
// the patterns for lvm2 don't cover; dpkg's list names the rest of these.
func TestTouchPackages(t *testing.T) {
	h := plantest.Host()
	vm := &h.VMs[0]
	g := plantest.Debian(vm)
	g.Config.Packages = g.Config.Packages[:1] // no lvm2
	set := packages.Set{Packages: []packages.Package{{Name: "libudev1", Version: "252.2", Old: "252.1", Size: 1}, {Name: "lvm2", Version: "2.03.16-2", Size: 1}}}
	d, err := NewDraft(Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: g}}, testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	d.Answer(func(Need) GuestFacts { return GuestFacts{Packages: set} })
	v := d.Finish().VMs[0]
	var got []string
	for _, touch := range v.Conversion.Touches {
		if touch.Reason == "files of libudev1: also all that dpkg -L libudev1 lists" {
			got = append(got, touch.Pattern)
		} else if strings.HasPrefix(touch.Reason, "files of lvm2:") {
			t.Errorf("lvm2 is told twice: %+v", touch)
		}
	}
	if want := []string{"/usr/share/doc/libudev1/", "/var/lib/dpkg/info/libudev1.*", "/var/lib/dpkg/info/libudev1:*"}; !slices.Equal(got, want) {
		t.Errorf("touches of libudev1 are %q; want %q", got, want)
	}
	if got := v.packagesStep(); len(got) != 1 || got[0].Text != "get 2 packages for the guest, 2 bytes, and check the hashes" {
		t.Errorf("packagesStep = %+v", got)
	}
}

// TestLay: what this host can't do leaves the disks as they are, or is refused
// where it was asked for.
func TestLay(t *testing.T) {
	h := plantest.Host()
	vm := &h.VMs[0]
	debian := plantest.Debian(vm)
	tests := []struct {
		name    string
		missing string
		asked   layout.Kind
		guest   guest.Guest
		kind    layout.Kind
		refused bool
		reason  string
	}{
		{"unknown guest", "", layout.Auto, guest.Guest{}, layout.Keep, false, ""},
		{"qualifies", "", layout.Auto, debian, layout.LVM, false, ""},
		{"no appliance", "no guestfish", layout.Auto, debian, layout.Keep, false, "no guestfish"},
		{"no appliance, asked", "no guestfish", layout.LVM, debian, layout.Keep, true, "no guestfish"},
		{"keep", "", layout.Keep, debian, layout.Keep, false, ""},
		{"plain", "", layout.Plain, debian, layout.Plain, false, ""},
		{"shared", "", layout.Auto, debian, layout.Keep, false, "multi-writer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vm.Disks[0].MultiWriter = tt.name == "shared"
			o := testOptions(t)
			o.Layout = tt.asked
			d, err := NewDraft(Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: tt.guest}}, o)
			if err != nil {
				t.Fatal(err)
			}
			d.Answer(func(Need) GuestFacts { return GuestFacts{Missing: tt.missing} })
			l := d.Finish().VMs[0].Layout
			if l.Kind != tt.kind || l.Refused != tt.refused || !strings.Contains(strings.Join(l.Reasons, "\n"), tt.reason) {
				t.Errorf("lay = %s, refused %v, because %q; want %s, %v, %q", l.Kind, l.Refused, l.Reasons, tt.kind, tt.refused, tt.reason)
			}
			if len(l.Disks) != len(vm.Disks) {
				t.Errorf("%d disks are laid out of %d", len(l.Disks), len(vm.Disks))
			}
			v := VMPlan{Source: inventory.VM{ID: vm.ID}, Guest: tt.guest, Layout: l}
			v.layoutConcerns()
			if got := len(v.Concerns) > 0; got != (tt.refused || tt.kind == layout.Plain) {
				t.Errorf("concerns = %+v, refused %v", v.Concerns, tt.refused)
			}
			if tt.refused && !strings.HasPrefix(v.Concerns[0].Advice, "do that, and plan again") {
				t.Errorf("advice = %q; what this host lacks can be had", v.Concerns[0].Advice)
			}
		})
	}
}

// TestFaultsOfPlan: the plan tells of file systems that are damaged at the source,
// whether the guest is converted or not. A root that no kernel mounts keeps its
// layout, and stops another that was asked for.
func TestFaultsOfPlan(t *testing.T) {
	for _, tt := range []struct {
		layout  layout.Kind
		refused bool
		kind    layout.Kind
		blocked bool
	}{
		{"", false, layout.LVM, false},
		{layout.Keep, false, layout.Keep, false},
		{"", true, layout.Keep, false},
		{layout.LVM, true, layout.Keep, true},
		{layout.Keep, true, layout.Keep, false},
	} {
		h := plantest.Host()
		vm := &h.VMs[0]
		g := plantest.Debian(vm)
		g.Faults = []guest.Fault{{Volume: g.Root, Content: "xfs", Mount: "/", What: "no header", Refused: tt.refused}}
		o := testOptions(t)
		o.Layout = tt.layout
		facts := Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: g}, Target: TargetFacts{VirtTypes: []string{"qemu"}, EFI: true}}
		p := planned(t, facts, o)
		v := p.VMs[0]
		blocked := ledger.Blocked(v.Concerns)
		found := slices.DeleteFunc(v.Concerns, func(c ledger.Concern) bool { return c.ID != "guest.faults" })
		if v.Layout.Kind != tt.kind || len(found) != 1 || found[0].Severity != ledger.Warning || blocked != tt.blocked {
			t.Errorf("%+v: layout %s, blocked %v, concerns %+v", tt, v.Layout.Kind, blocked, found)
		}
		if why := strings.Join(v.Layout.Reasons, "; "); tt.refused && tt.layout != layout.Keep && !strings.Contains(why, "no header; the conversion changes files on it, and a kernel may refuse to mount it") {
			t.Errorf("%+v: because %q", tt, why)
		}
	}
}
