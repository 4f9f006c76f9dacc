package netconf

import (
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// systemdMatch reads a [Match] section, systemd.network(5) and systemd.link(5).
func systemdMatch(s map[string][]string) guest.NICMatch {
	var m guest.NICMatch
	for key, values := range s {
		words := strings.Fields(lastAssigned(values))
		if len(words) == 0 {
			continue
		}
		switch key {
		case "MACAddress", "PermanentMACAddress":
			m.MACs = append(m.MACs, macs(words...)...)
			m.Foreign = m.Foreign || len(m.MACs) == 0
		case "Name", "OriginalName":
			m.Names = append(m.Names, words...)
		case "Path":
			m.Paths = words
		case "Driver":
			m.Drivers = words
		case "Type":
			m.Types = words
		case "Kind": // a NIC has none
			m.Foreign = m.Foreign || !strings.HasPrefix(words[0], "!")
		case "Virtualization":
			v := words[0] // what systemd-detect-virt says here is kvm or qemu
			m.VMware = v == "vmware"
			m.Foreign = m.Foreign || !m.VMware && v != "vm" && v != "!container" && !isYes(v)
		default:
			m.Foreign = true
		}
	}
	slices.Sort(m.MACs)
	return m
}

// lastAssigned joins the values of a key that adds up. An empty one begins anew.
func lastAssigned(values []string) string {
	if i := slices.Index(values, ""); i >= 0 {
		return lastAssigned(values[i+1:])
	}
	return strings.Join(values, " ")
}

// ParseLink reads a .link file, systemd.link(5). Of all that match a NIC only the
// first counts: that decides about the name, also where it says nothing of one.
func ParseLink(file File) guest.LinkFile {
	f := guest.LinkFile{Path: file.Path, Also: file.Also, Masked: len(file.Text) == 0}
	s := conf.Sections(file.Text)
	f.Match = systemdMatch(s["Match"])
	for key, values := range s["Link"] {
		value := values[len(values)-1]
		switch {
		case key == "Name":
			f.Name = value
		case key == "NamePolicy":
			f.Policy = strings.Fields(value) // a drop-in's takes its place
		case !strings.HasPrefix(key, "AlternativeName") && key != "Description" && key != "Alias":
			for _, v := range values {
				f.Keys = append(f.Keys, key+"="+v)
			}
		}
	}
	slices.Sort(f.Keys)
	return f
}

// ParseNetwork reads a .network file, systemd.network(5).
func ParseNetwork(file string, b []byte) guest.NetLink {
	s := conf.Sections(b)
	l := guest.NetLink{File: file, Style: guest.Networkd, Match: systemdMatch(s["Match"])}
	if names := l.Match.Names; len(names) == 1 && Usable(names[0]) {
		l.Name, l.Kind = names[0], kindOf(names[0])
	}
	for _, a := range slices.Concat(s["Network"]["Address"], s["Address"]["Address"]) {
		addAddress(&l.Addresses, a, "")
	}
	addAddrs(&l.Gateways, s["Network"]["Gateway"]...)
	if len(s["Route"]["Destination"]) == 0 || slices.ContainsFunc(s["Route"]["Destination"], isDefault) {
		addAddrs(&l.Gateways, s["Route"]["Gateway"]...)
	}
	for _, v := range s["Network"]["DNS"] {
		addAddrs(&l.DNS, strings.Fields(v)...)
	}
	dhcp := ""
	for _, v := range s["Network"]["DHCP"] { // a drop-in's comes after the file's
		dhcp = strings.ToLower(v)
	}
	yes := dhcp == "yes" || dhcp == "true" || dhcp == "both" || dhcp == "on" || dhcp == "1"
	l.DHCP4, l.DHCP6 = yes || dhcp == "ipv4" || dhcp == "v4", yes || dhcp == "ipv6" || dhcp == "v6"
	l.RA = isYes(strings.Join(s["Network"]["IPv6AcceptRA"], ""))
	l.MAC = oneMAC(s["Link"]["MACAddress"]...)
	l.ByMAC = slices.Contains(slices.Concat(s["DHCPv4"]["ClientIdentifier"], s["DHCP"]["ClientIdentifier"]), "mac")
	l.Idle = isYes(strings.Join(s["Link"]["Unmanaged"], "")) || slices.ContainsFunc(s["Link"]["ActivationPolicy"], func(p string) bool { return p != "up" && p != "always-up" })
	for _, key := range []string{"VLAN", "Bond", "Bridge"} {
		for _, v := range s["Network"][key] {
			l.Above = append(l.Above, strings.Fields(v)...)
		}
	}
	return l
}

// ParseNetdev reads a .netdev file, systemd.netdev(5).
func ParseNetdev(file string, b []byte) guest.NetLink {
	s := conf.Sections(b)
	last := func(section, key string) string {
		if v := s[section][key]; len(v) > 0 {
			return v[len(v)-1]
		}
		return ""
	}
	l := guest.NetLink{File: file, Style: guest.Networkd, Name: last("NetDev", "Name"), Kind: guest.LinkVirtual}
	switch kind := last("NetDev", "Kind"); kind {
	case "vlan":
		l.Kind, l.Tag = guest.LinkVLAN, vlanTag(last("VLAN", "Id"))
	case "bond", "bridge":
		l.Kind = guest.LinkKind(kind)
	}
	return l
}

// Networkd joins the files of systemd-networkd, by the rule that of several of one
// name the first directory's counts: an interface is configured by the first file
// that matches it.
func Networkd(files []File) guest.Net {
	var n guest.Net
	seen := map[string]bool{}
	kinds := map[string]guest.NetLink{}
	foreign := map[string]bool{} // VLAN devices with another kind of tag
	filters := map[string]bool{} // files that say which VLANs a bridge or a port of one has
	slices.SortStableFunc(files, func(a, b File) int { return strings.Compare(path.Base(a.Path), path.Base(b.Path)) })
	for _, f := range files {
		if seen[path.Base(f.Path)] || len(n.Links) == maxLinks {
			continue
		}
		seen[path.Base(f.Path)] = true
		switch {
		case len(f.Text) == 0: // masked
		case path.Ext(f.Path) == ".netdev":
			d := ParseNetdev(f.Path, f.Text)
			kinds[d.Name] = d
			foreign[d.Name] = slices.ContainsFunc(conf.Sections(f.Text)["VLAN"]["Protocol"], func(p string) bool { return strings.EqualFold(p, "802.1ad") })
		default:
			l := ParseNetwork(f.Path, f.Text)
			l.Also = f.Also
			filters[l.File] = len(conf.Sections(f.Text)["BridgeVLAN"]) > 0
			n.Links = append(n.Links, l)
		}
	}
	for i := range n.Links {
		if d, made := kinds[n.Links[i].Name]; made && d.Name != "" {
			n.Links[i].Kind, n.Links[i].Tag = d.Kind, d.Tag
		}
		if l := &n.Links[i]; l.Kind == guest.LinkVLAN && foreign[l.Name] || l.Kind == guest.LinkBridge && filters[l.File] {
			l.Addresses, l.Gateways, l.DHCP4, l.DHCP6, l.RA = nil, nil, false, false, false // with which tag they answer isn't known
		}
	}
	return n
}
