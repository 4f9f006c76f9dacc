package xfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

// unused collects what an image doesn't use.
func unused(tb testing.TB, path string) ([]disk.Range, error) {
	tb.Helper()
	fsys, _, size := openImage(tb, path)
	return disktest.Runs(tb, fsys.Unused(tb.Context()), size)
}

// trusted fails the test where an image's free space can't be told, and where
// xfs_db tells other runs.
func trusted(tb testing.TB, path string) []disk.Range {
	tb.Helper()
	runs, err := unused(tb, path)
	if err != nil {
		tb.Fatalf("Unused: %v", err)
	}
	f, _, _ := openImage(tb, path)
	free := map[disk.Range]bool{}
	spare := int64(0) // xfs_db counts spare blocks as free, one by one
	for n := range (f.blocks-1)/f.agBlocks + 1 {
		g, err := f.group(n)
		if err != nil {
			tb.Fatal(err)
		}
		for _, b := range g.spareBlocks() {
			free[disk.Range{Offset: (n*f.agBlocks + int64(b)) * f.blockSize, Length: f.blockSize}] = true
			spare++
		}
	}
	listed := int64(0)
	for _, r := range runs {
		free[r] = true
	}
	for line := range strings.Lines(run(tb, "xfs_db", "-r", "-c", "freesp -d", path)) {
		var group, at, count int64
		if n, _ := fmt.Sscan(line, &group, &at, &count); n != 3 || len(strings.Fields(line)) != 3 {
			continue // the histogram behind them
		}
		listed++
		if r := (disk.Range{Offset: (group*f.agBlocks + at) * f.blockSize, Length: count * f.blockSize}); !free[r] {
			tb.Fatalf("xfs_db: %+v is free; Unused doesn't have it", r)
		}
	}
	if want := int64(len(runs)) + spare; listed != want || len(runs) == 0 {
		tb.Fatalf("xfs_db lists %d free runs and spare blocks; Unused %d", listed, want)
	}
	return runs
}

// mounted lets the kernel have an image while use runs.
func mounted(tb testing.TB, path string, use func(dir string)) {
	tb.Helper()
	m, err := disktest.Mount(tb, "xfs", path, "")
	if err != nil {
		tb.Fatal(err)
	}
	use(m.Dir)
	m.Unmount(tb)
}

// shred makes so many free runs of a block each.
func shred(tb testing.TB, dir string, runs int64) {
	tb.Helper()
	var st unix.Statfs_t
	f, err := os.Create(filepath.Join(dir, "shredded"))
	if err == nil {
		err = errors.Join(unix.Statfs(dir, &st), unix.Fallocate(int(f.Fd()), 0, 0, 2*runs*st.Bsize))
	}
	for i := int64(0); i < runs && err == nil; i++ {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 2*i*st.Bsize, st.Bsize)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		tb.Fatal(err)
	}
}

// writeOn fills half of what is free with files, and deletes some of them.
func writeOn(tb testing.TB, dir string) {
	tb.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		tb.Fatal(err)
	}
	const files = 40
	content := bytes.Repeat([]byte("written on "), int(min(int64(st.Bavail)*st.Bsize/2, 48*mib)/files/11))
	for i := range files {
		path := filepath.Join(dir, fmt.Sprintf("written on %d", i))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			tb.Fatal(err)
		}
		if i%3 == 0 {
			if err := os.Remove(filepath.Join(dir, fmt.Sprintf("written on %d", i/3*2))); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// TestUnused overwrites all that an unmounted file system says it doesn't use:
// its files are as before, xfs_repair finds nothing, and the kernel writes to it as ever.
func TestUnused(t *testing.T) {
	needMount(t)
	shredded := func(runs int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			shred(t, dir, runs)
		}
	}
	for _, tt := range []struct {
		name   string
		argv   []string
		fill   func(t *testing.T, dir string)
		levels uint32 // of one group's tree, at least
	}{
		{"as mkfs makes it", nil, nil, 1},
		{"reverse map", []string{"-m", "rmapbt=1"}, nil, 1},
		{"no sparse inodes, reflinks, big times, tree of free inodes", []string{"-i", "sparse=0", "-m", "reflink=0,bigtime=0,finobt=0,inobtcount=0"}, nil, 1},
		{"1 KiB blocks", []string{"-b", "size=1024", "-d", "agcount=2"}, shredded(11000), 3},
		{"64 KiB blocks", []string{"-b", "size=65536"}, nil, 1},
		{"4 KiB sectors", []string{"-s", "size=4096"}, nil, 1},
		{"many groups", []string{"-d", "agcount=8"}, nil, 1},
		{"in pieces", []string{"-d", "agcount=2"}, shredded(2500), 2},
		{"large extent counters", []string{"-i", "nrext64=1"}, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(disktest.FastDir(t), "img")
			sized(t, path, 128*mib+12345*512)
			run(t, append(append([]string{"mkfs.xfs", "-q"}, tt.argv...), path)...)
			var want map[string]string
			mounted(t, path, func(dir string) {
				disktest.Load(t, dir, 1, 300, nil)
				if tt.fill != nil {
					tt.fill(t, dir)
				}
				want = disktest.Tree(dir)
			})
			if n := levels(t, path); n < tt.levels {
				t.Errorf("the trees have %d levels; the test wants %d", n, tt.levels)
			}
			scrambled(t, path, want)
		})
	}
}

// levels is how many levels the highest tree of a group has.
func levels(t *testing.T, path string) (most uint32) {
	t.Helper()
	f, _, _ := openImage(t, path)
	for n := range (f.blocks-1)/f.agBlocks + 1 {
		g, err := f.group(n)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, binary.BigEndian.Uint32(g.space[28:]))
	}
	return most
}

// scrambled overwrites what an image doesn't use, and looks whether it is still
// whole and can be written to.
func scrambled(t *testing.T, path string, want map[string]string) {
	t.Helper()
	copied, _ := disktest.Scramble(t, path, disktest.Each(trusted(t, path)))
	if repairSays(t, copied) {
		t.Fatal("xfs_repair complains")
	}
	mounted(t, copied, func(dir string) {
		if diff := disktest.TreeDiff(want, disktest.Tree(dir)); len(diff) > 0 {
			t.Errorf("%d files differ: %.500s", len(diff), diff[0])
		}
		writeOn(t, dir)
	})
	if repairSays(t, copied) {
		t.Error("xfs_repair complains of what was written since")
	}
	trusted(t, copied)
}

// sized makes a sparse file.
func sized(tb testing.TB, path string, size int64) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// TestUnusedGrown: a file system that was made larger, whose last group was, too.
func TestUnusedGrown(t *testing.T) {
	needMount(t)
	t.Parallel()
	path := filepath.Join(disktest.FastDir(t), "img")
	sized(t, path, 64*mib)
	run(t, "mkfs.xfs", "-q", path)
	mounted(t, path, func(dir string) { disktest.Load(t, dir, 1, 200, nil) })
	sized(t, path, 160*mib+4096*7)
	mount(t, path, func(dir string) { run(t, "xfs_growfs", dir) })
	var want map[string]string
	mounted(t, path, func(dir string) {
		disktest.Load(t, dir, 2, 200, nil)
		want = disktest.Tree(dir)
	})
	scrambled(t, path, want)
}

// TestUnusedVersion4: this kernel may not mount version 4, so mkfs.xfs fills it,
// and older kernels filled the stored images.
func TestUnusedVersion4(t *testing.T) {
	t.Parallel()
	when := regexp.MustCompile(`(?m) \d{4}-\S+Z`)
	dir := plainTree(t, 200, 1, 30, 200, 700)
	proto := disktest.XFSProto(t, dir)
	want := list(manifest(t, os.DirFS(dir).(fs.ReadLinkFS)))
	images := map[string]string{}
	for _, argv := range [][]string{nil, {"-b", "size=512", "-i", "size=256"}, {"-b", "size=1024", "-d", "agcount=4"}, {"-l", "version=1,lazy-count=0", "-i", "attr=1"}, {"-n", "version=ci"}} {
		path := filepath.Join(disktest.FastDir(t), "img")
		sized(t, path, 64*mib)
		run(t, append(append([]string{"mkfs.xfs", "-q", "-m", "crc=0", "-p", proto}, argv...), path)...)
		images[path] = when.ReplaceAllString(want, "")
	}
	for _, s := range stored {
		path := filepath.Join(disktest.FastDir(t), "img")
		if err := os.WriteFile(path, storedImage(t, s.name), 0o600); err != nil {
			t.Fatal(err)
		}
		images[path] = string(unpack(t, s.name+".manifest"))
	}
	for path, want := range images {
		copied, _ := disktest.Scramble(t, path, disktest.Each(trusted(t, path)))
		fsys, _, _ := openImage(t, copied)
		got := list(manifest(t, fsys))
		if !when.MatchString(want) {
			got = when.ReplaceAllString(got, "")
		}
		if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%.1000s", path, diff)
		}
		if repairSays(t, copied) {
			t.Errorf("%s: xfs_repair complains", path)
		}
	}
}

// TestUnusedLarge: no number is cut off in a file system of 30 TiB.
func TestUnusedLarge(t *testing.T) {
	needMount(t)
	t.Parallel()
	const edge = 1 << 20
	path := filepath.Join(disktest.FastDir(t), "img")
	sized(t, path, 30<<40)
	run(t, "mkfs.xfs", "-q", "-l", "size=16m", path)
	var want map[string]string
	mounted(t, path, func(dir string) {
		for i := range 40 { // a directory in each group
			sub := filepath.Join(dir, fmt.Sprint(i))
			if err := errors.Join(os.Mkdir(sub, 0o700), os.WriteFile(filepath.Join(sub, "file"), bytes.Repeat([]byte{byte(i)}, 9999), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		want = disktest.Tree(dir)
	})
	runs := trusted(t, path)
	var edges []disk.Range
	var last int64
	for _, r := range runs {
		if r.Length > 2*edge {
			edges = append(edges, disk.Range{Offset: r.Offset, Length: edge})
			r.Offset, r.Length = r.Offset+r.Length-edge, edge
		}
		edges, last = append(edges, r), r.Offset+r.Length
	}
	if last < 29<<40 {
		t.Errorf("the last run ends at %d; want it near the end of 30 TiB", last)
	}
	copied, _ := disktest.Scramble(t, path, disktest.Each(edges))
	mounted(t, copied, func(dir string) {
		if diff := disktest.TreeDiff(want, disktest.Tree(dir)); len(diff) > 0 {
			t.Errorf("%d files differ: %.500s", len(diff), diff[0])
		}
	})
}

// TestUnusedDoubt: what the superblock and the headers may say against the trees.
func TestUnusedDoubt(t *testing.T) {
	t.Parallel()
	v4, v5 := "v4", "v5"
	image := map[string][]byte{v4: storedImage(t, v4), v5: storedImage(t, v5)}
	put := func(at int, v uint32) func(f *FS, b []byte) {
		return func(_ *FS, b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
	}
	agf := func(group int64, at int, change func(f *FS, v uint32) uint32) func(f *FS, b []byte) {
		return func(f *FS, b []byte) {
			h := b[group*f.agBlocks*f.blockSize+f.sectorSize+int64(at):]
			binary.BigEndian.PutUint32(h, change(f, binary.BigEndian.Uint32(h)))
		}
	}
	plus := func(n uint32) func(*FS, uint32) uint32 { return func(_ *FS, v uint32) uint32 { return v + n } }
	is := func(n uint32) func(*FS, uint32) uint32 { return func(*FS, uint32) uint32 { return n } }
	root := func(at int64, n uint32) func(f *FS, b []byte) { // of group 1
		return func(f *FS, b []byte) {
			group := b[f.agBlocks*f.blockSize:]
			h := group[int64(binary.BigEndian.Uint32(group[f.sectorSize+16:]))*f.blockSize+at:]
			binary.BigEndian.PutUint32(h, binary.BigEndian.Uint32(h)+n)
		}
	}
	for _, tt := range []struct {
		version, name string
		change        func(f *FS, b []byte)
		why           string
	}{
		{v5, "compatible feature", put(208, 1), "it has features whose free space is not known (compatible 0x1, "},
		{v5, "read-only feature", put(212, 1<<4), "it has features whose free space is not known ("},
		{v5, "metadata directory", put(216, incompatMetaDir), "it has features whose free space is not known ("},
		{v5, "zoned", put(216, 0x200), "it has features whose free space is not known ("},
		{v5, "to be repaired", put(216, incompatNeedsRepair|1), "it is marked as needing xfs_repair"},
		{v5, "log feature", put(220, 2), "it has features whose free space is not known ("},
		{v5, "realtime", put(20, 1), "it has a realtime section"},
		{v4, "realtime", put(16, 1), "it has a realtime section"},
		{v4, "shared", func(_ *FS, b []byte) { b[100] |= versionShared >> 8 }, "it has features that are not known (version "},
		{v4, "second features", put(200, 1<<10), "it has features that are not known (version "},
		{v4, "bad second features", put(204, 1<<10), "it has features that are not known (version "},
		{v4, "no log", put(52, 0), "its log lies on another device"},
		{v5, "free blocks", agf(1, 52, plus(1)), "allocation group 1: it counts "},
		{v4, "free blocks", agf(1, 52, plus(1)), "allocation group 1: it counts "},
		{v4, "longest", agf(1, 56, plus(^uint32(0))), "allocation group 1: its longest run is of "},
		{v4, "signature", agf(0, 0, plus(1)), "allocation group 0: the header of its free space (AGF) makes no sense: "},
		{v4, "spare blocks", agf(0, 48, plus(1)), "allocation group 0: it counts 5 spare blocks (AGFL), but lists 4"},
		{v4, "no levels", agf(0, 28, is(0)), "allocation group 0: its tree of free space has 0 levels"},
		{v4, "ten levels", agf(0, 28, is(10)), "allocation group 0: its tree of free space has 10 levels"},
		{v4, "two levels", agf(1, 28, plus(1)), "allocation group 1: block "},
		{v4, "root beyond the end", agf(1, 16, func(f *FS, _ uint32) uint32 { return uint32(f.agBlocks) }), "allocation group 1: its tree of free space leads to block "},
		{v5, "root elsewhere", agf(1, 16, plus(1)), "allocation group 1: block "},
		{v5, "another tree's root is free", agf(1, 20, func(f *FS, _ uint32) uint32 { return uint32(f.agBlocks - 1) }), "allocation group 1: its blocks "},
		{v4, "left sibling", root(8, 8), "allocation group 1: block "},
		{v4, "right sibling", root(12, 8), "allocation group 1: its tree of free space ends at block "},
		{v4, "count of a run", root(20, 1), "allocation group 1: "},
		{v4, "start of a run", root(16, 1<<30), "allocation group 1: its tree of free space has "},
		{v5, "checksum of the tree", root(56, 1), "allocation group 1: block "},
	} {
		t.Run(tt.version+" "+tt.name, func(t *testing.T) {
			b := slices.Clone(image[tt.version])
			f, err := Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			tt.change(f, b)
			if tt.version == v5 {
				seal(b[:f.sectorSize], 224)
				for n := range f.blocks / f.agBlocks {
					seal(b[n*f.agBlocks*f.blockSize+f.sectorSize:][:f.sectorSize], spaceSum)
				}
			}
			f, err = Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = disktest.Runs(t, f.Unused(t.Context()), int64(len(b)))
			var why *disk.UntrustedError
			if !errors.As(err, &why) || !strings.HasPrefix(why.Why, tt.why) {
				t.Errorf("Unused: %v; want %q", err, tt.why)
			}
		})
	}
}

// TestUnusedTree lies about the inner blocks of a tree of three levels, which is read
// in few pieces.
func TestUnusedTree(t *testing.T) {
	needMount(t)
	t.Parallel()
	path := filepath.Join(disktest.FastDir(t), "img")
	sized(t, path, 64*mib)
	run(t, "mkfs.xfs", "-q", "-b", "size=1024", "-d", "agcount=2", path)
	mounted(t, path, func(dir string) { shred(t, dir, 12000) })
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	const block, head, room = 1024, 56, (1024 - 56) / 12
	at := func(b []byte, n uint32) []byte { return b[n*block:][:block] } // of group 0
	pointer := func(b []byte, i int) []byte { return b[head+8*room+4*i:] }
	for _, tt := range []struct {
		name   string
		change func(root, inner, leaf []byte)
		why    string
	}{
		{"sound", func(_, _, _ []byte) {}, ""},
		{"two pointers swapped", func(_, inner, _ []byte) {
			a, b := pointer(inner, 1), pointer(inner, 2)
			v, w := be.Uint32(a), be.Uint32(b)
			be.PutUint32(a, w)
			be.PutUint32(b, v)
		}, " is not where the blocks beside it say"},
		{"a pointer twice", func(_, inner, _ []byte) { copy(pointer(inner, 1), pointer(inner, 0)[:4]) }, "leads twice to block "},
		{"a pointer to the root", func(root, inner, _ []byte) { copy(pointer(inner, 1), root[20:24]) }, " makes no sense"},
		{"a pointer beyond the end", func(_, inner, _ []byte) { be.PutUint32(pointer(inner, 1), 1<<31) }, "its tree of free space leads to block 2147483648 of "},
		{"a key", func(_, inner, _ []byte) { inner[head+8+3]++ }, " does not begin where the tree says"},
		{"a key of the root", func(root, _, _ []byte) { root[head+3]++ }, " does not begin where the tree says"},
		{"a leaf too few", func(_, inner, _ []byte) { inner[7]-- }, " beside it"},
		{"an inner block too few", func(root, _, _ []byte) { root[7]-- }, " beside it"},
		{"another right sibling", func(_, _, leaf []byte) { leaf[15]++ }, " is not where the blocks beside it say"},
		{"a leaf of little", func(_, _, leaf []byte) { leaf[7] = 59 }, " makes no sense"},
		{"an inner block of little", func(_, inner, _ []byte) { inner[7] = 39 }, " makes no sense"},
		{"a leaf of nothing", func(_, _, leaf []byte) { leaf[7] = 0 }, " makes no sense"},
		{"too many in a leaf", func(_, _, leaf []byte) { leaf[6] = 1 }, " makes no sense"},
		{"another level", func(_, _, leaf []byte) { leaf[5] = 1 }, " makes no sense"},
		{"runs that overlap", func(_, _, leaf []byte) { be.PutUint32(leaf[head+8*7:], be.Uint32(leaf[head+8*6:])) }, "its tree of free space has 1 blocks at "},
		{"another group's", func(_, _, leaf []byte) { leaf[51]++ }, " or to another file system"},
		{"another place's", func(_, _, leaf []byte) { leaf[23]++ }, " or to another file system"},
		{"another file system's", func(_, _, leaf []byte) { leaf[32]++ }, " or to another file system"},
		{"a run less", func(_, _, leaf []byte) { leaf[7]-- }, "free blocks, but its tree of them has "},
	} {
		m := &memory{b: slices.Clone(image)}
		f, err := Open(m, int64(len(m.b)))
		if err != nil {
			t.Fatal(err)
		}
		root := at(m.b, be.Uint32(m.b[f.sectorSize+16:]))
		copy(root[20:24], m.b[f.sectorSize+16:]) // where it lies, for the change; its place is in 512s
		inner := at(m.b, be.Uint32(pointer(root, int(root[7])-1)))
		leaf := at(m.b, be.Uint32(pointer(inner, 3)))
		tt.change(root, inner, leaf)
		be.PutUint64(root[16:], uint64(be.Uint32(m.b[f.sectorSize+16:]))*block/512)
		for _, b := range [][]byte{root, inner, leaf} {
			seal(b, 52)
		}
		m.reads = 0
		runs, err := disktest.Runs(t, f.Unused(t.Context()), int64(len(m.b)))
		var why *disk.UntrustedError
		if tt.why == "" && err != nil || tt.why != "" && (!errors.As(err, &why) || !strings.Contains(why.Why, tt.why)) {
			t.Errorf("%s: Unused: %v; want %q", tt.name, err, tt.why)
		}
		if tt.why != "" {
			continue
		}
		if m.reads > 20 {
			t.Errorf("%d reads; want those of leaves together", m.reads)
		}
		if n := disktest.Cancelled(t, f.Unused); n > len(runs)*3/4 {
			t.Errorf("%d of %d runs came after the context's end; want those that were read", n, len(runs))
		}
	}
}

// TestUnusedErrors: an error of reading isn't taken for one of the file system, and
// a context's end and a caller's are heard.
func TestUnusedErrors(t *testing.T) {
	t.Parallel()
	m := &memory{b: storedImage(t, "v5")}
	f, err := Open(m, int64(len(m.b)))
	if err != nil {
		t.Fatal(err)
	}
	for range f.Unused(t.Context()) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var why *disk.UntrustedError
	if _, err := disktest.Runs(t, f.Unused(ctx), int64(len(m.b))); !errors.Is(err, context.Canceled) {
		t.Errorf("Unused: %v; want context.Canceled", err)
	}
	for _, at := range []int64{f.sectorSize, 3 * f.blockSize, f.agBlocks * f.blockSize} {
		m.fail = at
		_, err := disktest.Runs(t, f.Unused(t.Context()), int64(len(m.b)))
		if !errors.Is(err, errBroken) || errors.As(err, &why) || errors.Is(err, ErrFormat) {
			t.Errorf("Unused with a failing read at %d: %v; want that error", at, err)
		}
	}
	m.fail = 0
	m.b = m.b[:f.agBlocks*f.blockSize]
	if _, err := disktest.Runs(t, f.Unused(t.Context()), f.blocks*f.blockSize); !errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &why) {
		t.Errorf("Unused of a reader that ends early: %v; want io.ErrUnexpectedEOF", err)
	}
}

// FuzzUnused: headers and trees of any content neither panic nor make Unused read or
// yield without end.
func FuzzUnused(f *testing.F) {
	var images [][]byte
	for i, version := range []string{"v4", "v4-small-blocks", "v5"} {
		images = append(images, storedImage(f, version))
		f.Add(uint8(i), []byte{0, 0, 0, 0xff}, true)
		f.Add(uint8(i), []byte{2, 28, 0, 1, 4, 6, 1, 1}, true)
	}
	f.Fuzz(func(t *testing.T, which uint8, changes []byte, seals bool) {
		m := &memory{b: images[int(which)%len(images)]}
		s, err := Open(m, int64(len(m.b)))
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(m.b[:s.sectorSize*4+12*s.blockSize]) // all that is changed
		defer copy(m.b, before)
		for ; len(changes) >= 4; changes = changes[4:] {
			at := int(binary.BigEndian.Uint16(changes)) % (int(s.sectorSize)*4 + 8*int(s.blockSize))
			m.b[at] = changes[2] + changes[3]
		}
		if s.version == 5 && seals {
			for i, sum := range []int{224, spaceSum, inodeSum, spareSum} {
				seal(m.b[int64(i)*s.sectorSize:int64(i+1)*s.sectorSize], sum)
			}
			for at := 4 * s.sectorSize; at < 12*s.blockSize; at += s.blockSize {
				if string(m.b[at:at+4]) == "AB3B" {
					seal(m.b[at:at+s.blockSize], 52)
				}
			}
		}
		if s, err = Open(m, int64(len(m.b))); err != nil {
			return
		}
		m.bytes = 0
		_, err = disktest.Runs(t, s.Unused(t.Context()), int64(len(m.b)))
		var why *disk.UntrustedError
		if err != nil && !errors.As(err, &why) {
			t.Errorf("Unused: %v; want an UntrustedError", err)
		}
		if m.bytes > int64(len(m.b)) {
			t.Errorf("%d bytes read", m.bytes)
		}
	})
}
