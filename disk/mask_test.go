package disk_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

// masked is an image that hides some of its extents.
type masked struct {
	lying
	name string
}

func (m masked) Mask() string { return m.name }

// What is unused isn't read, and digests made with one mask don't serve for
// another, or none.
func TestMask(t *testing.T) {
	const size = 2 * disk.BlockSize
	content := bytes.Repeat([]byte{1}, size)
	img := disk.FromReaderAt(bytes.NewReader(content), size)
	hidden := lying{img, []disk.Extent{
		{Length: disk.BlockSize},
		{Offset: disk.BlockSize, Length: disk.BlockSize, Kind: disk.Unused},
	}, nil}
	of := func(name string) []disk.Mapping { return disk.Whole(masked{hidden, name}) }
	path := filepath.Join(disktest.FastDir(t), "digests")
	d, err := disk.CreateDigests(path, "a", size, of("one"))
	if err != nil {
		t.Fatal(err)
	}
	dst := newMemory(bytes.Repeat([]byte{0xff}, size))
	st, err := disk.Copy(context.Background(), dst, of("one"), disk.Options{Digests: d})
	if err != nil || st.Read != disk.BlockSize || st.Zero != disk.BlockSize {
		t.Errorf("Copy = %+v, %v; want one block read and one of zeros", st, err)
	}
	if want := append(content[:disk.BlockSize:disk.BlockSize], make([]byte, disk.BlockSize)...); !bytes.Equal(dst.now, want) {
		t.Error("what is unused isn't zero on the target")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for name, maps := range map[string][]disk.Mapping{"another mask": of("two"), "no mask": disk.Whole(img)} {
		if _, err := disk.OpenDigests(path, "a", size, maps); !errors.Is(err, disk.ErrOtherPlan) {
			t.Errorf("OpenDigests with %s = %v; want %v", name, err, disk.ErrOtherPlan)
		}
	}
	if d, err = disk.OpenDigests(path, "a", size, of("one")); err != nil {
		t.Fatal(err)
	}
	if known, total, err := d.Blocks(); known != 2 || total != 2 || err != nil {
		t.Errorf("Blocks = %d, %d, %v; want 2, 2, nil", known, total, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// A copy that was begun before there were masks goes on: this is the file of one.
func TestDigestsBeforeMasks(t *testing.T) {
	const size = 3 * disk.BlockSize
	head, err := hex.DecodeString("4553584f4455530100004000000000000000c000000000000300000000000000" +
		"a84d65193e6f12229b4271b35a22e390db3a02b99b3cffb1ac850b65e2edc8e4")
	if err != nil {
		t.Fatal(err)
	}
	first, err := hex.DecodeString("bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8")
	if err != nil {
		t.Fatal(err)
	}
	file := make([]byte, 4096+3*len(first))
	copy(file, head)
	copy(file[4096:], first)
	path := filepath.Join(t.TempDir(), "digests")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	src := disk.FromReaderAt(bytes.NewReader(bytes.Repeat([]byte("esxodus "), disk.BlockSize/8)), disk.BlockSize)
	maps := []disk.Mapping{{Source: src, TargetOffset: disk.BlockSize, Length: disk.BlockSize}}
	d, err := disk.OpenDigests(path, "[ds] web/web.vmdk deadbeef", size, maps)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	dst := newMemory(make([]byte, size))
	if st, err := disk.Copy(context.Background(), dst, maps, disk.Options{Digests: d}); err != nil || st.Skipped != disk.BlockSize {
		t.Errorf("Copy = %+v, %v; want one block skipped", st, err)
	}
	if _, err := disk.Verify(context.Background(), dst, maps, disk.Options{Digests: d}); err != nil {
		t.Error(err)
	}
}

// grumpy is an image that mustn't be read where its mask hides it.
type grumpy struct {
	disk.Image

	t      *testing.T
	hidden []disk.Range
}

func (g grumpy) ReadAt(p []byte, off int64) (int, error) {
	for _, r := range g.hidden {
		if off < r.Offset+r.Length && r.Offset < off+int64(len(p)) {
			g.t.Errorf("%d bytes at %d were read, of which %v is hidden", len(p), off, r)
		}
	}
	return g.Image.ReadAt(p, off)
}

// What a mask hides reads as zeros, all else as it is; the image is left alone
// there, at its ends too.
func TestMasked(t *testing.T) {
	const size = 1<<20 + 512
	content := bytes.Repeat([]byte{7}, size)
	for name, hidden := range map[string][]disk.Range{
		"the middle":     {{Offset: 4096, Length: 8192}},
		"both ends":      {{Length: 512}, {Offset: size - 1024, Length: 1024}},
		"all":            {{Length: size}},
		"many, unevenly": {{Offset: 1, Length: 1}, {Offset: 3, Length: 70000}, {Offset: 90000, Length: 300001}, {Offset: 400000, Length: 65536}},
		"nothing":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			m, err := disk.NewMask(size, hidden)
			if err != nil {
				t.Fatal(err)
			}
			want, sum := bytes.Clone(content), int64(0)
			for _, r := range hidden {
				clear(want[r.Offset : r.Offset+r.Length])
				sum += r.Length
			}
			if m.Unused() != sum {
				t.Errorf("Unused() = %d; want %d", m.Unused(), sum)
			}
			disktest.TestImage(t, m.Over(grumpy{disk.FromReaderAt(bytes.NewReader(content), size), t, hidden}), want)
		})
	}
}

// The extents of a masked image are those of the image, cut where the mask hides
// data: what was zero stays zero.
func TestMaskedExtents(t *testing.T) {
	const size = 1000 << 10
	of := lying{disk.FromReaderAt(bytes.NewReader(make([]byte, size)), size), []disk.Extent{
		{Length: 300 << 10}, {Offset: 300 << 10, Length: 300 << 10, Kind: disk.Zero}, {Offset: 600 << 10, Length: 400 << 10},
	}, nil}
	m, err := disk.NewMask(size, []disk.Range{{Offset: 100 << 10, Length: 50 << 10}, {Offset: 250 << 10, Length: 400 << 10}, {Offset: 990 << 10, Length: 10 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	want := []disk.Extent{
		{Length: 100 << 10},
		{Offset: 100 << 10, Length: 50 << 10, Kind: disk.Unused},
		{Offset: 150 << 10, Length: 100 << 10},
		{Offset: 250 << 10, Length: 50 << 10, Kind: disk.Unused},
		{Offset: 300 << 10, Length: 300 << 10, Kind: disk.Zero},
		{Offset: 600 << 10, Length: 50 << 10, Kind: disk.Unused},
		{Offset: 650 << 10, Length: 340 << 10},
		{Offset: 990 << 10, Length: 10 << 10, Kind: disk.Unused},
	}
	i := 0
	for e, err := range m.Over(of).Extents() {
		if err != nil || i >= len(want) || e != want[i] {
			t.Fatalf("extent %d = %+v, %v; want %+v", i, e, err, want[min(i, len(want)-1)])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d extents; want %d", i, len(want))
	}
}

// A mask is the same when it is read back; one that somebody has damaged is refused.
func TestMaskFile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var ranges []disk.Range
	at := int64(0)
	for range 1000 {
		at += 1 + r.Int64N(1<<20)
		ranges = append(ranges, disk.Range{Offset: at, Length: 1 + r.Int64N(1<<30)})
		at += ranges[len(ranges)-1].Length
	}
	m, err := disk.NewMask(at+5, ranges)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "scsi0:0.unused")
	for range 2 { // the second replaces the first
		if err := m.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	again, err := disk.LoadMask(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.Size() != m.Size() || again.Unused() != m.Unused() || again.Unused() == 0 {
		t.Errorf("LoadMask: %d of %d bytes unused; want %d of %d", again.Unused(), again.Size(), m.Unused(), m.Size())
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "cut": whole[:len(whole)-1], "longer": append(bytes.Clone(whole), 0),
		"a bit flipped": append(append(bytes.Clone(whole[:500]), whole[500]^4), whole[501:]...),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := disk.LoadMask(path); !errors.Is(err, disk.ErrDamaged) {
			t.Errorf("LoadMask of a file that is %s: %v; want %v", name, err, disk.ErrDamaged)
		}
	}
	if err := disk.RemoveMask(path); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.LoadMask(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadMask after RemoveMask = %v; want %v", err, fs.ErrNotExist)
	}
}

func TestMaskRefused(t *testing.T) {
	for name, ranges := range map[string][]disk.Range{
		"empty range":      {{Offset: 5}},
		"negative":         {{Offset: -1, Length: 5}},
		"beyond the end":   {{Offset: 90, Length: 11}},
		"overflow":         {{Offset: 90, Length: 1<<63 - 1}},
		"not ascending":    {{Offset: 50, Length: 1}, {Offset: 20, Length: 1}},
		"overlapping":      {{Offset: 20, Length: 10}, {Offset: 29, Length: 1}},
		"touching":         {{Offset: 20, Length: 10}, {Offset: 30, Length: 1}},
		"more than it may": make([]disk.Range, 1<<20+1),
	} {
		if _, err := disk.NewMask(100, ranges); err == nil {
			t.Errorf("NewMask, %s: no error", name)
		}
	}
}
