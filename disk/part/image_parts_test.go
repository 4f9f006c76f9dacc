package part

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/disk"
)

// striped is an image of extents of 100 bytes, every other one zero.
type striped struct{ memory }

func (s striped) Extents() iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for off := int64(0); off < s.Size(); off += 100 {
			kind := disk.Data
			if off%200 == 100 {
				kind = disk.Zero
			}
			if !yield(disk.Extent{Offset: off, Length: min(100, s.Size()-off), Kind: kind}, nil) {
				return
			}
		}
	}
}

func TestSection(t *testing.T) {
	b := make([]byte, 950)
	rand.NewChaCha8([32]byte{}).Read(b)
	img := striped{newMemory(b)}
	for _, tt := range []struct {
		name           string
		off, n, wantAt int64
		wantSize       int64
		extents        []disk.Extent
	}{
		{"inside one", 110, 50, 110, 50, []disk.Extent{{Length: 50, Kind: disk.Zero}}},
		{"across", 150, 200, 150, 200, []disk.Extent{{Length: 50, Kind: disk.Zero}, {Offset: 50, Length: 100}, {Offset: 150, Length: 50, Kind: disk.Zero}}},
		{"up to the end", 900, 500, 900, 50, []disk.Extent{{Length: 50, Kind: disk.Zero}}},
		{"beyond the end", 2000, 10, 950, 0, nil},
		{"negative", -5, -5, 0, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Section(img, tt.off, tt.n)
			if s.Size() != tt.wantSize {
				t.Fatalf("size = %d; want %d", s.Size(), tt.wantSize)
			}
			got, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()+10))
			if want := b[tt.wantAt : tt.wantAt+tt.wantSize]; err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %x, %v; want %x", got, err, want)
			}
			var es []disk.Extent
			for e, err := range s.Extents() {
				if err != nil {
					t.Fatal(err)
				}
				es = append(es, e)
			}
			if diff := cmp.Diff(tt.extents, es); diff != "" {
				t.Errorf("extents (-want +got):\n%s", diff)
			}
			if n, err := s.ReadAt(make([]byte, 20), tt.wantSize); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("ReadAt the end = %d, %v; want 0, EOF", n, err)
			}
			if _, err := s.ReadAt(make([]byte, 1), -1); err == nil {
				t.Error("ReadAt(-1) succeeds")
			}
		})
	}
}

func TestCached(t *testing.T) {
	b := make([]byte, 20<<20+123)
	rand.NewChaCha8([32]byte{}).Read(b)
	m := newMemory(b)
	c := Cached(m)
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		off := r.Int64N(int64(len(b)))
		p := make([]byte, r.IntN(3000)+1)
		want := b[off:min(int64(len(b)), off+int64(len(p)))]
		n, err := c.ReadAt(p, off)
		if n != len(want) || !bytes.Equal(p[:n], want) || (err != nil) != (n < len(p)) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("ReadAt(%d, %d) = %d, %v; want %d", len(p), off, n, err, len(want))
		}
	}
	cache := c.(*cached).cache
	if held := cache.recent.Len(); held > cacheBlocks || len(cache.blocks) != held {
		t.Errorf("%d blocks held, %d known; want at most %d", held, len(cache.blocks), cacheBlocks)
	}
	before := len(*m.reads)
	p := make([]byte, 10)
	for i := range int64(1000) {
		if _, err := c.ReadAt(p, 5<<20+i*60); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(*m.reads) - before; n > 2 {
		t.Errorf("1000 small reads side by side cost %d; want at most 2", n)
	}
	before = len(*m.reads)
	long := make([]byte, mib)
	if n, err := c.ReadAt(long, 7<<20+1); n != mib || err != nil || !bytes.Equal(long, b[7<<20+1:8<<20+1]) {
		t.Errorf("ReadAt of a MiB = %d, %v; want all of it", n, err)
	}
	if n := len(*m.reads) - before; n != 1 {
		t.Errorf("a long read costs %d; want 1", n)
	}
	if _, err := Cached(broken{size: mib}).ReadAt(p, 0); !errors.Is(err, errBroken) {
		t.Errorf("ReadAt: %v; want the cause", err)
	}
}

// TestCacheShared: what was read by way of one image of a disk the other has, too; but not
// an image of another disk, nor one that comes after Forget.
func TestCacheShared(t *testing.T) {
	b := make([]byte, 20*mib)
	rand.NewChaCha8([32]byte{}).Read(b)
	m, guard := newMemory(b), newMemory(b)
	var c Cache
	img := c.Image(m)
	seen := Through(img, func(below disk.Image) disk.Image {
		if below.(memory).reads != m.reads {
			t.Errorf("below is %v", below)
		}
		return guard
	})
	read := func(img disk.Image, off int64, n int, want ...int64) {
		t.Helper()
		*m.reads, *guard.reads = nil, nil
		p := make([]byte, n)
		if _, err := img.ReadAt(p, off); err != nil || !bytes.Equal(p, b[off:off+int64(n)]) {
			t.Errorf("ReadAt(%d, %d): %v, or other bytes", n, off, err)
		}
		if got := slices.Concat(*m.reads, *guard.reads); !slices.Equal(got, want) {
			t.Errorf("ReadAt(%d, %d) read at %d; want %d", n, off, got, want)
		}
	}
	read(seen, mib, 72<<10, mib) // two blocks in one
	if len(*m.reads) > 0 {
		t.Error("the guard was passed over")
	}
	read(img, mib+64<<10, 64<<10)
	read(img, mib-64<<10, 4*64<<10, mib-64<<10, mib+128<<10) // but the two
	read(Cached(img), mib, 1)
	read(c.Image(m), mib, 1, mib)
	read(c.Image(m), 2*mib, 17*mib, 2*mib) // isn't kept
	for off := int64(0); off < 20*mib; off += cacheBlock {
		read(img, off, 1, slices.DeleteFunc([]int64{off}, func(off int64) bool { return off >= mib-64<<10 && off < mib+3*64<<10 })...)
	}
	if held := c.recent.Len(); held != cacheBlocks || len(c.blocks) != held {
		t.Errorf("%d blocks held, %d known; want %d of all images", held, len(c.blocks), cacheBlocks)
	}
	c.Forget()
	if len(c.blocks) > 0 || len(c.spare) != cacheBlocks {
		t.Errorf("%d blocks after Forget, room for %d; want none and %d", len(c.blocks), len(c.spare), cacheBlocks)
	}
	read(c.Image(m), 19*mib, 1, 19*mib)
	read(c.Image(newMemory(b[:mib+1])), mib, 1) // a short block in the memory of a long one
}

// fatImage is a FAT with a few files, made by mtools.
func fatImage(tb testing.TB, bits string, size int64) string {
	tb.Helper()
	path := blank(tb, size)
	run(tb, "", "mkfs.vfat", "-F", bits, path)
	run(tb, "", "mmd", "-i", path, "::EFI", "::EFI/debian", "::many")
	run(tb, strings.Repeat("0123456789abcdef", 3000), "mcopy", "-i", path, "-", "::EFI/debian/a loader with a long name.efi")
	run(tb, "", "mcopy", "-i", path, "-", "::empty")
	argv, dir := []string{"mcopy", "-i", path}, tb.TempDir()
	for i := range 40 {
		file := filepath.Join(dir, fmt.Sprintf("file number %d", i))
		if err := os.WriteFile(file, fmt.Append(nil, i), 0o600); err != nil {
			tb.Fatal(err)
		}
		argv = append(argv, file)
	}
	run(tb, "", append(argv, "::many")...)
	return path
}

func TestFAT(t *testing.T) {
	for _, tt := range []struct {
		bits string
		size int64
	}{{"12", 2 * mib}, {"16", 16 * mib}, {"32", 40 * mib}} {
		t.Run(tt.bits, func(t *testing.T) {
			img := open(t, fatImage(t, tt.bits, tt.size))
			fsys, err := FAT(img, img.size)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{
				"EFI/debian/a loader with a long name.efi": strings.Repeat("0123456789abcdef", 3000),
				"efi/DEBIAN/A Loader with a long name.EFI": strings.Repeat("0123456789abcdef", 3000),
				"empty": "", "many/file number 39": "39",
			} {
				if got, err := fs.ReadFile(fsys, name); err != nil || string(got) != want {
					t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
				}
			}
			if es, err := fs.ReadDir(fsys, "many"); err != nil || len(es) != 40 {
				t.Errorf("ReadDir(many) = %d, %v; want 40", len(es), err)
			}
			if _, err := fs.ReadFile(fsys, "none"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("none: %v; want ErrNotExist", err)
			}
		})
	}
}

func TestFATHostile(t *testing.T) {
	b, err := os.ReadFile(fatImage(t, "16", 16*mib))
	if err != nil {
		t.Fatal(err)
	}
	f, ok := parseFATBoot(b)
	if !ok {
		t.Fatal("no FAT made")
	}
	table := func(cluster, value int64) func([]byte) {
		return func(b []byte) {
			at := f.fatStart() + 2*cluster
			b[at], b[at+1] = byte(value), byte(value>>8)
		}
	}
	for _, tt := range []struct {
		name  string
		spoil func(b []byte)
		err   string
	}{
		{"circle", func(b []byte) { table(500, 501)(b); table(501, 502)(b); table(502, 500)(b) }, "malformed fat: 3 clusters form a circle"},
		{"chain to itself", table(700, 700), "malformed fat: 1 clusters form a circle"},
		{"joined", func(b []byte) { table(600, 602)(b); table(601, 602)(b) }, "malformed fat: cluster 601 is followed by 602, which is outside or has another predecessor"},
		{"outside", table(600, 0xfff0), "malformed fat: cluster 600 is followed by 65520, which is outside or has another predecessor"},
		{"too large", func(b []byte) { b[19], b[20] = 0, 0; copy(b[32:], "\xff\xff\xff\x7f") }, "malformed fat: it claims 1099511627264 bytes of 16777216"},
		{"one table", func(b []byte) { b[16] = 1 }, "fat: 1 allocation tables; only 2 can be read here"},
		{"no boot sector", func(b []byte) { b[11] = 7 }, "malformed fat: impossible boot sector"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(b)
			tt.spoil(b)
			_, err := FAT(bytes.NewReader(b), int64(len(b)))
			if err == nil || err.Error() != tt.err {
				t.Errorf("FAT: %v; want %s", err, tt.err)
			}
		})
	}
	fsys, err := FAT(broken{size: int64(len(b))}, int64(len(b)))
	if !errors.Is(err, errBroken) {
		t.Errorf("FAT of a broken link = %v, %v; want the cause", fsys, err)
	}
}

func FuzzFAT(f *testing.F) {
	var images [][]byte
	for _, i := range []struct {
		bits string
		size int64
	}{{"12", mib}, {"16", 9 * mib}, {"32", 34 * mib}} {
		path := blank(f, i.size)
		run(f, "", "mkfs.vfat", "-F", i.bits, path)
		run(f, "", "mmd", "-i", path, "::EFI")
		run(f, "content", "mcopy", "-i", path, "-", "::EFI/a long file name")
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		images = append(images, b)
	}
	f.Add(uint8(0), uint32(11), uint64(0x0002), uint32(512), uint64(0xffffff))
	f.Add(uint8(1), uint32(13), uint64(1), uint32(2048), uint64(0x0003fff8))
	f.Add(uint8(2), uint32(36), uint64(1<<31), uint32(16384), uint64(2))
	f.Fuzz(func(t *testing.T, which uint8, at1 uint32, v1 uint64, at2 uint32, v2 uint64) {
		b := bytes.Clone(images[int(which)%len(images)])
		for _, p := range []struct {
			at uint32
			v  uint64
		}{{at1, v1}, {at2, v2}} {
			for i := range 8 {
				b[(int(p.at)+i)%len(b)] = byte(p.v >> (8 * i))
			}
		}
		fsys, err := FAT(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		walked := 0
		err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
			if walked++; walked > 100 || err != nil || strings.Count(name, "/") > 5 {
				return fs.SkipAll
			}
			if !d.IsDir() {
				file, err := fsys.Open(name)
				if err != nil {
					return nil
				}
				io.Copy(io.Discard, file)
				file.Close()
			}
			return nil
		})
		if err != nil {
			t.Errorf("WalkDir: %v", err)
		}
	})
}
