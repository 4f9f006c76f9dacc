package domain

import (
	"slices"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

func has(r Result, id string, severity ledger.Severity) bool {
	return slices.ContainsFunc(r.Concerns, func(c ledger.Concern) bool { return c.ID == id && c.Severity == severity })
}

// TestConcerns has one case for each thing that raises a concern.
func TestConcerns(t *testing.T) {
	tests := []struct {
		id       string
		severity ledger.Severity
		set      func(*inventory.VM, *Options)
	}{
		{ConcernRDM, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.Disks[0].RDM, vm.Disks[0].Format = "vml.0200", "rdm" }},
		{ConcernMultiWriter, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.Disks[0].MultiWriter = true }},
		{ConcernSharedBus, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.Controllers[0].Shared = "physical" }},
		{ConcernNonpersistent, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Disks[0].Mode = "independent_nonpersistent" }},
		{ConcernIndependent, ledger.Note, func(vm *inventory.VM, _ *Options) { vm.Disks[0].Mode = "independent_persistent" }},
		{ConcernCapacity, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.Disks[0].Capacity = 513 }},
		{ConcernSnapshots, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Snapshots = make([]inventory.Snapshot, 2) }},
		{ConcernConsolidation, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.ConsolidationNeeded = true }},
		{ConcernEncrypted, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.Encrypted = true }},
		{ConcernProblem, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.Problems = []string{"x"} }},
		{ConcernState, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.ConnectionState = "orphaned" }},
		{ConcernTemplate, ledger.Note, func(vm *inventory.VM, _ *Options) { vm.Template = true }},
		{ConcernFaultTolerance, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.FaultTolerance = true }},
		{ConcernPassthrough, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Passthrough = []string{"GPU"} }},
		{ConcernUSBDevice, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.USBDevices = []string{"dongle"} }},
		{ConcernTPM, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.TPM = true }},
		{ConcernNVRAM, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Firmware = inventory.EFI }},
		{ConcernAutoStart, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.AutoStart = &inventory.AutoStart{StartAction: "powerOn"} }},
		{ConcernCPULimit, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.CPU.LimitMHz = 1000 }},
		{ConcernCPUs, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.CPU.Count, vm.CPU.CoresPerSocket = 512, 16 }},
		{ConcernMACMissing, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.NICs[0].MAC = "" }},
		{ConcernMAC, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.NICs[0].MAC = "01:00:5e:00:00:01" }},
		{ConcernUnknownOS, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.GuestID = "otherGuest" }},
		{ConcernWindows, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.GuestID = "windows9Server64Guest" }},
		{ConcernInitramfs, ledger.Warning, func(_ *inventory.VM, o *Options) { o.Guest = guest.Guest{OS: "linux", Distro: "rocky"} }},
		{ConcernInitramfs, ledger.Warning, func(_ *inventory.VM, o *Options) {
			o.Guest = guest.Guest{OS: "linux", Kernels: []string{"5.10.0-8-amd64", "6.1.0-18-amd64"}, Initrds: []guest.Initrd{
				{Kernel: "5.10.0-8-amd64", Virtio: guest.Yes}, {Kernel: "6.1.0-18-amd64", Virtio: guest.No, Evidence: "MODULES=dep"},
			}}
		}},
		{ConcernHibernated, ledger.Blocker, func(_ *inventory.VM, o *Options) {
			o.Guest = guest.Guest{Disks: []guest.DiskLayout{{Address: "scsi0:0", Partitions: []guest.Partition{{Content: "swap", Suspended: true}}}}}
		}},
		{ConcernHibernated, ledger.Blocker, func(_ *inventory.VM, o *Options) {
			o.Guest = guest.Guest{Volumes: []guest.Volume{{Group: "vg", Name: "swap", Suspended: true}}}
		}},
		{ConcernLoader, ledger.Warning, func(vm *inventory.VM, o *Options) {
			vm.Firmware = inventory.EFI
			o.Guest = guest.Guest{OS: "linux", EFILoaders: []string{"EFI/debian/shimx64.efi"}}
		}},
		{ConcernConsole, ledger.Note, func(_ *inventory.VM, o *Options) { o.Guest = guest.Guest{OS: "linux", Consoles: []string{"tty0"}} }},
		{ConcernNICName, ledger.Warning, func(_ *inventory.VM, o *Options) { o.Guest = guest.Guest{OS: "linux", Interfaces: []string{"ens192"}} }},
		{ConcernNICName, ledger.Warning, func(_ *inventory.VM, o *Options) { o.Guest = guest.Guest{OS: "linux", Interfaces: []string{"enp11s0"}} }},
		{ConcernDiskNames, ledger.Warning, func(_ *inventory.VM, o *Options) {
			o.Guest = guest.Guest{OS: "linux", DiskNames: []string{"/dev/nvme0n1p1"}}
		}},
		{ConcernCloudInit, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Extra = map[string]string{"guestinfo.userdata": "(1 bytes)"} }},
		{ConcernMemoryLimit, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Memory.LimitMiB = 1024 }},
	}
	plain := must(t, func(*inventory.VM, *Options) {})
	for _, tt := range tests {
		if has(plain, tt.id, tt.severity) {
			t.Errorf("%s: raised for the plain VM too", tt.id)
		}
		r := must(t, tt.set)
		if !has(r, tt.id, tt.severity) {
			t.Errorf("%s: no %s in %+v", tt.id, tt.severity, r.Concerns)
		}
		for _, c := range r.Concerns {
			if c.Evidence == "" || c.Advice == "" {
				t.Errorf("%+v: evidence and advice are wanted", c)
			}
		}
	}
	for _, name := range []string{"eth0", "enp1s0"} { // the kernel's own, and the one that it'll have
		r := must(t, func(_ *inventory.VM, o *Options) { o.Guest = guest.Guest{OS: "linux", Interfaces: []string{name}} })
		if has(r, ConcernNICName, ledger.Warning) {
			t.Errorf("%s: %+v", name, r.Concerns)
		}
	}
}
