package lilo

import (
	"encoding/binary"
	"errors"
	"testing"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// pc is the memory map of a machine with so much memory below 4 GiB and above.
func pc(low, high uint64) []Region {
	ram := []Region{{0, 639 * kib}, {mib, low - mib - 128*kib}}
	if high > 0 {
		ram = append(ram, Region{4 * gib, high})
	}
	return ram
}

func TestPlace(t *testing.T) {
	modern := Setup{Version: 0x20f, InitrdMax: 0x7fffffff, Preferred: 16 * mib, Need: 44 * mib}
	with := func(change func(*Setup)) Setup {
		s := modern
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name         string
		setup        Setup
		ram          []Region
		rest, initrd uint64
		want         uint64
		err          error
	}{
		// As measured with the same sizes on real machines.
		{name: "256 MiB", setup: modern, ram: pc(256*mib, 0), rest: 8 * mib, initrd: 30 * mib, want: 256*mib - 128*kib - 30*mib},
		{name: "1 GiB", setup: modern, ram: pc(gib, 0), rest: 8 * mib, initrd: 30 * mib, want: gib - 128*kib - 30*mib},
		{name: "3 GiB: below initrd_addr_max", setup: modern, ram: pc(3*gib, 0), rest: 8 * mib, initrd: 30 * mib, want: 2*gib - 30*mib},
		{name: "8 GiB", setup: modern, ram: pc(2*gib, 6*gib), rest: 8 * mib, initrd: 30 * mib, want: 2*gib - 128*kib - 30*mib},
		{name: "start of a page", setup: modern, ram: pc(gib, 0), rest: 8 * mib, initrd: 30*mib + 1, want: gib - 128*kib - 30*mib - 4*kib},
		{name: "no initrd", setup: modern, ram: pc(gib, 0), rest: 8 * mib},
		{name: "no limit", setup: with(func(s *Setup) { s.InitrdMax = 0xffffffff }), ram: pc(3*gib, gib), rest: 8 * mib, initrd: 30 * mib, want: 3*gib - 128*kib - 30*mib},
		{name: "up to 4 GiB", setup: with(func(s *Setup) { s.InitrdMax = 0xffffffff }), ram: []Region{{mib, 4*gib - mib}}, rest: 8 * mib, initrd: 4 * kib, want: 4*gib - 4*kib},
		{name: "region over 4 GiB", setup: with(func(s *Setup) { s.InitrdMax = 0xffffffff }), ram: []Region{{mib, 8 * gib}}, rest: 8 * mib, initrd: 4 * kib, want: 4*gib - 4*kib},
		{name: "higher of two regions", setup: modern, ram: []Region{{512 * mib, 64 * mib}, {mib, 255 * mib}}, rest: 8 * mib, initrd: 30 * mib, want: 576*mib - 30*mib},
		{name: "higher one is too small", setup: modern, ram: []Region{{mib, 255 * mib}, {512 * mib, 29 * mib}}, rest: 8 * mib, initrd: 30 * mib, want: 256*mib - 30*mib},
		{name: "limit inside a region", setup: with(func(s *Setup) { s.InitrdMax = 0x37ffffff }), ram: pc(gib, 0), rest: 8 * mib, initrd: 30 * mib, want: 0x38000000 - 30*mib},
		{name: "exactly", setup: modern, ram: []Region{{mib, 89 * mib}}, rest: 8 * mib, initrd: 30 * mib, want: 60 * mib},
		{name: "a byte less", setup: modern, ram: []Region{{mib, 89*mib - 1}}, rest: 8 * mib, initrd: 30 * mib, err: ErrInitrdRoom},
		{name: "kernel fits exactly", setup: modern, ram: []Region{{mib, 59 * mib}}, rest: 8 * mib},
		{name: "kernel doesn't fit", setup: modern, ram: []Region{{mib, 59*mib - 1}}, rest: 8 * mib, err: ErrKernelRoom},
		{name: "hole at 15 MiB", setup: modern, ram: []Region{{mib, 14 * mib}, {16 * mib, gib}}, rest: 8 * mib, initrd: mib, err: ErrKernelRoom},
		{name: "no memory map", setup: modern, rest: 8 * mib, initrd: mib, err: ErrKernelRoom},
		{name: "old protocol", setup: Setup{Version: 0x209, InitrdMax: 0x37ffffff}, ram: pc(64*mib, 0), rest: 8 * mib, initrd: 30 * mib, want: 64*mib - 128*kib - 30*mib},
		{name: "old protocol, small", setup: Setup{Version: 0x209, InitrdMax: 0x37ffffff}, ram: pc(32*mib, 0), rest: 8 * mib, initrd: 8 * mib, err: ErrInitrdRoom},
		{name: "kernel larger than it says", setup: with(func(s *Setup) { s.Preferred, s.Need = mib, mib }), ram: pc(64*mib, 0), rest: 40 * mib, initrd: 30 * mib, err: ErrInitrdRoom},
		{name: "preferred below 1 MiB", setup: with(func(s *Setup) { s.Preferred, s.Need = 0, 20*mib }), ram: pc(32*mib, 0), rest: mib, initrd: 10 * mib, want: 32*mib - 128*kib - 10*mib},
		{name: "preferred beyond all", setup: with(func(s *Setup) { s.Preferred = 1 << 40 }), ram: pc(gib, 0), rest: mib, err: ErrKernelRoom},
		{name: "limit below the kernel", setup: with(func(s *Setup) { s.InitrdMax = 50 * mib }), ram: pc(gib, 0), rest: mib, initrd: mib, err: ErrInitrdRoom},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.setup.Place(tt.ram, tt.rest, tt.initrd)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Place = %#x, %v; want %#x, %v", got, err, tt.want, tt.err)
			}
			if got+tt.initrd > uint64(tt.setup.InitrdMax)+1 || got&4095 != 0 || got != 0 && got < tt.setup.Floor(tt.rest) {
				t.Errorf("Place = %#x, which can't be", got)
			}
		})
	}
}

func TestParseSetup(t *testing.T) {
	le := binary.LittleEndian
	for _, tt := range []struct {
		name   string
		change func(b []byte)
		want   Setup
		err    string
	}{
		{
			name: "new", want: Setup{Version: 0x20f, Size: 40 * 512, InitrdMax: 0x7fffffff, CmdlineMax: 2047, Preferred: 0x1000000, Need: 0x2000000},
		},
		{
			name: "2.02", change: func(b []byte) { le.PutUint16(b[setupVersion:], 0x202); b[setupSects] = 0 },
			want: Setup{Version: 0x202, Size: 5 * 512, InitrdMax: 0x37ffffff, CmdlineMax: 255},
		},
		{
			name: "2.09", change: func(b []byte) { le.PutUint16(b[setupVersion:], 0x209) },
			want: Setup{Version: 0x209, Size: 40 * 512, InitrdMax: 0x7fffffff, CmdlineMax: 2047},
		},
		{name: "2.01", change: func(b []byte) { le.PutUint16(b[setupVersion:], 0x201) }, err: ErrKernel.Error() + ": boot protocol 2.01"},
		{name: "zImage", change: func(b []byte) { b[setupFlags] = 0 }, err: ErrKernel.Error() + ": a zImage"},
		{name: "no header", change: func(b []byte) { b[setupMagic] = 'h' }, err: ErrKernel.Error() + ": no setup header"},
		{name: "much setup code", change: func(b []byte) { b[setupSects] = 65 }, err: ErrKernel.Error() + ": setup code of 33792 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bzImage(39, 4096)
			if tt.change != nil {
				tt.change(b)
			}
			got, err := ParseSetup(b)
			if text(err) != tt.err || got != tt.want {
				t.Errorf("ParseSetup = %+v, %v; want %+v, %s", got, err, tt.want, tt.err)
			}
		})
	}
	if _, err := ParseSetup(make([]byte, setupEnd-1)); !errors.Is(err, ErrKernel) {
		t.Errorf("ParseSetup of a short file: %v", err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzParseSetup(f *testing.F) {
	f.Add(bzImage(39, 1024))
	f.Add(bzImage(0, setupEnd))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSetup(b)
		if err != nil {
			return
		}
		if at, err := s.Place(pc(gib, gib), mib, mib); err == nil && (at < s.Floor(mib) || at+mib > gib) {
			t.Errorf("Place of %+v = %#x", s, at)
		}
	})
}
