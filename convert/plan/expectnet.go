package plan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"esxodus/convert/guest"
	"esxodus/inventory"
	"esxodus/network"
)

// Network is what a network proof tries: the copy's links are up, on a network that
// is made for it alone and that has the gateways and DNS servers which the guest
// knows. All addresses must answer ARP or neighbour discovery; ping and ports are
// tried besides.
type Network struct {
	NICs  []guest.NIC `json:"nics"`
	Ports []uint16    `json:"ports,omitempty"` // of TCP
}

// AnsweredNIC is how a NIC answered, or what was heard of it instead.
type AnsweredNIC struct {
	Name      string            `json:"name,omitempty"`
	MAC       string            `json:"mac"`
	Passed    bool              `json:"passed"` // all that must answer did
	Addresses []AnsweredAddress `json:"addresses,omitempty"`
	Text      string            `json:"text"` // for people
}

// AnsweredAddress is how an address answered. Seconds count from the start; what is
// missing didn't answer.
type AnsweredAddress struct {
	Address netip.Addr `json:"address"`
	Tag     int        `json:"tag,omitempty"`
	MAC     string     `json:"mac,omitempty"`
	Seconds float64    `json:"seconds,omitempty"` // ARP, or neighbour discovery
	Ping    float64    `json:"ping,omitempty"`
	// Ports has, by TCP port, when it took a connection.
	Ports map[uint16]float64 `json:"ports,omitempty"`
}

// MostPorts is how many ports a network proof tries at each address.
const MostPorts = 16

// network is what the NICs must answer to, nil where nothing is known that could be
// asked for.
func (v *VMPlan) network(o Options) *Network {
	if o.BootOnly {
		return nil
	}
	n := &Network{Ports: o.Ports}
	for _, nic := range v.NICs {
		if nic, ok := v.tried(nic); ok {
			n.NICs = append(n.NICs, nic)
		}
	}
	if len(n.NICs) == 0 {
		return nil
	}
	return n
}

// tried is as much of a NIC as can be tried; false where that is nothing: it starts
// unplugged, has no MAC that the guest could have, no address is known of it, or its
// name is lost, so that it can't have one.
func (v *VMPlan) tried(n guest.NIC) (guest.NIC, bool) {
	mac, err := net.ParseMAC(n.MAC)
	plugged := slices.ContainsFunc(v.Source.NICs, func(s inventory.NIC) bool { return s.Index == n.Index && s.StartConnected })
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || !plugged || lost(n) {
		return n, false
	}
	n.Addresses = slices.DeleteFunc(slices.Clone(n.Addresses), func(a guest.Address) bool {
		_, ok := network.Vantage(a.Prefix, n.Gateways, v.isGuests)
		return !ok || !a.Prefix.Addr().IsGlobalUnicast() || a.Tag < 0 || a.Tag > 4094
	})
	if len(n.Addresses) == 0 {
		n.Addresses = nil
	}
	return n, len(n.Addresses) > 0 || n.DHCP4 || n.DHCP6 || n.RA
}

// lost reports whether the guest will call a NIC otherwise than its configuration
// does. A concern says so, and what to do.
func lost(n guest.NIC) bool { return n.Name != "" && n.Kept == "" }

// untried says which NICs are not tried as their names are lost.
func (v *VMPlan) untried(o Options) string {
	var names []string
	for _, n := range v.NICs {
		if lost(n) && (len(n.Addresses) > 0 || n.DHCP4 || n.DHCP6 || n.RA) {
			names = append(names, nicLabel(n))
		}
	}
	if len(names) == 0 || o.BootOnly {
		return ""
	}
	return fmt.Sprintf("; not tried on a network: %s, as nothing keeps that name (nic.name)", strings.Join(names, ", "))
}

// isGuests reports whether an address is the guest's on any NIC.
func (v *VMPlan) isGuests(a netip.Addr) bool {
	return slices.ContainsFunc(v.NICs, func(n guest.NIC) bool {
		return slices.ContainsFunc(n.Addresses, func(own guest.Address) bool { return own.Prefix.Addr() == a })
	})
}

// Linger is how long ping and ports are waited for, once all else is proven: a
// firewall may drop them, and a service start after the login.
func (n *Network) Linger() time.Duration {
	if n == nil || len(n.Ports) == 0 {
		return 10 * time.Second
	}
	return time.Minute
}

// links says how a copy's links are.
func (n *Network) links() string {
	if n == nil {
		return "down"
	}
	return "on a network that esxodus makes for it alone"
}

// text says what is tried.
func (n *Network) text() string {
	if n == nil {
		return ""
	}
	var nics []string
	for _, nic := range n.NICs {
		nics = append(nics, nicLabel(nic)+" for "+strings.Join(expected(nic), " and "))
	}
	besides := "ping is tried besides"
	if len(n.Ports) > 0 {
		besides = fmt.Sprintf("ping and TCP %s are tried besides", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(n.Ports)), ", "), "[]"))
	}
	return fmt.Sprintf("; in the same time each NIC must answer ARP or neighbour discovery, %s (%s, for another %d seconds)", strings.Join(nics, ", "), besides, int(n.Linger().Seconds()))
}

func nicLabel(n guest.NIC) string {
	if n.Name == "" {
		return fmt.Sprintf("ethernet%d", n.Index)
	}
	return network.Label(n.Name)
}

// expected lists in words what a NIC must answer for.
func expected(n guest.NIC) []string {
	var out []string
	for _, a := range n.Addresses {
		text := a.Prefix.Addr().String()
		if a.Tag != 0 {
			text += fmt.Sprintf(" in VLAN %d", a.Tag)
		}
		out = append(out, text)
	}
	if n.DHCP4 {
		out = append(out, "the lease that it takes by DHCP")
	}
	if len(out) == 0 {
		out = append(out, "the IPv6 address that it makes itself or is leased")
	}
	return out
}

// checkNetwork compares what a plan's network proof tries with what is known of the
// guest: an edited plan can't make less a proof.
func (v *VMPlan) checkNetwork(n *Network) error {
	want := v.network(Options{BootOnly: v.BootOnly})
	switch {
	case want == nil && n == nil:
		return nil
	case n == nil:
		return errors.New("missing, but addresses of the guest's NICs are known (bootOnly leaves the network proof out)")
	case want == nil:
		return errors.New("the plan knows no address of the guest's NICs to try, or leaves the network proof out (bootOnly)")
	case !reflect.DeepEqual(n.NICs, want.NICs):
		return fmt.Errorf("nics: they aren't those that nics of the VM has: want %+v", want.NICs)
	case len(n.Ports) > MostPorts || slices.Contains(n.Ports, 0):
		return fmt.Errorf("ports: want at most %d of them, from 1 to 65535", MostPorts)
	}
	return nil
}
