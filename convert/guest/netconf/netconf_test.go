package netconf

import (
	"net/netip"
	"slices"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

func FuzzParsers(f *testing.F) {
	f.Add([]byte("auto eth0\niface eth0 inet static\n address 192.0.2.1/24\n bridge_ports a b\nsource x/*\n"))
	f.Add([]byte("[Match]\nName=a\n[Link]\nName=b\n[Network]\nAddress=2001:db8::1/64\nVLAN=a.5\n"))
	f.Add([]byte("network: {ethernets: {a: {match: {name: b}, addresses: [192.0.2.1/24, {'192.0.2.2/24': {label: x}}]}}}"))
	f.Add([]byte("a: &a [x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n"))
	f.Add([]byte("DEVICE=eth0.5\nVLAN=yes\nIPADDR1=192.0.2.1\nNETMASK1=255.255.255.0\nADDRESS0=0.0.0.0\nGATEWAY0=192.0.2.254\n"))
	f.Add([]byte("SUBSYSTEM==\"net\", ATTR{address}==\"00:0c:29:aa:bb:cc\", NAME=\"eth1\"\nlan0 00:0c:29:aa:bb:cc\n"))
	f.Add([]byte("[connection]\ntype=vlan\ninterface-name=v\n[vlan]\nid=5\nparent=a\n[ipv4]\naddress1=192.0.2.1/24,192.0.2.254\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, _ := ParseInterfaces("/f", b)
		n.Add(Networkd([]File{{Path: "/etc/a.network", Text: b}, {Path: "/etc/b.netdev", Text: b}}))
		n.LinkFiles = append(n.LinkFiles, ParseLink(File{Path: "/etc/systemd/network/a.link", Text: b}))
		n.Add(ParseKeyfile("/f", b))
		n.Add(Ifcfg([]File{{Path: "/etc/sysconfig/network/ifcfg-x", Text: b}, {Path: "/etc/sysconfig/network/routes", Text: b}, {Path: "/etc/sysconfig/network/ifroute-x", Text: b}}))
		n.Rules = slices.Concat(ParseRules("/f", b), ParseMactab("/f", b), CmdlineNames(string(b)))
		more, _ := Netplan(File{Path: "/f", Text: b}, File{Path: "/g", Text: b})
		n.Add(more)
		names, pinned := Names(n)
		for _, name := range slices.Concat(names, pinned) {
			if !Usable(name) {
				t.Errorf("name %q", name)
			}
		}
		for _, r := range n.Rules {
			if !Usable(r.Name) {
				t.Errorf("rule %+v", r)
			}
		}
	})
}

func TestNames(t *testing.T) {
	netplan := func(s string) guest.Net {
		n, errs := Netplan(File{Path: "/f", Text: []byte(s)})
		if len(errs) > 0 {
			t.Error(errs)
		}
		return n
	}
	interfaces := func(s string) guest.Net { n, _ := ParseInterfaces("/f", []byte(s)); return n }
	ifcfg := func(file, s string) guest.Net {
		return Ifcfg([]File{{Path: "/etc/sysconfig/network-scripts/" + file, Text: []byte(s)}})
	}
	for _, tt := range []struct {
		name          string
		got           guest.Net
		names, pinned []string
	}{
		{"interfaces", interfaces("auto lo ens192\niface ens192 inet dhcp\niface ens192:1 inet static\nauto /en*\nallow-hotplug=x\n"), []string{"ens192"}, nil},
		{"interfaces, bond and VLAN of odd names", interfaces("iface uplink inet manual\n  bond_slaves eth0 \\\n eth1\niface mgmt inet static\n vlan-raw-device uplink0\niface eth0.5 inet dhcp\n"), []string{"eth0", "eth1", "uplink0"}, nil},
		{"interfaces, bridge", interfaces("iface lan inet dhcp\n bridge_ports regex eth.* noregex eth3\n"), []string{"eth3"}, nil},
		{"interfaces, bond of its ports' making", interfaces("iface eth0 inet manual\n bond-master uplink\niface uplink inet dhcp\n"), []string{"eth0"}, nil},
		{"netplan", netplan("network:\n  version: 2\n  ethernets:\n    ens160: {dhcp4: true}\n    id0: {match: {macaddress: '00:50:56:00:00:01'}, set-name: lan0}\n    id1: {match: {name: 'en*'}}\n    id2: {match: {name: ens256}}\n  bonds: {bond0: {interfaces: [ens160]}}\n"), []string{"ens160", "ens256", "lan0"}, []string{"lan0"}},
		{"netplan, null", netplan("network:\n  ethernets:\n    ens33:\n"), []string{"ens33"}, nil},
		{"netplan, list of names", netplan("network: {ethernets: {a: {match: {name: [x, y*]}}}}"), []string{"x"}, nil},
		{"networkd", Networkd([]File{{Path: "/f.network", Text: []byte("[Match]\nName=ens192 ens2* !eth0\n[Network]\nDHCP=yes\n")}}), []string{"ens192"}, nil},
		{"link", guest.Net{LinkFiles: []guest.LinkFile{ParseLink(File{Path: "/f", Text: []byte("[Match]\nMACAddress=00:50:56:00:00:01\n[Link]\nName=wan\n")})}}, []string{"wan"}, []string{"wan"}},
		{"keyfile", ParseKeyfile("/f", []byte("[connection]\nid=x\ntype=ethernet\ninterface-name=ens224\n[wifi-security]\npsk=secret\n")), []string{"ens224"}, nil},
		{"keyfile, VLAN", ParseKeyfile("/f", []byte("[connection]\ntype=vlan\ninterface-name=v30\n[vlan]\nparent=ens224\n")), []string{"ens224"}, nil},
		{"ifcfg", ifcfg("ifcfg-eth0", "DEVICE=\"eth0\"\nHWADDR=00:50:56:00:00:01\nTYPE=Ethernet\n"), []string{"eth0"}, []string{"eth0"}},
		{"ifcfg, name of the file", ifcfg("ifcfg-ens32", "BOOTPROTO=static\n"), []string{"ens32"}, nil},
		{"ifcfg, SUSE bond", ifcfg("ifcfg-bond7", "BONDING_MASTER=yes\nBONDING_SLAVE0=eth1\nBONDING_SLAVE_1='eth2'\n"), []string{"eth1", "eth2"}, nil},
		{"ifcfg, VLAN", ifcfg("ifcfg-eth0.5", "DEVICE=eth0.5\nVLAN=yes\n"), []string{"eth0"}, nil},
		{"ifcfg, loopback", ifcfg("ifcfg-lo", "DEVICE=lo\n"), nil, nil},
		{"udev", guest.Net{Rules: ParseRules("/f", []byte("# c\nSUBSYSTEM==\"net\", ATTR{address}==\"00:0c:29:aa:bb:cc\", KERNEL==\"eth*\", NAME=\"eth1\"\nSUBSYSTEM==\"net\", NAME=\"no\"\n"))}, []string{"eth1"}, []string{"eth1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			names, pinned := Names(tt.got)
			if names = conf.Set(names); !slices.Equal(names, tt.names) {
				t.Errorf("names = %q; want %q", names, tt.names)
			}
			if pinned = conf.Set(pinned); !slices.Equal(pinned, tt.pinned) {
				t.Errorf("pinned = %q; want %q", pinned, tt.pinned)
			}
		})
	}
}

func TestPrefix(t *testing.T) {
	for _, tt := range [][3]string{
		{"192.0.2.1/24", "", "192.0.2.1/24"},
		{"192.0.2.1", "24", "192.0.2.1/24"},
		{"192.0.2.1", "255.255.252.0", "192.0.2.1/22"},
		{"192.0.2.1", "0.0.0.0", "192.0.2.1/0"},
		{"192.0.2.1", "", "192.0.2.1/32"},
		{"2001:db8::1", "64", "2001:db8::1/64"},
		{"192.0.2.1", "255.0.255.0", ""},
		{"192.0.2.1", "33", ""},
		{"192.0.2.1", "-1", ""},
		{"fe80::1%eth0", "64", ""},
		{"dhcp", "", ""},
		{"", "24", ""},
	} {
		got := ""
		if p, ok := prefix(tt[0], tt[1]); ok {
			got = p.String()
		}
		if got != tt[2] {
			t.Errorf("prefix(%q, %q) = %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
	var addrs []netip.Addr
	addAddrs(&addrs, "192.0.2.1", " 192.0.2.1", "0.0.0.0", "x", "2001:db8::1")
	if len(addrs) != 2 {
		t.Errorf("addAddrs = %v, want two", addrs)
	}
}
