package domain

import (
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/network"
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
		{ConcernConsolidation, ledger.Note, func(vm *inventory.VM, _ *Options) { vm.ConsolidationNeeded = true }},
		{ConcernEncrypted, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.Encrypted = true }},
		{ConcernProblem, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.Problems = []string{"x"} }},
		{ConcernState, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.ConnectionState = "orphaned" }},
		{ConcernTemplate, ledger.Note, func(vm *inventory.VM, _ *Options) { vm.Template = true }},
		{ConcernFaultTolerance, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.FaultTolerance = true }},
		{ConcernPassthrough, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Passthrough = []string{"GPU"} }},
		{ConcernUSBDevice, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.USBDevices = []string{"dongle"} }},
		{ConcernTPM, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.TPM = true }},
		{ConcernNVRAM, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Firmware = inventory.EFI }},
		{ConcernNVRAM, ledger.Note, func(vm *inventory.VM, o *Options) {
			vm.Firmware = inventory.EFI
			o.Guest = guest.Guest{OS: "linux", EFILoaders: []string{"EFI/debian/shimx64.efi", "EFI/Boot/bootx64.efi"}}
		}},
		{ConcernSRIOV, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.NICs[0].Model = "sriov" }},
		{ConcernVFDriver, ledger.Warning, onFunction("igbvf", "2.6.26-2-amd64")},
		{ConcernVFDriver, ledger.Warning, onFunction("igbvf")},
		{ConcernVFDriver, ledger.Warning, onFunction("funeth", "6.1.0-18-amd64")},
		{ConcernVFDriver, ledger.Warning, func(vm *inventory.VM, o *Options) {
			vm.GuestID = "windows2019srv_64Guest"
			onFunction("igbvf")(vm, o)
			o.Guest = guest.Guest{}
		}},
		{ConcernNUMA, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Extra = map[string]string{"numa.nodeaffinity": "0"} }},
		{ConcernNUMA, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Extra = map[string]string{"sched.mem.affinity": "1"} }},
		{ConcernNUMA, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.Extra = map[string]string{"sched.vcpu0.affinity": "1"} }},
		{ConcernKernel, ledger.Note, func(vm *inventory.VM, _ *Options) { vm.GuestID = "debian5Guest" }},
		{ConcernKernel, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.GuestID = "rhel5Guest" }},
		{ConcernAutoStart, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.AutoStart = &inventory.AutoStart{StartAction: "powerOn"} }},
		{ConcernCPULimit, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.CPU.LimitMHz = 1000 }},
		{ConcernCPUs, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.CPU.Count, vm.CPU.CoresPerSocket = 512, 16 }},
		{ConcernMACMissing, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.NICs[0].MAC = "" }},
		{ConcernMAC, ledger.Blocker, func(vm *inventory.VM, _ *Options) { vm.NICs[0].MAC = "01:00:5e:00:00:01" }},
		{ConcernUnknownOS, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.GuestID = "otherGuest" }},
		{ConcernWindows, ledger.Warning, func(vm *inventory.VM, _ *Options) { vm.GuestID = "windows9Server64Guest" }},
		{ConcernInitramfs, ledger.Warning, func(_ *inventory.VM, o *Options) { o.Guest = guest.Guest{OS: "linux", Distro: "rocky"} }},
		{ConcernInitramfs, ledger.Blocker, func(vm *inventory.VM, o *Options) {
			vm.Controllers[0].Model = "lsilogic" // which QEMU doesn't have
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
		{ConcernLoader, ledger.Blocker, func(vm *inventory.VM, o *Options) {
			vm.Firmware = inventory.EFI
			o.Guest = guest.Guest{OS: "linux", EFILoaders: []string{"EFI/debian/shimx64.efi"}}
		}},
		{ConcernConsole, ledger.Note, func(_ *inventory.VM, o *Options) { o.Guest = guest.Guest{OS: "linux", Consoles: []string{"tty0"}} }},
		{ConcernNICName, ledger.Note, func(_ *inventory.VM, o *Options) { o.NICs = []guest.NIC{{Name: "ens192"}} }},
		{ConcernNICName, ledger.Warning, func(_ *inventory.VM, o *Options) {
			o.Guest, o.NICs = guest.Guest{Interfaces: []string{"enp11s0"}}, []guest.NIC{{Name: "enp11s0"}}
		}},
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
	for _, n := range []guest.NIC{{}, {Name: "enp1s0"}, {Name: "ens192", Kept: "/etc/systemd/network/10-own.link"}, {Index: 1, Name: "ens192"}} {
		r := must(t, func(_ *inventory.VM, o *Options) { o.NICs = []guest.NIC{n} })
		if got := texts(r, ConcernNICName); got != "" {
			t.Errorf("%+v: %s; want nothing", n, got)
		}
	}
	for _, declined := range []bool{false, true} {
		r := must(t, func(_ *inventory.VM, o *Options) { o.NICs, o.NoEdits = []guest.NIC{{Name: "ens192"}}, declined })
		if got := texts(r, ConcernNICName); strings.Contains(got, "--no-edits") != declined {
			t.Errorf("declined %v: %s", declined, got)
		}
	}
}

// texts joins the evidence and advice of the concerns of one id.
func texts(r Result, id string) string {
	var all []string
	for _, c := range r.Concerns {
		if c.ID == id {
			all = append(all, string(c.Severity)+": "+c.Evidence+": "+c.Advice)
		}
	}
	return strings.Join(all, "\n")
}

// TestConcernTexts wants what an admin needs to know said, and no more.
func TestConcernTexts(t *testing.T) {
	bare := func(id string) func(*inventory.VM, *Options) { // a Windows without SATA
		return func(vm *inventory.VM, _ *Options) { vm.GuestID, vm.CDROMs = id, nil }
	}
	tests := []struct {
		name, id string
		set      func(*inventory.VM, *Options)
		want     string // "" for no concern
		not      string
	}{
		{"passthrough", ConcernPassthrough, func(vm *inventory.VM, _ *Options) { vm.Passthrough = []string{"GPU"} }, "give the domain a device of this host", ""},
		{"autostart", ConcernAutoStart, func(vm *inventory.VM, _ *Options) { vm.AutoStart = &inventory.AutoStart{StartAction: "powerOn"} }, "takes it out of the autostart there, and has this host start the domain", ""},
		{"fallback missing", ConcernNVRAM, func(vm *inventory.VM, o *Options) {
			vm.Firmware, o.Guest = inventory.EFI, guest.Guest{OS: "linux", EFILoaders: []string{"EFI/debian/shimx64.efi"}}
		}, "", ""},
		{"fallback seen", ConcernNVRAM, func(vm *inventory.VM, o *Options) {
			vm.Firmware, o.Guest = inventory.EFI, guest.Guest{OS: "linux", EFILoaders: []string{"EFI/BOOT/BOOTX64.EFI"}}
		}, "note: ", "warning"},
		{"no look inside", ConcernNVRAM, func(vm *inventory.VM, _ *Options) { vm.Firmware = inventory.EFI }, "warning: ", ""},
		{"no SATA", ConcernWindows, bare("windows2019srv_64Guest"), `Services\storahci Start to 0`, "msahci"},
		{"no SATA, before storahci", ConcernWindows, bare("windows7Server64Guest"), `Services\msahci Start to 0`, "storahci"},
		{"no SATA, before AHCI", ConcernWindows, bare("winXPProGuest"), "virtio-win", "0x7B"},
		{"SATA controller", ConcernWindows, func(vm *inventory.VM, o *Options) {
			bare("windows2019srv_64Guest")(vm, o)
			vm.Controllers = append(vm.Controllers, inventory.Controller{Class: "sata", Model: "ahci"})
		}, "virtio-win", "0x7B"},
		{"sd names only", ConcernDiskNames, func(_ *inventory.VM, o *Options) {
			o.OnlyDisks = guest.OnlyDisks{Prefix: "sd", Reason: "a filter"}
		}, "", ""},
		{"vd names only", ConcernDiskNames, func(_ *inventory.VM, o *Options) {
			o.OnlyDisks = guest.OnlyDisks{Prefix: "vd", Reason: "a filter"}
		}, "", ""},
		{"vd names only, on another bus", ConcernDiskNames, func(vm *inventory.VM, o *Options) {
			vm.DiskEnableUUID = true
			o.OnlyDisks = guest.OnlyDisks{Prefix: "vd", Reason: "a filter hides sda"}
		}, "warning: a filter hides sda, and the domain's disks will be sda, sdb", ""},
		{"no bus's names", ConcernDiskNames, func(_ *inventory.VM, o *Options) {
			o.OnlyDisks = guest.OnlyDisks{Prefix: "disk/", Reason: "a filter hides both"}
		}, "warning: a filter hides both, and the domain's disks will be", ""},
		{"ESXi's own NUMA keys", ConcernNUMA, func(vm *inventory.VM, _ *Options) { vm.Extra = map[string]string{"numa.autosize.cookie": "1"} }, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := texts(must(t, tt.set), tt.id)
			if !strings.Contains(got, tt.want) || tt.want == "" && got != "" || tt.not != "" && strings.Contains(got, tt.not) {
				t.Errorf("%s: %q; want %q in it, not %q", tt.id, got, tt.want, tt.not)
			}
		})
	}
}

// TestLedgerTexts has what the ledger must say of single properties.
func TestLedgerTexts(t *testing.T) {
	r := must(t, func(vm *inventory.VM, _ *Options) {
		vm.CPU.SharesLevel, vm.CPU.Shares = "high", 8000
		vm.NICs[0].Model = "sriov"
		vm.Extra = map[string]string{"uuid.action": "keep"}
	})
	for property, want := range map[string]string{
		"cpu.shares": "on a host with v1, where the default is 1024", "nics[ethernet0].model": "a virtual function of the ESXi host's adapter stays there", "extra[uuid.action]": "keeps the VM's UUID",
	} {
		i := slices.IndexFunc(r.Ledger, func(e ledger.Entry) bool { return e.Property == property })
		if i < 0 || !strings.Contains(r.Ledger[i].Reason, want) {
			t.Errorf("%s: no entry with the reason %q", property, want)
		}
	}
}

func TestHyperV(t *testing.T) {
	for cpus, want := range map[int]bool{1: false, 2: true} {
		r := must(t, func(vm *inventory.VM, _ *Options) {
			vm.GuestID, vm.CPU = "windows2019srv_64Guest", inventory.CPU{Count: cpus, CoresPerSocket: 1}
		})
		h := r.Domain.Features.HyperV
		if h.Reset == nil || h.Frequencies == nil || (h.TLBFlush != nil) != want || (h.IPI != nil) != want {
			t.Errorf("%d CPUs: %+v; want tlbflush and ipi: %v", cpus, h, want)
		}
	}
}

// onFunction gives the NIC a virtual function, and the guest kernels.
func onFunction(driver string, kernels ...string) func(*inventory.VM, *Options) {
	return func(vm *inventory.VM, o *Options) {
		o.Guest.OS, o.Guest.Kernels = "linux", kernels
		o.Network.Attachments = []network.Attachment{{PortGroup: vm.NICs[0].PortGroup, Mode: network.SRIOV, Device: "eno1", Network: "esxodus-vf-eno1", Driver: driver}}
	}
}

// TestFunctionFits: a guest that has the driver gets a virtual function without a
// word, in place of one on ESXi too.
func TestFunctionFits(t *testing.T) {
	r := must(t, func(vm *inventory.VM, o *Options) {
		vm.NICs[0].Model = "sriov"
		onFunction("igbvf", "6.1.0-18-amd64")(vm, o)
	})
	for _, c := range r.Concerns {
		if c.ID == ConcernVFDriver || c.ID == ConcernSRIOV {
			t.Errorf("%+v", c)
		}
	}
}
