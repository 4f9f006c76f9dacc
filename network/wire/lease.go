package wire

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"esxodus/network"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

const (
	leaseTime  = 12 * time.Hour
	mostLeases = 16 // that one NIC takes, one after another or, in IPv6, together
)

// subnet is the one that an address is in as the plan expects it, else a usual one
// around it.
func (p *port) subnet(tag int, a netip.Addr) netip.Prefix {
	for _, t := range p.nic.Addresses {
		if t.Tag == tag && t.Prefix.Contains(a) {
			return t.Prefix
		}
	}
	if pool := p.pool(tag, a.Is4()); pool.Contains(a) {
		return pool
	}
	bits := 64
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits)
}

// pool is the subnet that leases are from.
func (p *port) pool(tag int, v4 bool) netip.Prefix {
	for _, t := range p.nic.Addresses {
		if t.Tag == tag && t.Prefix.Addr().Is4() == v4 {
			return t.Prefix.Masked()
		}
	}
	return documentation(v4, p.index)
}

// documentation is a subnet that nobody has (RFC 5737, RFC 3849), another for each of
// the first sixteen NICs: a guest with two in one subnet sends through either.
func documentation(v4 bool, nic int) netip.Prefix {
	n := byte(nic % 16)
	if v4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, n << 4}), 28)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 7: n + 1}), 64)
}

// lease picks an address for the guest: what it asks for, if it can have that, else a
// free one of the pool. router is esxodus's there.
func (p *port) lease(tag int, wanted netip.Addr, v4 bool) (of netip.Prefix, router netip.Addr, ok bool) {
	s := p.segments[tag]
	if !wanted.IsGlobalUnicast() || wanted.Is4() != v4 || s.has(wanted) {
		pool := p.pool(tag, v4)
		gateways := func(a netip.Addr) bool { return slices.Contains(p.nic.Gateways, a) || slices.Contains(p.nic.DNS, a) }
		first, _ := network.Vantage(pool, p.nic.Gateways, p.guests)
		if wanted, ok = network.Free(pool, func(a netip.Addr) bool { return p.guests(a) || a == first || gateways(a) }); !ok {
			return of, router, false
		}
	}
	of = netip.PrefixFrom(wanted, p.subnet(tag, wanted).Bits())
	router, ok = network.Vantage(of, p.nic.Gateways, func(a netip.Addr) bool { return a == wanted || p.guests(a) })
	return of, router, ok
}

// leased has the address that the guest has taken answer. In IPv4 that is one at a
// time. It is false if the guest has had too many.
func (p *port) leased(tag int, of netip.Prefix, router netip.Addr, by origin) bool {
	at := slices.IndexFunc(p.targets, func(t *target) bool {
		return t.Tag == tag && t.by == by && (by == byDHCP4 || t.addr() == of.Addr())
	})
	if at >= 0 && p.targets[at].addr() == of.Addr() || at < 0 && slices.ContainsFunc(p.targets, func(t *target) bool { return t.Tag == tag && t.addr() == of.Addr() }) {
		if at < 0 {
			p.fixedLease = p.fixedLease || by == byDHCP4
		}
		return true
	}
	if p.leases++; p.leases > mostLeases || p.segments[tag].take(router) != nil {
		return false
	}
	// A bridge or bond may ask for it by another MAC.
	t := &target{Address: Address{Tag: tag, Prefix: of, Shared: true}, from: router, by: by, ports: make(map[uint16]time.Duration)}
	if at >= 0 {
		p.targets[at] = t
	} else {
		p.targets = append(p.targets, t)
	}
	return true
}

// serve4 answers a DHCP message, with nil for one that gets no answer.
func (p *port) serve4(n note) ([]byte, error) {
	m, err := dhcpv4.FromBytes(n.payload)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootRequest || !p.nic.DHCP4 {
		return nil, nil // a guest may send what it likes
	}
	wanted := address(m.RequestedIPAddress().To4())
	if at := address(m.ClientIPAddr.To4()); at.IsValid() && !at.IsUnspecified() {
		wanted = at
	}
	of, router, ok := p.lease(n.tag, wanted, true)
	if !ok {
		return nil, nil
	}
	kind := dhcpv4.MessageTypeAck
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		kind = dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeRequest:
		if id := address(m.ServerIdentifier().To4()); id.IsValid() && id != router {
			return nil, nil // it takes another's offer
		}
		if of.Addr() != wanted || !p.leased(n.tag, of, router, byDHCP4) {
			kind = dhcpv4.MessageTypeNak
		}
	case dhcpv4.MessageTypeDecline:
		p.heard.Declined = true
		return nil, nil
	case dhcpv4.MessageTypeInform:
	default:
		return nil, nil
	}
	return p.reply4(n, m, kind, of, router)
}

func (p *port) reply4(n note, m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, of netip.Prefix, router netip.Addr) ([]byte, error) {
	with := []dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(router.AsSlice()))}
	if kind != dhcpv4.MessageTypeNak {
		with = append(with, dhcpv4.WithNetmask(mask(of)), dhcpv4.WithRouter(router.AsSlice()), dhcpv4.WithDNS(router.AsSlice()))
		for _, a := range p.nic.DNS {
			if a.Is4() {
				with = append(with, dhcpv4.WithDNS(a.AsSlice()))
				break
			}
		}
		if m.MessageType() != dhcpv4.MessageTypeInform {
			with = append(with, dhcpv4.WithYourIP(of.Addr().AsSlice()), dhcpv4.WithLeaseTime(uint32(leaseTime.Seconds())))
		}
	}
	r, err := dhcpv4.NewReplyFromRequest(m, with...)
	if err != nil {
		return nil, err
	}
	to, dst := of.Addr(), n.src
	if kind == dhcpv4.MessageTypeNak || m.IsBroadcast() {
		to, dst = netip.AddrFrom4([4]byte{255, 255, 255, 255}), hw{255, 255, 255, 255, 255, 255}
	}
	return p.datagram(dst, netip.AddrPortFrom(router, 67), netip.AddrPortFrom(to, 68), r.ToBytes())
}

func mask(of netip.Prefix) []byte {
	return binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-of.Bits()))
}

// datagram makes a frame of a UDP message.
func (p *port) datagram(dst hw, from, to netip.AddrPort, data []byte) ([]byte, error) {
	udp := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	var ip gopacket.SerializableLayer
	if to.Addr().Is4() {
		l := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
		_ = udp.SetNetworkLayerForChecksum(l) // fails for other layers than IP
		ip = l
	} else {
		l := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
		_ = udp.SetNetworkLayerForChecksum(l)
		ip = l
	}
	return encode(link(p.us, dst, to.Addr()), ip, udp, gopacket.Payload(data))
}

// serve6 answers a DHCPv6 message, with nil for one that gets no answer.
func (p *port) serve6(n note) ([]byte, error) {
	m, err := dhcpv6.MessageFromBytes(n.payload)
	if err != nil || !p.nic.DHCP6 || m.Options.ClientID() == nil {
		return nil, nil // a guest may send what it likes
	}
	with := []dhcpv6.Modifier{dhcpv6.WithServerID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: p.us[:]})}
	reply := dhcpv6.NewReplyFromMessage
	takes := true
	switch m.Type() {
	case dhcpv6.MessageTypeSolicit:
		if takes = m.GetOneOption(dhcpv6.OptionRapidCommit) != nil; !takes {
			reply = dhcpv6.NewAdvertiseFromSolicit
		}
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeConfirm:
	case dhcpv6.MessageTypeInformationRequest:
		takes = false
	case dhcpv6.MessageTypeDecline:
		p.heard.Declined = true
		return nil, nil
	default:
		return nil, nil
	}
	if ia := m.Options.OneIANA(); ia != nil {
		o := p.lease6(n.tag, ia, takes)
		if o == nil {
			return nil, nil
		}
		with = append(with, dhcpv6.WithOption(o))
	}
	r, err := reply(m, with...)
	if err != nil {
		return nil, err
	}
	return p.datagram(n.src, netip.AddrPortFrom(p.linkLocal(), 547), netip.AddrPortFrom(n.addr, 546), r.ToBytes())
}

// lease6 fills an identity association with an address; nil if there is none.
func (p *port) lease6(tag int, ia *dhcpv6.OptIANA, takes bool) *dhcpv6.OptIANA {
	var wanted netip.Addr
	if a := ia.Options.OneAddress(); a != nil {
		wanted = address(a.IPv6Addr)
	}
	of, router, ok := p.lease(tag, wanted, false)
	if !ok || takes && !p.leased(tag, of, router, byIPv6) {
		return nil
	}
	return &dhcpv6.OptIANA{IaId: ia.IaId, T1: leaseTime / 2, T2: leaseTime * 3 / 4, Options: dhcpv6.IdentityOptions{Options: dhcpv6.Options{
		&dhcpv6.OptIAAddress{IPv6Addr: of.Addr().AsSlice(), PreferredLifetime: leaseTime, ValidLifetime: leaseTime},
	}}}
}

// linkLocal is esxodus's link-local address as a router: the gateway's that the guest
// knows, else the one of its MAC (RFC 4291, appendix A).
func (p *port) linkLocal() netip.Addr {
	for _, g := range p.nic.Gateways {
		if g.Is6() && g.IsLinkLocalUnicast() && !p.guests(g) {
			return g
		}
	}
	m := p.us
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// advertise answers one who asks for routers, with nil where the guest isn't known to
// listen to them.
func (p *port) advertise(n note) ([]byte, error) {
	const managed, onLink, autonomous = 0x80, 0x80, 0x40
	if !p.nic.RA && !p.nic.DHCP6 {
		return nil, nil
	}
	prefix := netip.PrefixFrom(p.pool(n.tag, false).Addr(), 64).Masked()
	info := binary.BigEndian.AppendUint32([]byte{64, onLink}, uint32(leaseTime.Seconds()))
	info = binary.BigEndian.AppendUint32(info, uint32(leaseTime.Seconds()))
	info = append(append(info, 0, 0, 0, 0), prefix.Addr().AsSlice()...)
	ra := &layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: 1800}
	if p.nic.RA {
		info[1] |= autonomous
	}
	if p.nic.DHCP6 {
		ra.Flags |= managed
	}
	ra.Options = layers.ICMPv6Options{{Type: layers.ICMPv6OptPrefixInfo, Data: info}, {Type: layers.ICMPv6OptSourceAddress, Data: p.us[:]}}
	all := netip.IPv6LinkLocalAllNodes()
	ip, icmp := icmp6(p.linkLocal(), all, layers.ICMPv6TypeRouterAdvertisement)
	return encode(link(p.us, hw{0x33, 0x33, 5: 1}, all), ip, icmp, ra)
}

// makes notes that the guest has made itself an address of the advertised prefix.
func (p *port) makes(n note) {
	if !p.nic.RA || n.kind != claim && n.kind != probe || !n.addr.Is6() || p.segments[n.tag] == nil || p.segments[n.tag].has(n.addr) {
		return
	}
	prefix := netip.PrefixFrom(p.pool(n.tag, false).Addr(), 64).Masked()
	if !prefix.Contains(n.addr) {
		return
	}
	if of, router, ok := p.lease(n.tag, n.addr, false); ok && of.Addr() == n.addr {
		p.leased(n.tag, of, router, byIPv6)
	}
}
