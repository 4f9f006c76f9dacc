package lilo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMenuCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(m *Menu)
		want   string
	}{
		{"no images", func(m *Menu) { m.Images = nil }, "0 images: a map holds 1 to 32"},
		{"many images", func(m *Menu) { m.Images = make([]Image, 33) }, "33 images: a map holds 1 to 32"},
		{"default", func(m *Menu) { m.Default = 2 }, "default image 2 of 2"},
		{"timeout", func(m *Menu) { m.Timeout = -1 }, "delay 30, timeout -1: want 0 to 36000 tenths of a second"},
		{"message", func(m *Menu) { m.Message = make([]byte, 65536) }, "message of 65536 bytes: the loader takes 65535"},
		{"one-shot", func(m *Menu) { m.OneShot = "a\tb" }, `one-shot command line "a\tb": only printable ASCII can be in it`},
		{"fallback", func(m *Menu) { m.Images[0].Fallback = strings.Repeat("x", 256) }, `image "Linux": fallback of 256 bytes: the loader takes 255`},
		{"port", func(m *Menu) { m.Serial.Port = 4 }, "serial port 4: want 0 (COM1) to 3 (COM4)"},
		{"rate", func(m *Menu) { m.Serial.BPS = 9601 }, "serial port at 9601 bps: want one of [110 150 300 600 1200 2400 4800 9600 19200 38400 57600 115200]"},
		{"parity", func(m *Menu) { m.Serial.Parity = 'x' }, "serial port's parity 'x': want n, o or e"},
		{"bits", func(m *Menu) { m.Serial.Bits = 9 }, "serial port with 9 bits: want 7 or 8"},
		{"no label", func(m *Menu) { m.Images[1].Label = "" }, `image "": label "": want 1 to 15 printable characters without space, quote and =`},
		{"label with =", func(m *Menu) { m.Images[1].Label = "a=b" }, `image "a=b": label "a=b": want 1 to 15 printable characters without space, quote and =`},
		{"long alias", func(m *Menu) { m.Images[1].Alias = "0123456789abcdef" }, `image "LinuxOLD": label "0123456789abcdef": want 1 to 15 printable characters without space, quote and =`},
		{"twice", func(m *Menu) { m.Images[1].Alias = "LINUX" }, `image "LinuxOLD": label "LINUX" is used twice (upper and lower case are the same)`},
		{"single key", func(m *Menu) { m.Images[1].SingleKey = true }, `image "LinuxOLD": single-key needs a label or alias of one character`},
		{"command line", func(m *Menu) { m.Images[1].Cmdline = "a\x00" }, `image "LinuxOLD": command line of 2 bytes: want at most 2047 and no NUL`},
		{"empty kernel", func(m *Menu) { m.Images[1].Kernel.Size = 0 }, `image "LinuxOLD": k2: size of 0 bytes: want 1 to 536870912`},
		{"hole", func(m *Menu) { m.Images[1].Kernel.Runs = m.Images[1].Kernel.Runs[1:] }, `image "LinuxOLD": k2: 13 sectors are mapped of 14`},
		{"far", func(m *Menu) { m.Images[0].Initrd.Runs[0].LBA = 1 << 63 }, `image "Linux": initrd: run of 1 sectors at 9223372036854775808 can't be`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := testMenu(t, newTestDisk(4096))
			tt.change(m)
			if err := m.Check(); text(err) != tt.want {
				t.Errorf("Check = %v; want %s", err, tt.want)
			}
			if _, err := Sectors(m); text(err) != tt.want {
				t.Errorf("Sectors: %v; want %s", err, tt.want)
			}
		})
	}
}

func TestEncodeErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(d *testDisk, m *Menu, lbas []uint64)
		want   string
	}{
		{"no kernel", func(d *testDisk, _ *Menu, _ []uint64) { d.files["k2"] = make([]byte, 7000) }, `image "LinuxOLD": k2: ` + ErrKernel.Error() + ": no setup header"},
		{"short kernel", func(d *testDisk, _ *Menu, _ []uint64) { d.files["k2"] = d.files["k2"][:6000] }, `image "LinuxOLD": k2: first 7000 bytes: unexpected EOF`},
		{"short initrd", func(d *testDisk, _ *Menu, _ []uint64) { d.files["initrd"] = d.files["initrd"][:6000] }, `image "Linux": initrd: 21007 bytes before the end: unexpected EOF`},
		{"no initrd", func(d *testDisk, _ *Menu, _ []uint64) { delete(d.files, "initrd") }, `image "Linux": initrd: initrd: not there`},
		{"only setup code", func(d *testDisk, m *Menu, _ []uint64) { m.Images[1].Kernel.Size = 5 * 512 }, `image "LinuxOLD": k2: ` + ErrKernel.Error() + ": 2560 bytes are less than its setup code"},
		{"line for an old kernel", func(d *testDisk, _ *Menu, _ []uint64) { d.files["k2"][setupVersion] = 5 }, `image "LinuxOLD": k2: command line of 1525 bytes with BOOT_IMAGE=: this kernel takes 255`},
		{"sector 0", func(_ *testDisk, _ *Menu, lbas []uint64) { lbas[3] = 0 }, "map: can't lie at sectors 0 to "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newTestDisk(4096)
			m := testMenu(t, d)
			n, err := Sectors(m)
			if err != nil {
				t.Fatal(err)
			}
			lbas := make([]uint64, n)
			for i := range lbas {
				lbas[i] = uint64(600 + i)
			}
			tt.change(d, m, lbas)
			if _, err := Encode(m, lbas, d.open); !strings.HasPrefix(text(err), tt.want) {
				t.Errorf("Encode: %v; want %s", err, tt.want)
			}
			if _, err := Encode(m, lbas[1:], d.open); err == nil {
				t.Error("Encode with a sector less: no error")
			}
		})
	}
}

// reseal gives the sectors sums again that had them, so that what a test
// changes is looked at.
func reseal(b, original []byte) {
	le := binary.LittleEndian
	was, id := le.Uint32(original[headerIDAt:]), le.Uint32(b[headerIDAt:])
	for at := 0; at+SectorSize <= min(len(b), len(original)); at += SectorSize {
		if sealed(original[at:][:SectorSize], was) {
			seal(b[at:][:SectorSize], id)
		}
	}
}

// TestDecodeHostile changes each byte of a map's own sectors in turn, sums made
// right again.
func TestDecodeHostile(t *testing.T) {
	d := newTestDisk(4096)
	m := testMenu(t, d)
	m.Message, m.Images[0].Initrd = []byte("hello"), nil
	original, _ := d.install(t, m, true)
	id := binary.LittleEndian.Uint32(original[headerIDAt:])
	for i := range original {
		if i%64 != 0 && !sealed(original[i&^511:][:SectorSize], id) {
			continue // texts and the loader's code
		}
		for _, v := range []byte{0xff, original[i] ^ 1} {
			b := bytes.Clone(original)
			b[i] = v
			reseal(b, original)
			got, err := Decode(b)
			if err != nil && !errors.Is(err, ErrMap) {
				t.Fatalf("byte %d = %d: %v, which isn't ErrMap", i, v, err)
			}
			if err == nil && got.Check() != nil {
				t.Fatalf("byte %d = %d: Decode returns a menu that can't be: %v", i, v, got.Check())
			}
		}
	}
	for n := 0; n < len(original); n += 511 {
		if _, err := Decode(original[:n]); !errors.Is(err, ErrMap) {
			t.Errorf("Decode of %d bytes: %v; want ErrMap", n, err)
		}
	}
}

// TestVerifyHostile changes bytes of the loader's part of a disk: none may go
// unnoticed.
func TestVerifyHostile(t *testing.T) {
	d := newTestDisk(4096)
	m := testMenu(t, d)
	b, lbas := d.install(t, m, true)
	self := len(lbas) - selfLists(len(lbas))
	check := func(lba uint64, at int) {
		t.Helper()
		b := &d.bytes[lba*SectorSize+uint64(at)]
		*b ^= 0x40
		if r, err := Verify(t.Context(), bytes.NewReader(d.bytes), int64(len(d.bytes))); err == nil {
			t.Errorf("byte %d of sector %d: Verify finds nothing wrong: %+v", at, lba, r)
		}
		*b ^= 0x40
	}
	for at := range SectorSize {
		check(0, at)
	}
	for at := range 8 {
		check(1, at)
	}
	for lba := uint64(Stage2Sector); lba < Stage2Sector+Stage2Sectors; lba++ {
		check(lba, 77)
	}
	// Some lists are longer than they need be.
	for i, lba := range lbas[:self] {
		if !bytes.Equal(b[i*SectorSize:][:sealAt], make([]byte, sealAt)) {
			check(lba, 3)
		}
	}
	for i := range m.Images {
		for _, r := range m.Images[i].Kernel.Runs {
			check(r.LBA, 2)
		}
	}
	for _, r := range m.Images[0].Initrd.Runs {
		check(r.LBA, 2)
	}
}

func TestVerifyErrors(t *testing.T) {
	d := newTestDisk(4096)
	d.install(t, testMenu(t, d), true)
	size := int64(len(d.bytes))
	if _, err := Verify(t.Context(), bytes.NewReader(d.bytes), 300*SectorSize); err == nil || !strings.Contains(err.Error(), "is beyond the disk's end at 300") {
		t.Errorf("Verify of a short disk: %v", err)
	}
	bad := errors.New("bad cable")
	if _, err := Verify(t.Context(), readerAt{iotest.ErrReader(bad)}, size); !errors.Is(err, bad) {
		t.Errorf("Verify of a broken disk: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(bad)
	if _, err := Verify(ctx, bytes.NewReader(d.bytes), size); !errors.Is(err, bad) {
		t.Errorf("Verify when cancelled: %v", err)
	}
	d.bytes[bootTableAt] = 0x80
	if _, err := Verify(t.Context(), bytes.NewReader(d.bytes), size); !errors.Is(err, ErrLoader) || !strings.Contains(err.Error(), "partition table") {
		t.Errorf("Verify with a partition: %v", err)
	}
}

type readerAt struct{ r io.Reader }

func (r readerAt) ReadAt(p []byte, _ int64) (int, error) { return r.r.Read(p) }

func FuzzDecode(f *testing.F) {
	d := newTestDisk(4096)
	original, _ := d.install(f, testMenu(f, d), true)
	f.Add([]byte{})
	f.Add([]byte{0, 12, 1, 0, 80, 9})
	f.Add([]byte{16, 8, 0xff, 16, 9, 0xff})
	// Three bytes are a place and what is put there.
	f.Fuzz(func(t *testing.T, changes []byte) {
		b := bytes.Clone(original)
		for ; len(changes) >= 3; changes = changes[3:] {
			b[int(binary.BigEndian.Uint16(changes))%len(b)] = changes[2]
		}
		reseal(b, original)
		m, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrMap) {
				t.Errorf("Decode: %v, which isn't ErrMap", err)
			}
			return
		}
		if err := m.Check(); err != nil {
			t.Errorf("Decode returns a menu that can't be: %v", err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	d := newTestDisk(2048)
	m := testMenu(f, d)
	mapFile, lbas := d.install(f, m, true)
	f.Add([]byte{0, 12, 1})
	f.Add([]byte{1, 0, 9, 0, 16, 200})
	f.Fuzz(func(t *testing.T, changes []byte) {
		b, c := bytes.Clone(d.bytes), bytes.Clone(mapFile)
		for ; len(changes) >= 3; changes = changes[3:] {
			at := int(binary.BigEndian.Uint16(changes))
			if at < SectorSize {
				b[at] = changes[2]
			} else {
				c[at%len(c)] = changes[2]
			}
		}
		reseal(c, mapFile)
		for i, lba := range lbas {
			copy(b[lba*SectorSize:], c[i*SectorSize:][:SectorSize])
		}
		if r, err := Verify(t.Context(), bytes.NewReader(b), int64(len(b))); err == nil && r.Highest >= uint64(len(b)/SectorSize) {
			t.Errorf("Verify = %+v of a disk of %d sectors", r, len(b)/SectorSize)
		}
	})
}
