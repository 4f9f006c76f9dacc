package packages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/host"
)

const sum = "608ae8de670342fc80d388185be64af9c886e61d145669a606db002663f7fd82"

func TestParseSimulation(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Package
		err      string
	}{
		{"nothing", "", nil, ""},
		{
			"install and upgrade",
			"NOTE: This is only a simulation!\nInst libaio1 (0.3.113-4 Debian:12.15/oldstable [amd64])\nInst dmsetup [2:1.02.175-2] (2:1.02.185-2 Debian:12.15/oldstable [amd64]) []\nInst lvm2:amd64 (2.03.16-2 Debian:12.15/oldstable, Debian-Security:12/x [amd64])\nConf lvm2 (2.03.16-2 Debian:12.15/oldstable [amd64])\n",
			[]Package{{Name: "libaio1", Version: "0.3.113-4"}, {Name: "dmsetup", Old: "2:1.02.175-2", Version: "2:1.02.185-2"}, {Name: "lvm2", Version: "2.03.16-2"}},
			"",
		},
		{"removal", "Remv systemd [252]\nInst x (1 [amd64])\n", nil, `the packages would remove "systemd [252]" from the guest`},
		{"unknown", "Inst lvm2\n", nil, `apt-get: can't read "Inst lvm2"`},
		{"too many", strings.Repeat("Inst x (1 Debian [amd64])\n", maxPackages+1), nil, "41 packages would be installed or upgraded, more than 40: bring the guest up to date first"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseSimulation(tt.in)
			if message(err) != tt.err {
				t.Fatalf("parseSimulation = %v; want %s", err, tt.err)
			}
			if err == nil && !cmp.Equal(got.Packages, tt.want) {
				t.Errorf("parseSimulation: %s", cmp.Diff(tt.want, got.Packages))
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// withSecret is what is said of an address with a password: nothing of it.
const withSecret = "this host's source of packages on m.example has a user's name or password in its address, which would end up in the plan: " +
	"put it into a file in /etc/apt/auth.conf.d instead (apt_auth.conf(5)), or give the packages with --packages DIR"

func TestParseURIs(t *testing.T) {
	tests := []struct {
		name, in string
		want     map[string]debFile
		err      string
	}{
		{"epoch", "'http://m/l/lvm2/dmeventd_1.02.185-2_amd64.deb' dmeventd_2%3a1.02.185-2_amd64.deb 59188 SHA256:" + sum + "\n", map[string]debFile{"dmeventd_2:1.02.185-2": {"http://m/l/lvm2/dmeventd_1.02.185-2_amd64.deb", 59188, sum}}, ""},
		{"weak hash", "'http://m/x.deb' x_1_amd64.deb 1 MD5Sum:0e2724f0cea2fac746c8472de3483104\n", nil, `apt-get: "x_1_amd64.deb" has no SHA-256, so its source isn't trusted`},
		{"no hash", "'http://m/x.deb' x_1_amd64.deb 1\n", nil, `apt-get: can't read "'http://m/x.deb' x_1_amd64.deb 1\n"`},
		{"size", "'http://m/x.deb' x_1_amd64.deb y SHA256:" + sum, nil, `apt-get: size of "x_1_amd64.deb": strconv.ParseInt: parsing "y": invalid syntax`},
		{"name", "'http://m/x.deb' x.deb 1 SHA256:" + sum, nil, `apt-get: file "x.deb": want NAME_VERSION_ARCH.deb`},
		{"nothing", "\n", map[string]debFile{}, ""},
		{"password", "'https://user:s%40cret@m.example/x.deb' x_1_amd64.deb 1 SHA256:" + sum, nil, withSecret},
		{"password, no hash", "'https://user:s%40cret@m.example/x.deb' x_1_amd64.deb 1\n", nil, withSecret},
		{"token", "'https://s3cret@m.example/x.deb' x_1_amd64.deb 1 SHA256:" + sum, nil, withSecret},
		{"password that is no URI's", "'https://user:s%cret@m.example/x.deb' x_1_amd64.deb 1 SHA256:" + sum, nil, "apt-get: can't read the address of a package: give the packages with --packages DIR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseURIs(tt.in)
			if message(err) != tt.err {
				t.Fatalf("parseURIs = %v; want %s", err, tt.err)
			}
			if err == nil && !cmp.Equal(got, tt.want, cmp.AllowUnexported(debFile{})) {
				t.Errorf("parseURIs = %v; want %v", got, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Inst dmsetup [2:1.02.175-2] (2:1.02.185-2 Debian:12.15/oldstable [amd64]) []\n")
	f.Add("'http://m/x.deb' x_1%3a2_amd64.deb 1 SHA256:" + sum + "\n")
	f.Add("http://m/\tmain\tbookworm-security\tDebian\tDebian-Security\n")
	f.Fuzz(func(t *testing.T, s string) {
		if set, err := parseSimulation(s); err == nil && len(set.Packages) > maxPackages {
			t.Errorf("%d packages", len(set.Packages))
		}
		files, _ := parseURIs(s)
		for name, file := range files {
			if !hashPattern.MatchString(file.sha256) {
				t.Errorf("%s has the hash %q", name, file.sha256)
			}
		}
		for _, l := range sourceLines(s, Guest{ID: "debian", Codename: "trixie", Arch: "amd64"}) {
			if strings.ContainsAny(l, "\n\t") {
				t.Errorf("a source of more than a line: %q", l)
			}
		}
	})
}

func TestSourceLines(t *testing.T) {
	targets := strings.Join([]string{
		"http://mirror.example.org/debian/\tmain\tbookworm\tDebian\tDebian",
		"http://mirror.example.org/debian/\tmain\tbookworm-updates\tDebian\tDebian",
		"http://mirror.example.org/debian-security/\tmain\tbookworm-security\tDebian\tDebian-Security",
		"http://mirror.example.org/debian/\tmain\tbookworm-backports\tDebian\tDebian Backports",
		"http://mirror.example.org/debian/\tmain\tbookworm\tDebian\tDebian",
		"https://apt.example.net/\tmain\tbookworm\tDebian\tMy packages",
		"https://packages.example.com/apt/\tmain\tcloud-sdk\tcloud-sdk\tcloud-sdk",
		"http://archive.ubuntu.com/ubuntu/\tuniverse\tnoble-security\tUbuntu\tUbuntu",
		"short",
	}, "\n")
	tests := []struct {
		guest Guest
		want  []string
	}{
		{Guest{ID: "debian", Codename: "trixie", Arch: "amd64"}, []string{
			"http://mirror.example.org/debian/ trixie main", "http://mirror.example.org/debian/ trixie-updates main", "http://mirror.example.org/debian-security/ trixie-security main",
		}},
		{Guest{ID: "debian", Codename: "buster", Arch: "i386"}, []string{
			"http://mirror.example.org/debian/ buster main", "http://mirror.example.org/debian/ buster-updates main", "http://mirror.example.org/debian-security/ buster/updates main",
		}},
		{Guest{ID: "ubuntu", Codename: "jammy", Arch: "amd64"}, []string{"http://archive.ubuntu.com/ubuntu/ jammy-security universe"}},
	}
	for _, tt := range tests {
		t.Run(tt.guest.Codename, func(t *testing.T) {
			var got []string
			for _, l := range sourceLines(targets, tt.guest) {
				options, rest, _ := strings.Cut(l, "] ")
				if !strings.HasPrefix(options, "deb [arch="+tt.guest.Arch) {
					t.Errorf("line %q: want its architecture", l)
				}
				got = append(got, rest)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sourceLines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestArchitectures(t *testing.T) {
	g := Guest{Arch: "amd64", Status: []byte("Package: a\nArchitecture: all\n\nPackage: b\nArchitecture: i386\n\nArchitecture: i386\nArchitecture: \"; evil\nArchitecture: amd64\n")}
	if got, want := architectures(g), []string{"amd64", "i386"}; !slices.Equal(got, want) {
		t.Errorf("architectures = %q; want %q", got, want)
	}
}

func TestAcquireLines(t *testing.T) {
	got := acquireLines("Acquire::http::Proxy \"http://u:p@x\";\nAPT::Update::Post-Invoke \"rm\";\nAcquire::Check-Date \"false\";\nDir::State \"x\";\n")
	if want := []string{`Acquire::http::Proxy "http://u:p@x";`, `Acquire::Check-Date "false";`}; !slices.Equal(got, want) {
		t.Errorf("acquireLines = %q; want %q", got, want)
	}
}

func TestResolveRefuses(t *testing.T) {
	good := Guest{ID: "debian", Codename: "bookworm", Arch: "amd64", Status: []byte("x")}
	tests := []struct {
		name   string
		change func(*Guest)
		want   string
		err    string
	}{
		{"distribution", func(g *Guest) { g.ID = "rhel" }, "lvm2", `packages for a guest with "rhel": want debian or ubuntu`},
		{"codename", func(g *Guest) { g.Codename = "x] http://evil/ y" }, "lvm2", `packages: the guest's release is "x] http://evil/ y": want a codename`},
		{"no codename", func(g *Guest) { g.Codename = "" }, "lvm2", `packages: the guest's release is "": want a codename`},
		{"architecture", func(g *Guest) { g.Arch = "a\"b" }, "lvm2", `packages: the guest's architecture is "a\"b": want a name that dpkg uses`},
		{"no status", func(g *Guest) { g.Status = nil }, "lvm2", "packages: the guest's dpkg status has 0 bytes: want 1 to 33554432"},
		{"option", func(*Guest) {}, "--force-yes", `"--force-yes" is not a package name`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := good
			tt.change(&g)
			_, err := Resolver{Tool: runner(nil)}.Resolve(t.Context(), g, tt.want)
			if message(err) != tt.err {
				t.Errorf("Resolve = %v; want %s", err, tt.err)
			}
		})
	}
}

// runner answers for programs.
type runner func(argv []string) (string, error)

func (r runner) Run(_ context.Context, argv ...string) ([]byte, error) {
	out, err := r(argv)
	return []byte(out), err
}

// mirror answers as apt on a host with Debian's mirrors does.
func mirror(simulation string) runner {
	return func(argv []string) (string, error) {
		line := strings.Join(argv, " ")
		switch {
		case strings.Contains(line, "indextargets"):
			return "http://m/debian/\tmain\tbookworm\tDebian\tDebian\n", nil
		case strings.Contains(line, " -s install"):
			return simulation, nil
		case strings.Contains(line, "--print-uris"):
			return "'http://m/lvm2.deb' lvm2_2.03_amd64.deb 100 SHA256:" + sum + "\n", nil
		case strings.Contains(line, "apt-cache show"):
			return "Package: lvm2\nInstalled-Size: 4\n", nil
		}
		return "", nil
	}
}

func TestResolve(t *testing.T) {
	g := Guest{ID: "debian", Codename: "trixie", Arch: "amd64", Status: []byte("x")}
	tests := []struct {
		name string
		tool runner
		want Set
		err  string
	}{
		{"one", mirror("Inst lvm2 (2.03 Debian [amd64])\n"), Set{Packages: []Package{{Name: "lvm2", Version: "2.03", From: "http://m/lvm2.deb", Size: 100, SHA256: sum}}, Unpacked: 4096}, ""},
		{"installed already", mirror(""), Set{}, ""},
		{"libc", mirror("Inst libc6 [2.36] (2.41 Debian [amd64])\n"), Set{}, "lvm2 would upgrade the guest's libc6 from 2.36 to 2.41: upgrade the guest yourself first, or give the packages with --packages DIR"},
		{"address unknown", mirror("Inst dmsetup (1 Debian [amd64])\n"), Set{}, "package dmsetup 1: apt doesn't say where it is"},
		{"no sources", func([]string) (string, error) { return "", nil }, Set{}, "this host's apt has no source of the guest's distribution, debian (apt-get update may not have been run here): give the packages with --packages DIR"},
		{"no apt", func(argv []string) (string, error) {
			return "", &host.MissingError{Program: argv[0]}
		}, Set{}, "can't work out which packages the guest needs for lvm2: apt is required (apt-get is not installed on this host, or not in PATH); or install it in the guest before migrating"},
		{"network away", func(argv []string) (string, error) {
			if slices.Contains(argv, "update") {
				return "", errors.New("apt-get: no route")
			}
			return mirror("")(argv)
		}, Set{}, "can't get the index of debian trixie from this host's mirrors: apt-get: no route: give the packages with --packages DIR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			temp := t.TempDir()
			got, err := Resolver{Tool: tt.tool, TempDir: temp}.Resolve(t.Context(), g, "lvm2")
			if message(err) != tt.err {
				t.Fatalf("Resolve = %v; want %s", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Resolve (-want +got):\n%s", diff)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// The private directory keeps apt away from the host's, and the passwords of
// proxies away from argv.
func TestConfigure(t *testing.T) {
	g := Guest{ID: "debian", Codename: "trixie", Arch: "amd64", Status: []byte("x")}
	var conf string
	tool := runner(func(argv []string) (string, error) {
		if slices.Contains(argv, "update") {
			b, err := os.ReadFile(strings.TrimPrefix(argv[1], "APT_CONFIG="))
			conf = string(b)
			return "", err
		}
		if argv[0] == "apt-config" {
			return "Acquire::http::Proxy \"http://u:secret@p\";\nAPT::Update::Post-Invoke:: \"rm\";\n", nil
		}
		if strings.Contains(strings.Join(argv, " "), "secret") {
			t.Errorf("a secret among arguments: %q", argv)
		}
		return mirror("")(argv)
	})
	if _, err := (Resolver{Tool: tool, TempDir: t.TempDir()}).Resolve(t.Context(), g, "lvm2"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Dir::State \"", "Dir::State::status \"", "Dir::Cache \"", "Dir::Etc::sourcelist \"", "Dir::Etc::parts \"", "Dir::Etc::main \"", "secret"} {
		if !strings.Contains(conf, want) {
			t.Errorf("apt.conf lacks %s:\n%s", want, conf)
		}
	}
	if strings.Contains(conf, "Invoke") {
		t.Errorf("a hook of the host is in apt.conf:\n%s", conf)
	}
}

func TestFetch(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mine.deb")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	const content = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
	tests := []struct {
		name string
		pkg  Package
		err  string
	}{
		{"here", Package{Name: "a", From: file, SHA256: content}, ""},
		{"downloaded", Package{Name: "a", From: "http://m/a.deb", SHA256: content}, ""},
		{"another content", Package{Name: "a", From: file, SHA256: sum}, "package a: " + file + " is not the file in the plan: plan again"},
		{"gone", Package{Name: "a", From: "/nonexistent/a.deb", SHA256: sum}, "package a: stat /nonexistent/a.deb: no such file or directory"},
		{"a device", Package{Name: "a", From: "/dev/zero", SHA256: sum}, "package a: /dev/zero: not a regular file"},
		{"scheme", Package{Name: "a", From: "file:///etc/passwd", SHA256: sum}, `package a of the plan: "file:///etc/passwd": want a path or an address with http or https`},
		{"option", Package{Name: "a", From: "--help", SHA256: sum}, `package a of the plan: "--help": want a path or an address with http or https`},
		{"no hash", Package{Name: "a", From: file}, `package a of the plan: "" is not a SHA-256`},
		{"mirror has it no more", Package{Name: "a", From: "http://m/404", SHA256: sum}, "package a: apt-helper: 404: if the mirror now has a newer one, plan again; if a proxy in between changes it, reach the mirror without it; or give the packages with --packages DIR"},
	}
	tool := runner(func(argv []string) (string, error) {
		uri, to := argv[len(argv)-3], argv[len(argv)-2]
		if strings.HasSuffix(uri, "404") {
			return "", errors.New("apt-helper: 404")
		}
		if argv[len(argv)-1] != "SHA256:"+content {
			return "", fmt.Errorf("asked for %s", argv[len(argv)-1])
		}
		return "", os.WriteFile(to, []byte("content"), 0o600)
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			paths, err := Fetch(t.Context(), tool, dir, Set{Packages: []Package{tt.pkg}})
			if message(err) != tt.err || err == nil && len(paths) != 1 {
				t.Errorf("Fetch = %q, %v; want %s", paths, err, tt.err)
			}
		})
	}
	away := runner(func([]string) (string, error) { return "", errors.New("the mirror is away") })
	again := t.TempDir()
	set := Set{Packages: []Package{{Name: "a", From: "http://m/a.deb", SHA256: content}}}
	for _, tool := range []runner{tool, away} {
		if _, err := Fetch(t.Context(), tool, again, set); err != nil {
			t.Errorf("Fetch of what was fetched = %v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(again, "0.deb"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Fetch(t.Context(), away, again, set); err == nil {
		t.Error("Fetch took half a file for a package")
	}
}
