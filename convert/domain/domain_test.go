package domain

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/guest"
	fixture "esxodus/fixtures/esxi"
	"esxodus/inventory"
	"esxodus/inventory/esxi"
	"esxodus/inventory/fit"
	"esxodus/network"
)

var update = flag.Bool("update", false, "rewrite golden files")

const gib = 1 << 30

// tool finds a program, without which a test is skipped at home and fails in CI.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
			t.Fatalf("%s is needed: %v", name, err)
		}
		t.Skipf("%s is needed: %v", name, err)
	}
	return path
}

// web is an ordinary Linux VM: BIOS, two disks, one NIC.
func web() *inventory.VM {
	vm := &inventory.VM{
		ID: "2", Name: "web 1", Path: "[ds one] web 1/web 1.vmx", GuestID: "debian10_64Guest", HardwareVersion: 13,
		BIOSUUID: "421f245c-7fa8-60fa-6af6-a46351ced0eb", Power: inventory.PoweredOff, Firmware: inventory.BIOS,
		Annotation:  "the web server\n<b>&amp;</b> don't touch",
		CPU:         inventory.CPU{Count: 4, CoresPerSocket: 2, LimitMHz: -1, Shares: 4000, SharesLevel: "normal"},
		Memory:      inventory.Memory{SizeMiB: 2048, LimitMiB: -1, Shares: 20480, SharesLevel: "normal"},
		Controllers: []inventory.Controller{{Key: 1000, Class: "scsi", Bus: 0, Model: "pvscsi"}},
		Disks: []inventory.Disk{
			{Key: 2010, Class: "scsi", Bus: 0, Unit: 10, Path: "[ds one] web 1/web 1_1.vmdk", Capacity: 5 * gib, Format: "flat", Mode: "persistent"},
			{Key: 2002, Class: "scsi", Bus: 0, Unit: 2, Path: "[ds one] web 1/web 1.vmdk", Capacity: 8 * gib, Format: "flat", Mode: "persistent", Thin: true},
		},
		NICs:   []inventory.NIC{{Key: 4000, Index: 0, Model: "vmxnet3", MAC: "00:0c:29:51:ce:d0", MACType: "generated", PortGroup: "VM Network", StartConnected: true, PCISlot: 192}},
		CDROMs: []inventory.CDROM{{Class: "sata", Bus: 0, Unit: 0, ISO: "[ds one] iso/debian.iso", StartConnected: true}},
		Video:  inventory.Video{RAMKiB: 4096, Displays: 1},
		Tools:  inventory.Tools{Status: "guestToolsRunning"},
	}
	vm.Sort()
	return vm
}

func options(vm *inventory.VM) Options {
	o := Options{Name: Name(vm.Name), VirtType: "kvm"}
	for i, d := range vm.Disks {
		o.Disks = append(o.Disks, Disk{Address: d.Address(), Path: "/dev/vg0/" + VolumeName(o.Name, i, d), Block: true, Size: d.Capacity})
	}
	for _, n := range vm.NICs {
		o.Network.Attachments = append(o.Network.Attachments, network.Attachment{PortGroup: n.PortGroup, Mode: network.Macvtap, Device: "eno1", MacvtapMode: "bridge"})
	}
	if classify(vm, guest.Guest{}).family == linux {
		o.Guest.OS, o.Guest.SerialLogin = linux, []string{"ttyS0"} // a look was had, and nothing of note was seen
	}
	return o
}

type goldenCase struct {
	name string
	vm   func() *inventory.VM
	host *inventory.Host
	opts func(*Options)
}

func goldenCases() []goldenCase {
	return []goldenCase{
		{name: "web", vm: web},
		{name: "web-tcg-file", vm: web, opts: func(o *Options) {
			o.VirtType = "qemu"
			for i := range o.Disks {
				o.Disks[i].Block, o.Disks[i].Path = false, "/srv/vm/"+filepath.Base(o.Disks[i].Path)+".img"
			}
			o.Guest = guest.Guest{
				OS: "linux", Distro: "debian", PrettyName: "Debian GNU/Linux 12", Kernels: []string{"6.1.0-18-amd64"}, Consoles: []string{"tty0"},
				Interfaces: []string{"ens192"}, DiskNames: []string{"/dev/sda1"}, OpenVMTools: true, Notes: []string{"scsi0:10: unknown file system"},
			}
			o.NICs = []guest.NIC{{Name: "ens192"}}
		}},
		{name: "secure-windows", vm: secureWindows, host: &inventory.Host{Name: "esx1", AutoStart: inventory.AutoStartDefaults{Enabled: true, StartDelay: 120, StopDelay: 60, StopAction: "guestShutdown"}}},
		{name: "legacy", vm: legacy},
		{name: "old-linux", vm: oldLinux, opts: func(o *Options) {
			o.Guest = guest.Guest{OS: "linux", Distro: "debian", PrettyName: "Debian GNU/Linux 5", Kernels: []string{"2.6.26-2-amd64"}, Consoles: []string{"ttyS0"}, Agent: true}
		}},
		{name: "functions", vm: func() *inventory.VM {
			vm := web()
			more := vm.NICs[0]
			more.Index, more.Key, more.Label, more.MAC, more.PCISlot, more.Model, more.PortGroup = 1, 4001, "Network adapter 2", "00:0c:29:51:ce:d1", 224, "e1000", "DMZ"
			off := more
			off.Index, off.Key, off.Label, off.MAC, off.PCISlot, off.StartConnected, off.Connected = 2, 4002, "Network adapter 3", "00:0c:29:51:ce:d2", 256, false, false
			vm.NICs = append(vm.NICs, more, off)
			return vm
		}, opts: func(o *Options) {
			o.Guest.Kernels = []string{"6.1.0-18-amd64"}
			o.Network.Attachments = []network.Attachment{
				{PortGroup: "VM Network", Mode: network.SRIOV, Device: "eno1", Uplink: "eno1", Network: "esxodus-vf-eno1", Driver: "igbvf"},
				{PortGroup: "DMZ", Mode: network.SRIOV, Device: "eno1", Uplink: "eno1", Network: "esxodus-vf-eno1", Driver: "igbvf", VLAN: 42},
			}
		}},
		{name: "everything", vm: everything, host: &inventory.Host{Name: "esx1", UUID: "x", AutoStart: inventory.AutoStartDefaults{Enabled: true, StartDelay: 120}}, opts: func(o *Options) {
			o.HostMHz = 2400
			o.Network.Attachments = []network.Attachment{
				{PortGroup: "VM Network", Mode: network.Macvtap, Device: "eno1", TrustGuest: true, Shaping: &inventory.Shaping{AverageBitsPerSecond: 100_000_000, PeakBitsPerSecond: 200_000_000, BurstBytes: 104857600}},
				{PortGroup: "Jumbo", Mode: network.Bridge, Device: "br0", MTU: 9000},
				{PortGroup: "nowhere", Mode: network.None},
			}
		}},
	}
}

func secureWindows() *inventory.VM {
	vm := web()
	vm.Name, vm.GuestID, vm.HardwareVersion = `"Büro" 100%`, "windows2019srv_64Guest", 19
	vm.Firmware, vm.SecureBoot, vm.TPM, vm.NVRAM = inventory.EFI, true, true, "[ds one] web 1/web 1.nvram"
	vm.GenerationID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
	vm.BootOrder = []string{"cdrom", "disk:2010", "ethernet:4000"}
	vm.AutoStart = &inventory.AutoStart{Order: 3, StartDelay: -1, StopDelay: 30, StartAction: "powerOn", StopAction: "systemDefault"}
	vm.ClockOffset = "3600"
	return vm
}

func legacy() *inventory.VM {
	vm := web()
	vm.GuestID, vm.HardwareVersion = "winXPProGuest", 4
	vm.Controllers[0].Model = "buslogic"
	vm.NICs[0].Model = "vmxnet"
	vm.Sound = "es1371"
	vm.CDROMs = []inventory.CDROM{{Class: "ide", Bus: 1}}
	return vm
}

// oldLinux is a guest from before virtio 1.0, with a NIC of each kind.
func oldLinux() *inventory.VM {
	vm := web()
	vm.GuestID, vm.HardwareVersion = "debian5_64Guest", 7
	n := vm.NICs[0]
	vm.NICs = nil
	for i, model := range []string{"vmxnet3", "e1000", "e1000e", "sriov"} {
		n.Index, n.Key, n.Model, n.MAC, n.PCISlot = i, int32(4000+i), model, "00:50:56:00:00:0"+string(rune('1'+i)), 32*(i+5)
		vm.NICs = append(vm.NICs, n)
	}
	return vm
}

// everything is a VM with each thing that can be said of one, on one bus.
func everything() *inventory.VM {
	vm := web()
	vm.Name = "everything, even ''"
	vm.HDDOrder, vm.BootOrder, vm.BootDelay = []string{"scsi0:10"}, []string{"floppy", "hdd", "cdrom", "ethernet9"}, 5000
	vm.CPU = inventory.CPU{Count: 3, CoresPerSocket: 2, HotAdd: true, ReservationMHz: 500, LimitMHz: 3600, Shares: 6000, SharesLevel: "custom", Affinity: []int{0, 2}, Masked: true}
	vm.Memory = inventory.Memory{SizeMiB: 4096, HotAdd: true, ReservationMiB: 4096, LimitMiB: 2048, Shares: 1, SharesLevel: "low", Locked: true}
	vm.NestedHV, vm.DiskEnableUUID, vm.SyncTime = true, true, true
	vm.Disks[0].UUID, vm.Disks[0].IOPSLimit, vm.Disks[0].WriteThrough = "6000C298-1A2B-3C4D-5E6F-708192A3B4C5", 500, true
	vm.NICs = []inventory.NIC{
		{Key: 4000, Index: 0, Model: "vmxnet3", MAC: "00:50:56:00:00:01", MACType: "manual", PortGroup: "VM Network", StartConnected: true, PCISlot: 192},
		{Key: 4001, Index: 1, Model: "e1000", MAC: "00:50:56:00:00:02", MACType: "manual", PortGroup: "Jumbo", PCISlot: 33},
		{Key: 4002, Index: 2, Model: "e1000e", MAC: "", PortGroup: "nowhere", StartConnected: true, PCISlot: 224},
		{Key: 4003, Index: 3, Model: "vmxnet3", MAC: "00:50:56:00:00:04", PortGroup: "unplanned", StartConnected: true, PCISlot: 1184},
		{Key: 4010, Index: 10, Model: "pcnet32", MAC: "00:50:56:00:00:05", PortGroup: "Jumbo", StartConnected: true, PCISlot: 160},
	}
	vm.SerialPorts = []inventory.Port{{Index: 1, Backing: "file", Target: "[ds one] web 1/serial.log"}, {Index: 7, Backing: "pipe", Target: "p"}}
	vm.Parallel = []inventory.Port{{Index: 0, Backing: "device", Target: "/dev/parport0"}}
	vm.Floppies = []inventory.Floppy{{Image: "[ds one] f.flp"}}
	vm.USB, vm.USBDevices, vm.Passthrough = []string{"ehci", "xhci"}, []string{"0x0529:0x0001"}, []string{"0000:3b:00.0"}
	vm.Sound = "hdaudio"
	vm.Video = inventory.Video{RAMKiB: 20000, Displays: 2, ThreeD: true}
	vm.Snapshots = []inventory.Snapshot{{ID: "1", Name: "before"}}
	vm.Extra = map[string]string{"guestinfo.userdata": "(120 bytes)", "smbios.reflecthost": "TRUE", "isolation.tools.copy.disable": "TRUE", "what.ever": "", "uuid.action": "keep", "numa.nodeaffinity": "1"}
	vm.Sort()
	return vm
}

func (c goldenCase) result(t *testing.T) Result {
	t.Helper()
	vm := c.vm()
	o := options(vm)
	if c.opts != nil {
		c.opts(&o)
	}
	r, err := New(vm, c.host, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGolden(t *testing.T) {
	for _, c := range goldenCases() {
		t.Run(c.name, func(t *testing.T) {
			r := c.result(t)
			golden(t, c.name+".xml", r.XML+"\n")
			golden(t, c.name+".txt", report(r))
		})
	}
}

// report is a Result's lists, one line each.
func report(r Result) string {
	var w strings.Builder
	for _, e := range r.Ledger {
		w.WriteString(strings.Join([]string{string(e.Fate), e.Property, fit.Line(e.Source), e.Target, e.Reason}, " | ") + "\n")
	}
	w.WriteString("\n")
	for _, c := range r.Concerns {
		w.WriteString(strings.Join([]string{string(c.Severity), c.ID, c.Subject, c.Evidence, c.Advice}, " | ") + "\n")
	}
	return w.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestSchema asks libvirt's own schema.
func TestSchema(t *testing.T) {
	tool := tool(t, "virt-xml-validate")
	for _, c := range goldenCases() {
		t.Run(c.name, func(t *testing.T) {
			r := c.result(t)
			xmls := map[string]string{"domain": r.XML, "proof": proof(t, r)}
			tagged, err := Tag(r.XML, "run-1")
			if err != nil {
				t.Fatal(err)
			}
			xmls["tagged"] = tagged
			for what, text := range xmls {
				t.Run(what, func(t *testing.T) { validate(t, tool, text) })
			}
		})
	}
}

// TestSchemaOfFixture asks it about each VM of a host, as the API tells them.
func TestSchemaOfFixture(t *testing.T) {
	tool := tool(t, "virt-xml-validate")
	host := fixtureHost(t)
	for _, vm := range host.VMs {
		for _, virt := range []string{"kvm", "qemu"} {
			t.Run(virt+" "+vm.Name, func(t *testing.T) {
				t.Parallel() // as many at once as go test's -parallel says
				o := options(&vm)
				o.VirtType, o.HostMHz = virt, host.CPUMHz
				r, err := New(&vm, host, o)
				if err != nil {
					t.Fatal(err)
				}
				validate(t, tool, r.XML)
				validate(t, tool, proof(t, r))
			})
		}
	}
}

// fixtureHost reads the built-in VMs of the ESXi fixture.
func fixtureHost(t *testing.T) *inventory.Host {
	t.Helper()
	h, err := fixture.Start(t.Context(), fixture.Options{Builtin: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	u, _, err := esxi.ParseURL(h.User() + "@" + strings.TrimPrefix(h.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := esxi.Dial(t.Context(), esxi.Config{URL: u, Password: esxi.Secret(h.Password()), Thumbprint: h.Thumbprint()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }()
	host, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(host.VMs) < 10 {
		t.Fatalf("%d VMs: %+v", len(host.VMs), host.VMs)
	}
	return host
}

// validate asks libvirt's schema about domain XML.
func validate(t *testing.T, tool, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "domain.xml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, path, "domain").CombinedOutput(); err != nil {
		t.Errorf("%v: %s in\n%s", err, out, text)
	}
}

func proof(t *testing.T, r Result) string {
	t.Helper()
	o := ProofOptions{Name: r.Domain.Name + "-proof", UUID: "b0075000-0000-4000-8000-000000000001", Overlays: map[string]string{}}
	for _, d := range r.Domain.Devices.Disks {
		o.Overlays[d.Target.Dev] = "/var/lib/esxodus/" + d.Target.Dev + ".qcow2"
	}
	p, err := Proof(r.Domain, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
