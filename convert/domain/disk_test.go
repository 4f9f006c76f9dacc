package domain

import (
	"slices"
	"testing"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/inventory"
)

func TestDiskBus(t *testing.T) {
	many := func(vm *inventory.VM) {
		vm.Disks = nil
		for i := range 64 {
			vm.Disks = append(vm.Disks, inventory.Disk{Class: "scsi", Bus: i / 16, Unit: i % 16, Capacity: gib})
		}
	}
	tests := []struct {
		name      string
		set       func(*inventory.VM, *Options)
		bus       string
		first     string
		last      string
		machine   string
		nic       string
		wantClass string
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
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := must(t, tt.set)
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
