package domain

import (
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// carried is a VM with one disk and what a case sets.
func carried(t *testing.T, o Options, set func(vm *inventory.VM)) Result {
	t.Helper()
	vm := &inventory.VM{
		ID: "7", Name: "web", BIOSUUID: "564d0000-0000-0000-0000-000000000001", GuestID: "debian12_64Guest", HardwareVersion: 13,
		Power: inventory.PoweredOff, Firmware: inventory.BIOS, CPU: inventory.CPU{Count: 1, CoresPerSocket: 1, LimitMHz: -1},
		Memory: inventory.Memory{SizeMiB: 256, LimitMiB: -1}, Controllers: []inventory.Controller{{Class: "scsi", Model: "pvscsi"}},
		Disks: []inventory.Disk{{Key: 2000, Class: "scsi", Path: "[ds] web/web.vmdk", Capacity: 1 << 30, Format: "flat", UUID: "6000c29a-0011-2233-4455-66778899aabb"}},
	}
	set(vm)
	o.Name, o.VirtType = "web", "kvm"
	if classify(vm, guest.Guest{}).family == linux {
		o.Guest.OS = linux // a look was had
	}
	for _, d := range vm.Disks {
		o.Disks = append(o.Disks, Disk{Address: d.Address(), Path: "/d/" + d.Address(), Size: d.Capacity})
	}
	r, err := New(vm, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func entry(r Result, property string) ledger.Entry {
	i := slices.IndexFunc(r.Ledger, func(e ledger.Entry) bool { return e.Property == property })
	if i < 0 {
		return ledger.Entry{}
	}
	return r.Ledger[i]
}

// TestSerials: one rule for all buses. Where the guest saw serial numbers, the
// disk has one, the ledger says what of it, and the concern doesn't promise
// more.
func TestSerials(t *testing.T) {
	t.Parallel()
	const digits = "6000c29a00112233445566778899aabb"
	for name, tt := range map[string]struct {
		guestID, class, bus, serial, reason string
		fate                                ledger.Fate
		note                                ledger.Severity
		off                                 bool
	}{
		"SCSI to SCSI":      {guestID: "debian12_64Guest", class: "scsi", bus: "scsi", serial: digits, fate: ledger.Changed, reason: "the serial number stays", note: ledger.Note},
		"SATA to SCSI":      {guestID: "debian12_64Guest", class: "sata", bus: "scsi", serial: digits, fate: ledger.Changed, reason: "the serial number stays", note: ledger.Note},
		"SCSI to SATA":      {guestID: "windows9_64Guest", class: "scsi", bus: "sata", serial: digits[:20], fate: ledger.Changed, reason: "room for 20", note: ledger.Warning},
		"SATA to SATA":      {guestID: "windows9_64Guest", class: "sata", bus: "sata", serial: digits[:20], fate: ledger.Changed, reason: "room for 20", note: ledger.Warning},
		"NVMe to SATA":      {guestID: "windows9_64Guest", class: "nvme", bus: "sata", serial: digits[:20], fate: ledger.Changed, reason: "room for 20", note: ledger.Warning},
		"IDE to IDE":        {guestID: "winXPProGuest", class: "ide", bus: "ide", serial: digits[:20], fate: ledger.Changed, reason: "room for 20", note: ledger.Warning},
		"not seen":          {guestID: "debian12_64Guest", class: "scsi", bus: "virtio", fate: ledger.Dropped, reason: "disk.EnableUUID is off", off: true},
		"not seen, on SATA": {guestID: "windows9_64Guest", class: "sata", bus: "sata", fate: ledger.Dropped, reason: "disk.EnableUUID is off", off: true},
	} {
		r := carried(t, Options{}, func(vm *inventory.VM) {
			vm.GuestID, vm.DiskEnableUUID, vm.Disks[0].Class, vm.Controllers[0].Class = tt.guestID, !tt.off, tt.class, tt.class
		})
		d, e := r.Domain.Devices.Disks[0], entry(r, "disks["+tt.class+"0:0].uuid")
		if d.Target.Bus != tt.bus || d.Serial != tt.serial || e.Fate != tt.fate || !strings.Contains(e.Reason, tt.reason) {
			t.Errorf("%s: serial %q on %s, ledger %+v; want %q on %s, %s (%s)", name, d.Serial, d.Target.Bus, e, tt.serial, tt.bus, tt.fate, tt.reason)
		}
		var note ledger.Severity
		for _, c := range r.Concerns {
			if c.ID == ConcernByID {
				note = c.Severity
				if (tt.bus == "scsi") != strings.Contains(c.Advice, "stay") {
					t.Errorf("%s: %s", name, c.Advice)
				}
			}
		}
		if note != tt.note {
			t.Errorf("%s: a concern of severity %q; want %q", name, note, tt.note)
		}
		if seen := entry(r, "diskEnableUUID"); (seen.Fate == ledger.Dropped) || (seen.Property == "") != tt.off {
			t.Errorf("%s: diskEnableUUID %+v", name, seen)
		}
	}
}

// TestCarried: what has a place in a domain gets it.
func TestCarried(t *testing.T) {
	t.Parallel()
	r := carried(t, Options{Guest: guest.Guest{}}, func(vm *inventory.VM) {
		vm.GenerationID = "09512cc5-940a-8987-b950-f54f631015e8"
		vm.SMBIOS = inventory.SMBIOS{AssetTag: "A<1>&\n2", Serial: "S-2", Model: "Model, 3", Board: "B-4"}
		vm.Disks[0].IOPSLimit, vm.Disks[0].BytesLimit = 80, 10<<20
		vm.NVDIMMs = []inventory.NVDIMM{{Unit: 1, Path: "[ds] web/pmem.vmdk", Capacity: 4 << 30}}
		vm.Extra = map[string]string{"machine.id": "root:EXAMPLE"}
	})
	for _, want := range []string{
		"<genid>09512cc5-940a-8987-b950-f54f631015e8</genid>", `<smbios mode="sysinfo"></smbios>`, "<total_iops_sec>80</total_iops_sec>", "<total_bytes_sec>10485760</total_bytes_sec>",
		`<entry name="asset">A&lt;1&gt;&amp; 2</entry>`, `<entry name="serial">S-2</entry>`, `<entry name="product">Model, 3</entry>`, `<entry name="product">B-4</entry>`,
	} {
		if !strings.Contains(r.XML, want) {
			t.Errorf("no %s in\n%s", want, r.XML)
		}
	}
	for property, fate := range map[string]ledger.Fate{
		"generationID": ledger.Mapped, "smbios.assetTag": ledger.Changed, "smbios.serial": ledger.Mapped, "smbios.model": ledger.Mapped, "smbios.board": ledger.Mapped,
		"disks[scsi0:0].iopsLimit": ledger.Mapped, "disks[scsi0:0].bytesLimit": ledger.Mapped, "nvdimms[0].path": ledger.Dropped, "extra[machine.id]": ledger.Dropped,
	} {
		if e := entry(r, property); e.Fate != fate || fate != ledger.Mapped && e.Reason == "" || strings.Contains(e.Source, "EXAMPLE") {
			t.Errorf("%s: %+v; want %s", property, e, fate)
		}
	}
	if !slices.ContainsFunc(r.Concerns, func(c ledger.Concern) bool { return c.ID == ConcernNVDIMM && c.Severity == ledger.Blocker }) {
		t.Errorf("no blocker for the NVDIMM in %+v", r.Concerns)
	}
	// A VM without a UUID has them, too.
	r = carried(t, Options{}, func(vm *inventory.VM) { vm.BIOSUUID, vm.SMBIOS = "", inventory.SMBIOS{AssetTag: "A-1"} })
	if !strings.Contains(r.XML, `<entry name="asset">A-1</entry>`) || !strings.Contains(r.XML, `<smbios mode="sysinfo">`) {
		t.Errorf("no asset tag in\n%s", r.XML)
	}
}
