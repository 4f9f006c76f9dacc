package wire

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// segment is one VLAN of a wire, or what isn't in any: a network stack that has
// esxodus's addresses there. It answers ARP, neighbour discovery and ping for these,
// and resets connections to them.
type segment struct {
	stack *stack.Stack
	link  *channel.Endpoint

	mu  sync.Mutex
	own map[netip.Addr]bool
}

const (
	theNIC     = tcpip.NICID(1)
	frameSize  = 1514 // of an MTU of 1500
	queueDepth = 256
)

func newSegment(mac net.HardwareAddr) (*segment, error) {
	s := &segment{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		}),
		link: channel.New(queueDepth, frameSize, tcpip.LinkAddress(mac)),
		own:  make(map[netip.Addr]bool),
	}
	if err := s.stack.CreateNIC(theNIC, ethernet.New(s.link)); err != nil {
		return nil, fmt.Errorf("network stack: %s", err)
	}
	s.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: theNIC}, {Destination: header.IPv6EmptySubnet, NIC: theNIC}})
	return s, nil
}

// take gives esxodus an address.
func (s *segment) take(a netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own[a] {
		return nil
	}
	full := tcpip.ProtocolAddress{Protocol: protocol(a), AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix()}
	if err := s.stack.AddProtocolAddress(theNIC, full, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("network stack: address %s: %s", a, err)
	}
	s.own[a] = true
	return nil
}

// has reports whether an address is esxodus's.
func (s *segment) has(a netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own[a]
}

func protocol(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// inject gives the stack a frame.
func (s *segment) inject(frame []byte) {
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	defer p.DecRef()
	s.link.InjectInbound(0, p) // the type is in the frame
}

// run hands on what the stack sends, until the context ends.
func (s *segment) run(ctx context.Context, send func(frame []byte) error) error {
	for {
		p := s.link.ReadContext(ctx)
		if p == nil {
			return nil
		}
		v := p.ToView()
		err := send(v.AsSlice())
		v.Release()
		p.DecRef()
		if err != nil {
			return err
		}
	}
}

// connect makes a TCP connection and ends it.
func (s *segment) connect(ctx context.Context, from netip.Addr, to netip.AddrPort) error {
	end := func(a netip.Addr, port uint16) tcpip.FullAddress {
		return tcpip.FullAddress{NIC: theNIC, Addr: tcpip.AddrFromSlice(a.AsSlice()), Port: port}
	}
	c, err := gonet.DialTCPWithBind(ctx, s.stack, end(from, 0), end(to.Addr(), to.Port()), protocol(from))
	if err != nil {
		return err
	}
	return c.Close()
}

// close ends the stack's goroutines.
func (s *segment) close() {
	s.stack.Close()
	s.link.Close()
	s.stack.Wait()
}
