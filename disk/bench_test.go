package disk_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

// benchDir is where benchmarks put their files: set BENCH_DIR to a tmpfs to
// measure the engine rather than the disk.
func benchDir(b *testing.B) string {
	b.Helper()
	base := os.Getenv("BENCH_DIR")
	if base == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(base, "bench") //nolint:usetesting // another file system than b.TempDir is on
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// BenchmarkCopy copies a file that is in memory to a new file.
func BenchmarkCopy(b *testing.B) {
	const size = 256 << 20
	dir := benchDir(b)
	src, err := disk.CreateRaw(filepath.Join(dir, "src"), size)
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	content := disktest.Content(16<<20, 1)
	for i := range content {
		content[i] |= 1 // all data
	}
	for off := int64(0); off < size; off += int64(len(content)) {
		if _, err := src.WriteAt(content, off); err != nil {
			b.Fatal(err)
		}
	}
	for _, hash := range []bool{false, true} {
		for _, workers := range []int{1, 2, 4, 8} {
			b.Run(fmt.Sprintf("hash=%t/workers=%d", hash, workers), func(b *testing.B) {
				b.SetBytes(size)
				b.ReportAllocs()
				for range b.N {
					copyOnce(b, dir, src, hash, workers)
				}
			})
		}
	}
}

func copyOnce(b *testing.B, dir string, src *disk.Raw, hash bool, workers int) {
	b.Helper()
	b.StopTimer()
	path := filepath.Join(dir, "dst")
	dst, err := disk.CreateRaw(path, src.Size())
	if err != nil {
		b.Fatal(err)
	}
	o := disk.Options{Workers: workers}
	if hash {
		if o.Digests, err = disk.CreateDigests(path+".digests", "", src.Size(), disk.Whole(src)); err != nil {
			b.Fatal(err)
		}
		defer os.Remove(path + ".digests")
		defer o.Digests.Close()
	}
	b.StartTimer()
	if _, err := disk.Copy(context.Background(), dst, disk.Whole(src), o); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	dst.Close()
	os.Remove(path)
}
