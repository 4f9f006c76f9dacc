package unused

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/disk/extfs"
	"esxodus/fixtures"
)

const mib = 1 << 20

// blank is a disk of size bytes that is full of what was there before.
func blank(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, bytes.Repeat([]byte{0x5a}, int(size)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tool runs a program that reads stdin.
func tool(t *testing.T, stdin string, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), fixtures.Tool(t, argv[0]), argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", argv, err, out)
	}
}

// zero clears a range, for tools that take what is there for a signature.
func zero(t *testing.T, path string, off, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, n), off)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// within has a tool make something of a range of a disk: @ in its arguments is a file
// of that size.
func within(t *testing.T, path string, off, n int64, argv ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "part")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, n)); err != nil {
		t.Fatal(err)
	}
	for i, a := range argv {
		if a == "@" {
			argv[i] = file
		}
	}
	tool(t, "", argv...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(b, off)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// find finds what nothing needs of disks.
func find(t *testing.T, paths ...string) Found {
	t.Helper()
	var disks []Disk
	for i, p := range paths {
		img, err := disk.OpenRaw(p, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = img.Close() })
		disks = append(disks, Disk{Address: fmt.Sprintf("scsi0:%d", i), Image: disk.FromReaderAt(img, img.Size())})
	}
	found, err := Find(t.Context(), disks)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// ranges are those that a mask hides.
func ranges(t *testing.T, m *disk.Mask) (out []disk.Range) {
	t.Helper()
	for e, err := range m.Over(disk.FromReaderAt(bytes.NewReader(nil), m.Size())).Extents() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == disk.Unused {
			out = append(out, disk.Range{Offset: e.Offset, Length: e.Length})
		}
	}
	return out
}

func want(t *testing.T, found Found, masks [][]disk.Range, spaces []Space) {
	t.Helper()
	for i, m := range found.Masks {
		if diff := cmp.Diff(masks[i], ranges(t, m)); diff != "" {
			t.Errorf("mask %d (-want +got):\n%s", i, diff)
		}
	}
	for i := range spaces {
		spaces[i].Used = spaces[i].Size - spaces[i].Unused
	}
	if diff := cmp.Diff(spaces, found.Spaces); diff != "" {
		t.Errorf("spaces (-want +got):\n%s", diff)
	}
}

// Of an MBR disk: swap but for its header, the gaps but for a MiB at their ends, and
// neither the post-MBR gap nor anything in the extended partition outside its parts.
func TestFindMBR(t *testing.T) {
	t.Parallel()
	path := blank(t, 200*mib)
	zero(t, path, 0, mib)
	// 1: unknown; 2: swap; then a gap; extended from 80 to 120 with 5 (swap) and 6 (unknown).
	tool(t, "label: dos\n1M 20M 83\n21M 30M 82\n80M 40M 5\n", "sfdisk", "--quiet", "--no-reread", path)
	tool(t, "82M 10M 82\n100M 10M 83\n", "sfdisk", "--quiet", "--no-reread", "--append", path)
	for off, n := range map[int64]int64{21 * mib: 30 * mib, 82 * mib: 10 * mib} {
		within(t, path, off, n, "mkswap", "@")
	}
	unknown := "what it holds isn't known"
	want(t, find(t, path), [][]disk.Range{{
		{Offset: 21*mib + 64<<10, Length: 30*mib - 64<<10},
		{Offset: 52 * mib, Length: 27 * mib},
		{Offset: 82*mib + 64<<10, Length: 10*mib - 64<<10},
		{Offset: 121 * mib, Length: 78 * mib},
	}}, []Space{
		{Where: "scsi0:0 partition 1", Size: 20 * mib, Why: unknown},
		{Where: "scsi0:0 partition 2", Content: "swap", Size: 30 * mib, Unused: 30*mib - 64<<10},
		{Where: "scsi0:0 partition 5", Content: "swap", Size: 10 * mib, Unused: 10*mib - 64<<10},
		{Where: "scsi0:0 partition 6", Size: 10 * mib, Why: unknown},
		{Where: "scsi0:0, between partitions", Size: 105 * mib, Unused: 105 * mib},
	})
}

// Of a GPT disk the table at its end stays.
func TestFindGPT(t *testing.T) {
	t.Parallel()
	path := blank(t, 100*mib)
	zero(t, path, 0, mib)
	tool(t, "label: gpt\n1M 8M L\n40M 10M S\n", "sfdisk", "--quiet", "--no-reread", path)
	within(t, path, 40*mib, 10*mib, "mkswap", "@")
	want(t, find(t, path), [][]disk.Range{{
		{Offset: 10 * mib, Length: 29 * mib},
		{Offset: 40*mib + 64<<10, Length: 10*mib - 64<<10},
		{Offset: 51 * mib, Length: 48*mib - 33*512},
	}}, []Space{
		{Where: "scsi0:0 partition 1", Size: 8 * mib, Why: "what it holds isn't known"},
		{Where: "scsi0:0 partition 2", Content: "swap", Size: 10 * mib, Unused: 10*mib - 64<<10},
		{Where: "scsi0:0, between partitions", Size: 77*mib - 33*512, Unused: 77*mib - 33*512},
	})
}

// group makes a volume group over loop devices on ranges of disks, with LVM's own tools
// and without the device mapper; an argument @0 is the first of them.
func group(t *testing.T, on []disk.Range, paths []string, commands ...[]string) {
	t.Helper()
	if os.Getuid() != 0 {
		fixtures.Missing(t, "root, for loop devices,")
	}
	dir := t.TempDir()
	var loops []string
	for i, r := range on {
		zero(t, paths[i], r.Offset, 64<<10)
		loop := strings.TrimSpace(fixtures.Run(t, "losetup", "--show", "-f", "-o", fmt.Sprint(r.Offset), "--sizelimit", fmt.Sprint(r.Length), paths[i]))
		defer tool(t, "", "losetup", "-d", loop)
		loops = append(loops, loop)
	}
	fixtures.LVM(t, dir, filepath.Join(dir, "lock"), loops...)
	for _, argv := range commands {
		argv = append([]string{"LVM_SYSTEM_DIR=" + dir, "LVM_SUPPRESS_FD_WARNINGS=1"}, argv...)
		for i := range argv {
			for j, loop := range loops {
				argv[i] = strings.ReplaceAll(argv[i], fmt.Sprintf("@%d", j), loop)
			}
		}
		tool(t, "", append(append([]string{"env"}, argv...), "--driverloaded", "n")...)
	}
}

// volume has LVM make a logical volume.
func volume(name, size string, more ...string) []string {
	return append([]string{"lvcreate", "-y", "-q", "-an", "-Zn", "-Wn", "-n", name, "-L", size, "vg"}, more...)
}

// Of a volume group over two disks, one of them partitioned: its free extents, and of
// a linear volume what that doesn't use, wherever its segments lie.
func TestFindLVM(t *testing.T) {
	t.Parallel()
	first, second := blank(t, 100*mib), blank(t, 64*mib)
	zero(t, first, 0, mib)
	tool(t, "label: dos\n1M 99M 8e\n", "sfdisk", "--quiet", "--no-reread", first)
	group(t, []disk.Range{{Offset: mib, Length: 99 * mib}, {Length: 64 * mib}}, []string{first, second},
		[]string{"pvcreate", "-y", "-q", "@0"}, []string{"pvcreate", "-y", "-q", "@1"},
		[]string{"vgcreate", "-q", "-s", "1m", "vg", "@0", "@1"},
		volume("root", "40m", "@0"), volume("gone", "10m", "@0"), volume("swap", "20m", "@0"),
		[]string{"lvextend", "-q", "-L", "+30m", "vg/swap", "@1"},
		volume("striped", "8m", "-i", "2"),
		[]string{"lvremove", "-q", "-y", "vg/gone"})
	within(t, first, 52*mib, 20*mib, "mkswap", "@") // its end is cut: it says 20 MiB
	want(t, find(t, first, second), [][]disk.Range{
		{
			{Offset: 42 * mib, Length: 10 * mib}, // gone
			{Offset: 52*mib + 64<<10, Length: 20*mib - 64<<10},
			{Offset: 76 * mib, Length: 24 * mib},
		},
		{{Offset: 35 * mib, Length: 29 * mib}},
	}, []Space{
		{Where: "vg, free extents", Content: "lvm2", Size: 63 * mib, Unused: 63 * mib},
		{Where: "vg/root", Size: 40 * mib, Why: "what it holds isn't known"},
		{Where: "vg/swap", Content: "swap", Size: 50 * mib, Unused: 20*mib - 64<<10},
		{Where: "vg/striped", Size: 8 * mib, Why: "what isn't a linear volume isn't looked into"},
	})
	// One disk alone: nothing of a volume that lies on the other, too.
	found := find(t, first)
	if got := found.Masks[0].Unused(); got != 34*mib {
		t.Errorf("without the second disk %d bytes are unused; want the free extents alone, %d", got, 34*mib)
	}
	// The same physical volume twice: nothing of either.
	for i, m := range find(t, first, second, second).Masks {
		if m.Unused() != 0 {
			t.Errorf("of disk %d %d bytes are unused although two claim to be one", i, m.Unused())
		}
	}
}

// TestFindNothing: where one thing isn't as it should be, all of it counts as used.
func TestFindNothing(t *testing.T) {
	t.Parallel()
	patch := func(at int64, text string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte(text), at)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	swap := func(t *testing.T, path string) { t.Helper(); within(t, path, 0, 40*mib, "mkswap", "@") }
	dos := func(table string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			zero(t, path, 0, mib)
			tool(t, table, "sfdisk", "--quiet", "--no-reread", path)
		}
	}
	for name, tt := range map[string]struct {
		steps []func(*testing.T, string)
		why   string
	}{
		"unknown":           {nil, "what it holds isn't known"},
		"hibernated swap":   {[]func(*testing.T, string){swap, patch(4086, "S1SUSPEND\x00")}, "a hibernated system is in it"},
		"old swap":          {[]func(*testing.T, string){swap, patch(4086, "SWAP-SPACE")}, "it is swap of an old kind"},
		"two signatures":    {[]func(*testing.T, string){swap, patch(65536+64, "_BHRfS_M")}, "it has the signature of btrfs, too: one of the two is out of date"},
		"another program's": {[]func(*testing.T, string){swap, patch(32, "ORCLDISK")}, "it has the signature of swap, too: one of the two is out of date"},
		"a dynamic disk":    {[]func(*testing.T, string){dos("label: dos\n1M 10M 42\n")}, "it is a dynamic disk of Windows"},
		"an empty table":    {[]func(*testing.T, string){dos("label: gpt\n")}, "its partition table is empty, so that it may be used without one"},
		"swap behind a table": {
			[]func(*testing.T, string){swap, func(t *testing.T, path string) {
				t.Helper()
				tool(t, "label: dos\n1M 10M 83\n", "sfdisk", "--quiet", "--no-reread", "--wipe", "never", path)
			}},
			"beside its partition table the disk has the signature of swap: one of the two is out of date",
		},
		"overlapping partitions": {
			[]func(*testing.T, string){dos("label: dos\n1M 10M 83\n20M 10M 83\n"), patch(446+8, "\x00\x10\x00\x00\x00\xff\x00\x00")},
			"overlaps partition 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := blank(t, 40*mib)
			for _, step := range tt.steps {
				step(t, path)
			}
			found := find(t, path)
			if found.Masks[0].Unused() != 0 || len(found.Spaces) != 1 || found.Spaces[0].Used != 40*mib || !strings.Contains(found.Spaces[0].Why, tt.why) {
				t.Errorf("%d bytes unused, %+v; want all used: %q", found.Masks[0].Unused(), found.Spaces, tt.why)
			}
		})
	}
}

// An error of reading is none of the disk's.
func TestFindUnread(t *testing.T) {
	t.Parallel()
	path := blank(t, 40*mib)
	within(t, path, 0, 40*mib, "mkswap", "@")
	broken := errors.New("the link is down")
	for at := range int64(3) {
		_, err := Find(t.Context(), []Disk{{Address: "scsi0:0", Image: failing{path, at, broken}.image(t)}})
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "scsi0:0") {
			t.Errorf("Find with a read that fails = %v; want %v", err, broken)
		}
	}
}

// failing is a disk whose reads fail after some.
type failing struct {
	path string
	good int64
	err  error
}

func (f failing) image(t *testing.T) disk.Image {
	t.Helper()
	img, err := disk.OpenRaw(f.path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	return disk.FromReaderAt(readerFunc(func(p []byte, off int64) (int, error) {
		if f.good--; f.good < 0 {
			return 0, f.err
		}
		return img.ReadAt(p, off)
	}), img.Size())
}

type readerFunc func(p []byte, off int64) (int, error)

func (r readerFunc) ReadAt(p []byte, off int64) (int, error) { return r(p, off) }

// Too many runs: the shortest are given up, the memory stays.
func TestHiddenRuns(t *testing.T) {
	t.Parallel()
	h := emptied(1)[0]
	h.most = 100
	var long int64
	for i := range int64(10000) {
		n := int64(128 << 10)
		if i%1000 == 0 {
			n = 8 * mib
			long += n
		}
		h.add(disk.Range{Offset: i * 16 * mib, Length: n})
		if len(h.ranges) > h.most {
			t.Fatalf("%d runs are kept; want at most %d", len(h.ranges), h.most)
		}
	}
	m, err := h.mask(10000 * 16 * mib)
	if err != nil || m.Unused() < long {
		t.Errorf("%d bytes hidden, %v; want at least the long runs, %d", m.Unused(), err, long)
	}
	// What touches is one run, in whatever order it comes; what is too short is none.
	h = emptied(1)[0]
	for _, r := range []disk.Range{{Offset: 1 << 20, Length: 100 << 10}, {Offset: 1<<20 + 100<<10, Length: 100 << 10}, {Offset: 1 << 19, Length: 1 << 10}} {
		h.add(r)
	}
	if m, err = h.mask(2 << 20); err != nil || len(ranges(t, m)) != 1 || m.Unused() != 200<<10 {
		t.Errorf("hidden: %v, %v; want one run of 200 KiB", ranges(t, m), err)
	}
}

// TestFindFileSystem: what a file system on an offset doesn't use lies at that offset
// on the disk, and its files are the same with that overwritten.
func TestFindFileSystem(t *testing.T) {
	t.Parallel()
	path := blank(t, 100*mib)
	zero(t, path, 0, mib)
	tool(t, "label: dos\n63 40M 83\n50M 40M 83\n", "sfdisk", "--quiet", "--no-reread", path)
	files := t.TempDir()
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(files, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, 100<<10), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const first = 63 * 512
	within(t, path, first, 39*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-d", files, "@", "39M")
	found := find(t, path)
	if s := found.Spaces[0]; s.Why != "" || s.Content != "ext4" || s.Unused < 20*mib || s.Used < 4*mib {
		t.Fatalf("found %+v; want most of it unused", s)
	}
	copied, _ := disktest.Scramble(t, path, disktest.Each(ranges(t, found.Masks[0])))
	img := filepath.Join(t.TempDir(), "part")
	tool(t, "", "dd", "if="+copied, "of="+img, "bs=512", "skip=63", fmt.Sprint("count=", 39*mib/512), "status=none")
	tool(t, "", "e2fsck", "-fn", img)
	file, size := disktest.OpenFile(t, img)
	fsys, err := extfs.Open(file, size)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		b, err := fs.ReadFile(fsys, fmt.Sprint(i))
		if err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, 100<<10)) {
			t.Errorf("file %d differs (%v)", i, err)
		}
	}
}

// TestFindEach: of each kind of file system that tells it the free space is found.
func TestFindEach(t *testing.T) {
	t.Parallel()
	for content, argv := range map[string][]string{
		"ext2":  {"mkfs.ext2", "-q", "-F", "@"},
		"ext4":  {"mkfs.ext4", "-q", "-F", "@"},
		"xfs":   {"mkfs.xfs", "-q", "-f", "@"},
		"btrfs": {"mkfs.btrfs", "-q", "@"},
		"ntfs":  {"mkfs.ntfs", "-q", "-F", "@"},
		"swap":  {"mkswap", "@"},
	} {
		t.Run(content, func(t *testing.T) {
			t.Parallel()
			const size = 320 * mib
			path := filepath.Join(t.TempDir(), "disk.img")
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
				t.Fatal(err)
			}
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], "@", path)
			}
			tool(t, "", argv...)
			found := find(t, path)
			if content == "ntfs" { // as Windows has never mounted it
				if s := found.Spaces[0]; s.Used != size || !strings.Contains(s.Why, "its log is empty") {
					t.Errorf("found %+v; want all of it used, as its log is empty", s)
				}
				return
			}
			if s := found.Spaces[0]; s.Content != content || s.Why != "" || s.Unused < size/2 || s.Used+s.Unused != size {
				t.Errorf("found %+v; want most of an empty one unused", s)
			}
		})
	}
}
