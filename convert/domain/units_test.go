package domain

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/network"
)

func TestName(t *testing.T) {
	tests := []struct{ in, want string }{
		{"web-1", "web-1"},
		{"Web_1.example+x", "Web_1.example+x"},
		{"web 1", "web-1"},
		{"web  (old)", "web-old"},
		{"100% \"sure\" 'now'", "100-sure-now"},
		{"Büro Straße Ærø Łódź", "Buro-Strasse-AEro-Lodz"},
		{"a/b\\c\nd\x00e", "a-b-c-d-e"},
		{"../../etc/passwd", "etc-passwd"},
		{"-rf", "rf"},
		{".hidden", "hidden"},
		{"…", "vm-b49358"},
		{"", "vm-e3b0c4"},
		{"日本語", "vm-77710a"},
		{"日本語 1", "1-"},
		{"snapshot", "vm-snapshot"},
		{"pvmove0", "vm-pvmove0"},
		{"db_mlog", "db-mlog"},
		{"x_rimage_rmeta", "x-rimage-rmeta"},
		{strings.Repeat("a", 40), strings.Repeat("a", 40)},
		{strings.Repeat("a", 41), strings.Repeat("a", 33) + "-"},
		{"\xff\xfe", "vm-"},
	}
	for _, tt := range tests {
		got := Name(tt.in)
		if got != tt.want && (!strings.HasSuffix(tt.want, "-") || !strings.HasPrefix(got, tt.want) || len(got) != len(tt.want)+hashChars) {
			t.Errorf("Name(%q) = %q; want %q", tt.in, got, tt.want)
		}
	}
	if a, b := Name("日本"), Name("中国"); a == b {
		t.Errorf("two names of Chinese characters both become %s", a)
	}
}

func checkName(t *testing.T, in, got string) {
	t.Helper()
	ok := got != "" && len(got) <= maxName && !strings.ContainsAny(got[:1], "-.") && utf8.ValidString(got)
	for _, r := range got {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-", r))
	}
	if !ok {
		t.Errorf("Name(%q) = %q", in, got)
	}
	if again := Name(got); again != got {
		t.Errorf("Name(Name(%q)) = %q; want %q", in, again, got)
	}
	if v := VolumeName(got, 0, inventory.Disk{Class: "scsi", Bus: 3, Unit: 15}); len(v) > 60 || unreserve(v) != v {
		t.Errorf("VolumeName(%q) = %q", got, v)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"web-1", "snapshot", strings.Repeat("snapshot", 6), "_mlog_mlog", "a" + strings.Repeat("-", 60), "日本", "\xff", "é\u0301", strings.Repeat("ß", 30), "x_ml\u0301og", "pvmove" + strings.Repeat("é", 40), "﷽"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) { checkName(t, in, Name(in)) })
}

// TestNamesOfLVM asks LVM itself, which checks a name before it looks for the
// volume group.
func TestNamesOfLVM(t *testing.T) {
	lvrename := tool(t, "lvrename")
	try := func(name string) string {
		cmd := exec.Command(lvrename, "--test", "esxodus_no_such_group", "old", name)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	const taken = `"esxodus_no_such_group" not found`
	for _, in := range []string{"web 1", "snapshot", "pvmove0", "a_rimage_mlog_tdata", "-x", "日本", strings.Repeat("a-", 200)} {
		name := VolumeName(Name(in), 0, inventory.Disk{Class: "scsi"})
		if out := try(name); !strings.Contains(out, taken) {
			t.Errorf("lvrename to %s (for %q): %s", name, in, out)
		}
	}
	for p := range strings.FieldsSeq(reservedParts) {
		if out := try("a" + p); strings.Contains(out, taken) {
			t.Errorf("LVM takes a%s, which is thought to be reserved: %s", p, out)
		}
	}
	for p := range strings.FieldsSeq(reservedPrefixes) {
		if out := try(p + "0"); strings.Contains(out, taken) {
			t.Errorf("LVM takes %s0, which is thought to be reserved: %s", p, out)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name string
		set  func(*inventory.VM, *Options)
		want string
	}{
		{"type", func(_ *inventory.VM, o *Options) { o.VirtType = "xen" }, `domain for "web 1": virtualisation type "xen": want kvm or qemu`},
		{"name", func(_ *inventory.VM, o *Options) { o.Name = "web 1" }, `domain for "web 1": name "web 1" is none that libvirt and LVM both take; "web-1" would be`},
		{"cpus", func(vm *inventory.VM, _ *Options) { vm.CPU.Count = 0 }, `domain for "web 1": 0 virtual CPUs`},
		{"memory", func(vm *inventory.VM, _ *Options) { vm.Memory.SizeMiB = -5 }, `domain for "web 1": -5 MiB of memory`},
		{"huge memory", func(vm *inventory.VM, _ *Options) { vm.Memory.SizeMiB = 1 << 60 }, `domain for "web 1": 1152921504606846976 MiB of memory`},
		{"unknown disk", func(_ *inventory.VM, o *Options) { o.Disks[0].Address = "ide0:0" }, `domain for "web 1": disk ide0:0: the VM has none there, or it was given twice`},
		{"disk twice", func(_ *inventory.VM, o *Options) { o.Disks[1] = o.Disks[0] }, `domain for "web 1": disk scsi0:2: the VM has none there, or it was given twice`},
		{"one path", func(_ *inventory.VM, o *Options) { o.Disks[1].Path = o.Disks[0].Path }, `domain for "web 1": disks scsi0:2 and scsi0:10 are both on /dev/vg0/web-1_scsi0-2`},
		{"relative path", func(_ *inventory.VM, o *Options) { o.Disks[0].Path = "x" }, `domain for "web 1": disk scsi0:2: path "x" is not absolute`},
		{"small", func(_ *inventory.VM, o *Options) { o.Disks[0].Size = 512 }, `domain for "web 1": disk scsi0:2: /dev/vg0/web-1_scsi0-2 has 512 bytes, the source's disk has 8589934592`},
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
	o.Guest, o.HostMHz = extra.Guest, extra.HostMHz
	r, err := New(vm, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTopology(t *testing.T) {
	tests := []struct{ count, cores, sockets, wantCores int }{
		{4, 2, 2, 2}, {4, 4, 1, 4}, {4, 1, 4, 1}, {1, 1, 1, 1}, {3, 2, 3, 1}, {2, 4, 2, 1}, {8, 0, 8, 1}, {6, -1, 6, 1},
	}
	for _, tt := range tests {
		r := must(t, func(vm *inventory.VM, _ *Options) { vm.CPU.Count, vm.CPU.CoresPerSocket = tt.count, tt.cores })
		top := r.Domain.CPU.Topology
		if top.Sockets != tt.sockets || top.Cores != tt.wantCores || int(r.Domain.VCPU.Value) != tt.count || top.Sockets*top.Cores != tt.count {
			t.Errorf("%d CPUs @ %d = %d sockets x %d cores, %d CPUs; want %d x %d", tt.count, tt.cores, top.Sockets, top.Cores, r.Domain.VCPU.Value, tt.sockets, tt.wantCores)
		}
	}
}

func TestUUID(t *testing.T) {
	tests := []struct {
		name, bios string
		hw         int
		guestID    string
		want       string
	}{
		{"new Linux", "421f245c-7fa8-60fa-6af6-a46351ced0eb", 13, "debian10_64Guest", "5c241f42-a87f-fa60-6af6-a46351ced0eb"},
		{"old Linux", "421f245c-7fa8-60fa-6af6-a46351ced0eb", 11, "debian10_64Guest", "421f245c-7fa8-60fa-6af6-a46351ced0eb"},
		{"old Windows", "421f245c-7fa8-60fa-6af6-a46351ced0eb", 11, "windows7Guest", "5c241f42-a87f-fa60-6af6-a46351ced0eb"},
		{"unknown version", "421f245c-7fa8-60fa-6af6-a46351ced0eb", 0, "debian10_64Guest", "5c241f42-a87f-fa60-6af6-a46351ced0eb"},
	}
	for _, tt := range tests {
		r := must(t, func(vm *inventory.VM, _ *Options) {
			vm.BIOSUUID, vm.HardwareVersion, vm.GuestID = tt.bios, tt.hw, tt.guestID
		})
		if r.Domain.UUID != tt.want {
			t.Errorf("%s: uuid = %s; want %s", tt.name, r.Domain.UUID, tt.want)
		}
	}
	for _, bad := range []string{"", "x", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"} {
		r := must(t, func(vm *inventory.VM, _ *Options) { vm.BIOSUUID = bad })
		if !has(r, ConcernUUID, ledger.Warning) || len(r.Domain.UUID) != 36 || r.Domain.UUID == bad {
			t.Errorf("UUID %q: %s, %v", bad, r.Domain.UUID, r.Concerns)
		}
	}
}

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

// TestNICOrder places NICs where a guest counts them as it did on VMware.
func TestNICOrder(t *testing.T) {
	tests := []struct {
		name  string
		slots []int
		want  []string
	}{
		{"by index", []int{160, 192, 224}, []string{"01:00.0", "02:00.0", "03:00.0"}},
		{"the fourth is first", []int{192, 224, 256, 1184}, []string{"02:00.0", "03:00.0", "04:00.0", "01:00.0"}},
		{"second functions", []int{160, 192, 1184, 1216, 2208}, []string{"01:00.0", "04:00.0", "02:00.0", "05:00.0", "03:00.0"}},
		{"unknown slots", []int{192, 0, 160}, []string{"01:00.0", "02:00.0", "03:00.0"}},
	}
	for _, tt := range tests {
		r := must(t, func(vm *inventory.VM, _ *Options) {
			n := vm.NICs[0]
			vm.NICs = nil
			for i, slot := range tt.slots {
				n.Index, n.PCISlot = i, slot
				vm.NICs = append(vm.NICs, n)
			}
		})
		var got []string
		for _, i := range r.Domain.Devices.Interfaces {
			got = append(got, showPCI(i.Address))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}

func TestLetters(t *testing.T) {
	for n, want := range map[int]string{0: "a", 25: "z", 26: "aa", 27: "ab", 51: "az", 52: "ba", 701: "zz", 702: "aaa"} {
		if got := letters(n); got != want {
			t.Errorf("letters(%d) = %s; want %s", n, got, want)
		}
	}
}

func TestTag(t *testing.T) {
	r := must(t, func(*inventory.VM, *Options) {})
	if id, ok := RunID(r.XML); ok {
		t.Errorf("RunID of an untagged domain = %q", id)
	}
	first, err := Tag(r.XML, "run 1")
	if err != nil {
		t.Fatal(err)
	}
	const hostile = `2" x="<&>` + "\n"
	second, err := Tag(first, hostile)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := RunID(second); !ok || id != hostile {
		t.Errorf("RunID = %q, %v; want %q", id, ok, hostile)
	}
	if n := strings.Count(second, "esxodus:run"); n != 1 {
		t.Errorf("%d marks; want 1:\n%s", n, second)
	}
	if !strings.Contains(second, "source:vm") {
		t.Errorf("other metadata is gone:\n%s", second)
	}
	if _, err := Tag("no XML", "1"); err == nil {
		t.Error("Tag takes what is no XML")
	}
	for _, text := range []string{"", "<domain", "<domain><metadata><x:run xmlns:x='https://other/1' id='1'/></metadata></domain>"} {
		if id, ok := RunID(text); ok {
			t.Errorf("RunID(%q) = %q", text, id)
		}
	}
}

func TestProof(t *testing.T) {
	vm := everything()
	o := options(vm)
	o.HostMHz = 1000
	r, err := New(vm, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	r.Domain.Devices.Hostdevs = []libvirtxml.DomainHostdev{{SubsysPCI: &libvirtxml.DomainHostdevSubsysPCI{Source: &libvirtxml.DomainHostdevSubsysPCISource{Address: pciAddress(59, 0, 0).PCI}}}}
	r.Domain.Devices.TPMs = []libvirtxml.DomainTPM{{Backend: &libvirtxml.DomainTPMBackend{Emulator: &libvirtxml.DomainTPMBackendEmulator{PersistentState: "yes"}}}}
	r.Domain.OS.NVRam = &libvirtxml.DomainNVRam{NVRam: "/var/lib/libvirt/qemu/nvram/real.fd"}
	before, err := r.Domain.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	opts := ProofOptions{Name: "p", UUID: "b0075000-0000-4000-8000-000000000001", Overlays: map[string]string{"sda": "/o/sda", "sdb": "/o/sdb"}, NVRAM: "/o/vars.fd", ConsoleSocket: "/o/console"}
	p, err := Proof(r.Domain, opts)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"/dev/vg0", "cputune", "memtune", "memoryBacking", "hostdev", "type=\"direct\"", "type=\"bridge\"", "eno1", "br0", "metadata", "graphics", "persistent_state", "real.fd", "iotune", "bandwidth", r.Domain.UUID} {
		if strings.Contains(text, bad) {
			t.Errorf("the proof holds %q:\n%s", bad, text)
		}
	}
	for i, n := range p.Devices.Interfaces {
		real := r.Domain.Devices.Interfaces[i]
		if n.Source.User == nil || n.Link.State != "down" || n.MAC.Address != real.MAC.Address || n.Model.Type != real.Model.Type || showPCI(n.Address) != showPCI(real.Address) {
			t.Errorf("interface %d: %+v", i, n)
		}
	}
	if s := p.Devices.Serials[0].Source.UNIX; s == nil || s.Path != "/o/console" {
		t.Errorf("console: %+v", p.Devices.Serials[0].Source)
	}
	if p.OnReboot != "destroy" || p.OS.NVRam.NVRam != "/o/vars.fd" {
		t.Errorf("on reboot %s, NVRAM %+v", p.OnReboot, p.OS.NVRam)
	}
	if after, _ := r.Domain.Marshal(); after != before {
		t.Errorf("Proof changed the domain: %s", cmp.Diff(before, after))
	}
	delete(opts.Overlays, "sdb")
	if _, err := Proof(r.Domain, opts); err == nil || err.Error() != "proof of everything-even: disk sdb has no overlay" {
		t.Errorf("Proof without an overlay: %v", err)
	}
	opts.Name = r.Domain.Name
	if _, err := Proof(r.Domain, opts); err == nil {
		t.Error("Proof takes the domain's own name")
	}
}

// TestDefine has libvirt's QEMU driver take each domain, embedded in virsh so
// that no daemon is needed, and libvirt's test driver as well.
func TestDefine(t *testing.T) {
	if testing.Short() {
		t.Skip("asks QEMU for its capabilities")
	}
	virsh, dir := tool(t, "virsh"), openDir(t) // one, for QEMU's capabilities are kept there
	for _, c := range goldenCases() {
		t.Run(c.name, func(t *testing.T) {
			if _, err := os.Stat("/dev/kvm"); err != nil {
				set := c.opts
				c.opts = func(o *Options) {
					if set != nil {
						set(o)
					}
					o.VirtType = "qemu"
				}
			}
			r := c.result(t)
			file := func(name, text string) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			real := file("real.xml", r.XML)
			fake := file("test.xml", strings.Replace(r.XML, `<domain type="`+r.Domain.Type, `<domain type="test`, 1))
			for _, argv := range [][]string{
				{"-c", "qemu:///embed?root=" + dir, "define --validate " + real + "; dumpxml " + r.Domain.Name + "; undefine --nvram " + r.Domain.Name},
				{"-c", "test:///default", "define --validate " + fake + "; dumpxml " + r.Domain.Name},
			} {
				out, err := exec.Command(virsh, argv...).CombinedOutput()
				if err != nil {
					t.Fatalf("virsh %v: %v: %s", argv, err, out)
				}
				sameAddresses(t, r.Domain, string(out))
			}
		})
	}
}

// sameAddresses wants what libvirt made of the domain to have the disks and
// interfaces where we put them.
func sameAddresses(t *testing.T, want *libvirtxml.Domain, dump string) {
	t.Helper()
	i := strings.Index(dump, "<domain")
	if i < 0 {
		t.Fatalf("no XML in %s", dump)
	}
	var got libvirtxml.Domain
	if err := got.Unmarshal(dump[i : strings.Index(dump, "</domain>")+len("</domain>")]); err != nil {
		t.Fatal(err)
	}
	describe := func(d *libvirtxml.Domain) []string {
		all := []string{d.UUID, d.Title, d.Description}
		for _, x := range d.Devices.Disks {
			all = append(all, x.Target.Dev+" "+x.Target.Bus)
		}
		for _, x := range d.Devices.Interfaces {
			all = append(all, x.MAC.Address+" "+showPCI(x.Address))
		}
		slices.Sort(all)
		return all
	}
	if diff := cmp.Diff(describe(want), describe(&got)); diff != "" {
		t.Errorf("libvirt's (-ours +libvirt's):\n%s", diff)
	}
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
		if _, ok := RunID(tagged); !ok {
			t.Errorf("no run in\n%s", tagged)
		}
	})
}
