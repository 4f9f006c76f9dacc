package disk_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

func TestRawImage(t *testing.T) {
	want := disktest.Content(3<<20+512, 8)
	disktest.TestImage(t, sparse(t, want), want)
	disktest.TestImage(t, disk.FromReaderAt(bytes.NewReader(want), int64(len(want))), want)
}

func TestRawTarget(t *testing.T) {
	r, err := disk.CreateRaw(filepath.Join(t.TempDir(), "raw"), 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	disktest.TestTarget(t, r)
	for e, err := range r.Extents() {
		if err != nil || e.Kind != disk.Zero || e.Length != r.Size() {
			t.Errorf("extent of a cleared file = %+v, %v; want one hole", e, err)
		}
	}
}

// TestRawExtentsAnew: what is remembered of a file's data hides nothing that was written
// since.
func TestRawExtentsAnew(t *testing.T) {
	const mib = 1 << 20
	r, err := disk.CreateRaw(filepath.Join(t.TempDir(), "raw"), 4*mib)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data := func() (got []disk.Extent) {
		t.Helper()
		for e, err := range r.Extents() {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == disk.Data {
				got = append(got, e)
			}
		}
		return got
	}
	b := bytes.Repeat([]byte{1}, mib)
	for i, want := range [][]disk.Extent{
		{{Offset: mib, Length: mib}},
		{{Offset: mib, Length: mib}, {Offset: 3 * mib, Length: mib}},
		{{Offset: 0, Length: 2 * mib}, {Offset: 3 * mib, Length: mib}},
	} {
		if _, err := r.WriteAt(b, []int64{mib, 3 * mib, 0}[i]); err != nil {
			t.Fatal(err)
		}
		if got := data(); !slices.Equal(got, want) {
			t.Errorf("write %d: data = %v, want %v", i, got, want)
		}
	}
}

// asRoot runs a program that only root can run. If it fails, the test is
// skipped, or fails where all tools should be there.
func asRoot(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err == nil {
		return string(out)
	}
	if need := os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != ""; need && os.Getuid() == 0 {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
	t.Skipf("%v: %v: %s", argv, err, out)
	return ""
}

// loop makes a block device of size bytes, or skips.
func loop(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backing")
	if err := os.WriteFile(path, bytes.Repeat([]byte{0xee}, int(size)), 0o600); err != nil {
		t.Fatal(err)
	}
	dev := strings.TrimSpace(asRoot(t, "losetup", "-f", "--show", path))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup -d: %v: %s", err, out)
		}
	})
	return dev
}

func TestBlockDevice(t *testing.T) {
	const size = 12 << 20
	dev := loop(t, size)
	r, err := disk.OpenRaw(dev, true)
	if err != nil {
		t.Fatal(err)
	}
	if r.Size() != size || !r.Device() {
		t.Errorf("%s: size %d, device %t; want %d, true", dev, r.Size(), r.Device(), size)
	}
	if again, err := disk.OpenRaw(dev, true); err == nil {
		again.Close()
		t.Error("a device that is open for writing opens again; want it to be busy")
	} else if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opening a busy device = %v; want one that says it is in use", err)
	}
	disktest.TestTarget(t, r)

	// Stale bytes where no mapping lies, on offsets that fill no page.
	if _, err := r.WriteAt(bytes.Repeat([]byte{0xee}, size), 0); err != nil {
		t.Fatal(err)
	}
	content := disktest.Content(5<<20, 6)
	img := disk.FromReaderAt(bytes.NewReader(content), int64(len(content)))
	maps := []disk.Mapping{{Source: img, SourceOffset: 512, TargetOffset: 1536, Length: 4<<20 + 1024}}
	d, err := disk.CreateDigests(filepath.Join(t.TempDir(), "d"), "", size, maps)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx := context.Background()
	if _, err := disk.Copy(ctx, r, maps, disk.Options{Digests: d}); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Verify(ctx, r, maps, disk.Options{Digests: d}); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, size)
	copy(want[1536:1536+4<<20+1024], content[512:])
	got, err := os.ReadFile(dev)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the device holds other bytes")
	}
}

func TestMountedDevice(t *testing.T) {
	dev := loop(t, 8<<20)
	asRoot(t, "mkfs.ext4", "-q", dev)
	dir := t.TempDir()
	asRoot(t, "mount", dev, dir)
	defer exec.Command("umount", dir).Run()
	if r, err := disk.OpenRaw(dev, true); err == nil {
		r.Close()
		t.Error("a mounted device opens for writing")
	} else if !strings.Contains(err.Error(), "in use (mounted") {
		t.Errorf("OpenRaw of a mounted device = %v", err)
	}
}

func TestOpenRawErrors(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none"), "no such file"},
		{"directory", dir, "neither a regular file nor a block device"},
		{"pipe", pipe, "neither a regular file nor a block device"},
		{"character device", "/dev/zero", "neither a regular file nor a block device"},
	} {
		for _, write := range []bool{false, true} {
			r, err := disk.OpenRaw(tt.path, write)
			if err == nil {
				r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("OpenRaw of %s = %v; want %q", tt.name, err, tt.want)
			}
		}
	}
	path := filepath.Join(dir, "file")
	r, err := disk.CreateRaw(path, 512)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := disk.CreateRaw(path, 512); !errors.Is(err, fs.ErrExist) {
		t.Errorf("CreateRaw of a file that exists = %v; want %v", err, fs.ErrExist)
	}
}

// A copy leaves holes, and makes holes where a file had data.
func TestCopyIsSparse(t *testing.T) {
	const size = 64 << 20
	content := make([]byte, size)
	copy(content[10<<20:], bytes.Repeat([]byte{1}, 128<<10))
	src := disk.FromReaderAt(bytes.NewReader(content), size) // claims to be all data
	for _, stale := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "raw")
		dst, err := disk.CreateRaw(path, size)
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		if stale {
			if _, err := dst.WriteAt(bytes.Repeat([]byte{0xee}, size), 0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := disk.Copy(context.Background(), dst, disk.Whole(src), disk.Options{}); err != nil {
			t.Fatal(err)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if used := st.Blocks * 512; used < 128<<10 || used > 1<<20 {
			t.Errorf("stale %t: the copy takes %d bytes; want about 128 KiB", stale, used)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("stale %t: the copy differs (%v)", stale, err)
		}
	}
}

func TestCopyFullTarget(t *testing.T) {
	dir := t.TempDir()
	asRoot(t, "mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", dir)
	defer exec.Command("umount", dir).Run()
	dst, err := disk.CreateRaw(filepath.Join(dir, "raw"), 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	src := disk.FromReaderAt(bytes.NewReader(bytes.Repeat([]byte{1}, 32<<20)), 32<<20)
	st, err := disk.Copy(context.Background(), dst, disk.Whole(src), disk.Options{})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "target offset") {
		t.Errorf("Copy to a full file system = %+v, %v; want ENOSPC at a target offset", st, err)
	}
}

// What a copy has put on stable storage doesn't stay in memory, with digests or
// without.
func TestCopyForgets(t *testing.T) {
	t.Parallel()
	const size = 8 * disk.BlockSize
	img := disk.FromReaderAt(bytes.NewReader(disktest.Content(size, 3)), size)
	dir, err := os.MkdirTemp(".", "forgets") //nolint:usetesting // what is in memory for good can't be forgotten
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, name := range []string{"plain", "recorded"} {
		path := filepath.Join(dir, name)
		dst, err := disk.CreateRaw(path, size)
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		var o disk.Options
		if name == "recorded" {
			if o.Digests, err = disk.CreateDigests(path+".digests", "a", size, disk.Whole(img)); err != nil {
				t.Fatal(err)
			}
			defer o.Digests.Close()
		}
		if _, err := disk.Copy(t.Context(), dst, disk.Whole(img), o); err != nil {
			t.Fatal(err)
		}
		if n := inMemory(t, path); n > size/8 {
			t.Errorf("%s: %d of %d bytes are still in memory", name, n, size)
		}
	}
}

// inMemory is how many bytes of a file the kernel has in memory.
func inMemory(t *testing.T, path string) (n int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(b) }()
	pages := make([]byte, (len(b)+4095)/4096)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		n += int(p&1) * 4096
	}
	return n
}

// A disk that takes no space for what was never written gets zeros only where it
// has something else: before its blank end.
func TestThinZero(t *testing.T) {
	const size, data, from = 8 << 20, 1 << 20, 3 << 20
	path := filepath.Join(t.TempDir(), "raw")
	r, err := disk.CreateRaw(path, size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	old := bytes.Repeat([]byte{0xee}, 200)
	for _, off := range []int64{data, from} { // what is from the blank end on isn't even looked at
		if _, err := r.WriteAt(old, off+100); err != nil {
			t.Fatal(err)
		}
	}
	r.Blank(from)
	for _, span := range [][2]int64{{100, data}, {data + 100, size - data - 100}, {0, 0}} {
		if err := r.Zero(span[0], span[1]); err != nil {
			t.Fatal(err)
		}
	}
	want := make([]byte, size)
	copy(want[from+100:], old)
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the disk isn't zero before its blank end, or was written behind it (%v)", err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if used := st.Blocks * 512; used > 256<<10 {
		t.Errorf("the disk takes %d bytes; want what was written", used)
	}
}
