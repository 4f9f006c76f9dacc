package netconf

import (
	"strings"
	"testing"

	"esxodus/convert/guest"
)

func TestByMAC(t *testing.T) {
	one, two := []string{"00:0c:29:aa:00:01"}, []string{"00:0c:29:aa:00:01", "00:0c:29:aa:00:02"}
	for _, tt := range []struct {
		name, file, text string
		macs             []string
		want             string // "" for a refusal
	}{
		{"a place", "/etc/systemd/network/10-lan.network", "# mine\n[Match]\nPath=pci-0000:0b:00.0\n\n[Network]\nAddress=192.0.2.10/24\n", one, "# mine\n[Match]\nMACAddress=00:0c:29:aa:00:01\nPath=*pci-*\n\n[Network]\nAddress=192.0.2.10/24\n"},
		{"a driver of two", "/etc/systemd/network/10-lan.network", "[Match]\nType=ether\n Driver = vmxnet3\n[Network]\nDHCP=yes\n", two, "[Match]\nMACAddress=00:0c:29:aa:00:01 00:0c:29:aa:00:02\nPath=*pci-*\nType=ether\n[Network]\nDHCP=yes\n"},
		{"an address that it has", "/etc/systemd/network/10-lan.network", "[Match]\nMACAddress=00:0c:29:aa:00:01\nDriver=vmxnet3\n", one, "[Match]\nPath=*pci-*\nMACAddress=00:0c:29:aa:00:01\n"},
		{"on VMware alone", "/etc/systemd/network/10-lan.network", "[Match]\nName=ens192\nVirtualization=vmware\n[Network]\nDHCP=yes\n", one, "[Match]\nMACAddress=00:0c:29:aa:00:01\nPath=*pci-*\nName=ens192\n[Network]\nDHCP=yes\n"},
		{"nothing of VMware's", "/etc/systemd/network/10-lan.network", "[Match]\nName=ens192\n", one, ""},
		{"a connection", "/etc/NetworkManager/system-connections/lan.nmconnection", "[connection]\ntype=ethernet\n[match]\npath=pci-0000:0b:00.0;\n[ethernet]\nmtu=9000\n", one, "[connection]\ntype=ethernet\n[match]\n[ethernet]\nmac-address=00:0c:29:aa:00:01\nmtu=9000\n"},
		{"a connection without the section", "/etc/NetworkManager/system-connections/lan", "[connection]\ntype=ethernet\n[match]\ndriver=vmxnet3;", one, "[connection]\ntype=ethernet\n[match]\n\n[ethernet]\nmac-address=00:0c:29:aa:00:01\n"},
		{"a connection of two", "/etc/NetworkManager/system-connections/lan", "[match]\ndriver=vmxnet3;\n", two, ""},
		{"netplan", "/etc/netplan/01.yaml", "network:\n  ethernets:\n    lan:\n      match:\n        driver: vmxnet3\n      dhcp4: true\n", one, "network:\n  ethernets:\n    lan:\n      match:\n        macaddress: \"00:0c:29:aa:00:01\"\n      dhcp4: true\n"},
		{"netplan in one line", "/etc/netplan/01.yaml", "network: {ethernets: {lan: {match: {driver: 'vmx*'}, dhcp4: true}}}\n", one, "network: {ethernets: {lan: {match: {macaddress: \"00:0c:29:aa:00:01\"}, dhcp4: true}}}\n"},
		{"netplan with an address", "/etc/netplan/01.yaml", "network: {ethernets: {lan: {match: {macaddress: '00:0c:29:aa:00:01', driver: vmxnet3}}}}\n", one, ""},
		{"a place in a drop-in", "/etc/systemd/network/10-lan.network", "[Match]\nType=ether\n", one, ""},
		{"netplan with two", "/etc/netplan/01.yaml", "{a: {driver: vmxnet3}, b: {driver: vmxnet3}}\n", one, ""},
		{"a rule", "/etc/udev/rules.d/70-x.rules", "DRIVERS==\"vmxnet3\"\n", one, ""},
	} {
		got, ok := ByMAC(tt.file, tt.text, tt.macs)
		if ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s: %v, %q; want %q", tt.name, ok, got, tt.want)
		}
		if !ok || strings.HasSuffix(tt.file, ".yaml") {
			continue
		}
		var m guest.NICMatch
		if strings.HasSuffix(tt.file, ".network") {
			m = ParseNetwork(tt.file, []byte(got)).Match
		} else {
			m = ParseKeyfile(tt.file, []byte(got)).Links[0].Match
		}
		if !m.Has(tt.macs[0], "", "pci-0000:01:00.0", "virtio_net") || m.Has("00:0c:29:aa:00:09", "", "pci-0000:01:00.0", "virtio_net") {
			t.Errorf("%s: it matches %+v", tt.name, m)
		}
	}
}
