package wire

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"esxodus/network"
)

// Result is what came of trying a NIC.
type Result struct {
	Name    string
	MAC     string
	Answers []Answer
	Lacks   string // an address that it was to be given, and isn't
	// LeasedOn is the bond or bridge that is given it, perhaps on another NIC.
	LeasedOn string
	Heard    Heard
	Passed   bool // all that must answer has; true also where nothing is known
}

// Answer is how an address answered. Times count from the beginning; 0 is never.
type Answer struct {
	Tag     int
	Address netip.Addr
	Shared  bool // it may answer on another NIC
	// Elsewhere is the NIC, and its VLAN's tag, on which the guest sends from the
	// address, and not here: it has it there.
	Elsewhere string
	Through   string // the NIC that answers for an address which is shared
	// Unplaced is set where the guest has other NICs, and sent nothing from the
	// address: any of them may have it.
	Unplaced bool
	Leased   bool // it is from here, by DHCP or an advertisement
	Extra    bool // it needn't answer: one of several that the guest made itself
	MAC      string
	After    time.Duration // ARP, or neighbour discovery
	Ping     time.Duration
	Ports    []PortAnswer
}

// PortAnswer is a TCP port that takes connections.
type PortAnswer struct {
	Port  uint16
	After time.Duration // 0 for one that doesn't
}

// Answered reports whether all that must answer has.
func (w *Wire) Answered() bool {
	return !slices.ContainsFunc(w.Results(), func(r Result) bool { return !r.Passed })
}

// share says which NIC answers for an address that several have, of those that don't.
func share(of []Result, answers []Answer) {
	for i := range answers {
		a := &answers[i]
		for _, r := range of {
			same := func(b Answer) bool { return b.Tag == a.Tag && b.Address == a.Address && b.After != 0 }
			if a.Shared && a.After == 0 && slices.ContainsFunc(r.Answers, same) {
				a.Through = r.short()
			}
		}
	}
}

// giveUp drops what a NIC lacks that another of the same bond was given.
func (r *Result) giveUp(of []Result) {
	given := func(o Result) bool {
		return o.LeasedOn == r.LeasedOn && slices.ContainsFunc(o.Answers, func(a Answer) bool { return a.Leased && a.After != 0 })
	}
	if r.LeasedOn != "" && slices.ContainsFunc(of, given) {
		r.Lacks = ""
	}
}

// place says of answers for addresses that they come from elsewhere.
func (w *Wire) place(nic int, answers []Answer) {
	for i := range answers {
		a := &answers[i]
		seen := w.ports[nic].sights.of(a.Address)
		switch {
		case a.Shared || a.Leased || a.Address.Is6() || slices.Contains(seen, place{nic, a.Tag}):
			continue // neighbour discovery is for the NIC's own addresses
		case len(seen) == 0:
			a.Unplaced = len(w.ports) > 1
			continue
		}
		// With another address in the same subnet it may well send there.
		if p := w.ports[seen[0].nic]; !p.inSubnet(seen[0].tag, a.Address) {
			a.Elsewhere = p.nic.short() + inVLAN(seen[0].tag)
		}
	}
}

// inSubnet reports whether the guest is expected to have an address in the same
// subnet on this NIC.
func (p *port) inSubnet(tag int, a netip.Addr) bool {
	return slices.ContainsFunc(p.nic.Addresses, func(own Address) bool { return own.Tag == tag && own.Prefix.Contains(a) })
}

// Complete reports whether all that is tried has answered.
func (w *Wire) Complete() bool {
	for _, r := range w.Results() {
		for _, a := range r.Answers {
			if a.After == 0 && (a.Extra || a.Through != "") {
				continue
			}
			if a.Elsewhere != "" || a.Ping == 0 || slices.ContainsFunc(a.Ports, func(p PortAnswer) bool { return p.After == 0 }) {
				return false
			}
		}
	}
	return true
}

// Results is what has come of it by now, by NIC.
func (w *Wire) Results() []Result {
	out := make([]Result, len(w.ports))
	for i, p := range w.ports {
		out[i] = p.result()
	}
	for i := range out {
		w.place(i, out[i].Answers)
		share(out, out[i].Answers)
		out[i].giveUp(out)
		out[i].Passed = out[i].missing() == ""
	}
	return out
}

func (p *port) result() Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Result{Name: p.nic.Name, MAC: p.mac.String(), LeasedOn: p.nic.LeasedOn, Heard: p.heard}
	r.Heard.Others, r.Heard.Claims = slices.Clone(r.Heard.Others), slices.Clone(r.Heard.Claims)
	for _, t := range p.targets {
		a := Answer{Tag: t.Tag, Address: t.addr(), Shared: t.Shared && t.by == byPlan, Leased: t.by != byPlan, Extra: t.by == byIPv6, After: t.answer, Ping: t.ping}
		if t.answer != 0 {
			a.MAC = t.mac.String()
		}
		for _, n := range p.nic.Ports {
			a.Ports = append(a.Ports, PortAnswer{n, t.ports[n]})
		}
		r.Answers = append(r.Answers, a)
	}
	r.Lacks = p.lacks()
	return r
}

// lacks says which address the guest was to be given and has none. Of IPv6 one must
// be there only where the NIC has no other: its networks may well have none.
func (p *port) lacks() string {
	has := func(by origin) bool {
		return slices.ContainsFunc(p.targets, func(t *target) bool { return t.by == by && (by != byIPv6 || t.answer != 0) })
	}
	switch {
	case p.nic.DHCP4 && !p.fixedLease && !has(byDHCP4):
		return "a lease by DHCP"
	case (p.nic.DHCP6 || p.nic.RA) && !p.nic.DHCP4 && len(p.nic.Addresses) == 0 && !has(byIPv6):
		return "an IPv6 address that it is given"
	}
	return ""
}

// String is the result in words.
func (r Result) String() string {
	var says []string
	for _, a := range r.Answers {
		switch {
		case a.Through != "":
			says = append(says, fmt.Sprintf("leaves %s to %s, which answers", a.Address, a.Through))
		case a.ok():
			says = append(says, a.String())
		}
	}
	if missing := r.missing(); missing != "" {
		says = append(says, fmt.Sprintf("doesn't answer for %s: %s", missing, r.heard()))
	}
	if len(says) == 0 {
		says = []string{"has no known address: " + r.heard()}
	}
	return r.short() + " " + strings.Join(says, "; ")
}

// short is the NIC's name.
func (r Result) short() string { return network.Label(cmp.Or(r.Name, r.MAC)) }

// ok reports whether the address answered, here.
func (a Answer) ok() bool { return a.After != 0 && a.Elsewhere == "" }

func inVLAN(tag int) string {
	if tag == 0 {
		return ""
	}
	return fmt.Sprintf(" in VLAN %d", tag)
}

// String says how an address answered.
func (a Answer) String() string {
	by := "neighbour discovery"
	if a.Address.Is4() {
		by = "ARP"
	}
	text := fmt.Sprintf("has %s%s (%s), answered %s after %s", a.Address, inVLAN(a.Tag), a.MAC, by, seconds(a.After))
	var rest, none []string
	if a.Ping == 0 {
		none = append(none, "ping")
	} else {
		rest = append(rest, "ping after "+seconds(a.Ping))
	}
	for _, p := range a.Ports {
		if p.After == 0 {
			none = append(none, fmt.Sprintf("port %d", p.Port))
		} else {
			rest = append(rest, fmt.Sprintf("port %d after %s", p.Port, seconds(p.After)))
		}
	}
	if len(rest) > 0 {
		text += " and " + strings.Join(rest, ", ")
	}
	if len(none) > 0 {
		text += ", but not " + strings.Join(none, ", ")
	}
	if a.Unplaced {
		text += ", and sent nothing from it, so that another NIC may have it"
	}
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds())) }

// missing lists the addresses that did not answer.
func (r Result) missing() string {
	var list []string
	for _, a := range r.Answers {
		if !a.ok() && !a.Extra && a.Through == "" {
			list = append(list, a.Address.String())
		}
	}
	if r.Lacks != "" {
		list = append(list, r.Lacks)
	}
	return strings.Join(list, ", ")
}

// elsewhere says which addresses the guest has on other NICs.
func (r Result) elsewhere() string {
	var list []string
	for _, a := range r.Answers {
		if a.Elsewhere != "" {
			list = append(list, fmt.Sprintf("the guest has %s on %s", a.Address, a.Elsewhere))
		}
	}
	return strings.Join(list, ", ")
}

// heard says what was heard instead of an answer, the most telling first.
func (r Result) heard() string {
	h := r.Heard
	var foreign []string
	claims := make(map[string]bool)
	for _, c := range h.Claims {
		switch expected := slices.ContainsFunc(r.Answers, func(a Answer) bool { return a.Address == c.Address && a.Tag == c.Tag }); {
		case expected && c.MAC != r.MAC:
			foreign = append(foreign, fmt.Sprintf("address conflict: %s says that it has %s", c.MAC, c.Address))
		case !expected && !c.Address.IsLinkLocalUnicast():
			claims[c.Address.String()+inVLAN(c.Tag)] = true
		}
	}
	switch elsewhere := r.elsewhere(); {
	case elsewhere != "":
		return elsewhere
	case h.Frames == 0:
		return "no frame at all"
	case len(foreign) > 0:
		return strings.Join(foreign, ", ")
	case h.Declined:
		return "address conflict: the guest declined the address that it was offered"
	case len(claims) > 0:
		return "announces " + strings.Join(slices.Sorted(maps.Keys(claims)), ", ")
	case h.Own == 0 && len(h.Others) > 0:
		return "frames from another MAC (" + strings.Join(h.Others, ", ") + ")"
	case h.Own == 0:
		return "nothing but frames that no network takes"
	case h.DHCP == 0 && r.Lacks != "":
		return fmt.Sprintf("%d frames from it, and none asks for an address", h.Own)
	case h.DHCP > 0 && r.Lacks != "":
		return "DHCP requests, and it takes no lease"
	case h.DHCP > 0:
		return "only DHCP requests: the guest asks for an address and doesn't take its own"
	}
	return fmt.Sprintf("%d frames from it, and none of them tells an address", h.Own)
}
