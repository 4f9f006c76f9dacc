package inspect

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"esxodus/convert/guest/conf"

	"github.com/google/go-cmp/cmp"
)

// lookAt is a look at a tree in memory.
func lookAt(files map[string]string) *look {
	root := fstest.MapFS{}
	for name, text := range files {
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			root[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		root[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return &look{tree: tree{mounts: map[string]fs.ReadLinkFS{".": root}}}
}

// TestUnstableNames is of names of disks outside of fstab, and of the files that
// a conversion gets because of them.
func TestUnstableNames(t *testing.T) {
	l := lookAt(map[string]string{
		"etc/crypttab":                                   "swap /dev/sda9 /dev/urandom swap\n",
		"etc/initramfs-tools/initramfs.conf":             "RESUME=/dev/sda1\n",
		"etc/initramfs-tools/conf.d/hibernate":           "RESUME=/dev/sda2 resume_offset=7\n",
		"etc/initramfs-tools/conf.d/resume":              "RESUME=UUID=aaaa\n",
		"etc/systemd/system/srv.mount":                   "[Mount]\nWhat=/dev/sdb1\n",
		"etc/systemd/system/dev-sdb2.swap":               "[Swap]\nWhat=/dev/sdb2\n",
		"etc/systemd/system/home.mount.d/what.conf":      "[Mount]\nWhat=/dev/sdb3\n",
		"etc/systemd/system/home.mount.d/ignored":        "[Mount]\nWhat=/dev/sdb4\n",
		"etc/systemd/system/tmp.mount":                   "-> /dev/null",
		"etc/systemd/system/masked.mount":                "-> /etc/device",
		"etc/systemd/system/linked.mount":                "-> /srv/linked.mount",
		"srv/linked.mount":                               "[Mount]\nWhat=/dev/sdb5\n",
		"etc/systemd/system/x.service.d/What=.conf":      "[Mount]\nWhat=/dev/sdb6\n",
		"etc/systemd/system/multi-user.target.wants/d/f": "",
	})
	root, ok := l.tree.mounts["."].(fstest.MapFS)
	if !ok {
		t.Fatal("no tree")
	}
	root["etc/device"] = &fstest.MapFile{Mode: fs.ModeDevice | fs.ModeCharDevice}
	l.unstableNames()
	slices.Sort(l.guest.DiskNames)
	want := []string{"", "/dev/sda1", "/dev/sda2", "/dev/sda9", "/dev/sdb1", "/dev/sdb2", "/dev/sdb3", "/dev/sdb5"}
	if diff := cmp.Diff(want, l.guest.DiskNames); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if len(l.guest.Notes) > 0 {
		t.Errorf("notes %q; want none", l.guest.Notes)
	}
	l.config()
	got := slices.Sorted(maps.Keys(l.guest.Config.Files))
	wantFiles := []string{
		"/etc/crypttab", "/etc/initramfs-tools/conf.d/hibernate", "/etc/initramfs-tools/conf.d/resume", "/etc/initramfs-tools/initramfs.conf",
		"/etc/systemd/system/dev-sdb2.swap", "/etc/systemd/system/home.mount.d/what.conf", "/etc/systemd/system/linked.mount", "/etc/systemd/system/srv.mount",
	}
	if diff := cmp.Diff(wantFiles, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if real := l.guest.Config.Files["/etc/systemd/system/linked.mount"].Path; real != "/srv/linked.mount" {
		t.Errorf("a linked unit is %s; want where it really is", real)
	}
	if len(l.guest.Config.Unread) > 0 {
		t.Errorf("unread: %q; want nothing", l.guest.Config.Unread)
	}
}

// TestUndecided: what doesn't decide about a conversion may be unreadable.
func TestUndecided(t *testing.T) {
	l := lookAt(map[string]string{"etc/default/grub/x": "", "etc/fstab": ""})
	l.config()
	if len(l.guest.Config.Unread) > 0 {
		t.Errorf("unread: %q; want nothing", l.guest.Config.Unread)
	}
}

func TestNICDrivers(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"etc/netplan/a.yaml", "network: {ethernets: {a: {match: {driver: vmxnet3}}}}", "vmxnet3"},
		{"etc/netplan/a.yaml", "network: {ethernets: {a: {match: {driver: [vmx*, e1000]}}, b: {match: {name: x}}, c: , d: {match: {driver: 7}}}}", "vmx*"},
		{"etc/netplan/a.yaml", "network: {ethernets: {a: {match: {driver: [vmxnet3, virtio_net]}}}}", ""},
		{"etc/netplan/a.yaml", "network: {ethernets: {a: {match: {driver: \"*\"}}}}", ""},
		{"etc/netplan/a.yaml", "network: [", ""},
		{"etc/systemd/network/a.network", "[Match]\nDriver=e1000 vmxnet3\n", "vmxnet3"},
		{"etc/systemd/network/a.network", "[Match]\nDriver=!vmxnet3\n", ""},
		{"etc/systemd/network/a.network", "[Link]\nDriver=vmxnet3\n", ""},
		{"etc/systemd/network/a.link", "[Match]\nDriver=vmxnet\n", "vmxnet"},
		{"etc/systemd/network/a.netdev", "[Match]\nDriver=vmxnet3\n", ""},
		{"etc/NetworkManager/system-connections/a", "[match]\ndriver=vmxnet3;\n", "vmxnet3"},
		{"etc/udev/rules.d/70-x.rules", "ACTION==\"add\", DRIVERS==\"e1000|vmxnet3\", NAME=\"x\"\n", "vmxnet3"},
		{"etc/udev/rules.d/70-x.rules", "ATTR{address}==\"00:50:56:00:00:01\", DRIVERS==\"?*\", NAME=\"x\"\n", ""},
		{"etc/udev/rules.d/70-x.rules", "DRIVERS!=\"vmxnet3\"\n", ""},
	} {
		var got []string
		for _, m := range lookAt(map[string]string{tt.name: tt.text}).nicDrivers() {
			got = append(got, m.Pattern)
			if m.File != "/"+tt.name {
				t.Errorf("%s is found in %s", m.Pattern, m.File)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q: %q; want %q", tt.name, tt.text, got, tt.want)
		}
	}
}

func FuzzNICDrivers(f *testing.F) {
	f.Add([]byte("network: {ethernets: {a: {match: {driver: [vmx*]}}}}"))
	f.Add([]byte("[Match]\nDriver=vmxnet3\n[match]\ndriver=a;b\nDRIVERS==\"x|y\", Z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, drivers := range []func([]byte) []string{conf.NetplanDrivers, conf.NetworkdDrivers, conf.KeyfileDrivers, conf.RuleDrivers} {
			for _, p := range drivers(b) {
				if conf.MatchesDriver(p, "virtio_net") {
					t.Errorf("%q: %q is of virtio's driver", b, p)
				}
			}
		}
	})
}
