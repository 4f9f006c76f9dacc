package netconf

import (
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// ParseInterfaces reads a file of ifupdown, interfaces(5). sources are further
// files that it names, as patterns; one that ends in a slash is of directories.
func ParseInterfaces(file string, b []byte) (n guest.Net, sources []string) {
	p := interfaces{file: file}
	for _, line := range conf.Lines(b) {
		f := strings.Fields(line)
		switch key := strings.ReplaceAll(f[0], "_", "-"); {
		case key == "source" || key == "source-directory":
			sources = append(sources, sourced(key, f[1:])...)
			p.finish()
		case key == "auto" || strings.HasPrefix(key, "allow-") || key == "no-auto-down" || key == "no-scripts":
			for _, name := range f[1:] {
				p.link(name)
				if key == "auto" || key == "allow-auto" || key == "allow-hotplug" {
					p.auto = append(p.auto, strings.TrimPrefix(name, "/"))
				}
			}
			p.finish()
		case key == "iface" && len(f) > 1:
			p.iface(f[1:])
		case key == "mapping" || key == "rename":
			p.finish()
		case p.current != nil:
			p.option(key, f[1:])
		}
	}
	p.finish()
	return guest.Net{Links: p.links, Auto: p.auto}, sources
}

// sourced are the patterns of a line, those of directories with a slash at their end.
func sourced(key string, patterns []string) []string {
	out := slices.Clone(patterns)
	for i, s := range out {
		if key == "source-directory" {
			out[i] = strings.TrimRight(s, "/") + "/"
		}
	}
	return out
}

// interfaces reads stanzas. Several of one interface are one link: further
// addresses, the other family, aliases.
type interfaces struct {
	file    string
	links   []guest.NetLink
	auto    []string
	current *stanza
}

type stanza struct {
	link            int // in links
	address, length string
	ipv6            bool
	fixed           bool // it uses address
}

// link finds or adds the link of a name, -1 for none.
func (p *interfaces) link(name string) int {
	name, _, _ = strings.Cut(name, ":")
	name, _, _ = strings.Cut(name, "=") // allow-hotplug's logical names
	if !Usable(name) || name == "lo" {
		return -1
	}
	for i := range p.links {
		if p.links[i].Name == name {
			return i
		}
	}
	if len(p.links) == maxLinks {
		return -1
	}
	l := guest.NetLink{File: p.file, Style: guest.Ifupdown, Name: name, Kind: kindOf(name)}
	if parent, tag := vlanName(name); tag > 0 {
		l.Kind, l.Tag = guest.LinkVLAN, tag
		if parent != "" {
			l.Below = []string{parent}
		}
	}
	p.links = append(p.links, l)
	return len(p.links) - 1
}

// iface begins a stanza: name, family, method.
func (p *interfaces) iface(f []string) {
	p.finish()
	i := p.link(f[0])
	if i < 0 {
		return
	}
	p.current = &stanza{link: i, fixed: len(f) < 3 || f[2] == "static"}
	if len(f) < 3 {
		return
	}
	p.current.ipv6 = f[1] == "inet6"
	l := &p.links[i]
	switch {
	case f[2] == "dhcp" && p.current.ipv6:
		l.DHCP6 = true
	case f[2] == "dhcp":
		l.DHCP4 = true
	case f[2] == "auto" && p.current.ipv6:
		l.RA = true
	case slices.Contains([]string{"ppp", "wvdial", "tunnel", "v4tunnel", "6to4", "can"}, f[2]):
		l.Kind = guest.LinkVirtual
	}
}

// option reads a line of a stanza.
func (p *interfaces) option(key string, words []string) {
	l := &p.links[p.current.link]
	first := ""
	if len(words) > 0 {
		first = words[0]
	}
	if (key == "address" || key == "gateway") && !p.current.fixed {
		return // left over of another method
	}
	switch key {
	case "use": // ifupdown-ng's, whose stanzas have no method
		l.DHCP4 = l.DHCP4 || first == "dhcp"
	case "address":
		p.flush()
		p.current.address = first
	case "hwaddress":
		l.MAC = oneMAC(words...)
	case "netmask":
		p.current.length = first
	case "gateway":
		addAddrs(&l.Gateways, first)
	case "dns-nameservers", "dns-nameserver":
		addAddrs(&l.DNS, words...)
	case "bridge-ports":
		l.Kind, l.Below = guest.LinkBridge, append(l.Below, ports(words)...)
	case "bond-slaves", "slaves":
		l.Kind, l.Below = guest.LinkBond, append(l.Below, ports(words)...)
	case "bond-master":
		if i := p.link(first); i >= 0 {
			p.links[i].Kind, p.links[i].Below = guest.LinkBond, append(p.links[i].Below, p.links[p.current.link].Name)
		}
	case "vlan-raw-device":
		l.Kind, l.Below = guest.LinkVLAN, []string{first}
	case "vlan-id":
		l.Tag = vlanTag(first)
	case "up", "post-up", "pre-up":
		p.command(words)
	}
}

// command reads the one command that gives an interface another address in many
// guests: ip addr add ADDRESS/LENGTH dev $IFACE.
func (p *interfaces) command(words []string) {
	l := &p.links[p.current.link]
	if len(words) < 4 || !strings.HasSuffix(words[0], "ip") {
		return
	}
	if !strings.HasPrefix("address", words[1]) || words[2] != "add" || !strings.Contains(words[3], "/") {
		return
	}
	for i, w := range words[:len(words)-1] {
		if w == "dev" && (words[i+1] == "$IFACE" || words[i+1] == l.Name) {
			addAddress(&l.Addresses, words[3], "")
		}
	}
}

// flush takes the address of a stanza, whose length may have come after it.
func (p *interfaces) flush() {
	if c := p.current; c != nil && c.address != "" {
		addAddress(&p.links[c.link].Addresses, c.address, c.length)
		c.address, c.length = "", ""
	}
}

func (p *interfaces) finish() {
	p.flush()
	p.current = nil
}

// ports are the interfaces in a list of bridge-utils or ifenslave, which may hold
// patterns between the words regex and noregex.
func ports(words []string) []string {
	var out []string
	pattern := false
	for _, w := range words {
		switch {
		case w == "regex" || w == "noregex":
			pattern = w == "regex"
		case !pattern && w != "none" && w != "all" && Usable(w):
			out = append(out, w)
		}
	}
	return out
}
