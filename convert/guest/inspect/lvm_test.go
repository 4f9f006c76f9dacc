package inspect

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/guest"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
)

// lvmDisk is the Debian installer's layout: /boot on a primary partition, LVM
// in a logical one, with root, swap and /var in it. LVM's own tools make it on
// a loop device over the partition, with a private configuration and without
// the device mapper. rootFS, if given, makes the root: @PROTO in it stands for
// a file that describes the root's files to mkfs.xfs.
func lvmDisk(t *testing.T, rootFS ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for loop devices")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "disk.img")
	blank(t, path, 320*mib)
	run(t, "label: dos\n2048,32M,83,*\n,,5\n,,8e\n", "sfdisk", "--quiet", path)
	const pvOffset = 34 * mib // as sfdisk aligns it
	loop := strings.TrimSpace(run(t, "", "losetup", "--show", "-f", "-o", strconv.Itoa(pvOffset), path))
	defer run(t, "", "losetup", "-d", loop)
	fixtures.LVM(t, dir, filepath.Join(dir, "lock"), loop)
	t.Setenv("LVM_SYSTEM_DIR", dir)
	t.Setenv("LVM_SUPPRESS_FD_WARNINGS", "1")
	run(t, "", "pvcreate", "-y", "-q", "--driverloaded", "n", loop)
	run(t, "", "vgcreate", "-q", "--driverloaded", "n", "web-vg", loop)
	for _, lv := range [][2]string{{"root", "160m"}, {"swap_1", "16m"}, {"var", "64m"}} {
		run(t, "", "lvcreate", "-y", "-q", "-an", "-Zn", "-Wn", "--driverloaded", "n", "-n", lv[0], "-L", lv[1], "web-vg")
	}
	edit := map[string]string{
		"etc/fstab": "/dev/mapper/web--vg-root / ext4 errors=remount-ro 0 1\nUUID=" + rootUUID + " /boot ext2 defaults 0 2\n/dev/web-vg/var /var ext4 defaults 0 2\n/dev/mapper/web--vg-swap_1 none swap sw 0 0\n",
	}
	root := unpack(t, "debian.txtar", edit)
	bootDir := filepath.Join(t.TempDir(), "boot")
	if err := os.Rename(filepath.Join(root, "boot"), bootDir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "boot"), 0o755); err != nil {
		t.Fatal(err)
	}
	const first = pvOffset + mib // pe_start
	fill(t, path, mib, 32*mib, "mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-U", rootUUID, "-d", bootDir, "@FS", "@SIZE")
	if len(rootFS) > 0 {
		for i := range rootFS {
			rootFS[i] = strings.ReplaceAll(rootFS[i], "@PROTO", disktest.XFSProto(t, root))
		}
		fill(t, path, first, 160*mib, rootFS...)
	} else {
		fill(t, path, first, 160*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-d", root, "@FS", "@SIZE")
	}
	fill(t, path, first+160*mib, 16*mib, "mkswap", "-U", swapUUID, "@FS")
	fill(t, path, first+176*mib, 64*mib, "mke2fs", "-q", "-F", "-t", "ext4", "@FS", "@SIZE")
	return path
}

func TestLookLVM(t *testing.T) {
	g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, lvmDisk(t))}})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{g.Root, g.Hostname, g.Kernels, g.Consoles, g.Disks[0].Partitions[0].Mount, g.Disks[0].Partitions[2].Content, len(g.Notes)}
	want := []any{"web-vg/root", "web-01", []string{"6.1.0-9-amd64", "6.1.0-18-amd64"}, []string{"tty0", "ttyS0,115200n8"}, "/boot", "lvm2", 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%q", diff, g.Notes)
	}
	wantGroup(t, g)
	for i := range g.Volumes {
		if len(g.Volumes[i].PVs) != 1 || g.Volumes[i].PVs[0] != g.Disks[0].Partitions[2].UUID {
			t.Errorf("%s lies on %v; want the PV %s", g.Volumes[i].Name, g.Volumes[i].PVs, g.Disks[0].Partitions[2].UUID)
		}
		if i != 1 {
			g.Volumes[i].UUID = ""
		}
		if len(g.Volumes[i].ID) != len("LVM-")+64 {
			t.Errorf("the identifier of %s is %s", g.Volumes[i].Name, g.Volumes[i].ID)
		}
		g.Volumes[i].PVs, g.Volumes[i].ID = nil, ""
	}
	wantVolumes := []guest.Volume{
		{Group: "web-vg", Name: "root", Length: 160 * mib, Kind: "linear", Content: "ext4", Mount: "/"},
		{Group: "web-vg", Name: "swap_1", Length: 16 * mib, Kind: "linear", Content: "swap", UUID: swapUUID, Mount: "swap"},
		{Group: "web-vg", Name: "var", Length: 64 * mib, Kind: "linear", Content: "ext4", Mount: "/var"},
	}
	if diff := cmp.Diff(wantVolumes, g.Volumes); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
}

// wantGroup compares the group's facts with what LVM's tools made.
func wantGroup(t *testing.T, g guest.Guest) {
	t.Helper()
	pv := g.Disks[0].Partitions[2]
	linear := func(name string, pe, count int64) guest.GroupLV {
		return guest.GroupLV{Name: name, Visible: true, Types: []string{"linear"}, Segments: []guest.LVSegment{{Count: count, Areas: []guest.LVArea{{PV: pv.UUID, PE: pe}}}}}
	}
	want := []guest.Group{{
		Name: "web-vg", Seqno: 4, ExtentSize: 4 * mib, Status: []string{"RESIZEABLE", "READ", "WRITE"},
		PVs: []guest.GroupPV{{
			UUID: pv.UUID, Disk: "scsi0:0", Partition: pv.Number, Offset: pv.Offset, Length: pv.Length, Start: mib, Extents: (pv.Length - mib) / (4 * mib),
			Status: []string{"ALLOCATABLE"}, Label: 1, Metadata: []guest.Metadata{{Offset: 4096, Length: mib - 4096}}, Copies: 1,
		}},
		LVs: []guest.GroupLV{linear("root", 0, 40), linear("swap_1", 40, 4), linear("var", 44, 16)},
	}}
	for i := range g.Groups {
		if len(g.Groups[i].UUID) != len(pv.UUID) {
			t.Errorf("group's UUID = %q", g.Groups[i].UUID)
		}
		g.Groups[i].UUID = ""
	}
	if diff := cmp.Diff(want, g.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestLookBootBesideBtrfs(t *testing.T) {
	g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, lvmDisk(t, "mkfs.btrfs", "-q", "@FS"))}})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{g.OS, g.Root, g.Kernels, g.Consoles, g.Disks[0].Partitions[0].Mount, g.Notes}
	want := []any{"linux", "", []string{"6.1.0-9-amd64", "6.1.0-18-amd64"}, []string{"tty0", "ttyS0,115200n8"}, "/boot", []string{
		"web-vg/root holds btrfs, whose files aren't read before the copy: what depends on them isn't known yet",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
