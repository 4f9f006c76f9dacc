package disk_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

// sparse writes b to a new raw file with holes where 4 KiB of it are zero.
func sparse(t *testing.T, b []byte) *disk.Raw {
	t.Helper()
	r, err := disk.CreateRaw(filepath.Join(t.TempDir(), "raw"), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	for off := 0; off < len(b); off += 4096 {
		page := b[off:min(off+4096, len(b))]
		if bytes.Count(page, []byte{0}) == len(page) {
			continue
		}
		if _, err := r.WriteAt(page, int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestCopyPlain(t *testing.T) {
	for _, size := range []int{512, 64 << 10, disk.BlockSize, disk.BlockSize + 512, 5*disk.BlockSize - 1024} {
		want := disktest.Content(size, uint64(size))
		src := sparse(t, want)
		path := filepath.Join(t.TempDir(), "target")
		dst, err := disk.CreateRaw(path, int64(size))
		if err != nil {
			t.Fatal(err)
		}
		st, err := disk.Copy(context.Background(), dst, disk.Whole(src), disk.Options{})
		if err != nil {
			t.Fatalf("Copy of %d bytes: %v", size, err)
		}
		if err := dst.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("copy of %d bytes differs", size)
		}
		if st.Bytes != int64(size) || st.Written+st.Zero != st.Bytes || st.Skipped != 0 {
			t.Errorf("Copy of %d bytes = %+v; want Written+Zero = Bytes = size", size, st)
		}
	}
}

// A disk far larger than memory, with data here and there.
func TestHugeDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const size = 2 << 40
	dir := t.TempDir()
	src, err := disk.CreateRaw(filepath.Join(dir, "src"), size)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for off := int64(1 << 30); off < size; off += 100<<30 + 12345 {
		if _, err := src.WriteAt([]byte("data"), off); err != nil {
			t.Fatal(err)
		}
	}
	dst, err := disk.CreateRaw(filepath.Join(dir, "dst"), size)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	d, err := disk.CreateDigests(filepath.Join(dir, "digests"), "", size, disk.Whole(src))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	o := disk.Options{Digests: d, Workers: 8}
	st, err := disk.Copy(t.Context(), dst, disk.Whole(src), o)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	t.Logf("%+v, %d MiB allocated in all", st, (after.TotalAlloc-before.TotalAlloc)>>20)
	if st.Read > 2<<20 || st.Bytes != size {
		t.Errorf("Copy = %+v; want less than 2 MiB read of %d bytes", st, int64(size))
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("Copy allocates %d MiB; want less than 64 for any disk", used>>20)
	}
	if st, err := disk.Verify(t.Context(), dst, disk.Whole(src), o); err != nil || st.Bytes != size {
		t.Errorf("Verify = %+v, %v", st, err)
	}
}
