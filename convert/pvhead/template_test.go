package pvhead

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/disk"
	"esxodus/disk/lvm"
)

// partitionsDisk is the guest of scripts/guest-debian.sh, small.
func partitionsDisk(t *testing.T) string {
	t.Helper()
	path := sparseFile(t, 200*mib)
	tools(t, "label: dos\nlabel-id: 0xdeb1a512\nstart=1MiB, size=150MiB, type=83, bootable\nstart=151MiB, type=82\n", "sfdisk", "-q", path)
	mkfs(t, path, 1*mib, 150*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-d", rootTree(t, "/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0\n"))
	mkfs(t, path, 151*mib, 49*mib, "mkswap")
	return path
}

func TestTemplatePartitions(t *testing.T) {
	src := partitionsDisk(t)
	m := migrate(t, []string{src}, layout.Request{Name: "web"})
	m.check(t, []string{src})
	if m.after.Root != "web-vg/root" || m.after.Hostname == "" {
		t.Errorf("on the target the root is %q of %q", m.after.Root, m.after.Hostname)
	}
	// 150 and 49 MiB take 38 and 13 extents of 4 MiB, behind 1 MiB: 205 MiB.
	if d := m.layout.Disks[0]; d.Size != 205*mib || d.Grown != 5*mib || d.Head != mib {
		t.Errorf("disk = %+v", d)
	}
	if b := m.layout.Boot; b.Volume != "web-vg/root" || b.End != (1+38*4)*mib || b.Disk != "scsi0:0" {
		t.Errorf("boot = %+v", b)
	}
}

// installed is how Debian's installer partitions with LVM: a /boot, and a
// physical volume in a logical partition, its group full.
type installed struct {
	boot, pv int64 // MiB
	extent   string
	pvcreate []string
}

const bootUUID = "b0071234-0000-4000-8000-000000000001"

func (d installed) build(t *testing.T) string {
	t.Helper()
	pvAt := (2 + d.boot) * mib
	path := sparseFile(t, pvAt+d.pv*mib)
	tools(t, fmt.Sprintf("label: dos\nstart=1MiB, size=%dMiB, type=83, bootable\nstart=%dMiB, type=5\nstart=%dMiB, type=8e\n", d.boot, d.boot+1, d.boot+2), "sfdisk", "-q", path)
	bootDir := filepath.Join(rootTree(t, ""), "boot")
	mkfs(t, path, 1*mib, d.boot*mib, "mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-U", bootUUID, "-d", bootDir)
	pv := sparseFile(t, d.pv*mib)
	onLoops(t, []string{pv}, func(lvm func(...string) string, devs []string) {
		lvm(append(append([]string{"pvcreate", "--yes"}, d.pvcreate...), devs[0])...)
		lvm("vgcreate", "--physicalextentsize", d.extent, "g.B-vg", devs[0])
		lvm("lvcreate", "--yes", "-an", "-Zn", "-Wn", "-L", "128m", "-n", "root", "g.B-vg")
		lvm("lvcreate", "--yes", "-an", "-Zn", "-Wn", "-l", "100%FREE", "-n", "swap_1", "g.B-vg")
	})
	tree := rootTree(t, "/dev/mapper/g.B--vg-root / ext4 defaults 0 1\nUUID="+bootUUID+" /boot ext2 defaults 0 2\n/dev/g.B-vg/swap_1 none swap sw 0 0\n")
	mkfsIn(t, pv, "root", "mke2fs", "-q", "-F", "-t", "ext4", "-d", tree)
	mkfsIn(t, pv, "swap_1", "mkswap")
	// What GRUB left in front of the label.
	if err := writeAt(pv, []byte("\xeb\x63GRUB"), 0); err != nil {
		t.Fatal(err)
	}
	put(t, path, pvAt, pv)
	return path
}

// mkfsIn makes a file system in a logical volume that lies in one piece.
func mkfsIn(t *testing.T, pv, name string, argv ...string) {
	t.Helper()
	p, err := lvm.Read(rawImage(t, pv))
	if err != nil {
		t.Fatal(err)
	}
	ps, err := p.VG.Pieces(name)
	if err != nil || len(ps) != 1 {
		t.Fatalf("%s lies in %d pieces, %v", name, len(ps), err)
	}
	mkfs(t, pv, ps[0].Offset, ps[0].Length, argv...)
}

func writeAt(path string, b []byte, off int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b, off)
	return err
}

func rawImage(t *testing.T, path string) disk.Image {
	t.Helper()
	r, err := disk.OpenRaw(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestTemplateLogicalPartition(t *testing.T) {
	tests := []struct {
		name  string
		disk  installed
		grown int64
		start int64
		slow  bool
	}{
		{"as the installer does", installed{64, 184, "4m", nil}, 0, mib, false},
		{"large extents behind a late start", installed{40, 194, "64m", []string{"--dataalignment", "2m"}}, 22 * mib, 2 * mib, true},
		{"an area for boot loaders", installed{64, 184, "1m", []string{"--bootloaderareasize", "1m"}}, 0, 2 * mib, true},
		{"as LVM did of old", installed{64, 184, "4m", []string{"--metadatasize", "188k", "--dataalignment", "64k"}}, 0, 192 << 10, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.slow && testing.Short() {
				t.Skip("slow")
			}
			src := tt.disk.build(t)
			m := migrate(t, []string{src}, layout.Request{Name: "web"})
			m.check(t, []string{src})
			if d := m.layout.Disks[0]; d.Grown != tt.grown || d.Head != tt.start {
				t.Errorf("grown by %d, head of %d; want %d and %d", d.Grown, d.Head, tt.grown, tt.start)
			}
			if m.after.Root != "g.B-vg/root" || m.after.Disks[0].Partitions[0].UUID != m.before.Disks[0].Partitions[2].UUID {
				t.Errorf("on the target the root is %q", m.after.Root)
			}
			i := slices.IndexFunc(m.after.Volumes, func(v guest.Volume) bool { return v.Name == "boot" })
			if i < 0 || m.after.Volumes[i].Mount != "/boot" || m.after.Volumes[i].UUID != bootUUID {
				t.Errorf("volumes on the target: %+v", m.after.Volumes)
			}
		})
	}
}

// proto describes a tree of one level as mkfs.xfs -p reads it.
func proto(t *testing.T, tree string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("/stand/boot\n0 0\nd--755 0 0\n")
	dirs, err := os.ReadDir(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		fmt.Fprintf(&b, "%s d--755 0 0\n", d.Name())
		files, err := os.ReadDir(filepath.Join(tree, d.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			fmt.Fprintf(&b, "%s ---644 0 0 %s\n", f.Name(), filepath.Join(tree, d.Name(), f.Name()))
		}
		b.WriteString("$\n")
	}
	b.WriteString("$\n")
	path := filepath.Join(t.TempDir(), "proto")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTemplateUEFI has a guest that boots through UEFI from GPT, with an XFS
// root in LVM, and a data disk with partitions.
func TestTemplateUEFI(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	sys, data := sparseFile(t, 200*mib), sparseFile(t, 60*mib)
	tools(t, "label: gpt\nstart=1MiB, size=40MiB, type=U\nstart=41MiB, size=158MiB, type=E6D6D379-F507-44C2-A23C-238F2A3DF928\n", "sfdisk", "-q", sys)
	mkfs(t, sys, 1*mib, 40*mib, "mkfs.vfat", "-F", "32")
	pv := sparseFile(t, 158*mib)
	onLoops(t, []string{pv}, func(lvm func(...string) string, devs []string) {
		lvm("pvcreate", "--yes", devs[0])
		lvm("vgcreate", "vg0", devs[0])
		lvm("lvcreate", "--yes", "-an", "-Zn", "-Wn", "-L", "140m", "-n", "root", "vg0")
	})
	tree := rootTree(t, "/dev/vg0/root / xfs defaults 0 0\nLABEL=data /srv/data ext4 defaults 0 0\n")
	mkfsIn(t, pv, "root", "mkfs.xfs", "-q", "-f", "-p", proto(t, tree))
	put(t, sys, 41*mib, pv)
	tools(t, "label: gpt\nstart=1MiB, size=30MiB, type=L, name=\"my data\"\nstart=31MiB, size=28MiB, type=S\n", "sfdisk", "-q", data)
	mkfs(t, data, 1*mib, 30*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "data")
	mkfs(t, data, 31*mib, 28*mib, "mkswap")

	m := migrate(t, []string{sys, data}, layout.Request{Name: "web", UEFI: true})
	m.check(t, []string{sys, data})
	var got []string
	for _, mv := range m.layout.Moves {
		got = append(got, mv.Content+" "+mv.To+" "+mv.Reason)
	}
	want := []string{
		"vfat  the target boots by BIOS and needs no EFI system partition", "ext4 web-vg/srv-data ", "swap web-vg/part2 ", "xfs vg0/root ",
	}
	if !slices.Equal(got, want) || !m.layout.Boot.UEFI || m.after.Root != "vg0/root" {
		t.Errorf("moves %q; want %q; boot %+v; root %s", got, want, m.layout.Boot, m.after.Root)
	}
}

// TestTemplateTwoDisks has a group over a partition of one disk, a partition
// of another and a third that is whole, and a volume that lies on all three.
func TestTemplateTwoDisks(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	disks := []string{sparseFile(t, 160*mib), sparseFile(t, 64*mib), sparseFile(t, 48*mib)}
	tools(t, "label: dos\nstart=1MiB, size=40MiB, type=83\nstart=41MiB, type=8e\n", "sfdisk", "-q", disks[0])
	tools(t, "label: dos\nstart=1MiB, size=20MiB, type=83\nstart=21MiB, type=8e\n", "sfdisk", "-q", disks[1])
	mkfs(t, disks[0], 1*mib, 40*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-U", bootUUID, "-d", filepath.Join(rootTree(t, ""), "boot"))
	mkfs(t, disks[1], 1*mib, 20*mib, "mke2fs", "-q", "-F", "-t", "ext3")
	pvs := []string{sparseFile(t, 119*mib), sparseFile(t, 43*mib), disks[2]}
	onLoops(t, pvs, func(lvm func(...string) string, devs []string) {
		lvm("pvcreate", "--yes", devs[0])
		lvm("pvcreate", "--yes", "--pvmetadatacopies", "0", devs[1]) // knows nothing of its group
		lvm("pvcreate", "--yes", devs[2])
		lvm(append([]string{"vgcreate", "vg0"}, devs...)...)
		lvm("lvcreate", "--yes", "-an", "-Zn", "-Wn", "-l", "20", "-n", "root", "vg0", devs[0])
		lvm("lvcreate", "--yes", "-an", "-Zn", "-Wn", "-l", "100%FREE", "-n", "srv", "vg0")
	})
	mkfsIn(t, pvs[0], "root", "mke2fs", "-q", "-F", "-t", "ext4", "-d", rootTree(t, "/dev/vg0/root / ext4 defaults 0 1\nUUID="+bootUUID+" /boot ext4 defaults 0 2\n/dev/vg0/srv /srv ext4 defaults 0 2\n"))
	fillPieces(t, pvs, "srv")
	put(t, disks[0], 41*mib, pvs[0])
	put(t, disks[1], 21*mib, pvs[1])

	m := migrate(t, disks, layout.Request{Name: "web"})
	m.check(t, disks)
	var got []string
	for _, v := range m.layout.Groups[0].Volumes {
		got = append(got, fmt.Sprintf("%s %d", v.Name, len(v.Segments)))
	}
	if want := []string{"root 1", "srv 3", "boot 1", "part1 1"}; !slices.Equal(got, want) || m.layout.Boot.Volume != "vg0/boot" || m.layout.Boot.Disk != "scsi0:0" {
		t.Errorf("volumes %q; want %q; boot %+v", got, want, m.layout.Boot)
	}
	if d := m.layout.Disks[2]; d.Kind != layout.LVM || d.Grown != 0 {
		t.Errorf("the whole disk: %+v", d)
	}
}

// fillPieces makes a file system in a volume that lies on several physical
// volumes.
func fillPieces(t *testing.T, pvs []string, name string) {
	t.Helper()
	byUUID := map[string]string{}
	var vg lvm.VG
	for _, path := range pvs {
		p, err := lvm.Read(rawImage(t, path))
		if err != nil {
			t.Fatal(err)
		}
		byUUID[p.UUID] = path
		if p.VG.Name != "" {
			vg = p.VG
		}
	}
	ps, err := vg.Pieces(name)
	if err != nil {
		t.Fatal(err)
	}
	last := ps[len(ps)-1]
	fs := sparseFile(t, last.Start+last.Length)
	tools(t, "", "mke2fs", "-q", "-F", "-t", "ext4", "-d", filepath.Join(rootTree(t, ""), "boot"), fs)
	for _, p := range ps {
		tools(t, "", "dd", "if="+fs, "of="+byUUID[p.PV], "bs=1M", "conv=notrunc", "iflag=skip_bytes,count_bytes", "oflag=seek_bytes", "status=none",
			fmt.Sprintf("skip=%d", p.Start), fmt.Sprintf("count=%d", p.Length), fmt.Sprintf("seek=%d", p.Offset))
	}
}

// TestPlainLayout makes a partition the whole disk.
func TestPlainLayout(t *testing.T) {
	src := partitionsDisk(t)
	g, images := lookAt(t, []string{src})
	l := layout.New(layout.Request{Kind: layout.Plain, Guest: g})
	if l.Kind != layout.Plain {
		t.Fatalf("New = %s: %q", l.Kind, l.Reasons)
	}
	target := copyTo(t, l.Disks[0], images[0], "")
	tools(t, "", "e2fsck", "-fn", target)
	after, _ := lookAt(t, []string{target})
	if after.Root != "scsi0:0" || after.Disks[0].Partitions[0].UUID != g.Disks[0].Partitions[0].UUID || after.Hostname != g.Hostname {
		t.Errorf("on the target the root is %q, %+v", after.Root, after.Disks[0])
	}
}

// TestKept has disks, as tools and bytes make them, that stay as they are.
func TestKept(t *testing.T) {
	at := func(off int64, s string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := writeAt(path, []byte(s), off); err != nil {
				t.Fatal(err)
			}
		}
	}
	const second = 151 * mib // where the second partition begins
	tests := []struct {
		name string
		edit func(t *testing.T, path string)
		want string
	}{
		{"LUKS", at(second, "LUKS\xba\xbe\x00\x02"), "scsi0:0 partition 2 is encrypted with LUKS: what it holds can't be seen from outside"},
		{"md", at(second+4096, "\xfc\x4e\x2b\xa9\x01\x00\x00\x00"+strings.Repeat("\x00", 136)+"\x08"+strings.Repeat("\x00", 111)), "scsi0:0 partition 2 is part of a RAID array of Linux (md)"},
		{"hibernated", at(second+4086, "S1SUSPEND\x00"), "scsi0:0 partition 2 holds a hibernated system: start the VM and shut it down"},
		{"unknown", at(second, strings.Repeat("\x00", 8192)), "scsi0:0 partition 2 (type 82, Linux swap or Solaris) holds nothing that esxodus knows, but may be in use"},
		{"cut short", func(t *testing.T, path string) {
			t.Helper()
			tools(t, "label: dos\nstart=1MiB, size=150MiB, type=83\nstart=151MiB, size=20MiB, type=82\n", "sfdisk", "-q", "--no-tell-kernel", path)
		}, "scsi0:0 partition 2: its swap says that it is larger than the partition"},
		{"overlap", at(446+16+8, "\x00\x10\x00\x00"), "scsi0:0: its partition table makes no sense: malformed partition table: partition 2 (type 82, bytes 2097152 to 53477376) overlaps partition 1 (type 83, bytes 1048576 to 158334976)"},
		{"another root", func(t *testing.T, path string) {
			t.Helper()
			mkfs(t, path, second, 49*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-d", rootTree(t, ""))
		}, "several volumes look like a root, scsi0:0 partition 1 and scsi0:0 partition 2: it isn't known which of them boots"},
		{"a physical volume without a group", func(t *testing.T, path string) {
			t.Helper()
			pv := sparseFile(t, 49*mib)
			onLoops(t, []string{pv}, func(lvm func(...string) string, devs []string) { lvm("pvcreate", "--yes", devs[0]) })
			put(t, path, second, pv)
		}, "scsi0:0 partition 2 is a physical volume of no volume group that can be read"},
		{"a second copy of the metadata", func(t *testing.T, path string) {
			t.Helper()
			pv := sparseFile(t, 49*mib)
			var uuid string
			onLoops(t, []string{pv}, func(lvm func(...string) string, devs []string) {
				lvm("pvcreate", "--yes", "--pvmetadatacopies", "2", "--uuid", "abcdef-0000-0000-0000-0000-0000-abcdef", "--norestorefile", devs[0])
				lvm("vgcreate", "vg0", devs[0])
				uuid = strings.TrimSpace(lvm("pvs", "--noheadings", "-o", "pv_uuid"))
			})
			if uuid != "abcdef-0000-0000-0000-0000-0000-abcdef" {
				t.Fatal(uuid)
			}
			put(t, path, second, pv)
		}, "volume group vg0: physical volume abcdef-0000-0000-0000-0000-0000-abcdef has metadata after its extents (--pvmetadatacopies 2), which can't be moved"},
	}
	base := partitionsDisk(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := sparseFile(t, 200*mib)
			put(t, path, 0, base)
			tt.edit(t, path)
			g, _ := lookAt(t, []string{path})
			l := layout.New(layout.Request{Guest: g})
			if l.Kind != layout.Keep || len(l.Reasons) == 0 || l.Reasons[0] != tt.want {
				t.Errorf("New = %s, %q; want %q", l.Kind, l.Reasons, tt.want)
			}
		})
	}
}

// TestKeptDuplicate has a physical volume on two disks, as a clone of a disk
// that was left in the VM gives it.
func TestKeptDuplicate(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	src := installed{64, 184, "4m", nil}.build(t)
	g, _ := lookAt(t, []string{src, src})
	l := layout.New(layout.Request{Guest: g, Kind: layout.LVM})
	want := "volume group g.B-vg: physical volume " + g.Disks[0].Partitions[2].UUID + " exists 2 times"
	if l.Kind != layout.Keep || !l.Refused || !slices.Contains(l.Reasons, want) {
		t.Errorf("New = %s, refused %v, %q; want %q", l.Kind, l.Refused, l.Reasons, want)
	}
}
