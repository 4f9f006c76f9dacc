package nics

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"

	"esxodus/convert/guest"
	"esxodus/inventory"
)

// addresses finds those that the guest gives its NICs, and what stands on them.
func (f *finder) addresses() {
	for i := range f.out {
		n := &f.out[i]
		if n.Name == "" {
			continue
		}
		up := []string{}
		for _, l := range f.links(i) {
			take(n, l, n.Name, 0)
			if !f.lasts(l.Match, i) {
				n.Lost = append(n.Lost, cmp.Or(l.Finder, l.File))
			}
			n.Links = append(n.Links, l)
			f.otherMAC(i, l)
			up = append(up, l.Above...)
		}
		f.climbed = 0
		f.above(n, up, 0, []string{n.Name})
	}
}

// otherMAC tells of a NIC to which the guest gives another address of Ethernet.
func (f *finder) otherMAC(i int, l guest.NetLink) {
	n := &f.out[i]
	if l.MAC == "" || l.MAC == n.MAC {
		return
	}
	n.OtherMAC = l.MAC
	f.doubt(i, fmt.Sprintf("%s gives %s the address %s in place of %s, which the VM has: a host attached by macvtap or SR-IOV passes on frames for the VM's alone", l.File, n.Name, l.MAC, n.MAC),
		"take that line out of the guest's configuration, and plan again; or use a bridge")
}

// networkFile is the name of networkd's file of a link. Netplan makes one of each.
func networkFile(l guest.NetLink) string {
	if l.Style == guest.Netplan {
		return "10-netplan-" + l.ID + ".network"
	}
	return path.Base(l.File)
}

// links are those that configure a NIC itself. Of networkd's only the first file that
// matches counts.
func (f *finder) links(i int) []guest.NetLink {
	var out, rivals []guest.NetLink
	var networkd *guest.NetLink
	for k, l := range f.g.Config.Net.Links {
		if !slices.Contains(f.g.Config.Naming.Active, l.Style) || !f.configures(l, i) {
			continue
		}
		switch {
		case l.ByNM && slices.Contains(f.g.Config.Naming.Active, guest.NetworkManager):
			rivals = append(rivals, l)
		case l.Style != guest.Networkd && l.Style != guest.Netplan:
			out = append(out, l)
		case networkd == nil || networkFile(l) < networkFile(*networkd):
			networkd = &f.g.Config.Net.Links[k]
		}
	}
	if networkd != nil {
		out = append(out, *networkd)
	}
	managed := func(l guest.NetLink) bool { return l.Style == guest.Ifupdown || l.Style == guest.Netplan }
	if len(rivals) > 0 && !slices.ContainsFunc(out, managed) { // NetworkManager leaves those alone
		out = append(out, f.profile(i, f.out[i].Name, rivals)...)
	}
	return out
}

// profile picks the connection that NetworkManager takes for an interface, of a NIC or
// on it: the one of the highest priority, and of those the one that it used last.
func (f *finder) profile(i int, name string, rivals []guest.NetLink) []guest.NetLink {
	used := f.g.Config.Net.Used
	order := func(a, b guest.NetLink) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(used[b.UUID], used[a.UUID]))
	}
	slices.SortStableFunc(rivals, order)
	if len(rivals) == 1 || order(rivals[0], rivals[1]) != 0 {
		return rivals[:1]
	}
	f.doubt(i, fmt.Sprintf("NetworkManager has several connections for %s (%s, %s), and nothing says which it takes: its addresses aren't known", name, rivals[0].File, rivals[1].File),
		"see what nmcli connection show --active shows in the guest on VMware, and delete the other one, or give it connection.autoconnect no; then plan again")
	return nil
}

// configures reports whether a link is a NIC's own.
func (f *finder) configures(l guest.NetLink, i int) bool {
	n := f.out[i]
	if l.Kind != guest.LinkNIC {
		return false
	}
	m := l.Match
	if !f.comesUp(l, n.Name) {
		return false
	}
	if m.IsZero() {
		// A connection of NetworkManager's is for one NIC at a time.
		each := l.Style == guest.NetworkManager && len(f.vm) == 1 || l.Style == guest.Netplan || l.Style == guest.Networkd && !f.needsMatch()
		return l.Name == n.Name || l.Name == "" && each
	}
	if l.Style == guest.NetworkManager && l.Name != "" && l.Name != n.Name {
		return false
	}
	a := there(f.vm[i])
	return m.Has(n.MAC, n.Name, a.path, a.driver)
}

// comesUp reports whether an interface comes up by itself.
func (f *finder) comesUp(l guest.NetLink, name string) bool {
	if l.Style != guest.Ifupdown {
		return !l.Idle
	}
	return slices.ContainsFunc(f.g.Config.Net.Auto, func(p string) bool { ok, err := path.Match(p, name); return ok && err == nil })
}

// above takes the addresses of what stands on the last of some interfaces: VLANs,
// bonds, bridges. up are those that it itself says stand on it.
func (f *finder) above(n *guest.NIC, up []string, tag int, below []string) {
	const deepest, most = 8, 1000 // a hostile guest may have them stand on each other
	if f.climbed++; len(below) > deepest || f.climbed > most {
		return
	}
	for _, l := range f.g.Config.Net.Links {
		if slices.Contains(l.Below, below[len(below)-1]) {
			up = append(up, l.Name)
		}
	}
	slices.Sort(up)
	for _, name := range slices.Compact(up) {
		if name != "" && !slices.Contains(below, name) {
			f.upper(n, name, tag, below)
		}
	}
}

// upper takes the addresses of one of them, which several stanzas may tell of.
func (f *finder) upper(n *guest.NIC, name string, tag int, below []string) {
	var links, rivals []guest.NetLink
	var up []string
	for _, l := range f.g.Config.Net.Links {
		if l.Name != name || !slices.Contains(f.g.Config.Naming.Active, l.Style) || !f.comesUp(l, name) {
			continue
		}
		if l.ByNM && slices.Contains(f.g.Config.Naming.Active, guest.NetworkManager) {
			rivals = append(rivals, l)
		} else {
			links = append(links, l)
		}
	}
	if len(rivals) > 0 && len(links) == 0 {
		i := slices.IndexFunc(f.vm, func(v inventory.NIC) bool { return v.Index == n.Index })
		links = f.profile(i, name, rivals)
	}
	for _, l := range links {
		up = append(up, l.Above...)
		if l.Tag > 0 && tag > 0 && l.Tag != tag {
			return // a tag in a tag
		}
		tag = max(tag, l.Tag)
	}
	for _, l := range links {
		take(n, l, name, tag)
	}
	f.above(n, up, tag, append(slices.Clone(below), name))
}

// mostAddresses is how many of a NIC are listed, and tried.
const mostAddresses = 64

// take adds what a link says of an interface that is a NIC, or stands on it.
func take(n *guest.NIC, l guest.NetLink, on string, tag int) {
	for _, p := range l.Addresses {
		if len(n.Addresses) == mostAddresses {
			break
		}
		a := guest.Address{On: on, Tag: tag, Prefix: p}
		if !slices.Contains(n.Addresses, a) && !p.Addr().IsLoopback() {
			n.Addresses = append(n.Addresses, a)
		}
	}
	union(&n.Gateways, l.Gateways)
	union(&n.DNS, l.DNS)
	if tag == 0 {
		if on != n.Name && (l.DHCP4 || l.DHCP6 || l.RA) {
			n.LeasedOn = on
		}
		n.DHCP4, n.DHCP6, n.RA = n.DHCP4 || l.DHCP4, n.DHCP6 || l.DHCP6, n.RA || l.RA
	}
}

func union(to *[]netip.Addr, more []netip.Addr) {
	for _, a := range more {
		if !slices.Contains(*to, a) && len(*to) < mostAddresses {
			*to = append(*to, a)
		}
	}
}
