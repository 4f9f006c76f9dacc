// Package plantest has a host, a VM and a guest for tests to plan with.
package plantest

import (
	"esxodus/convert/guest"
	"esxodus/convert/guest/netconf"
	"esxodus/inventory"
)

// DiskSize is the size of each of the VM's disks in bytes.
const DiskSize = 9<<20 + 512

// Host is an ESXi host with one VM, web, of two disks.
func Host() inventory.Host {
	return inventory.Host{
		Name: "esx1", Version: "6.5.0", License: inventory.License{ReadOnly: true},
		Network: inventory.Network{
			VSwitches:  []inventory.VSwitch{{Name: "vSwitch0", MTU: 1500, Uplinks: []string{"vmnic0"}}},
			PortGroups: []inventory.PortGroup{{Name: "VM Network", VSwitch: "vSwitch0"}},
			Uplinks:    []inventory.Uplink{{Device: "vmnic0", SpeedMbps: 1000}},
		},
		VMs: []inventory.VM{VM()},
	}
}

// VM is the VM of webHost.
func VM() inventory.VM {
	vm := inventory.VM{
		ID: "7", Name: "web", Path: "[ds] web/web.vmx", BIOSUUID: "564d0000-0000-0000-0000-000000000001",
		InstanceUUID: "520d0000-0000-0000-0000-000000000001", GuestID: "debian10_64Guest", HardwareVersion: 13,
		Power: inventory.PoweredOff, Firmware: inventory.BIOS, ConnectionState: "connected", ChangeVersion: "v1",
		CPU: inventory.CPU{Count: 1, CoresPerSocket: 1, LimitMHz: -1}, Memory: inventory.Memory{SizeMiB: 256, LimitMiB: -1},
		Controllers: []inventory.Controller{{Key: 1000, Class: "scsi", Model: "pvscsi"}},
		NICs:        []inventory.NIC{{Key: 4000, Model: "vmxnet3", MAC: "00:50:56:01:02:03", MACType: "manual", PortGroup: "VM Network", StartConnected: true}},
	}
	for i, path := range []string{"[ds] web/web.vmdk", "[ds] web/web_1.vmdk"} {
		vm.Disks = append(vm.Disks, inventory.Disk{
			Key: int32(2000 + i), Class: "scsi", Unit: i, Path: path, Capacity: DiskSize, Format: inventory.FormatFlat,
		})
	}
	return vm
}

// Debian is a Debian in a partition of the first disk of a VM, as a look
// finds it. Its kernel has virtio built in.
func Debian(vm *inventory.VM) guest.Guest {
	return guest.Guest{
		OS: "linux", Distro: "debian", Root: "scsi0:0 partition 1", Kernels: []string{"6.1"},
		Initrds: []guest.Initrd{{Kernel: "6.1", Path: "/boot/initrd.img-6.1", Virtio: guest.Yes, Modules: []string{"dm_mod"}}},
		Disks: []guest.DiskLayout{
			{Address: "scsi0:0", Size: vm.Disks[0].Capacity, Table: "mbr", TableID: "01234567", BootCode: true, Partitions: []guest.Partition{
				{Number: 1, Offset: 1 << 20, Length: 4 << 20, Type: "83", Active: true, Content: "ext4", UUID: "d0c1", Mount: "/"},
			}},
			{Address: "scsi0:1", Size: vm.Disks[1].Capacity, Table: "none"},
		},
		Config: guest.Config{
			Files:    map[string]guest.File{"/etc/fstab": {Path: "/etc/fstab", Text: "UUID=d0c1 / ext4 defaults 0 1\n"}},
			Links:    map[string]guest.Link{},
			Has:      map[string]bool{"/usr/sbin/lvm": true},
			Boot:     []string{"initrd.img-6.1", "vmlinuz-6.1"},
			Cmdline:  "root=UUID=d0c1 ro",
			Packages: []guest.Package{{Name: "initramfs-tools", Version: "0.142"}, {Name: "lvm2", Version: "2.03.16-2"}},
		},
	}
}

// SlotNames has systemd name a guest's NICs by their slots, and its configuration
// use a name.
func SlotNames(g *guest.Guest, name string) {
	g.Interfaces = []string{name}
	g.Config.Naming.LinkFiles = true
	g.Config.Net.LinkFiles = []guest.LinkFile{{Path: "/usr/lib/systemd/network/99-default.link", Policy: []string{"keep", "kernel", "database", "onboard", "slot", "path"}}}
}

// Interfaces gives a guest a configuration of ifupdown.
func Interfaces(g *guest.Guest, text string) {
	const file = "/etc/network/interfaces"
	g.Config.Files[file] = guest.File{Path: file, Text: text}
	n, _ := netconf.ParseInterfaces(file, []byte(text))
	g.Config.Net.Links, g.Config.Net.Auto = n.Links, n.Auto
	g.Config.Naming.Active = []guest.NetStyle{guest.Ifupdown}
}

// SetLVMConf gives a guest an lvm.conf.
func SetLVMConf(g *guest.Guest, text string) {
	g.Config.Files["/etc/lvm/lvm.conf"] = guest.File{Path: "/etc/lvm/lvm.conf", Text: text}
}
