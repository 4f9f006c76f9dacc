package networkd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tool finds a program, without which a test is skipped at home and fails in CI.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
		t.Fatalf("%s is needed", names[0])
	}
	t.Skipf("%s is needed", names[0])
	return ""
}

// reader runs the real systemd-networkd for a moment, in a network and a mount
// namespace of its own, where $1 is /etc/systemd/network and eno1 is a veth
// with addresses that it didn't get from networkd, whose cable is out for a
// moment. A read-only /sys tells it that there is no udev to wait for.
const reader = `set -eu
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp /run/dbus
chown -R systemd-network:systemd-network /run/systemd/netif
echo lxc > /run/systemd/container
mkdir -p /etc/systemd/network
mount --bind "$1" /etc/systemd/network
[ ! -d /usr/lib/systemd/network ] || mount -t tmpfs none /usr/lib/systemd/network
mount -t sysfs -o ro none /sys
ip link add eno1 type veth peer name peer1
ip link set peer1 up
ip link set eno1 up
ip address add 10.1.2.3/24 dev eno1
ip address add 2001:db8::5/64 dev eno1 valid_lft 3600 preferred_lft 1800
ip route add 198.51.100.0/24 via 10.1.2.1
(sleep "$3"; ip link set peer1 down; sleep 0.3; ip link set peer1 up) &
export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console
timeout $(($3 * 2)) "$2" 2>&1 || true
ip address show dev eno1
ip route show
`

// networkd returns what the real one says of units in two seconds, with the cable
// out after one; or in more, on a machine where that isn't enough for all that
// is to be said.
func networkd(t *testing.T, units []Unit, all func(out string) bool) string {
	t.Helper()
	const first, last = 1, 64
	for seconds := first; ; seconds *= 4 {
		if out := networkdFor(t, units, seconds); all(out) || seconds >= last {
			return out
		}
	}
}

// networkdFor is networkd with the cable out after so many seconds.
func networkdFor(t *testing.T, units []Unit, seconds int) string {
	t.Helper()
	unshare := tool(t, "unshare")
	daemon := tool(t, "/usr/lib/systemd/systemd-networkd", "/lib/systemd/systemd-networkd")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // networkd drops root's rights
		t.Fatal(err)
	}
	for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		_ = os.Chmod(p, 0o755)
	}
	for _, u := range units {
		path := filepath.Join(dir, u.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(u.Text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(unshare, "-n", "-m", "true").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
			t.Fatalf("unshare: %v: %s", err, out)
		}
		t.Skipf("unshare: %v: %s", err, out)
	}
	out, err := exec.Command(unshare, "-n", "-m", "sh", "-c", reader, "sh", dir, daemon, strconv.Itoa(seconds)).CombinedOutput()
	if err != nil {
		t.Fatalf("networkd: %v: %s", err, out)
	}
	return string(out)
}

// complaint is networkd's form of a remark on a file.
var complaint = regexp.MustCompile(`(?m)^.*/etc/systemd/network/.*:\d+:.*$|^.*(?:[Ii]nvalid|[Ff]ailed to (?:parse|load)|Unknown (?:key|section|lvalue)|ignoring assignment|is empty).*\.(?:network|netdev|conf).*$`)

// with is the uplink with a file of the host's and an MTU.
func with(u Uplink, file string, mtu int) Uplink {
	u.File, u.MTU = file, mtu
	return u
}

// foreign is what eno1 has that networkd didn't make: addresses of a person's,
// of SLAAC, of the link (an unnumbered BGP session's), and a route.
func foreign() []string {
	return []string{"inet 10.1.2.3/24", "inet6 2001:db8::5/64", "inet6 fe80::", "198.51.100.0/24 via 10.1.2.1"}
}

// TestReader has the real networkd read and apply all that this package
// writes.
func TestReader(t *testing.T) {
	if testing.Short() {
		t.Skip("runs systemd-networkd for seconds")
	}
	eno1 := Uplink{Name: "eno1", VLANs: []VLAN{
		{Name: "eno1.42", ID: 42, For: []string{"a\n[Network]\nAddress=6.6.6.6/8\n", `back\`, strings.Repeat("ü", 5000), "\x00\xff"}},
		{Name: "vlan7-0a1b2c3d", ID: 7, MTU: 9000},
		{Name: "eno1.8", ID: 8, MTU: 1400},
	}}
	must := func(units []Unit, err error) []Unit {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return units
	}
	others := slices.Concat(must(Dummy("esx-vSwitch1.5", 1400, []string{"lab"})), []Unit{Macvtap()})
	lan := func(name, more string) Unit {
		return Unit{Name: name, Text: "[Match]\nName=eno1\n[Network]\nAddress=10.9.9.9/24\nLinkLocalAddressing=no\n" + more}
	}
	tests := []struct {
		name  string
		units []Unit
		want  []string
		not   []string
	}{
		{
			name:  "host's lan.network, not known",
			units: slices.Concat(others, must(eno1.Units()), []Unit{lan("lan.network", "")}),
			want:  []string{"inet 10.9.9.9/24", "mtu 1500", `eno1.42: loaded "vlan"`, "esx-vSwitch1.5: Creating", "eno1: Configuring with /etc/systemd/network/lan.network."},
			not:   []string{"eno1.42: Creating"},
		},
		{
			name:  "host's lan.network, known",
			units: slices.Concat(others, must(with(eno1, "lan.network", 0).Units()), []Unit{lan("lan.network", "")}),
			want:  []string{"inet 10.9.9.9/24", "mtu 1500", "eno1.42: Creating", `vlan7-0a1b2c3d: loaded "vlan"`, "eno1: Configuring with /etc/systemd/network/lan.network."},
		},
		{
			name:  "host's file with an odd name, known",
			units: slices.Concat(must(with(eno1, "my büro = 1.network", 0).Units()), []Unit{lan("my büro = 1.network", "")}),
			want:  []string{"inet 10.9.9.9/24", "eno1.42: Creating"},
		},
		{
			name:  "no file, addresses of a person's",
			units: slices.Concat(others, must(eno1.Units())),
			want:  append(foreign(), "mtu 1500", `eno1.42: loaded "vlan"`),
			not:   []string{"eno1: Configuring with", "eno1.42: Creating"},
		},
		{
			name:  "no file, base copied",
			units: slices.Concat(others, must(eno1.Units()), must(eno1.Optional())),
			want:  append(foreign(), "mtu 1500", "eno1.42: Creating", "eno1: Configuring with /etc/systemd/network/zz-esxodus-eno1.network.", "eno1: Lost carrier"),
		},
		{
			name:  "host's lan.network, base copied by mistake",
			units: slices.Concat(must(eno1.Units()), must(eno1.Optional()), []Unit{lan("lan.network", "")}),
			want:  []string{"inet 10.9.9.9/24", "eno1: Configuring with /etc/systemd/network/lan.network."},
		},
		{
			name:  "jumbo frames, macvlan",
			units: slices.Concat(must(with(eno1, "lan.network", 9000).Units()), must(with(eno1, "lan.network", 9000).Optional()), must(HostMacvlan(with(eno1, "lan.network", 0))), []Unit{lan("lan.network", "")}),
			want:  []string{"inet 10.9.9.9/24", "mtu 9000", `host-eno1: loaded "macvlan"`, "host-eno1: Creating", "eno1.42: Creating"},
		},
	}
	for _, mode := range []BondMode{ActiveBackup, BalanceXOR, LACP} {
		b := Bond{Name: "bond-vSwitch0", Legs: []string{"eno1", "eno2"}, Mode: mode, For: []string{"a\n[Bond]"}}
		if mode == ActiveBackup {
			b.Primary = "eno2"
		}
		tests = append(tests, struct {
			name  string
			units []Unit
			want  []string
			not   []string
		}{"bond, " + string(mode), must(b.Units()), []string{`bond-vSwitch0: loaded "bond"`, "eno1: Configuring with /etc/systemd/network/40-esxodus-bond-vSwitch0-eno1.network."}, nil})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out := networkd(t, tt.units, func(out string) bool {
				return !slices.ContainsFunc(tt.want, func(want string) bool { return !strings.Contains(out, want) })
			})
			if bad := complaint.FindAllString(out, -1); bad != nil {
				t.Errorf("networkd complains:\n%s", strings.Join(bad, "\n"))
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("networkd's output lacks %q:\n%s", want, out)
				}
			}
			for _, not := range append(tt.not, "6.6.6.6") {
				if strings.Contains(out, not) {
					t.Errorf("networkd's output has %q:\n%s", not, out)
				}
			}
		})
	}
	t.Run("complaints are seen", func(t *testing.T) {
		out := networkd(t, []Unit{{Name: "20-x.network", Text: "[Match]\nName=eno1\n[Network]\nBogus=1\n"}}, complaint.MatchString)
		if !complaint.MatchString(out) {
			t.Errorf("no complaint about a bogus key:\n%s", out)
		}
	})
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"eno1": "", "enp129s0f1.4094": "", "vlan42-0a1b2c3d": "", "br_lan": "",
		"":                 "empty interface name",
		"enp129s0f1np1.42": `interface name "enp129s0f1np1.42": 16 bytes, the kernel allows 15`,
		"..":               `interface name ".." has a special meaning`,
		"a b":              `interface name "a b": character ' ' isn't allowed`,
		"a\nb":             `interface name "a\nb": character '\n' isn't allowed`,
		"eth*":             `interface name "eth*": character '*' isn't allowed`,
		"-x":               `interface name "-x": character '-' isn't allowed`,
		"a/b":              `interface name "a/b": character '/' isn't allowed`,
		"éno1":             `interface name "éno1": character 'é' isn't allowed`,
	} {
		got := ""
		if err := CheckName(name); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("CheckName(%q) = %q; want %q", name, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for want, u := range map[string]Uplink{
		`uplink eno1: "../x.network" is not the name of a .network file`:                        {Name: "eno1", File: "../x.network"},
		`uplink eno1: name "a\nb.network" of a .network file: a character that isn't printable`: {Name: "eno1", File: "a\nb.network"},
		`VLAN device v: id 4095: want 1 to 4094`:                                                {Name: "eno1", VLANs: []VLAN{{Name: "v", ID: 4095}}},
		`VLAN 3 on eno1: empty interface name`:                                                  {Name: "eno1", VLANs: []VLAN{{ID: 3}}},
		`uplink eno1: ".x.network": networkd doesn't read hidden files`:                         {Name: "eno1", File: ".x.network"},
		`uplink eno1: MTU -1`: {Name: "eno1", MTU: -1},
	} {
		if _, err := u.Units(); err == nil || err.Error() != want {
			t.Errorf("Units = %v; want %q", err, want)
		}
	}
}

// TestMacvlanName has uplinks whose names begin alike.
func TestMacvlanName(t *testing.T) {
	seen := map[string]string{}
	for _, up := range []string{"eno1", "enp129s0f1", "enp129s0f0np0", "enp129s0f0np1", "enp129s0f1np0", "enp129s0f1np1"} {
		name := MacvlanName(up)
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
		if other := seen[name]; other != "" {
			t.Errorf("MacvlanName = %s for both %s and %s", name, other, up)
		}
		seen[name] = up
	}
	if got := MacvlanName("enp129s0f1"); got != "host-enp129s0f1" {
		t.Errorf("MacvlanName(enp129s0f1) = %s; want host-enp129s0f1", got)
	}
}
