// Package netconf reads what the files of a guest say of its network interfaces: one
// file a style. Each parser is a function of hostile bytes; what it doesn't
// understand it leaves out.
package netconf

import (
	"net/netip"
	"slices"
	"strings"

	"esxodus/convert/guest"
)

// maxLinks bounds how many interfaces a file, or one style's files, may have.
const maxLinks = 4000

// macs are the canonical forms of those words that are addresses of Ethernet.
func macs(words ...string) []string {
	var out []string
	for _, w := range words {
		if m := guest.CanonicalMAC(w); m != "" {
			out = append(out, m)
		}
	}
	return out
}

// oneMAC is the first of some words that is an address of Ethernet, "" for none.
func oneMAC(words ...string) string {
	for _, m := range macs(words...) {
		return m
	}
	return ""
}

// addAddress adds an address and the length of its prefix, which may be part of the
// address, a number or a netmask.
func addAddress(to *[]netip.Prefix, address, length string) {
	if p, ok := prefix(address, length); ok && !slices.Contains(*to, p) {
		*to = append(*to, p)
	}
}

func prefix(address, length string) (netip.Prefix, bool) {
	address = strings.TrimSpace(address)
	if p, err := netip.ParsePrefix(address); err == nil {
		return p, p.Addr().Zone() == ""
	}
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	bits := a.BitLen()
	if length = strings.TrimSpace(length); length != "" {
		if bits = maskBits(length); bits < 0 || bits > a.BitLen() {
			return netip.Prefix{}, false
		}
	}
	return netip.PrefixFrom(a, bits), true
}

// maskBits reads "24" and "255.255.255.0"; what is neither is -1.
func maskBits(s string) int {
	if mask, err := netip.ParseAddr(s); err == nil && mask.Is4() {
		b := mask.As4()
		v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		ones := 0
		for ; v&(1<<31) != 0; v <<= 1 {
			ones++
		}
		if v != 0 {
			return -1
		}
		return ones
	}
	p, err := netip.ParsePrefix("::/" + s) // a number without sign or zeros before it
	if err != nil {
		return -1
	}
	return p.Bits()
}

// addAddrs adds addresses without a length, gateways and name servers.
func addAddrs(to *[]netip.Addr, words ...string) {
	for _, w := range words {
		a, err := netip.ParseAddr(strings.TrimSpace(w))
		if err == nil && !a.IsUnspecified() && !slices.Contains(*to, a) {
			*to = append(*to, a)
		}
	}
}

// isDefault reports whether a destination is that of a default route.
func isDefault(s string) bool {
	return slices.Contains([]string{"default", "0.0.0.0/0", "0/0", "0.0.0.0", "::/0", "::"}, s)
}

// vlanName takes the name of a VLAN's interface apart, where it tells: "ens192.42",
// "vlan42".
func vlanName(name string) (parent string, tag int) {
	parent, number, ok := strings.Cut(name, ".")
	if !ok {
		if number, ok = strings.CutPrefix(name, "vlan"); !ok {
			return "", 0
		}
		parent = ""
	}
	return parent, vlanTag(number)
}

// vlanTag reads a VLAN's number, 0 where it is none.
func vlanTag(s string) int {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' || n > 4094 {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	if n > 4094 {
		return 0
	}
	return n
}

// Usable reports whether a name may be one of an interface, is no pattern, and means
// nothing to a shell or to udev.
func Usable(name string) bool {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-+@", r)
	}
	return name != "" && name != "." && name != ".." && len(name) <= 15 && !strings.ContainsFunc(name, odd)
}

// isVirtual reports whether a name is one of an interface that the guest makes
// itself: a word, perhaps with a number.
func isVirtual(name string) bool {
	switch strings.TrimRight(name, "0123456789") {
	case "", "lo", "bond", "br", "br-", "virbr", "vlan", "dummy", "tun", "tap", "docker", "veth", "wg", "team", "vxlan", "ifb", "sit", "lxcbr", "lxdbr", "vmbr", "ovs-system":
		return true
	}
	return strings.HasPrefix(name, "br-")
}

// kindOf is what an interface is by its name alone.
func kindOf(name string) guest.LinkKind {
	if name != "" && isVirtual(name) {
		return guest.LinkVirtual
	}
	if _, tag := vlanName(name); tag > 0 {
		return guest.LinkVLAN
	}
	return guest.LinkNIC
}

// Names lists the real NICs that a configuration names, and those of them that it
// binds to an address of Ethernet. What the system itself brings names none of them.
func Names(n guest.Net) (names, pinned []string) {
	real := realNames(n)
	for _, l := range n.Links {
		if strings.HasPrefix(l.File, "/usr/lib/systemd/") || strings.HasPrefix(l.File, "/lib/systemd/") {
			continue
		}
		names = append(names, real(slices.Concat([]string{l.Name}, l.Below, l.Match.Names)...)...)
		if l.Style == guest.Ifcfg && len(l.Match.MACs) > 0 {
			pinned = append(pinned, real(l.Name)...)
		}
	}
	for _, f := range n.LinkFiles {
		if f.Match.IsZero() {
			continue // no file that names NICs, but one that systemd passes over
		}
		names = append(names, real(f.Name)...)
		if len(f.Match.MACs) > 0 {
			pinned = append(pinned, real(f.Name)...)
		}
	}
	for _, r := range n.Rules {
		if len(r.Match.MACs) > 0 {
			names, pinned = append(names, real(r.Name)...), append(pinned, real(r.Name)...)
		}
	}
	return names, pinned
}

// realNames returns what picks those of names that are of interfaces which the guest
// doesn't make itself.
func realNames(n guest.Net) func(names ...string) []string {
	made := map[string]bool{}
	for _, l := range n.Links {
		made[l.Name] = made[l.Name] || l.Kind != guest.LinkNIC
		for _, name := range l.Above {
			made[name] = true
		}
	}
	return func(names ...string) []string {
		var out []string
		for _, name := range names {
			if name, _, _ = strings.Cut(name, "@"); Usable(name) && !isVirtual(name) && !made[name] {
				out = append(out, name)
			}
		}
		return out
	}
}
