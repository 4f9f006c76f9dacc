package netconf

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"esxodus/convert/guest"
)

// File is a file of a guest.
type File struct {
	Path string   // absolute
	Also []string // its drop-ins, whose text follows its own
	Text []byte
}

// netplanFile is what matters of a netplan file: definitions by their ids.
type netplanFile struct {
	Network struct {
		Renderer  string         `json:"renderer"`
		Ethernets map[string]any `json:"ethernets"` // and renderer among them
		VLANs     map[string]any `json:"vlans"`
		Bonds     map[string]any `json:"bonds"`
		Bridges   map[string]any `json:"bridges"`
	} `json:"network"`
}

type netplanLink struct {
	Match *struct {
		Name       any    `json:"name"` // a pattern, or since 0.103 a list of them
		MACAddress string `json:"macaddress"`
		Driver     any    `json:"driver"` // the same
	} `json:"match"`
	Renderer  string `json:"renderer"`
	SetName   string `json:"set-name"`
	MAC       string `json:"macaddress"`
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

// definition is what netplan's files say together of an interface.
type definition struct {
	kind   guest.LinkKind
	id     string
	keys   map[string]any
	files  []string // in which it is
	finder string   // the last that has a match
}

// Netplan reads netplan's files, in the order in which it reads them. Definitions of
// one id are merged as netplan does it: of single values the last counts, lists grow.
// The errors are of what isn't read.
func Netplan(files ...File) (guest.Net, []error) {
	p := netplan{by: map[guest.LinkKind]string{}}
	var errs []error
	for _, f := range files {
		var doc netplanFile
		if err := yaml.Unmarshal(f.Text, &doc); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Path, err))
			continue
		}
		p.renderer = cmp.Or(doc.Network.Renderer, p.renderer)
		p.add(f.Path, guest.LinkNIC, doc.Network.Ethernets)
		p.add(f.Path, guest.LinkVLAN, doc.Network.VLANs)
		p.add(f.Path, guest.LinkBond, doc.Network.Bonds)
		p.add(f.Path, guest.LinkBridge, doc.Network.Bridges)
	}
	for _, d := range p.defs {
		var n netplanLink
		b, err := json.Marshal(d.keys)
		if err == nil {
			err = json.Unmarshal(b, &n)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", d.files[len(d.files)-1], d.id, err))
			continue
		}
		p.link(d, &n)
	}
	return p.net, errs
}

type netplan struct {
	defs     []*definition
	net      guest.Net
	renderer string
	by       map[guest.LinkKind]string // the same for a kind
}

// add merges a file's definitions of a kind with those of the files before it.
func (p *netplan) add(file string, kind guest.LinkKind, defs map[string]any) {
	if r, ok := defs["renderer"].(string); ok {
		p.by[kind] = r
	}
	for _, id := range slices.Sorted(maps.Keys(defs)) {
		keys, ok := defs[id].(map[string]any)
		if !ok && defs[id] != nil {
			continue
		}
		i := slices.IndexFunc(p.defs, func(d *definition) bool { return d.kind == kind && d.id == id })
		if i < 0 {
			if len(p.defs) == maxLinks {
				return
			}
			i = len(p.defs)
			p.defs = append(p.defs, &definition{kind: kind, id: id, keys: map[string]any{}})
		}
		d := p.defs[i]
		merge(d.keys, keys)
		d.files = append(d.files, file)
		if keys["match"] != nil {
			d.finder = file
		}
	}
}

// merge adds what another file says.
func merge(to, more map[string]any) {
	for key, v := range more {
		switch v := v.(type) {
		case map[string]any:
			if have, ok := to[key].(map[string]any); ok {
				merge(have, v)
				continue
			}
		case []any:
			if have, ok := to[key].([]any); ok {
				to[key] = slices.Concat(have, v)
				continue
			}
		}
		to[key] = more[key]
	}
}

// link reads one definition. An ethernet's id is the name of a NIC only where no
// match stands in it.
func (p *netplan) link(d *definition, n *netplanLink) {
	id, kind, last := d.id, d.kind, len(d.files)-1
	l := guest.NetLink{File: d.files[last], Also: d.files[:last], Finder: d.finder, Style: guest.Netplan, ID: id, Name: id, Kind: kind}
	l.MAC = oneMAC(n.MAC)
	l.ByNM = cmp.Or(n.Renderer, p.by[kind], p.renderer) == "NetworkManager"
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
