package vmdk_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"esxodus/disk/disktest"
	"esxodus/disk/vmdk"
)

// memOpener are files in memory.
type memOpener map[string][]byte

func (m memOpener) Open(name string) (vmdk.File, error) {
	b, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return bytes.NewReader(b), nil
}

func (m memOpener) Parent(hint string) (vmdk.Opener, string, error) { return m, hint, nil }

// readAll reads the whole of a disk in pieces that fit no grain, after walking
// its extents.
func readAll(m *vmdk.Image, most int64) ([]byte, error) {
	var pos int64
	for e, err := range m.Extents() {
		if err != nil {
			return nil, err
		}
		if e.Offset != pos || e.Length <= 0 {
			return nil, fmt.Errorf("BUG: extent %+v at %d", e, pos)
		}
		if pos += e.Length; pos > most {
			break
		}
	}
	b := make([]byte, min(m.Size(), most))
	for off := 0; off < len(b); off += 100 << 10 {
		part := b[off:min(off+100<<10, len(b))]
		if n, err := m.ReadAt(part, int64(off)); n != len(part) {
			return nil, err
		}
	}
	return b, nil
}

// edit overwrites some of a file.
type edit struct {
	at int // from the end if negative
	b  []byte
}

func u32(at int, v uint32) edit { return edit{at, binary.LittleEndian.AppendUint32(nil, v)} }
func u64(at int, v uint64) edit { return edit{at, binary.LittleEndian.AppendUint64(nil, v)} }

func (e edit) apply(b []byte) []byte {
	b = bytes.Clone(b)
	at := e.at
	if at < 0 {
		at += len(b)
	}
	copy(b[at:], e.b)
	return b
}

// smallStream is a streamOptimized disk of 33 MiB with few grains.
func smallStream(tb testing.TB) (file, want []byte) {
	tb.Helper()
	want = make([]byte, 33<<20)
	var random rand.ChaCha8
	random.Read(want[:200<<10])
	copy(want[5<<20:], bytes.Repeat([]byte("text "), 30<<10))
	copy(want[32<<20+4096:], "in the second table")
	return streamOf(tb, want), want
}

// streamOf is what an ESXi would send of a disk.
func streamOf(tb testing.TB, disk []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := disktest.StreamOptimized(&b, bytes.NewReader(disk), int64(len(disk)), "x.vmdk", 6); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// smallSparse is a monolithicSparse disk by qemu-img, and where its first
// grain table is.
func smallSparse(tb testing.TB) (file, want []byte, table int) {
	tb.Helper()
	want = disktest.Content(3<<20, 5)
	path := filepath.Join(tb.TempDir(), "x.vmdk")
	run(tb, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", rawFile(tb, want), path)
	file, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	gd := binary.LittleEndian.Uint64(file[56:])
	return file, want, int(binary.LittleEndian.Uint32(file[gd*512:])) * 512
}

func flatDescriptor(extents ...string) string {
	return "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"vmfs\"\n" + strings.Join(extents, "\n") + "\n"
}

// wantError opens and reads a disk, which must fail in the way said.
func wantError(t *testing.T, o vmdk.Opener, kind error, want string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := vmdk.Open(o, "x.vmdk")
	if err == nil {
		_, err = readAll(m, 64<<20)
		m.Close()
	}
	runtime.ReadMemStats(&after)
	if !errors.Is(err, kind) || !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("error is %v; want %v with %q", err, kind, want)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 128<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

func TestHostileHeader(t *testing.T) {
	file, _, table := smallSparse(t)
	gd := int(binary.LittleEndian.Uint64(file[56:])) * 512
	used := table // of a table entry that isn't 0
	for binary.LittleEndian.Uint32(file[used:]) == 0 {
		used += 4
	}
	tests := []struct {
		name string
		edit edit
		kind error
		want string
	}{
		{"version 4", u32(4, 4), vmdk.ErrUnsupported, "version 4"},
		{"version 0", u32(4, 0), vmdk.ErrUnsupported, "version 0"},
		{"unknown flag", u32(8, 1|1<<20), vmdk.ErrUnsupported, "unknown flags 0x100000"},
		{"compressed without markers", u32(8, 1|1<<16), vmdk.ErrUnsupported, "compression 0"},
		{"markers without compression", u32(8, 1|1<<17), vmdk.ErrUnsupported, "compressed grains need markers"},
		{"capacity 0", u64(12, 0), vmdk.ErrFormat, "header offset 12: capacity of 0"},
		{"capacity 2^32-1", u64(12, math.MaxUint32), vmdk.ErrFormat, "overlaps the grain directory"},
		{"capacity 2^64-1", u64(12, math.MaxUint64), vmdk.ErrFormat, "capacity of 18446744073709551615"},
		{"capacity of 64 TiB", u64(12, 64<<40/512), vmdk.ErrFormat, "the file has only"},
		{"capacity other than the descriptor's", u64(12, 6000), vmdk.ErrFormat, "capacity of 6000 sectors, the descriptor says 6144"},
		{"grain size 0", u64(20, 0), vmdk.ErrFormat, "header offset 20: grain size of 0"},
		{"grain size 4", u64(20, 4), vmdk.ErrFormat, "grain size of 4"},
		{"grain size 100", u64(20, 100), vmdk.ErrFormat, "100 sectors is not a power of 2"},
		{"grain size 2^32", u64(20, 1<<32), vmdk.ErrFormat, "grain size of 4294967296"},
		{"grain size 2^64-1", u64(20, math.MaxUint64), vmdk.ErrFormat, "grain size of"},
		{"descriptor nowhere", u64(28, 0), vmdk.ErrFormat, "one extent of a split disk"},
		{"descriptor beyond the end", u64(28, 1<<31), vmdk.ErrFormat, "header offset 28"},
		{"descriptor at 2^64-1", u64(28, math.MaxUint64), vmdk.ErrFormat, "header offset 28"},
		{"descriptor of 2 TiB", u64(36, 1<<32-1), vmdk.ErrFormat, "overlaps the descriptor"},
		{"descriptor of 0 sectors", u64(36, 0), vmdk.ErrFormat, "doesn't begin with"},
		{"entries per table", u32(44, 1<<31), vmdk.ErrFormat, "header offset 44: 2147483648 entries"},
		{"directory 0", u64(56, 0), vmdk.ErrFormat, "header offset 56"},
		{"directory in the descriptor", u64(56, 2), vmdk.ErrFormat, "overlaps the descriptor"},
		{"directory beyond the end", u64(56, 1<<31), vmdk.ErrFormat, "may be cut short"},
		{"directory at 2^63", u64(56, 1<<63), vmdk.ErrFormat, "header offset 56"},
		{"directory in a footer", u64(56, math.MaxUint64), vmdk.ErrUnsupported, "a footer, but no compressed stream"},
		{"overhead 2^64-1", u64(64, math.MaxUint64), vmdk.ErrFormat, "header offset 64"},
		{"overhead beyond the end", u64(64, math.MaxUint32), vmdk.ErrFormat, "among the metadata"},
		{"line ends", edit{73, []byte("\n \n\n")}, vmdk.ErrFormat, "binary mode"},
		{"table in the header", u32(gd, 0xffffffff), vmdk.ErrFormat, "grain directory entry 0: sector 4294967295 is beyond"},
		{"table in the descriptor", u32(gd, 3), vmdk.ErrFormat, "overlaps the descriptor"},
		{"table in the directory", u32(gd, uint32(gd/512)), vmdk.ErrFormat, "overlaps the grain directory"},
		{"grain in the header", u32(used, 1), vmdk.ErrFormat, "is in sector 1, among the metadata"},
		{"grain in the tables", u32(used, uint32(table/512)), vmdk.ErrFormat, "among the metadata"},
		{"grain beyond the end", u32(used, math.MaxUint32), vmdk.ErrFormat, "is in sector 4294967295, beyond the file's end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, memOpener{"x.vmdk": tt.edit.apply(file)}, tt.kind, tt.want)
		})
	}
}

// Two directory entries with one table would give one grain's data twice.
func TestHostileSharedTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.vmdk")
	run(t, "qemu-img", "create", "-f", "vmdk", path, "100M")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gd := int(binary.LittleEndian.Uint64(file[56:])) * 512
	first := binary.LittleEndian.Uint32(file[gd:])
	for _, second := range []uint32{first, first + 1} {
		wantError(t, memOpener{"x.vmdk": u32(gd+4, second).apply(file)}, vmdk.ErrFormat, "two grain tables share")
	}
}

func deflated(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	z.Write(b)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestHostileStream(t *testing.T) {
	file, _ := smallStream(t)
	const first = 128 * 512 // marker of the first grain
	grain := func(b []byte) edit {
		return edit{first, append(binary.LittleEndian.AppendUint32(make([]byte, 8), uint32(len(b))), b...)}
	}
	bomb := deflated(t, make([]byte, 50<<20))
	if len(bomb) > 64<<10 {
		t.Fatalf("a bomb of %d bytes", len(bomb))
	}
	tests := []struct {
		name string
		edit edit
		want string
	}{
		{"no end of stream", edit{-512, []byte{1}}, "the stream is cut short"},
		{"no footer marker", u32(-3*512+12, 1), "the stream is cut short"},
		{"footer without magic", edit{-2 * 512, []byte("KDMW")}, "no magic number"},
		{"footer with other capacity", u64(-2*512+12, 4096), "differs from the header"},
		{"footer with other grains", u64(-2*512+20, 64), "differs from the header"},
		{"footer without directory", u64(-2*512+56, math.MaxUint64), "differs from the header"},
		{"directory beyond the end", u64(-2*512+56, 1<<31), "grain directory in sector 2147483648"},
		{"directory in the header", u64(-2*512+56, 1), "grain directory in sector 1"},
		{"directory on a grain", u64(-2*512+56, 129), "want the marker of the grain directory, found"},
		{"table on a grain", u32(-4*512, 129), "want the marker of grain table 0, found a grain"},
		{"other grain's address", u64(first, 128), "marker of sector 128 instead of 0"},
		{"empty grain", u32(first+8, 0), "compressed grain of 0 bytes"},
		{"grain of 4 GiB", u32(first+8, math.MaxUint32), "compressed grain of 4294967295 bytes"},
		{"not zlib", edit{first + 12, []byte{0, 0}}, "zlib: invalid header"},
		{"bad checksum", edit{first + 12 + 1000, []byte{1, 2, 3}}, "grain 0 at offset 65548"},
		{"bomb", grain(bomb), "inflates to more than a grain"},
		{"too few bytes", grain(deflated(t, make([]byte, 65535))), "unexpected EOF"},
		{"cut in deflate", grain(deflated(t, bytes.Repeat([]byte("text "), 13<<10))[:100]), "unexpected EOF"},
		{"wants a dictionary", grain([]byte{0x78, 0xbb, 1, 2, 3, 4, 5, 6}), "dictionary"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, memOpener{"x.vmdk": tt.edit.apply(file)}, vmdk.ErrFormat, tt.want)
		})
	}
}

// A file that ends anywhere gives an error or, if only padding is gone, the
// right bytes.
func TestCutShort(t *testing.T) {
	stream, streamWant := smallStream(t)
	sparse, sparseWant, _ := smallSparse(t)
	raw := disktest.Content(3<<20, 5)
	path := filepath.Join(t.TempDir(), "x.vmdk")
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", rawFile(t, raw), path)
	front, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		file, want []byte
		mayEnd     int // so many bytes may be gone without harm
	}{
		{"stream with footer", stream, streamWant, 0},
		{"stream by qemu-img", front, raw, 64 << 10},
		{"monolithic sparse", sparse, sparseWant, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			step := 512
			if testing.Short() {
				step = 512 * 13
			}
			for n := 0; n < len(tt.file); n += step {
				m, err := vmdk.Open(memOpener{"x.vmdk": tt.file[:n]}, "x.vmdk")
				if err != nil {
					continue
				}
				got, err := readAll(m, 1<<30)
				if err == nil && n < len(tt.file)-tt.mayEnd {
					t.Errorf("cut at %d of %d bytes: no error", n, len(tt.file))
				}
				if err == nil && !bytes.Equal(got, tt.want) {
					t.Fatalf("cut at %d of %d bytes: other bytes and no error", n, len(tt.file))
				}
			}
		})
	}
}

func TestHostileDescriptor(t *testing.T) {
	const good = `RW 8 VMFS "x-flat.vmdk"`
	flat := make([]byte, 8*512)
	typed := func(kind, extent string) string {
		return strings.Replace(flatDescriptor(extent), `"vmfs"`, `"`+kind+`"`, 1)
	}
	tests := []struct {
		name, text string
		kind       error
		want       string
	}{
		{"empty", "", vmdk.ErrFormat, "the file is empty"},
		{"not one", "hello", vmdk.ErrFormat, "neither a descriptor nor a sparse extent"},
		{"no extents", flatDescriptor(), vmdk.ErrFormat, "no extents"},
		{"no version", strings.Replace(flatDescriptor(good), "version=1\n", "", 1), vmdk.ErrFormat, "no version"},
		{"no parentCID", strings.Replace(flatDescriptor(good), "parentCID=ffffffff\n", "", 1), vmdk.ErrFormat, "no parentcid"},
		{"version 9", strings.Replace(flatDescriptor(good), "version=1", "version=9", 1), vmdk.ErrUnsupported, "version 9"},
		{"two CIDs", flatDescriptor(good) + "cid=1\n", vmdk.ErrFormat, `line 7: cid is "1" here and "12345678" before`},
		{"CID", strings.Replace(flatDescriptor(good), "12345678", "123456789", 1), vmdk.ErrFormat, "out of range"},
		{"too long", flatDescriptor(good) + strings.Repeat("#", 64<<10), vmdk.ErrFormat, "neither"},
		{"control character", flatDescriptor(good) + "a\x1b[2J=1", vmdk.ErrFormat, "line 7: control character"},
		{"junk", flatDescriptor(good) + "junk", vmdk.ErrFormat, `neither a key nor an extent: "junk"`},
		{"encoding", flatDescriptor(good) + "encoding=\"EBCDIC\"\n#\xe4", vmdk.ErrFormat, `unknown encoding "EBCDIC"`},
		{"wrong encoding", flatDescriptor(good) + "encoding=\"GBK\"\n#\xff", vmdk.ErrFormat, "aren't GBK"},
		{"no encoding", flatDescriptor(good) + "#\xe4", vmdk.ErrFormat, "aren't UTF-8"},
		{"native snapshot", strings.Replace(strings.Replace(flatDescriptor(good), "ffffffff", "12345678", 1), "createType", "isNativeSnapshot=\"yes\"\ncreateType", 1), vmdk.ErrUnsupported, "only the storage array knows"},
		{"snapshot", strings.Replace(flatDescriptor(good), "ffffffff", "12345678", 1), vmdk.ErrFormat, "createType vmfs with a parent (parentCID 12345678)"},
		{"COWD", typed("vmfsSparse", `RW 8 VMFSSPARSE "x-000001-delta.vmdk"`), vmdk.ErrFormat, "without a parent"},
		{"seSparse", typed("seSparse", `RW 8 SESPARSE "x-000001-sesparse.vmdk"`), vmdk.ErrFormat, "without a parent"},
		{"RDM", typed("vmfsRawDeviceMap", `RW 8 VMFSRDM "x-rdm.vmdk"`), vmdk.ErrUnsupported, "copy the LUN itself"},
		{"physical RDM", typed("vmfsPassthroughRawDeviceMap", `RW 8 VMFSRDM "x-rdmp.vmdk"`), vmdk.ErrUnsupported, "copy the LUN itself"},
		{"device", typed("fullDevice", `RW 8 FLAT "\\.\PhysicalDrive0" 0`), vmdk.ErrUnsupported, "copy the device itself"},
		{"partition", typed("partitionedDevice", `RW 8 FLAT "\\.\PhysicalDrive0" 63 partitionUUID abc`), vmdk.ErrUnsupported, "copy the device itself"},
		{"custom", typed("custom", good), vmdk.ErrUnsupported, "vmkfstools -i"},
		{"mixed", flatDescriptor(`RW 8 SPARSE "x-s001.vmdk"`), vmdk.ErrUnsupported, "type SPARSE in a disk of createType vmfs"},
		{"no access", flatDescriptor(`NOACCESS 8 FLAT "x-flat.vmdk" 0`), vmdk.ErrUnsupported, "forbids access"},
		{"size 0", flatDescriptor(`RW 0 FLAT "x-flat.vmdk" 0`), vmdk.ErrFormat, `"0" is not a number of sectors`},
		{"size -1", flatDescriptor(`RW -1 FLAT "x-flat.vmdk" 0`), vmdk.ErrFormat, "not a number of sectors"},
		{"size 2^64-1", flatDescriptor(`RW 18446744073709551615 ZERO`), vmdk.ErrFormat, "not a number of sectors"},
		{"sum of sizes", flatDescriptor("RW 137438953472 ZERO", "RW 1 ZERO"), vmdk.ErrFormat, "line 7: extent: the disk becomes larger than"},
		{"offset", flatDescriptor(`RW 8 FLAT "x-flat.vmdk" 18014398509481983`), vmdk.ErrFormat, "impossible offset"},
		{"offset beyond the end", flatDescriptor(`RW 8 FLAT "x-flat.vmdk" 1`), vmdk.ErrFormat, "has 4096 bytes, the descriptor says 4096 from offset 512"},
		{"file too short", flatDescriptor(`RW 9 VMFS "x-flat.vmdk"`), vmdk.ErrFormat, "x-flat.vmdk has 4096 bytes, the descriptor says 4608"},
		{"no name", flatDescriptor(`RW 8 VMFS`), vmdk.ErrFormat, "not a quoted file name"},
		{"empty name", flatDescriptor(`RW 8 VMFS ""`), vmdk.ErrFormat, "without a file name"},
		{"open quote", flatDescriptor(`RW 8 VMFS "x`), vmdk.ErrFormat, "not a quoted file name"},
		{"absolute name", flatDescriptor(`RW 8 FLAT "/etc/passwd" 0`), vmdk.ErrUnsupported, "outside the descriptor's directory"},
		{"parent directory", flatDescriptor(`RW 8 FLAT "../x-flat.vmdk" 0`), vmdk.ErrUnsupported, "outside the descriptor's directory"},
		{"an object on vSAN", flatDescriptor(`RW 8 VMFS "vsan://d1a1a552-0000-0000-0000-000000000001"`), vmdk.ErrObject, "only a lease of the host serves it"},
		{"a virtual volume", flatDescriptor(`RW 8 VMFS "vvol://rfc4122.5e6f7a8b/rfc4122.1"`), vmdk.ErrObject, "a virtual volume"},
		{"dots", flatDescriptor(`RW 8 FLAT ".." 0`), vmdk.ErrUnsupported, "outside the descriptor's directory"},
		{"missing file", flatDescriptor(`RW 8 FLAT "y-flat.vmdk" 0`), fs.ErrNotExist, "extent 1: open y-flat.vmdk"},
		{"same data twice", flatDescriptor(`RW 8 FLAT "x-flat.vmdk" 0`, `RW 1 FLAT "x-flat.vmdk" 7`), vmdk.ErrFormat, "extent 2: malformed VMDK: \"x-flat.vmdk\" holds another extent's data"},
		{"itself as sparse", typed("monolithicSparse", `RW 8 SPARSE "x.vmdk"`), vmdk.ErrFormat, "of 512 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, memOpener{"x.vmdk": []byte(tt.text), "x-flat.vmdk": flat}, tt.kind, tt.want)
		})
	}
}

func TestPartInsteadOfDescriptor(t *testing.T) {
	for _, name := range []string{"web 1-flat.vmdk", "web 1-f001.vmdk", "web 1-ctk.vmdk", "web 1-rdmp.vmdk"} {
		_, err := vmdk.Open(memOpener{name: make([]byte, 1<<20)}, name)
		if !errors.Is(err, vmdk.ErrFormat) || !strings.Contains(err.Error(), `"web 1.vmdk"`) {
			t.Errorf("Open(%q) = %v; want advice to take web 1.vmdk", name, err)
		}
	}
	// A guest that writes a descriptor to its first sectors must not be believed.
	evil := append([]byte(flatDescriptor(`RW 8 FLAT "secret" 0`)), make([]byte, 1<<20)...)
	m, err := vmdk.Open(memOpener{"x-flat.vmdk": evil, "secret": make([]byte, 4096)}, "x-flat.vmdk")
	if err == nil {
		m.Close()
		t.Error("a flat file was taken for a descriptor")
	}
	for _, magic := range []string{"COWD\x01\x00\x00\x00", "\xbe\xba\xfe\xca\x00\x00\x00\x00"} {
		const name = "web 1-000001-delta.vmdk"
		_, err := vmdk.Open(memOpener{name: append([]byte(magic), make([]byte, 4096)...)}, name)
		if !errors.Is(err, vmdk.ErrFormat) || !strings.Contains(fmt.Sprint(err), `"web 1-000001.vmdk"`) {
			t.Errorf("Open of a snapshot's extent = %v; want advice to take web 1-000001.vmdk", err)
		}
	}
}

func TestFlatExtents(t *testing.T) {
	want := disktest.Content(1<<20, 3)
	clear(want[512<<10 : 768<<10])
	file := append(append([]byte("0123456789abcdef"), make([]byte, 496)...), want[:512<<10]...)
	m, err := vmdk.Open(memOpener{
		"x.vmdk": []byte(flatDescriptor(`RW 1024 FLAT "a" 1`, `rdonly 512 zero`, `RW 512 VMFS "ä b"c.vmdk"`)),
		"a":      file, `ä b"c.vmdk`: want[768<<10:],
	}, "x.vmdk")
	if err != nil {
		t.Fatal(err)
	}
	disktest.TestImage(t, m, want)
}

func TestDirOpener(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	dir := t.TempDir()
	for path, content := range map[string]string{outside: "secret", filepath.Join(dir, "inside"): "data"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("inside", filepath.Join(dir, "near")); err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{"inside": true, "near": true, "link": false, outside: false, "../outside": false, ".": false, "none": false} {
		f, err := vmdk.DirOpener(dir).Open(name)
		if (err == nil) != ok {
			t.Errorf("Open(%q) = %v; want success: %t", name, err, ok)
		}
		if err == nil && f.Size() != 4 {
			t.Errorf("Open(%q): %d bytes; want 4", name, f.Size())
		}
	}
}

// A parent may be elsewhere below the directory that was given, not outside it.
func TestDirOpenerParent(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"vm", "base", "base/old"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, size := range map[string]int{"vm/web.vmdk": 1, "base/base.vmdk": 2, "base/old/base.vmdk": 3} {
		if err := os.WriteFile(filepath.Join(root, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(root, "away")); err != nil {
		t.Fatal(err)
	}
	o := vmdk.DirOpener(root)
	var name string
	var err error
	for i, hint := range []string{"vm/web.vmdk", "../base/base.vmdk", "old/base.vmdk"} {
		if o, name, err = o.Parent(hint); err != nil {
			t.Fatal(err)
		}
		f, err := o.Open(name)
		if err != nil || f.Size() != int64(i+1) {
			t.Fatalf("parent %q: Open(%q) = %v; want a file of %d bytes", hint, name, err, i+1)
		}
		f.(interface{ Close() error }).Close()
	}
	for _, hint := range []string{"../../../x.vmdk", "/etc/passwd", "/vmfs/volumes/5f-4/base/base.vmdk", "[datastore1] base/base.vmdk", "../.."} {
		if _, _, err := o.Parent(hint); !errors.Is(err, vmdk.ErrUnsupported) {
			t.Errorf("Parent(%q) = %v; want %v", hint, err, vmdk.ErrUnsupported)
		}
	}
	if o, name, err = o.Parent("../../away/x.vmdk"); err == nil {
		_, err = o.Open(name)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a parent behind a link that leads out = %v; want an error of its own", err)
	}
}

// closing counts the files that are open.
type closing struct {
	memOpener
	open int
}

type closingFile struct {
	vmdk.File
	c *closing
}

func (c *closing) Open(name string) (vmdk.File, error) {
	f, err := c.memOpener.Open(name)
	if err != nil {
		return nil, err
	}
	c.open++
	return closingFile{f, c}, nil
}

func (f closingFile) Close() error {
	f.c.open--
	return nil
}

func TestClose(t *testing.T) {
	files := memOpener{
		"good": []byte(flatDescriptor(`RW 8 FLAT "a" 0`, `RW 8 FLAT "b" 0`)),
		"bad":  []byte(flatDescriptor(`RW 8 FLAT "a" 0`, `RW 9 FLAT "b" 0`)),
		"a":    make([]byte, 4096), "b": make([]byte, 4096),
	}
	c := &closing{memOpener: files}
	m, err := vmdk.Open(c, "good")
	if err != nil || c.open != 3 {
		t.Fatalf("Open = %v, %d files open; want nil, 3", err, c.open)
	}
	if err := m.Close(); err != nil || c.open != 0 {
		t.Errorf("Close = %v, %d files open; want nil, 0", err, c.open)
	}
	if _, err := vmdk.Open(c, "bad"); err == nil || c.open != 0 {
		t.Errorf("Open of a bad disk = %v, %d files left open; want an error, 0", err, c.open)
	}
}

func TestNotes(t *testing.T) {
	file, want, _ := smallSparse(t)
	m, err := vmdk.Open(memOpener{"x.vmdk": edit{72, []byte{1}}.apply(file)}, "x.vmdk")
	if err != nil {
		t.Fatal(err)
	}
	disktest.TestImage(t, m, want)
	if n := m.Notes(); len(n) != 1 || n[0] != "x.vmdk wasn't closed properly by the program that wrote it last" {
		t.Errorf("Notes() = %q; want one about the unclean end", n)
	}
}
