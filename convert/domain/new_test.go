package domain

import (
	"reflect"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/inventory"
	"esxodus/network"
)

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name string
		set  func(*inventory.VM, *Options)
		want string
	}{
		{"type", func(_ *inventory.VM, o *Options) { o.VirtType = "xen" }, `domain for "web 1": virtualisation type "xen": want kvm or qemu`},
		{"name", func(_ *inventory.VM, o *Options) { o.Name = "web 1" }, `domain for "web 1": name "web 1": libvirt or LVM doesn't accept it; "web-1" would do`},
		{"cpus", func(vm *inventory.VM, _ *Options) { vm.CPU.Count = 0 }, `domain for "web 1": 0 virtual CPUs`},
		{"memory", func(vm *inventory.VM, _ *Options) { vm.Memory.SizeMiB = -5 }, `domain for "web 1": -5 MiB of memory`},
		{"huge memory", func(vm *inventory.VM, _ *Options) { vm.Memory.SizeMiB = 1 << 60 }, `domain for "web 1": 1152921504606846976 MiB of memory`},
		{"unknown disk", func(_ *inventory.VM, o *Options) { o.Disks[0].Address = "ide0:0" }, `domain for "web 1": disk ide0:0: the VM has no disk there, or it was given twice`},
		{"disk twice", func(_ *inventory.VM, o *Options) { o.Disks[1] = o.Disks[0] }, `domain for "web 1": disk scsi0:2: the VM has no disk there, or it was given twice`},
		{"one path", func(_ *inventory.VM, o *Options) { o.Disks[1].Path = o.Disks[0].Path }, `domain for "web 1": disks scsi0:2 and scsi0:10 are both on /dev/vg0/web-1_scsi0-2`},
		{"relative path", func(_ *inventory.VM, o *Options) { o.Disks[0].Path = "x" }, `domain for "web 1": disk scsi0:2: path "x" is not absolute`},
		{"small", func(_ *inventory.VM, o *Options) { o.Disks[0].Size = 512 }, `domain for "web 1": disk scsi0:2: /dev/vg0/web-1_scsi0-2 has 512 bytes, the source's disk has 8589934592`},
		{"boot disk left behind", func(_ *inventory.VM, o *Options) { o.BootDisk, o.Disks = "scsi0:10", o.Disks[:1] }, `domain for "web 1": disk scsi0:10, which has the boot loader, isn't migrated`},
		{"two at one address", func(vm *inventory.VM, _ *Options) { vm.Disks[1].Unit = 2 }, `domain for "web 1": two disks at scsi0:2`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vm := web()
			o := options(vm)
			tt.set(vm, &o)
			_, err := New(vm, nil, o)
			if err == nil || err.Error() != tt.want {
				t.Errorf("New = %v; want %s", err, tt.want)
			}
		})
	}
}

// must makes a domain of the web VM, changed.
func must(t *testing.T, set func(*inventory.VM, *Options)) Result {
	t.Helper()
	vm := web()
	var extra Options
	set(vm, &extra)
	o := options(vm)
	if !reflect.ValueOf(extra.Guest).IsZero() {
		o.Guest = extra.Guest
	}
	if extra.Network.Attachments != nil {
		o.Network = extra.Network
	}
	o.HostMHz, o.NICs, o.NoEdits = extra.HostMHz, extra.NICs, extra.NoEdits
	o.BIOS, o.BootDisk, o.OnlyDisks = extra.BIOS, extra.BootDisk, extra.OnlyDisks
	r, err := New(vm, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// FuzzNew puts hostile texts wherever the source has one, and wants either an
// error or a domain that says the same when read back.
func FuzzNew(f *testing.F) {
	f.Add("plain", "debian10_64Guest", 4, int64(2048))
	f.Add("</name></domain>\x00\x01\ufffe", "x\"'<&>", 1, int64(1))
	f.Add("]]>\n\r\t\v", "windows", -1, int64(-1))
	f.Add("\xff\xfe", "efi", 1<<30, int64(1)<<62)
	f.Fuzz(func(t *testing.T, text, other string, n int, big int64) {
		vm := everything()
		vm.Name, vm.ID, vm.Path, vm.Annotation, vm.GuestID = text, other, text, text, other
		vm.BIOSUUID, vm.GenerationID, vm.ClockOffset, vm.ConnectionState = other, text, text, other
		vm.CPU.Count, vm.CPU.CoresPerSocket, vm.CPU.LimitMHz, vm.CPU.Shares = n, n/2, big, n
		vm.Memory.SizeMiB, vm.Memory.LimitMiB, vm.Video.RAMKiB, vm.BootDelay = big, big/2, big, big
		vm.BootOrder, vm.HDDOrder = []string{text, other}, []string{other}
		vm.NICs[0].MAC, vm.NICs[0].Model, vm.NICs[0].PortGroup, vm.NICs[0].PCISlot = text, other, text, n
		vm.Disks[0].UUID, vm.Disks[0].Mode, vm.Disks[0].IOPSLimit = text, other, big
		vm.SerialPorts[0] = inventory.Port{Index: n, Backing: text, Target: other}
		vm.Sound, vm.USBDevices, vm.Other = text, []string{text}, []string{other}
		vm.AutoStart = &inventory.AutoStart{Order: n, StartAction: "powerOn", StopAction: text}
		o := options(vm)
		o.Network.Attachments = []network.Attachment{{PortGroup: text, Mode: network.Macvtap, Device: "eno1", Shaping: &inventory.Shaping{AverageBitsPerSecond: big, PeakBitsPerSecond: big, BurstBytes: big}}}
		o.Guest = guest.Guest{OS: other, Distro: text, Interfaces: []string{text, "en" + other}, DiskNames: []string{"/dev/sda" + text}, Notes: []string{other}, Kernels: []string{text}}
		o.HostMHz = 2000
		r, err := New(vm, &inventory.Host{Name: text}, o)
		if err != nil {
			return
		}
		var back libvirtxml.Domain
		if err := back.Unmarshal(r.XML); err != nil {
			t.Fatalf("%v in\n%s", err, r.XML)
		}
		if back.Name != o.Name || len(back.Devices.Disks) != len(r.Domain.Devices.Disks) || len(back.Devices.Interfaces) != len(vm.NICs) {
			t.Errorf("read back, it is another domain:\n%s", r.XML)
		}
		if strings.ContainsAny(back.Title, "\n\r") {
			t.Errorf("title %q", back.Title)
		}
		tagged, err := Tag(r.XML, text)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := runID(tagged); !ok {
			t.Errorf("no run in\n%s", tagged)
		}
	})
}
