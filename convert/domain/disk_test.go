package domain

import (
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// TestUnreadTold: what changes for a guest that nobody could look into is told, as
// far as it may keep it from starting.
func TestUnreadTold(t *testing.T) {
	for model, want := range map[string]string{"pvscsi": "its disks stay on the kind of controller", "lsilogic": "it needs virtio's drivers"} {
		r := must(t, unread(model, "scsi"))
		i := slices.IndexFunc(r.Concerns, func(c ledger.Concern) bool { return c.ID == ConcernInitramfs })
		if i < 0 || !strings.Contains(r.Concerns[i].Evidence, want) {
			t.Errorf("on %s: concerns %+v; want %q told", model, r.Concerns, want)
		}
	}
}

// unread puts the disks on controllers of a kind, and has nobody look into them.
func unread(model, class string) func(*inventory.VM, *Options) {
	return func(vm *inventory.VM, o *Options) {
		vm.Controllers = []inventory.Controller{{Key: 1000, Class: class, Model: model}}
		for i := range vm.Disks {
			vm.Disks[i].Class, vm.Disks[i].Bus, vm.Disks[i].Unit = class, 0, i
		}
		vm.CDROMs, vm.NICs[0].Model = nil, "vmxnet3"
		o.Guest = guest.Guest{Notes: []string{"no look inside: it is encrypted"}}
	}
}

// rhel is a guest whose initrd has the drivers of the machine alone.
func rhel() guest.Guest {
	return guest.Guest{
		OS: "linux", Distro: "rhel", Kernels: []string{"4.18.0-553.el8.x86_64"},
		Initrds: []guest.Initrd{{Kernel: "4.18.0-553.el8.x86_64", Virtio: guest.No, Evidence: "hostonly"}},
	}
}

func TestDiskBus(t *testing.T) {
	many := func(vm *inventory.VM) {
		vm.Disks = nil
		for i := range 64 {
			vm.Disks = append(vm.Disks, inventory.Disk{Class: "scsi", Bus: i / 16, Unit: i % 16, Capacity: gib})
		}
	}
	tests := []struct {
		name    string
		set     func(*inventory.VM, *Options)
		bus     string
		first   string
		last    string
		machine string
		nic     string
		model   string // of the SCSI controllers, if any
	}{
		{name: "linux", set: func(*inventory.VM, *Options) {}, bus: "virtio", first: "vda", last: "vdb", machine: "q35", nic: "virtio"},
		{name: "serials", set: func(vm *inventory.VM, _ *Options) { vm.DiskEnableUUID = true }, bus: "scsi", first: "sda", last: "sdb", machine: "q35", nic: "virtio"},
		{name: "sd names", set: func(_ *inventory.VM, o *Options) {
			o.Guest = guest.Guest{OS: "linux", DiskNames: []string{"/dev/sda1"}}
		}, bus: "scsi", first: "sda", last: "sdb", machine: "q35", nic: "virtio"},
		{name: "sd names only", set: func(_ *inventory.VM, o *Options) {
			o.OnlyDisks = guest.OnlyDisks{Prefix: "sd", Reason: "a filter"}
		}, bus: "scsi", first: "sda", last: "sdb", machine: "q35", nic: "virtio"},
		{name: "vd names only", set: func(_ *inventory.VM, o *Options) {
			o.OnlyDisks = guest.OnlyDisks{Prefix: "vd", Reason: "a filter"}
		}, bus: "virtio", first: "vda", last: "vdb", machine: "q35", nic: "virtio"},
		{name: "sd names only, before virtio-scsi", set: func(_ *inventory.VM, o *Options) {
			o.Guest = guest.Guest{OS: "linux", Kernels: []string{"3.2.0-4-amd64"}}
			o.OnlyDisks = guest.OnlyDisks{Prefix: "sd", Reason: "a filter"}
		}, bus: "sata", first: "sda", last: "sdb", machine: "q35", nic: "virtio-transitional"},
		{name: "many", set: func(vm *inventory.VM, _ *Options) { many(vm) }, bus: "scsi", first: "sda", last: "sdbl", machine: "q35", nic: "virtio"},
		{name: "windows", set: func(vm *inventory.VM, _ *Options) { vm.GuestID = "windows2019srv_64Guest" }, bus: "sata", first: "sda", last: "sdb", machine: "q35", nic: "e1000e"},
		{name: "xp", set: func(vm *inventory.VM, _ *Options) { vm.GuestID = "winXPProGuest" }, bus: "ide", first: "hda", last: "hdb", machine: "pc", nic: "rtl8139"},
		{name: "xp with many disks", set: func(vm *inventory.VM, _ *Options) { vm.GuestID = "winXPProGuest"; many(vm) }, bus: "sata", first: "sda", last: "sdbl", machine: "pc", nic: "rtl8139"},
		{name: "dos", set: func(vm *inventory.VM, _ *Options) { vm.GuestID = "dosGuest" }, bus: "ide", first: "hda", last: "hdb", machine: "pc", nic: "e1000"},
		{name: "unknown", set: func(vm *inventory.VM, _ *Options) { vm.GuestID = "" }, bus: "sata", first: "sda", last: "sdb", machine: "q35", nic: "e1000e"},
		{name: "freebsd", set: func(vm *inventory.VM, _ *Options) { vm.GuestID = "freebsd13_64Guest" }, bus: "scsi", first: "sda", last: "sdb", machine: "q35", nic: "virtio"},
		{name: "wrong guest id", set: func(vm *inventory.VM, o *Options) {
			vm.GuestID = "winXPProGuest"
			o.Guest = guest.Guest{OS: "linux", Kernels: []string{"6.1.0-18-amd64"}}
		}, bus: "virtio", first: "vda", last: "vdb", machine: "q35", nic: "virtio"},
		{name: "in-place upgrade", set: func(vm *inventory.VM, o *Options) {
			vm.GuestID = "debian4_64Guest"
			o.Guest = guest.Guest{OS: "linux", Kernels: []string{"2.4.27", "5.10.0-8-amd64"}}
		}, bus: "virtio", first: "vda", last: "vdb", machine: "q35", nic: "virtio"},
		{name: "old kernel", set: func(vm *inventory.VM, o *Options) {
			o.Guest = guest.Guest{OS: "linux", Kernels: []string{"2.4.27-3-686"}}
		}, bus: "ide", first: "hda", last: "hdb", machine: "pc", nic: "e1000"},
		// Case G2: what nobody could look into changes least.
		{name: "unread, on pvscsi", set: unread("pvscsi", "scsi"), bus: "scsi", first: "sda", last: "sdb", machine: "q35", nic: "vmxnet3", model: "vmpvscsi"},
		{name: "unread, on LSI SAS", set: unread("lsisas1068", "scsi"), bus: "scsi", first: "sda", last: "sdb", machine: "q35", nic: "vmxnet3", model: "lsisas1068"},
		{name: "unread, on LSI parallel, which QEMU doesn't have", set: unread("lsilogic", "scsi"), bus: "scsi", first: "sda", last: "sdb", machine: "q35", nic: "vmxnet3", model: "virtio-scsi"},
		{name: "unread, on SATA", set: unread("ahci", "sata"), bus: "sata", first: "sda", last: "sdb", machine: "q35", nic: "vmxnet3"},
		{name: "unread, two kinds of controller", set: func(vm *inventory.VM, o *Options) {
			unread("pvscsi", "scsi")(vm, o)
			vm.Controllers = append(vm.Controllers, inventory.Controller{Class: "scsi", Bus: 1, Model: "lsisas1068"})
			vm.Disks[1].Bus = 1
		}, bus: "scsi", first: "sda", last: "sdb", machine: "q35", nic: "vmxnet3", model: "virtio-scsi"},
		{name: "no virtio in the initrd, on pvscsi", set: func(vm *inventory.VM, o *Options) {
			unread("pvscsi", "scsi")(vm, o)
			o.Guest = rhel()
		}, bus: "scsi", first: "sda", last: "sdb", machine: "q35", nic: "virtio", model: "vmpvscsi"},
		{name: "no virtio in the initrd, on LSI parallel", set: func(vm *inventory.VM, o *Options) {
			unread("lsilogic", "scsi")(vm, o)
			o.Guest = rhel()
		}, bus: "virtio", first: "vda", last: "vdb", machine: "q35", nic: "virtio"},
		{name: "sd names, on SATA", set: func(vm *inventory.VM, o *Options) {
			unread("ahci", "sata")(vm, o)
			o.Guest = guest.Guest{OS: "linux", DiskNames: []string{"/dev/sda1"}}
		}, bus: "sata", first: "sda", last: "sdb", machine: "q35", nic: "virtio"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := must(t, tt.set)
			if i := slices.IndexFunc(r.Domain.Devices.Controllers, func(c libvirtxml.DomainController) bool { return c.Type == "scsi" }); tt.model != "" && (i < 0 || r.Domain.Devices.Controllers[i].Model != tt.model) {
				t.Errorf("controllers %+v; want a %s", r.Domain.Devices.Controllers, tt.model)
			}
			var disks []libvirtxml.DomainDisk
			for _, d := range r.Domain.Devices.Disks {
				if d.Device == "disk" {
					disks = append(disks, d)
				}
			}
			first, last := disks[0].Target, disks[len(disks)-1].Target
			got := []string{first.Bus, first.Dev, last.Dev, r.Domain.OS.Type.Machine, r.Domain.Devices.Interfaces[0].Model.Type}
			if want := []string{tt.bus, tt.first, tt.last, tt.machine, tt.nic}; !slices.Equal(got, want) {
				t.Errorf("bus, first, last, machine, NIC = %v; want %v", got, want)
			}
		})
	}
}
