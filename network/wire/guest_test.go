package wire

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	guestMAC = "00:0c:29:01:02:03"
	patience = 5 * time.Minute // only a test that fails takes it
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func mac(tb testing.TB, s string) hw {
	tb.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		tb.Fatal(err)
	}
	return hw(m)
}

// nic is a NIC with one address and a gateway.
func nic(addresses ...string) NIC {
	n := NIC{Name: "ens192", MAC: guestMAC, Gateways: []netip.Addr{addr("192.0.2.1")}}
	for _, a := range addresses {
		n.Addresses = append(n.Addresses, Address{Prefix: prefix(a)})
	}
	return n
}

// open opens wires that are closed with the test.
func open(tb testing.TB, nics ...NIC) *Wire {
	tb.Helper()
	w, err := Open(nics)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := w.Close(); err != nil {
			tb.Error(err)
		}
	})
	return w
}

// run has the wires be a network until the test's end.
func (w *Wire) run(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return w.Run(ctx) })
	tb.Cleanup(func() {
		cancel()
		if err := g.Wait(); err != nil {
			tb.Error(err)
		}
	})
}

// guest is a guest's end of a wire: a network stack per VLAN.
type guest struct {
	tb   testing.TB
	mac  hw
	conn *net.UDPConn
	to   netip.AddrPort
	segs map[int]*segment

	mu    sync.Mutex
	heard []note // frames of the network
	over  bool   // it has sent its last
}

// plug makes a guest at the end of a wire, with addresses by tag.
func plug(tb testing.TB, e Ends, hwaddr string, addresses map[int][]string) *guest {
	tb.Helper()
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, e.Guest)))
	if err != nil {
		tb.Fatal(err)
	}
	g := &guest{tb: tb, mac: mac(tb, hwaddr), conn: conn, to: netip.AddrPortFrom(loopback, e.Ours), segs: make(map[int]*segment)}
	ctx, cancel := context.WithCancel(context.Background())
	var running errgroup.Group
	for tag, list := range addresses {
		s, err := newSegment(g.mac[:])
		if err != nil {
			tb.Fatal(err)
		}
		for _, a := range list {
			if err := s.take(addr(a)); err != nil {
				tb.Fatal(err)
			}
		}
		g.segs[tag] = s
		running.Go(func() error {
			return s.run(ctx, func(f []byte) error { g.send(tagged(tag, f)); return nil })
		})
	}
	running.Go(func() error { return g.listen() })
	tb.Cleanup(func() {
		cancel()
		conn.Close()
		for _, s := range g.segs {
			s.close()
		}
		_ = running.Wait()
	})
	return g
}

// send sends a frame as it is.
func (g *guest) send(frame []byte) {
	if _, err := g.conn.WriteToUDPAddrPort(frame, g.to); err != nil && g.tb.Context().Err() == nil {
		g.tb.Error(err)
	}
}

func (g *guest) listen() error {
	b := make([]byte, largest)
	for {
		n, _, err := g.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return nil
		}
		if string(b[:n]) == "that was all" {
			g.mu.Lock()
			g.over = true
			g.mu.Unlock()
			continue
		}
		said, sound := decode(append([]byte(nil), b[:n]...))
		if !sound {
			g.tb.Errorf("the network sent what is no frame: %x", b[:n])
			continue
		}
		g.mu.Lock()
		g.heard = append(g.heard, said)
		g.mu.Unlock()
		if s := g.segs[said.tag]; s != nil {
			s.inject(said.untagged)
		}
	}
}

// await waits until something is so.
func await(tb testing.TB, what string, so func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("still waiting for %s", what)
		}
	}
}
