package disk_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
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
