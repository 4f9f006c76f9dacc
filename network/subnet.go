package network

import (
	"encoding/binary"
	"net/netip"
)

// Vantage is the address from which a guest's address is tried: the gateway's that
// is in its subnet; else the highest address of the subnet that is neither the
// guest's, nor the network's, nor its broadcast address; for a subnet of one address
// any gateway of its family. In IPv6, where a subnet has no end that anybody uses, it
// is the highest up to …:fffe. An address without any of these isn't tried from
// anywhere.
func Vantage(of netip.Prefix, gateways []netip.Addr, guests func(netip.Addr) bool) (netip.Addr, bool) {
	subnet := of.Masked()
	for _, g := range gateways {
		if subnet.Contains(g) && !guests(g) {
			return g, true
		}
	}
	if a, ok := Free(subnet, guests); ok {
		return a, true
	}
	for _, g := range gateways {
		if g.Is4() == of.Addr().Is4() && !guests(g) {
			return g, true
		}
	}
	return netip.Addr{}, false
}

// Free is the highest address of a subnet that a host may have and that isn't
// taken.
func Free(subnet netip.Prefix, taken func(netip.Addr) bool) (netip.Addr, bool) {
	const tries = 4096
	a := last(subnet)
	if hosts := a.BitLen() - subnet.Bits(); a.Is4() && hosts > 1 {
		a = a.Prev() // the last one is its broadcast address
	}
	for range tries {
		if !subnet.Contains(a) || a == subnet.Addr() && subnet.Bits() < a.BitLen()-1 {
			break
		}
		if a != subnet.Addr() && !taken(a) || subnet.Bits() == a.BitLen()-1 && !taken(a) {
			return a, true
		}
		a = a.Prev()
	}
	return netip.Addr{}, false
}

// last is the highest address of a subnet; in a large one of IPv6, …:fffe.
func last(subnet netip.Prefix) netip.Addr {
	b := subnet.Addr().As16()
	bits := subnet.Bits()
	if subnet.Addr().Is4() {
		a := subnet.Addr().As4()
		n := binary.BigEndian.Uint32(a[:]) | uint32(1<<(32-bits)-1)
		binary.BigEndian.PutUint32(a[:], n)
		return netip.AddrFrom4(a)
	}
	if bits <= 112 {
		b[14], b[15] = 0xff, 0xfe
		return netip.AddrFrom16(b)
	}
	low := binary.BigEndian.Uint16(b[14:]) | uint16(1<<(128-bits)-1)
	binary.BigEndian.PutUint16(b[14:], low)
	return netip.AddrFrom16(b)
}
