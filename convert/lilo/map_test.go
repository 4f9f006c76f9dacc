package lilo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testDisk is a disk in memory on which files lie in pieces.
type testDisk struct {
	bytes []byte
	files map[string][]byte
	free  uint64 // first sector that nothing uses
}

func newTestDisk(n int) *testDisk {
	d := &testDisk{bytes: make([]byte, n*SectorSize), files: map[string][]byte{}, free: 64}
	copy(d.bytes[SectorSize:], "LABELONE")
	return d
}

// file puts content on the disk in pieces of so many sectors, with gaps.
func (d *testDisk) file(path string, content []byte, piece int) File {
	d.files[path] = content
	f := File{Path: path, Size: int64(len(content))}
	for len(content) > 0 {
		n := min(piece, int(sectors(int64(len(content)))))
		copy(d.bytes[d.free*SectorSize:], content[:min(len(content), n*SectorSize)])
		f.Runs = append(f.Runs, Run{LBA: d.free, Count: uint32(n)})
		content = content[min(len(content), n*SectorSize):]
		d.free += uint64(n) + 1
	}
	return f
}

func (d *testDisk) open(path string) (io.ReadCloser, error) {
	b, ok := d.files[path]
	if !ok {
		return nil, fmt.Errorf("%s: not there", path)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// install writes the menu's map, each sector away from the others, and the loader.
func (d *testDisk) install(tb testing.TB, m *Menu, low bool) ([]byte, []uint64) {
	tb.Helper()
	n, err := Sectors(m)
	if err != nil {
		tb.Fatal(err)
	}
	lbas := make([]uint64, n)
	for i := range lbas {
		lbas[i] = d.free
		d.free++
		if i%3 == 0 {
			d.free++
		}
	}
	b, err := Encode(m, lbas, d.open)
	if err != nil {
		tb.Fatal(err)
	}
	for i, lba := range lbas {
		copy(d.bytes[lba*SectorSize:], b[i*SectorSize:][:SectorSize])
	}
	boot, err := BootSector(b, lbas, low)
	if err != nil {
		tb.Fatal(err)
	}
	copy(d.bytes, boot[:])
	if low {
		copy(d.bytes[Stage2Sector*SectorSize:], Stage2())
	}
	return b, lbas
}

// bzImage is what has a kernel's setup header.
func bzImage(setup byte, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i>>8 ^ i)
	}
	le := binary.LittleEndian
	b[setupSects] = setup
	copy(b[setupMagic:], "HdrS")
	le.PutUint16(b[setupVersion:], 0x20f)
	b[setupFlags] = loadedHigh
	le.PutUint32(b[setupInitrd:], 0x7fffffff)
	le.PutUint32(b[setupCmdline:], 2047)
	le.PutUint64(b[setupPref:], 0x1000000)
	le.PutUint32(b[setupInitSize:], 0x2000000)
	return b
}

func testMenu(tb testing.TB, d *testDisk) *Menu {
	tb.Helper()
	video := VideoAsk
	pw, err := NewPassword("open sesame", strings.NewReader("0123456789abcdef"))
	if err != nil {
		tb.Fatal(err)
	}
	initrd := d.file("initrd", bytes.Repeat([]byte("initrd\n"), 3001), 1)
	return &Menu{
		Images: []Image{
			{
				Label: "Linux", Alias: "1", Cmdline: "root=/dev/mapper/vg-root ro", Kernel: d.file("k1", bzImage(39, 90001), 100),
				Initrd: &initrd, Video: &video, Password: pw, Restricted: true, SingleKey: true, Lock: true, Fallback: "LinuxOLD single",
			},
			{Label: "LinuxOLD", Cmdline: strings.Repeat("x", 1500), Kernel: d.file("k2", bzImage(0, 7000), 1)},
		},
		Default: 1, Delay: 30, Timeout: 50, Prompt: true, Serial: &Serial{Port: 1, BPS: 110, Parity: 'e', Bits: 7},
		Message: bytes.Repeat([]byte("hello\n"), 5000), OneShot: "Linux single",
	}
}

// onDisk is the menu as Decode returns it.
func onDisk(m *Menu) *Menu {
	c := *m
	c.Images = append([]Image(nil), m.Images...)
	for i := range c.Images {
		img := &c.Images[i]
		img.Kernel = File{Size: img.Kernel.Size, Runs: trim(img.Kernel)}
		if img.Initrd != nil {
			img.Initrd = &File{Size: img.Initrd.Size, Runs: trim(*img.Initrd)}
		}
	}
	return &c
}

func TestEncodeDecode(t *testing.T) {
	d := newTestDisk(4096)
	full := testMenu(t, d)
	small := &Menu{Images: []Image{{Label: "x", Kernel: d.file("k", bzImage(1, 2000), 9)}}}
	typed := testMenu(t, d)
	typed.OneShotTyped = true
	for _, m := range []*Menu{full, typed, small} {
		b, _ := d.install(t, m, true)
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("Decode: %v", err)
		}
		if diff := cmp.Diff(onDisk(m), got); diff != "" {
			t.Errorf("Decode: (-want +got)\n%s", diff)
		}
	}
}

func TestVerify(t *testing.T) {
	for _, low := range []bool{true, false} {
		d := newTestDisk(4096)
		m := testMenu(t, d)
		_, lbas := d.install(t, m, low)
		if !low {
			clear(d.bytes[SectorSize : 2*SectorSize]) // a file system's
		}
		got, err := Verify(t.Context(), bytes.NewReader(d.bytes), int64(len(d.bytes)))
		want := &Report{
			Low: low, Header: lbas[0], MapSectors: len(lbas), Default: "LinuxOLD", Highest: lbas[len(lbas)-selfLists(len(lbas))-1],
			Images: []Booted{{Label: "Linux", Alias: "1", Kernel: 90001, Initrd: 21007}, {Label: "LinuxOLD", Kernel: 7000}},
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Verify = %v (-want +got)\n%s", err, diff)
		}
	}
}
