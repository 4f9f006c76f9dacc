package domain

import (
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

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
