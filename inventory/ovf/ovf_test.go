package ovf

import (
	"errors"
	"os"
	"strings"
	"testing"

	"esxodus/inventory"

	"github.com/google/go-cmp/cmp"
)

func sample(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/esxi.ovf")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestParse reads what ESXi's export writes.
func TestParse(t *testing.T) {
	vms, err := Parse([]byte(sample(t)), "web.ovf")
	if err != nil || len(vms) != 1 {
		t.Fatalf("Parse = %d VMs, %v; want one", len(vms), err)
	}
	want := inventory.VM{
		ID: "web", Name: "web 1", Path: "web.ovf", GuestID: "debian10_64Guest", GuestFullName: "Debian 10 (64-bit)", HardwareVersion: 13, Power: inventory.PowerUnknown,
		Annotation: "the shop\nsecond line", Firmware: inventory.EFI, SecureBoot: true,
		CPU:    inventory.CPU{Count: 4, CoresPerSocket: 2, HotAdd: true, ReservationMHz: 500, LimitMHz: -1},
		Memory: inventory.Memory{SizeMiB: 2048, LimitMiB: -1},
		Controllers: []inventory.Controller{
			{Key: 15000, Class: "sata", Model: "ahci"}, {Key: 201, Class: "ide", Bus: 1, Model: "ide"}, {Key: 1000, Class: "scsi", Model: "pvscsi"},
		},
		Disks: []inventory.Disk{
			{Key: 2000, Label: "Hard disk 2", Class: "sata", Unit: 1, Path: "web-2.vmdk", Capacity: 1 << 20, Format: inventory.FormatSparse, Mode: "persistent"},
			{Key: 2001, Label: "Hard disk 1", Class: "scsi", Path: "web-1.vmdk", Capacity: 8 << 30, Format: inventory.FormatSparse, Mode: "persistent"},
		},
		NICs:   []inventory.NIC{{Key: 4000, Label: "Network adapter 1", Model: "vmxnet3", MACType: "generated", PortGroup: "VM Network", StartConnected: true, PCISlot: 192, WakeOnLAN: true}},
		CDROMs: []inventory.CDROM{{Class: "ide", Bus: 1}},
		Video:  inventory.Video{RAMKiB: 8192},
		Extra:  map[string]string{"guestinfo.secret": "(9 bytes)"},
		Notes:  []string{"the image in its drive ide1:0 stays in the package: ovf:/file/file3"},
	}
	if diff := cmp.Diff(want, vms[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestProblems: what can't be of a VM, or isn't read, is a problem of it.
func TestProblems(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"compressed", `ovf:href="web-1.vmdk"`, `ovf:href="web-1.vmdk.gz" ovf:compression="gzip"`, "gunzip web-1.vmdk.gz"},
		{"in pieces", `ovf:href="web-1.vmdk"`, `ovf:href="web-1.vmdk" ovf:chunkSize="1000"`, "join them"},
		{"no such file", `ovf:fileRef="file1"`, `ovf:fileRef="file9"`, `no file "file9"`},
		{"empty disk", `ovf:fileRef="file1"`, ``, "an empty disk"},
		{"delta", `ovf:fileRef="file1"`, `ovf:fileRef="file1" ovf:parentRef="vmdisk2"`, "without snapshots"},
		{"no such disk", `ovf:/disk/vmdisk1`, `ovf:/disk/other`, `no disk "other"`},
		{"not a disk", `ovf:/disk/vmdisk1`, `ovf:/file/file1`, "want ovf:/disk/ID"},
		{"capacity of a property", `ovf:capacity="8"`, `ovf:capacity="${size}"`, "its capacity is"},
		{"units", `byte * 2^30`, `byte * 2^99`, "its capacity is"},
		{"too large", `ovf:capacity="8"`, `ovf:capacity="9223372036854775807"`, "its capacity is"},
		{"no controller", `<rasd:Parent>3</rasd:Parent>`, `<rasd:Parent>33</rasd:Parent>`, "no controller"},
		{
			"one place", `<rasd:AddressOnParent>1</rasd:AddressOnParent><rasd:ElementName>Hard disk 2</rasd:ElementName><rasd:HostResource>/disk/vmdisk2</rasd:HostResource><rasd:InstanceID>8</rasd:InstanceID><rasd:Parent>5`,
			`<rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Hard disk 2</rasd:ElementName><rasd:HostResource>/disk/vmdisk2</rasd:HostResource><rasd:InstanceID>8</rasd:InstanceID><rasd:Parent>3`, "two disks are at scsi0:0",
		},
		{"CPUs", `<rasd:VirtualQuantity>4<`, `<rasd:VirtualQuantity>4000000000<`, "number of processors"},
	}
	for _, tt := range tests {
		text := strings.Replace(sample(t), tt.old, tt.new, 1)
		if text == sample(t) {
			t.Fatalf("%s: %q isn't there", tt.name, tt.old)
		}
		vms, err := Parse([]byte(text), "web.ovf")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := strings.Join(vms[0].Problems, "\n"); !strings.Contains(got, tt.want) {
			t.Errorf("%s: problems %q; want %q", tt.name, got, tt.want)
		}
	}
}

// TestRefused: what is no descriptor is an error, whatever it makes a reader do.
func TestRefused(t *testing.T) {
	one := sample(t)
	system := one[strings.Index(one, "<VirtualSystem "):strings.Index(one, "</Envelope>")]
	for name, text := range map[string]string{
		"empty": "", "no XML": "KDMV", "cut short": one[:len(one)/2], "no VM": strings.Replace(one, system, "", 1),
		"an external entity":   `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + strings.Replace(one, "web 1", "&x;", 1),
		"entities of entities": `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>` + strings.Replace(one, "web 1", "&b;", 1),
		"deep":                 strings.Replace(one, "web 1", strings.Repeat("<a>", 200_000), 1), "too long": strings.Replace(one, "web 1", strings.Repeat("x", MaxSize), 1),
		"too many VMs": strings.Replace(one, system, "<VirtualSystemCollection>"+strings.Repeat("<VirtualSystem/>", maxVMs+1)+"</VirtualSystemCollection>", 1),
	} {
		if vms, err := Parse([]byte(text), "x.ovf"); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %d VMs, %v; want an error", name, len(vms), err)
		}
	}
	two, err := Parse([]byte(strings.Replace(one, system, "<VirtualSystemCollection>"+system+system+"</VirtualSystemCollection>", 1)), "x.ovf")
	if err != nil || len(two) != 2 || two[0].ID == two[1].ID {
		t.Errorf("a collection of two: %d VMs, %v; want two with ids of their own", len(two), err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample(f)))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = Parse(text, "x.ovf") // it neither panics nor takes long
	})
}
