package packages

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/host"
	"esxodus/disk/extfs"
	"esxodus/fixtures"
)

// status is dpkg's record in the Debian guest.
func status(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(fixtures.Guest(t, "debian"), "debian-flat.vmdk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	root, err := extfs.Open(io.NewSectionReader(f, 1<<20, 2559<<20), 2559<<20)
	if err != nil {
		t.Fatal(err)
	}
	file, err := root.Open("var/lib/dpkg/status")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// hostState is what of the host's apt and dpkg must not change.
func hostState(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("find", "/var/lib/apt", "/var/cache/apt", "/var/lib/dpkg/status", "/etc/apt", "-printf", "%p %s %T@\n").CombinedOutput()
	if err != nil {
		t.Fatalf("find: %v: %s", err, out)
	}
	return string(out)
}

// TestMirror gets lvm2 for the Debian guest from this machine's mirrors.
func TestMirror(t *testing.T) {
	fixtures.Tool(t, "apt-get")
	g := Guest{ID: "debian", Codename: "bookworm", Arch: "amd64", Status: status(t)}
	before := hostState(t)
	temp := t.TempDir()
	r := Resolver{Tool: host.Tool{}, TempDir: temp}
	set, err := r.Resolve(t.Context(), g, "lvm2")
	if errors.Is(err, ErrNoSource) {
		fixtures.Missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range set.Packages {
		names = append(names, p.Name)
		if p.Old != "" {
			t.Errorf("%s %s would be replaced", p.Name, p.Old)
		}
	}
	want := []string{"dmeventd", "libaio1", "libdevmapper-event1.02.1", "liblvm2cmd2.03", "lvm2"}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("packages %q; want %q", names, want)
	}
	if set.Unpacked < 4<<20 || set.Unpacked > 20<<20 {
		t.Errorf("unpacked %d bytes; want about 7 MiB", set.Unpacked)
	}
	dir := t.TempDir()
	paths, err := Fetch(t.Context(), host.Tool{}, dir, set)
	if err != nil || len(paths) != len(want) {
		t.Fatalf("Fetch = %q, %v", paths, err)
	}
	for i, p := range paths {
		out, err := host.Tool{}.Run(t.Context(), "dpkg-deb", "-f", p, "Package")
		if got := strings.TrimSpace(string(out)); err != nil || got != set.Packages[i].Name {
			t.Errorf("%s is %q, %v; want %s", p, got, err, set.Packages[i].Name)
		}
	}
	// The same from a directory that holds them under other names.
	r.Dir = dir
	local, err := r.Resolve(t.Context(), g, "lvm2")
	if err != nil || len(local.Packages) != len(want) || local.Unpacked != set.Unpacked {
		t.Errorf("from a directory: %+v, %v", local, err)
	}
	forged := Set{Packages: slices.Clone(set.Packages[:1])}
	forged.Packages[0].SHA256 = sum
	if _, err := Fetch(t.Context(), host.Tool{}, t.TempDir(), forged); err == nil {
		t.Error("a package with another content is fetched")
	}
	if after := hostState(t); after != before {
		t.Error("the host's apt is not as it was")
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// makeDeb makes an empty package.
func makeDeb(t *testing.T, file, control string) {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "DEBIAN/control"), []byte(control), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (host.Tool{}).Run(t.Context(), "dpkg-deb", "--root-owner-group", "-b", root, file); err != nil {
		t.Fatal(err)
	}
}

func control(name, version, arch, more string) string {
	return "Package: " + name + "\nVersion: " + version + "\nArchitecture: " + arch + "\nMaintainer: x <x@example.com>\nDescription: x\n a longer text\n" + more
}

// TestDirectory chooses among the packages of a directory.
func TestDirectory(t *testing.T) {
	fixtures.Tool(t, "apt-get")
	fixtures.Tool(t, "dpkg-deb")
	installed := "Status: install ok installed\n"
	g := Guest{ID: "debian", Codename: "bookworm", Arch: "amd64", Status: []byte(
		control("libc6", "2.36-9", "amd64", installed) + "\n" + control("dmsetup", "2:1.0", "amd64", installed) + "\n" + control("victim", "1", "amd64", installed))}
	dir := filepath.Join(t.TempDir(), `Büro's "debs" 100%`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"lvm2.deb":        control("lvm2", "2.03", "amd64", "Depends: libc6 (>= 2.30), dmsetup (>= 2:1.1), libaio1\nInstalled-Size: 100\n"),
		"lvm2 old.deb":    control("lvm2", "2.02", "amd64", ""),
		"lvm2-arm.deb":    control("lvm2", "9", "arm64", ""),
		"dm%3asetup.deb":  control("dmsetup", "2:1.1", "amd64", ""),
		"aio.deb":         control("libaio1", "0.3", "all", ""),
		"unrelated.deb":   control("hello", "1", "amd64", ""),
		"needy.deb":       control("needy", "1", "amd64", "Depends: nowhere-to-be-found\n"),
		"destructive.deb": control("destructive", "1", "amd64", "Conflicts: victim\n"),
		"newlibc.deb":     control("modern", "1", "amd64", "Depends: libc6 (>= 3)\n"),
	} {
		makeDeb(t, filepath.Join(dir, file), text)
	}
	tests := []struct {
		want, packages, err string
	}{
		{"lvm2", "aio.deb dm%3asetup.deb lvm2.deb", ""},
		{"dmsetup", "dm%3asetup.deb", ""},
		{"victim", "", ""},
		{"needy", "", "needy can't be installed in the guest from " + dir + ": apt-get: exit status 100: E: Unable to correct problems, you have held broken packages. (needy : Depends: nowhere-to-be-found"},
		{"destructive", "", "destructive can't be installed in the guest from " + dir},
		{"modern", "", "modern can't be installed in the guest from " + dir},
		{"absent", "", "absent can't be installed in the guest from " + dir},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			set, err := Resolver{Tool: host.Tool{}, Dir: dir, TempDir: t.TempDir()}.Resolve(t.Context(), g, tt.want)
			if (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Fatalf("Resolve = %v; want %s", err, tt.err)
			}
			var files []string
			for _, p := range set.Packages {
				files = append(files, filepath.Base(p.From))
				if old := map[string]string{"dmsetup": "2:1.0"}[p.Name]; p.Old != old {
					t.Errorf("%s replaces %q; want %q", p.Name, p.Old, old)
				}
			}
			slices.Sort(files)
			if got := strings.Join(files, " "); got != tt.packages {
				t.Errorf("packages %q; want %q", got, tt.packages)
			}
			if paths, err := Fetch(t.Context(), host.Tool{}, t.TempDir(), set); err != nil || len(paths) != len(files) {
				t.Errorf("Fetch = %q, %v", paths, err)
			}
		})
	}
	empty := t.TempDir()
	if _, err := (Resolver{Tool: host.Tool{}, Dir: empty}).Resolve(t.Context(), g, "lvm2"); message(err) != "directory of packages "+empty+": no *.deb for amd64 in it" {
		t.Errorf("an empty directory = %v", err)
	}
	if err := os.WriteFile(filepath.Join(empty, "x.deb"), []byte("no package"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Resolver{Tool: host.Tool{}, Dir: empty}).Resolve(t.Context(), g, "lvm2"); err == nil || !strings.HasPrefix(err.Error(), "package "+empty+"/x.deb: dpkg-deb: exit status 2") {
		t.Errorf("a file that is no package = %v", err)
	}
}
