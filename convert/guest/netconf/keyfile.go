package netconf

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
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
	l.ByNM, l.UUID = true, c.first("connection", "uuid")
	l.Priority, _ = strconv.Atoi(c.first("connection", "autoconnect-priority")) // 0 by default
	l.MAC = oneMAC(c.first("ethernet", "cloned-mac-address"), c.first("802-3-ethernet", "cloned-mac-address"))
	c.addresses(&l)
	l.Above, l.Idle = c.controllers(), c.first("connection", "autoconnect") == "false"
	return guest.Net{Links: []guest.NetLink{l}}
}

// Keyfiles joins NetworkManager's connections, which may name each other by UUID.
func Keyfiles(files []File) guest.Net {
	var n guest.Net
	names := map[string]string{}
	for _, f := range files {
		if len(n.Links) == maxLinks {
			break
		}
		n.Add(ParseKeyfile(f.Path, f.Text))
	}
	for _, l := range n.Links {
		if l.Name != "" && l.UUID != "" {
			names[l.UUID] = l.Name
		}
	}
	for i := range n.Links {
		for _, list := range [][]string{n.Links[i].Above, n.Links[i].Below} {
			for k, word := range list {
				list[k] = cmp.Or(names[word], word)
			}
		}
	}
	return n
}

// ParseTimestamps reads when NetworkManager last used each connection, by UUID.
func ParseTimestamps(b []byte) map[string]int64 {
	out := map[string]int64{}
	for uuid, values := range conf.Sections(b)["timestamps"] {
		if at, err := strconv.ParseInt(values[0], 10, 64); err == nil && len(out) < maxLinks {
			out[uuid] = at
		}
	}
	return out
}

// routeKey is the key of a route: DESTINATION/LENGTH,GATEWAY. cloud-init writes the
// default route so.
var routeKey = regexp.MustCompile(`^route[0-9]+$`)

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

// controllers are the bond or bridge that the interface is a port of, by its name or
// its connection's UUID.
func (k keyfile) controllers() []string {
	var out []string
	for _, key := range []string{"controller", "master"} {
		if v := k.first("connection", key); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// addresses reads the sections ipv4 and ipv6: address1=ADDRESS/LENGTH,GATEWAY, in
// files of old with semicolons, and addresses=…;… in the oldest.
func (k keyfile) addresses(l *guest.NetLink) {
	for _, section := range []string{"ipv4", "ipv6"} {
		if method := k.first(section, "method"); !slices.Contains([]string{"", "manual", "auto", "dhcp", "shared"}, method) {
			continue // it is off, and what stands there is left over
		}
		k.family(l, section)
	}
	l.DHCP4 = k.first("ipv4", "method") == "auto"
	l.DHCP6 = k.first("ipv6", "method") == "dhcp"
	l.RA = k.first("ipv6", "method") == "auto"
}

// family reads one of the sections.
func (k keyfile) family(l *guest.NetLink, section string) {
	keys := slices.Sorted(maps.Keys(k.s[section]))
	for _, key := range keys {
		if !strings.HasPrefix(key, "address") || key == "address-data" {
			continue
		}
		address, gateway := splitAddress(k.list(section, key))
		addAddress(&l.Addresses, address, "")
		addAddrs(&l.Gateways, gateway)
	}
	for _, key := range keys {
		if f := k.list(section, key); routeKey.MatchString(key) && len(f) > 1 && isDefault(f[0]) {
			addAddrs(&l.Gateways, f[1])
		}
	}
	addAddrs(&l.Gateways, k.first(section, "gateway"))
	addAddrs(&l.DNS, k.list(section, "dns")...)
}

// splitAddress takes ADDRESS/LENGTH,GATEWAY apart; of old the length was a word.
func splitAddress(f []string) (address, gateway string) {
	if len(f) > 1 && !strings.Contains(f[0], "/") && maskBits(f[1]) >= 0 {
		f = slices.Replace(f, 0, 2, f[0]+"/"+f[1])
	}
	if len(f) > 0 {
		address = f[0]
	}
	if len(f) > 1 {
		gateway = f[1]
	}
	return address, gateway
}
