package networkd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
// with an address. A read-only /sys tells it that there is no udev to wait for.
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
ip address add 10.1.2.3/24 dev eno1
export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console
timeout 2 "$2" 2>&1 || true
ip address show dev eno1
`

// networkd returns what the real one says of units.
func networkd(t *testing.T, units []Unit) string {
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
	out, err := exec.Command(unshare, "-n", "-m", "sh", "-c", reader, "sh", dir, daemon).CombinedOutput()
	if err != nil {
		t.Fatalf("networkd: %v: %s", err, out)
	}
	return string(out)
}

// complaint is networkd's form of a remark on a file.
var complaint = regexp.MustCompile(`(?m)^.*/etc/systemd/network/.*:\d+:.*$|^.*(?:[Ii]nvalid|[Ff]ailed to (?:parse|load)|Unknown (?:key|section|lvalue)|ignoring assignment|is empty).*\.(?:network|netdev|conf).*$`)

// TestReader has the real networkd read and apply all that this package
// writes.
func TestReader(t *testing.T) {
	if testing.Short() {
		t.Skip("runs systemd-networkd for seconds")
	}
	eno1 := Uplink{Name: "eno1", MTU: 9000, VLANs: []VLAN{
		{Name: "eno1.42", ID: 42, For: []string{"a\n[Network]\nAddress=6.6.6.6/8\n", `back\`, strings.Repeat("ü", 5000), "\x00\xff"}},
		{Name: "vlan7-0a1b2c3d", ID: 7, MTU: 9000},
	}}
	var units []Unit
	add := func(more []Unit, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, more...)
	}
	add(Dummy("esx-vSwitch1.5", 1400, []string{"lab"}))
	add(HostMacvlan(Uplink{Name: "eno2"}))
	units = append(units, Macvtap())

	t.Run("uplink of ours", func(t *testing.T) {
		all := units
		more, err := eno1.Units()
		if err != nil {
			t.Fatal(err)
		}
		out := networkd(t, append(all, more...))
		if bad := complaint.FindAllString(out, -1); bad != nil {
			t.Errorf("networkd complains:\n%s", strings.Join(bad, "\n"))
		}
		for _, want := range []string{
			`eno1.42: loaded "vlan"`, `vlan7-0a1b2c3d: loaded "vlan"`, `esx-vSwitch1.5: loaded "dummy"`, `host-eno2: loaded "macvlan"`,
			"esx-vSwitch1.5: Creating",
			"eno1.42: Creating", // the drop-in hangs it on the uplink
			"inet 10.1.2.3/24",  // and the uplink's address stays
			"mtu 9000",          // and it has jumbo frames
		} {
			if !strings.Contains(out, want) {
				t.Errorf("networkd's output lacks %q:\n%s", want, out)
			}
		}
		if strings.Contains(out, "6.6.6.6") {
			t.Errorf("a port group's name configured an address:\n%s", out)
		}
	})
	t.Run("uplink of the host's", func(t *testing.T) {
		eno1.File, eno1.MTU = "10-lan.network", 0
		more, err := eno1.Units()
		if err != nil {
			t.Fatal(err)
		}
		more = append(more, Unit{Name: "10-lan.network", Text: "[Match]\nName=eno1\n[Network]\nAddress=10.9.9.9/24\nLinkLocalAddressing=no\n"})
		out := networkd(t, more)
		if bad := complaint.FindAllString(out, -1); bad != nil {
			t.Errorf("networkd complains:\n%s", strings.Join(bad, "\n"))
		}
		for _, want := range []string{"eno1.42: Creating", "vlan7-0a1b2c3d: loaded"} {
			if !strings.Contains(out, want) {
				t.Errorf("networkd's output lacks %q:\n%s", want, out)
			}
		}
	})
	t.Run("complaints are seen", func(t *testing.T) {
		out := networkd(t, []Unit{{Name: "20-x.network", Text: "[Match]\nName=eno1\n[Network]\nBogus=1\n"}})
		if complaint.FindString(out) == "" {
			t.Errorf("no complaint about a bogus key:\n%s", out)
		}
	})
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"eno1": "", "enp129s0f1.4094": "", "vlan42-0a1b2c3d": "", "br_lan": "",
		"":                 "empty interface name",
		"enp129s0f1np1.42": `interface name "enp129s0f1np1.42": 16 bytes, the kernel allows 15`,
		"..":               `interface name ".." means something else`,
		"a b":              `interface name "a b": character ' '`,
		"a\nb":             `interface name "a\nb": character '\n'`,
		"eth*":             `interface name "eth*": character '*'`,
		"-x":               `interface name "-x": character '-'`,
		"a/b":              `interface name "a/b": character '/'`,
		"éno1":             `interface name "éno1": character 'é'`,
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
		`uplink eno1: "../x.network" is no name of a .network file`: {Name: "eno1", File: "../x.network"},
		`uplink eno1: "a\nb.network" is no name of a .network file`: {Name: "eno1", File: "a\nb.network"},
		`VLAN device v: id 4095: want 1 to 4094`:                    {Name: "eno1", VLANs: []VLAN{{Name: "v", ID: 4095}}},
		`VLAN 3 on eno1: empty interface name`:                      {Name: "eno1", VLANs: []VLAN{{ID: 3}}},
		`uplink eno1: MTU -1`:                                       {Name: "eno1", MTU: -1},
	} {
		if _, err := u.Units(); err == nil || err.Error() != want {
			t.Errorf("Units = %v; want %q", err, want)
		}
	}
}
