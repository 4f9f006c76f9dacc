package disk_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
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
