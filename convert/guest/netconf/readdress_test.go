package netconf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
)

// parsed is the link of a name in files of one style.
func parsed(t *testing.T, style guest.NetStyle, files []File, name string) guest.NetLink {
	t.Helper()
	all := links(style, files[0])
	if style == guest.Ifcfg {
		all = Ifcfg(files).Links // with the routes
	}
	for _, l := range all {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no link %s in %+v", name, all)
	return guest.NetLink{}
}

const (
	rhelFile  = "/etc/sysconfig/network-scripts/ifcfg-ens192"
	suseFile  = "/etc/sysconfig/network/ifcfg-ens192"
	suseTable = "/etc/sysconfig/network/routes"
)

// TestReaddress: what was written is read again as the new address, and all else
// stands as it did.
func TestReaddress(t *testing.T) {
	for _, tt := range []struct {
		name    string
		style   guest.NetStyle
		file    string
		text    string
		address string // 192.0.2.20/24 where it is ""
		want    string // "addresses gateways DNS dhcp4 dhcp6", or an error's words
		keeps   []string
	}{
		{"ifupdown", guest.Ifupdown, "/etc/network/interfaces", "auto ens192\niface ens192 inet static\n  address 10.0.0.9\n  netmask 255.0.0.0\n  gateway 10.0.0.1\n  dns-nameservers 10.0.0.2\n  mtu 9000\niface ens192 inet6 auto\nauto ens224\niface ens224 inet static\n address 10.1.0.1/16\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"mtu 9000", "iface ens192 inet6 auto\n", "address 10.1.0.1/16"}},
		{"ifupdown, DHCP", guest.Ifupdown, "/etc/network/interfaces", "iface ens192 inet dhcp", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", nil},
		{"ifupdown, IPv6", guest.Ifupdown, "/etc/network/interfaces", "iface ens192 inet static\n address 10.0.0.9/8\niface ens192 inet6 static\n address fd00::9/64\n", "2001:db8::20/64", "[10.0.0.9/8 2001:db8::20/64] [2001:db8::1] [2001:db8::53] false false", nil},
		{"ifupdown, two addresses", guest.Ifupdown, "/etc/network/interfaces", "iface ens192 inet static\n address 10.0.0.9/8\niface ens192:1 inet static\n address 10.0.0.10/8\n", "", "several addresses (10.0.0.9/8, 10.0.0.10/8)", nil},
		{"ifupdown, manual", guest.Ifupdown, "/etc/network/interfaces", "iface ens192 inet manual\n up ip addr add 10.0.0.9/8 dev ens192\n", "", "has the method manual", nil},
		{"ifupdown, a command", guest.Ifupdown, "/etc/network/interfaces", "iface ens192 inet static\n address 10.0.0.9/8\n post-up ip route add default via 10.0.0.1\n", "", "default route by a command", nil},
		{"ifupdown, an odd name", guest.Ifupdown, "/etc/network/interfaces", "iface dhcp0 inet dhcp\niface ens192 inet dhcp\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"iface dhcp0 inet dhcp\n"}},
		{"ifupdown, a long line", guest.Ifupdown, "/etc/network/interfaces", "iface ens192 inet static\n address \\\n 10.0.0.9/8\n", "", "goes on in the next", nil},
		{"netplan", guest.Netplan, "/etc/netplan/01.yaml", "network:\n  version: 2\n  # the uplink\n  ethernets:\n    ens192:\n      addresses: [10.0.0.9/8, 'fd00::9/64']\n      gateway4: 10.0.0.1\n      nameservers: {addresses: [10.0.0.2], search: [example.org]}\n      mtu: 9000\n", "", "[fd00::9/64 192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"# the uplink", "mtu: 9000", "example.org"}},
		{"netplan, routes", guest.Netplan, "/etc/netplan/01.yaml", "network: {ethernets: {ens192: {dhcp4: true, routes: [{to: default, via: 10.0.0.1}, {to: 10.9.0.0/16, via: 10.0.0.2}]}}}\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"to: 10.9.0.0/16", "to: default"}},
		{"netplan, IPv6", guest.Netplan, "/etc/netplan/01.yaml", "network: {ethernets: {ens192: {dhcp4: true}}}\n", "2001:db8::20/64", "[2001:db8::20/64] [2001:db8::1] [2001:db8::53] true false", nil},
		{"netplan, one that others share", guest.Netplan, "/etc/netplan/01.yaml", "network: {ethernets: {ens192: &a {addresses: [10.0.0.9/8]}, ens224: *a}}\n", "", "shared with others", nil},
		{"netplan, of NetworkManager", guest.Netplan, "/etc/netplan/01.yaml", "network: {ethernets: {ens192: {addresses: [10.0.0.9/8], networkmanager: {passthrough: {ipv4.address1: 10.0.0.9/8}}}}}\n", "", "NetworkManager's own", nil},
		{"netplan, shared", guest.Netplan, "/etc/netplan/01.yaml", "x: &a [10.0.0.9/8]\nnetwork: {ethernets: {ens192: {addresses: *a}}}\n", "", "shared with others", nil},
		{"networkd", guest.Networkd, "/etc/systemd/network/a.network", "[Match]\nName=ens192\n[Network]\nAddress=10.0.0.9/8\nAddress=fd00::9/64\nGateway=10.0.0.1\nVLAN=v42\nDNS=10.0.0.2\n", "", "[192.0.2.20/24 fd00::9/64] [192.0.2.1] [192.0.2.53] false false", []string{"VLAN=v42"}},
		{"networkd, DHCP", guest.Networkd, "/etc/systemd/network/a.network", "[Match]\nName=ens192\n[Network]\nDHCP=yes\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false true", nil},
		{"networkd, DHCPv4", guest.Networkd, "/etc/systemd/network/a.network", "[Match]\nName=ens192\n[Network]\nDHCP=ipv4\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", nil},
		{"networkd, sections", guest.Networkd, "/etc/systemd/network/a.network", "[Match]\nName=ens192\n[Network]\n[Address]\nAddress=10.0.0.9/8\n", "", "sections of their own", nil},
		{"a keyfile", guest.NetworkManager, "/etc/NetworkManager/system-connections/a", "[connection]\ntype=ethernet\ninterface-name=ens192\n[ipv4]\naddress1=10.0.0.9/8,10.0.0.1\nmethod=manual\ndns=10.0.0.2;\nnever-default=false\n[ipv6]\nmethod=auto\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"never-default=false", "method=auto"}},
		{"a keyfile of cloud-init's", guest.NetworkManager, "/etc/NetworkManager/system-connections/a", "[connection]\ntype=ethernet\ninterface-name=ens192\n[ipv4]\nmethod=manual\naddress1=10.0.0.9/8\nroute1=0.0.0.0/0,10.0.0.1\nroute2=10.9.0.0/16,10.0.0.2\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"route2="}},
		{"a keyfile, DHCP", guest.NetworkManager, "/etc/NetworkManager/system-connections/a", "[connection]\ntype=ethernet\ninterface-name=ens192\n[ipv4]\nmethod=auto", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", nil},
		{"RHEL", guest.Ifcfg, rhelFile, "DEVICE=ens192\nIPADDR=10.0.0.9\nNETMASK=255.0.0.0\nGATEWAY=10.0.0.1\nDNS1=10.0.0.2\nONBOOT=yes\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"ONBOOT=yes"}},
		{"RHEL, DHCP", guest.Ifcfg, rhelFile, "DEVICE=ens192\nBOOTPROTO=dhcp\nONBOOT=yes", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"ONBOOT=yes"}},
		{"SUSE", guest.Ifcfg, suseFile, "BOOTPROTO='static'\nIPADDR='10.0.0.9/8'\nSTARTMODE='auto'\n", "no DNS", "[192.0.2.20/24] [192.0.2.1] [] false false", []string{"STARTMODE='auto'"}},
		{"RHEL, a line that goes on", guest.Ifcfg, rhelFile, "DEVICE=ens192\nONBOOT=yes\\\nIPADDR=10.0.0.9\nPREFIX=8\n", "", "isn't understood well enough", nil},
		{"SUSE, both families", guest.Ifcfg, suseFile, "IPADDR='10.0.0.9/8'\nIPADDR_1='2001:db8:9::9/64'\nSTARTMODE='auto'\n", "no DNS", "[192.0.2.20/24 2001:db8:9::9/64] [192.0.2.1] [] false false", nil},
		{"RHEL, a suffix", guest.Ifcfg, rhelFile, "DEVICE=ens192\nIPADDR0=10.0.0.9\nPREFIX0=8\nGATEWAY0=10.0.0.1\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"NETMASK0=255.255.255.0"}},
		{"ifupdown of old", guest.Ifupdown, "/etc/network/interfaces", "auto ens192\niface ens192 inet static\n\taddress 10.0.0.9\n\tnetmask 255.0.0.0\n", "", "[192.0.2.20/24] [192.0.2.1] [192.0.2.53] false false", []string{"\taddress 192.0.2.20\n\tnetmask 255.255.255.0\n"}},
		{"SUSE, DNS", guest.Ifcfg, suseFile, "IPADDR='10.0.0.9/8'\n", "", "the whole system's", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := []File{{Path: tt.file, Text: []byte(tt.text)}}
			if tt.file == suseFile {
				files = append(files, File{Path: suseTable, Text: []byte("default 10.0.0.1 - -\n10.9.0.0/16 10.0.0.2 - -\n")})
			}
			a := guest.NewAddress{Prefix: netip.MustParsePrefix("192.0.2.20/24"), Gateway: netip.MustParseAddr("192.0.2.1"), DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}
			switch {
			case tt.address == "no DNS":
				a.DNS = nil
			case tt.address != "":
				a = guest.NewAddress{Prefix: netip.MustParsePrefix(tt.address), Gateway: netip.MustParseAddr("2001:db8::1"), DNS: []netip.Addr{netip.MustParseAddr("2001:db8::53")}}
			}
			read := func(name string) (string, bool) {
				i := slices.IndexFunc(files, func(f File) bool { return f.Path == name })
				if i < 0 {
					return "", false
				}
				return string(files[i].Text), true
			}
			changed, err := Readdress(parsed(t, tt.style, files, "ens192"), read, a)
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Readdress: %v; want %q", err, tt.want)
				}
				return
			}
			l := parsed(t, tt.style, changed, "ens192")
			if got := fmt.Sprint(l.Addresses, l.Gateways, l.DNS, l.DHCP4, l.DHCP6); got != tt.want {
				t.Errorf("the file now says %s; want %s:\n%s", got, tt.want, changed[0].Text)
			}
			for _, k := range tt.keeps {
				if !strings.Contains(string(changed[0].Text), k) {
					t.Errorf("%q is gone:\n%s", k, changed[0].Text)
				}
			}
			if tt.file == suseFile && string(changed[1].Text) != "10.9.0.0/16 10.0.0.2 - -\ndefault 192.0.2.1 - -\n" {
				t.Errorf("routes:\n%s", changed[1].Text)
			}
			again, err := Readdress(l, func(name string) (string, bool) { return string(changed[0].Text), true }, a)
			if err != nil || tt.file != suseFile && string(again[0].Text) != string(changed[0].Text) {
				t.Errorf("once more: %v:\n%s", err, again[0].Text)
			}
		})
	}
}

// FuzzReaddress: whatever a file says, what is written has the new address, or
// nothing is written.
func FuzzReaddress(f *testing.F) {
	f.Add([]byte("iface ens192 inet static\n address 10.0.0.9/8\n"))
	f.Add([]byte("network: {ethernets: {ens192: {addresses: [10.0.0.9/8]}}}\n"))
	f.Add([]byte("[Match]\nName=ens192\n[Network]\nAddress=10.0.0.9/8\n"))
	f.Add([]byte("[connection]\ntype=ethernet\ninterface-name=ens192\n[ipv4]\naddress1=10.0.0.9/8\n"))
	f.Add([]byte("DEVICE=ens192\nIPADDR=10.0.0.9\nPREFIX=8\n"))
	a := guest.NewAddress{Prefix: netip.MustParsePrefix("192.0.2.20/24"), Gateway: netip.MustParseAddr("192.0.2.1")}
	files := map[guest.NetStyle]string{
		guest.Ifupdown: "/f", guest.Netplan: "/f.yaml", guest.Networkd: "/f.network", guest.NetworkManager: "/f", guest.Ifcfg: rhelFile,
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for style, file := range files {
			for i, l := range links(style, File{Path: file, Text: b}) {
				changed, err := Readdress(l, func(string) (string, bool) { return string(b), true }, a)
				if err != nil {
					continue
				}
				after := links(style, changed[0])
				if i >= len(after) || !slices.Contains(after[i].Addresses, a.Prefix) {
					t.Fatalf("%s, %q: written was\n%s\nwhich says %+v", style, l.Name, changed[0].Text, after)
				}
			}
		}
	})
}
