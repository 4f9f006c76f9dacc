package host

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/disk"
	"esxodus/disk/lvm"
	"esxodus/disk/part"
)

const mib = 1 << 20

// tools runs a program that a test needs.
func tools(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	path, err := lookPath(argv[0])
	if err != nil {
		missing(t, "%v", err)
	}
	cmd := exec.Command(path, argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TEST_DIR=1", "TEST_DEV=1", "QA_CHECK_FS=1") // mkfs.xfs makes small ones
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
	return string(out)
}

func needLoops(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/loop-control"); err != nil || os.Getuid() != 0 {
		missing(t, "needs root and loop devices")
	}
}

// sparseFile makes a file of size bytes.
func sparseFile(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// put copies a file into another.
func put(t *testing.T, to string, off int64, from string) {
	t.Helper()
	tools(t, "", "dd", "if="+from, "of="+to, "bs=1M", "conv=notrunc,sparse", "oflag=seek_bytes", "status=none", fmt.Sprintf("seek=%d", off))
}

// mkfs makes what argv makes, in a file of its own (@FS), and puts it at off.
func mkfs(t *testing.T, to string, off, size int64, argv ...string) {
	t.Helper()
	path := sparseFile(t, size)
	args := slices.Clone(argv)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "@FS", path)
	}
	if slices.Contains(args, path) {
		tools(t, "", args...)
	} else {
		tools(t, "", append(args, path)...)
	}
	put(t, to, off, path)
}

// rootTree is a directory that a look takes for the root of a Debian.
func rootTree(t *testing.T, fstab string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"etc/fstab": fstab, "etc/os-release": "ID=debian\nVERSION_ID=12\nPRETTY_NAME=\"Debian 12\"\n", "etc/hostname": "web.example.com\n",
		"sbin/init": "x", "boot/vmlinuz-6.1.0-18-amd64": strings.Repeat("kernel ", 50000),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// onLoops runs LVM's tools over files as a guest's installer would, and ends.
func onLoops(t *testing.T, files []string, f func(lvm func(argv ...string) string, devs []string)) {
	t.Helper()
	needLoops(t)
	ts := &templates{dir: t.TempDir(), loops: map[string]*loop{}}
	var devs []string
	for i, path := range files {
		l := loopOn(t, path)
		// Unlike loop.Close, which wipes.
		defer func() { _ = l.dev.Sync(); _ = l.dev.Close(); _ = l.file.Close() }()
		ts.loops[strconv.Itoa(i)] = l
		devs = append(devs, l.Path)
	}
	conf, err := ts.configure()
	if err != nil {
		t.Fatal(err)
	}
	tool := lvmTool{Tool{Env: []string{"LVM_SYSTEM_DIR=" + conf}}}
	f(func(argv ...string) string {
		out, err := tool.run(t.Context(), argv...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}, devs)
}

func loopOn(t *testing.T, path string) *loop {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLoop(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// lookAt looks into disks as a plan does.
func lookAt(t *testing.T, paths []string) (guest.Guest, []disk.Image) {
	t.Helper()
	var sources []guest.Source
	var images []disk.Image
	for i, path := range paths {
		r, err := disk.OpenRaw(path, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		images = append(images, r)
		sources = append(sources, guest.Source{Address: fmt.Sprintf("scsi0:%d", i), Image: r})
	}
	g, err := guest.Look(t.Context(), sources)
	if err != nil {
		t.Fatal(err)
	}
	return g, images
}

// migrated is a migration without a VM.
type migrated struct {
	layout  layout.Layout
	before  guest.Guest
	after   guest.Guest
	targets []string
}

// migrate computes the layout of disks, makes the heads and copies.
func migrate(t *testing.T, paths []string, r layout.Request) migrated {
	t.Helper()
	needLoops(t)
	g, images := lookAt(t, paths)
	r.Guest, r.Seed = g, "4c4c4544-0000-4000-8000-000000000001"
	l := layout.New(r)
	if l.Kind != layout.LVM {
		t.Fatalf("layout %s: %q; notes of the look: %q", l.Kind, l.Reasons, g.Notes)
	}
	dir := t.TempDir()
	heads := templatesOf(t, dir, l, images)
	m := migrated{layout: l, before: g}
	for i, d := range l.Disks {
		m.targets = append(m.targets, copyTo(t, d, images[i], heads[d.Address]))
	}
	m.after, _ = lookAt(t, m.targets)
	return m
}

func templatesOf(t *testing.T, dir string, l layout.Layout, images []disk.Image) map[string]string {
	t.Helper()
	heads, err := Templates(t.Context(), Tool{}, dir, l.Groups, func(address string) (io.ReaderAt, error) {
		for i, d := range l.Disks {
			if d.Address == address {
				return images[i], nil
			}
		}
		return nil, os.ErrNotExist
	})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".head") {
			t.Errorf("Templates left %s", e.Name())
		}
	}
	return heads
}

// copyTo copies one disk as apply does.
func copyTo(t *testing.T, d layout.Disk, img disk.Image, head string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "target.raw")
	dst, err := disk.CreateRaw(path, d.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	var maps []disk.Mapping
	if d.Head > 0 {
		h, err := disk.OpenRaw(head, false)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		maps = append(maps, disk.Mapping{Source: h, Length: d.Head})
	}
	for _, r := range d.Ranges {
		maps = append(maps, disk.Mapping{Source: img, SourceOffset: r.Source, TargetOffset: r.Target, Length: r.Length})
	}
	if _, err := disk.Copy(t.Context(), dst, maps, disk.Options{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// check holds what arrived against what was there: by real tools, and by
// reading each file system's bytes at both places.
func (m migrated) check(t *testing.T, sources []string) {
	t.Helper()
	for i, d := range m.layout.Disks {
		if d.Kind != layout.LVM {
			continue
		}
		if out := tools(t, "", "blkid", "-p", "-o", "export", m.targets[i]); !strings.Contains(out, "TYPE=LVM2_member") || strings.Contains(out, "PTTYPE") {
			t.Errorf("blkid of the target of %s: %s", d.Address, out)
		}
	}
	for _, mv := range m.layout.Moves {
		if mv.To == "" {
			continue
		}
		got, want := m.content(t, m.after, m.targets, mv.To), m.content(t, m.before, sources, mv.From)
		if !bytes.Equal(hash(t, got, mv.Length), hash(t, want, mv.Length)) {
			t.Errorf("%s is not what %s was", mv.To, mv.From)
		}
		m.fsck(t, mv, got)
	}
	var pvs []string
	for i, d := range m.layout.Disks {
		if d.Kind == layout.LVM {
			pvs = append(pvs, m.targets[i])
		}
	}
	onLoops(t, pvs, func(lvm func(...string) string, devs []string) {
		for _, dev := range devs {
			lvm("pvck", dev)
		}
		for _, g := range m.layout.Groups {
			lvm("vgck", g.Name)
		}
	})
	if b := m.layout.Boot; b == nil || m.layout.Groups[0].Name != strings.Split(b.Volume, "/")[0] {
		t.Errorf("boot = %+v", b)
	}
}

// content opens what lies at a place: "scsi0:0 partition 1" or "vg0/root".
func (m migrated) content(t *testing.T, g guest.Guest, paths []string, place string) disk.Image {
	t.Helper()
	images := map[string]disk.Image{}
	pvs := map[string]disk.Image{}
	var vgs []lvm.VG
	for i, d := range g.Disks {
		r, err := disk.OpenRaw(paths[i], false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		for _, p := range d.Partitions {
			name := d.Address
			if p.Number > 0 {
				name = fmt.Sprintf("%s partition %d", d.Address, p.Number)
			}
			images[name] = part.Section(r, p.Offset, p.Length)
			if p.Content != "lvm2" {
				continue
			}
			pv, err := lvm.Read(images[name])
			if err != nil {
				t.Fatal(err)
			}
			pvs[pv.UUID] = images[name]
			vgs = append(vgs, pv.VG)
		}
	}
	if img, ok := images[place]; ok {
		return img
	}
	vg, lv, _ := strings.Cut(place, "/")
	for _, v := range vgs {
		if v.Name == vg {
			img, err := v.Image(lv, pvs)
			if err != nil {
				t.Fatal(err)
			}
			return img
		}
	}
	t.Fatalf("there is no %s", place)
	return nil
}

func hash(t *testing.T, img disk.Image, n int64) []byte {
	t.Helper()
	h := sha256.New()
	if k, err := io.Copy(h, io.NewSectionReader(img, 0, n)); err != nil || k != n {
		t.Fatalf("%d of %d bytes: %v", k, n, err)
	}
	return h.Sum(nil)
}

// fsck has a file system's own tool check it.
func (m migrated) fsck(t *testing.T, mv layout.Move, img disk.Image) {
	t.Helper()
	path := sparseFile(t, img.Size())
	dst, err := disk.OpenRaw(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if _, err := disk.Copy(t.Context(), dst, disk.Whole(img), disk.Options{}); err != nil {
		t.Fatal(err)
	}
	switch mv.Content {
	case "ext2", "ext3", "ext4":
		tools(t, "", "e2fsck", "-fn", path)
	case "xfs":
		tools(t, "", "xfs_repair", "-n", path)
	}
	if mv.UUID != "" {
		if got := strings.TrimSpace(tools(t, "", "blkid", "-p", "-o", "value", "-s", "UUID", path)); got != mv.UUID {
			t.Errorf("blkid of %s = %q; want %q", mv.To, got, mv.UUID)
		}
	}
}

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
	mkfs(t, disks[0], 1*mib, 40*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-U", bootUUID)
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
