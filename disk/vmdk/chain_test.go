package vmdk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/disk/vmdk"
)

// kind is a format of snapshots.
type kind struct {
	createType, extent, suffix string
	grain                      int64
	write                      func(disktest.Delta) []byte
}

func kinds() map[string]kind {
	return map[string]kind{
		"COWD":         {"vmfsSparse", "VMFSSPARSE", "delta", 512, func(d disktest.Delta) []byte { return disktest.COWD(d, 512) }},
		"COWD, coarse": {"vmfsSparse", "VMFSSPARSE", "delta", 8192, func(d disktest.Delta) []byte { return disktest.COWD(d, 8192) }},
		"seSparse":     {"seSparse", "SESPARSE", "sesparse", 4096, disktest.SeSparse},
	}
}

// written changes some of a disk in runs at random, and says which grains that were, in
// no order.
func written(r *rand.Rand, content []byte, grain int64, zeros bool) disktest.Delta {
	at := func(g int64) []byte { return content[g*grain : min((g+1)*grain, int64(len(content)))] }
	d := disktest.Delta{Size: int64(len(content)), Read: at}
	seen := map[int64]bool{}
	total := (int64(len(content)) + grain - 1) / grain
	for range 60 {
		first, zero := r.Int64N(total), zeros && r.IntN(3) == 0
		for g := first; g < min(first+1+r.Int64N(80), total); g++ {
			part := at(g)
			switch {
			case seen[g]:
			case zero:
				clear(part)
				d.Zeros = append(d.Zeros, g)
			default:
				for i := range part {
					part[i] = byte(r.Uint32())
				}
				d.Grains = append(d.Grains, g)
			}
			seen[g] = true
		}
	}
	r.Shuffle(len(d.Grains), func(i, j int) { d.Grains[i], d.Grains[j] = d.Grains[j], d.Grains[i] })
	return d
}

// chain writes a disk with snapshots into a directory, and returns what the VM sees.
func chain(t *testing.T, dir string, k kind, links int, zeros bool) (newest string, content []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(links), uint64(k.grain)))
	content = disktest.Content(37<<20+512, 7)
	put := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	size := int64(len(content))
	newest = "vm.vmdk"
	put(newest, []byte(disktest.Descriptor("vmfs", "VMFS", "vm-flat.vmdk", size, 1, 0xffffffff, "")))
	put("vm-flat.vmdk", content)
	for i := range links {
		content = bytes.Clone(content)
		d := written(r, content, k.grain, zeros)
		name := fmt.Sprintf("vm-%06d", i+1)
		put(name+"-"+k.suffix+".vmdk", k.write(d))
		put(name+".vmdk", []byte(disktest.Descriptor(k.createType, k.extent, name+"-"+k.suffix+".vmdk", size, uint32(i+2), uint32(i+1), newest)))
		newest = name + ".vmdk"
	}
	return newest, content
}

// TestChains holds the disk that the VM sees against what was written, and against
// QEMU's reading, which takes a COWD entry of 1 for the sector.
func TestChains(t *testing.T) {
	for name, k := range kinds() {
		for _, links := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, %d", name, links), func(t *testing.T) {
				dir := t.TempDir()
				newest, want := chain(t, dir, k, links, true)
				m := open(t, filepath.Join(dir, newest))
				if m.Chain() != links+1 {
					t.Errorf("Chain = %d; want %d", m.Chain(), links+1)
				}
				disktest.TestImage(t, m, want)
				dir = t.TempDir()
				newest, want = chain(t, dir, k, links, strings.HasPrefix(k.createType, "se"))
				raw := filepath.Join(dir, "raw")
				run(t, tool(t, "qemu-img"), "convert", "-f", "vmdk", "-O", "raw", filepath.Join(dir, newest), raw)
				got, err := os.ReadFile(raw)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("qemu-img reads something else than was written: %v", err)
				}
			})
		}
	}
}

// files reads a directory into memory.
func files(t *testing.T, dir string) memOpener {
	t.Helper()
	out := memOpener{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if out[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestHostileChains lies about chains and about each field of a snapshot's extent.
func TestHostileChains(t *testing.T) {
	const delta, se = "vm-000002-delta.vmdk", "vm-000002-sesparse.vmdk"
	swap := func(file, old, text string) func(memOpener) {
		return func(m memOpener) { m[file] = bytes.ReplaceAll(m[file], []byte(old), []byte(text)) }
	}
	lie := func(file string, e edit) func(memOpener) {
		return func(m memOpener) { m[file] = e.apply(m[file]) }
	}
	cut := func(file string, to int) func(memOpener) {
		return func(m memOpener) { m[file] = m[file][:to] }
	}
	cowd, sparse := kinds()["COWD"], kinds()["seSparse"]
	for _, tt := range []struct {
		name string
		k    kind
		do   func(memOpener)
		kind error
		want string
	}{
		{"written to since", cowd, swap("vm-000001.vmdk", "CID=00000002\n", "CID=00000009\n"), vmdk.ErrFormat, "has the id 00000009, and the snapshot on it was made when that was 00000002"},
		{"a loop", cowd, func(m memOpener) {
			m["vm-000001.vmdk"] = bytes.ReplaceAll(bytes.ReplaceAll(m["vm-000001.vmdk"], []byte(`"vm.vmdk"`), []byte(`"vm-000002.vmdk"`)), []byte("parentCID=00000001"), []byte("parentCID=00000003"))
		}, vmdk.ErrFormat, "may lead back to itself"},
		{"no parent", cowd, func(m memOpener) { delete(m, "vm.vmdk") }, fs.ErrNotExist, "parent vm.vmdk: open vm.vmdk"},
		{"no hint", cowd, swap("vm-000002.vmdk", `parentFileNameHint="vm-000001.vmdk"`, ""), vmdk.ErrFormat, "doesn't name its parent"},
		{"a parent of another size", cowd, func(m memOpener) {
			m["vm.vmdk"] = bytes.ReplaceAll(m["vm.vmdk"], []byte("RW 75777"), []byte("RW 75776"))
		}, vmdk.ErrFormat, "it has 38797312 bytes, the snapshot on it 38797824"},
		{"a snapshot of none", cowd, swap("vm-000002.vmdk", "parentCID=00000002", "parentCID=ffffffff"), vmdk.ErrFormat, "without a parent"},
		{"mixed kinds", cowd, func(m memOpener) {
			m["vm-000001.vmdk"] = bytes.ReplaceAll(bytes.ReplaceAll(m["vm-000001.vmdk"], []byte("vmfsSparse"), []byte("seSparse")), []byte("VMFSSPARSE \"vm-000001-delta"), []byte("SESPARSE \"se"))
			m["se.vmdk"] = disktest.SeSparse(disktest.Delta{Size: 37<<20 + 512})
		}, vmdk.ErrFormat, "which ESXi never makes"},
		{"COWD: magic", cowd, lie(delta, u32(0, 7)), vmdk.ErrFormat, "magic"},
		{"COWD: version", cowd, lie(delta, u32(4, 3)), vmdk.ErrUnsupported, "offset 4"},
		{"COWD: capacity 0", cowd, lie(delta, u32(12, 0)), vmdk.ErrFormat, "offset 12"},
		{"COWD: capacity", cowd, lie(delta, u32(12, 75776)), vmdk.ErrFormat, "capacity of 75776 sectors, the descriptor says 75777"},
		{"COWD: huge", cowd, lie(delta, u32(12, 0xffffffff)), vmdk.ErrFormat, "offset 24"},
		{"COWD: huge, with tables", cowd, func(m memOpener) { m[delta] = u32(24, 0xffffffff).apply(u32(12, 0xffffffff).apply(m[delta])) }, vmdk.ErrFormat, "grain directory"},
		{"COWD: grain 0", cowd, lie(delta, u32(16, 0)), vmdk.ErrFormat, "offset 16"},
		{"COWD: grain 3", cowd, lie(delta, u32(16, 3)), vmdk.ErrFormat, "offset 16"},
		{"COWD: directory in the header", cowd, lie(delta, u32(20, 3)), vmdk.ErrFormat, "offset 20"},
		{"COWD: directory beyond the end", cowd, lie(delta, u32(20, 0xfffffff0)), vmdk.ErrFormat, "cut short"},
		{"COWD: table beyond the end", cowd, lie(delta, u32(2048, 0xfffffff0)), vmdk.ErrFormat, "beyond the file's end"},
		{"COWD: table in the header", cowd, lie(delta, u32(2048, 1)), vmdk.ErrFormat, "overlaps"},
		{"COWD: two tables in one place", cowd, func(m memOpener) { copy(m[delta][2048:2052], m[delta][2052:2056]) }, vmdk.ErrFormat, "share"},
		{"COWD: cut short", cowd, func(m memOpener) { m[delta] = m[delta][:len(m[delta])-512] }, vmdk.ErrFormat, "cut short"},
		{"COWD: header only", cowd, cut(delta, 1000), vmdk.ErrFormat, "header"},
		{"seSparse: journal", sparse, lie(se, u64(512+24, 1)), vmdk.ErrUnsupported, "journal of the snapshot must be replayed"},
		{"seSparse: volatile magic", sparse, lie(se, u64(512, 1)), vmdk.ErrFormat, "volatile header"},
		{"seSparse: version", sparse, lie(se, u64(8, 1)), vmdk.ErrUnsupported, "offset 8"},
		{"seSparse: grain", sparse, lie(se, u64(24, 16)), vmdk.ErrUnsupported, "offset 24"},
		{"seSparse: capacity", sparse, lie(se, u64(16, 1<<60)), vmdk.ErrFormat, "offset 16"},
		{"seSparse: directory", sparse, lie(se, u64(128, 1<<40)), vmdk.ErrFormat, "offset 128"},
		{"seSparse: small directory", sparse, lie(se, u64(16, 1<<30)), vmdk.ErrFormat, "offset 136"},
		{"seSparse: directory entry", sparse, lie(se, u64(4096*512, 2<<60)), vmdk.ErrFormat, "directory entry 0"},
		{"seSparse: table beyond all", sparse, lie(se, u64(4096*512, 1<<60|1<<31)), vmdk.ErrFormat, "directory entry 0"},
		{"seSparse: a table twice", sparse, func(m memOpener) { copy(m[se][4096*512:][:8], m[se][4096*512+8:][:8]) }, vmdk.ErrFormat, "another has grain table"},
		{"seSparse: entry", sparse, lie(se, u64(4097*512+8, 5<<60)), vmdk.ErrFormat, "unknown entry"},
		{"seSparse: entry with a rest", sparse, lie(se, u64(4097*512+8, 5)), vmdk.ErrFormat, "unknown entry"},
		{"seSparse: grain beyond all", sparse, lie(se, u64(4097*512+8, 3<<60|1<<47)), vmdk.ErrFormat, "is in place"},
		{"seSparse: cut short", sparse, func(m memOpener) { m[se] = m[se][:len(m[se])-512] }, vmdk.ErrFormat, "cut short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			newest, _ := chain(t, dir, tt.k, 2, true)
			m := files(t, dir)
			tt.do(m)
			m["x.vmdk"] = m[newest]
			wantError(t, m, tt.kind, tt.want)
		})
	}
}

// TestChainReads: a snapshot's grains are in no order, and behind a file may be a
// network. What of a block is in a link comes in a few reads.
func TestChainReads(t *testing.T) {
	const links = 3
	for name, k := range kinds() {
		dir := t.TempDir()
		newest, want := chain(t, dir, k, links, true)
		c := &counting{Opener: vmdk.DirOpener(dir)}
		copied(t, c, newest)
		reads, read := c.reads.Load(), c.bytes.Load()
		t.Logf("%s: %d reads, %.2f of the disk", name, reads, float64(read)/float64(len(want)))
		if blocks := int64(len(want)/disk.BlockSize + 1); reads > 20*blocks*(links+1) || read > 3*int64(len(want)) {
			t.Errorf("%s: %d reads of %d bytes in all for %d blocks", name, reads, read, blocks)
		}
	}
}

// TestScatteredChain reads a block of a chain as long as ESXi allows, each link of which
// has some of the grains: that takes no memory for each link.
func TestScatteredChain(t *testing.T) {
	const links, grain = 32, 4096
	dir := t.TempDir()
	put := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := disktest.Content(disk.BlockSize, 9)
	put("l0.vmdk", []byte(disktest.Descriptor("vmfs", "VMFS", "l0-flat.vmdk", disk.BlockSize, 0, 0xffffffff, "")))
	put("l0-flat.vmdk", want)
	want = bytes.Clone(want)
	for i := range links {
		d := disktest.Delta{Size: disk.BlockSize, Read: func(g int64) []byte { return bytes.Repeat([]byte{byte(g + 1)}, grain) }}
		for g := int64(i); g < disk.BlockSize/grain; g += links + 1 {
			d.Grains = append(d.Grains, g)
			copy(want[g*grain:], d.Read(g))
		}
		name := fmt.Sprintf("l%d", i+1)
		put(name+"-sesparse.vmdk", disktest.SeSparse(d))
		put(name+".vmdk", []byte(disktest.Descriptor("seSparse", "SESPARSE", name+"-sesparse.vmdk", disk.BlockSize, uint32(i+1), uint32(i), fmt.Sprintf("l%d.vmdk", i))))
	}
	m := open(t, filepath.Join(dir, fmt.Sprintf("l%d.vmdk", links)))
	got := make([]byte, disk.BlockSize)
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := m.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("ReadAt: %v, or other bytes than were written", err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > links*disk.BlockSize/2 {
		t.Errorf("one read took %d MiB of memory", took>>20)
	}
}

// hugeFile is an extent with nothing but its headers, all zeros behind.
type hugeFile struct {
	head []byte
	size int64
}

func (f hugeFile) Size() int64 { return f.size }

func (f hugeFile) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(f.head)) {
		copy(p, f.head[off:])
	}
	return len(p), nil
}

// hugeOpener is a chain of the largest disks: 62 TiB, with as many snapshots as ESXi
// allows.
type hugeOpener struct{ head []byte }

const hugeSize = 62 << 40

func (o hugeOpener) Parent(hint string) (vmdk.Opener, string, error) { return o, hint, nil }

func (o hugeOpener) Open(name string) (vmdk.File, error) {
	var n uint32
	if _, err := fmt.Sscanf(name, "vm-%d.vmdk", &n); err == nil {
		text := disktest.Descriptor("seSparse", "SESPARSE", "sesparse", hugeSize, n+1, n, fmt.Sprintf("vm-%d.vmdk", n-1))
		if n == 0 {
			text = disktest.Descriptor("vmfs", "VMFS", "flat", hugeSize, 1, 0xffffffff, "")
		}
		return bytes.NewReader([]byte(text)), nil
	}
	if name == "flat" {
		return hugeFile{size: hugeSize}, nil
	}
	return hugeFile{o.head, 1 << 40}, nil
}

func TestHugeChain(t *testing.T) {
	const links = 32
	tables := int64(hugeSize / (16 << 20))
	head := disktest.SeSparse(disktest.Delta{})[:2*512]
	for _, e := range []edit{u64(16, hugeSize/512), u64(136, uint64(tables/64)), u64(144, 4096+uint64(tables/64)), u64(152, uint64(tables*64)), u64(192, 1<<30), u64(200, hugeSize/512)} {
		head = e.apply(head)
	}
	m, err := vmdk.Open(hugeOpener{head}, fmt.Sprintf("vm-%d.vmdk", links))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p := make([]byte, 4<<20)
	for off := int64(0); off < hugeSize; off += hugeSize / 500 {
		if _, err := m.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	if mem.HeapAlloc > 64<<20 {
		t.Errorf("the chain takes %d MiB", mem.HeapAlloc>>20)
	}
	runtime.KeepAlive(m)
}
