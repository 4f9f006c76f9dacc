package host

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEnviron runs stand-ins of the programs that we start, in both ways, and
// looks at what they get of an environment full of secrets.
func TestEnviron(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"guestfish", "vgs", "apt-get", "apt-helper", "qemu-img"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nexec env\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "LIBGUESTFS_") || strings.HasPrefix(name, "SUPERMIN_") {
			t.Setenv(name, "") // to have it back after the test
			_ = os.Unsetenv(name)
		}
	}
	for name, value := range map[string]string{
		"PATH": dir + ":" + os.Getenv("PATH"), "HOME": "/root", "TMPDIR": dir, "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8",
		"GOVC_PASSWORD": "swordfish", "GOVC_URL": "https://root:swordfish@esx1", "AWS_SECRET_ACCESS_KEY": "swordfish", "SSH_AUTH_SOCK": "/tmp/agent",
		"LD_PRELOAD": "", "LIBGUESTFS_BACKEND": "direct", "SUPERMIN_KERNEL": "/boot/vmlinuz", "SUPERMIN_MODULES": "/lib/modules", "XDG_RUNTIME_DIR": "/run/user/0",
		"LVM_SYSTEM_DIR": "/etc/lvm", "https_proxy": "http://user:swordfish@proxy:3128", "LIBVIRT_DEFAULT_URI": "qemu:///session",
	} {
		t.Setenv(name, value)
	}
	always := []string{"HOME", "LC_ALL", "PATH", "TMPDIR"}
	tests := []struct {
		argv []string
		want []string // beside these
	}{
		{[]string{"qemu-img"}, nil},
		{[]string{"guestfish"}, []string{"LIBGUESTFS_BACKEND", "SUPERMIN_KERNEL", "SUPERMIN_MODULES", "XDG_RUNTIME_DIR"}},
		{[]string{"vgs"}, []string{"LVM_SYSTEM_DIR"}},
		{[]string{"apt-get"}, []string{"https_proxy"}},
		{[]string{filepath.Join(dir, "apt-helper")}, []string{"https_proxy"}},
		{[]string{"env", "APT_CONFIG=/x", "apt-get"}, []string{"APT_CONFIG", "https_proxy"}},
		{[]string{"env", "A=b"}, []string{"A"}},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.argv, " "), func(t *testing.T) {
			out, err := Tool{}.Run(t.Context(), tt.argv...)
			if err != nil {
				t.Fatal(err)
			}
			check := func(how string, lines []string) {
				t.Helper()
				var got []string
				for _, l := range lines {
					name, value, _ := strings.Cut(l, "=")
					if name == "LC_ALL" && value != "C" {
						t.Errorf("%s: LC_ALL=%s; want C", how, value)
					}
					// The shell and we add some, and these may not be set here.
					if !slices.Contains([]string{"PWD", "OLDPWD", "SHLVL", "_", "LVM_SUPPRESS_FD_WARNINGS", "USER", "LOGNAME", "TZ", "LD_LIBRARY_PATH"}, name) {
						got = append(got, name)
					}
				}
				slices.Sort(got)
				want := slices.Sorted(slices.Values(append(slices.Clone(always), tt.want...)))
				if !slices.Equal(got, want) {
					t.Errorf("%s: the program gets %q; want %q", how, got, want)
				}
			}
			check("Run", strings.Split(strings.TrimSpace(string(out)), "\n"))

			p, err := Tool{}.Start(t.Context(), Spec{Argv: tt.argv, Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for s := bufio.NewScanner(p); s.Scan(); {
				lines = append(lines, s.Text())
			}
			if err := p.Stop(time.Minute); err != nil {
				t.Error(err)
			}
			check("Start", lines)
		})
	}
}
