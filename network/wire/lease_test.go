package wire

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
)

func newRequest(src hw, wanted string) ([]byte, error) {
	var with []dhcpv4.Modifier
	if wanted != "" {
		with = append(with, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(wanted))))
	}
	d, err := dhcpv4.NewDiscovery(src[:], with...)
	if err != nil {
		return nil, err
	}
	return d.ToBytes(), nil
}

// TestLease: which address a guest is offered, and takes.
func TestLease(t *testing.T) {
	t.Parallel()
	lan := nic("192.0.2.10/24")
	lan.DHCP4, lan.DNS = true, []netip.Addr{addr("192.0.2.53")}
	for _, tt := range []struct {
		name, wanted string
		nic          NIC
		want, router string // "" for none
	}{
		{"nothing is known", "", NIC{MAC: guestMAC, DHCP4: true}, "198.51.100.13", "198.51.100.14"},
		{"it had one", "10.1.2.3", NIC{MAC: guestMAC, DHCP4: true}, "10.1.2.3", "10.1.2.254"},
		{"it had the highest", "10.1.2.254", NIC{MAC: guestMAC, DHCP4: true}, "10.1.2.254", "10.1.2.253"},
		{"a known subnet", "", lan, "192.0.2.254", "192.0.2.1"},
		{"the address that it has anyway", "192.0.2.10", lan, "192.0.2.10", "192.0.2.1"},
		{"the gateway's", "192.0.2.1", lan, "192.0.2.254", "192.0.2.1"},
		{"the DNS server's", "192.0.2.53", lan, "192.0.2.254", "192.0.2.1"},
		{"a group's", "224.0.0.9", lan, "192.0.2.254", "192.0.2.1"},
		{"loopback", "127.0.0.1", lan, "192.0.2.254", "192.0.2.1"},
		{"no DHCP", "", nic("192.0.2.10/24"), "", ""},
	} {
		w := open(t, tt.nic)
		p := w.ports[0]
		offer := p.exchange(t, discover(t, p.mac, tt.wanted))
		if tt.want == "" {
			if offer != nil {
				t.Errorf("%s: offered %s", tt.name, offer.Summary())
			}
			continue
		}
		if offer == nil || offer.MessageType() != dhcpv4.MessageTypeOffer || offer.YourIPAddr.String() != tt.want || offer.ServerIdentifier().String() != tt.router || offer.Router()[0].String() != tt.router {
			t.Errorf("%s: %v; want %s of %s", tt.name, offer, tt.want, tt.router)
			continue
		}
		if got := w.Results()[0]; got.Lacks != "a lease by DHCP" || got.Passed {
			t.Errorf("%s: an offer is a lease: %+v", tt.name, got)
		}
		req, err := dhcpv4.NewRequestFromOffer(offer)
		if err != nil {
			t.Fatal(err)
		}
		ack := p.exchange(t, message4(t, p.mac, req.ToBytes()))
		if ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck || ack.YourIPAddr.String() != tt.want {
			t.Errorf("%s: %v; want %s acknowledged", tt.name, ack, tt.want)
		}
		r := w.Results()[0]
		if i := slices.IndexFunc(r.Answers, func(a Answer) bool { return a.Address == addr(tt.want) }); i < 0 || r.Lacks != "" || r.Passed {
			t.Errorf("%s: the lease need not answer: %+v", tt.name, r)
		}
	}
}

// TestNoLease: a request for what the guest can't have is refused, one for another
// server's isn't answered, and a declined address is a conflict.
func TestNoLease(t *testing.T) {
	t.Parallel()
	lan := nic("192.0.2.10/24")
	lan.DHCP4 = true
	request := func(p *port, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
		d, err := dhcpv4.New(append(with, dhcpv4.WithHwAddr(p.mac[:]))...)
		if err != nil {
			t.Fatal(err)
		}
		return p.exchange(t, message4(t, p.mac, d.ToBytes()))
	}
	p := open(t, lan).ports[0]
	asks := dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest)
	if got := request(p, asks, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 0, 2, 1)))); got == nil || got.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("a request for the gateway's address: %v; want it refused", got)
	}
	other := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 9)))
	if got := request(p, asks, other, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 0, 2, 20)))); got != nil {
		t.Errorf("a request to another server: %v; want no answer", got)
	}
	if got := request(p, dhcpv4.WithMessageType(dhcpv4.MessageTypeDecline)); got != nil || !p.heard.Declined {
		t.Errorf("an address that is declined: %v, %+v", got, p.heard)
	}
	renewed := request(p, asks, dhcpv4.WithClientIP(net.IPv4(192, 0, 2, 30)))
	if renewed == nil || renewed.MessageType() != dhcpv4.MessageTypeAck || !renewed.YourIPAddr.Equal(net.IPv4(192, 0, 2, 30)) {
		t.Errorf("a renewal: %v; want it acknowledged", renewed)
	}
	for i := range 2 * mostLeases {
		renewed = request(p, asks, dhcpv4.WithClientIP(net.IPv4(10, 0, byte(i), 30)))
	}
	if renewed == nil || renewed.MessageType() != dhcpv4.MessageTypeNak || len(p.targets) != 2 {
		t.Errorf("many leases: the last %v, %d targets; want it refused, and one beside the known", renewed, len(p.targets))
	}
}

// message4 is a frame with a message of DHCP.
func message4(tb testing.TB, src hw, data []byte) []byte {
	tb.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: make(net.IP, 4), DstIP: net.IPv4bcast}
	udp := &layers.UDP{SrcPort: 68, DstPort: 67}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		tb.Fatal(err)
	}
	f, err := encode(link(src, broadcast(), addr("0.0.0.0")), ip, udp, gopacket.Payload(data))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// exchange gives a port a frame and returns what its DHCP answers, nil for nothing.
func (p *port) exchange(tb testing.TB, frame []byte) *dhcpv4.DHCPv4 {
	tb.Helper()
	u := p.answer(tb, frame)
	if u == nil {
		return nil
	}
	m, err := dhcpv4.FromBytes(u.Payload)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// answer gives a port a frame and returns the datagram that its services answer with.
func (p *port) answer(tb testing.TB, frame []byte) *layers.UDP {
	tb.Helper()
	n, ok := decode(frame)
	if !ok || p.service(n.kind) == nil {
		tb.Fatalf("no service takes %x", frame)
	}
	f, err := p.service(n.kind)(n)
	if err != nil {
		tb.Fatal(err)
	}
	if f == nil {
		return nil
	}
	u, ok := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default).TransportLayer().(*layers.UDP)
	if !ok {
		tb.Fatalf("the answer is no datagram: %x", f)
	}
	return u
}

// TestLease6: the same in IPv6.
func TestLease6(t *testing.T) {
	t.Parallel()
	lan := nic("2001:db8:5::10/64")
	lan.DHCP6 = true
	for _, tt := range []struct {
		name, wanted string
		nic          NIC
		want         string
	}{
		{"nothing is known", "", NIC{MAC: guestMAC, DHCP6: true}, "2001:db8:0:1::fffd"},
		{"it had one", "2001:db8:9::7", NIC{MAC: guestMAC, DHCP6: true}, "2001:db8:9::7"},
		{"a known subnet", "", lan, "2001:db8:5::fffd"},
		{"none", "", nic("2001:db8:5::10/64"), ""},
	} {
		w := open(t, tt.nic)
		p := w.ports[0]
		m, err := dhcpv6.NewSolicit(p.mac[:])
		if err != nil {
			t.Fatal(err)
		}
		if tt.wanted != "" {
			m.UpdateOption(&dhcpv6.OptIANA{IaId: m.Options.OneIANA().IaId, Options: dhcpv6.IdentityOptions{Options: dhcpv6.Options{&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(tt.wanted)}}}})
		}
		ask := func(m *dhcpv6.Message) *dhcpv6.Message {
			f, err := p.datagram(broadcast(), netip.AddrPortFrom(addr("fe80::7"), 546), netip.AddrPortFrom(addr("ff02::1:2"), 547), m.ToBytes())
			if err != nil {
				t.Fatal(err)
			}
			u := p.answer(t, f)
			if u == nil {
				return nil
			}
			r, err := dhcpv6.MessageFromBytes(u.Payload)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		adv := ask(m)
		if tt.want == "" {
			if adv != nil {
				t.Errorf("%s: %v", tt.name, adv)
			}
			continue
		}
		if adv == nil || adv.Type() != dhcpv6.MessageTypeAdvertise || adv.Options.OneIANA().Options.OneAddress().IPv6Addr.String() != tt.want || len(p.targets) != len(tt.nic.Addresses) {
			t.Errorf("%s: %v; want %s advertised, and not leased yet", tt.name, adv, tt.want)
			continue
		}
		req, err := dhcpv6.NewRequestFromAdvertise(adv)
		if err != nil {
			t.Fatal(err)
		}
		if r := ask(req); r == nil || r.Type() != dhcpv6.MessageTypeReply || r.Options.OneIANA().Options.OneAddress().IPv6Addr.String() != tt.want || p.targets[len(p.targets)-1].addr() != addr(tt.want) {
			t.Errorf("%s: %v; want %s leased, and tried", tt.name, r, tt.want)
		}
	}
}

// FuzzPackets: the same of packets whose headers and checksums are right.
func FuzzPackets(f *testing.F) {
	for _, proto := range []layers.IPProtocol{layers.IPProtocolICMPv4, layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolICMPv6, layers.IPProtocolIPv6Fragment, layers.IPProtocolIPv6HopByHop, layers.IPProtocolIGMP} {
		f.Add(uint8(proto), uint16(0), []byte("0123456789012345678901234567890123456789"))
		f.Add(uint8(proto), uint16(0x2001), []byte("0123456789012345678901234567890123456789"))
	}
	n := nic("192.0.2.10/24", "2001:db8::10/64")
	n.Gateways = append(n.Gateways, addr("2001:db8::1"))
	w := open(f, n)
	p := w.ports[0]
	f.Fuzz(func(t *testing.T, proto uint8, flags uint16, data []byte) {
		for _, to := range n.Gateways {
			frame, err := packet(p, to, layers.IPProtocol(proto), flags, data)
			if err != nil {
				return // too long
			}
			if err := p.receive(frame, time.Now()); err != nil {
				t.Error(err)
			}
			p.segments[0].link.Drain()
		}
	})
}

// packet is a guest's packet of any protocol; its payload begins with a checksum
// where the protocol has one that can be made.
func packet(p *port, to netip.Addr, proto layers.IPProtocol, flags uint16, data []byte) ([]byte, error) {
	if to.Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: net.IPv4(192, 0, 2, 10), DstIP: to.AsSlice(), Flags: layers.IPv4Flag(flags >> 13), FragOffset: flags & 0x1fff}
		return encode(link(p.mac, p.us, to), ip, transport(proto, ip, data), gopacket.Payload(data))
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: proto, SrcIP: net.ParseIP("2001:db8::10"), DstIP: to.AsSlice()}
	return encode(link(p.mac, p.us, to), ip, transport(proto, ip, data), gopacket.Payload(data))
}

// transport is a header with a right checksum, of what the data begin with.
func transport(proto layers.IPProtocol, ip gopacket.NetworkLayer, data []byte) gopacket.SerializableLayer {
	at := func(i int) uint8 {
		if i < len(data) {
			return data[i]
		}
		return 0
	}
	word := func(i int) uint16 { return uint16(at(i))<<8 | uint16(at(i+1)) }
	switch proto {
	case layers.IPProtocolTCP:
		l := &layers.TCP{SrcPort: layers.TCPPort(word(0)), DstPort: layers.TCPPort(word(2)), Seq: uint32(word(4)), SYN: at(6)&1 != 0, ACK: at(6)&2 != 0, RST: at(6)&4 != 0, FIN: at(6)&8 != 0, Window: word(7)}
		_ = l.SetNetworkLayerForChecksum(ip)
		return l
	case layers.IPProtocolUDP:
		l := &layers.UDP{SrcPort: layers.UDPPort(word(0)), DstPort: layers.UDPPort(word(2))}
		_ = l.SetNetworkLayerForChecksum(ip)
		return l
	case layers.IPProtocolICMPv4:
		return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(at(0), at(1)), Id: word(2), Seq: word(4)}
	case layers.IPProtocolICMPv6:
		l := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(at(0), at(1))}
		_ = l.SetNetworkLayerForChecksum(ip)
		return l
	}
	return gopacket.Payload(nil)
}

// FuzzReceive: whatever a guest sends, nothing falls over.
func FuzzReceive(f *testing.F) {
	guest := mac(f, guestMAC)
	f.Add(arpFrame(f, layers.ARPRequest, guest, broadcast(), guest, "192.0.2.10", hw{}, "192.0.2.1"))
	f.Add(arpFrame(f, layers.ARPReply, guest, hw{0x02, 0x65, 0x73, 0x78, 0x6f, 0}, guest, "192.0.2.10", hw{}, "192.0.2.1"))
	f.Add(tagged(42, probe6(f, guest, "2001:db8::1")))
	f.Add(discover(f, guest, "192.0.2.77"))
	f.Add([]byte{})
	n := nic("192.0.2.10/24", "2001:db8::10/64")
	n.DHCP4, n.DHCP6, n.RA = true, true, true
	n.Addresses = append(n.Addresses, Address{Tag: 42, Prefix: prefix("198.51.100.1/24")})
	w := open(f, n)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if err := w.ports[0].receive(frame, time.Now()); err != nil {
			t.Error(err)
		}
		_ = w.Results()[0].String()
		for _, s := range w.ports[0].segments {
			s.link.Drain()
		}
		if h := w.ports[0].heard; len(h.Claims) > mostClaims || len(h.Others) > mostMACs || len(w.ports[0].targets) > mostLeases+3 {
			t.Errorf("kept too much: %+v", h)
		}
	})
}
