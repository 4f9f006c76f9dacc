package layout

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/guest"
	"esxodus/convert/guest/inspect"
	"esxodus/disk/lvm"
	"esxodus/disk/part"
)

// TestReasons has each thing that speaks against a change, alone.
func TestReasons(t *testing.T) {
	first := func(g *guest.Guest) *guest.Partition { return &g.Disks[0].Partitions[0] }
	second := func(g *guest.Guest) *guest.Partition { return &g.Disks[0].Partitions[1] }
	vg := func(g *guest.Guest) *guest.Group { return &g.Groups[0] }
	tests := []struct {
		name string
		base func() guest.Guest
		edit func(g *guest.Guest, r *Request)
		want string // the only reason
	}{
		{"nothing known", partitions, func(g *guest.Guest, _ *Request) { *g = guest.Guest{} }, "it isn't known what its disks hold"},
		{"Windows", partitions, func(g *guest.Guest, _ *Request) { g.OS = "windows" }, "its system is windows: LILO boots Linux only"},
		{"unknown system", partitions, func(g *guest.Guest, _ *Request) { g.OS = "" }, "its system is unknown: LILO boots Linux only"},
		{"no root", partitions, func(g *guest.Guest, _ *Request) { g.Root = "" }, "no root file system was found that esxodus can read"},
		{"root on btrfs", partitions, func(g *guest.Guest, _ *Request) { first(g).Content = "btrfs" }, "its root on scsi0:0 partition 1 holds btrfs, which can't be converted: ext2, ext3, ext4 and XFS can"},
		{"boot on vfat", partitions, func(g *guest.Guest, _ *Request) {
			second(g).Content, second(g).Mount, second(g).Type = "vfat", "/boot", part.TypeESP
		}, "its /boot on scsi0:0 partition 2 holds vfat, which LILO can't read: it can read ext2, ext3, ext4 and XFS"},
		{"no kernel", partitions, func(g *guest.Guest, _ *Request) { g.Kernels = nil }, "no kernel was found in its /boot: LILO would have nothing to boot"},
		{"several roots", partitions, func(g *guest.Guest, _ *Request) { g.OtherRoots = []string{"scsi0:0 partition 3"} }, "several volumes look like a root, scsi0:0 partition 1 and scsi0:0 partition 3: it isn't known which of them boots"},
		{"another root by the loader", partitions, func(g *guest.Guest, _ *Request) {
			g.Claims = []guest.Claim{{By: inspect.ByLoader, Spec: "/dev/mapper/vg-root"}}
		}, "its boot loader starts /dev/mapper/vg-root, which isn't the root that could be read (scsi0:0 partition 1)"},
		{"another root by fstab", partitions, func(g *guest.Guest, _ *Request) {
			g.Claims = []guest.Claim{{By: inspect.ByFstab, Spec: "UUID=x", Volume: "scsi0:0 partition 2"}}
		}, "its fstab has UUID=x (scsi0:0 partition 2) as the root, which isn't the one that could be read (scsi0:0 partition 1)"},
		{"other systems", partitions, func(g *guest.Guest, _ *Request) {
			g.OtherSystems = []string{"Windows 10", "Arch", "BSD", "Hurd", "DOS"}
		}, "its boot menu also starts other systems, which LILO wouldn't (Windows 10, Arch, BSD and 2 more): if they are gone, update-grub in the guest removes them from the menu"},
		{"another boot loader", partitions, func(g *guest.Guest, _ *Request) { g.OtherBoots = []string{"scsi0:0 partition 2"} }, "scsi0:0 partition 2 holds a boot loader's configuration and isn't mounted anywhere: it isn't known which one boots: mount it in the guest's fstab, or remove the configuration from it"},
		{"unseen", partitions, func(g *guest.Guest, r *Request) {
			*g, r.Unseen = guest.Guest{}, Reason{"it is running", "shut it down"}
		}, "it is running: shut it down"},
		{"Secure Boot", partitions, func(_ *guest.Guest, r *Request) { r.UEFI, r.SecureBoot = true, true }, "it boots with Secure Boot, which LILO doesn't support"},
		{"TPM", partitions, func(_ *guest.Guest, r *Request) { r.TPM = true }, "it has a TPM: keys in it may be bound to how the guest boots now"},
		{"hibernated", partitions, func(g *guest.Guest, _ *Request) { second(g).Suspended = true }, "scsi0:0 partition 2 holds a hibernated system: start the VM and shut it down"},
		{"hibernated in a volume", installer, func(g *guest.Guest, _ *Request) { g.Volumes[1].Suspended = true }, "g-vg/swap_1 holds a hibernated system: start the VM and shut it down"},
		{"Windows beside", partitions, func(g *guest.Guest, _ *Request) { g.EFILoaders = []string{"EFI/Microsoft/Boot/bootmgfw.efi"} }, "Windows boots from its EFI system partition too (EFI/Microsoft/Boot/bootmgfw.efi)"},
		{"not tried", partitions, func(g *guest.Guest, _ *Request) { g.Distro, g.PrettyName = "rocky", "Rocky Linux 9.4" }, "Rocky Linux 9.4 has not been tried without partitions yet: --layout lvm tries it"},
		{"fixed disk", partitions, func(_ *guest.Guest, r *Request) { r.Fixed = map[string]string{"scsi0:0": "another VM uses it too"} }, "scsi0:0: another VM uses it too"},
		{"broken table", partitions, func(g *guest.Guest, _ *Request) { g.Disks[0].Problem = "partition 1 overlaps partition 2" }, "scsi0:0: its partition table makes no sense: partition 1 overlaps partition 2"},
		{"4Kn", partitions, func(g *guest.Guest, _ *Request) { g.Disks[0].SectorSize = 4096 }, "scsi0:0: it has sectors of 4096 bytes, from which a BIOS can't boot"},
		{"hybrid", partitions, func(g *guest.Guest, _ *Request) { g.Disks[0].Hybrid = true }, "scsi0:0: it has two partition tables, GPT and MBR, which differ"},
		{"two containers", installer, func(g *guest.Guest, _ *Request) {
			g.Disks[0].Partitions = append(g.Disks[0].Partitions, guest.Partition{Number: 3, Container: true})
		}, "scsi0:0: it has 2 extended partitions, of which only one can be read"},
		{"cut file system", partitions, func(g *guest.Guest, _ *Request) { first(g).Cut = true }, "scsi0:0 partition 1: its ext4 says that it is larger than the partition"},
		{"cut volume", installer, func(g *guest.Guest, _ *Request) { g.Volumes[1].Cut = true }, "g-vg/swap_1: its swap says that it is larger than the logical volume"},
		{"GRUB's space mounted", partitions, func(g *guest.Guest, _ *Request) {
			second(g).Type, second(g).TypeName, second(g).Content, second(g).Mount = part.TypeBIOSBoot, "BIOS boot", "", "/data"
		}, "scsi0:0 partition 2 (type " + part.TypeBIOSBoot + ", BIOS boot) holds nothing that esxodus knows, but may be in use"},
		{"GRUB's space with a RAID's part", partitions, func(g *guest.Guest, _ *Request) {
			second(g).Type, second(g).Content, second(g).Mount = part.TypeBIOSBoot, "md", ""
		}, "scsi0:0 partition 2 is part of a RAID array of Linux (md)"},
		{"dynamic disk", partitions, func(g *guest.Guest, _ *Request) { second(g).Type = part.MBRTypeLDM }, "scsi0:0 partition 2 is part of a Windows dynamic disk"},
		{"nothing known for data", partitions, func(g *guest.Guest, _ *Request) {
			second(g).Type, second(g).Content, second(g).Mount = part.MBRTypeESP, "", "/data"
		}, "scsi0:0 partition 2 (type ef) holds nothing that esxodus knows, but may be in use"},
		{"LUKS", partitions, func(g *guest.Guest, _ *Request) { second(g).Content = "luks" }, "scsi0:0 partition 2 is encrypted with LUKS: what it holds can't be seen from outside"},
		{"md", partitions, func(g *guest.Guest, _ *Request) { second(g).Content = "md" }, "scsi0:0 partition 2 is part of a RAID array of Linux (md)"},
		{"ZFS", partitions, func(g *guest.Guest, _ *Request) { second(g).Content = "zfs" }, "scsi0:0 partition 2 is part of a ZFS pool"},
		{"NTFS", partitions, func(g *guest.Guest, _ *Request) { second(g).Content = "ntfs" }, "scsi0:0 partition 2 holds ntfs: another system may boot from this disk"},
		{"BSD", partitions, func(g *guest.Guest, _ *Request) { second(g).Content = "ufs" }, "scsi0:0 partition 2 holds ufs: another system may boot from this disk"},
		{"unknown content", partitions, func(g *guest.Guest, _ *Request) { second(g).Content, second(g).TypeName = "", "Linux swap" }, "scsi0:0 partition 2 (type 82, Linux swap) holds nothing that esxodus knows, but may be in use"},
		{"content of a later version", partitions, func(g *guest.Guest, _ *Request) { second(g).Content = "vmfs" }, "scsi0:0 partition 2 holds vmfs, which can't be moved"},
		{"orphaned PV", partitions, func(g *guest.Guest, _ *Request) { second(g).Content = "lvm2" }, "scsi0:0 partition 2 is a physical volume of no volume group that can be read"},
		{"whole disk", partitions, func(g *guest.Guest, _ *Request) {
			g.Disks[0].Table, g.Disks[0].Partitions, g.Root = "none", g.Disks[0].Partitions[:1], "scsi0:0"
			first(g).Number, first(g).Offset = 0, 0
		}, "scsi0:0, which holds /boot, already has no partitions"},

		{"two PVs on a disk", installer, func(g *guest.Guest, _ *Request) {
			first(g).Content, first(g).Mount = "lvm2", ""
			pv := vg(g).PVs[0]
			pv.UUID, pv.Partition, pv.Offset, pv.Length, pv.Extents = two, 1, mib, 487*mib, 100
			vg(g).PVs = append(vg(g).PVs, pv)
		}, "scsi0:0: it has 2 physical volumes, but a disk without partitions can be only one: move the extents off one (pvmove) and remove it (vgreduce)"},
		{"bad name", installer, func(g *guest.Guest, _ *Request) {
			vg(g).Name, g.Root, g.Volumes = "..", "../root", nil
			g.Volumes = []guest.Volume{{Group: "..", Name: "root", Content: "ext4"}}
		}, "volume group .. has a name that LVM doesn't accept"},
		{"no UUID", installer, func(g *guest.Guest, _ *Request) { vg(g).UUID = "a || b" }, "volume group g-vg has no UUID of LVM's form"},
		{"exported", installer, func(g *guest.Guest, _ *Request) { vg(g).Status = append(vg(g).Status, "EXPORTED") }, "volume group g-vg is exported: vgimport in the guest makes it usable"},
		{"clustered", installer, func(g *guest.Guest, _ *Request) { vg(g).Status = append(vg(g).Status, "CLUSTERED") }, "volume group g-vg is shared with other machines (clustered)"},
		{"shared", installer, func(g *guest.Guest, _ *Request) { vg(g).LockType = "sanlock" }, "volume group g-vg is shared with other machines (sanlock)"},
		{"system ID", installer, func(g *guest.Guest, _ *Request) { vg(g).SystemID = "web" }, "volume group g-vg belongs to the system ID web: remove it in the guest (vgchange --systemid \"\" g-vg)"},
		{"read-only group", installer, func(g *guest.Guest, _ *Request) { vg(g).Status = []string{"RESIZEABLE", "READ"} }, "volume group g-vg is read-only"},
		{"not resizeable", installer, func(g *guest.Guest, _ *Request) { vg(g).Status = []string{"READ", "WRITE"} }, "volume group g-vg is not resizeable: vgchange --resizeable y in the guest"},
		{"missing PV", installer, func(g *guest.Guest, _ *Request) {
			vg(g).PVs = append(vg(g).PVs, guest.GroupPV{UUID: two})
		}, "volume group g-vg: physical volume " + two + " is on none of the VM's disks"},
		{"PV marked missing", installer, func(g *guest.Guest, _ *Request) { vg(g).PVs[0].Flags = []string{"MISSING"} }, "volume group g-vg: physical volume " + uuid + " is marked as missing: vgextend --restoremissing in the guest"},
		{"duplicate PV", installer, func(g *guest.Guest, _ *Request) { vg(g).PVs[0].Copies = 2 }, "volume group g-vg: physical volume " + uuid + " exists 2 times"},
		{"hostile UUID", installer, func(g *guest.Guest, _ *Request) {
			vg(g).PVs[0].UUID = "x"
			vg(g).LVs = []guest.GroupLV{linear("root", "x", 0, 10)}
		}, "volume group g-vg: physical volume x has no UUID of LVM's form"},
		{"label in sector 0", installer, func(g *guest.Guest, _ *Request) { vg(g).PVs[0].Label = 0 }, "volume group g-vg: physical volume " + uuid + " has its label in sector 0, which boot code needs: it can stay only in sector 1"},
		{"two of one UUID", installer, func(g *guest.Guest, _ *Request) { vg(g).PVs = append(vg(g).PVs, vg(g).PVs[0]) }, "volume group g-vg has physical volumes with the same UUID"},
		{"early metadata", installer, func(g *guest.Guest, _ *Request) { vg(g).PVs[0].Metadata[0].Offset = 2048 }, "volume group g-vg: physical volume " + uuid + " has metadata at byte 2048, where boot code goes"},
		{"second metadata", installer, func(g *guest.Guest, _ *Request) {
			vg(g).PVs[0].Metadata = append(vg(g).PVs[0].Metadata, guest.Metadata{Offset: 4630 * mib, Length: mib})
		}, "volume group g-vg: physical volume " + uuid + " has metadata after its extents (--pvmetadatacopies 2), which can't be moved"},
		{"no room for a head", installer, func(g *guest.Guest, _ *Request) { vg(g).PVs[0].Start, vg(g).PVs[0].Metadata = 2048, nil }, "volume group g-vg: physical volume " + uuid + " begins its extents at byte 2048"},
		{"huge head", installer, func(g *guest.Guest, _ *Request) { vg(g).PVs[0].Start, vg(g).PVs[0].Length = 128*mib, 8*gib }, "volume group g-vg: physical volume " + uuid + " begins its extents at byte 134217728"},
		{"too many extents", installer, func(g *guest.Guest, _ *Request) { vg(g).PVs[0].Extents = 1158 }, "volume group g-vg: physical volume " + uuid + " has 1158 extents of 4194304 bytes, which don't fit in its 4855955456 bytes"},
		{"odd extents", installer, func(g *guest.Guest, _ *Request) { vg(g).ExtentSize = 1000 }, "volume group g-vg has extents of 1000 bytes"},
		{"name of a volume", installer, func(g *guest.Guest, _ *Request) { vg(g).LVs[1].Name = "a/b" }, `volume group g-vg has a logical volume named "a/b"`},
		{"extents that aren't there", installer, func(g *guest.Guest, _ *Request) { vg(g).LVs[1].Segments[0].Count = 158 }, "volume group g-vg has a logical volume swap_1 that goes beyond its physical volumes"},
		{"pvmove", installer, func(g *guest.Guest, _ *Request) { vg(g).LVs[1].Name, vg(g).LVs[1].Visible = "pvmove0", false }, "volume group g-vg is in the middle of a pvmove: let it finish, or abort it (pvmove --abort)"},
		{"root on RAID", installer, func(g *guest.Guest, _ *Request) {
			vg(g).LVs[0].Types, first(g).Mount = []string{"raid1"}, ""
		}, "g-vg/root, which holds /boot, is raid1: LILO reads only linear logical volumes"},
		{"boot over two PVs", func() guest.Guest { return spread(1, mib) }, func(g *guest.Guest, _ *Request) {
			first(g).Mount = ""
			vg(g).LVs[0].Segments = append(vg(g).LVs[0].Segments, guest.LVSegment{Start: 1000, Count: 1, Areas: []guest.LVArea{{PV: two, PE: 254}}})
		}, "g-vg/root, which holds /boot, is on several disks, but LILO reads only one: in the guest, move it onto one with pvmove, or give /boot its own volume"},
		{"snapshot of boot", installer, func(g *guest.Guest, _ *Request) {
			first(g).Mount = ""
			vg(g).LVs = append(vg(g).LVs, guest.GroupLV{Name: "snapshot0", Types: []string{"snapshot"}, Origin: "root"})
		}, "g-vg/root, which holds /boot, has a snapshot: remove it in the guest (lvremove)"},
		{"no allocation", installer, func(g *guest.Guest, _ *Request) { vg(g).PVs[0].Status = nil }, "volume group g-vg: physical volume " + uuid + " isn't allocatable, but scsi0:0's other partitions need room there: pvchange --allocatable y in the guest"},
		{"volumes limited", installer, func(g *guest.Guest, _ *Request) { vg(g).MaxLVs = 2 }, "volume group g-vg may have 2 logical volumes, but needs 3: vgchange --maxlogicalvolumes 0 in the guest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Request{Guest: tt.base()}
			tt.edit(&r.Guest, &r)
			l := New(r)
			if diff := cmp.Diff([]string{tt.want}, l.Reasons); diff != "" || l.Kind != Keep || l.Refused || l.Boot != nil {
				t.Errorf("New = %s, refused %v; reasons (-want +got):\n%s", l.Kind, l.Refused, diff)
			}
			verify(t, l, r.Guest)
			r.Kind = LVM
			if l = New(r); !l.Refused && tt.name != "not tried" {
				t.Errorf("New of an explicit lvm = %s, not refused", l.Kind)
			}
			r.Kind = Keep
			if l = New(r); l.Refused || l.Kind != Keep || len(l.Reasons) > 0 {
				t.Errorf("New of an explicit keep = %s, refused %v, %q", l.Kind, l.Refused, l.Reasons)
			}
		})
	}
}

// TestCurable: what the reasons say is to be done is told apart from what
// nothing can be done about.
func TestCurable(t *testing.T) {
	g := installer()
	g.Groups[0].Status = append(g.Groups[0].Status, "EXPORTED", "CLUSTERED")
	l := New(Request{Guest: g, Kind: LVM})
	want := []string{"volume group g-vg is exported: vgimport in the guest makes it usable"}
	if diff := cmp.Diff(want, l.Curable); diff != "" || len(l.Reasons) != 2 {
		t.Errorf("reasons %q, curable (-want +got):\n%s", l.Reasons, diff)
	}
}

// TestLarge has a group at the limits of what is read of one, and as many
// partitions as a table can have, in time that grows with their number.
func TestLarge(t *testing.T) {
	g := installer()
	v := &g.Groups[0]
	v.LVs[0].Segments = nil
	v.PVs[0].Extents, v.ExtentSize = 1<<20, 4096
	for i := range int64(100_000) {
		v.LVs[0].Segments = append(v.LVs[0].Segments, guest.LVSegment{Start: i, Count: 1, Areas: []guest.LVArea{{PV: uuid, PE: i}}})
	}
	v.LVs = v.LVs[:1]
	for i := range 4095 {
		v.LVs = append(v.LVs, linear(fmt.Sprint("lv", i), uuid, 100_000+int64(i), 1))
		g.Volumes = append(g.Volumes, guest.Volume{Group: "g-vg", Name: fmt.Sprint("lv", i), Content: "xfs"})
	}
	for i := range 1023 { // before the group's own, so that none is its last
		v.PVs = append([]guest.GroupPV{{UUID: fmt.Sprintf("%06d-bbbb-cccc-dddd-eeee-ffff-gggggg", i)}}, v.PVs...)
	}
	if l := New(Request{Guest: g}); l.Kind != Keep || len(l.Reasons) != 1023 {
		t.Errorf("New = %s because of %d; want keep because of 1023 physical volumes", l.Kind, len(l.Reasons))
	}
	v.PVs = v.PVs[1023:]
	g.Disks[0].Partitions = g.Disks[0].Partitions[:3]
	for i := range 1000 {
		g.Disks[0].Partitions = append(g.Disks[0].Partitions, guest.Partition{Number: 6 + i, Offset: 5119 * mib, Length: 512, Content: "swap", Mount: "swap"})
	}
	if l := New(Request{Guest: g}); l.Kind != LVM || len(l.Moves) != 1001+4096 {
		t.Errorf("New = %s, %d moves, because %.200q; want lvm of all", l.Kind, len(l.Moves), l.Reasons)
	}
}

func TestPlain(t *testing.T) {
	tests := []struct {
		name string
		edit func(g *guest.Guest)
		want []string
	}{
		{"root and swap", func(*guest.Guest) {}, nil},
		{"with a data disk", func(g *guest.Guest) {
			*g = addDisk(*g, guest.Partition{Number: 1, Offset: mib, Length: gib, Content: "luks"})
		}, nil},
		{"xfs", func(g *guest.Guest) { g.Disks[0].Partitions[0].Content = "xfs" }, []string{"its root on scsi0:0 partition 1 holds xfs: plain is for ext4"}},
		{"home", func(g *guest.Guest) { g.Disks[0].Partitions[1].Content = "ext4" }, []string{"scsi0:0 partition 2 has no place beside the root: plain is for a root that holds everything"}},
		{"EFI system", func(g *guest.Guest) {
			g.Disks[0].Partitions[1].Type, g.Disks[0].Partitions[1].Content, g.Disks[0].Partitions[1].Mount = part.TypeESP, "vfat", "/data"
		}, []string{"scsi0:0 partition 2 has no place beside the root: plain is for a root that holds everything"}},
		{"boot elsewhere", func(g *guest.Guest) {
			*g = addDisk(*g, guest.Partition{Number: 1, Offset: mib, Length: gib, Content: "ext4", Mount: "/boot"})
		}, []string{"its /boot is on scsi0:1 partition 1: plain is for a root that holds everything"}},
		{"volume", func(g *guest.Guest) { *g = installer() }, []string{"its root is on g-vg/root: plain is for a root in a partition"}},
		{"no root", func(g *guest.Guest) { g.Root = "" }, []string{"no root file system was found that esxodus can read"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Request{Kind: Plain, Guest: partitions()}
			tt.edit(&r.Guest)
			l := New(r)
			verify(t, l, r.Guest)
			if diff := cmp.Diff(tt.want, l.Reasons); diff != "" || l.Refused != (tt.want != nil) {
				t.Errorf("New = %s, refused %v; reasons (-want +got):\n%s", l.Kind, l.Refused, diff)
			}
			if tt.want != nil {
				return
			}
			want := Disk{Address: "scsi0:0", Kind: Plain, Size: 10 * gib, Ranges: []Range{{Source: mib, Length: 9 * gib}}}
			if diff := cmp.Diff(want, l.Disks[0]); diff != "" {
				t.Errorf("disk (-want +got):\n%s", diff)
			}
			if m := l.Moves[0]; m.To != "scsi0:0" || m.Device() != "" || *l.Boot != (Boot{Disk: "scsi0:0", End: 9 * gib}) {
				t.Errorf("move = %+v, boot = %+v", m, l.Boot)
			}
			if m := l.Moves[1]; m.To != "" || !strings.Contains(m.Reason, "swap file") {
				t.Errorf("move of the swap = %+v", m)
			}
		})
	}
}

func TestNotes(t *testing.T) {
	g := partitions()
	g.Disks[0].Partitions[0].Dirty = true
	want := []string{"scsi0:0 partition 1 was not cleanly unmounted: its journal is replayed at the first mount, on the target"}
	l := New(Request{Guest: g})
	if diff := cmp.Diff(want, l.Notes); diff != "" || l.Kind != LVM {
		t.Errorf("New = %s; notes (-want +got):\n%s", l.Kind, diff)
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ host, domain, want string }{
		{"web.example.com", "x", "web-vg"},
		{"", "Mail Server (old)", "Mail-Server-old-vg"},
		{"localhost.localdomain", "db", "db-vg"},
		{"-..-", "ü", "guest-vg"},
		{strings.Repeat("a-", 60), "", strings.Repeat("a-", 19) + "a-vg"},
		{"taken", "", "taken-vg3"},
	} {
		got := groupName(tt.host, tt.domain, map[string]bool{"taken-vg": true, "taken-vg2": true})
		if got != tt.want || !lvm.ValidName(got) {
			t.Errorf("groupName(%q, %q) = %q; want %q", tt.host, tt.domain, got, tt.want)
		}
	}
	long := strings.Repeat("v", 95)
	for _, tt := range []struct{ group, mount, want string }{
		{"g", "/", "root"},
		{"g", "/var/log", "var-log"},
		{"g", "/var/log/", "var-log"},
		{"g", "swap", "swap2"},
		{"g", "", "part5"},
		{"g", "/snapshot", "part5"},
		{"g", "/x_tdata", "part5"},
		{"g", "/ü/ö", "part5"},
		{"g", "/a b/ç", "a-b"},
		{long, "/var/lib/docker", "part5"},
		{"g", "/..", "part5"},
	} {
		got := volumeName(tt.group, tt.mount, 5, map[string]bool{"swap": true})
		if got != tt.want || !lvm.ValidName(got) || lvm.Reserved(got) != "" {
			t.Errorf("volumeName(%q, %q) = %q; want %q", tt.group, tt.mount, got, tt.want)
		}
	}
}
