package adapt

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/fixtures"
)

// aptRoot is a private root of apt's with some packages installed, and a
// repository of others beside it.
type aptRoot struct{ dir string }

// newAptRoot takes stanzas of what is installed and of what can be had.
func newAptRoot(t *testing.T, installed, repository []string) aptRoot {
	t.Helper()
	a := aptRoot{dir: t.TempDir()}
	for _, dir := range []string{"etc/apt/preferences.d", "etc/apt/apt.conf.d", "etc/apt/sources.list.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg", "repo"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	status, index := "", ""
	for _, s := range installed {
		status += s + "Status: install ok installed\nArchitecture: amd64\nMaintainer: x <x@example.com>\nDescription: x\n\n"
	}
	for i, s := range repository {
		index += fmt.Sprintf("%sArchitecture: amd64\nMaintainer: x <x@example.com>\nDescription: x\nFilename: ./%d.deb\nSize: 1\nSHA256: %x\n\n", s, i, sha256.Sum256([]byte{byte(i)}))
	}
	a.write(t, "var/lib/dpkg/status", status)
	a.write(t, "repo/Packages", index)
	a.write(t, "etc/apt/sources.list", "deb [trusted=yes arch=amd64] copy:"+a.dir+"/repo ./\n")
	a.write(t, "apt.conf", fmt.Sprintf("Dir %q;\nDir::State::status %q;\nAPT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n", a.dir, a.dir+"/var/lib/dpkg/status"))
	a.run(t, "update")
	return a
}

func (a aptRoot) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs apt-get and returns what it says that it would install.
func (a aptRoot) run(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command(fixtures.Tool(t, "apt-get"), append([]string{"-q", "-s"}, args...)...)
	if args[0] == "update" {
		cmd.Args = []string{"apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update"}
	}
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
	if strings.Contains(string(out), "preferences") {
		t.Errorf("apt-get on what the plan has made: %s", out)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(line, "Inst "); ok {
			name, _, _ = strings.Cut(name, " ")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// pinsOf is what apt is told in a guest of testdata.
func pinsOf(t *testing.T, name string) string {
	t.Helper()
	c, _, _ := New(input(t, archive(t, name)))
	i := slices.IndexFunc(c.Edits, func(e guest.Edit) bool { return e.Path == pinFile })
	if i < 0 {
		t.Fatalf("%s: no edit of %s", name, pinFile)
	}
	return c.Edits[i].New
}

// TestPins asks apt what comes with a new kernel's package, which recommends
// boot loaders as Ubuntu's do: first of a guest without the file, then with it.
func TestPins(t *testing.T) {
	kernel := "Package: linux-image-2\nVersion: 2\nRecommends: grub-pc | grub-efi-amd64 | grub-efi-ia32 | grub | lilo, useful\n\n"
	meta := "Package: linux-generic\nVersion: 2\nDepends: linux-image-2\n"
	repository := []string{meta, strings.TrimSuffix(kernel, "\n"), "Package: useful\nVersion: 1\n", "Package: memtest\nVersion: 1\nRecommends: grub2\n"}
	for _, name := range []string{"grub-pc", "grub-efi-amd64", "grub-efi-ia32", "lilo", "grub-pc-bin", "systemd-boot", "grub-efi-amd64-signed"} {
		repository = append(repository, "Package: "+name+"\nVersion: 2\n")
	}
	repository = append(repository, "Package: grub2\nVersion: 2\nDepends: grub-pc\n", "Package: shim-signed\nVersion: 2\nDepends: grub-efi-amd64-signed\n", "Package: grub-legacy\nVersion: 2\nProvides: grub\n")
	t.Run("GRUB is gone", func(t *testing.T) {
		a := newAptRoot(t, []string{"Package: linux-generic\nVersion: 1\n"}, repository)
		if got, want := a.run(t, "dist-upgrade"), []string{"grub-pc", "linux-generic", "linux-image-2", "useful"}; !slices.Equal(got, want) {
			t.Errorf("without pins %q come; want %q, or the test tests nothing", got, want)
		}
		a.write(t, pinFile[1:], pinsOf(t, "debian-mbr.txtar"))
		for _, tt := range []struct{ args, want string }{
			{"dist-upgrade", "linux-generic linux-image-2 useful"},
			{"install memtest", "memtest"},
			{"install grub-pc-bin", "grub-pc-bin"},
		} {
			if got := strings.Join(a.run(t, strings.Fields(tt.args)...), " "); got != tt.want {
				t.Errorf("%s: %s come; want %s", tt.args, got, tt.want)
			}
		}
	})
	t.Run("GRUB stays", func(t *testing.T) {
		installed := []string{"Package: linux-generic\nVersion: 1\n", "Package: grub-pc\nVersion: 1\n", "Package: grub-pc-bin\nVersion: 1\n", "Package: grub-efi-amd64-signed\nVersion: 1\n", "Package: shim-signed\nVersion: 1\nDepends: grub-efi-amd64-signed\n"}
		a := newAptRoot(t, installed, repository)
		a.write(t, pinFile[1:], pinsOf(t, "ubuntu-bios.txtar"))
		want := []string{"grub-efi-amd64-signed", "grub-pc", "grub-pc-bin", "linux-generic", "linux-image-2", "shim-signed", "useful"}
		if got := a.run(t, "dist-upgrade"); !slices.Equal(got, want) {
			t.Errorf("dist-upgrade: %q come; want %q: security updates of what stays, and no other loader", got, want)
		}
	})
}
