package netconf

import (
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// ParseIfcfg reads a file of the RHEL family or of SUSE, whose interface is in the
// file's name only. ok is false for what is no interface.
func ParseIfcfg(file string, b []byte) (l guest.NetLink, ok bool) {
	a := conf.Assignments(b)
	label := strings.TrimPrefix(path.Base(file), "ifcfg-")
	l = guest.NetLink{File: file, Style: guest.Ifcfg, Name: a["DEVICE"]}
	if l.Name == "" {
		l.Name = label
		if i := strings.LastIndex(label, "-id-"); i >= 0 { // SUSE 10: ifcfg-eth-id-00:0c:29:…
			l.Name, l.Match.MACs = "", macs(label[i+len("-id-"):])
		}
	}
	suse := path.Dir(file) == suseDir
	if a["DEVICE"] == "" && !suse && len(macs(a["HWADDR"])) > 0 {
		l.Name = "" // the label is no name, and nothing is renamed to it
	}
	l.Name, _, _ = strings.Cut(l.Name, ":") // an alias: eth0:1
	if name, _, ok := strings.Cut(l.Name, "-range"); ok {
		l.Name = name
	}
	if l.Name == "lo" || l.Name != "" && !Usable(l.Name) {
		return l, false
	}
	if hw := macs(a["HWADDR"]); len(hw) > 0 {
		l.Match.MACs = hw
	}
	for _, key := range []string{"MASTER", "BRIDGE", "TEAM_MASTER", "OVS_BRIDGE"} { // the RHEL family's
		if v := a[key]; Usable(v) && v != "yes" {
			l.Above = append(l.Above, v)
		}
	}
	mode := strings.ToLower(a["STARTMODE"]) // SUSE's
	l.Idle = strings.EqualFold(a["ONBOOT"], "no") || mode == "off" || mode == "manual" || suse && mode == "" && a["BOOTPROTO"]+a["IPADDR"] == ""
	l.MAC = oneMAC(a["MACADDR"], a["LLADDR"])
	l.ByNM, l.UUID = !suse && !strings.EqualFold(a["NM_CONTROLLED"], "no"), a["UUID"]
	l.Priority, _ = strconv.Atoi(a["AUTOCONNECT_PRIORITY"]) // 0 by default
	ifcfgKind(&l, a)
	ifcfgAddresses(&l, a)
	return l, true
}

// ifcfgKind finds out what the interface is and what it stands on.
func ifcfgKind(l *guest.NetLink, a map[string]string) {
	keys := slices.Sorted(maps.Keys(a))
	l.Kind = kindOf(l.Name)
	parent, tag := vlanName(l.Name)
	switch t := strings.ToLower(a["TYPE"]); {
	case t == "bond" || a["BONDING_MASTER"] == "yes" || a["BONDING_OPTS"] != "":
		l.Kind = guest.LinkBond
		for _, key := range keys {
			if strings.HasPrefix(key, "BONDING_SLAVE") {
				l.Below = append(l.Below, a[key])
			}
		}
	case a["DEVICETYPE"] == "TeamPort" || t == "ovsport":
		// a NIC, by its name
	case a["DEVICETYPE"] == "Team":
		l.Kind = guest.LinkBond
	case t == "ovsbridge":
		l.Kind = guest.LinkBridge
	case t == "bridge" || a["BRIDGE"] == "yes":
		l.Kind, l.Below = guest.LinkBridge, strings.Fields(a["BRIDGE_PORTS"])
	case a["ETHERDEVICE"] != "":
		l.Kind, l.Below = guest.LinkVLAN, []string{a["ETHERDEVICE"]}
	case t == "vlan" || a["VLAN"] == "yes" || a["PHYSDEV"] != "" || l.Kind == guest.LinkVLAN:
		l.Kind = guest.LinkVLAN
		if p := a["PHYSDEV"]; p != "" {
			parent = p
		}
		if parent != "" {
			l.Below = []string{parent}
		}
	case t != "" && t != "ethernet" || a["DEVICETYPE"] != "":
		l.Kind = guest.LinkVirtual
	}
	if l.Kind != guest.LinkVLAN {
		return
	}
	l.Tag = tag
	for _, key := range []string{"VLAN_ID", "ETHERDEVICE_VLAN_ID"} {
		if v := vlanTag(a[key]); v > 0 {
			l.Tag = v
		}
	}
}

func ifcfgAddresses(l *guest.NetLink, a map[string]string) {
	proto := strings.ToLower(a["BOOTPROTO"])
	l.DHCP4 = proto == "dhcp" || proto == "dhcp4" || proto == "dhcp+autoip" || proto == "bootp"
	if l.DHCP4 { // what stands there besides is left over, or comes on top: the lease tells
		a = maps.Clone(a)
		maps.DeleteFunc(a, func(key, _ string) bool { return strings.HasPrefix(key, "IPADDR") || key == "GATEWAY" })
	}
	if strings.EqualFold(a["IPV6INIT"], "no") {
		a = maps.Clone(a)
		maps.DeleteFunc(a, func(key, _ string) bool { return strings.HasPrefix(key, "IPV6") || key == "DHCPV6C" })
	}
	for _, key := range slices.Sorted(maps.Keys(a)) {
		suffix, ok := strings.CutPrefix(key, "IPADDR")
		if !ok {
			continue
		}
		length := a["PREFIX"+suffix]
		if length == "" {
			length = a["PREFIXLEN"+suffix] // SUSE's
		}
		if length == "" {
			length = a["NETMASK"+suffix]
		}
		addAddress(&l.Addresses, a[key], length)
	}
	addAddress(&l.Addresses, a["IPV6ADDR"], "")
	for w := range strings.FieldsSeq(a["IPV6ADDR_SECONDARIES"]) {
		addAddress(&l.Addresses, w, "")
	}
	gateway6, _, _ := strings.Cut(a["IPV6_DEFAULTGW"], "%")
	addAddrs(&l.Gateways, a["GATEWAY"], gateway6)
	addAddrs(&l.DNS, a["DNS1"], a["DNS2"], a["DNS3"])
	l.DHCP6 = proto == "dhcp6" || proto == "dhcp" && l.File == path.Join(suseDir, path.Base(l.File)) || isYes(a["DHCPV6C"])
	l.RA = isYes(a["IPV6_AUTOCONF"])
}

// The directories of such files: the RHEL family's and SUSE's.
const (
	rhelDir = "/etc/sysconfig/network-scripts"
	suseDir = "/etc/sysconfig/network"
)

// ParseRoutes finds the gateways of default routes in a file of routes: those of
// ip-route(8) and ADDRESS0= of the RHEL family, SUSE's ifroute-NAME and routes.
func ParseRoutes(b []byte) (gateways []string) {
	for _, line := range conf.Lines(b) {
		f := strings.Fields(line)
		if !isDefault(f[0]) || len(f) < 2 {
			continue
		}
		if i := slices.Index(f, "via"); i > 0 && i+1 < len(f) {
			gateways = append(gateways, f[i+1])
		} else {
			gateways = append(gateways, f[1])
		}
	}
	a := conf.Assignments(b)
	for key, v := range a {
		if n, ok := strings.CutPrefix(key, "ADDRESS"); ok && isDefault(v) {
			gateways = append(gateways, a["GATEWAY"+n])
		}
	}
	slices.Sort(gateways)
	return gateways
}

// Ifcfg joins the files of the directories that ifcfg- files are in: aliases are the
// interface itself, routes belong to the interface that their name says.
func Ifcfg(files []File) guest.Net {
	var n guest.Net
	byName := map[string]int{}
	for _, f := range files {
		if !strings.HasPrefix(path.Base(f.Path), "ifcfg-") || len(n.Links) >= maxLinks {
			continue
		}
		l, ok := ParseIfcfg(f.Path, f.Text)
		if !ok {
			continue
		}
		label := strings.TrimPrefix(path.Base(f.Path), "ifcfg-")
		if i, known := byName[l.Name]; known && (strings.Contains(label, ":") || strings.Contains(label, "-range")) {
			n.Links[i].Addresses = append(n.Links[i].Addresses, l.Addresses...)
			n.Links[i].Also = append(n.Links[i].Also, f.Path)
			continue
		} else if !known && l.Name != "" {
			byName[l.Name] = len(n.Links)
		}
		byName[label] = len(n.Links)
		n.Links = append(n.Links, l)
	}
	ifcfgRoutes(&n, files, byName)
	return n
}

// ifcfgRoutes adds the gateways of files of routes to the links, which are found by
// their names.
func ifcfgRoutes(n *guest.Net, files []File, byName map[string]int) {
	for _, f := range files {
		base := path.Base(f.Path)
		for _, prefix := range []string{"route-", "route6-", "ifroute-"} {
			name, ok := strings.CutPrefix(base, prefix)
			if i, known := byName[name]; ok && known {
				addAddrs(&n.Links[i].Gateways, ParseRoutes(f.Text)...)
			}
		}
		if f.Path == suseDir+"/routes" || f.Path == "/etc/sysconfig/network" {
			anywhere(n, f)
		}
	}
}

// anywhere gives gateways that no interface is named for to the links that have
// them in one of their networks.
func anywhere(n *guest.Net, f File) {
	gateways := ParseRoutes(f.Text)
	if g := conf.Assignments(f.Text)["GATEWAY"]; g != "" {
		gateways = append(gateways, g)
	}
	for i := range n.Links {
		for _, g := range gateways {
			if slices.ContainsFunc(n.Links[i].Addresses, func(p netip.Prefix) bool {
				a, err := netip.ParseAddr(g)
				return err == nil && p.Masked().Contains(a)
			}) {
				addAddrs(&n.Links[i].Gateways, g)
			}
		}
	}
}
