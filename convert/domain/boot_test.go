package domain

import (
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

func TestBootOrder(t *testing.T) {
	tests := []struct {
		name       string
		order, hdd []string
		want       string
	}{
		{"default", nil, nil, "vda vdb sda"},
		{"hdd order", nil, []string{"scsi0:10", "scsi0:2"}, "vdb vda sda"},
		{"one of hdd order", nil, []string{"SCSI0:10"}, "vdb vda sda"},
		{"gone from hdd order", nil, []string{"ide0:0"}, "vda vdb sda"},
		{"cd first", []string{"cdrom", "hdd"}, nil, "sda vda vdb"},
		{"keys", []string{"disk:2010", "ethernet:4000"}, nil, "vdb ethernet0 vda sda"},
		{"vmx words", []string{"floppy", "ethernet0", "cdrom", "hdd"}, []string{"scsi0:10"}, "ethernet0 sda vdb vda"},
		{"net", []string{"net"}, nil, "ethernet0 vda vdb sda"},
		{"nonsense", []string{"disk:x", "", ":", "ethernet7", "disk:2002", "disk:2002"}, nil, "vda vdb sda"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vm := web()
			vm.BootOrder, vm.HDDOrder = tt.order, tt.hdd
			b := &builder{vm: vm, o: options(vm), dom: &libvirtxml.Domain{OS: &libvirtxml.DomainOS{}, Devices: &libvirtxml.DomainDeviceList{}}, host: &inventory.Host{}, sys: system{family: linux}}
			b.pci.machine = q35
			b.nics()
			b.disks()
			b.cdroms()
			b.boot()
			if got := strings.Join(b.bootSequence(), " "); got != tt.want {
				t.Errorf("order = %s; want %s", got, tt.want)
			}
		})
	}
}

// TestBootDisk: the disk with the new loader comes before all other hard
// disks, and where that changes the order, the ledger says why.
func TestBootDisk(t *testing.T) {
	const (
		first, second = "scsi0:2", "scsi0:10"
		loader        = "changed: the new loader is on " + second
	)
	tests := []struct {
		name       string
		order, hdd []string
		disk       string
		want       string
		wantOrder  string // fate and reason of bootOrder
		wantHDD    string // of hddOrder
	}{
		{"none", nil, nil, "", "vda vdb sda", "", ""},
		{"the first", nil, nil, first, "vda vdb sda", "", ""},
		{"the second", nil, nil, second, "vdb vda sda", "", loader},
		{"against the hdd order", nil, []string{first, second}, second, "vdb vda sda", "", loader},
		{"as the hdd order", nil, []string{second}, second, "vdb vda sda", "", "mapped: "},
		{"against the boot order", []string{"disk:2002", "ethernet:4000"}, nil, second, "vdb vda ethernet0 sda", loader, loader},
		{"against the boot order, as the hdd order", []string{"disk:2002"}, []string{second}, second, "vdb vda sda", loader, "mapped: "},
		{"as the boot order", []string{"disk:2010", "disk:2002"}, []string{first}, second, "vdb vda sda", "mapped: ", "mapped: "},
		{"CD first", []string{"cdrom", "disk:2002"}, nil, second, "sda vdb vda", loader, loader},
		{"CD first, then any disk", []string{"cdrom", "hdd"}, nil, second, "sda vdb vda", loader, loader},
		{"CD and network alone", []string{"cdrom", "net"}, nil, second, "sda ethernet0 vdb vda", "mapped: ", loader},
		{"a disk that is gone", []string{"disk:1", "hdd"}, nil, second, "vdb vda sda", "changed: the domain doesn't have all of these; the new loader is on " + second, loader},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := must(t, func(vm *inventory.VM, o *Options) { vm.BootOrder, vm.HDDOrder, o.BootDisk = tt.order, tt.hdd, tt.disk })
			b := &builder{vm: web(), dom: r.Domain}
			if got := strings.Join(b.bootSequence(), " "); got != tt.want {
				t.Errorf("order = %s; want %s", got, tt.want)
			}
			if got := fate(r, "bootOrder"); got != tt.wantOrder {
				t.Errorf("bootOrder is %q; want %q", got, tt.wantOrder)
			}
			if got := fate(r, "hddOrder"); got != tt.wantHDD {
				t.Errorf("hddOrder is %q; want %q", got, tt.wantHDD)
			}
		})
	}
}

// fate returns what the ledger says of a property and why, "" for nothing.
func fate(r Result, property string) string {
	i := slices.IndexFunc(r.Ledger, func(e ledger.Entry) bool { return e.Property == property })
	if i < 0 {
		return ""
	}
	return string(r.Ledger[i].Fate) + ": " + r.Ledger[i].Reason
}

// TestBIOS: a VM that starts through UEFI, and whose disk LILO boots, gets a
// BIOS and nothing of UEFI's.
func TestBIOS(t *testing.T) {
	for _, bios := range []bool{false, true} {
		r := must(t, func(vm *inventory.VM, o *Options) {
			vm.Firmware, vm.SecureBoot, vm.NVRAM, o.BIOS = inventory.EFI, true, "web.nvram", bios
		})
		dom := r.Domain
		efi := dom.OS.Firmware != "" || dom.OS.FirmwareInfo != nil || dom.Features.SMM != nil
		if efi == bios || dom.OS.Loader != nil || dom.OS.NVRam != nil {
			t.Errorf("BIOS %v: firmware %q, %+v, loader %+v, NVRAM %+v", bios, dom.OS.Firmware, dom.OS.FirmwareInfo, dom.OS.Loader, dom.OS.NVRam)
		}
		want := "mapped: "
		if bios {
			want = "changed: a disk without partitions has no EFI system partition: it boots by LILO"
		}
		if got := fate(r, "firmware"); got != want {
			t.Errorf("BIOS %v: firmware is %q; want %q", bios, got, want)
		}
		if has(r, ConcernSecureBoot, ledger.Note) == bios || has(r, ConcernNVRAM, ledger.Warning) == bios {
			t.Errorf("BIOS %v: %+v", bios, r.Concerns)
		}
	}
}
