package vmdk_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/disk/vmdk"
)

// tool is the path of a program, or ends the test: where all tools should be
// there it fails, elsewhere it is skipped.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
		tb.Fatal(err)
	}
	tb.Skip(err)
	return ""
}

func run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	out, err := exec.Command(tool(tb, name), args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// rawFile writes b where qemu-img can read it.
func rawFile(tb testing.TB, b []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "raw")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// open opens a disk in a directory, until the test's end.
func open(tb testing.TB, path string) *vmdk.Image {
	tb.Helper()
	m, err := vmdk.Open(vmdk.DirOpener(filepath.Dir(path)), filepath.Base(path))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(); err != nil {
			tb.Error(err)
		}
	})
	return m
}

// realSize has a last grain, and a last grain table, that are not full.
const realSize = 70<<20 + 5*512

func TestQemuImages(t *testing.T) {
	want := disktest.Content(realSize, 1)
	clear(want[32<<20 : 64<<20]) // a whole grain table
	raw := rawFile(t, want)
	tests := []struct{ name, options, format string }{
		{"monolithic sparse", "subformat=monolithicSparse", "monolithicSparse"},
		{"zeroed grains", "subformat=monolithicSparse,zeroed_grain=on", "monolithicSparse"},
		{"monolithic flat", "subformat=monolithicFlat", "monolithicFlat"},
		{"2 GB sparse", "subformat=twoGbMaxExtentSparse", "twoGbMaxExtentSparse"},
		{"2 GB flat", "subformat=twoGbMaxExtentFlat", "twoGbMaxExtentFlat"},
		{"stream, directory in front", "subformat=streamOptimized", "streamOptimized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "täst disk.vmdk")
			run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", tt.options, raw, path)
			m := open(t, path)
			if m.Format() != tt.format {
				t.Errorf("Format() = %q; want %q", m.Format(), tt.format)
			}
			disktest.TestImage(t, m, want)
			checkSkips(t, m)
		})
	}
}

// checkSkips tells whether the 32 MiB of zeros are known to be zero.
func checkSkips(t *testing.T, m *vmdk.Image) {
	t.Helper()
	for e, err := range disk.ExtentsFrom(m, 40<<20) {
		if err != nil {
			t.Fatal(err)
		}
		if end := e.Offset + e.Length; e.Kind != disk.Zero || end < 64<<20 {
			t.Errorf("extent at 40 MiB is %+v; want zeros up to 64 MiB", e)
		}
		return
	}
}

func streamFile(tb testing.TB, want []byte, level int) string {
	tb.Helper()
	var b bytes.Buffer
	if err := disktest.StreamOptimized(&b, bytes.NewReader(want), int64(len(want)), "disk.vmdk", level); err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "disk.vmdk")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// The writer that stands in for ESXi's is itself checked against qemu-img and
// libvmdk.
func TestStreamOptimizedFooter(t *testing.T) {
	want := disktest.Content(realSize, 2)
	clear(want[32<<20 : 64<<20])
	path := streamFile(t, want, 6)
	m := open(t, path)
	disktest.TestImage(t, m, want)
	checkSkips(t, m)

	back := filepath.Join(t.TempDir(), "back")
	run(t, "qemu-img", "convert", "-f", "vmdk", "-O", "raw", path, back)
	got, err := os.ReadFile(back)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("qemu-img reads the stream otherwise")
	}
	info := run(t, "vmdkinfo", path)
	if !strings.Contains(info, "Stream optimized") && !strings.Contains(info, "stream") {
		t.Errorf("vmdkinfo doesn't take it for a stream:\n%s", info)
	}
}

// counting is an opener whose files count their reads.
type counting struct {
	vmdk.Opener
	reads, bytes atomic.Int64
}

type countingFile struct {
	vmdk.File
	c *counting
}

func (c *counting) Open(name string) (vmdk.File, error) {
	f, err := c.Opener.Open(name)
	return countingFile{f, c}, err
}

func (c *counting) Parent(hint string) (vmdk.Opener, string, error) {
	o, name, err := c.Opener.Parent(hint)
	return countingParent{c, o}, name, err
}

// countingParent opens the files of a parent, which count as the others.
type countingParent struct {
	*counting

	o vmdk.Opener
}

func (c countingParent) Open(name string) (vmdk.File, error) {
	f, err := c.o.Open(name)
	return countingFile{f, c.counting}, err
}

func (c countingParent) Parent(hint string) (vmdk.Opener, string, error) {
	o, name, err := c.o.Parent(hint)
	return countingParent{c.counting, o}, name, err
}

func (f countingFile) ReadAt(p []byte, off int64) (int, error) {
	f.c.reads.Add(1)
	f.c.bytes.Add(int64(len(p)))
	return f.File.ReadAt(p, off)
}

// copied copies a disk to where nobody looks, and returns it.
func copied(t *testing.T, o vmdk.Opener, name string) *vmdk.Image {
	t.Helper()
	m, err := vmdk.Open(o, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	dst, err := disk.CreateRaw(filepath.Join(t.TempDir(), "raw"), m.Size())
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if _, err := disk.Copy(t.Context(), dst, disk.Whole(m), disk.Options{}); err != nil {
		t.Fatal(err)
	}
	return m
}

// Behind a file may be a network, where each read is a request.
func TestReadsAreFewAndLarge(t *testing.T) {
	want := disktest.Content(realSize, 3)
	for i := range want {
		want[i] |= 1 // no grain is zero
	}
	sparse := filepath.Join(t.TempDir(), "disk.vmdk")
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", rawFile(t, want), sparse)
	for _, path := range []string{streamFile(t, want, 1), sparse} {
		c := &counting{Opener: vmdk.DirOpener(filepath.Dir(path))}
		m := copied(t, c, "disk.vmdk")
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		reads, read := c.reads.Load(), c.bytes.Load()
		t.Logf("%s: %d reads, %.2f of the file", m.Format(), reads, float64(read)/float64(fi.Size()))
		if most := 10 + fi.Size()/(512<<10); reads > most || read > fi.Size()*5/4 {
			t.Errorf("%s: %d reads of %d bytes in all for a file of %d; want at most %d", m.Format(), reads, read, fi.Size(), most)
		}
	}
}

// Extents of several files, of all kinds that may be mixed.
func TestSplit(t *testing.T) {
	size := 4<<30 + 4096 // three extents
	raw := filepath.Join(t.TempDir(), "raw")
	dst, err := disk.CreateRaw(raw, int64(size))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	marks := map[int64]string{0: "first", 2<<30 - 512: "end of the first", 2 << 30: "second", 4<<30 - 3: "across", int64(size) - 4: "last"}
	for off, s := range marks {
		if _, err := dst.WriteAt([]byte(s)[:min(int64(len(s)), int64(size)-off)], off); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"twoGbMaxExtentSparse", "twoGbMaxExtentFlat"} {
		path := filepath.Join(t.TempDir(), "split.vmdk")
		run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat="+sub, raw, path)
		m := open(t, path)
		if n := len(m.Descriptor().Extents); n != 3 {
			t.Errorf("%s: %d extents; want 3", sub, n)
		}
		var data int64
		for e, err := range m.Extents() {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == disk.Data {
				data += e.Length
			}
		}
		if data == 0 || data > 1<<20 {
			t.Errorf("%s: %d bytes of data; want some, and less than 1 MiB", sub, data)
		}
		for off, s := range marks {
			want := []byte(s)[:min(int64(len(s)), int64(size)-off)]
			got := make([]byte, len(want))
			if _, err := m.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: at %d is %q, %v; want %q", sub, off, got, err, want)
			}
		}
	}
}
