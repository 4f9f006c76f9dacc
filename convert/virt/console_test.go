package virt

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestConsoleLines(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
	}{
		{"plain", "one\r\ntwo\n", []string{"one", "two"}},
		{"unfinished", "one\ntwo", []string{"one", "two"}},
		{"colours", "\x1b[0;1;31m[FAILED]\x1b[0m x\n", []string{"[FAILED] x"}},
		{"cursor", "a\x1b[5;1Hb\x1b[2Jc\n", []string{"a", "bc"}},
		{"title", "\x1b]0;evil\x07shown\n", []string{"shown"}},
		{"title ended by ST", "\x1b]0;evil\x1b\\shown\n", []string{"shown"}},
		{"title never ended", "\x1b]0;evil\nshown\n", []string{"shown"}},
		{"charset", "\x1b(Bx\x1b)0y\n", []string{"xy"}},
		{"C1 controls", "a\u009b31mb\n", []string{"a\uFFFD31mb"}},
		{"control bytes", "a\x00\x01\x7fb\tc\a\n", []string{"ab c"}},
		{"bidi override", "a\u202eb\n", []string{"a\uFFFDb"}},
		{"backspace", "ab\bc\n", []string{"ac"}},
		{"backspace too many", "\b\b\bx\n", []string{"x"}},
		{"overwritten", "10%\r20%\r", []string{"10%", "20%"}},
		{"not UTF-8", "a\xffb\n", []string{"a\uFFFDb"}},
		{"UTF-8", "Größe\n", []string{"Größe"}},
		{"nothing", "\r\n\r\n  \n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			whole, bytewise := newConsole(nil), newConsole(nil)
			whole.feed([]byte(tt.in))
			for i := range len(tt.in) {
				bytewise.feed([]byte{tt.in[i]})
			}
			if diff := cmp.Diff(whole.last(maxTail), append([]string(nil), tt.want...)); diff != "" {
				t.Errorf("lines (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(bytewise.last(maxTail), whole.last(maxTail)); diff != "" {
				t.Errorf("lines fed bytewise (-got +want):\n%s", diff)
			}
		})
	}
}

func TestConsoleOutcome(t *testing.T) {
	const (
		root  = "the initramfs found no root file system"
		shell = "the initramfs stopped in its shell"
		grub  = "GRUB found nothing to boot"
		fw    = "the firmware found nothing to boot"
		emerg = "the guest stopped in emergency mode"
	)
	tests := []struct {
		name, in string
		kind     outcomeKind
		reason   string
	}{
		// What guests write on their way, and must decide nothing.
		{"kernel's console", "[    0.1] printk: console [ttyS0] enabled\n", undecided, ""},
		{"command line", "[    0.0] Command line: root=UUID=1 ro quiet console=ttyS0\n", undecided, ""},
		{"serial driver", "[    0.9] 00:04: ttyS0 at I/O 0x3f8 (irq = 4) is a 16550A\n", undecided, ""},
		{"getty unit", "[  OK  ] Started \x1b[0;1;39mserial-getty@ttyS0.service\x1b[0m - Serial Getty on ttyS0.\n", undecided, ""},
		{"login service", "         Starting systemd-logind.service - User Login Management...\n", undecided, ""},
		{"login target", "[  OK  ] Reached target getty.target - Login Prompts.\n", undecided, ""},
		{"GRUB's banner", "GRUB loading.\nWelcome to GRUB!\n", undecided, ""},
		{"emergency target's unit", "[  OK  ] Started emergency-helper.service\n", undecided, ""},
		{"a prompt that is not one", "password for login: x", undecided, ""},

		{"SeaBIOS on a slow port", "Boot failed: not a bootable disk\r\n\r\nNo bootabb\rle device.\r\n", failed, "the firmware found nothing to boot"},
		{"only the issue", "\r\nDebian GNU/Linux 12 web ttyS0\r\n\r\n", undecided, ""},
		{"Debian", "\r\nDebian GNU/Linux 12 web ttyS0\r\n\r\nweb login: ", up, ""},
		{"Ubuntu", "\r\nUbuntu 22.04.3 LTS web.example.com ttyS0\r\n\r\nweb login: ", up, ""},
		{"prompt", "web login: ", up, ""},
		{"prompt alone", "login:", up, ""},
		{"prompt, then the kernel", "web login: [   12.345678] random: crng init done\n", up, ""},
		{"prompt with FQDN, then a newline", "web-1.example.com login:\r\n", up, ""},
		{"FreeBSD", "login: ", up, ""},
		{"busybox", "\nPlease press Enter to activate this console. ", up, ""},

		{"prompt in no ASCII", "zürich-1 login: ", up, ""},
		{"prompt, then cloud-init", "web login: ci-info: no authorized SSH keys\n", up, ""},
		{"prompt, then systemd", "web login: [  OK  ] Started x.service\n", up, ""},
		{"login of agetty's own", "web login: root (automatic login)\n", up, ""},

		// What looks like a prompt and is none.
		{"last login", "Last login: Mon Nov 30 01:00:00 2026 from 192.0.2.1\n", undecided, ""},
		{"last login, so far", "Last login: ", undecided, ""},
		{"in the middle", "sshd[1]: failed login: root\n", undecided, ""},
		{"a message's beginning", "backup login: failed\n", undecided, ""},
		{"several words", "Enter your name at login: ", undecided, ""},
		{"a loader's title", "GNU GRUB: web login: ", undecided, ""},

		{"prompt, then emergency mode", "web login: \nYou are in emergency mode. After logging in\n", failed, emerg},
		{"prompt, then a panic in its line", "web login: [   12.3] Kernel panic - not syncing: x\n", failed, "the kernel panicked"},
		{"emergency target", "[  OK  ] Reached target \x1b[0;1;39memergency.target\x1b[0m - Emergency Mode.\n", failed, emerg},
		{"emergency target of older systemd", "[  OK  ] Reached target Emergency Mode.\n", failed, emerg},
		{"rescue mode", "Welcome to rescue mode! Type \"systemctl default\"\n", failed, emerg},
		{"maintenance of sysvinit", "Press enter for maintenance\n(or type Control-D to continue): Give root password for maintenance\n", failed, emerg},
		{"root's fsck", "The root filesystem on /dev/vda1 requires a manual fsck\n", failed, fsckAsks},
		{"fsck asks", "Inode 12 has illegal blocks.  Clear<y>? ", failed, fsckAsks},
		{"mountall asks", "The disk drive for /opt is not ready yet or not present.\nContinue to wait, or Press S to skip mounting or M for manual recovery\n", failed, fsckAsks},
		{"Arch's initramfs", "You are now being dropped into an emergency shell.\n", failed, root},
		{"dracut's debug shell", "Dropping to debug shell.\n", failed, root},
		{"Alpine's initramfs", "initramfs emergency recovery shell launched. Type 'exit' to continue boot\n", failed, root},
		{"SELinux", "systemd[1]: Freezing execution.\n", failed, noInit},
		{"GRUB legacy", "Error 15: File not found\n", failed, grub},
		{"GRUB's boot sector", "GRUB Hard Disk Error\n", failed, grub},
		{"our LILO", "No image is left. Start a rescue system, mount the root file system\n", failed, noLILO},
		{"Windows", "BOOTMGR is missing\nPress Ctrl+Alt+Del to restart\n", failed, "Windows' loader found nothing to boot"},

		{"panic", "[    1.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n", failed, "the kernel panicked"},
		{"panic, no root", "[    1.1] VFS: Unable to mount root fs on unknown-block(0,0)\n", failed, "the kernel found no root file system"},
		{"initramfs-tools", "Gave up waiting for root file system device.  Common problems:\n", failed, root},
		{"initramfs-tools, alert", "ALERT!  UUID=12-34 does not exist.  Dropping to a shell!\n", failed, root},
		{"initramfs-tools, shell", "\nBusyBox v1.35.0\n\n(initramfs) ", failed, shell},
		{"dracut", "Warning: Could not boot.\n", failed, root},
		{"dracut shell", "dracut:/# ", failed, shell},
		{"emergency", "You are in emergency mode. After logging in, type \"journalctl -xb\"\n", failed, emerg},
		{"emergency, prompt", "Give root password for maintenance\n(or press Control-D to continue): ", failed, emerg},
		{"emergency, locked", "Cannot open access to console, the root account is locked.\n", failed, emerg},
		{"GRUB rescue", "error: no such device: 1234.\nEntering rescue mode...\ngrub rescue> ", failed, grub},
		{"GRUB shell", "\x1b[2J\x1b[1;1H  Minimal BASH-like line editing is supported.\n", failed, grub},
		{"GRUB prompt", "grub> ", failed, grub},
		{"SeaBIOS", "Booting from Hard Disk...\nBoot failed: not a bootable disk\n\nNo bootable device.\n", failed, fw},
		{"OVMF", "BdsDxe: No bootable option or device was found.\n", failed, fw},
		{"EFI shell", "\x1b[1mUEFI Interactive Shell v2.2\x1b[0m\n", failed, fw},
		{"EFI prompt", "Shell> ", failed, fw},
		{"the first sign counts", "Kernel panic - not syncing: x\nweb login: ", failed, "the kernel panicked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newConsole(nil)
			c.feed([]byte(tt.in))
			if c.outcome.loose { // what decides nothing by itself
				c.outcome.kind = undecided
			}
			if c.outcome.kind != tt.kind || c.outcome.reason != tt.reason {
				t.Errorf("outcome = %+v, want %d, %q", c.outcome, tt.kind, tt.reason)
			}
		})
	}
}

func FuzzConsole(f *testing.F) {
	for _, seed := range []string{"web login: ", "\x1b]0;x\x07\x1b[31mred\x1b[0m\r\n", "\x1bP\x1b\\", "\xff\xfe\n\u202e\n", strings.Repeat("x", 3*maxLine), "\x1b[\x1b[\n\b\b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		in = in[:min(len(in), 8*maxLine)] // more of the same only takes longer
		c := newConsole(nil)
		for _, b := range [][]byte{in[:len(in)/2], in[len(in)/2:]} {
			c.feed(b)
		}
		if len(c.line) > maxLine || len(c.tail) > maxTail {
			t.Errorf("keeps %d bytes, %d lines", len(c.line), len(c.tail))
		}
		for _, line := range append(c.last(maxTail+1), c.outcome.line) {
			if !utf8.ValidString(line) || strings.ContainsFunc(line, unicode.IsControl) || len(line) > 3*maxLine {
				t.Errorf("line %q", line)
			}
		}
	})
}

// A guest may write as fast as it can: what one look takes in must not keep
// us busy for long.
func BenchmarkConsole(b *testing.B) {
	flood := []byte(strings.Repeat("x\n", 32<<10))
	b.SetBytes(int64(len(flood)))
	c := newConsole(nil)
	for b.Loop() {
		c.feed(flood)
	}
}

// TestConsolePieces: what tells of a failure may come in pieces, as a slow
// port writes; all of its line is told.
func TestConsolePieces(t *testing.T) {
	c := newConsole(nil)
	for _, piece := range []string{"[ 1.5] Kernel panic - not syncing", ": VFS: no ", "init found.\n[ 1.6] CPU: 0\n"} {
		c.feed([]byte(piece))
	}
	if want := "[ 1.5] Kernel panic - not syncing: VFS: no init found."; c.outcome.kind != failed || c.outcome.line != want {
		t.Errorf("outcome = %+v; want the line %q", c.outcome, want)
	}
}

// TestConsolePromptGoesOn: a message that comes in pieces may look like a prompt
// for a moment, and a prompt that others write after stays one.
func TestConsolePromptGoesOn(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]outcomeKind{
		"failed\n": undecided, "\n": up, "[   12.3] random: crng init done\n": up, "root (automatic login)\n": up, "fa": undecided,
	} {
		c := newConsole(nil)
		c.feed([]byte("backup login: "))
		if c.outcome.kind != up {
			t.Fatalf("outcome of the prompt = %+v", c.outcome)
		}
		c.feed([]byte(next))
		if c.outcome.kind != want {
			t.Errorf("then %q: outcome = %+v; want %d", next, c.outcome, want)
		}
	}
}
