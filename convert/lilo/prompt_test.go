package lilo

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
)

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
	fixtures.Rung(t, "lab")
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
	const tenMinutes = 6000 // tenths of a second: nobody waits for that here
	t.Run("timeout", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Prompt, m.Timeout, m.Default = true, tenMinutes, 1
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("boot: ")
		vm.forwardTo("Loading ")
		vm.starts(d, m, autoOld)
	})
	t.Run("before the timeout", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Prompt, m.Timeout = true, tenMinutes
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("boot: ")
		vm.forward(4 * time.Minute)
		vm.send("LinuxOLD\r")
		vm.starts(d, m, "BOOT_IMAGE=LinuxOLD root=/dev/old")
	})
	t.Run("a key ends the timeout", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Prompt, m.Timeout = true, tenMinutes
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("boot: ")
		vm.send("L")
		vm.expect("L")
		vm.forward(11 * time.Minute)
		vm.send("inuxOLD\r")
		vm.starts(d, m, "BOOT_IMAGE=LinuxOLD root=/dev/old")
	})
	t.Run("delay", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Delay = tenMinutes
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		vm.expect("LILO ")
		vm.forwardTo("Loading ")
		vm.starts(d, m, autoLinux)
	})
	for name, keys := range map[string]string{"a key": " ", "Enter as CR LF": "\r\n"} {
		t.Run(name+" during the delay", func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			m.Delay = 300
			d.install(t, m, true)
			vm := hardware{}.boot(t, d.save(t))
			vm.expect("LILO ")
			vm.send(keys)
			vm.expect("boot: ")
			vm.send("LinuxOLD\r")
			vm.starts(d, m, "BOOT_IMAGE=LinuxOLD root=/dev/old")
		})
	}
	t.Run("CR LF and CR NUL end no timeout but their own", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		m.Prompt, m.Timeout = true, tenMinutes
		d.install(t, m, true)
		vm := hardware{}.boot(t, d.save(t))
		for _, enter := range []string{"\r\n", "\r\x00"} {
			vm.expect("boot: ")
			vm.send("Windows" + enter)
			vm.expect("No image is called Windows.")
		}
		vm.expect("boot: ")
		vm.forwardTo("Loading ")
		vm.starts(d, m, autoLinux)
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
		d, m, vm := asksPassword(t, "x", tenMinutes)
		vm.forwardTo("No password")
		vm.expect("No password was typed in time.\nboot: ")
		vm.send("LinuxOLD\r")
		vm.starts(d, m, "BOOT_IMAGE=LinuxOLD root=/dev/old")
	})
	t.Run("a key ends the password's timeout", func(t *testing.T) {
		t.Parallel()
		d, m, vm := asksPassword(t, "open sesame", tenMinutes)
		vm.send("o")
		vm.live(time.Second) // nothing shows that it was taken
		vm.forward(11 * time.Minute)
		vm.send("pen sesame\r")
		vm.starts(d, m, autoLinux)
	})
}

// asksPassword boots a menu whose default image wants a password, to where it
// asks for it.
func asksPassword(t *testing.T, password string, timeout int) (*testDisk, *Menu, *machine) {
	t.Helper()
	d, m := bootable(t)
	m.Timeout = timeout
	p, err := NewPassword(password, strings.NewReader("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	m.Images[0].Password = p
	d.install(t, m, true)
	vm := hardware{}.boot(t, d.save(t))
	vm.expect("Password of Linux: ")
	return d, m, vm
}
