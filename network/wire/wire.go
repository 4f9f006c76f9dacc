// Package wire is the network that a copy of a domain is on while it is proven to
// answer there. Each NIC gets a wire of its own: a pair of UDP sockets on 127.0.0.1,
// as libvirt's interfaces of type udp have them, where a datagram is an Ethernet
// frame. Nothing of the host's network is touched, and no rights are needed.
//
// At its end of a wire, esxodus is the network as the plan expects it to be: it has
// the addresses of the gateways and DNS servers, leases addresses and advertises
// itself as a router where the guest is known to ask for that, and it tries the
// guest: ARP or neighbour discovery for each of its addresses, ping, and TCP ports.
//
// It has one more address in each of the guest's subnets that has no known gateway,
// to ask from: see [network.Vantage]. It never answers a probe (RFC 5227, RFC 4862), and so
// never one for an address that the guest is about to take: the guest would give
// that up.
//
// Frames are whatever a guest makes them. What is kept of them is bounded.
package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"esxodus/network"

	"golang.org/x/sync/errgroup"
)

// NIC is a NIC of the guest, and what is expected of it.
type NIC struct {
	Name      string // for people: ens192
	MAC       string
	Addresses []Address
	Gateways  []netip.Addr
	DNS       []netip.Addr
	DHCP4     bool
	DHCP6     bool
	RA        bool
	// LeasedOn is the bond or bridge that is leased the address, by one of its NICs.
	LeasedOn string
	Ports    []uint16 // of TCP, tried at each address
}

// Address is an address that must answer.
type Address struct {
	Tag    int          // of the VLAN that it is in; 0 for none
	Prefix netip.Prefix // with the host's bits
	// Shared is set for one of a bridge or bond: its MAC may be another than the
	// NIC's, and it may answer on another NIC that has it, too.
	Shared bool
}

// Ends are the UDP ports on 127.0.0.1 of a NIC's wire. QEMU binds Guest and sends
// to Ours.
type Ends struct{ Ours, Guest uint16 }

// Wire is the wires of a guest.
type Wire struct{ ports []*port }

// Open binds esxodus's ends of the wires, one for each NIC, and picks the guest's.
// Those may be taken by others before QEMU binds them: then open new wires.
func Open(nics []NIC) (_ *Wire, err error) {
	w := &Wire{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	ours, err := ourMAC(nics)
	if err != nil {
		return nil, err
	}
	taken := func(a netip.Addr) bool { return slices.ContainsFunc(nics, func(n NIC) bool { return n.has(a) }) }
	seen := &sights{at: make(map[netip.Addr][]place)}
	for i, n := range nics {
		p, err := newPort(i, n, ours, taken, seen)
		if err != nil {
			return nil, fmt.Errorf("wire of the NIC %s: %w", n.label(), err)
		}
		w.ports = append(w.ports, p)
		if err := p.bind(); err != nil {
			return nil, fmt.Errorf("wire of the NIC %s: %w", n.label(), err)
		}
	}
	return w, nil
}

// has reports whether an address is one of the guest's on this NIC.
func (n *NIC) has(a netip.Addr) bool {
	return slices.ContainsFunc(n.Addresses, func(own Address) bool { return own.Prefix.Addr() == a })
}

// short is the NIC's name.
func (n *NIC) short() string { return network.Label(cmp.Or(n.Name, n.MAC)) }

func (n *NIC) label() string {
	if n.Name == "" {
		return n.MAC
	}
	return n.short() + " (" + n.MAC + ")"
}

// ourMAC is esxodus's MAC on all wires, locally administered and none of the
// guest's. It is the same on all, as a bond's are one to the guest.
func ourMAC(nics []NIC) (net.HardwareAddr, error) {
	used := make(map[string]bool)
	for _, n := range nics {
		mac, err := net.ParseMAC(n.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return nil, fmt.Errorf("NIC %s: %q is no NIC's MAC", n.Name, n.MAC)
		}
		used[mac.String()] = true
	}
	ours := net.HardwareAddr{0x02, 0x65, 0x73, 0x78, 0x6f, 0}
	for used[ours.String()] {
		ours[5]++
	}
	return ours, nil
}

// Ends returns the ports of each NIC's wire, in the order of the NICs.
func (w *Wire) Ends() []Ends {
	ends := make([]Ends, len(w.ports))
	for i, p := range w.ports {
		ends[i] = p.ends
	}
	return ends
}

// Begin starts the clock: times of answers count from here.
func (w *Wire) Begin() {
	now := time.Now()
	for _, p := range w.ports {
		p.begin(now)
	}
}

// Run is the network, until the context ends or something fails that the guest has no
// part in.
func (w *Wire) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	w.Begin()
	for _, p := range w.ports {
		g.Go(func() error { return p.run(ctx) })
	}
	return g.Wait()
}

// Close frees the sockets.
func (w *Wire) Close() error {
	var errs []error
	for _, p := range w.ports {
		errs = append(errs, p.close())
	}
	w.ports = nil
	return errors.Join(errs...)
}
