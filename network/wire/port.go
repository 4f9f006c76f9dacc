package wire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"esxodus/network"

	"golang.org/x/sync/errgroup"
)

// port is esxodus's end of a NIC's wire.
type port struct {
	index    int // of the NIC
	nic      NIC
	mac, us  hw
	ends     Ends
	conn     *net.UDPConn
	id       uint16 // of its pings
	guests   func(netip.Addr) bool
	sights   *sights          // of all NICs
	segments map[int]*segment // by tag
	capture  capture

	mu      sync.Mutex
	begun   time.Time
	seq     uint16
	heard   Heard
	targets []*target
	leases  int // how many were made
	// fixedLease is set when the guest took a lease of an address that it has anyway.
	fixedLease bool
}

// origin is where a guest has an address from.
type origin int

const (
	byPlan  origin = iota
	byDHCP4        // leased
	byIPv6         // leased, or made by itself in an advertised prefix
)

// target is an address of the guest's, and how it answered.
type target struct {
	Address
	by     origin
	from   netip.Addr // where it is tried from
	knocks bool       // its ports are being tried
	mac    hw         // that answered
	answer time.Duration
	ping   time.Duration
	ports  map[uint16]time.Duration
}

func (t *target) addr() netip.Addr { return t.Prefix.Addr() }

// every is how often an address is tried that hasn't answered.
const every = time.Second

// largest is more than any frame that crosses a datagram.
const largest = 64 << 10

func newPort(index int, n NIC, ours net.HardwareAddr, guests func(netip.Addr) bool, seen *sights) (*port, error) {
	mac, err := net.ParseMAC(n.MAC)
	if err != nil {
		return nil, err
	}
	p := &port{index: index, nic: n, mac: hw(mac), us: hw(ours), guests: guests, sights: seen, id: uint16(rand.Uint32()), segments: make(map[int]*segment)}
	if _, err := p.segment(0); err != nil {
		return nil, errors.Join(err, p.close())
	}
	for _, a := range n.Addresses {
		if err := p.aim(a); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

// segment is the one of a tag, which has the gateways and DNS servers.
func (p *port) segment(tag int) (*segment, error) {
	if s := p.segments[tag]; s != nil {
		return s, nil
	}
	if tag < 0 || tag > 4094 {
		return nil, fmt.Errorf("no VLAN has the tag %d", tag)
	}
	s, err := newSegment(p.us[:])
	if err != nil {
		return nil, err
	}
	p.segments[tag] = s
	for _, list := range [][]netip.Addr{p.nic.Gateways, p.nic.DNS} {
		for _, a := range list {
			if !usable(a) || p.guests(a) {
				continue
			}
			if err := s.take(a); err != nil {
				return nil, err
			}
		}
	}
	if p.nic.RA || p.nic.DHCP6 {
		return s, s.take(p.linkLocal())
	}
	return s, nil
}

// usable reports whether an address can be a host's on a network.
func usable(a netip.Addr) bool {
	return a.IsGlobalUnicast() || a.IsLinkLocalUnicast()
}

// aim adds an address that must answer.
func (p *port) aim(a Address) error {
	if !a.Prefix.IsValid() || !a.Prefix.Addr().IsGlobalUnicast() {
		return fmt.Errorf("%s can't be tried", a.Prefix)
	}
	s, err := p.segment(a.Tag)
	if err != nil {
		return err
	}
	from, ok := network.Vantage(a.Prefix, p.nic.Gateways, p.guests)
	if !ok {
		return fmt.Errorf("%s can't be tried: its subnet has no other address, and no gateway is known", a.Prefix)
	}
	if err := s.take(from); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = append(p.targets, &target{Address: a, from: from, ports: make(map[uint16]time.Duration)})
	return nil
}

// bind takes esxodus's end, then picks a port for the guest's.
func (p *port) bind() error {
	loopback := net.IPv4(127, 0, 0, 1)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback})
	if err != nil {
		return err
	}
	p.conn = conn
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback})
	if err != nil {
		return err
	}
	p.ends = Ends{Ours: portOf(conn), Guest: portOf(other)}
	return other.Close()
}

func portOf(c *net.UDPConn) uint16 {
	a, _ := c.LocalAddr().(*net.UDPAddr)
	return a.AddrPort().Port()
}

func (p *port) begin(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = at
}

// run is the NIC's network until the context ends.
func (p *port) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for tag, s := range p.segments {
		g.Go(func() error { return s.run(ctx, func(frame []byte) error { return p.send(tag, frame) }) })
	}
	g.Go(func() error { return p.listen(ctx) })
	g.Go(func() error { return p.try(ctx, g) })
	return g.Wait()
}

// listen takes in what the guest sends.
func (p *port) listen(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	guest := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.ends.Guest)
	b := make([]byte, largest)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(b)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wire of the NIC %s: %w", p.nic.label(), err)
		}
		if from != guest {
			continue // somebody else's
		}
		if err := p.receive(b[:n], time.Now()); err != nil {
			return err
		}
	}
}

// send gives the guest a frame. One that QEMU doesn't take is lost, as frames are.
func (p *port) send(tag int, frame []byte) error {
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.ends.Guest)
	frame = tagged(tag, frame)
	p.capture.add(frame, time.Now(), true)
	_, err := p.conn.WriteToUDPAddrPort(frame, to)
	if errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("wire of the NIC %s: %w", p.nic.label(), err)
	}
	return nil
}

// receive takes in a frame.
func (p *port) receive(frame []byte, now time.Time) error {
	p.capture.add(frame, now, false)
	n, sound := decode(frame)
	p.mu.Lock()
	p.heard.add(n, sound, p.mac)
	if sound {
		p.learn(n, now)
	}
	p.mu.Unlock()
	s := p.segments[n.tag]
	if !sound || s == nil || n.src == p.us {
		return nil
	}
	if answer := p.service(n.kind); answer != nil {
		return p.serve(n, answer)
	}
	switch {
	case n.kind == probe || n.kind == claim && s.has(n.addr):
		return nil // an answer would cost the guest its address
	case !n.dst.group() && n.dst != p.us:
		return nil // as hardware does
	}
	s.inject(n.untagged)
	return nil
}

// service is what answers a kind of frame instead of the network stack; nil for none.
func (p *port) service(k kind) func(note) ([]byte, error) {
	switch k {
	case dhcp4:
		return p.serve4
	case dhcp6:
		return p.serve6
	case routers:
		return p.advertise
	case other, claim, probe, reply, echoReply:
	}
	return nil
}

// serve sends what a service answers.
func (p *port) serve(n note, answer func(note) ([]byte, error)) error {
	p.mu.Lock()
	frame, err := answer(n)
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("wire of the NIC %s: %w", p.nic.label(), err)
	}
	if frame == nil {
		return nil
	}
	return p.send(n.tag, frame)
}

// learn looks for answers to what was asked.
func (p *port) learn(n note, now time.Time) {
	p.makes(n)
	if n.kind != reply && p.guests(n.addr) && p.segments[n.tag] != nil {
		p.sights.add(n.addr, place{p.index, n.tag})
	}
	if n.kind != reply && n.kind != echoReply || n.dst != p.us {
		return
	}
	for _, t := range p.targets {
		if t.Tag != n.tag || t.addr() != n.addr || t.from != n.to || n.src != p.mac && !t.Shared {
			continue
		}
		switch {
		case n.kind == reply && t.answer == 0 && n.mac == n.src:
			t.mac, t.answer = n.src, max(1, now.Sub(p.begun))
		case n.kind == echoReply && t.answer != 0 && t.ping == 0 && n.id == p.id && n.src == t.mac:
			t.ping = max(1, now.Sub(p.begun))
		}
	}
}

// try asks for the addresses again and again, and for the ports of those that have
// answered.
func (p *port) try(ctx context.Context, g *errgroup.Group) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		frames, err := p.questions()
		if err != nil {
			return err
		}
		for _, f := range frames {
			if err := p.send(f.tag, f.bytes); err != nil {
				return err
			}
		}
		for _, t := range p.answered() {
			for _, n := range p.nic.Ports {
				g.Go(func() error { return p.knock(ctx, t, n) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// answered lists the addresses that have answered since it was last asked.
func (p *port) answered() (out []*target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.targets {
		if t.answer != 0 && !t.knocks {
			t.knocks = true
			out = append(out, t)
		}
	}
	return out
}

// question is a frame that asks.
type question struct {
	tag   int
	bytes []byte
}

// questions makes those that are open.
func (p *port) questions() ([]question, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []question
	p.seq++
	for _, t := range p.targets {
		var frame []byte
		var err error
		switch {
		case t.answer == 0:
			frame, err = ask(p.us, t.from, t.addr())
		case t.ping == 0:
			frame, err = ping(p.us, t.mac, t.from, t.addr(), p.id, p.seq)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("wire of the NIC %s: asking for %s: %w", p.nic.label(), t.addr(), err)
		}
		out = append(out, question{t.Tag, frame})
	}
	return out, nil
}

// knock tries a TCP port until it takes a connection.
func (p *port) knock(ctx context.Context, t *target, to uint16) error {
	const patience = 5 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, patience)
		err := p.segments[t.Tag].connect(try, t.from, netip.AddrPortFrom(t.addr(), to))
		cancel()
		if err == nil {
			p.mu.Lock()
			t.ports[to] = time.Since(p.begun)
			p.mu.Unlock()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *port) close() error {
	for _, s := range p.segments {
		s.close()
	}
	if p.conn == nil {
		return nil
	}
	return p.conn.Close()
}
