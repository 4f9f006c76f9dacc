package domain

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

func TestKernel(t *testing.T) {
	tests := []struct {
		version                           string
		tooOld, virtio1, virtioSCSI, xhci bool
	}{
		{version: "2.4.27-3-686", tooOld: true},
		{version: "2.6.18-398.el5", tooOld: true},
		{version: "2.6.24.7-foo", tooOld: true},
		{version: "2.6.25"},
		{version: "2.6.26-2-686"},
		{version: "2.6.32-5-amd64", xhci: true},
		{version: "2.6.32-279.el6.x86_64", xhci: true},
		{version: "2.6.32-754.35.1.el6.x86_64", xhci: true, virtioSCSI: true},
		{version: "3.0.101-63-default", xhci: true},
		{version: "3.2.0-4-amd64", xhci: true},
		{version: "3.4", xhci: true, virtioSCSI: true},
		{version: "3.8.13-118.el7uek.x86_64", xhci: true, virtioSCSI: true},
		{version: "3.10.0-123.el7.x86_64", xhci: true, virtioSCSI: true},
		{version: "3.10.0-229.20.1.el7.x86_64", xhci: true, virtioSCSI: true},
		{version: "3.10.0-327.el7.x86_64", xhci: true, virtioSCSI: true, virtio1: true},
		{version: "3.10.0-1160.76.1.el7.x86_64", xhci: true, virtioSCSI: true, virtio1: true},
		{version: "3.10.0-514-generic", xhci: true, virtioSCSI: true},
		{version: "3.19.0-25-generic", xhci: true, virtioSCSI: true},
		{version: "4.0.0", xhci: true, virtioSCSI: true, virtio1: true},
		{version: "4.1.12-124.el7uek.x86_64", xhci: true, virtioSCSI: true, virtio1: true},
		{version: "6.1.0-18-amd64", xhci: true, virtioSCSI: true, virtio1: true},
	}
	for _, tt := range tests {
		k, ok := parseKernel(tt.version)
		got := fmt.Sprintln(ok, k.tooOld(), k.virtio1(), k.virtioSCSI(), k.xhci())
		if want := fmt.Sprintln(true, tt.tooOld, tt.virtio1, tt.virtioSCSI, tt.xhci); got != want {
			t.Errorf("%s: parsed, too old, virtio 1.0, virtio-scsi, XHCI = %s; want %s", tt.version, got, want)
		}
	}
	for _, bad := range []string{"", "6", "x.y", "9999999.1", "-1.2", "vmlinuz"} {
		if k, ok := parseKernel(bad); ok {
			t.Errorf("parseKernel(%q) = %+v", bad, k)
		}
	}
	if k, _ := newestKernel([]string{"3.10.0-1160.el7.x86_64", "rescue", "3.10.0-123.el7.x86_64", "2.6.32-754.el6"}); k.release != 1160 {
		t.Errorf("newest kernel: %+v; want release 1160", k)
	}
}

// TestOldGuests: a kernel from before virtio 1.0 has no driver for what sits
// in a PCI Express slot.
func TestOldGuests(t *testing.T) {
	const (
		modern = "virtio/ virtio q35 virtio:express"
		trans  = "virtio/virtio-transitional virtio-transitional q35 virtio-transitional:conventional"
		bsdOld = "scsi/ virtio-transitional q35 virtio-transitional:conventional"
		bsdNew = "scsi/ virtio q35 virtio:express"
		none   = "ide/ e1000 pc none"
	)
	ids := map[string]string{
		"debian4_64Guest": none, "rhel5_64Guest": none, "sles10_64Guest": none, "other26xLinux64Guest": none,
		"debian5Guest": trans, "debian8_64Guest": trans, "rhel6_64Guest": trans, "centos6_64Guest": trans, "rhel7_64Guest": trans,
		"sles11_64Guest": trans, "sles12_64Guest": trans, "other3xLinux64Guest": trans,
		// Ids for old and new alike: what every driver drives.
		"ubuntu64Guest": trans, "centos64Guest": trans, "otherLinux64Guest": trans,
		"debian9_64Guest": modern, "debian12_64Guest": modern, "rhel8_64Guest": modern, "rhel10_64Guest": modern, "sles15_64Guest": modern,
		"other4xLinux64Guest": modern, "vmwarePhoton64Guest": modern, "rockylinux_64Guest": modern,
		"freebsd64Guest": bsdOld, "freebsd12_64Guest": bsdOld, "freebsd13_64Guest": bsdNew,
	}
	kernels := map[string]string{
		"2.6.18-398.el5": none, "2.6.32-754.el6.x86_64": trans, "3.16.0-4-amd64": trans, "3.10.0-123.el7.x86_64": trans,
		"3.10.0-1160.el7.x86_64": modern, "4.4.0-210-generic": modern,
	}
	check := func(what, want string, r Result) {
		t.Helper()
		if got := devices(r); got != want {
			t.Errorf("%s: disk, NIC, machine, balloon = %s; want %s", what, got, want)
		}
		i := slices.IndexFunc(r.Concerns, func(c ledger.Concern) bool { return c.ID == ConcernKernel })
		if said := i >= 0; said == (want == modern || want == bsdNew) {
			t.Errorf("%s: concern %s: %v", what, ConcernKernel, said)
		}
		if strings.Contains(want, "transitional") && !strings.Contains(report(r), "of the older form") {
			t.Errorf("%s: no reason in the ledger:\n%s", what, report(r))
		}
	}
	for id, want := range ids {
		check(id, want, must(t, func(vm *inventory.VM, _ *Options) { vm.GuestID, vm.CDROMs = id, nil }))
	}
	for version, want := range kernels { // which weigh more than the id
		for _, id := range []string{"debian10_64Guest", "debian5Guest", "windows9_64Guest"} {
			check(version+" in "+id, want, must(t, func(vm *inventory.VM, o *Options) {
				vm.GuestID, vm.CDROMs = id, nil
				o.Guest = guest.Guest{OS: "linux", Kernels: []string{"2.6.8-2-386", version}}
			}))
		}
	}
}

// devices sums up the form of the domain's virtio devices, and complains if
// they differ among each other.
func devices(r Result) string {
	d := r.Domain.Devices
	where := func(bus uint) string {
		if bus == 0 {
			return "conventional"
		}
		return "express"
	}
	s := d.Disks[0].Target.Bus + "/" + d.Disks[0].Model + " " + d.Interfaces[0].Model.Type + " " + r.Domain.OS.Type.Machine + " " + d.MemBalloon.Model
	if d.MemBalloon.Address == nil {
		return s
	}
	place := where(*d.MemBalloon.Address.PCI.Bus)
	form := map[string]string{"virtio": "", "virtio-scsi": "", "virtio-transitional": "virtio-transitional"}
	for _, c := range d.Controllers {
		if c.Type != "scsi" && c.Type != "virtio-serial" {
			continue
		}
		if form[c.Model] != form[d.MemBalloon.Model] || where(*c.Address.PCI.Bus) != place {
			s += fmt.Sprintf(" but controller %s is %q in %s", c.Type, c.Model, showPCI(c.Address))
		}
	}
	if d.RNGs[0].Model != d.MemBalloon.Model || where(*d.RNGs[0].Address.PCI.Bus) != place || where(*d.Interfaces[0].Address.PCI.Bus) != place {
		s += fmt.Sprintf(" but RNG %s in %s, NIC in %s", d.RNGs[0].Model, showPCI(d.RNGs[0].Address), showPCI(d.Interfaces[0].Address))
	}
	return s + ":" + place
}

// TestOldGuestDisks: virtio-scsi is younger than virtio-blk, and conventional
// slots are few.
func TestOldGuestDisks(t *testing.T) {
	many := func(vm *inventory.VM, disks, nics int) {
		d, n := vm.Disks[0], vm.NICs[0]
		vm.Disks, vm.NICs = nil, nil
		for i := range disks {
			d.Bus, d.Unit = i/15, i%15
			vm.Disks = append(vm.Disks, d)
		}
		for i := range nics {
			n.Index = i
			vm.NICs = append(vm.NICs, n)
		}
	}
	tests := []struct {
		name, id    string
		kernel      string
		disks, nics int
		enableUUID  bool
		sd          bool
		want        string
	}{
		{name: "few", id: "debian8_64Guest", disks: 2, nics: 2, want: "virtio"},
		{name: "as many as there are slots", id: "debian8_64Guest", disks: 10, nics: 1, want: "virtio"},
		{name: "one more", id: "debian8_64Guest", disks: 11, nics: 1, want: "scsi"},
		{name: "all that ESXi gives", id: "debian8_64Guest", disks: 30, nics: 10, want: "scsi"},
		{name: "no virtio-scsi yet", id: "debian5Guest", disks: 30, nics: 10, want: "sata"},
		{name: "serials", id: "rhel6_64Guest", disks: 1, nics: 1, enableUUID: true, want: "sata"},
		{name: "sd names, old kernel", id: "ubuntu64Guest", kernel: "3.2.0-4-amd64", disks: 1, nics: 1, sd: true, want: "sata"},
		{name: "sd names", id: "ubuntu64Guest", kernel: "3.16.0-4-amd64", disks: 1, nics: 1, sd: true, want: "scsi"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := must(t, func(vm *inventory.VM, o *Options) {
				vm.GuestID, vm.DiskEnableUUID = tt.id, tt.enableUUID
				many(vm, tt.disks, tt.nics)
				if tt.kernel != "" {
					o.Guest = guest.Guest{OS: "linux", Kernels: []string{tt.kernel}}
				}
				if tt.sd {
					o.Guest.DiskNames = []string{"/dev/sda1"}
				}
			})
			if got := r.Domain.Devices.Disks[0].Target.Bus; got != tt.want {
				t.Errorf("bus = %s; want %s", got, tt.want)
			}
			if tt.sd && has(r, ConcernDiskNames, ledger.Warning) {
				t.Errorf("sda stays sda: %+v", r.Concerns)
			}
			if a := r.Domain.Devices.RNGs[0].Address.PCI; *a.Bus != 0 || *a.Slot > lastOldSlot {
				t.Errorf("the last device is in slot %#x of bus %d", *a.Slot, *a.Bus)
			}
		})
	}
}

// TestInitramfsOfOldGuests names the driver that the guest will need.
func TestInitramfsOfOldGuests(t *testing.T) {
	tests := []struct{ kernel, want string }{
		{"2.6.18-398.el5", "piix"}, {"2.6.32-754.el6.x86_64", "virtio_blk"}, {"5.14.0-1.el9.x86_64", "virtio_blk"},
	}
	for _, tt := range tests {
		r := must(t, func(vm *inventory.VM, o *Options) {
			o.Guest = guest.Guest{OS: "linux", Distro: "centos", Kernels: []string{tt.kernel}}
		})
		i := slices.IndexFunc(r.Concerns, func(c ledger.Concern) bool { return c.ID == ConcernInitramfs })
		if i < 0 || !strings.Contains(r.Concerns[i].Advice, tt.want) {
			t.Errorf("%s: %+v; want %s in the advice", tt.kernel, r.Concerns, tt.want)
		}
	}
}
