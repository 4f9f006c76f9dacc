package domain

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// needing is a Linux guest that doesn't come up without a volume which it names
// by spec.
func needing(spec string) guest.Guest {
	g := guest.Guest{OS: "linux", Root: "scsi0:0 partition 1", Kernels: []string{"6.1.0-18-amd64"}}
	g.Config.Needs = []guest.Need{{File: "/etc/fstab", Spec: spec, Mount: "/opt"}}
	if name := conf.UnstableName(spec); name != "" {
		g.DiskNames = []string{name}
	}
	return g
}

// TestNeeds: a guest that would wait for a name which nothing in the domain has
// is refused, and one that gets the name isn't.
func TestNeeds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		spec    string
		serials bool // disk.EnableUUID
		ide     bool // a kernel from before AHCI
		blocked bool
	}{
		{spec: "/dev/nvme0n2p1", blocked: true}, // case P1
		{spec: "/dev/hda1", blocked: true},
		{spec: "/dev/sda1"}, // the bus is one that keeps it
		{spec: "/dev/hda1", ide: true},
		{spec: "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part1", blocked: true},
		{spec: "/dev/disk/by-id/wwn-0x6000c29e0000000000000000deadbeef-part1", blocked: true},
		{spec: "/dev/disk/by-id/scsi-SVMware_Virtual_disk_6000c29e-part1", blocked: true},
		{spec: "/dev/disk/by-id/scsi-SVMware_Virtual_disk_6000c29e-part1", serials: true},
		{spec: "/dev/disk/by-id/md-uuid-1:2:3:4"},
		{spec: "/dev/disk/by-uuid/AAAA-1"},
		{spec: "/dev/mapper/vg-opt"},
		{spec: "UUID=AAAA-1"},
	} {
		r := must(t, func(vm *inventory.VM, o *Options) {
			vm.DiskEnableUUID, o.Guest = tt.serials, needing(tt.spec)
			if tt.ide {
				o.Guest.Kernels = []string{"2.6.18-8.el5"}
			}
		})
		if has(r, ConcernDiskNames, ledger.Blocker) != tt.blocked {
			t.Errorf("%+v: %q; want a blocker: %v", tt, texts(r, ConcernDiskNames), tt.blocked)
		}
		if got := texts(r, ConcernDiskNames); tt.blocked && (!strings.Contains(got, "/etc/fstab names "+tt.spec+" for /opt") || strings.Contains(got, "warning: the guest's configuration names")) {
			t.Errorf("%+v: %q; want file, name and place once", tt, got)
		}
	}
}

// TestNeedsOfDrives: what is in a drive doesn't come along.
func TestNeedsOfDrives(t *testing.T) {
	t.Parallel()
	for spec, blocked := range map[string]bool{
		"/dev/sr0": true, "/dev/cdrom": true, "/dev/scd1": true, "/dev/fd0": true, "/dev/srv": false, "/srv/cdrom.iso": false, "/dev/sda1": false,
	} {
		r := must(t, func(_ *inventory.VM, o *Options) { o.Guest = needing(spec) })
		if got := texts(r, ConcernISO); strings.Contains(got, "blocker: /etc/fstab names "+spec+" for /opt") != blocked {
			t.Errorf("%s: %q; want a blocker: %v", spec, got, blocked)
		}
	}
}

// TestBIOSLoader: without a boot sector a BIOS starts nothing, unless it has a disc
// or the network.
func TestBIOSLoader(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*inventory.VM, *Options)
		want   string
	}{
		"none":          {func(*inventory.VM, *Options) {}, "blocker: "},
		"on one disk":   {func(_ *inventory.VM, o *Options) { o.Guest.Disks[1].BootCode = true }, ""},
		"a disk unread": {func(_ *inventory.VM, o *Options) { o.Guest.Disks = o.Guest.Disks[:1] }, ""},
		"no root":       {func(_ *inventory.VM, o *Options) { o.Guest.Root = "" }, ""},
		"UEFI":          {func(vm *inventory.VM, _ *Options) { vm.Firmware = inventory.EFI }, ""},
		"a new loader":  {func(_ *inventory.VM, o *Options) { o.BootDisk, o.BIOS = "scsi0:2", true }, ""},
		"a disc":        {func(vm *inventory.VM, _ *Options) { vm.CDROMs[0].ISO = "[ds] live.iso" }, "warning: "},
		"network first": {func(vm *inventory.VM, _ *Options) { vm.BootOrder = []string{"ethernet:4000"} }, "warning: "},
	} {
		r := must(t, func(vm *inventory.VM, o *Options) {
			vm.CDROMs[0].ISO = ""
			o.Guest = guest.Guest{OS: "linux", Root: "scsi0:2 partition 1", Disks: make([]guest.DiskLayout, len(vm.Disks))}
			tt.change(vm, o)
		})
		if got := texts(r, ConcernBootCode); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q; want %q", name, got, tt.want)
		}
	}
}

// TestEFILoader: firmware whose boot entries are new starts nothing but
// EFI/BOOT/BOOTX64.EFI. Without a look nothing is certain.
func TestEFILoader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		loaders []string
		esp     bool
		bios    bool
		blocked string // in the advice
	}{
		{loaders: []string{"EFI/debian/shimx64.efi"}, esp: true, blocked: "grub-install --removable"},
		{loaders: []string{"EFI/Microsoft/Boot/bootmgfw.efi"}, esp: true, blocked: "mountvol S: /S"},
		{esp: true, blocked: "grub-install --removable"},
		{loaders: []string{"EFI/debian/shimx64.efi", "EFI/Boot/bootx64.efi"}, esp: true},
		{},
		{loaders: []string{"EFI/debian/shimx64.efi"}, esp: true, bios: true},
	} {
		r := must(t, func(vm *inventory.VM, o *Options) {
			vm.Firmware, o.BIOS = inventory.EFI, tt.bios
			o.Guest = guest.Guest{OS: "linux", EFILoaders: tt.loaders}
			o.Guest.Config.ESP = tt.esp
		})
		if got := texts(r, ConcernLoader); strings.HasPrefix(got, "blocker: ") != (tt.blocked != "") || !strings.Contains(got, tt.blocked) {
			t.Errorf("%+v: %q; want a blocker with %q", tt, got, tt.blocked)
		}
	}
}

// TestMissingPV: a group of which a physical volume is missing is a blocker
// where the guest doesn't come up without it.
func TestMissingPV(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		root    string
		need    guest.Need
		disk    string // of the second physical volume
		blocked bool
	}{
		{name: "root", root: "vg/root", blocked: true},
		{name: "all there", root: "vg/root", disk: "scsi0:1"},
		{name: "no part of the boot", root: "scsi0:0 partition 1"},
		{name: "a needed line", root: "scsi0:0 partition 1", need: guest.Need{File: "/etc/fstab", Spec: "UUID=d", Mount: "/data"}, blocked: true},
		{name: "a root that can't be read", need: guest.Need{File: "the kernel's command line", Spec: "/dev/mapper/vg-root", Mount: "/"}, blocked: true},
	} {
		r := must(t, func(_ *inventory.VM, o *Options) {
			o.Guest = guest.Guest{
				OS: "linux", Root: tt.root, Volumes: []guest.Volume{{Group: "vg", Name: "data", Mount: "/data"}},
				Groups: []guest.Group{{
					Name: "vg", PVs: []guest.GroupPV{{UUID: "p1", Disk: "scsi0:0"}, {UUID: "p2", Disk: tt.disk}}, LVs: []guest.GroupLV{{Name: "root"}, {Name: "data"}},
				}},
			}
			if tt.need.Spec != "" {
				o.Guest.Config.Needs = []guest.Need{tt.need}
			}
		})
		if has(r, ConcernGroup, ledger.Blocker) != tt.blocked {
			t.Errorf("%s: %q; want a blocker: %v", tt.name, texts(r, ConcernGroup), tt.blocked)
		}
	}
}

// TestLVMDevices: LVM's list of disks is told of where it names those of VMware
// and the guest boots from LVM, unless the conversion removes it.
func TestLVMDevices(t *testing.T) {
	t.Parallel()
	const wwid, devname = "IDTYPE=sys_wwid IDNAME=naa.6000c29e PVID=x\n", "IDTYPE=devname IDNAME=/dev/sda2 PVID=x\n"
	for _, tt := range []struct {
		text, root string
		converted  bool
		want       bool
	}{
		{wwid, "vg/root", false, true},
		{devname, "vg/root", false, false}, // LVM looks for the PVID
		{wwid, "scsi0:0 partition 1", false, false},
		{wwid, "vg/root", true, false},
		{"", "vg/root", false, false},
	} {
		r := must(t, func(vm *inventory.VM, o *Options) {
			o.Guest = guest.Guest{OS: "linux", Root: tt.root, Groups: []guest.Group{{Name: "vg", PVs: []guest.GroupPV{{Disk: "scsi0:0"}}}}}
			o.Guest.Config.Files = map[string]guest.File{"/etc/lvm/devices/system.devices": {Text: tt.text}}
			if tt.converted {
				o.BootDisk = vm.Disks[0].Address()
			}
		})
		if has(r, ConcernGroup, ledger.Warning) != tt.want {
			t.Errorf("%+v: %q; want a warning: %v", tt, texts(r, ConcernGroup), tt.want)
		}
	}
}

// TestFilterHidesRoot: an LVM filter that hides the domain's disks hides a root
// on LVM with them.
func TestFilterHidesRoot(t *testing.T) {
	t.Parallel()
	for root, want := range map[string]ledger.Severity{"vg/root": ledger.Blocker, "scsi0:0 partition 1": ledger.Warning} {
		r := must(t, func(_ *inventory.VM, o *Options) {
			o.Guest = guest.Guest{OS: "linux", Root: root, Groups: []guest.Group{{Name: "vg", PVs: []guest.GroupPV{{Disk: "scsi0:0"}}}}}
			o.OnlyDisks = guest.OnlyDisks{Prefix: "disk/", Reason: "a filter hides both"}
		})
		i := slices.IndexFunc(r.Concerns, func(c ledger.Concern) bool { return c.ID == ConcernDiskNames })
		if i < 0 || r.Concerns[i].Severity != want {
			t.Errorf("root %s: %s; want %s", root, fmt.Sprint(r.Concerns), want)
		}
	}
}

// TestIdleNames: a name that nothing uses by itself is worth a note.
func TestIdleNames(t *testing.T) {
	t.Parallel()
	for idle, want := range map[bool]ledger.Severity{true: ledger.Note, false: ledger.Warning} {
		r := must(t, func(_ *inventory.VM, o *Options) {
			o.Guest = needing("UUID=AAAA-1")
			o.Guest.DiskNames = []string{"/dev/hdc1"}
			if idle {
				o.Guest.Config.IdleNames = o.Guest.DiskNames
			}
		})
		if got := texts(r, ConcernDiskNames); !has(r, ConcernDiskNames, want) || strings.Count(got, "/dev/hdc1") != 1 {
			t.Errorf("idle %v: %q; want one %s", idle, got, want)
		}
	}
	// The order of sd names matters to nobody but who uses them.
	r := must(t, func(vm *inventory.VM, o *Options) {
		d := vm.Disks[0]
		d.Unit, d.Key = d.Unit+1, d.Key+1
		vm.Disks = append(vm.Disks, d)
		o.Disks = append(o.Disks, Disk{Address: d.Address(), Path: "/other", Size: d.Capacity})
		o.Guest = needing("UUID=AAAA-1")
		o.Guest.DiskNames = []string{"/dev/sdb1"}
		o.Guest.Config.IdleNames = o.Guest.DiskNames
	})
	if has(r, ConcernDiskNames, ledger.Warning) {
		t.Errorf("%q; want no warning", texts(r, ConcernDiskNames))
	}
}

// TestManyNeeds: of many lines that would stop the guest one concern tells.
func TestManyNeeds(t *testing.T) {
	t.Parallel()
	r := must(t, func(_ *inventory.VM, o *Options) {
		o.Guest = needing("/dev/nvme0n2p1")
		for i := range 50 {
			o.Guest.Config.Needs = append(o.Guest.Config.Needs, guest.Need{File: "/etc/fstab", Spec: fmt.Sprintf("/dev/nvme0n2p%d", i+2), Mount: fmt.Sprintf("/srv/%d", i)})
		}
	})
	if got := texts(r, ConcernDiskNames); strings.Count(got, "blocker:") != 1 || !strings.Contains(got, "and 48 more") {
		t.Errorf("%q; want one blocker with a count", got)
	}
}
