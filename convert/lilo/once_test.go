package lilo

import (
	"os"
	"strings"
	"testing"

	"esxodus/fixtures"
)

// menuOf returns the menu of the map on the disk.
func menuOf(tb testing.TB, disk string, lbas []uint64) *Menu {
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
	return m
}

// TestOneShot boots the same disk several times.
func TestOneShot(t *testing.T) {
	for _, tt := range []struct {
		name   string
		bus    string
		change func(m *Menu)
		want   []string // command lines of the boots
		left   string   // the one-shot line after each
		typed  bool     // and whether it was typed
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
			name:   "lock of a line that was typed",
			change: func(m *Menu) { m.OneShot, m.OneShotTyped, m.Images[1].Lock = "LinuxOLD 1", true, true },
			want:   []string{"BOOT_IMAGE=LinuxOLD root=/dev/old 1", "BOOT_IMAGE=LinuxOLD root=/dev/old 1"},
			left:   "LinuxOLD 1",
			typed:  true,
		},
		{
			name: "lock of root's line, no password",
			change: func(m *Menu) {
				m.OneShot, m.Images[1].Lock = "LinuxOLD 1", true
				m.Images[1].Password = &Password{Rounds: 1}
			},
			want: []string{"BOOT_IMAGE=LinuxOLD root=/dev/old 1", "BOOT_IMAGE=LinuxOLD root=/dev/old 1"},
			left: "LinuxOLD 1",
		},
		{
			name: "fallback is root's, no password",
			change: func(m *Menu) {
				m.Prompt, m.Timeout = true, 10
				m.Images[0].Fallback = "LinuxOLD panic"
				m.Images[1].Password = &Password{Rounds: 1}
			},
			want: []string{autoLinux, "BOOT_IMAGE=LinuxOLD root=/dev/old panic"},
			left: "LinuxOLD panic",
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
				if m.Images[0].Fallback != "" && i == 1 {
					left = "" // LinuxOLD has none
				}
				if got := menuOf(t, disk, lbas); got.OneShot != left || got.OneShotTyped != tt.typed {
					t.Errorf("after boot %d the line is %q, typed: %v; want %q, %v", i+1, got.OneShot, got.OneShotTyped, left, tt.typed)
				}
			}
		})
	}
}

// TestFallbackOfTheNext has an image damaged: the one that boots instead has its
// own fallback.
func TestFallbackOfTheNext(t *testing.T) {
	fixtures.Rung(t, "lab")
	t.Parallel()
	d, m := bootable(t)
	m.Images[0].Fallback, m.Images[1].Fallback = "LinuxOLD", "Linux panic"
	_, lbas := d.install(t, m, true)
	d.bytes[(m.Images[0].Kernel.Runs[3].LBA+7)*SectorSize] ^= 1
	disk := d.save(t)
	vm := hardware{}.boot(t, disk)
	vm.expect("Booting the next image instead.")
	vm.starts(d, m, autoOld)
	vm.stop()
	if got := menuOf(t, disk, lbas); got.OneShot != "Linux panic" || got.OneShotTyped {
		t.Errorf("the line is %q, typed: %v; want LinuxOLD's fallback, of root's making", got.OneShot, got.OneShotTyped)
	}
}

// TestOneShotOfALockedDisk can't erase the line, so it must not be used: it
// would be used for ever.
func TestOneShotOfALockedDisk(t *testing.T) {
	fixtures.Rung(t, "lab")
	t.Parallel()
	d, m := bootable(t)
	m.OneShot, m.Images[0].Fallback = "LinuxOLD", "LinuxOLD"
	d.install(t, m, true)
	vm := hardware{locked: true}.boot(t, d.save(t))
	vm.expect("The one-shot command line isn't used, or it would be for ever: it can't be written: disk error ")
	vm.expect("The command line for the next boot can't be written: disk error ")
	vm.starts(d, m, autoLinux)
}

// TestLock types a line that is locked. At later boots its password is asked
// for, and a key leads out of it for good.
func TestLock(t *testing.T) {
	fixtures.Rung(t, "lab")
	t.Parallel()
	d, m := bootable(t)
	p, err := NewPassword("open sesame", strings.NewReader("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	m.Prompt, m.Images[1].Password, m.Images[1].Restricted = true, p, true
	_, lbas := d.install(t, m, true)
	disk := d.save(t)
	const line, want = "LinuxOLD lock init=/bin/sh", "BOOT_IMAGE=LinuxOLD root=/dev/old init=/bin/sh"
	boot := func(line, want string, do func(vm *machine)) {
		t.Helper()
		vm := hardware{}.boot(t, disk)
		do(vm)
		vm.starts(d, m, want)
		vm.stop()
		if got := menuOf(t, disk, lbas); got.OneShot != line || got.OneShotTyped != (line != "") {
			t.Errorf("the line is %q, typed: %v; want %q", got.OneShot, got.OneShotTyped, line)
		}
	}
	boot(line, want, func(vm *machine) {
		vm.expect("boot: ")
		vm.send(line + "\r")
		vm.expect("Password of LinuxOLD: ")
		vm.send("open sesame\r")
	})
	boot(line, want, func(vm *machine) {
		vm.expect("\nLocked: " + line)
		vm.expect("\nPassword of LinuxOLD: ")
		vm.send("open sesame\r")
	})
	boot("", linux, func(vm *machine) {
		vm.expect("\nLocked: " + line)
		vm.expect("\nPassword of LinuxOLD: ")
		vm.send("sesame\r")
		vm.expect("That isn't the password.\nboot: ")
		vm.send("\r")
	})
}

// TestOutOfALine presses a key in the time that is given for it before a line
// is used that was left there, by whomever.
func TestOutOfALine(t *testing.T) {
	fixtures.Rung(t, "lab")
	for _, tt := range []struct {
		name  string
		typed bool
		says  string
		press func(vm *machine)
	}{
		{"locked", true, "Locked: ", func(vm *machine) { vm.send(" ") }},
		{"root's", false, "Once: ", func(vm *machine) { vm.send(" ") }},
		{"Shift", true, "Locked: ", func(vm *machine) { vm.ask("sendkey shift 20000") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			m.Delay, m.OneShot, m.OneShotTyped, m.Images[1].Lock = 600, "LinuxOLD panic", tt.typed, true
			_, lbas := d.install(t, m, true)
			disk := d.save(t)
			vm := hardware{}.boot(t, disk)
			vm.expect(tt.says + "LinuxOLD panic")
			tt.press(vm)
			vm.expect("\nboot: ")
			vm.send("\r")
			vm.starts(d, m, linux)
			vm.stop()
			if got := menuOf(t, disk, lbas); got.OneShot != "" {
				t.Errorf("the line is still %q", got.OneShot)
			}
		})
	}
}
