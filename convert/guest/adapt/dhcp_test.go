package adapt

import (
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestDHCP: whoever asks by a client id that is made of the NIC's place is told of.
func TestDHCP(t *testing.T) {
	const networkd = "tree/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
	for _, tt := range []struct {
		name, program, file, text string
		want                      string // the file that is named, "" for no note
	}{
		{"networkd", networkd, "etc/systemd/network/a.network", "[Match]\nName=ens192\n[Network]\nDHCP=yes\n", "/etc/systemd/network/a.network"},
		{"networkd, by MAC", networkd, "etc/systemd/network/a.network", "[Match]\nName=ens192\n[Network]\nDHCP=yes\n[DHCPv4]\nClientIdentifier=mac\n", ""},
		{"networkd, an address", networkd, "etc/systemd/network/a.network", "[Match]\nName=ens192\n[Network]\nAddress=192.0.2.1/24\n", ""},
		{"netplan", "tree/usr/sbin/netplan", "etc/netplan/a.yaml", "network: {ethernets: {ens192: {dhcp4: true}}}\n", "/etc/netplan/a.yaml"},
		{"netplan, by MAC", "tree/usr/sbin/netplan", "etc/netplan/a.yaml", "network: {ethernets: {ens192: {dhcp4: true, dhcp-identifier: mac}}}\n", ""},
		{"dhclient", "tree/usr/sbin/ifup", "etc/network/interfaces", "iface ens192 inet dhcp\n", ""},
	} {
		a := archive(t, "keep-debian.txtar")
		a.Files = append(a.Files, txtar.File{Name: tt.program, Data: []byte("x")}, txtar.File{Name: "tree/" + tt.file, Data: []byte(tt.text)})
		in := input(t, a)
		got := DHCP(in.NICs)
		if len(got) > 1 || (len(got) == 1) != (tt.want != "") || len(got) == 1 && !strings.Contains(got[0].Evidence, tt.want) {
			t.Errorf("%s: %+v; want one of %q", tt.name, got, tt.want)
		}
	}
}
