package wire

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// hw is a MAC.
type hw [6]byte

func (m hw) String() string { return net.HardwareAddr(m[:]).String() }

func (m hw) group() bool { return m[0]&1 != 0 }

const (
	leastFrame   = 60 // without its checksum
	headerLength = 14
	tagLength    = 4
)

// kind is what a frame is.
type kind int

const (
	other     kind = iota
	claim          // says that an address is its sender's
	probe          // asks whether an address is somebody's, to take it if not
	reply          // answers ARP or neighbour discovery
	echoReply      // answers ping
	dhcp4          // a client's message
	dhcp6
	routers // asks for router advertisements
)

// note is what a frame says.
type note struct {
	kind     kind
	tag      int // of its VLAN; 0 for none
	src, dst hw
	addr     netip.Addr // that it is about: a claim's, a probe's, a reply's; else its sender's
	mac      hw         // that it gives for the address
	to       netip.Addr // whom it answers
	id       uint16     // of an echo
	payload  []byte     // of DHCP
	untagged []byte     // the frame without its tag
}

// decode reads a frame. It is false for what is no frame that a guest's network
// would take: too short, broken, or with a tag inside a tag.
func decode(frame []byte) (note, bool) {
	n := note{untagged: frame}
	if len(frame) < headerLength {
		return n, false
	}
	n.dst, n.src = hw(frame[:6]), hw(frame[6:12])
	if layers.EthernetType(binary.BigEndian.Uint16(frame[12:])) == layers.EthernetTypeDot1Q {
		if len(frame) < headerLength+tagLength {
			return n, false
		}
		n.tag = int(binary.BigEndian.Uint16(frame[14:]) & 0xfff) // 0 is a priority in no VLAN
		n.untagged = append(append(make([]byte, 0, len(frame)), frame[:12]...), frame[16:]...)
	}
	p := gopacket.NewPacket(n.untagged, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true})
	eth, ok := p.LinkLayer().(*layers.Ethernet)
	if !ok || p.ErrorLayer() != nil || n.src.group() || eth.EthernetType == layers.EthernetTypeDot1Q || eth.EthernetType == layers.EthernetTypeQinQ {
		return n, false
	}
	n.read(p)
	return n, true
}

func (n *note) read(p gopacket.Packet) {
	switch l := p.NetworkLayer().(type) {
	case *layers.IPv4:
		n.addr, n.to = address(l.SrcIP), address(l.DstIP)
	case *layers.IPv6:
		n.addr, n.to = address(l.SrcIP), address(l.DstIP)
		if l.HopLimit == 255 {
			n.readND(p)
		}
	}
	if a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		n.readARP(a)
	}
	if icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok && icmp.TypeCode.Type() == layers.ICMPv4TypeEchoReply {
		n.kind, n.id = echoReply, icmp.Id
	}
	icmp, _ := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if echo, ok := p.Layer(layers.LayerTypeICMPv6Echo).(*layers.ICMPv6Echo); ok && icmp.TypeCode.Type() == layers.ICMPv6TypeEchoReply {
		n.kind, n.id = echoReply, echo.Identifier
	}
	if u, ok := p.TransportLayer().(*layers.UDP); ok {
		switch {
		case u.SrcPort == 68 && u.DstPort == 67:
			n.kind, n.payload = dhcp4, u.Payload
		case u.SrcPort == 546 && u.DstPort == 547:
			n.kind, n.payload = dhcp6, u.Payload
		}
	}
}

func (n *note) readARP(a *layers.ARP) {
	if a.AddrType != layers.LinkTypeEthernet || a.Protocol != layers.EthernetTypeIPv4 || a.HwAddressSize != 6 || a.ProtAddressSize != 4 {
		return
	}
	from, about := address(a.SourceProtAddress), address(a.DstProtAddress)
	n.addr, n.to, n.mac = from, about, hw(a.SourceHwAddress)
	switch {
	case from.IsUnspecified():
		n.kind, n.addr, n.to = probe, about, netip.Addr{}
	case a.Operation == layers.ARPReply && from != about:
		n.kind = reply
	case from == about: // an announcement, or a probe of those who have the address already
		n.kind, n.to = claim, netip.Addr{}
	default:
		n.kind = claim
	}
}

// readND reads neighbour discovery (RFC 4861).
func (n *note) readND(p gopacket.Packet) {
	const solicited = 0x40
	if s, ok := p.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation); ok {
		n.kind, n.mac = claim, n.src
		if n.addr.IsUnspecified() {
			n.kind, n.addr = probe, address(s.TargetAddress)
		}
	}
	if a, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement); ok {
		n.kind, n.addr, n.mac = claim, address(a.TargetAddress), n.src
		if a.Flags&solicited != 0 {
			n.kind = reply
		}
		for _, o := range a.Options {
			if o.Type == layers.ICMPv6OptTargetAddress && len(o.Data) == len(n.mac) {
				n.mac = hw(o.Data)
			}
		}
	}
	if p.Layer(layers.LayerTypeICMPv6RouterSolicitation) != nil {
		n.kind = routers
	}
}

func address(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}

// encode makes a frame.
func encode(parts ...gopacket.SerializableLayer) ([]byte, error) {
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...)
	return b.Bytes(), err
}

// tagged puts a frame into a VLAN, and pads it as hardware does.
func tagged(tag int, frame []byte) []byte {
	out := make([]byte, 0, len(frame)+tagLength+leastFrame)
	out = append(out, frame[:12]...)
	if tag != 0 {
		out = binary.BigEndian.AppendUint16(out, uint16(layers.EthernetTypeDot1Q))
		out = binary.BigEndian.AppendUint16(out, uint16(tag))
	}
	out = append(out, frame[12:]...)
	return append(out, make([]byte, max(0, leastFrame-len(out)))...)
}

func link(src, dst hw, of netip.Addr) *layers.Ethernet {
	t := layers.EthernetTypeIPv6
	if of.Is4() {
		t = layers.EthernetTypeIPv4
	}
	return &layers.Ethernet{SrcMAC: src[:], DstMAC: dst[:], EthernetType: t}
}

// ask makes the question which MAC an address has: by ARP, or by neighbour discovery.
func ask(us hw, from, about netip.Addr) ([]byte, error) {
	if about.Is4() {
		eth := &layers.Ethernet{SrcMAC: us[:], DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP}
		return encode(eth, &layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPRequest, SourceHwAddress: us[:], SourceProtAddress: from.AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: about.AsSlice(),
		})
	}
	b := about.As16()
	group := netip.AddrFrom16([16]byte{0xff, 0x02, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
	ip, icmp := icmp6(from, group, layers.ICMPv6TypeNeighborSolicitation)
	return encode(link(us, hw{0x33, 0x33, 0xff, b[13], b[14], b[15]}, about), ip, icmp, &layers.ICMPv6NeighborSolicitation{
		TargetAddress: about.AsSlice(),
		Options:       layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: us[:]}},
	})
}

func icmp6(from, to netip.Addr, kind uint8) (*layers.IPv6, *layers.ICMPv6) {
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	_ = icmp.SetNetworkLayerForChecksum(ip) // fails for other layers than IP
	return ip, icmp
}

// ping makes an echo request.
func ping(us, mac hw, from, to netip.Addr, id, seq uint16) ([]byte, error) {
	data := gopacket.Payload("esxodus proves a network")
	if to.Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: id, Seq: seq}
		return encode(link(us, mac, to), ip, icmp, data)
	}
	ip, icmp := icmp6(from, to, layers.ICMPv6TypeEchoRequest)
	return encode(link(us, mac, to), ip, icmp, &layers.ICMPv6Echo{Identifier: id, SeqNumber: seq}, data)
}
