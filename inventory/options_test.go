package inventory

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSetOptions(t *testing.T) {
	vm := VM{
		Path:  "[data [1]] my vm/web.vmx",
		Disks: []Disk{{Key: 2000, Class: "scsi"}, {Key: 2010, Class: "scsi", Unit: 10}},
		NICs:  []NIC{{Key: 4000}, {Key: 4010, Index: 10, PCISlot: 256}},
	}
	vm.SetOptions(map[string]string{
		"BIOS.bootOrder": "allow:cd,HDD,ethernet10,floppy,usb", "bios.hddOrder": "scsi0:10, scsi0:0, nonsense", "bios.bootDelay": "-3",
		"ethernet0.pciSlotNumber": "192", "ethernet10.pciSlotNumber": "1184", "ethernet11.pciSlotNumber": "1", "nvram": "web.nvram",
		"guestinfo.userdata": "secret", "GuestInfo.X": "secret", "RemoteDisplay.vnc.password": "hunter2", "RemoteDisplay.vnc.key": "AAECAw", "RemoteDisplay.vnc.port": "5901", "disk.enableUUID": "true", "vm.genid": "x", "vm.genidX": "1",
		"sched.swap.derivedName": "/vmfs/x", "vmware.tools.internalversion": "1", "isolation.tools.copy.disable": "TRUE", "svga.present": "TRUE",
		"cpuid.80000001.edx.amd": "----:0---", "cpuid.1.eax": "----:----",
	})
	want := VM{
		Path: vm.Path, NVRAM: "[data [1]] my vm/web.nvram", DiskEnableUUID: true, CPU: CPU{Masked: true},
		Disks: vm.Disks, NICs: []NIC{{Key: 4000, PCISlot: 192}, {Key: 4010, Index: 10, PCISlot: 256}},
		BootOrder: []string{"cdrom", "disk:2010", "disk:2000", "ethernet:4010", "floppy", "usb"}, HDDOrder: []string{"scsi0:10", "scsi0:0"},
		Extra: map[string]string{
			"guestinfo.userdata": "(6 bytes)", "guestinfo.x": "(6 bytes)", "remotedisplay.vnc.password": "(7 bytes)", "remotedisplay.vnc.key": "(6 bytes)", "remotedisplay.vnc.port": "5901", "isolation.tools.copy.disable": "TRUE", "cpuid.80000001.edx.amd": "----:0---",
		},
	}
	if diff := cmp.Diff(want, vm); diff != "" {
		t.Errorf("SetOptions (-want +got):\n%s", diff)
	}
}

func TestUUID(t *testing.T) {
	for in, want := range map[string]string{
		"56 4D 1a 2b 3c 4d 5e 6f-70 81 92 a3 b4 c5 d6 e7": "564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7",
		"6000C29a-0011-2233-4455-66778899aabb":            "6000c29a-0011-2233-4455-66778899aabb",
		"":                                                "", "564d": "", "zz4d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7": "", "564d1a2b3c4d5e6f708192a3b4c5d6e7ff": "",
	} {
		if got := UUID(in); got != want {
			t.Errorf("UUID(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestSort(t *testing.T) {
	vm := VM{
		Disks: []Disk{{Class: "nvme"}, {Class: "scsi", Unit: 10}, {Class: "scsi", Unit: 2}, {Class: "ide", Bus: 1}, {Class: "scsi", Bus: 1}, {Class: "sata"}},
		NICs:  []NIC{{Index: 10}, {Index: 2}},
	}
	vm.Sort()
	var got []string
	for _, d := range vm.Disks {
		got = append(got, d.Address())
	}
	if s := strings.Join(got, " "); s != "sata0:0 ide1:0 scsi0:2 scsi0:10 scsi1:0 nvme0:0" || vm.NICs[0].Index != 2 {
		t.Errorf("order %s, NICs %v", s, vm.NICs)
	}
}

func TestFind(t *testing.T) {
	h := Host{Name: "esx1", VMs: []VM{{ID: "1", Name: "web"}, {ID: "2", Name: "db"}, {ID: "3", Name: "db"}, {ID: "4", Name: "1"}}}
	tests := []struct{ key, id, err string }{
		{key: "web", id: "1"},
		{key: "3", id: "3"},
		{key: "1", id: "1"},
		{key: "db", err: "2 VMs are called \"db\""},
		{key: "x", err: "no VM on esx1 has the name or id \"x\""},
		{key: "Web ", err: "no VM on esx1 has the name or id \"Web \", but one is called \"web\""},
	}
	for _, tt := range tests {
		vm, err := h.Find(tt.key)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Find(%q) error = %v; want %q", tt.key, err, tt.err)
			}
			continue
		}
		if err != nil || vm.ID != tt.id {
			t.Errorf("Find(%q) = %v, %v; want id %s", tt.key, vm, err, tt.id)
		}
	}
}
