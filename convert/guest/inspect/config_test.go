package inspect

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"esxodus/convert/guest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestConfig(t *testing.T) {
	status, err := os.ReadFile("testdata/dpkg-status")
	if err != nil {
		t.Fatal(err)
	}
	path := debianDisk(t, map[string]string{
		"etc/crypttab": "-", "etc/crypttab.LINK": "/etc/real-crypttab", "etc/real-crypttab": "caf\xe9 \x1b[2J\n",
		"usr/lib/os-release": "ID=debian\nVERSION_CODENAME=bookworm\n",
		"etc/default/grub":   "-", "boot/grub/grub.cfg": "menuentry x {\nlinux /boot/vmlinuz-1 " + strings.Repeat("long ", 200) + "\n}\n",
		"vmlinuz.LINK": "boot/vmlinuz-6.1.0-18-amd64", "initrd.img.LINK": "boot/gone", "boot/vmlinuz": "a file",
		"var/lib/dpkg/status": string(status), "var/lib/dpkg/info/grub-pc.list": "/.\n/usr/x\n", "var/lib/dpkg/info/libc6.list": "/.\n",
		"etc/lilo.conf/dir": "no file", "etc/machine-id": "uninitialized\n", "var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef\n",
		"var/cache.LINK": "../srv/cache", "srv/cache/x": "", "var/log.LINK": "/nowhere",
	})
	g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, path)}})
	if err != nil {
		t.Fatal(err)
	}
	c := g.Config
	check := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("crypttab", c.Files["/etc/crypttab"], guest.File{Path: "/etc/real-crypttab", Text: "caf\xe9 \x1b[2J\n"})
	check("links", c.Links, map[string]guest.Link{"/vmlinuz": {Target: "boot/vmlinuz-6.1.0-18-amd64"}, "/initrd.img": {Target: "boot/gone", Missing: true}, "/boot/vmlinuz": {}})
	check("command line", []any{len(c.Cmdline), c.Image}, []any{999, "/boot/vmlinuz-1"})
	check("machine id", c.MachineID, "9810707f37ec")
	check("unread", c.Unread, []string{"/etc/lilo.conf is not a regular file but d---------"})
	check("owned", [][]string{c.FilesOf("grub-pc"), c.FilesOf("libc6")}, [][]string{{"/.", "/usr/x"}, nil})
	check("release", []any{c.Arch, c.Codename}, []any{"amd64", "bookworm"})
	check("directories", c.Dirs, map[string]string{"/var/cache": "/srv/cache"})
	check("has", []bool{c.Has["/boot/grub/grub.cfg"], c.Has["/sbin/lvm"]}, []bool{true, false})
	if b, err := Records(t.Context(), []Source{{"scsi0:0", open(t, path)}}); err != nil || string(b) != string(status) {
		t.Errorf("Records = %q, %v; want dpkg's status", b, err)
	}
	b, err := json.Marshal(g)
	if err != nil || strings.Contains(string(b), "real-crypttab") {
		t.Errorf("a guest's configuration is in its JSON: %s, %v", b, err)
	}
}

// TestKept: what is kept of a guest holds neither dpkg's records nor any other file that
// isn't needed, and what several have in common is kept once.
func TestKept(t *testing.T) {
	const guests, most = 4, 4 * mib
	status := strings.Repeat("Package: p\nStatus: install ok installed\nVersion: 1\nDescription: "+strings.Repeat("long ", 1000)+"\n\n", 1000)
	status += "Package: dpkg\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\nPackage: grub-pc\nStatus: install ok installed\nVersion: 2\n"
	img := open(t, debianDisk(t, map[string]string{
		"var/lib/dpkg/status": status, "var/lib/dpkg/info/grub-pc.list": strings.Repeat("/usr/lib/grub/i386-pc/x\n", 40_000),
		"etc/lvm/lvm.conf": strings.Repeat("# a comment\n", 80_000),
	}))
	held := func() int64 {
		runtime.GC()
		runtime.GC() // what finalizers held
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	texts := map[string]string{}
	var kept []guest.Guest
	before := held()
	for range guests {
		g, err := Look(t.Context(), []Source{{"scsi0:0", img}})
		if err != nil || g.Config.Arch != "amd64" || len(g.Config.FilesOf("grub-pc")) != 40_000 || len(g.Config.Files["/etc/lvm/lvm.conf"].Text) < 900_000 {
			t.Fatalf("%v, or what is to be kept isn't there: %q, %q", err, g.Notes, g.Config.Unread)
		}
		g.Config.Share(texts)
		kept = append(kept, g)
	}
	if grown := held() - before; grown > most {
		t.Errorf("%d guests hold %d bytes; want at most %d", guests, grown, most)
	}
	runtime.KeepAlive(kept)
}

// TestFreeFiles: how many files can be made is known of a root with few inodes.
func TestFreeFiles(t *testing.T) {
	g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, debianDisk(t, nil, "-t", "ext4", "-N", "300"))}})
	if err != nil {
		t.Fatal(err)
	}
	if got := g.Config.Free["/"]; got.Files < 100 || got.Files > 300 || got.Bytes < 10*mib {
		t.Errorf("free = %+v; want some 200 files, and most of 96 MiB", got)
	}
}

// TestManyBackups: a look finds the same, and reads no more, whether LVM has
// kept five thousand old descriptions of its groups or one.
func TestManyBackups(t *testing.T) {
	at := func(i int) string { return fmt.Sprintf("etc/lvm/archive/web-vg_%05d-1234567890.vg", i) }
	text := "contents = \"Text Format Volume Group\"\nversion = 1\n" + strings.Repeat("# vgcfgbackup\n", 200)
	many := map[string]string{}
	for i := range 5000 {
		many[at(i)] = text
	}
	look := func(files map[string]string) (guest.Guest, int64) {
		img := open(t, debianDisk(t, files, "-t", "ext4", "-N", "8000"))
		g, err := Look(t.Context(), []Source{{"scsi0:0", img}})
		if err != nil {
			t.Fatal(err)
		}
		return g, img.bytes.Load()
	}
	want, few := look(map[string]string{at(0): text})
	got, bytes := look(many)
	if bytes > few+2*mib {
		t.Errorf("%d bytes are read; with one file it is %d", bytes, few)
	}
	want.Config.Free, got.Config.Free = nil, nil
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("(-with one +with many):\n%s", diff)
	}
}
