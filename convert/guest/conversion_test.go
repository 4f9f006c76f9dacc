package guest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTouchMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no []string
	}{
		{"/boot/map", []string{"/boot/map"}, []string{"/boot/map~", "/boot", "/x/boot/map"}},
		{"/usr/sbin/lv*", []string{"/usr/sbin/lvm"}, []string{"/usr/sbin/lv/m", "/usr/sbin/vgs", "/sbin/lvm"}},
		{"/boot/grub/", []string{"/boot/grub", "/boot/grub/a", "/boot/grub/a/b"}, []string{"/boot/grub2", "/boot/grub2/a", "/boot"}},
		{"/usr/share/doc/lib*/", []string{"/usr/share/doc/libx", "/usr/share/doc/libx/a/b"}, []string{"/usr/share/doc", "/usr/share/doc/x/lib"}},
		{`/etc/\[odd]\*`, []string{"/etc/[odd]*"}, []string{"/etc/oxx", "/etc/[odd]x"}},
		{"/etc/[", nil, []string{"/etc/[", "/etc/x"}},
		{"/", []string{"/a", "/a/b", "/"}, nil},
	} {
		for _, name := range tt.yes {
			if !(Touch{Pattern: tt.pattern}).Match(name) {
				t.Errorf("%s doesn't match %s; want a match", tt.pattern, name)
			}
		}
		for _, name := range tt.no {
			if (Touch{Pattern: tt.pattern}).Match(name) {
				t.Errorf("%s matches %s; want no match", tt.pattern, name)
			}
		}
	}
}

func TestEditJSON(t *testing.T) {
	for _, e := range []Edit{
		{Path: "/etc/fstab", Reason: "why", Old: "a\n", New: "b\n"},
		{Path: "/etc/fstab", Old: "# caf\xe9\n", New: "# caf\xe9 \u2028 <&>\n"},
		{Path: "/etc/fstab", Old: "\xff", Make: true, Mode: 0o644},
	} {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var got Edit
		if err := json.Unmarshal(b, &got); err != nil || got != e {
			t.Errorf("%s reads as %+v, %v; want %+v", b, got, err, e)
		}
	}
	b, err := json.Marshal(Conversion{Edits: []Edit{{Path: "/etc/fstab", Old: "a", New: "b"}}})
	if want := `{"mounts":null,"edits":[{"path":"/etc/fstab","reason":"","old":"a","new":"b"}]}`; err != nil || string(b) != want {
		t.Errorf("Marshal = %s, %v; want %s", b, err, want)
	}
}

func TestEditDiff(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    Edit
		want string
	}{
		{"changed", Edit{Path: "/etc/fstab", Reason: "why", Old: "1\n2\n3\n", New: "1\nzwei\n3\n"}, "edit /etc/fstab (why)\n--- /etc/fstab\n+++ /etc/fstab\n@@ -1,3 +1,3 @@\n 1\n-2\n+zwei\n 3\n"},
		{"without a line end", Edit{Path: "/f", Reason: "why", Old: "a", New: "b"}, "edit /f (why)\n--- /f\n+++ /f\n@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"},
		{"made", Edit{Path: "/f", Reason: "why", Make: true, New: "x\n"}, "edit /f (why)\n--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+x\n"},
		{"removed", Edit{Path: "/f", Reason: "why", Remove: true, Old: "x\n"}, "edit /f (why)\n--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n"},
		{"link", Edit{Path: "/f", Reason: "why", Link: true, Make: true, New: "x"}, "link /f -> x (why)\n"},
		{"link changed", Edit{Path: "/f", Reason: "why", Link: true, Old: "o\x1b", New: "x"}, "link /f -> x, was -> o\\u001b (why)\n"},
		{"for a terminal", Edit{Path: "/f\n", Reason: "why", Make: true, New: "\x1b[2J\xe9\u202eé\t\ufffd\n"}, "edit /f\\n (why)\n--- /dev/null\n+++ /f\\n\n@@ -0,0 +1,1 @@\n+\\u001b[2J\\xe9\\u202eé\t\ufffd\n"},
	} {
		if got := tt.e.Diff(); got != tt.want {
			t.Errorf("%s: Diff = %q; want %q", tt.name, got, tt.want)
		}
	}
}

const dpkgStatus = `Package: dpkg
Status: install ok installed
Essential: yes
Architecture: amd64
Version: 1.21.22

Package: grub-pc
Status: install ok installed
Version: 2.06-13
Provides: grub (= 2.06), grub-x
Depends: grub2-common (>= 2.0), libc6 (>= 2.36) | libc
Description: x
 Package: not-a-field
 more

Package: grub2-common
Status: hold ok installed
Version: 2.06-13

Package: libc6
Status: install ok installed
Version: 2.36

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.35

Package: left
Status: deinstall ok config-files
Depends: grub-pc

Package: half
Status: install reinstreq half-configured

Package: other
Status: install ok installed
Version: 1:2
Pre-Depends: nothing, lilo:any | grub
Depends: grub2-common, libc6
Protected: yes
`

func TestParseDpkg(t *testing.T) {
	got, arch := parseDpkg([]byte(dpkgStatus), ofInterest)
	want := []Package{
		{Name: "grub-pc", Version: "2.06-13", Needs: [][]string{{"grub2-common"}}},
		{Name: "grub2-common", Version: "2.06-13"},
		{Name: "other", Version: "1:2", Needs: [][]string{{"grub-pc"}, {"grub2-common"}}, Protected: true},
	}
	if diff := cmp.Diff(want, got); diff != "" || arch != "amd64" {
		t.Errorf("parseDpkg: architecture %q, packages (-want +got):\n%s", arch, diff)
	}
}

func FuzzParseDpkg(f *testing.F) {
	f.Add([]byte(dpkgStatus))
	f.Add([]byte("Package: a\nStatus: x y installed\nDepends: grub-pc,,|,(,:\n\n\n\nPackage: grub-pc\nStatus: x y installed\nProvides: a, |\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pkgs, _ := parseDpkg(b, ofInterest)
		for _, p := range pkgs {
			if !ofInterest(p.Name) && len(p.Needs) == 0 {
				t.Errorf("%q is of no interest", p.Name)
			}
			if slices.ContainsFunc(p.Needs, func(by []string) bool { return len(by) == 0 }) {
				t.Errorf("%q needs nothing", p.Name)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	path := debianDisk(t, map[string]string{
		"etc/crypttab": "-", "etc/crypttab.LINK": "/etc/real-crypttab", "etc/real-crypttab": "caf\xe9 \x1b[2J\n",
		"usr/lib/os-release": "ID=debian\nVERSION_CODENAME=bookworm\n",
		"etc/default/grub":   "-", "boot/grub/grub.cfg": "menuentry x {\nlinux /boot/vmlinuz-1 " + strings.Repeat("long ", 200) + "\n}\n",
		"vmlinuz.LINK": "boot/vmlinuz-6.1.0-18-amd64", "initrd.img.LINK": "boot/gone", "boot/vmlinuz": "a file",
		"var/lib/dpkg/status": dpkgStatus, "var/lib/dpkg/info/grub-pc.list": "/.\n/usr/x\n", "var/lib/dpkg/info/libc6.list": "/.\n",
		"etc/lilo.conf/dir": "no file",
		"var/cache.LINK":    "../srv/cache", "srv/cache/x": "", "var/log.LINK": "/nowhere",
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
	check("crypttab", c.Files["/etc/crypttab"], File{Path: "/etc/real-crypttab", Text: "caf\xe9 \x1b[2J\n"})
	check("links", c.Links, map[string]Link{"/vmlinuz": {Target: "boot/vmlinuz-6.1.0-18-amd64"}, "/initrd.img": {Target: "boot/gone", Missing: true}, "/boot/vmlinuz": {}})
	check("command line", []any{len(c.Cmdline), c.Image}, []any{999, "/boot/vmlinuz-1"})
	check("unread", c.Unread, []string{"/etc/lilo.conf is no regular file but d---------"})
	check("owned", c.Owned, map[string][]string{"grub-pc": {"/.", "/usr/x"}})
	check("release", []any{c.Arch, c.Codename, string(c.Status) == dpkgStatus}, []any{"amd64", "bookworm", true})
	check("directories", c.Dirs, map[string]string{"/var/cache": "/srv/cache"})
	check("has", []bool{c.Has["/boot/grub/grub.cfg"], c.Has["/sbin/lvm"]}, []bool{true, false})
	b, err := json.Marshal(g)
	if err != nil || strings.Contains(string(b), "real-crypttab") {
		t.Errorf("a guest's configuration is in its JSON: %s, %v", b, err)
	}
}
