package netconf

import (
	"maps"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// ParseKeyfile reads a connection of NetworkManager, nm-settings-keyfile(5).
func ParseKeyfile(file string, b []byte) guest.Net {
	s := conf.Sections(b)
	c := keyfile{s}
	l := guest.NetLink{File: file, Style: guest.NetworkManager, Name: c.first("connection", "interface-name")}
	switch t := c.first("connection", "type"); t {
	case "ethernet", "802-3-ethernet":
		l.Match = guest.NICMatch{
			MACs:    macs(c.first("ethernet", "mac-address"), c.first("802-3-ethernet", "mac-address")),
			Names:   c.list("match", "interface-name"),
			Paths:   c.list("match", "path"),
			Drivers: c.list("match", "driver"),
		}
		if l.Name == "" && len(l.Match.Names) == 1 && Usable(l.Match.Names[0]) {
			l.Name = l.Match.Names[0]
		}
	case "vlan":
		l.Kind, l.Tag, l.Below = guest.LinkVLAN, vlanTag(c.first("vlan", "id")), c.list("vlan", "parent")
	case "bond", "bridge":
		l.Kind = guest.LinkKind(t)
	default:
		return guest.Net{}
	}
	c.addresses(&l)
	l.Above, l.Idle = c.controllers(), c.first("connection", "autoconnect") == "false"
	return guest.Net{Links: []guest.NetLink{l}}
}

// keyfile is the sections of one.
type keyfile struct {
	s map[string]map[string][]string
}

func (k keyfile) first(section, key string) string {
	if v := k.s[section][key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// list reads a list, whose members end in semicolons, or in commas in old files.
func (k keyfile) list(section, key string) []string {
	return strings.FieldsFunc(k.first(section, key), func(r rune) bool { return r == ';' || r == ',' || r == ' ' })
}

// controllers are the bond or bridge that the interface is a port of, where it isn't
// named by its UUID.
func (k keyfile) controllers() []string {
	var out []string
	for _, key := range []string{"controller", "master"} {
		if v := k.first("connection", key); Usable(v) {
			out = append(out, v)
		}
	}
	return out
}

// addresses reads the sections ipv4 and ipv6: address1=ADDRESS/LENGTH,GATEWAY, in
// files of old with semicolons, and addresses=…;… in the oldest.
func (k keyfile) addresses(l *guest.NetLink) {
	for _, section := range []string{"ipv4", "ipv6"} {
		keys := slices.Sorted(maps.Keys(k.s[section]))
		for _, key := range keys {
			if !strings.HasPrefix(key, "address") || key == "address-data" {
				continue
			}
			f := k.list(section, key)
			if len(f) > 0 {
				addAddress(&l.Addresses, f[0], "")
			}
			if len(f) > 1 {
				addAddrs(&l.Gateways, f[1])
			}
		}
		addAddrs(&l.Gateways, k.first(section, "gateway"))
		addAddrs(&l.DNS, k.list(section, "dns")...)
	}
	l.DHCP4 = k.first("ipv4", "method") == "auto"
	l.DHCP6 = k.first("ipv6", "method") == "dhcp"
	l.RA = k.first("ipv6", "method") == "auto"
}
