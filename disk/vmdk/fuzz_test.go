package vmdk_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/disk/vmdk"
)

func FuzzParseDescriptor(f *testing.F) {
	f.Add([]byte(esxiDescriptor))
	f.Add([]byte(flatDescriptor(`RW 8 FLAT "a b" 1`, "RDONLY 8 ZERO", `RW 63 FLAT "\\.\PhysicalDrive0" 63 partitionUUID x`)))
	f.Add([]byte(strings.Replace(flatDescriptor("RW 8 ZERO"), "createType", "isNativeSnapshot=yes\ncreateType", 1)))
	f.Add([]byte(strings.Replace(flatDescriptor("RW 8 VMFS \"\xe4\""), "CID", "encoding = windows-1252\nparentFileNameHint=\"a\"\nCID", 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := vmdk.ParseDescriptor(b)
		if err != nil {
			if !errors.Is(err, vmdk.ErrFormat) {
				t.Errorf("error %v doesn't wrap ErrFormat", err)
			}
			return
		}
		if d.Size() <= 0 || d.Size() > 64<<40 {
			t.Errorf("size of %d", d.Size())
		}
		text := d.String()
		again, err := vmdk.ParseDescriptor([]byte(text))
		if err != nil && len(text) <= 64<<10 {
			t.Fatalf("%v in what was written:\n%s", err, text)
		}
		d.Encoding = "UTF-8"
		if diff := cmp.Diff(d, again); err == nil && diff != "" {
			t.Errorf("written and parsed again (-first +second):\n%s", diff)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	file, _ := smallStream(f)
	f.Add(file[:512])
	f.Add(file[len(file)-1024:])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := vmdk.ParseHeader(b)
		if err != nil {
			if !errors.Is(err, vmdk.ErrFormat) && !errors.Is(err, vmdk.ErrUnsupported) {
				t.Errorf("error %v wraps neither ErrFormat nor ErrUnsupported", err)
			}
			return
		}
		if h.Capacity < 1 || h.GrainSize < 8 || h.GrainSize&(h.GrainSize-1) != 0 || h.Directory == 0 || h.Overhead < 0 {
			t.Errorf("impossible header %+v", h)
		}
	})
}

// tinyFiles are valid disks of some KiB, as seeds.
func tinyFiles(f *testing.F) [][]byte {
	f.Helper()
	disk := tinyDisk()
	files := [][]byte{streamOf(f, disk)}
	if _, err := exec.LookPath("qemu-img"); err != nil {
		return files
	}
	raw := rawFile(f, disk)
	for _, o := range []string{"subformat=monolithicSparse", "subformat=monolithicSparse,zeroed_grain=on", "subformat=streamOptimized"} {
		path := filepath.Join(f.TempDir(), "x.vmdk")
		run(f, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", o, raw, path)
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		files = append(files, b)
	}
	return files
}

// fuzzBase is the size of the parent that a snapshot stands on.
const fuzzBase = 40 << 10

// FuzzOpen opens a disk of at most two files, on a parent, and reads its first 256 KiB: whole,
// and grain by grain, which must give the same, and zeros where the extents
// say so.
func FuzzOpen(f *testing.F) {
	for _, b := range tinyFiles(f) {
		f.Add(b, []byte(nil))
		f.Add([]byte(strings.Replace(flatDescriptor(`RW 386 SPARSE "e"`), `"vmfs"`, `"twoGbMaxExtentSparse"`, 1)), b)
	}
	f.Add([]byte(flatDescriptor(`RW 8 FLAT "e" 1`, "RW 8 ZERO", `RW 8 FLAT "e" 9`)), make([]byte, 17*512))
	d := disktest.Delta{Size: fuzzBase, Grains: []int64{2, 1}, Zeros: []int64{3, 4}, Read: func(int64) []byte { return bytes.Repeat([]byte("x"), 512) }}
	f.Add([]byte(disktest.Descriptor("vmfsSparse", "VMFSSPARSE", "e", fuzzBase, 2, 1, "p")), disktest.COWD(d, 512))
	f.Add([]byte(disktest.Descriptor("vmfsSparse", "VMFSSPARSE", "e", fuzzBase, 2, 1, "p")), disktest.COWD(d, 4096))
	f.Add([]byte(disktest.Descriptor("seSparse", "SESPARSE", "e", fuzzBase, 2, 1, "p")), disktest.SeSparse(d))
	f.Fuzz(func(t *testing.T, main, extent []byte) {
		m, err := vmdk.Open(memOpener{
			"x.vmdk": main, "e": extent,
			"p": []byte(disktest.Descriptor("vmfs", "VMFS", "f", fuzzBase, 1, 0xffffffff, "")), "f": bytes.Repeat([]byte("p"), fuzzBase),
		}, "x.vmdk")
		if err != nil {
			return
		}
		defer m.Close()
		whole := make([]byte, min(m.Size(), 256<<10))
		n, err := m.ReadAt(whole, 0)
		if n < len(whole) && err == nil {
			t.Fatalf("ReadAt = %d of %d, nil", n, len(whole))
		}
		if err == nil {
			compareReads(t, m, whole)
		}
		var pos int64
		for e, xerr := range m.Extents() {
			if xerr != nil {
				break
			}
			if e.Offset != pos || e.Length <= 0 || e.Length > m.Size()-pos {
				t.Fatalf("extent %+v at %d of %d", e, pos, m.Size())
			}
			to := min(e.Offset+e.Length, int64(len(whole)))
			if err == nil && e.Kind == disk.Zero && pos < to && bytes.Count(whole[pos:to], []byte{0}) != int(to-pos) {
				t.Fatalf("extent %+v isn't zero", e)
			}
			if pos += e.Length; pos > 1<<30 {
				break
			}
		}
	})
}

func compareReads(t *testing.T, m *vmdk.Image, want []byte) {
	t.Helper()
	for off := 0; off < len(want); off += 15000 {
		got := make([]byte, min(15000, len(want)-off))
		if n, err := m.ReadAt(got, int64(off)); n != len(got) || !bytes.Equal(got, want[off:off+n]) {
			t.Fatalf("ReadAt(%d bytes, %d) = %d, %v and other bytes than in one read", len(got), off, n, err)
		}
	}
}
