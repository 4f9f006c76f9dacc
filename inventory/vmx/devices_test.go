package vmx

import (
	"fmt"
	"strings"
	"testing"

	"esxodus/inventory"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// machine reads a .vmx of these lines.
func machine(t *testing.T, lines ...string) inventory.VM {
	t.Helper()
	f, err := Parse([]byte("config.version = \"8\"\nmemsize = \"64\"\n" + strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	vm, err := f.vm("[ds] web/web.vmx")
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// at puts lines of a device's below scsi0:1 or the like.
func at(device string, lines ...string) []string {
	bus, _, _ := strings.Cut(device, ":")
	out := []string{bus + ".present = TRUE", device + ".present = TRUE"}
	for _, l := range lines {
		out = append(out, device+"."+l)
	}
	return out
}

func TestRawDevices(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]inventory.Disk{
		"scsi-nonpassthru-rdm": {Path: "[ds] web/lun.vmdk", Format: "rdm"}, "scsi-passthru-rdm": {Path: "[ds] web/lun.vmdk", Format: "rawPhysical"},
		"scsi-hardDisk": {Path: "[ds] web/lun.vmdk", Format: "flat"}, "rawDisk": {Path: "[ds] web/lun.vmdk", Format: "flat"},
	} {
		vm := machine(t, at("scsi0:1", `deviceType = "`+kind+`"`, `fileName = "lun.vmdk"`)...)
		if len(vm.Disks) != 1 || vm.Disks[0].Path != want.Path || vm.Disks[0].Format != want.Format || len(vm.Problems) > 0 {
			t.Errorf("%s: disks %+v, problems %v; want %+v", kind, vm.Disks, vm.Problems, want)
		}
	}
	vm := machine(t, at("scsi0:1", `deviceType = "scsi-passthru"`, `fileName = "/vmfs/devices/genscsi/vml.1"`)...)
	if want := []string{"scsi-passthru: scsi0:1 /vmfs/devices/genscsi/vml.1"}; !cmp.Equal(vm.Passthrough, want) || len(vm.Disks)+len(vm.Other) > 0 {
		t.Errorf("passthrough %q, other %q; want %q", vm.Passthrough, vm.Other, want)
	}
	vm = machine(t, at("scsi0:1", `deviceType = "warp-drive"`, `fileName = "x.y"`)...)
	if want := []string{"warp-drive: scsi0:1 x.y"}; !cmp.Equal(vm.Other, want) {
		t.Errorf("other %q; want %q", vm.Other, want)
	}
}

func TestDrives(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]inventory.CDROM{
		"cdrom-image|": {}, "cdrom-image|emptyBackingString": {}, "cdrom-image|EMPTYBACKINGSTRING": {}, "cdrom-image|auto detect": {}, "cdrom-image|[ds]": {},
		"cdrom-image|a.iso": {ISO: "[ds] web/a.iso"}, "cdrom-image|[x] a.iso": {ISO: "[x] a.iso"}, "cdrom-image|/vmfs/volumes/1/a": {ISO: "/vmfs/volumes/1/a"},
		"cdrom-raw|auto detect": {Device: "auto detect"}, "atapi-cdrom|": {}, "cdrom-raw|emptyBackingString": {}, "|a.iso": {ISO: "[ds] web/a.iso"}, "|": {}, "|emptyBackingString": {},
	} {
		kind, file, _ := strings.Cut(in, "|")
		lines := []string{`fileName = "` + file + `"`}
		if kind != "" {
			lines = append(lines, `deviceType = "`+kind+`"`)
		}
		vm := machine(t, at("ide1:0", lines...)...)
		want.Class, want.Bus, want.StartConnected = "ide", 1, true
		if len(vm.CDROMs) != 1 || vm.CDROMs[0] != want || len(vm.Problems) > 0 || len(vm.Disks) > 0 {
			t.Errorf("%s: %+v, disks %+v, problems %v; want %+v", in, vm.CDROMs, vm.Disks, vm.Problems, want)
		}
	}
}

func TestFloppies(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]inventory.Floppy{
		"": {{StartConnected: true}}, "floppy0.present = FALSE": nil, "floppy0.present = TRUE": {{StartConnected: true}},
		"floppy0.startConnected = FALSE": {{}}, "floppy0.fileName = \"emptyBackingString\"\nfloppy0.fileType = file": {{StartConnected: true}},
		"floppy0.fileName = a.flp\nfloppy0.fileType = file": {{Image: "[ds] web/a.flp", StartConnected: true}},
		"floppy0.present = FALSE\nfloppy1.present = TRUE":   {{StartConnected: true}},
	} {
		vm := machine(t, in)
		if diff := cmp.Diff(want, vm.Floppies, cmpopts.EquateEmpty()); diff != "" || len(vm.Extra) > 0 {
			t.Errorf("%q (-want +got), extra %v:\n%s", in, vm.Extra, diff)
		}
	}
}

// TestKeys: no two slots have one key, and those that ESXi has are ESXi's.
func TestKeys(t *testing.T) {
	t.Parallel()
	seen := make(map[int32]slot)
	for _, class := range slotClasses() {
		for bus := range 1000 {
			for unit := range 200 {
				s := slot{class, bus, unit}
				if other, twice := seen[s.key()]; twice {
					t.Fatalf("%s and %s both have the key %d", other, s, s.key())
				}
				seen[s.key()] = s
			}
		}
	}
	for want, s := range map[int32]slot{2000: {"scsi", 0, 0}, 2016: {"scsi", 1, 0}, 131088: {"scsi", 0, 16}, 2063: {"scsi", 3, 15}, 3003: {"ide", 1, 1}, 16030: {"sata", 1, 0}, 32064: {"nvme", 1, 0}} {
		if s.key() != want {
			t.Errorf("%s has the key %d; want %d", s, s.key(), want)
		}
	}
	lines := append(at("scsi0:16", "fileName = a.vmdk"), at("scsi1:0", "fileName = b.vmdk")...)
	vm := machine(t, append(lines, "bios.bootOrder = hdd", `bios.hddOrder = "scsi1:0,scsi0:16"`)...)
	if want := []string{"disk:2016", "disk:131088"}; !cmp.Equal(vm.BootOrder, want) {
		t.Errorf("boot order %v; want %v", vm.BootOrder, want)
	}
}

func TestNICs(t *testing.T) {
	t.Parallel()
	vm := machine(t, "ethernet0.present = TRUE", "ethernet0.virtualDev = vmxnet3", "ethernet0.opaqueNetwork.id = 7c8f", `ethernet0.networkName = "seg one"`,
		"ethernet0.address = 00:50:56:00:00:01", "ethernet2.present = TRUE", "ethernet2.virtualDev = vmxnet3", `ethernet2.dvs.portgroupId = dvportgroup-7`,
		`ethernet2.networkName = "dv"`, "ethernet2.address = 00:50:56:00:00:02",
		"pciPassthru0.present = TRUE", "pciPassthru0.MACAddress = \"00:50:56:AA:00:03\"", "pciPassthru0.MACAddressType = static", `pciPassthru0.networkName = "VM Network"`,
		"pciPassthru0.deviceId = 0x10ed", "pciPassthru0.vendorId = 0x8086", "pciPassthru0.systemId = x", "pciPassthru0.id = 00:1:1.1",
		"pciPassthru1.present = TRUE", "pciPassthru1.id = 0000:03:00.0", "floppy0.present = FALSE")
	want := []inventory.NIC{
		{Key: 4000, Model: "vmxnet3", MAC: "00:50:56:00:00:01", MACType: "manual", Distributed: "7c8f", NetworkName: "seg one", StartConnected: true},
		{Key: 4002, Index: 2, Model: "vmxnet3", MAC: "00:50:56:00:00:02", MACType: "manual", Distributed: "dvportgroup-7", NetworkName: "dv", StartConnected: true},
		{Key: 13000, Index: 3, Model: "sriov", MAC: "00:50:56:aa:00:03", MACType: "manual", PortGroup: "VM Network", StartConnected: true},
	}
	if diff := cmp.Diff(want, vm.NICs); diff != "" {
		t.Errorf("NICs (-want +got):\n%s", diff)
	}
	if !cmp.Equal(vm.Passthrough, []string{"0000:03:00.0"}) || len(vm.Extra) > 0 {
		t.Errorf("passthrough %q, extra %v", vm.Passthrough, vm.Extra)
	}
}

func TestNVDIMM(t *testing.T) {
	t.Parallel()
	vm := machine(t, "nvdimm0.present = TRUE", "nvdimm0:0.present = TRUE", "nvdimm0:0.fileName = pmem.vmdk", "nvdimm0:0.size = 4096", "nvdimm0:1.present = FALSE")
	if want := []inventory.NVDIMM{{Path: "[ds] web/pmem.vmdk", Capacity: 4 << 30}}; !cmp.Equal(vm.NVDIMMs, want) {
		t.Errorf("NVDIMMs %+v, extra %v; want %+v", vm.NVDIMMs, vm.Extra, want)
	}
}

// TestHostileKeys: the work goes by the file's size. A machine of as many keys
// as may be, each as long as may be, has them all.
func TestHostileKeys(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("config.version = 8\n")
	n := 0
	for ; b.Len() < maxSize-2*maxKey; n++ {
		fmt.Fprintf(&b, "%s.%d.pcislotnumber=1\n", strings.Repeat("ethernet9", 110), n)
	}
	f, err := Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	vm, err := f.vm("")
	if err != nil || len(vm.Extra) != n {
		t.Errorf("%d keys of %d, %v", len(vm.Extra), n, err)
	}
}
