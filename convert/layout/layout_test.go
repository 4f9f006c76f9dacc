package layout

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/guest"
	"esxodus/disk/lvm"
	"esxodus/disk/part"
)

const (
	gib  = 1 << 30
	uuid = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg"
	vg   = "gggggg-bbbb-cccc-dddd-eeee-ffff-gggggg"
	two  = "222222-bbbb-cccc-dddd-eeee-ffff-gggggg"
)

// linux is a Debian on its disks.
func linux(root string, disks ...guest.DiskLayout) guest.Guest {
	return guest.Guest{OS: "linux", Distro: "debian", PrettyName: "Debian 12", Hostname: "web.example.com", Kernels: []string{"6.1.0-18-amd64"}, Root: root, Disks: disks}
}

// partitions is a root and a swap in an MBR.
func partitions() guest.Guest {
	return linux("scsi0:0 partition 1", guest.DiskLayout{
		Address: "scsi0:0", Size: 10 * gib, Table: "mbr", TableID: "deb1a512", BootCode: true,
		Partitions: []guest.Partition{
			{Number: 1, Offset: mib, Length: 9 * gib, Type: "83", Active: true, Content: "ext4", UUID: "r", Mount: "/"},
			{Number: 2, Offset: mib + 9*gib, Length: gib - mib, Type: "82", Content: "swap", UUID: "s", Mount: "swap"},
		},
	})
}

// installer is a /boot, and a full group in a logical partition.
func installer() guest.Guest {
	g := linux("g-vg/root", guest.DiskLayout{
		Address: "scsi0:0", Size: 5 * gib, Table: "mbr", TableID: "0b007000",
		Partitions: []guest.Partition{
			{Number: 1, Offset: mib, Length: 487 * mib, Type: "83", Content: "ext2", UUID: "b", Mount: "/boot"},
			{Number: 2, Offset: 489*mib - 1024, Length: 4631*mib + 1024, Type: "05", Container: true},
			{Number: 5, Offset: 489 * mib, Length: 4631 * mib, Type: "8e", Logical: true, Content: "lvm2", UUID: uuid},
		},
	})
	g.Groups = []guest.Group{{
		Name: "g-vg", UUID: vg, Seqno: 3, ExtentSize: 4 * mib, Status: []string{"RESIZEABLE", "READ", "WRITE"},
		PVs: []guest.GroupPV{{
			UUID: uuid, Disk: "scsi0:0", Partition: 5, Offset: 489 * mib, Length: 4631 * mib, Start: mib, Extents: 1157, Status: []string{"ALLOCATABLE"},
			Label: 1, Metadata: []guest.Metadata{{Offset: 4096, Length: mib - 4096}}, Copies: 1,
		}},
		LVs: []guest.GroupLV{linear("root", uuid, 0, 1000), linear("swap_1", uuid, 1000, 157)},
	}}
	g.Volumes = []guest.Volume{
		{Group: "g-vg", Name: "root", Length: 4000 * mib, Kind: "linear", Content: "ext4", UUID: "r", Mount: "/"},
		{Group: "g-vg", Name: "swap_1", Length: 628 * mib, Kind: "linear", Content: "swap", UUID: "s", Mount: "swap"},
	}
	return g
}

func linear(name, pv string, pe, count int64) guest.GroupLV {
	return guest.GroupLV{
		Name: name, Visible: true, Types: []string{"linear"},
		Segments: []guest.LVSegment{{Count: count, Areas: []guest.LVArea{{PV: pv, PE: pe}}}},
	}
}

// addDisk adds a data disk with partitions.
func addDisk(g guest.Guest, ps ...guest.Partition) guest.Guest {
	g.Disks = append(g.Disks, guest.DiskLayout{Address: "scsi0:1", Size: 2 * gib, Table: "gpt", Partitions: ps})
	return g
}

// spread has the group on a second disk as well.
func spread(number int, offset int64) guest.Guest {
	g := installer()
	p := guest.Partition{Number: number, Offset: offset, Length: gib, Content: "lvm2", UUID: two}
	g = addDisk(g, p)
	if number == 0 {
		g.Disks[1].Table, g.Disks[1].Size = "none", gib
	}
	v := &g.Groups[0]
	pv := v.PVs[0]
	pv.UUID, pv.Disk, pv.Partition, pv.Offset, pv.Length, pv.Extents = two, "scsi0:1", number, offset, gib, 255
	v.PVs = append(v.PVs, pv)
	v.LVs = append(v.LVs, linear("srv", two, 0, 255))
	g.Volumes = append(g.Volumes, guest.Volume{Group: "g-vg", Name: "srv", Content: "xfs", Mount: "/srv"})
	return g
}

// dataGroup has partitions, and a group of its own on a data disk.
func dataGroup() guest.Guest {
	g := addDisk(partitions(), guest.Partition{Number: 1, Offset: 5 * mib, Length: gib, Content: "lvm2", UUID: two})
	g.Groups = installer().Groups
	v := &g.Groups[0]
	v.Name, v.LVs = "data", []guest.GroupLV{linear("srv", two, 0, 10)}
	v.PVs[0].UUID, v.PVs[0].Disk, v.PVs[0].Partition, v.PVs[0].Offset, v.PVs[0].Length, v.PVs[0].Extents = two, "scsi0:1", 1, 5*mib, gib, 255
	return g
}

func TestNewPartitions(t *testing.T) {
	l := New(Request{Name: "web", Seed: "seed", Guest: partitions()})
	verify(t, l, partitions())
	id := l.Groups[0].PVs[0].UUID
	want := Layout{
		Kind: LVM,
		Disks: []Disk{{
			Address: "scsi0:0", Kind: LVM, Size: 10 * gib, Head: mib,
			Ranges: []Range{{Source: mib, Target: mib, Length: 9 * gib}, {Source: mib + 9*gib, Target: mib + 9*gib, Length: gib - mib}},
		}},
		Groups: []Group{{
			Name: "web-vg", ExtentSize: 4 * mib,
			PVs: []PV{{UUID: id, Disk: "scsi0:0", Size: 10 * gib, Start: mib, Extents: 2559, New: true}},
			Volumes: []Volume{
				{Name: "root", New: true, Extents: 2304, Segments: []Segment{{PV: id, Count: 2304}}},
				{Name: "swap", New: true, Extents: 256, Segments: []Segment{{PV: id, PE: 2304, Count: 256}}},
			},
		}},
		Moves: []Move{
			{
				Content: "ext4", Mount: "/", UUID: "r", From: "scsi0:0 partition 1", FromDisk: "scsi0:0", FromOffset: mib, Length: 9 * gib,
				To: "web-vg/root", ToDisk: "scsi0:0", ToOffset: mib,
				Names: []string{"/dev/sda1", "PARTUUID=deb1a512-01", "/dev/disk/by-partuuid/deb1a512-01"},
			},
			{
				Content: "swap", Mount: "swap", UUID: "s", From: "scsi0:0 partition 2", FromDisk: "scsi0:0", FromOffset: mib + 9*gib, Length: gib - mib,
				To: "web-vg/swap", ToDisk: "scsi0:0", ToOffset: mib + 9*gib,
				Names: []string{"/dev/sda2", "PARTUUID=deb1a512-02", "/dev/disk/by-partuuid/deb1a512-02"},
			},
		},
		Boot: &Boot{Disk: "scsi0:0", PV: id, Volume: "web-vg/root", End: mib + 9*gib},
	}
	// The swap is 1 MiB short of its 256 extents.
	want.Disks[0].Size, want.Disks[0].Grown = 10*gib+mib, mib
	want.Groups[0].PVs[0].Size, want.Groups[0].PVs[0].Extents = 10*gib+mib, 2560
	if diff := cmp.Diff(want, l); diff != "" {
		t.Errorf("New (-want +got):\n%s", diff)
	}
	if !lvmUUID.MatchString(id) || id != pvUUID("seed", "scsi0:0") || id == pvUUID("seed", "scsi0:1") || id == pvUUID("other", "scsi0:0") {
		t.Errorf("UUID = %s", id)
	}
	if got := l.Moves[0].Device(); got != "/dev/mapper/web--vg-root" {
		t.Errorf("Device = %s", got)
	}
}

func TestNewInstaller(t *testing.T) {
	l := New(Request{Guest: installer()})
	verify(t, l, installer())
	want := Layout{
		Kind: LVM,
		Disks: []Disk{{
			Address: "scsi0:0", Kind: LVM, Size: 5 * gib, Head: mib,
			Ranges: []Range{{Source: 490 * mib, Target: mib, Length: 4628 * mib}, {Source: mib, Target: 4629 * mib, Length: 487 * mib}},
		}},
		Groups: []Group{{
			Name: "g-vg", UUID: vg, Seqno: 3, ExtentSize: 4 * mib,
			PVs: []PV{{UUID: uuid, Disk: "scsi0:0", Size: 5 * gib, Start: mib, Extents: 1279, Source: 489 * mib}},
			Volumes: []Volume{
				{Name: "root", Extents: 1000, Segments: []Segment{{PV: uuid, Count: 1000}}},
				{Name: "swap_1", Extents: 157, Segments: []Segment{{PV: uuid, PE: 1000, Count: 157}}},
				{Name: "boot", New: true, Extents: 122, Segments: []Segment{{PV: uuid, PE: 1157, Count: 122}}},
			},
		}},
		Moves: []Move{
			{
				Content: "ext2", Mount: "/boot", UUID: "b", From: "scsi0:0 partition 1", FromDisk: "scsi0:0", FromOffset: mib, Length: 487 * mib,
				To: "g-vg/boot", ToDisk: "scsi0:0", ToOffset: 4629 * mib,
				Names: []string{"/dev/sda1", "PARTUUID=0b007000-01", "/dev/disk/by-partuuid/0b007000-01"},
			},
			{
				Content: "ext4", Mount: "/", UUID: "r", From: "g-vg/root", FromDisk: "scsi0:0", FromOffset: 490 * mib, Length: 4000 * mib,
				To: "g-vg/root", ToDisk: "scsi0:0", ToOffset: mib,
			},
			{
				Content: "swap", Mount: "swap", UUID: "s", From: "g-vg/swap_1", FromDisk: "scsi0:0", FromOffset: 4490 * mib, Length: 628 * mib,
				To: "g-vg/swap_1", ToDisk: "scsi0:0", ToOffset: 4001 * mib,
			},
		},
		Boot: &Boot{Disk: "scsi0:0", PV: uuid, Volume: "g-vg/boot", End: 5117 * mib},
	}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Errorf("New (-want +got):\n%s", diff)
	}
}

// TestNewShapes has guests of other shapes, each with what matters of it.
func TestNewShapes(t *testing.T) {
	tests := []struct {
		name string
		r    Request
		want []string
	}{
		{"two disks in one group", Request{Guest: spread(1, mib)}, []string{
			"scsi0:0 lvm grown 0", "scsi0:1 lvm grown 0", "g-vg/boot on scsi0:0 at 4629 MiB", "g-vg/root on scsi0:0 at 1 MiB", "g-vg/swap_1 on scsi0:0 at 4001 MiB", "g-vg/srv on scsi0:1 at 1 MiB",
		}},
		{"a whole disk in the group", Request{Guest: spread(0, 0)}, []string{
			"scsi0:0 lvm grown 0", "scsi0:1 lvm grown 0", "g-vg/boot on scsi0:0 at 4629 MiB", "g-vg/root on scsi0:0 at 1 MiB", "g-vg/swap_1 on scsi0:0 at 4001 MiB", "g-vg/srv on scsi0:1 at 1 MiB",
		}},
		{"the boot partition behind the root", Request{Guest: func() guest.Guest {
			g := partitions()
			g.Disks[0].Partitions[1].Content, g.Disks[0].Partitions[1].Mount = "xfs", "/boot"
			return g
		}()}, []string{"scsi0:0 lvm grown 1", "web-vg/root on scsi0:0 at 1025 MiB", "web-vg/boot on scsi0:0 at 1 MiB"}},
		{"data disks", Request{Guest: addDisk(
			partitions(),
			guest.Partition{Number: 1, Offset: mib, Length: gib, Content: "xfs", Mount: "/srv/my data", Name: "my data", GUID: "AB"},
			guest.Partition{Number: 7, Offset: mib + gib, Length: 4*mib + 512, Content: "vfat"},
		)}, []string{"scsi0:0 lvm grown 1", "scsi0:1 lvm grown 0", "web-vg/root on scsi0:0 at 1 MiB", "web-vg/swap on scsi0:0 at 9217 MiB", "web-vg2/srv-my-data on scsi0:1 at 1 MiB", "web-vg2/part7 on scsi0:1 at 1025 MiB"}},
		{"a data disk that can't", Request{Guest: addDisk(partitions(), guest.Partition{Number: 1, Offset: mib, Length: gib, Content: "luks"})}, []string{
			"scsi0:0 lvm grown 1", "scsi0:1 keep grown 0: scsi0:1 partition 1 is encrypted with LUKS: what it holds can't be seen from outside",
			"web-vg/root on scsi0:0 at 1 MiB", "web-vg/swap on scsi0:0 at 9217 MiB", "scsi0:1 partition 1 on scsi0:1 at 1 MiB",
		}},
		{"a data disk that is a file system", Request{Guest: func() guest.Guest {
			g := addDisk(partitions(), guest.Partition{Length: 2 * gib, Content: "btrfs"})
			g.Disks[1].Table = "none"
			return g
		}()}, []string{"scsi0:0 lvm grown 1", "scsi0:1 keep grown 0", "web-vg/root on scsi0:0 at 1 MiB", "web-vg/swap on scsi0:0 at 9217 MiB", "scsi0:1 on scsi0:1 at 0 MiB"}},
		{"a group on a data disk", Request{Guest: dataGroup()}, []string{
			"scsi0:0 lvm grown 1", "scsi0:1 lvm grown 0", "web-vg/root on scsi0:0 at 1 MiB", "web-vg/swap on scsi0:0 at 9217 MiB", "data/srv on scsi0:1 at 1 MiB",
		}},
		{"a group on a data disk that can't", Request{Guest: func() guest.Guest {
			g := dataGroup()
			g.Groups[0].Status = append(g.Groups[0].Status, "EXPORTED")
			return g
		}()}, []string{
			"scsi0:0 lvm grown 1", "scsi0:1 keep grown 0: volume group data is exported: vgimport in the guest makes it usable",
			"web-vg/root on scsi0:0 at 1 MiB", "web-vg/swap on scsi0:0 at 9217 MiB", "data/srv on scsi0:1 at 6 MiB",
		}},
		{"an empty data disk", Request{Guest: addDisk(partitions())}, []string{
			"scsi0:0 lvm grown 1", "scsi0:1 keep grown 0", "web-vg/root on scsi0:0 at 1 MiB", "web-vg/swap on scsi0:0 at 9217 MiB",
		}},
		{"a data disk with nothing to move", Request{Guest: addDisk(partitions(), guest.Partition{Number: 1, Offset: mib, Length: gib, Type: part.TypeESP, Content: "vfat"})}, []string{
			"scsi0:0 lvm grown 1", "scsi0:1 keep grown 0", "web-vg/root on scsi0:0 at 1 MiB", "web-vg/swap on scsi0:0 at 9217 MiB", "scsi0:1 partition 1 on scsi0:1 at 1 MiB",
		}},
		{"UEFI", Request{UEFI: true, Guest: func() guest.Guest {
			g := partitions()
			g.Disks[0].Partitions[1].Type, g.Disks[0].Partitions[1].Content, g.Disks[0].Partitions[1].Mount = part.TypeESP, "vfat", "/boot/efi"
			return g
		}()}, []string{"scsi0:0 lvm grown 0", "web-vg/root on scsi0:0 at 1 MiB", "vfat stays behind: the target boots by BIOS and needs no EFI system partition"}},
		{"EFI systems by their places", Request{Guest: addDisk(
			partitions(),
			guest.Partition{Number: 1, Offset: mib, Length: mib, Type: part.TypeESP, Content: "vfat"},
			guest.Partition{Number: 2, Offset: 2 * mib, Length: mib, Type: part.MBRTypeESP, Content: "vfat", Mount: "/boot/EFI"},
			guest.Partition{Number: 3, Offset: 3 * mib, Length: mib, Type: part.TypeESP, Content: "vfat", Mount: "/efi"},
			guest.Partition{Number: 4, Offset: 4 * mib, Length: mib, Type: part.TypeESP, Content: "vfat", Mount: "/data"},
			guest.Partition{Number: 5, Offset: 5 * mib, Length: mib, Type: part.MBRTypeESP, Content: "vfat", Mount: "/boot/efi/old"},
		)}, []string{
			"scsi0:0 lvm grown 1", "scsi0:1 lvm grown 0", "web-vg/root on scsi0:0 at 1 MiB", "web-vg/swap on scsi0:0 at 9217 MiB",
			"vfat stays behind: the target boots by BIOS and needs no EFI system partition",
			"vfat stays behind: the target boots by BIOS and needs no EFI system partition",
			"vfat stays behind: the target boots by BIOS and needs no EFI system partition",
			"web-vg2/data on scsi0:1 at 1 MiB", "web-vg2/boot-efi-old on scsi0:1 at 5 MiB",
		}},
		{"GRUB's space", Request{Guest: func() guest.Guest {
			g := partitions()
			q := &g.Disks[0].Partitions[1]
			q.Type, q.TypeName, q.Content, q.Mount = part.TypeBIOSBoot, "BIOS boot", "", ""
			return g
		}()}, []string{"scsi0:0 lvm grown 0", "web-vg/root on scsi0:0 at 1 MiB", "BIOS boot stays behind: it is GRUB's own space, and LILO needs none"}},
		{"a file system in GRUB's space", Request{Guest: func() guest.Guest {
			g := partitions()
			g.Disks[0].Partitions[1].Type, g.Disks[0].Partitions[1].Content, g.Disks[0].Partitions[1].Mount = part.TypeBIOSBoot, "ext4", ""
			return g
		}()}, []string{"scsi0:0 lvm grown 1", "web-vg/root on scsi0:0 at 1 MiB", "web-vg/part2 on scsi0:0 at 9217 MiB"}},
		{"free extents low on the disk", Request{Guest: func() guest.Guest {
			g := installer()
			g.Groups[0].LVs = []guest.GroupLV{linear("root", uuid, 130, 1000)}
			return g
		}()}, []string{"scsi0:0 lvm grown 0", "g-vg/boot on scsi0:0 at 1 MiB", "g-vg/root on scsi0:0 at 521 MiB"}},
		{"a full group of large extents", Request{Guest: func() guest.Guest {
			g := installer()
			v := &g.Groups[0]
			v.ExtentSize, v.PVs[0].Extents, v.PVs[0].Start = 256*mib, 18, 2*mib
			v.PVs[0].Metadata[0].Length = mib
			v.LVs = []guest.GroupLV{linear("root", uuid, 0, 18)}
			return g
		}()}, []string{"scsi0:0 lvm grown 2", "g-vg/boot on scsi0:0 at 4610 MiB", "g-vg/root on scsi0:0 at 2 MiB"}},
		{"names that are taken", Request{Guest: func() guest.Guest {
			g := installer()
			g.Groups[0].LVs[1].Name, g.Groups[0].LVs[1].Visible = "boot", false
			return addDisk(g, guest.Partition{Number: 1, Offset: mib, Length: mib, Content: "swap", Mount: "swap"}, guest.Partition{Number: 2, Offset: 3 * mib, Length: mib, Content: "swap", Mount: "swap"})
		}()}, []string{"scsi0:0 lvm grown 0", "scsi0:1 lvm grown 0", "g-vg/boot2 on scsi0:0 at 4629 MiB", "web-vg/swap on scsi0:1 at 1 MiB", "web-vg/swap2 on scsi0:1 at 5 MiB", "g-vg/root on scsi0:0 at 1 MiB"}},
		{"lvm asked for of a distribution that wasn't tried", Request{Kind: LVM, Guest: func() guest.Guest {
			g := partitions()
			g.Distro, g.PrettyName = "rocky", "Rocky Linux 9"
			return g
		}()}, []string{"scsi0:0 lvm grown 1", "web-vg/root on scsi0:0 at 1 MiB", "web-vg/swap on scsi0:0 at 9217 MiB"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := New(tt.r)
			verify(t, l, tt.r.Guest)
			if diff := cmp.Diff(tt.want, summary(l)); diff != "" {
				t.Errorf("New (-want +got):\n%s%q", diff, l.Reasons)
			}
			if l.Boot == nil || l.Boot.UEFI != tt.r.UEFI || l.Refused {
				t.Errorf("boot = %+v, refused %v", l.Boot, l.Refused)
			}
		})
	}
}

// summary is a layout in few words.
func summary(l Layout) []string {
	var out []string
	for _, d := range l.Disks {
		s := d.Address + " " + string(d.Kind) + " grown " + num(d.Grown)
		if d.Reason != "" {
			s += ": " + d.Reason
		}
		out = append(out, s)
	}
	for _, m := range l.Moves {
		s := m.To + " on " + m.ToDisk + " at " + num(m.ToOffset) + " MiB"
		if m.To == "" {
			s = m.Content + " stays behind: " + m.Reason
		}
		out = append(out, s)
	}
	return out
}

// TestKernelNames: the names that vanish are those of the disk's class.
func TestKernelNames(t *testing.T) {
	for _, tt := range []struct{ first, second, want string }{
		{"scsi0:0", "nvme0:0", "/dev/sda1, /dev/sda2, /dev/nvme0n1p2"},
		{"sata0:0", "scsi0:0", ""},
		{"nvme0:0", "nvme0:1", "/dev/nvme0n1p1, /dev/nvme0n1p2, /dev/nvme0n2p2"},
		{"ide0:0", "ide1:0", "/dev/sda1, /dev/hda1, /dev/sda2, /dev/hda2, /dev/sdb2, /dev/hdc2"},
	} {
		g := addDisk(partitions(), guest.Partition{Number: 2, Offset: mib, Length: mib, Content: "xfs"})
		g.Disks[0].TableID, g.Disks[0].Address, g.Disks[1].Address = "", tt.first, tt.second
		g.Root = tt.first + " partition 1"
		for _, kind := range []Kind{LVM, Keep} {
			var names []string
			for _, m := range New(Request{Guest: g, Kind: kind}).Moves {
				names = append(names, m.Names...)
			}
			if got := strings.Join(names, ", "); got != tt.want {
				t.Errorf("%s and %s, %s: the names are %s; want %s", tt.first, tt.second, kind, got, tt.want)
			}
		}
	}
}

func num(n int64) string { return strconv.FormatInt(n/mib, 10) }

// verify checks a layout for consistency and against the guest.
func verify(t *testing.T, l Layout, g guest.Guest) {
	t.Helper()
	for i, d := range l.Disks {
		next := d.Head
		if d.Kind == Keep && (d.Size != g.Disks[i].Size || d.Head != 0 || d.Grown != 0) || d.Size-d.Grown != g.Disks[i].Size {
			t.Errorf("%s: size %d, grown %d, of %d", d.Address, d.Size, d.Grown, g.Disks[i].Size)
		}
		for _, r := range d.Ranges {
			if r.Target < next || r.Length <= 0 || r.Target+r.Length > d.Size || r.Source < 0 || r.Source+r.Length > g.Disks[i].Size {
				t.Errorf("%s: range %+v after %d, of %d", d.Address, r, next, d.Size)
			}
			next = r.Target + r.Length
		}
	}
	for _, m := range l.Moves {
		if m.To != "" && m.FromDisk != "" && !covered(l, m) {
			t.Errorf("no range says the same as %+v", m)
		}
	}
	for _, v := range l.Groups {
		verifyGroup(t, l, v)
	}
}

// covered reports whether the ranges take a move's first extent where the move
// says, and all of it where it is a partition's.
func covered(l Layout, m Move) bool {
	i := slices.IndexFunc(l.Disks, func(d Disk) bool { return d.Address == m.FromDisk })
	n := m.Length
	if l.Disks[i].Kind == Keep {
		return m.ToDisk == m.FromDisk && m.ToOffset == m.FromOffset // however impossible
	}
	if m.From == m.To {
		n = min(n, sector) // a volume may lie in pieces
	}
	for _, r := range l.Disks[i].Ranges {
		if m.FromOffset >= r.Source && m.FromOffset+n <= r.Source+r.Length && m.FromOffset-r.Source == m.ToOffset-r.Target {
			return m.ToDisk == m.FromDisk
		}
	}
	return false
}

// verifyGroup compares a group's volumes with each other and their physical
// volumes.
func verifyGroup(t *testing.T, l Layout, g Group) {
	t.Helper()
	names := map[string]bool{}
	for _, v := range g.Volumes {
		if names[v.Name] || !lvm.ValidName(v.Name) || lvm.Reserved(v.Name) != "" {
			t.Errorf("%s: name %q", g.Name, v.Name)
		}
		names[v.Name] = true
		for _, s := range v.Segments {
			i := slices.IndexFunc(g.PVs, func(pv PV) bool { return pv.UUID == s.PV })
			if i < 0 || s.PE < 0 || s.PE+s.Count > g.PVs[i].Extents {
				t.Errorf("%s/%s: segment %+v", g.Name, v.Name, s)
				continue
			}
			for _, w := range g.Volumes {
				for _, o := range w.Segments {
					if w.Name != v.Name && (v.New || w.New) && o.PV == s.PV && o.PE < s.PE+s.Count && s.PE < o.PE+o.Count {
						t.Errorf("%s: %s and %s overlap", g.Name, v.Name, w.Name)
					}
				}
			}
		}
	}
	for _, pv := range g.PVs {
		i := slices.IndexFunc(l.Disks, func(d Disk) bool { return d.Address == pv.Disk })
		d := l.Disks[i]
		if pv.Size != d.Size || pv.Start != d.Head || pv.Extents != (pv.Size-pv.Start)/g.ExtentSize || pv.Start < 4096 {
			t.Errorf("%s: physical volume %+v on %+v", g.Name, pv, d)
		}
	}
}
