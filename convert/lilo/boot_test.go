package lilo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bootable is a disk with two images, of which the first has an initrd.
func bootable(tb testing.TB) (*testDisk, *Menu) {
	tb.Helper()
	d := newTestDisk(16384)
	initrd := d.file("initrd", noise(1<<20+6, 7), 300)
	return d, &Menu{
		Images: []Image{
			{Label: "Linux", Alias: "new", Cmdline: "root=/dev/vg/root ro", Kernel: d.file("vmlinuz", payload(tb, 1<<20, 1), 200), Initrd: &initrd},
			{Label: "LinuxOLD", Cmdline: "root=/dev/old", Kernel: d.file("vmlinuz.old", payload(tb, 70000, 2), 1)},
		},
		Serial: &Serial{Port: 0, BPS: 115200, Parity: 'n', Bits: 8},
	}
}

const (
	autoLinux = "auto BOOT_IMAGE=Linux root=/dev/vg/root ro"
	linux     = "BOOT_IMAGE=Linux root=/dev/vg/root ro"
	autoOld   = "auto BOOT_IMAGE=LinuxOLD root=/dev/old"
)

// starts checks which kernel was started with what command line, and that it
// and the initrd are where and what they should be.
func (m *machine) starts(d *testDisk, menu *Menu, want string) {
	m.tb.Helper()
	got := m.payload()
	if strings.TrimRight(got.line, " ") != want {
		m.tb.Errorf("command line %q; want %q", got.line, want)
	}
	label := strings.Fields(strings.TrimPrefix(want, "auto "))[0]
	img := &menu.Images[0]
	for i := range menu.Images {
		if "BOOT_IMAGE="+menu.Images[i].Label == label {
			img = &menu.Images[i]
		}
	}
	kernel := d.files[img.Kernel.Path]
	setup, err := ParseSetup(kernel)
	if err != nil {
		m.tb.Fatal(err)
	}
	var initrd []byte
	if img.Initrd != nil {
		initrd = d.files[img.Initrd.Path]
	}
	rest := kernel[setup.Size:]
	at, err := setup.Place(got.ram, uint64(len(rest)), uint64(len(initrd)))
	if err != nil {
		m.tb.Fatal(err)
	}
	if got.initrd != at || got.size != uint64(len(initrd)) {
		m.tb.Errorf("initrd of %d bytes at %#x; want %d at %#x", got.size, got.initrd, len(initrd), at)
	}
	wantSums := [2]uint64{uint64(sum(streamSeed, rest)), uint64(sum(streamSeed, initrd[:len(initrd)&^3]))}
	if gotSums := [2]uint64{got.kernelSum, got.initrdSum}; gotSums != wantSums {
		m.tb.Errorf("sums of kernel and initrd in memory %x; want %x", gotSums, wantSums)
	}
	if got.loader != 0xff || got.flags != 0x81 || got.heap != 0xde00 || got.ss != 0x1000 || got.sp != 0xe000 {
		m.tb.Errorf("boot protocol's fields %+v", got)
	}
}

func TestBootsTheDefault(t *testing.T) {
	for _, tt := range []struct {
		name string
		hw   hardware
		low  bool
	}{
		{"virtio-blk", hardware{bus: "virtio-blk"}, true},
		{"virtio-scsi", hardware{bus: "virtio-scsi"}, true},
		{"stage 2 in the map only", hardware{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			d.install(t, m, tt.low)
			vm := tt.hw.boot(t, d.save(t))
			vm.expect("LILO ")
			vm.starts(d, m, autoLinux)
		})
	}
}

// TestPrompt types at the prompt of a loader without time limit.
func TestPrompt(t *testing.T) {
	password, err := NewPassword("open sesame", strings.NewReader("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(m *Menu)
		do     func(vm *machine)
		want   string
	}{
		{
			name: "enter",
			do:   func(vm *machine) { vm.send("\r") },
			want: linux,
		},
		{
			name: "label and arguments",
			do:   func(vm *machine) { vm.send("linuxold  single  init=/bin/sh \r") },
			want: "BOOT_IMAGE=LinuxOLD root=/dev/old single init=/bin/sh",
		},
		{
			name: "alias",
			do:   func(vm *machine) { vm.send("NEW\n") },
			want: linux,
		},
		{
			name: "mistakes rubbed out",
			do: func(vm *machine) {
				vm.send("\b\x7fnonsense\x15Linuy\bx s\x7f\bOLD\r")
			},
			want: "BOOT_IMAGE=LinuxOLD root=/dev/old",
		},
		{
			name: "unknown label",
			do: func(vm *machine) {
				vm.send("Windows 95\r\n")
				vm.expect("No image is called Windows.")
				vm.expect("*Linux/new                             LinuxOLD\n")
				vm.expect("boot: ")
				vm.send("Linux\r\n")
			},
			want: linux,
		},
		{
			name: "list",
			do: func(vm *machine) {
				vm.send("?Li\t")
				vm.expect("*Linux/new")
				vm.expect("*Linux/new")
				vm.expect("boot: Li")
				vm.send("nux\r")
			},
			want: linux,
		},
		{
			name:   "single key",
			change: func(m *Menu) { m.Images[1].Alias, m.Images[1].SingleKey = "2", true },
			do:     func(vm *machine) { vm.send("2") },
			want:   "BOOT_IMAGE=LinuxOLD root=/dev/old",
		},
		{
			name:   "message",
			change: func(m *Menu) { m.Message = []byte("Beware of\nthe dog\n") },
			do:     func(vm *machine) { vm.send("\r") },
			want:   linux,
		},
		{
			name:   "password",
			change: func(m *Menu) { m.Images[0].Password = password },
			do: func(vm *machine) {
				vm.send("\r")
				vm.expect("Password of Linux: ")
				vm.send("open sesam\r")
				vm.expect("That isn't the password.\nboot: ")
				vm.send("\r")
				vm.expect("Password of Linux: ")
				vm.send("opex\bn sesame\r")
			},
			want: linux,
		},
		{
			name:   "restricted, without arguments",
			change: func(m *Menu) { m.Images[0].Password, m.Images[0].Restricted = password, true },
			do:     func(vm *machine) { vm.send("Linux\r") },
			want:   linux,
		},
		{
			name:   "restricted, with arguments",
			change: func(m *Menu) { m.Images[0].Password, m.Images[0].Restricted = password, true },
			do: func(vm *machine) {
				vm.send("Linux single\r")
				vm.expect("Password of Linux: ")
				vm.send("open sesame\r")
			},
			want: linux + " single",
		},
		{
			name: "as many images as there can be",
			change: func(m *Menu) {
				for i := len(m.Images); i < MaxImages; i++ {
					img := m.Images[1]
					img.Label = fmt.Sprintf("image-%d", i)
					m.Images = append(m.Images, img)
				}
				m.Default = MaxImages - 1
			},
			do: func(vm *machine) {
				vm.send("?")
				vm.expect(" Linux/new                             LinuxOLD\n image-2                               image-3\n")
				vm.expect(" image-30                             *image-31\n\nboot: ")
				vm.send("image-30\r")
			},
			want: "BOOT_IMAGE=image-30 root=/dev/old",
		},
		{
			name: "longest message",
			change: func(m *Menu) {
				m.Message = append(bytes.Repeat([]byte("0123456789abcde\n"), MaxMessage/16), "that was it\n"...)
			},
			do:   func(vm *machine) { vm.send("\r") },
			want: linux,
		},
		{
			name:   "longest line",
			change: func(m *Menu) { m.Images[0].Cmdline = strings.Repeat("x", 1700) },
			do:     func(vm *machine) { vm.send("Linux " + strings.Repeat("y", 249) + "zzz\r") },
			want:   "BOOT_IMAGE=Linux " + strings.Repeat("x", 1700) + " " + strings.Repeat("y", 249),
		},
		{
			name:   "too long for the kernel",
			change: func(m *Menu) { m.Images[0].Cmdline = strings.Repeat("x", 2000) },
			do: func(vm *machine) {
				vm.send("Linux " + strings.Repeat("y", 80) + "\r")
				vm.expect("Its command line is too long for this kernel.")
			},
			want: autoOld,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			m.Prompt = true
			if tt.change != nil {
				tt.change(m)
			}
			d.install(t, m, true)
			vm := hardware{}.boot(t, d.save(t))
			vm.expect(string(m.Message) + "\nboot: ")
			tt.do(vm)
			vm.starts(d, m, tt.want)
		})
	}
}

func TestVideoMode(t *testing.T) {
	t.Parallel()
	d, m := bootable(t)
	m.Prompt = true
	mode := VideoMode(0x317)
	m.Images[1].Video = &mode
	d.install(t, m, true)
	disk := d.save(t)
	for _, tt := range []struct {
		typed string
		want  uint64
	}{
		{"Linux", 0},
		{"LinuxOLD", 0x317},
		{"LinuxOLD vga=Ask", 0xfffd},
		{"Linux VGA=normal", 0xffff},
		{"Linux vga=791", 791},
		{"Linux vga=0xF07", 0xf07},
	} {
		vm := hardware{}.boot(t, disk)
		vm.expect("boot: ")
		vm.send(tt.typed + "\r")
		got := vm.payload()
		if got.video != tt.want || strings.Contains(strings.ToLower(got.line), "vga") {
			t.Errorf("%q: video mode %#x, line %q; want %#x", tt.typed, got.video, got.line, tt.want)
		}
		vm.stop()
	}
}

// TestTime lets time pass at the prompt and before it.
func TestTime(t *testing.T) {
	t.Run("timeout", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Prompt, m.Timeout, m.Default = true, 15, 1
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("boot: ")
		start := time.Now()
		vm.starts(d, m, autoOld)
		if took := time.Since(start); took < 1200*time.Millisecond {
			t.Errorf("the prompt waited %v; want 1.5 s", took)
		}
	})
	t.Run("a key ends the timeout", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Prompt, m.Timeout = true, 10
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("boot: ")
		vm.send("L")
		time.Sleep(2 * time.Second)
		vm.send("inuxOLD\r")
		vm.starts(d, m, "BOOT_IMAGE=LinuxOLD root=/dev/old")
	})
	t.Run("delay", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Delay = 15
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("LILO ")
		start := time.Now()
		vm.starts(d, m, autoLinux)
		if took := time.Since(start); took < 1200*time.Millisecond {
			t.Errorf("the loader waited %v; want 1.5 s", took)
		}
	})
	t.Run("a key during the delay", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Delay = 300
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("LILO ")
		vm.send(" ")
		vm.expect("boot: ")
		vm.send("LinuxOLD\r")
		vm.starts(d, m, "BOOT_IMAGE=LinuxOLD root=/dev/old")
	})
	t.Run("Shift during the delay", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Delay = 600
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("LILO ")
		vm.ask("sendkey shift 20000")
		vm.expect("boot: ")
		vm.send("\r")
		vm.starts(d, m, linux)
	})
	t.Run("password in time", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Prompt, m.Timeout = true, 10
		p, err := NewPassword("x", strings.NewReader("0123456789abcdef"))
		if err != nil {
			t.Fatal(err)
		}
		m.Images[0].Password = p
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("Password of Linux: ")
		vm.expect("That isn't the password.\nboot: ")
		vm.send("LinuxOLD\r")
		vm.starts(d, m, "BOOT_IMAGE=LinuxOLD root=/dev/old")
	})
}

// oneShot returns the one-shot line on the disk.
func oneShot(tb testing.TB, disk string, lbas []uint64) string {
	tb.Helper()
	f, err := os.Open(disk)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, len(lbas)*SectorSize)
	for i, lba := range lbas {
		if _, err := f.ReadAt(b[i*SectorSize:][:SectorSize], int64(lba)*SectorSize); err != nil {
			tb.Fatal(err)
		}
	}
	m, err := Decode(b)
	if err != nil {
		tb.Fatal(err)
	}
	return m.OneShot
}

// TestOneShot boots the same disk several times.
func TestOneShot(t *testing.T) {
	for _, tt := range []struct {
		name   string
		bus    string
		change func(m *Menu)
		want   []string // command lines of the boots
		left   string   // the one-shot line after each
	}{
		{
			name:   "once",
			change: func(m *Menu) { m.OneShot = "LinuxOLD single" },
			want:   []string{"BOOT_IMAGE=LinuxOLD root=/dev/old single", autoLinux},
		},
		{
			name:   "on virtio-scsi",
			bus:    "virtio-scsi",
			change: func(m *Menu) { m.OneShot = "LinuxOLD single" },
			want:   []string{"BOOT_IMAGE=LinuxOLD root=/dev/old single", autoLinux},
		},
		{
			name:   "lock",
			change: func(m *Menu) { m.OneShot, m.Images[1].Lock = "LinuxOLD 1", true },
			want:   []string{"BOOT_IMAGE=LinuxOLD root=/dev/old 1", "BOOT_IMAGE=LinuxOLD root=/dev/old 1"},
			left:   "LinuxOLD 1",
		},
		{
			name:   "lock in the line",
			change: func(m *Menu) { m.OneShot = "LinuxOLD lock 1" },
			want:   []string{"BOOT_IMAGE=LinuxOLD root=/dev/old 1", "BOOT_IMAGE=LinuxOLD root=/dev/old 1"},
			left:   "LinuxOLD lock 1",
		},
		{
			name:   "fallback",
			change: func(m *Menu) { m.Images[0].Fallback = "LinuxOLD panic" },
			want:   []string{autoLinux, "BOOT_IMAGE=LinuxOLD root=/dev/old panic", autoLinux},
			left:   "LinuxOLD panic",
		},
		{
			name:   "unknown label",
			change: func(m *Menu) { m.OneShot = "Windows" },
			want:   []string{autoLinux, autoLinux},
		},
		{
			name: "no password for what root left there",
			change: func(m *Menu) {
				m.OneShot = "Linux single"
				m.Images[0].Password = &Password{Rounds: 1}
				m.Default = 1
			},
			want: []string{linux + " single", autoOld},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			tt.change(m)
			_, lbas := d.install(t, m, true)
			disk := d.save(t)
			for i, want := range tt.want {
				vm := hardware{bus: tt.bus}.boot(t, disk)
				vm.starts(d, m, want)
				vm.stop()
				left := tt.left
				if tt.name == "fallback" && i == 1 {
					left = "" // LinuxOLD has none
				}
				if got := oneShot(t, disk, lbas); got != left {
					t.Errorf("after boot %d the line is %q; want %q", i+1, got, left)
				}
			}
		})
	}
}

// TestOneShotOfALockedDisk can't erase the line, so it must not be used: it
// would be used for ever.
func TestOneShotOfALockedDisk(t *testing.T) {
	t.Parallel()
	d, m := bootable(t)
	m.OneShot, m.Images[0].Fallback = "LinuxOLD", "LinuxOLD"
	d.install(t, m, true)
	vm := hardware{locked: true}.boot(t, d.save(t))
	vm.expect("The one-shot command line isn't used, or it would be for ever: it can't be written: disk error ")
	vm.expect("The command line for the next boot can't be written: disk error ")
	vm.starts(d, m, autoLinux)
}

// TestDamage changes the disk after all was installed.
func TestDamage(t *testing.T) {
	// flip changes a byte of a sector.
	flip := func(d *testDisk, lba uint64, at int) { d.bytes[lba*SectorSize+uint64(at)] ^= 0x10 }
	list := func(mapFile []byte, image, ref int) uint64 {
		le := binary.LittleEndian
		lba := le.Uint64(mapFile[headerImageAt+8*image:])
		index, err := ownSectors(mapFile)
		if err != nil {
			t.Fatal(err)
		}
		return le.Uint64(mapFile[index[lba]*SectorSize+ref:])
	}
	for _, tt := range []struct {
		name string
		harm func(d *testDisk, m *Menu, mapFile []byte, lbas []uint64)
		want []string // on the console, in order
		line string   // of the kernel that is started, if any
	}{
		{
			name: "kernel",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) { flip(d, m.Images[0].Kernel.Runs[3].LBA+7, 99) },
			want: []string{"Loading Linux", "Its kernel has changed since lilo ran (wrong sum).", "Booting the next image instead. Run lilo there.", "Loading LinuxOLD"},
			line: autoOld,
		},
		{
			name: "kernel's setup code",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) { flip(d, m.Images[0].Kernel.Runs[0].LBA+4, 511) },
			want: []string{"Its kernel has changed since lilo ran"},
			line: autoOld,
		},
		{
			name: "last byte of the initrd",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) {
				runs := m.Images[0].Initrd.Runs
				flip(d, runs[len(runs)-1].LBA+uint64(runs[len(runs)-1].Count)-1, 5)
			},
			want: []string{"Its initrd has changed since lilo ran"},
			line: autoOld,
		},
		{
			name: "behind the initrd's last byte",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) {
				runs := m.Images[0].Initrd.Runs
				flip(d, runs[len(runs)-1].LBA+uint64(runs[len(runs)-1].Count)-1, 6)
			},
			line: autoLinux,
		},
		{
			name: "kernel's list",
			harm: func(d *testDisk, _ *Menu, b []byte, _ []uint64) { flip(d, list(b, 0, imageKernelAt), 20) },
			want: []string{"Its kernel isn't where lilo left it: sector "},
			line: autoOld,
		},
		{
			name: "command line",
			harm: func(d *testDisk, _ *Menu, b []byte, _ []uint64) { flip(d, list(b, 0, imageCmdlineAt), 20) },
			want: []string{"Its command line isn't where lilo left it: sector "},
			line: autoOld,
		},
		{
			name: "image's entry",
			harm: func(d *testDisk, _ *Menu, b []byte, _ []uint64) {
				flip(d, binary.LittleEndian.Uint64(b[headerImageAt:]), 60)
			},
			want: []string{"The boot map's entry of an image isn't where lilo left it: sector ", "\nboot: "},
		},
		{
			name: "everything",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) {
				flip(d, m.Images[0].Kernel.Runs[3].LBA+7, 99)
				flip(d, m.Images[1].Kernel.Runs[3].LBA, 99)
			},
			want: []string{"Loading Linux", "Loading LinuxOLD", "Its kernel has changed", "No image is left. Start a rescue system", "lilo -v -r /mnt", "\nboot: "},
		},
		{
			name: "beyond the disk's end",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) {
				d.bytes = d.bytes[:m.Images[1].Kernel.Runs[0].LBA*SectorSize]
			},
			want: []string{"LI"},
		},
		{
			name: "map's header",
			harm: func(d *testDisk, _ *Menu, _ []byte, lbas []uint64) { flip(d, lbas[0], 200) },
			want: []string{"LILO", "The boot map isn't where lilo left it: sector ", "Start a rescue system", "lilo -v -r /mnt", "Press a key"},
		},
		{
			name: "another map's header",
			harm: func(d *testDisk, m *Menu, b []byte, lbas []uint64) {
				c := bytes.Clone(b[:SectorSize])
				seal(c, binary.LittleEndian.Uint32(c[headerIDAt:])+1)
				copy(d.bytes[lbas[0]*SectorSize:], c)
			},
			want: []string{"The boot map isn't where lilo left it: sector "},
		},
		{
			name: "overlay",
			harm: func(d *testDisk, _ *Menu, _ []byte, lbas []uint64) { flip(d, lbas[stage2Index+Stage2Sectors], 0) },
			want: []string{"The boot map has changed since lilo ran (wrong sum).", "lilo -v -r /mnt"},
		},
		{
			name: "stage 2 in sectors 2 to 7, as after a power cut",
			harm: func(d *testDisk, _ *Menu, _ []byte, _ []uint64) { flip(d, 5, 0) },
			line: autoLinux,
		},
		{
			name: "stage 2 in the map",
			harm: func(d *testDisk, _ *Menu, _ []byte, lbas []uint64) { flip(d, lbas[stage2Index], 0) },
			line: autoLinux,
		},
		{
			name: "stage 2 in both places",
			harm: func(d *testDisk, _ *Menu, _ []byte, lbas []uint64) {
				flip(d, 5, 0)
				flip(d, lbas[stage2Index], 0)
			},
			want: []string{"LS"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			b, lbas := d.install(t, m, true)
			tt.harm(d, m, b, lbas)
			if _, err := Verify(t.Context(), bytes.NewReader(d.bytes), int64(len(d.bytes))); err == nil && tt.name != "behind the initrd's last byte" {
				t.Errorf("Verify finds nothing wrong")
			} else {
				t.Logf("Verify: %v", err)
			}
			vm := hardware{}.boot(t, d.save(t))
			for _, text := range tt.want {
				vm.expect(text)
			}
			if tt.line != "" {
				vm.starts(d, m, tt.line)
			}
		})
	}
}

// TestPlacesAsGo compares where the loader puts the initrd with what Place says
// for the memory map of that machine (in starts).
func TestPlacesAsGo(t *testing.T) {
	le := binary.LittleEndian
	for _, tt := range []struct {
		name   string
		memory int
		change func(setup []byte)
		fails  string // what the loader says instead
	}{
		{name: "256 MiB", memory: 256},
		{name: "1 GiB", memory: 1024},
		{name: "3 GiB", memory: 3072},
		{name: "4 GiB", memory: 4096},
		{name: "8 GiB", memory: 8192},
		{name: "initrd anywhere", memory: 8192, change: func(b []byte) { le.PutUint32(b[setupInitrd:], 0xffffffff) }},
		{name: "initrd low", memory: 256, change: func(b []byte) { le.PutUint32(b[setupInitrd:], 0x5123456) }},
		{name: "protocol 2.09 needs no init_size", memory: 64, change: func(b []byte) { le.PutUint16(b[setupVersion:], 0x209) }},
		{name: "protocol 2.02", memory: 2048, change: func(b []byte) { le.PutUint16(b[setupVersion:], 0x202) }},
		{name: "just enough", memory: 64, change: func(b []byte) { le.PutUint32(b[setupInitSize:], 0x3edc000-0x1000000) }},
		{name: "a byte too little", memory: 64, fails: "Its initrd doesn't fit", change: func(b []byte) { le.PutUint32(b[setupInitSize:], 0x3edc001-0x1000000) }},
		{name: "kernel too large", memory: 64, fails: "Its kernel doesn't fit", change: func(b []byte) { le.PutUint32(b[setupInitSize:], 0x4000000) }},
		{name: "kernel beyond 4 GiB", memory: 64, fails: "Its kernel doesn't fit", change: func(b []byte) { le.PutUint32(b[setupPref+4:], 1) }},
		{name: "need beyond 4 GiB", memory: 64, fails: "Its kernel doesn't fit", change: func(b []byte) { le.PutUint32(b[setupInitSize:], 0xffffffff) }},
		{name: "initrd below the kernel's end", memory: 128, fails: "Its initrd doesn't fit", change: func(b []byte) { le.PutUint32(b[setupInitrd:], 0x2ffffff) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			if tt.change != nil {
				k := bytes.Clone(d.files["vmlinuz"])
				tt.change(k)
				m.Images[0].Kernel = d.file("vmlinuz", k, 2000)
			}
			d.install(t, m, true)
			vm := hardware{memory: tt.memory}.boot(t, d.save(t))
			if tt.fails != "" {
				vm.expect(tt.fails + ": give the machine more memory.")
				vm.starts(d, m, autoOld)
				return
			}
			vm.starts(d, m, autoLinux)
		})
	}
}

// far is above sector 2^32.
const far = 5 << 30

// installFar installs the menu with the map and the files above that sector. It
// returns the disk's file.
func (d *testDisk) installFar(t *testing.T, m *Menu) string {
	t.Helper()
	for i := range m.Images {
		for k := range m.Images[i].Kernel.Runs {
			m.Images[i].Kernel.Runs[k].LBA += far
		}
	}
	for k := range m.Images[0].Initrd.Runs {
		m.Images[0].Initrd.Runs[k].LBA += far
	}
	n, err := Sectors(m)
	if err != nil {
		t.Fatal(err)
	}
	lbas := make([]uint64, n)
	for i := range lbas {
		lbas[i] = far + d.free + uint64(i)
	}
	b, err := Encode(m, lbas, d.open)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := BootSector(b, lbas, true)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(d.bytes[d.free*SectorSize:], b)
	for off, part := range map[int64][]byte{
		0: boot[:], SectorSize: []byte("LABELONE"), Stage2Sector * SectorSize: Stage2(), far * SectorSize: d.bytes,
	} {
		if _, err := f.WriteAt(part, off); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Verify(t.Context(), f, far*SectorSize+int64(len(d.bytes)))
	if err != nil || report.Highest < far {
		t.Errorf("Verify = %+v, %v; want a highest sector above %d", report, err, uint64(far))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBeyond2TiB shows which bus can boot from there.
func TestBeyond2TiB(t *testing.T) {
	t.Run("virtio-blk", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		vm := hardware{}.boot(t, d.installFar(t, m))
		vm.starts(d, m, autoLinux)
	})
	t.Run("virtio-scsi", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		vm := hardware{bus: "virtio-scsi"}.boot(t, d.installFar(t, m))
		vm.expect("The boot map can't be read: disk error 01 at sector 00014000")
		vm.expect("use that,\nor move /boot to the front of the disk.\n")
	})
}

// TestNoSuchSerialPort has a map that wants COM4.
func TestNoSuchSerialPort(t *testing.T) {
	t.Parallel()
	d, m := bootable(t)
	m.Serial.Port = 3
	d.install(t, m, true)
	vm := hardware{}.boot(t, d.save(t))
	vm.starts(d, m, autoLinux)
}

// TestRestart presses the key that is asked for when nothing can be done.
func TestRestart(t *testing.T) {
	t.Parallel()
	d, m := bootable(t)
	_, lbas := d.install(t, m, true)
	clear(d.bytes[lbas[0]*SectorSize:][:SectorSize])
	vm := hardware{}.boot(t, d.save(t))
	vm.expect("Press a key to restart.\n")
	vm.send(" ")
	for deadline := time.After(time.Minute); !vm.ended(); {
		select {
		case <-vm.more:
		case <-deadline:
			t.Fatal("no restart")
		}
	}
}
