package proofs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/layout"
)

// TestNetwork has guests that configure their network in each style answer on it,
// with their own names and addresses and no hand on them, in a new layout and in
// their own. The program boots them.
func TestNetwork(t *testing.T) {
	t.Parallel()
	// quiet takes away what debian-net's ifupdown does.
	quiet := write("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
	const want = "/etc/systemd/system/multi-user.target.wants/"
	for _, tt := range []struct {
		name, guest string
		kind        layout.Kind
		changes     [][]string
		answers     []string // "name address", by NIC
	}{
		{"ifupdown, of a name that only it knows", "debian-net", layout.LVM, [][]string{
			write("/etc/network/interfaces", "auto lo lan0\niface lo inet loopback\niface lan0 inet static\n address 192.0.2.61/24\n gateway 192.0.2.1\niface lan0 inet static\n address 192.0.2.62/24\n"),
			write("/etc/udev/rules.d/70-lan.rules", `SUBSYSTEM=="net", ACTION=="add", DRIVERS=="vmxnet3", ATTR{address}=="00:50:56:00:0e:56", NAME="lan0"`+"\n"),
		}, []string{"lan0 192.0.2.61", "lan0 192.0.2.62"}},
		{"netplan, two NICs", "debian-net", layout.LVM, [][]string{
			quiet, link(want+"systemd-networkd.service", "/lib/systemd/system/systemd-networkd.service"),
			write("/etc/netplan/01.yaml", "network:\n  version: 2\n  ethernets:\n    ens224:\n      addresses: [192.0.2.61/24]\n      routes: [{to: default, via: 192.0.2.1}]\n    lan:\n      match: {driver: vmxnet3, name: ens192}\n      addresses: [198.51.100.61/24]\n"),
			{"chmod 0600 /etc/netplan/01.yaml"},
		}, []string{"ens224 192.0.2.61", "ens192 198.51.100.61"}},
		{"networkd, with a .link file and a VLAN", "debian-net", layout.Keep, [][]string{
			quiet, link(want+"systemd-networkd.service", "/lib/systemd/system/systemd-networkd.service"),
			write("/etc/systemd/network/10-default.link", "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel database onboard slot path\nMACAddressPolicy=none\n"),
			write("/etc/systemd/network/10-a.network", "[Match]\nName=ens224\n[Network]\nAddress=192.0.2.61/24\nGateway=192.0.2.1\nVLAN=v42\n"),
			write("/etc/systemd/network/10-v42.netdev", "[NetDev]\nName=v42\nKind=vlan\n[VLAN]\nId=42\n"),
			write("/etc/systemd/network/10-v42.network", "[Match]\nName=v42\n[Network]\nAddress=203.0.113.61/24\n"),
			write("/etc/systemd/network/20-b.network", "[Match]\nPath=pci-0000:0b:00.0\n[Network]\nAddress=198.51.100.61/24\n"),
		}, []string{"ens224 192.0.2.61", "ens224 203.0.113.61", "ens192 198.51.100.61"}},
		{"NetworkManager", "debian-net", layout.Keep, [][]string{
			quiet, link(want+"NetworkManager.service", "/lib/systemd/system/NetworkManager.service"),
			keyfile("a", "ens224", "192.0.2.61/24,192.0.2.1"), keyfile("b", "ens192", "198.51.100.61/24"),
			{"chmod 0600 /etc/NetworkManager/system-connections/a.nmconnection", "chmod 0600 /etc/NetworkManager/system-connections/b.nmconnection"},
		}, []string{"ens224 192.0.2.61", "ens192 198.51.100.61"}},
		{"NetworkManager and dracut", "debian-dracut", layout.LVM, nil, []string{"ens192 192.0.2.27"}},
		{"NetworkManager and dracut, kept", "debian-dracut", layout.Keep, nil, []string{"ens192 192.0.2.27"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := answering(t, tt.guest, tt.kind, slices.Concat(tt.changes...)...)
			if s.plan.Layout.Kind != tt.kind {
				t.Fatalf("layout %s, want %s: %q", s.plan.Layout.Kind, tt.kind, s.plan.Layout.Reasons)
			}
			var got []string
			for _, n := range s.network {
				t.Log(n.Text)
				for _, a := range n.Addresses {
					if a.Seconds > 0 && a.Ping > 0 && n.Passed {
						got = append(got, fmt.Sprintf("%s %s", n.Name, a.Address))
					}
				}
			}
			if !slices.Equal(got, tt.answers) {
				t.Errorf("answered %q, want %q", got, tt.answers)
			}
		})
	}
}

// write and link are guestfish's commands that make a file or a symbolic link, and
// their directories.
func write(name, text string) []string {
	return []string{"mkdir-p " + name[:strings.LastIndex(name, "/")], fmt.Sprintf("write %s %q", name, text)}
}

func link(name, target string) []string { return []string{"ln-sf " + target + " " + name} }

func keyfile(id, nic, address string) []string {
	return write("/etc/NetworkManager/system-connections/"+id+".nmconnection",
		fmt.Sprintf("[connection]\nid=%s\ntype=ethernet\ninterface-name=%s\n\n[ipv4]\nmethod=manual\naddress1=%s\n\n[ipv6]\nmethod=disabled\n", id, nic, address))
}
