package btrfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
)

const mib = 1 << 20

// mkfs makes a file system in a sparse file.
func mkfs(tb testing.TB, size int64, argv ...string) string {
	tb.Helper()
	fixtures.Tool(tb, "mkfs.btrfs")
	path := filepath.Join(disktest.FastDir(tb), "img")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		tb.Fatal(err)
	}
	fixtures.Run(tb, append(append([]string{"mkfs.btrfs", "-q"}, argv...), path)...)
	return path
}

// mounted lets the kernel have an image while use runs.
func mounted(tb testing.TB, path string, use func(dir string)) {
	tb.Helper()
	m, err := disktest.Mount(tb, "btrfs", path, "")
	if err != nil {
		tb.Fatal(err)
	}
	use(m.Dir)
	m.Unmount(tb)
}

func openImage(tb testing.TB, path string) (*FS, int64) {
	tb.Helper()
	r, size := disktest.OpenFile(tb, path)
	f, err := Open(r, size)
	if err != nil {
		tb.Fatal(err)
	}
	return f, size
}

// unused collects what an image doesn't use.
func unused(tb testing.TB, path string) ([]disk.Range, error) {
	tb.Helper()
	f, size := openImage(tb, path)
	return disktest.Runs(tb, f.Unused(tb.Context()), size)
}

// trusted fails the test where an image's free space can't be told, and where
// btrfs has another.
func trusted(tb testing.TB, path string) []disk.Range {
	tb.Helper()
	runs, err := unused(tb, path)
	if err != nil {
		tb.Fatalf("Unused: %v", err)
	}
	f, size := openImage(tb, path)
	extents := []disk.Range{{Length: 1 << 20}, {Offset: size - size%f.sectorSize, Length: 1}}
	for _, at := range []int64{64 << 20, 256 << 30} {
		if at < size {
			extents = append(extents, disk.Range{Offset: at, Length: 64 << 10})
		}
	}
	var r disk.Range
	for line := range strings.Lines(fixtures.Run(tb, "btrfs", "inspect-internal", "dump-tree", "-t", "dev", path)) {
		_, _ = fmt.Sscanf(strings.TrimSpace(line[max(0, strings.Index(line, "key (")):]), "key (1 DEV_EXTENT %d)", &r.Offset) // others don't match
		if i := strings.Index(line, "chunk_offset "); i >= 0 {
			var chunk int64
			if _, err := fmt.Sscanf(line[i:], "chunk_offset %d length %d", &chunk, &r.Length); err != nil {
				tb.Fatalf("%s: %v", line, err)
			}
			extents = append(extents, r)
		}
	}
	slices.SortFunc(extents, func(a, b disk.Range) int { return int(a.Offset>>10 - b.Offset>>10) })
	var want []disk.Range
	end := int64(0)
	for _, e := range extents {
		if e.Offset > end {
			want = append(want, disk.Range{Offset: end, Length: e.Offset - end})
		}
		end = max(end, e.Offset+e.Length)
	}
	if !slices.Equal(runs, want) || len(runs) == 0 {
		tb.Fatalf("Unused = %v; btrfs has all but %v", runs, want)
	}
	return runs
}

// sound has btrfs check an image.
func sound(tb testing.TB, path string) {
	tb.Helper()
	if out, err := fixtures.Try(tb, "btrfs", "check", "--readonly", path); err != nil {
		tb.Errorf("btrfs check: %v: %s", err, out)
	}
}

// TestUnused overwrites all that a file system says it doesn't use: its files are as
// before, btrfs finds nothing, and the kernel writes to it as ever.
func TestUnused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		argv []string
	}{
		{"as mkfs makes it", nil},
		{"one copy of all", []string{"-m", "single", "-d", "single"}},
		{"data twice, blocks of 64 KiB", []string{"-d", "dup", "-n", "65536"}},
		{"mixed groups", []string{"--mixed", "-n", "4096", "-s", "4096"}},
		{"old features", []string{"-O", "^extref,^skinny-metadata,^no-holes", "-R", "^free-space-tree"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := mkfs(t, 384*mib+12345*512, tt.argv...)
			var want map[string]string
			mounted(t, path, func(dir string) {
				disktest.Load(t, dir, 1, 300, nil)
				want = disktest.Tree(dir)
			})
			scrambled(t, path, want)
		})
	}
}

// scrambled overwrites what an image doesn't use, and looks whether it is still whole and
// can be written to.
func scrambled(t *testing.T, path string, want map[string]string) {
	t.Helper()
	copied, _ := disktest.Scramble(t, path, disktest.Each(trusted(t, path)))
	sound(t, copied)
	mounted(t, copied, func(dir string) {
		if diff := disktest.TreeDiff(want, disktest.Tree(dir)); len(diff) > 0 {
			t.Errorf("%d files differ: %.500s", len(diff), diff[0])
		}
		for i := range 24 { // needs new chunks
			err := os.WriteFile(fmt.Sprintf("%s/written on %d", dir, i), bytes.Repeat([]byte{byte(i)}, 4*mib), 0o600)
			if errors.Is(err, unix.ENOSPC) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
	sound(t, copied)
	trusted(t, copied)
}

// TestUnusedLarge: no number is cut off in a file system of 20 TiB, whose trees of
// devices and chunks have two levels.
func TestUnusedLarge(t *testing.T) {
	t.Parallel()
	const edge = 1 << 20
	path := mkfs(t, 20<<40, "-n", "4096")
	var want map[string]string
	mounted(t, path, func(dir string) {
		f, err := os.Create(dir + "/large")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, 120<<30), f.Truncate(0), f.Close()); err != nil {
			t.Fatal(err)
		}
		disktest.Load(t, dir, 1, 50, nil)
		want = disktest.Tree(dir)
	})
	f, _ := openImage(t, path)
	chunks, err := f.chunks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _, level, err := f.deviceTree(f.placer(t.Context(), chunks))
	if err != nil || level == 0 || f.super[199] == 0 {
		t.Fatalf("the device tree has %d levels below its root, %v, the chunk tree %d; the test wants some", level, err, f.super[199])
	}
	inner(t, path)
	var edges []disk.Range
	for _, r := range trusted(t, path) {
		if r.Length > 2*edge {
			edges = append(edges, disk.Range{Offset: r.Offset, Length: edge})
			r.Offset, r.Length = r.Offset+r.Length-edge, edge
		}
		edges = append(edges, r)
	}
	copied, _ := disktest.Scramble(t, path, disktest.Each(edges))
	sound(t, copied)
	mounted(t, copied, func(dir string) {
		if diff := disktest.TreeDiff(want, disktest.Tree(dir)); len(diff) > 0 {
			t.Errorf("%d files differ: %.500s", len(diff), diff[0])
		}
	})
}

// inner lies about the chunk tree's root, which is no leaf.
func inner(t *testing.T, path string) {
	t.Helper()
	f, size := openImage(t, path)
	r, _ := disktest.OpenFile(t, path)
	_, chunk, _, _ := blocks(t, f)
	const first, second = headSize, headSize + nextSize
	for _, tt := range []struct {
		change func(b []byte)
		err    string
	}{
		{func(b []byte) { b[second+9]++ }, " does not begin where the tree says"},
		{func(b []byte) { copy(b[second+keySize:], b[first+keySize:second]) }, " does not begin where the tree says"},
		{func(b []byte) { copy(b[second:], b[first:second]) }, "the keys of tree block "},
		{func(b []byte) { b[first+keySize+8]++ }, " is of generation "},
		{func(b []byte) { binary.LittleEndian.PutUint32(b[96:], 0) }, " has 0 entries"},
		{func(b []byte) { binary.LittleEndian.PutUint32(b[96:], 122) }, " has 122 entries"},
		{func(b []byte) { b[96]-- }, "its chunks have "},
	} {
		b := make([]byte, f.nodeSize)
		if _, err := r.ReadAt(b, chunk); err != nil {
			t.Fatal(err)
		}
		tt.change(b)
		seal(b)
		err := (&memory{r: r, size: size, changes: map[int64][]byte{chunk: b}}).look(t)
		var why *disk.UntrustedError
		if !errors.As(err, &why) || !strings.Contains(why.Why, tt.err) {
			t.Errorf("an inner block: %v; want an UntrustedError with %q", err, tt.err)
		}
	}
}

// TestUnusedRefused: what mkfs.btrfs can make, but isn't told of.
func TestUnusedRefused(t *testing.T) {
	t.Parallel()
	other := mkfs(t, 384*mib)
	for _, tt := range []struct {
		why  string
		argv []string
	}{
		{"its checksums are of type 1, not CRC-32C", []string{"--csum", "xxhash"}},
		{"its checksums are of type 2, not CRC-32C", []string{"--csum", "sha256"}},
		{"it is on 2 devices", []string{"-f", other}},
	} {
		path := mkfs(t, 384*mib, tt.argv...)
		var why *disk.UntrustedError
		if runs, err := unused(t, path); !errors.As(err, &why) || why.Why != tt.why || len(runs) > 0 {
			t.Errorf("%q: Unused: %d runs, %v; want %q", tt.argv, len(runs), err, tt.why)
		}
	}
	path := mkfs(t, 384*mib)
	fixtures.Run(t, "btrfstune", "-S", "1", path)
	var why *disk.UntrustedError
	if _, err := unused(t, path); !errors.As(err, &why) || !strings.Contains(why.Why, "it is a seed") {
		t.Errorf("a seed: Unused: %v; want an UntrustedError", err)
	}
	path = mkfs(t, 384*mib)
	fixtures.Run(t, "btrfstune", "-m", path) // another UUID, of which tree blocks know nothing
	trusted(t, path)
}

// TestCrash copies file systems while the kernel has them, as a power cut would leave
// them. What is told can be overwritten.
func TestCrash(t *testing.T) {
	kinds := [][]string{nil, {"-m", "single"}, {"--mixed"}}
	for _, seed := range disktest.CrashSeeds(t) {
		argv := append([]string{"mkfs.btrfs", "-q"}, kinds[seed%uint64(len(kinds))]...)
		c := disktest.Crash{Name: fmt.Sprint(argv), Kind: "btrfs", Check: []string{"btrfs", "check", "--readonly"}}
		t.Run(fmt.Sprintf("ESXODUS_CRASH_SEED=%d", seed), func(t *testing.T) {
			t.Parallel()
			path := cut(t, argv, seed)
			runs, err := unused(t, path)
			f, _ := openImage(t, path)
			logged := binary.LittleEndian.Uint64(f.super[96:]) != 0
			var why *disk.UntrustedError
			switch {
			case logged && errors.As(err, &why) && len(runs) == 0:
				mounted(t, path, func(string) {}) // replays it
				runs = trusted(t, path)
			case logged || err != nil:
				t.Fatalf("%s, with a log tree: %v: Unused: %d runs, %v", c.Name, logged, len(runs), err)
			}
			t.Logf("%s, with a log tree: %v: %d runs", c.Name, logged, len(runs))
			copied, _ := disktest.Scramble(t, path, disktest.Each(runs))
			if diff := c.Differences(t, path, copied); len(diff) > 0 {
				t.Errorf("%s: %d differences: %.1000s", c.Name, len(diff), diff[0])
			}
		})
	}
}

// cut makes and loads a file system, and copies it at a moment when nothing is written.
func cut(t *testing.T, argv []string, seed uint64) string {
	t.Helper()
	path := mkfs(t, 384*mib, argv[2:]...)
	copied := filepath.Join(filepath.Dir(path), "cut")
	mounted(t, path, func(dir string) {
		disktest.Load(t, dir, seed, 50+int(seed%7)*60, nil)
		if seed%2 == 0 {
			uncommitted(t, dir)
		}
		for range 100 {
			fixtures.Run(t, "cp", "--sparse=always", path, copied)
			if _, err := fixtures.Try(t, "cmp", path, copied); err == nil {
				return
			}
		}
		t.Fatal("the file system is never at rest")
	})
	return copied
}

// uncommitted commits what there is, and writes files whose bytes reach the device, in new
// chunks too, but which no commit and no log tree knows of.
func uncommitted(t *testing.T, dir string) {
	t.Helper()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Syncfs(int(root.Fd())), root.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		f, err := os.Create(fmt.Sprintf("%s/uncommitted %d", dir, i))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(bytes.Repeat([]byte{byte(i)}, mib))
		const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
		if err = errors.Join(err, unix.SyncFileRange(int(f.Fd()), 0, 0, all), f.Close()); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestGaps: device extents where mkfs.btrfs of today puts none.
func TestGaps(t *testing.T) {
	t.Parallel()
	const kib, gib = 1 << 10, 1 << 30
	for _, tt := range []struct {
		name          string
		extents, want []disk.Range
	}{
		{"none", nil, []disk.Range{{Offset: mib, Length: 63 * mib}, {Offset: 64*mib + 64*kib, Length: 256*gib - 64*mib - 64*kib}, {Offset: 256*gib + 64*kib, Length: 44*gib - 64*kib}}},
		{"at the start", []disk.Range{{Length: 128 * kib}, {Offset: 2 * mib, Length: 300*gib - 2*mib}}, []disk.Range{{Offset: mib, Length: mib}}},
		{"around a copy", []disk.Range{{Offset: mib, Length: 256*gib - 2*mib}}, []disk.Range{{Offset: 256*gib - mib, Length: mib}, {Offset: 256*gib + 64*kib, Length: 44*gib - 64*kib}}},
		{"in a copy", []disk.Range{{Offset: mib, Length: 256 * gib}, {Offset: 256*gib + mib + 8*kib, Length: 4 * kib}}, []disk.Range{{Offset: 256*gib + mib, Length: 8 * kib}, {Offset: 256*gib + mib + 12*kib, Length: 44*gib - mib - 12*kib}}},
		{"to the middle of a copy", []disk.Range{{Offset: mib, Length: 63*mib + 8*kib}, {Offset: 64*mib + 12*kib, Length: 4 * kib}, {Offset: 65 * mib, Length: 299 * gib}}, []disk.Range{{Offset: 64*mib + 64*kib, Length: mib - 64*kib}, {Offset: 299*gib + 65*mib, Length: gib - 65*mib}}},
		{"all", []disk.Range{{Length: 300 * gib}}, nil},
	} {
		var got []disk.Range
		g := &gaps{f: &FS{device: 1, total: 300 * gib}, copies: copies(), end: startBytes}
		g.yield = func(r disk.Range) bool {
			got = append(got, r)
			return true
		}
		for _, e := range tt.extents {
			data := make([]byte, 48)
			binary.LittleEndian.PutUint64(data[24:], uint64(e.Length))
			if err := g.item(key{1, kindExtent, uint64(e.Offset)}, data); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		if err := g.free(g.f.total); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

// memory is an image in memory, which changes lie over.
type memory struct {
	r       io.ReaderAt
	size    int64
	changes map[int64][]byte // blocks of 4096 bytes at most, by offset
	bytes   int64
	fail    int64 // reads that touch this offset fail with errBroken; 0 for none
}

var errBroken = errors.New("cable pulled")

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.bytes += int64(len(p))
	if m.fail > 0 && off <= m.fail && m.fail < off+int64(len(p)) {
		return 0, errBroken
	}
	n, err := m.r.ReadAt(p, off)
	if b, ok := m.changes[off]; ok {
		copy(p, b)
	}
	return n, err
}

func (m *memory) look(tb testing.TB) error {
	tb.Helper()
	f, err := Open(m, m.size)
	if err != nil {
		return err
	}
	_, err = disktest.Runs(tb, f.Unused(tb.Context()), m.size)
	return err
}

// seal makes a block's checksum right.
func seal(b []byte) {
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[32:], crc32.MakeTable(crc32.Castagnoli)))
}

// blocks are the places of the superblock and of the roots of the trees that are read.
func blocks(tb testing.TB, f *FS) (super, chunk, root, device int64) {
	tb.Helper()
	le := binary.LittleEndian
	chunks, err := f.chunks(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	place := f.placer(tb.Context(), chunks)
	address, _, _, err := f.deviceTree(place)
	if err != nil {
		tb.Fatal(err)
	}
	at := []int64{superAt}
	for _, a := range []uint64{le.Uint64(f.super[88:]), le.Uint64(f.super[80:]), address} {
		offset, err := place(a)
		if err != nil {
			tb.Fatal(err)
		}
		at = append(at, offset)
	}
	return at[0], at[1], at[2], at[3]
}

// TestUnusedHostile changes the superblock and the trees' roots; all are leaves.
func TestUnusedHostile(t *testing.T) {
	t.Parallel()
	path := mkfs(t, 384*mib, "-n", "4096", "-s", "4096")
	f, size := openImage(t, path)
	super, chunk, root, device := blocks(t, f)
	chunks, err := f.chunks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end := chunks[0].address + chunks[0].length
	le := binary.LittleEndian
	const first = headSize // the first item
	last := func(b []byte) int { return headSize + itemSize*(int(le.Uint32(b[96:]))-1) }
	data := func(b []byte, item int) []byte { return b[headSize+le.Uint32(b[item+17:]):] }
	// of finds the first item of a kind.
	of := func(b []byte, kind byte) []byte {
		for i := first; i <= last(b); i += itemSize {
			if b[i+8] == kind {
				return b[i:]
			}
		}
		t.Fatalf("no item of kind %d", kind)
		return nil
	}
	dataOf := func(b []byte, kind byte) []byte { return data(b, len(b)-len(of(b, kind))) }
	put := func(at int, v uint64) func(b []byte) { return func(b []byte) { le.PutUint64(b[at:], v) } }
	for _, tt := range []struct {
		name   string
		at     int64
		change func(b []byte)
		err    string
	}{
		{"sound", super, func([]byte) {}, ""},
		{"no superblock", super, put(64, 0), "no superblock"},
		{"another copy's superblock", super, put(48, 64<<20), "no superblock"},
		{"sectors of nothing", super, func(b []byte) { le.PutUint32(b[144:], 0) }, "sectors of 0 bytes"},
		{"huge blocks", super, func(b []byte) { le.PutUint32(b[148:], 1<<17) }, "tree blocks of 131072 bytes"},
		{"larger than it is", super, put(209, 385*mib), "it claims "},
		{"taken more than there is", super, put(217, 385*mib), "it claims "},
		{"taken otherwise", super, put(217, uint64(f.taken)-4096), "its chunks have more than "},
		{"taken more", super, put(217, uint64(f.taken)+4096), "bytes, but its superblock counts "},
		{"compatible feature", super, put(172, 1), "it has features whose free space is not known (compatible 0x1, "},
		{"read-only feature", super, put(180, 0x10), "it has features whose free space is not known ("},
		{"zoned", super, put(188, 0x1000), "it has features whose free space is not known ("},
		{"extent tree of version 2", super, put(188, 0x2000), "it has features whose free space is not known ("},
		{"tree of stripes", super, put(188, 0x4000), "it has features whose free space is not known ("},
		{"two devices", super, put(136, 2), "it is on 2 devices"},
		{"log tree", super, put(96, 1), "it was not unmounted: it has a log tree "},
		{"seed", super, put(56, 1<<32|1), "it is a seed"},
		{"levels", super, func(b []byte) { b[199] = 8 }, " and 8 levels"},
		{"levels of roots", super, func(b []byte) { b[198] = 8 }, "trees of 8 and "},
		{"long array", super, func(b []byte) { le.PutUint32(b[160:], 2049) }, "2049 bytes of system chunks"},
		{"short array", super, func(b []byte) { le.PutUint32(b[160:], 20) }, "a system chunk of 20 bytes"},
		{"no system chunks", super, func(b []byte) { le.PutUint32(b[160:], 0) }, "is in no chunk of tree blocks"},
		{"system chunk of many stripes", super, func(b []byte) { b[arrayAt+keySize+45] = 1 }, "a system chunk of 8"},
		{"system chunk of data", super, func(b []byte) { b[arrayAt+keySize+24] ^= 3 }, "the superblock has chunk "},
		{"system chunk elsewhere", super, func(b []byte) { le.PutUint64(b[arrayAt+keySize+56:], 384*mib) }, "of device 1"},
		{"another UUID", super, func(b []byte) { b[32]++ }, "or of another file system"},
		{"generation", super, func(b []byte) { b[72]++ }, "root tree: malformed Btrfs file system: tree block "},
		{"generation of chunks", super, func(b []byte) { b[164]++ }, "chunk tree: malformed Btrfs file system: tree block "},
		{"root elsewhere", super, put(80, 1<<62), "root tree: malformed Btrfs file system: tree block 4611686018427387904 is in no chunk"},
		{"root before all chunks", super, put(80, 4096), "tree block 4096 is in no chunk"},
		{"root across a chunk's start", super, put(80, chunks[0].address-512), " is in no chunk"},
		{"root across a chunk's end", super, put(80, end-512), " is in no chunk"},
		{"chunk tree of many levels", super, func(b []byte) { b[199] = 1 }, "and level 0, want "},
		{"owner of a block", chunk, func(b []byte) { b[88]++ }, "of tree 4, or of another"},
		{"address of a block", chunk, func(b []byte) { b[50]++ }, "of another file system"},
		{"entries beyond the block", chunk, func(b []byte) { b[97] = 1 }, "entries"},
		{"keys that do not ascend", chunk, func(b []byte) { le.PutUint64(b[first:], 1<<40) }, "the keys of tree block "},
		{"data beyond the block", chunk, func(b []byte) { b[last(b)+19] = 1 }, " bytes at "},
		{"data of many bytes", chunk, func(b []byte) { b[last(b)+22] = 0xff }, " bytes at "},
		{"data in the items", chunk, func(b []byte) { le.PutUint32(b[last(b)+17:], 5) }, " bytes at 5"},
		{"chunk of a stripe more", chunk, func(b []byte) { dataOf(b, kindChunk)[44]++ }, " is of "},
		{"chunk of nothing", chunk, func(b []byte) { le.PutUint64(dataOf(b, kindChunk), 0) }, " of 0 bytes has "},
		{"chunk larger than all", chunk, func(b []byte) { le.PutUint64(dataOf(b, kindChunk), 1<<63) }, " of 9223372036854775808 bytes has "},
		{"chunk over the next", chunk, func(b []byte) { le.PutUint64(dataOf(b, kindChunk), 64*mib) }, "overlaps the one before"},
		{"chunk of two copies", chunk, func(b []byte) { dataOf(b, kindChunk)[24] ^= chunkTwice }, " stripes, for type "},
		{"striped chunk", chunk, func(b []byte) { dataOf(b, kindChunk)[24] |= 8 }, "has a profile of several devices"},
		{"chunk on another device", chunk, func(b []byte) { dataOf(b, kindChunk)[48]++ }, "of device 2"},
		{"chunk beyond the device", chunk, func(b []byte) { le.PutUint64(dataOf(b, kindChunk)[56:], 1<<62) }, "is at 4611686018427387904 of device 1"},
		{"chunk too few", chunk, func(b []byte) { b[96]-- }, "its chunks have "},
		{"no device tree", root, func(b []byte) { b[96] = 1 }, "root tree: malformed Btrfs file system: no device tree"},
		{"device extent too few", device, func(b []byte) { b[96]-- }, "its device extents have "},
		{"device extent of nothing", device, func(b []byte) { le.PutUint64(dataOf(b, kindExtent)[24:], 0) }, "a device extent of 0 bytes"},
		{"device extent of all", device, func(b []byte) { le.PutUint64(dataOf(b, kindExtent)[24:], 1<<63) }, "a device extent of 9223372036854775808 bytes"},
		{"device extents that overlap", device, func(b []byte) { le.PutUint64(dataOf(b, kindExtent)[24:], 64*mib) }, ", behind those up to "},
		{"device extent beyond the end", device, func(b []byte) { le.PutUint64(b[last(b)+9:], 384*mib) }, "a device extent of "},
		{"device extent of another device", device, func(b []byte) { le.PutUint64(b[last(b):], 2) }, "a device extent of device 2"},
		{"device that is replaced", device, func(b []byte) { b[last(b)+8] = kindReplace; le.PutUint64(data(b, last(b))[32:], 1) }, "its device is being replaced"},
	} {
		b := make([]byte, 4096)
		r, _ := disktest.OpenFile(t, path)
		if _, err := r.ReadAt(b, tt.at); err != nil {
			t.Fatal(err)
		}
		tt.change(b)
		seal(b)
		err := (&memory{r: r, size: size, changes: map[int64][]byte{tt.at: b}}).look(t)
		var why *disk.UntrustedError
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || !errors.As(err, &why) && !errors.Is(err, ErrFormat)) {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.err)
		}
		b[1000]++ // the checksum is wrong
		if err := (&memory{r: r, size: size, changes: map[int64][]byte{tt.at: b}}).look(t); tt.name == "sound" && (err == nil || !strings.Contains(err.Error(), "superblock: malformed Btrfs file system: the checksum of 4096 bytes is ")) {
			t.Errorf("another checksum: %v; want an UntrustedError", err)
		}
	}
}

// TestUnusedErrors: an error of reading isn't taken for one of the file system, and a
// context's end and a caller's are heard.
func TestUnusedErrors(t *testing.T) {
	t.Parallel()
	path := mkfs(t, 384*mib)
	f, size := openImage(t, path)
	r, _ := disktest.OpenFile(t, path)
	for range f.Unused(t.Context()) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disktest.Runs(t, f.Unused(ctx), size); !errors.Is(err, context.Canceled) {
		t.Errorf("Unused: %v; want context.Canceled", err)
	}
	super, chunk, root, device := blocks(t, f)
	for _, at := range []int64{super, chunk, root, device} {
		var why *disk.UntrustedError
		if err := (&memory{r: r, size: size, fail: at}).look(t); !errors.Is(err, errBroken) || errors.As(err, &why) || errors.Is(err, ErrFormat) {
			t.Errorf("a failing read at %d: %v; want that error", at, err)
		}
	}
}

// FuzzUnused: superblocks and trees of any content, with right checksums, neither panic nor
// make Unused read or yield without end.
func FuzzUnused(f *testing.F) {
	path := mkfs(f, 384*mib, "-n", "4096", "-s", "4096")
	fsys, size := openImage(f, path)
	r, _ := disktest.OpenFile(f, path)
	super, chunk, root, device := blocks(f, fsys)
	places := []int64{super, chunk, root, device}
	for i := range places {
		f.Add([]byte{byte(i), 0, 101, 1, byte(i), 0, 100, 0xff})
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		m := &memory{r: r, size: size, changes: map[int64][]byte{}}
		for c := changes; len(c) >= 4; c = c[4:] {
			at := places[int(c[0])%len(places)]
			if m.changes[at] == nil {
				m.changes[at] = make([]byte, 4096)
				if _, err := r.ReadAt(m.changes[at], at); err != nil {
					t.Fatal(err)
				}
			}
			m.changes[at][binary.BigEndian.Uint16(c[1:])%4096] = c[3]
		}
		for _, b := range m.changes {
			seal(b)
		}
		err := m.look(t)
		var why *disk.UntrustedError
		if err != nil && !errors.As(err, &why) && !errors.Is(err, ErrFormat) {
			t.Errorf("%v; want an UntrustedError or ErrFormat", err)
		}
		if m.bytes > 16*mib {
			t.Errorf("%d bytes read", m.bytes)
		}
	})
}
