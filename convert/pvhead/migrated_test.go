package pvhead

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
	"time"

	"esxodus/convert/guest"
	"esxodus/convert/guest/inspect"
	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/disk"
	"esxodus/disk/lvm"
	"esxodus/disk/part"
	"esxodus/fixtures"
)

const mib = 1 << 20

// tools runs a program that a test needs.
func tools(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(fixtures.Tool(t, argv[0]), argv[1:]...)
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
		fixtures.Missing(t, "needs root and loop devices")
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
	tool := lvmTool{host.Tool{Env: []string{"LVM_SYSTEM_DIR=" + conf}}}
	f(func(argv ...string) string {
		out, err := tool.Run(t.Context(), argv...)
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
	var sources []inspect.Source
	var images []disk.Image
	for i, path := range paths {
		r, err := disk.OpenRaw(path, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		images = append(images, r)
		sources = append(sources, inspect.Source{Address: fmt.Sprintf("scsi0:%d", i), Image: r})
	}
	g, err := inspect.Look(t.Context(), sources)
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
	start := time.Now()
	heads, err := Make(t.Context(), host.Tool{}, dir, l.Groups, func(address string) (io.ReaderAt, error) {
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
	t.Logf("heads of %d disks took %v", len(heads), time.Since(start))
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

// check compares what arrived with what was there: by real tools, and by
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
