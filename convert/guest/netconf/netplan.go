package netconf

import (
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"esxodus/convert/guest"
)

// File is a file of a guest.
type File struct {
	Path string // absolute
	Text []byte
}

// netplanFile is what matters of a netplan file.
type netplanFile struct {
	Network struct {
		Renderer  string                  `json:"renderer"`
		Ethernets map[string]*netplanLink `json:"ethernets"`
		VLANs     map[string]*netplanLink `json:"vlans"`
		Bonds     map[string]*netplanLink `json:"bonds"`
		Bridges   map[string]*netplanLink `json:"bridges"`
	} `json:"network"`
}

type netplanLink struct {
	Match *struct {
		Name       any    `json:"name"` // a pattern, or since 0.103 a list of them
		MACAddress string `json:"macaddress"`
		Driver     any    `json:"driver"` // the same
	} `json:"match"`
	SetName   string `json:"set-name"`
	Addresses []any  `json:"addresses"` // a string, or a map whose key is one
	DHCP4     any    `json:"dhcp4"`
	DHCP6     any    `json:"dhcp6"`
	AcceptRA  any    `json:"accept-ra"`
	ClientID  string `json:"dhcp-identifier"`
	Activate  string `json:"activation-mode"`
	Gateway4  string `json:"gateway4"`
	Gateway6  string `json:"gateway6"`
	Routes    []struct {
		To  string `json:"to"`
		Via string `json:"via"`
	} `json:"routes"`
	Nameservers struct {
		Addresses []string `json:"addresses"`
	} `json:"nameservers"`
	Interfaces []string `json:"interfaces"` // of bonds and bridges
	ID         any      `json:"id"`         // of VLANs
	Link       string   `json:"link"`       // the same
}

// ParseNetplan reads one file of netplan's.
func ParseNetplan(f File) (guest.Net, error) {
	var doc netplanFile
	if err := yaml.Unmarshal(f.Text, &doc); err != nil {
		return guest.Net{}, err
	}
	p := netplan{file: f.Path}
	for _, part := range []struct {
		kind  guest.LinkKind
		links map[string]*netplanLink
	}{
		{guest.LinkNIC, doc.Network.Ethernets},
		{guest.LinkVLAN, doc.Network.VLANs},
		{guest.LinkBond, doc.Network.Bonds},
		{guest.LinkBridge, doc.Network.Bridges},
	} {
		for _, id := range slices.Sorted(maps.Keys(part.links)) {
			if len(p.net.Links) < maxLinks {
				p.link(id, part.kind, part.links[id])
			}
		}
	}
	return p.net, nil
}

type netplan struct {
	file string
	net  guest.Net
}

// link reads one definition. An ethernet's id is the name of a NIC only where no
// match stands in it.
func (p *netplan) link(id string, kind guest.LinkKind, n *netplanLink) {
	l := guest.NetLink{File: p.file, Style: guest.Netplan, ID: id, Name: id, Kind: kind}
	if n == nil {
		n = &netplanLink{}
	}
	if kind == guest.LinkNIC && n.Match != nil {
		l.Match = guest.NICMatch{MACs: macs(n.Match.MACAddress), Names: oneOrMore(n.Match.Name), Drivers: oneOrMore(n.Match.Driver)}
		l.Name = n.SetName
		if len(l.Match.Names) == 1 && Usable(l.Match.Names[0]) && n.SetName == "" {
			l.Name = l.Match.Names[0]
		}
		if n.SetName != "" && n.Match.MACAddress+strings.Join(l.Match.Drivers, "") != "" {
			p.net.LinkFiles = append(p.net.LinkFiles, guest.LinkFile{Path: "/run/systemd/network/10-netplan-" + id + ".link", Match: l.Match, Name: n.SetName})
		}
	}
	for _, a := range n.Addresses {
		switch a := a.(type) {
		case string:
			addAddress(&l.Addresses, a, "")
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(a)) {
				addAddress(&l.Addresses, key, "")
			}
		}
	}
	l.DHCP4, l.DHCP6, l.RA = isYes(n.DHCP4), isYes(n.DHCP6), isYes(n.AcceptRA)
	l.ByMAC, l.Idle = n.ClientID == "mac", n.Activate != ""
	addAddrs(&l.Gateways, n.Gateway4, n.Gateway6)
	for _, r := range n.Routes {
		if isDefault(r.To) {
			addAddrs(&l.Gateways, r.Via)
		}
	}
	addAddrs(&l.DNS, n.Nameservers.Addresses...)
	l.Below = n.Interfaces
	if kind == guest.LinkVLAN {
		l.Below, l.Tag = []string{n.Link}, tagOf(n.ID)
	}
	p.net.Links = append(p.net.Links, l)
}

// oneOrMore reads what is a string or a list of such.
func oneOrMore(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// isYes reads YAML's truth and that of the strings that netplan takes for it.
func isYes(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return slices.Contains([]string{"true", "yes", "on", "y"}, strings.ToLower(v))
	}
	return false
}

func tagOf(v any) int {
	switch v := v.(type) {
	case float64:
		if v >= 0 && v <= 4094 {
			return int(v)
		}
	case string:
		return vlanTag(v)
	}
	return 0
}
