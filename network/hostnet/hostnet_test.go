package hostnet

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/fixtures"
	"esxodus/network"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/vishvananda/netlink"
)

// rooted is a machine whose files are those of an archive.
func rooted(t *testing.T, archive string) Machine {
	t.Helper()
	m := Machine{Root: t.TempDir()}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		path := m.path(f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestIfupdown(t *testing.T) {
	const installed = "-- sbin/ifup --\n"
	for _, tt := range []struct {
		name, files, evidence string
		want                  []string
	}{
		{name: "none", files: installed},
		{name: "only the loopback", files: installed + "-- etc/network/interfaces --\nauto lo\niface lo inet loopback\n"},
		{name: "not installed", files: "-- etc/network/interfaces --\niface eno1 inet dhcp\n"},
		{
			name: "each once, in order", files: "-- usr/sbin/ifup --\n-- etc/network/interfaces --\n# iface eno9 inet dhcp\nauto eno2\niface eno2 inet manual\niface eno1 inet static\n\taddress 192.0.2.2/24\niface eno1 inet6 auto\n",
			want: []string{"eno1", "eno2"}, evidence: "/etc/network/interfaces",
		},
		{
			name: "sourced by a pattern, and from where the file is", files: installed + `-- etc/network/interfaces --
source /etc/network/interfaces.d/*
source more
-- etc/network/interfaces.d/a --
iface eno3 inet dhcp
-- etc/network/interfaces.d/b --
iface br0 inet static
-- etc/network/more --
iface eno4 inet manual
`, want: []string{"br0", "eno3", "eno4"}, evidence: "/etc/network/interfaces.d/a, /etc/network/interfaces.d/b, /etc/network/more",
		},
		{
			name: "a directory", files: installed + "-- etc/network/interfaces --\nsource-directory interfaces.d\n-- etc/network/interfaces.d/x --\niface eno5 inet dhcp\n",
			want: []string{"eno5"}, evidence: "/etc/network/interfaces.d/x",
		},
		{
			name: "one that sources itself", files: installed + "-- etc/network/interfaces --\niface eno1 inet dhcp\nsource interfaces\nsource [\nsource gone\n",
			want: []string{"eno1"}, evidence: "/etc/network/interfaces",
		},
	} {
		var want []network.Manager
		if tt.want != nil {
			want = []network.Manager{{Name: network.Ifupdown, Links: tt.want, Evidence: tt.evidence}}
		}
		if diff := cmp.Diff(want, rooted(t, tt.files).ifupdown()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// adapter is a machine with an adapter that has two of its seven virtual functions.
func adapter(t *testing.T) (Machine, network.Link) {
	t.Helper()
	m := rooted(t, `-- sys/devices/pci0/0000:01:00.0/sriov_totalvfs --
7
-- sys/devices/pci0/0000:01:00.0/sriov_numvfs --
2
-- sys/devices/pci0/0000:01:00.0/sriov_offset --
128
-- sys/devices/pci0/0000:01:00.0/sriov_stride --
2
-- sys/devices/pci0/0000:01:00.0/net/eno2/ifindex --
3
-- sys/devices/pci0/0000:01:10.0/net/eno2v0/flags --
0x1002
-- sys/devices/pci0/0000:01:10.2/net/eno2v1/flags --
0x1002
-- sys/class/net/README --
-- sys/drivers/igbvf/x --
-- sys/drivers/vfio-pci/x --
-- run/udev/data/n3 --
E:ID_PATH=pci-0000:01:00.0
E:ID_NET_LINK_FILE=/usr/lib/systemd/network/99-default.link
`)
	for link, to := range map[string]string{
		"sys/class/net/eno2": "../../devices/pci0/0000:01:00.0/net/eno2", "sys/class/net/eno2v0": "../../devices/pci0/0000:01:10.0/net/eno2v0",
		"sys/devices/pci0/0000:01:00.0/net/eno2/device": "../..", "sys/devices/pci0/0000:01:10.0/net/eno2v0/device": "../..",
		"sys/devices/pci0/0000:01:10.0/physfn": "../0000:01:00.0", "sys/devices/pci0/0000:01:00.0/virtfn0": "../0000:01:10.0",
		"sys/devices/pci0/0000:01:00.0/virtfn1": "../0000:01:10.2", "sys/devices/pci0/0000:01:10.0/driver": "../../../drivers/igbvf",
		"sys/devices/pci0/0000:01:10.2/driver": "../../../drivers/igbvf",
	} {
		if err := os.Symlink(to, m.path(link)); err != nil {
			t.Fatal(err)
		}
	}
	return m, network.Link{Name: "eno2", Index: 3}
}

// TestFunctions: what an adapter can have, what it has, and who uses which.
func TestFunctions(t *testing.T) {
	m, l := adapter(t)
	vf1 := m.path("sys/devices/pci0/0000:01:10.2")
	want := network.Link{
		Name: "eno2", Index: 3, VFs: 2, MaxVFs: 7, Path: "pci-0000:01:00.0", LinkFile: "/usr/lib/systemd/network/99-default.link",
		VFPaths: []string{"pci-0000:01:10.0", "pci-0000:01:10.2", "pci-0000:01:10.4", "pci-0000:01:10.6", "pci-0000:01:11.0", "pci-0000:01:11.2", "pci-0000:01:11.4"},
	}
	see := func(used int) {
		t.Helper()
		got := l
		m.functions(&got)
		want.UsedVFs = used
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("eno2 (-want +got):\n%s", diff)
		}
	}
	see(0)
	vf := network.Link{Name: "eno2v0", Index: 4}
	if m.functions(&vf); vf.PF != "eno2" || vf.MaxVFs != 0 {
		t.Errorf("a virtual function: %+v", vf)
	}
	change := network.FunctionChange{Device: "eno2", Count: 2}
	fails := func(want string) {
		t.Helper()
		if err := m.RemoveFunctions(change); err == nil || !strings.Contains(err.Error(), want) || number(m.numbers("eno2")) != 2 {
			t.Errorf("RemoveFunctions = %v, want %q", err, want)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.WriteFile(filepath.Join(vf1, "net/eno2v1/flags"), []byte("0x1003\n"), 0o644))
	see(1)
	fails("are in use: 1 (eno2v1)")
	check(os.RemoveAll(filepath.Join(vf1, "net")))
	check(os.Remove(filepath.Join(vf1, "driver")))
	check(os.Symlink("../../../drivers/vfio-pci", filepath.Join(vf1, "driver")))
	see(1)
	fails("are in use: 1 (vfio-pci)")
	check(os.Remove(filepath.Join(vf1, "driver")))
	see(0)
	if err := m.MakeFunctions(network.FunctionChange{Device: "eno2", Count: 4}); err == nil || !strings.Contains(err.Error(), "has 2 virtual functions by now") {
		t.Errorf("MakeFunctions = %v", err)
	}
	check(m.RemoveFunctions(network.FunctionChange{Device: "eno2", Count: 4})) // not ours
	check(m.MakeFunctions(change))                                             // again
	check(m.RemoveFunctions(change))
	if n := number(m.numbers("eno2")); n != 0 {
		t.Errorf("left: %d", n)
	}
	check(m.MakeFunctions(network.FunctionChange{Device: "eno2", Count: 4}))
	if n := number(m.numbers("eno2")); n != 4 {
		t.Errorf("made: %d", n)
	}
}

func TestNetplan(t *testing.T) {
	links := []network.Link{
		{Name: "eno1", Networkd: network.NetworkdOfLink{File: "/run/systemd/network/10-netplan-eno1.network"}},
		{Name: "eno2", Networkd: network.NetworkdOfLink{File: "/etc/systemd/network/10-lan.network"}},
		{Name: "eno3"},
	}
	for _, tt := range []struct {
		name, files string
		want        []network.Manager
	}{
		{name: "none", files: "-- etc/netplan/README --\n"},
		{
			name: "two files", files: "-- etc/netplan/01.yaml --\n-- run/netplan/50.yaml --\n-- etc/netplan/old.yaml.bak --\n",
			want: []network.Manager{{Name: network.Netplan, Links: []string{"eno1"}, Evidence: "/etc/netplan/01.yaml, /run/netplan/50.yaml"}},
		},
	} {
		if diff := cmp.Diff(tt.want, rooted(t, tt.files).netplan(links)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestFiles: networkd's files, wherever they are; what masks, what is secret, and
// what is none of its own.
func TestFiles(t *testing.T) {
	m := rooted(t, `-- etc/systemd/network/lan.network --
[Match]
Name=eno1
-- etc/systemd/network/lan.network.d/x.conf --
[Network]
VLAN=eno1.42
-- etc/systemd/network/.esxodus-half.network --
-- etc/systemd/network/README --
-- etc/udev/rules.d/82-esxodus-vf-eno2.rules --
ours
-- etc/udev/rules.d/70-theirs.rules --
-- run/systemd/network/wg.netdev --
[WireGuard]
PrivateKey = geheim
[WireGuardPeer]
PresharedKey=auch
-- usr/lib/systemd/network/99-default.link --
-- etc/systemd/networkd.conf.d/a.conf --
`)
	if err := errors.Join(os.Symlink("/dev/null", m.path("etc/systemd/network/masked.network")), os.Symlink("usr/lib", m.path("lib")),
		os.Symlink("nowhere", m.path("etc/systemd/network/gone.network"))); err != nil {
		t.Fatal(err)
	}
	files, err := m.files()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range files {
		got[f.Path] = f.Text
		if f.Changed.IsZero() {
			t.Errorf("%s has no time", f.Path)
		}
	}
	want := map[string]string{
		"/etc/systemd/network/lan.network":           "[Match]\nName=eno1\n",
		"/etc/systemd/network/lan.network.d/x.conf":  "[Network]\nVLAN=eno1.42\n",
		"/etc/systemd/network/masked.network":        "",
		"/etc/udev/rules.d/82-esxodus-vf-eno2.rules": "ours\n",
		"/run/systemd/network/wg.netdev":             "[WireGuard]\nPrivateKey =***\n[WireGuardPeer]\nPresharedKey=***\n",
		"/usr/lib/systemd/network/99-default.link":   "",
		"/etc/systemd/networkd.conf.d/a.conf":        "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := os.WriteFile(m.path("etc/systemd/network/big.network"), make([]byte, maxFile+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := m.files(); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a file of more than a MiB: %v", err)
	}
}

func TestVersion(t *testing.T) {
	for files, want := range map[string]int{
		"-- usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so --\n": 257,
		"-- usr/lib/systemd/libsystemd-shared-252.39-1~deb12u2.so --\n":     252,
		"-- lib/systemd/libsystemd-shared-247.so --\n":                      247,
		"-- usr/lib/systemd/libsystemd-core-257.so --\n":                    0,
	} {
		if got := rooted(t, files).version(); got != want {
			t.Errorf("%s: version = %d; want %d", files, got, want)
		}
	}
}

// bus starts a bus of the test's own.
func bus(t *testing.T) *dbus.Conn {
	t.Helper()
	daemon := exec.CommandContext(t.Context(), fixtures.Tool(t, "dbus-daemon"), "--session", "--nofork", "--print-address", "--address=unix:dir="+t.TempDir())
	out, err := daemon.StdoutPipe()
	if err == nil {
		err = daemon.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = daemon.Process.Kill(), daemon.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dbus.Connect(strings.TrimSpace(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// own has the bus know a service by its name.
func own(t *testing.T, conn *dbus.Conn, name string) {
	t.Helper()
	if _, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
}

// devices is what NetworkManager says of its devices.
type devices struct{}

func (d devices) GetDevices() ([]dbus.ObjectPath, *dbus.Error) {
	return []dbus.ObjectPath{"/d/eno1", "/d/eno2", "/d/eno3", "/d/lo", "/d/gone"}, nil
}

// property answers for one of them.
type property map[string]dbus.Variant

func (d property) GetAll(string) (map[string]dbus.Variant, *dbus.Error) { return d, nil }

// TestNetworkManager asks one that says what the real one would: a link is its own
// if it manages it and has a connection on it.
func TestNetworkManager(t *testing.T) {
	conn := bus(t)
	if got := networkManager(t.Context(), conn); got != nil {
		t.Errorf("without NetworkManager: %+v", got)
	}
	const name = "org.freedesktop.NetworkManager"
	if err := conn.Export(devices{}, "/org/freedesktop/NetworkManager", name); err != nil {
		t.Fatal(err)
	}
	for link, d := range map[string]struct {
		managed bool
		active  dbus.ObjectPath
	}{"eno1": {true, "/c/1"}, "eno2": {false, "/"}, "eno3": {true, "/"}, "lo": {true, "/c/2"}} {
		props := property{"Interface": dbus.MakeVariant(link), "Managed": dbus.MakeVariant(d.managed), "ActiveConnection": dbus.MakeVariant(d.active)}
		if err := conn.Export(props, dbus.ObjectPath("/d/"+link), "org.freedesktop.DBus.Properties"); err != nil {
			t.Fatal(err)
		}
	}
	own(t, conn, name)
	want := []network.Manager{{Name: network.NetworkManager, Links: []string{"eno1"}, Evidence: "it says so on D-Bus"}}
	if diff := cmp.Diff(want, networkManager(t.Context(), conn)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestOldNetworkd: before 249 networkd describes nothing, and its state files say
// which file it applies.
func TestOldNetworkd(t *testing.T) {
	m := rooted(t, `-- usr/lib/systemd/libsystemd-shared-247.so --
-- run/systemd/netif/links/2 --
# This is private data. Do not parse.
ADMIN_STATE=configured
OPER_STATE=routable
NETWORK_FILE=/etc/systemd/network/lan.network
DNS=192.0.2.53
-- run/systemd/netif/links/3 --
ADMIN_STATE=unmanaged
OPER_STATE=off
`)
	conn := bus(t)
	links := func() []network.Link {
		return []network.Link{{Name: "eno1", Index: 2, Addresses: []network.Address{{CIDR: "192.0.2.2/24"}}}, {Name: "eno2", Index: 3}}
	}
	h := network.Host{Links: links()}
	m.networkd(t.Context(), conn, &h)
	if diff := cmp.Diff(network.Host{Networkd: network.Networkd{Version: 247}, Links: links()}, h); diff != "" {
		t.Errorf("networkd doesn't run (-want +got):\n%s", diff)
	}
	own(t, conn, networkdName)
	m.networkd(t.Context(), conn, &h)
	want := links()
	want[0].Networkd = network.NetworkdOfLink{State: "configured", File: "/etc/systemd/network/lan.network"}
	want[1].Networkd = network.NetworkdOfLink{State: "unmanaged"}
	if diff := cmp.Diff(want, h.Links); diff != "" || !h.Networkd.Running || h.Networkd.Unknown != "" || h.Networkd.Started.IsZero() {
		t.Errorf("%+v (-want +got):\n%s", h.Networkd, diff)
	}
	h.Links = append(links(), network.Link{Name: "eno4", Index: 4})
	m.networkd(t.Context(), conn, &h)
	if !strings.Contains(h.Networkd.Unknown, "networkd says nothing of eno4") {
		t.Errorf("a link without a state file: %+v", h.Networkd)
	}
}

// TestWireless: a Wi-Fi adapter is known by its phy.
func TestWireless(t *testing.T) {
	m := Machine{Root: t.TempDir()}
	for link, want := range map[string]bool{"wlan0": true, "eno1": false} {
		dir := m.path("sys/class/net", link)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if want {
			if err := os.Symlink("../../ieee80211/phy0", filepath.Join(dir, "phy80211")); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.link(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: link}}, nil); got.Wireless != want {
			t.Errorf("%s: wireless %t, want %t", link, got.Wireless, want)
		}
	}
}

// TestDnsmasq: which bridges are served, and which of them are LXD's, by what their
// dnsmasq was started with.
func TestDnsmasq(t *testing.T) {
	m := rooted(t, strings.ReplaceAll(`-- proc/7/cmdline --
/usr/sbin/dnsmasq|--conf-file=/var/lib/libvirt/dnsmasq/default.conf|--leasefile-ro
-- var/lib/libvirt/dnsmasq/default.conf --
strict-order
interface=virbr0
-- proc/8/cmdline --
dnsmasq|--keep-in-foreground|--interface=internal0|--dhcp-leasefile=/var/lib/lxd/networks/internal0/dnsmasq.leases|--conf-file=/var/lib/lxd/networks/internal0/dnsmasq.raw
-- proc/9/cmdline --
dnsmasq|--interface=lxdbr0|--dhcp-leasefile=/var/snap/lxd/common/lxd/networks/lxdbr0/dnsmasq.leases|
-- proc/10/cmdline --
dnsmasq|--interface=lxdbr1|--dhcp-leasefile=/var/lib/misc/dnsmasq.leases|
-- proc/11/cmdline --
vim|--interface=br0
`, "|", "\x00"))
	var links []network.Link
	for _, name := range []string{"br0", "internal0", "lxdbr0", "lxdbr1", "virbr0"} {
		links = append(links, network.Link{Name: name})
	}
	m.dnsmasqs(links)
	want := []network.Link{
		{Name: "br0"},
		{Name: "internal0", Dnsmasq: true, LXD: true},
		{Name: "lxdbr0", Dnsmasq: true, LXD: true},
		{Name: "lxdbr1", Dnsmasq: true},
		{Name: "virbr0", Dnsmasq: true},
	}
	if diff := cmp.Diff(want, links); diff != "" {
		t.Errorf("dnsmasqs (-want +got):\n%s", diff)
	}
}
