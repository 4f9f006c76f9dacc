package inspect

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"esxodus/convert/guest"

	"github.com/google/go-cmp/cmp"
)

// withTree is a look at a root that has these files. The value of a name that
// ends in .LINK is a link's target.
func withTree(files map[string]string) *look {
	root := fstest.MapFS{}
	for name, text := range files {
		if at, link := strings.CutSuffix(name, ".LINK"); link {
			root[at] = &fstest.MapFile{Data: []byte(text), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return &look{tree: tree{mounts: map[string]fs.ReadLinkFS{".": root}}}
}

func TestRequired(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind, options string
		want          bool
	}{
		{"ext4", "nodiratime", true}, // case P1
		{"ext4", "", true},
		{"xfs", "defaults,x-systemd.device-timeout=10", true},
		{"ext4", "rw,nofail", false},
		{"ext4", "noauto", false},
		{"ext4", "noauto,x-systemd.automount", false},
		{"ext4", "x-systemd.automount", false},
		{"ext4", "comment=systemd.automount", false},
		{"ext4", "x-systemd.wanted-by=x.service", false},
		{"ext4", "nofailure", true},
		{"nfs", "_netdev", false},
		{"swap", "sw", false},
	} {
		if got := guest.Required(tt.kind, tt.options); got != tt.want {
			t.Errorf("Required(%q, %q) = %v; want %v", tt.kind, tt.options, got, tt.want)
		}
	}
}

// TestNeeds: what the guest doesn't come up without. systemd never waits for
// the device that fstab names for the root.
func TestNeeds(t *testing.T) {
	t.Parallel()
	const table = "/dev/sda1 / ext4 defaults 0 1\n/dev/nvme0n2p1 /opt ext4 nodiratime 0 2\n/dev/sdb1 /srv ext4 nofail 0 2\n/dev/sda5 none swap sw 0 0\n"
	opt := guest.Need{File: "/etc/fstab", Spec: "/dev/nvme0n2p1", Mount: "/opt"}
	root := guest.Need{File: "/etc/fstab", Spec: "/dev/sda1", Mount: "/"}
	cmdline := guest.Need{File: "the kernel's command line", Spec: "/dev/disk/by-path/x-part1", Mount: "/"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []guest.Need
	}{
		{"systemd", map[string]string{"etc/fstab": table, "sbin/init.LINK": "../lib/systemd/systemd", "lib/systemd/systemd": ""}, []guest.Need{opt}},
		{"systemd by init=", map[string]string{
			"etc/fstab": table, "sbin/init": "", "lib/systemd/systemd": "",
			"etc/default/grub": "GRUB_CMDLINE_LINUX=\"root=/dev/disk/by-path/x-part1 init=/lib/systemd/systemd\"\n",
		}, []guest.Need{opt, cmdline}},
		{"an encrypted volume", map[string]string{
			"etc/fstab": "/dev/mapper/data /data ext4 defaults 0 2\n/dev/mapper/more /more ext4 nofail 0 2\n", "sbin/init": "",
			"etc/crypttab": "data /dev/nvme0n1p3 none luks\nmore /dev/nvme0n1p4 none luks\n",
		}, []guest.Need{{File: "/etc/fstab", Spec: "/dev/mapper/data", Mount: "/data"}, {File: "/etc/crypttab", Spec: "/dev/nvme0n1p3", Mount: "/data"}}},
		{"devices in options", map[string]string{
			"etc/fstab": "LABEL=data /data xfs logdev=/dev/sdc1,noatime 0 0\nLABEL=more /more xfs logdev=/dev/sdd1,nofail 0 0\n", "sbin/init": "",
		}, []guest.Need{{File: "/etc/fstab", Spec: "LABEL=data", Mount: "/data"}, {File: "/etc/fstab's logdev=", Spec: "/dev/sdc1", Mount: "/data"}}},
		{"a comment that ends in a backslash", map[string]string{
			"etc/fstab": "# \\\\nas\\share\\\n/dev/nvme0n2p1 /opt ext4 nodiratime 0 2\n", "sbin/init": "",
		}, []guest.Need{opt}},
		{"sysvinit", map[string]string{"etc/fstab": table, "sbin/init": "", "lib/systemd/systemd": ""}, []guest.Need{root, opt}},
	} {
		l := withTree(tt.files)
		l.fstab()
		l.bootLoader()
		l.unstableNames()
		l.starter()
		if diff := cmp.Diff(tt.want, l.guest.Config.Needs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestSerialLogins: the ports that a login is known to run on, by the guest's
// own init.
func TestSerialLogins(t *testing.T) {
	t.Parallel()
	const generator = "usr/lib/systemd/system-generators/systemd-getty-generator"
	systemd := func(more ...string) map[string]string {
		files := map[string]string{"sbin/init.LINK": "/usr/lib/systemd/systemd", "usr/lib/systemd/systemd": "", generator: ""}
		for i := 0; i < len(more); i += 2 {
			files[more[i]] = more[i+1]
		}
		return files
	}
	const console = "GRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200n8\"\n"
	const getty = "etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service.LINK"
	const dropIn = "etc/systemd/system/serial-getty@ttyS0.service.d/a.conf"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"systemd without a serial console", systemd("etc/default/grub", "GRUB_CMDLINE_LINUX=\"console=tty0\"\n"), ""},
		{"systemd with one", systemd("etc/default/grub", console), "ttyS0"},
		{"the other port", systemd("etc/default/grub", "GRUB_CMDLINE_LINUX=console=ttyS1\n"), "ttyS1"},
		{"generator masked", systemd("etc/default/grub", console, "etc/systemd/system-generators/systemd-getty-generator.LINK", "/dev/null"), ""},
		{"generator off", systemd("etc/default/grub", "GRUB_CMDLINE_LINUX=\"console=ttyS0 systemd.getty_auto=no\"\n"), ""},
		{"getty masked", systemd("etc/default/grub", console, "etc/systemd/system/serial-getty@ttyS0.service.LINK", "/dev/null"), ""},
		{"getty enabled", systemd(getty, "/lib/systemd/system/serial-getty@.service"), "ttyS0"},
		{"systemd reads no inittab", systemd("etc/inittab", "T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n"), ""},
		{"getty masked by a relative link", systemd("etc/default/grub", console, "etc/systemd/system/serial-getty@ttyS0.service.LINK", "../../../dev/null"), ""},
		{"getty masked by an empty file", systemd("etc/default/grub", console, "etc/systemd/system/serial-getty@.service", ""), ""},
		{"getty masked by the kernel's command line", systemd("etc/default/grub", "GRUB_CMDLINE_LINUX=\"console=ttyS0 systemd.mask=serial-getty@ttyS0.service\"\n"), ""},
		{"gettys' target masked", systemd("etc/default/grub", console, "etc/systemd/system/getty.target.LINK", "/dev/null"), ""},
		{"getty that logs in", systemd(getty, "x", dropIn, "[Service]\nExecStart=\nExecStart=-/sbin/agetty -o '-p -- \\u' -a root --keep-baud 115200 %I $TERM\n"), "ttyS0"},
		{"getty that asks nothing", systemd(getty, "x", dropIn, "[Service]\nExecStart=\nExecStart=-/sbin/agetty -8nl /usr/bin/menu %I\n"), ""},
		{"getty that waits", systemd(getty, "x", "etc/systemd/system/serial-getty@.service.d/a.conf", "[Service]\nExecStart=\nExecStart=-/sbin/agetty --wait-cr %I\n"), ""},
		{"a program of the admin's", systemd(getty, "x", "etc/systemd/system/serial-getty@ttyS0.service", "[Service]\nExecStart=/usr/bin/menu\n"), ""},
		{"sysvinit reads no serial console", map[string]string{"sbin/init": "", generator: "", "etc/default/grub": console}, ""},
		{"inittab", map[string]string{"etc/inittab": "id:2:initdefault:\nT0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n#T1:23:respawn:/sbin/getty -L ttyS1 9600\n"}, "ttyS0"},
		{"another runlevel", map[string]string{"etc/inittab": "id:5:initdefault:\nT0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n"}, ""},
		{"off", map[string]string{"etc/inittab": "T0:23:off:/sbin/getty -L ttyS0 9600 vt100\n"}, ""},
		{"a modem's", map[string]string{"etc/inittab": "S0:23:respawn:/sbin/mgetty -s 38400 ttyS0\n"}, ""},
		{"a direct line of mgetty's", map[string]string{"etc/inittab": "S0:23:respawn:/sbin/mgetty -r ttyS0\n"}, "ttyS0"},
		{"a getty that waits", map[string]string{"etc/inittab": "S0:23:respawn:/sbin/agetty -Lw 9600 ttyS0\n"}, ""},
		{"a getty with a value in its option", map[string]string{"etc/inittab": "S0:23:respawn:/sbin/agetty -L -l/bin/newlogin 9600 ttyS0\n"}, "ttyS0"},
		{"BusyBox", map[string]string{"etc/inittab": "ttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100\n"}, "ttyS0"},
		{"BusyBox's shell", map[string]string{"etc/inittab": "ttyS0::askfirst:/bin/sh\ntty1::askfirst:/bin/sh\n"}, "ttyS0"},
		{"Upstart", map[string]string{"etc/init/ttyS0.conf": ""}, "ttyS0"},
		{"Upstart, by hand", map[string]string{"etc/init/ttyS0.conf": "start on runlevel [23]\n", "etc/init/ttyS0.override": "manual\n"}, ""},
		{"Upstart reads no gettys in inittab", map[string]string{"etc/init/rcS.conf": "", "etc/inittab": "id:3:initdefault:\nS0:23:respawn:/sbin/agetty ttyS0 9600\n"}, ""},
		{"runit reads no inittab", map[string]string{"sbin/init.LINK": "runit-init", "sbin/runit-init": "", "etc/inittab": "S0:23:respawn:/sbin/agetty ttyS0 9600\n"}, ""},
		{"runit, off", map[string]string{"etc/runit/runsvdir/default/agetty-ttyS0/run": "", "etc/runit/runsvdir/default/agetty-ttyS0/down": ""}, ""},
		{"EL 6", map[string]string{"etc/init/serial.conf": "", "etc/default/grub": console}, "ttyS0"},
		{"EL 6, not the last", map[string]string{"etc/init/serial.conf": "", "etc/default/grub": "GRUB_CMDLINE_LINUX=\"console=ttyS0 console=tty0\"\n"}, ""},
		{"OpenRC", map[string]string{"etc/runlevels/default/agetty.ttyS0": ""}, "ttyS0"},
		{"runit", map[string]string{"etc/runit/runsvdir/default/agetty-ttyS0/run": ""}, "ttyS0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := withTree(tt.files)
			l.bootLoader()
			l.starter()
			l.serialLogins()
			got := slices.DeleteFunc(l.guest.SerialLogin, func(s string) bool { return s == "" })
			slices.Sort(got)
			if s := strings.Join(slices.Compact(got), " "); s != tt.want {
				t.Errorf("logins on %q; want %q", s, tt.want)
			}
		})
	}
}

// TestIdle: names that only lines of fstab have which nothing mounts by itself
// are told apart.
func TestIdle(t *testing.T) {
	t.Parallel()
	l := withTree(map[string]string{"etc/fstab": strings.Join([]string{
		"/dev/sdb1 /media/usb0 auto rw,user,noauto 0 0", "/dev/sdc1 /srv ext4 noauto,x-systemd.automount 0 0", "/dev/sdd1 /a ext4 noauto 0 0",
		"/dev/sdd1 /b ext4 nofail 0 0", "/dev/sde1 /c ext4 noauto,comment=systemd.automount 0 0", "UUID=1 /d ext4 noauto 0 0",
	}, "\n")})
	l.fstab()
	l.finish()
	if want := []string{"/dev/sdb1"}; !slices.Equal(l.guest.Config.IdleNames, want) {
		t.Errorf("idle are %q; want %q", l.guest.Config.IdleNames, want)
	}
	if want := []string{"/dev/sdb1", "/dev/sdc1", "/dev/sdd1", "/dev/sde1"}; !slices.Equal(l.guest.DiskNames, want) {
		t.Errorf("names are %q; want %q", l.guest.DiskNames, want)
	}
}
