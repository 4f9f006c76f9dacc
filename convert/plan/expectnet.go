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
	NIC       string            `json:"nic,omitempty"` // of the VM: ethernet0; "" where it isn't one that is tried
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

// NIC is the VM's NIC with a MAC, "" for none that is tried.
func (n *Network) NIC(mac string) string {
	for _, nic := range n.NICs {
		if strings.EqualFold(nic.MAC, mac) {
			return fmt.Sprintf("ethernet%d", nic.Index)
		}
	}
	return ""
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

// tried is as much of a NIC as can be tried; false where that is nothing.
func (v *VMPlan) tried(n guest.NIC) (guest.NIC, bool) {
	n, why := v.triable(n)
	return n, why == ""
}

// triable is as much of a NIC as can be tried, and why that is nothing: "" where it
// is something.
func (v *VMPlan) triable(n guest.NIC) (_ guest.NIC, why string) {
	known := func() bool { return len(n.Addresses) > 0 || n.DHCP4 || n.DHCP6 || n.RA }
	plugged := slices.ContainsFunc(v.Source.NICs, func(s inventory.NIC) bool { return s.Index == n.Index && s.StartConnected })
	mac, err := net.ParseMAC(n.MAC)
	switch {
	case !known():
		return n, "no address of it is known"
	case lost(n):
		return n, "nothing keeps that name: nic.name"
	case !plugged:
		return n, "it starts unplugged"
	case err != nil || len(mac) != 6 || mac[0]&1 != 0:
		return n, "it has no MAC that is known"
	}
	n.Addresses = slices.DeleteFunc(slices.Clone(n.Addresses), func(a guest.Address) bool {
		_, ok := network.Vantage(a.Prefix, n.Gateways, v.isGuests)
		return !ok || !a.Prefix.Addr().IsGlobalUnicast() || a.Tag < 0 || a.Tag > 4094
	})
	if len(n.Addresses) == 0 {
		n.Addresses = nil
	}
	if !known() {
		return n, "nobody else can be in the networks of its addresses"
	}
	return n, ""
}

// lost reports whether the guest will call a NIC otherwise than its configuration
// does. A concern says so, and what to do.
func lost(n guest.NIC) bool { return n.Name != "" && n.Kept == "" }

// untried lists the NICs that are not tried on a network, and why.
func (v *VMPlan) untried(o Options) []string {
	var out []string
	for _, n := range v.NICs {
		_, why := v.triable(n)
		if o.BootOnly {
			why = untriedByChoice
		}
		if why != "" {
			out = append(out, fmt.Sprintf("%s (%s)", nicLabel(n), why))
		}
	}
	return out
}

// WithoutNetwork is what is left to see where the network proof is declined.
func (e Expect) WithoutNetwork() Expect {
	if e.Network == nil {
		return e
	}
	e.Untried = slices.Clone(e.Untried)
	for _, n := range e.Network.NICs {
		e.Untried = append(e.Untried, fmt.Sprintf("%s (%s)", nicLabel(n), untriedByChoice))
	}
	e.Network = nil
	return e
}

// untriedByChoice is why a NIC isn't tried where the network proof was declined.
const untriedByChoice = "left out with --proof boot"

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
