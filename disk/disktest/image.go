// Package disktest holds what tests of images and targets share: the contracts
// of [disk.Image] and [disk.Target], content to fill disks with, a writer of
// streamOptimized VMDKs as ESXi makes them, the trees that mkfs.xfs takes, and file
// systems that the kernel mounts, some to be cut off under load.
package disktest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"esxodus/disk"
)

// Content is size bytes with runs of random data and of zeros, of lengths that
// fit no block or grain. The same seed gives the same bytes.
func Content(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var random rand.ChaCha8
	random.Seed([32]byte{byte(seed)})
	b := make([]byte, size)
	for off := 0; off < size; {
		n := min(1+r.IntN(300<<10), size-off)
		if r.IntN(2) == 0 {
			random.Read(b[off : off+n]) //nolint:errcheck // it never fails
		}
		off += n
	}
	return b
}

// TestImage checks that img behaves as [disk.Image] promises and holds exactly
// want.
func TestImage(t *testing.T, img disk.Image, want []byte) {
	t.Helper()
	if got := img.Size(); got != int64(len(want)) {
		t.Fatalf("Size() = %d; want %d", got, len(want))
	}
	testWhole(t, img, want)
	testReads(t, img, want)
	testEnd(t, img, want)
	testExtents(t, img, want)
	testConcurrent(t, img, want)
}

func testWhole(t *testing.T, img disk.Image, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := img.ReadAt(got, 0); n != len(want) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("ReadAt(%d bytes, 0) = %d, %v; want all", len(want), n, err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("byte %d of the image is %#x; want %#x", i, got[i], want[i])
		}
	}
}

// testReads reads at odd offsets, across every kind of boundary.
func testReads(t *testing.T, img disk.Image, want []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		off := r.IntN(len(want))
		n := min(1+r.IntN(1<<r.IntN(21)), len(want)-off)
		checkRead(t, img, want, off, n)
	}
	for _, edge := range []int{512, 4096, 64 << 10, 1 << 20, 32 << 20} {
		if edge < len(want) {
			checkRead(t, img, want, edge-1, 2)
		}
	}
}

func checkRead(t *testing.T, img disk.Image, want []byte, off, n int) {
	t.Helper()
	got := bytes.Repeat([]byte{0xa5}, n+1)
	k, err := img.ReadAt(got[:n:n], int64(off))
	atEnd := errors.Is(err, io.EOF) && off+n == len(want)
	if k != n || err != nil && !atEnd {
		t.Fatalf("ReadAt(%d bytes, %d) = %d, %v; want %d, nil", n, off, k, err, n)
	}
	if !bytes.Equal(got[:n], want[off:off+n]) {
		t.Fatalf("ReadAt(%d bytes, %d) gives other bytes", n, off)
	}
	if got[n] != 0xa5 {
		t.Fatalf("ReadAt(%d bytes, %d) wrote beyond them", n, off)
	}
}

func testEnd(t *testing.T, img disk.Image, want []byte) {
	t.Helper()
	size := int64(len(want))
	buf := make([]byte, 1024)
	tail := min(size, 512)
	n, err := img.ReadAt(buf, size-tail)
	if int64(n) != tail || !errors.Is(err, io.EOF) || !bytes.Equal(buf[:n], want[size-tail:]) {
		t.Errorf("ReadAt(1024 bytes, %d of %d) = %d, %v; want %d, EOF", size-tail, size, n, err, tail)
	}
	for _, off := range []int64{size, size + 1, size + 1<<40} {
		if n, err := img.ReadAt(buf, off); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("ReadAt(1024 bytes, %d of %d) = %d, %v; want 0, EOF", off, size, n, err)
		}
	}
	if n, err := img.ReadAt(buf, -1); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("ReadAt(1024 bytes, -1) = %d, %v; want 0 and an error", n, err)
	}
	if n, err := img.ReadAt(nil, 0); n != 0 || err != nil {
		t.Errorf("ReadAt(nothing, 0) = %d, %v; want 0, nil", n, err)
	}
}

func testExtents(t *testing.T, img disk.Image, want []byte) {
	t.Helper()
	var pos int64
	for e, err := range img.Extents() {
		if err != nil {
			t.Fatalf("Extents at %d: %v", pos, err)
		}
		if e.Offset != pos || e.Length <= 0 || e.Length > int64(len(want))-pos {
			t.Fatalf("Extents gives %+v; want one that starts at %d and ends by %d", e, pos, len(want))
		}
		if part := want[pos : pos+e.Length]; e.Kind != disk.Data && bytes.Count(part, []byte{0}) != len(part) {
			t.Fatalf("Extents gives %+v; there is data in it", e)
		}
		pos += e.Length
	}
	if pos != int64(len(want)) {
		t.Fatalf("Extents ends at %d; want %d", pos, len(want))
	}
	for _, err := range img.Extents() {
		if err != nil {
			t.Errorf("Extents, the second time: %v", err)
		}
		break // must be possible
	}
	for _, off := range []int64{0, 1, pos / 3, pos / 2, pos - 1} {
		testExtentsFrom(t, img, off)
	}
}

// testExtentsFrom compares a late start with the tail of the full list.
func testExtentsFrom(t *testing.T, img disk.Image, off int64) {
	t.Helper()
	kindAt := func(at int64) (kind disk.Kind, ok bool) {
		for e, err := range img.Extents() {
			if err == nil && e.Offset <= at && at < e.Offset+e.Length {
				return e.Kind, true
			}
		}
		return 0, false
	}
	pos := off
	for e, err := range disk.ExtentsFrom(img, off) {
		if err != nil {
			t.Fatalf("ExtentsFrom(%d): %v", off, err)
		}
		if pos == off && e.Offset < off {
			e.Offset, e.Length = off, e.Length-(off-e.Offset)
		}
		kind, ok := kindAt(e.Offset)
		if e.Offset != pos || e.Length <= 0 || !ok || kind != e.Kind {
			t.Fatalf("ExtentsFrom(%d) gives %+v where %d is next; Extents says kind %d", off, e, pos, kind)
		}
		pos += e.Length
		if pos > off+64<<20 {
			return
		}
	}
	if pos != img.Size() {
		t.Fatalf("ExtentsFrom(%d) ends at %d; want %d", off, pos, img.Size())
	}
}

func testConcurrent(t *testing.T, img disk.Image, want []byte) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 9))
			buf := make([]byte, 100<<10)
			for range 40 {
				off := r.IntN(len(want))
				n := min(len(buf), len(want)-off)
				if k, err := img.ReadAt(buf[:n], int64(off)); k != n || err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("one of 4 goroutines: ReadAt(%d bytes, %d) = %d, %v", n, off, k, err)
				}
				if !bytes.Equal(buf[:n], want[off:off+n]) {
					t.Errorf("one of 4 goroutines: ReadAt(%d bytes, %d) gives other bytes", n, off)
				}
			}
		})
	}
	wg.Wait()
}

// TestTarget checks that dst behaves as [disk.Target] promises. It overwrites
// all of it; dst must have 1 MiB at least.
func TestTarget(t *testing.T, dst disk.Target) {
	t.Helper()
	size := dst.Size()
	want := Content(int(size), 3)
	if n, err := dst.WriteAt(want, 0); n != len(want) || err != nil {
		t.Fatalf("WriteAt(%d bytes, 0) = %d, %v", len(want), n, err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	for range 50 {
		off := r.Int64N(size/512) * 512
		n := min(512+r.Int64N(128)*512, size-off)
		if err := dst.Zero(off, n); err != nil {
			t.Fatalf("Zero(%d, %d): %v", off, n, err)
		}
		clear(want[off : off+n])
		compare(t, dst, want)
	}
	if err := dst.Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
	if err := dst.Zero(0, size); err != nil {
		t.Fatalf("Zero(0, %d): %v", size, err)
	}
	clear(want)
	compare(t, dst, want)
	for _, bad := range [][2]int64{{-512, 512}, {0, size + 512}, {size, 512}, {512, -512}, {1 << 62, 1 << 62}} {
		if err := dst.Zero(bad[0], bad[1]); err == nil {
			t.Errorf("Zero(%d, %d) of %d bytes = nil; want an error", bad[0], bad[1], size)
		}
	}
	if n, err := dst.WriteAt([]byte{1, 2}, size-1); err == nil {
		t.Errorf("WriteAt(2 bytes, %d of %d) = %d, nil; want an error", size-1, size, n)
	}
	if got := dst.Size(); got != size {
		t.Errorf("Size() = %d in the end; want %d as before", got, size)
	}
}

func compare(t *testing.T, r io.ReaderAt, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := r.ReadAt(got, 0); n != len(want) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("ReadAt(%d bytes, 0) = %d, %v", len(want), n, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the target holds other bytes than were written and cleared")
	}
}
