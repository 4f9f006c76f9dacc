package wire

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Result is what came of trying a NIC.
type Result struct {
	Name    string
	MAC     string
	Answers []Answer
	Heard   Heard
	Passed  bool // all its addresses answered; true also where none is known
}

// Answer is how an address answered. Times count from the beginning; 0 is never.
type Answer struct {
	Tag     int
	Address netip.Addr
	MAC     string
	After   time.Duration // ARP, or neighbour discovery
	Ping    time.Duration
	Ports   []PortAnswer
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

// Complete reports whether all that is tried has answered.
func (w *Wire) Complete() bool {
	for _, r := range w.Results() {
		for _, a := range r.Answers {
			if a.Ping == 0 || slices.ContainsFunc(a.Ports, func(p PortAnswer) bool { return p.After == 0 }) {
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
	elsewhere := func(a Answer) bool {
		return slices.ContainsFunc(out, func(r Result) bool {
			return slices.ContainsFunc(r.Answers, func(b Answer) bool { return b.Tag == a.Tag && b.Address == a.Address && b.After != 0 })
		})
	}
	for i, p := range w.ports {
		out[i].Passed = true
		for j, a := range out[i].Answers {
			if a.After == 0 && !(p.targets[j].Shared && elsewhere(a)) {
				out[i].Passed = false
			}
		}
	}
	return out
}

func (p *port) result() Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Result{Name: p.nic.Name, MAC: p.mac.String(), Heard: p.heard}
	r.Heard.Others, r.Heard.Claims = slices.Clone(r.Heard.Others), slices.Clone(r.Heard.Claims)
	for _, t := range p.targets {
		a := Answer{Tag: t.Tag, Address: t.addr(), After: t.answer, Ping: t.ping}
		if t.answer != 0 {
			a.MAC = t.mac.String()
		}
		for _, n := range p.nic.Ports {
			a.Ports = append(a.Ports, PortAnswer{n, t.ports[n]})
		}
		r.Answers = append(r.Answers, a)
	}
	return r
}

// String is the result in words.
func (r Result) String() string {
	var says []string
	for _, a := range r.Answers {
		if a.After != 0 {
			says = append(says, a.String())
		}
	}
	name := r.Name
	if name == "" {
		name = r.MAC
	}
	if missing := r.missing(); missing != "" {
		says = append(says, fmt.Sprintf("doesn't answer for %s: %s", missing, r.heard()))
	}
	if len(says) == 0 {
		says = []string{"has no known address: " + r.heard()}
	}
	return name + " " + strings.Join(says, "; ")
}

// String says how an address answered.
func (a Answer) String() string {
	by := "neighbour discovery"
	if a.Address.Is4() {
		by = "ARP"
	}
	in := ""
	if a.Tag != 0 {
		in = fmt.Sprintf(" in VLAN %d", a.Tag)
	}
	text := fmt.Sprintf("has %s%s (%s), answered %s after %s", a.Address, in, a.MAC, by, seconds(a.After))
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
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds())) }

// missing lists the addresses that did not answer.
func (r Result) missing() string {
	var list []string
	for _, a := range r.Answers {
		if a.After == 0 {
			list = append(list, a.Address.String())
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
			in := ""
			if c.Tag != 0 {
				in = fmt.Sprintf(" in VLAN %d", c.Tag)
			}
			claims[c.Address.String()+in] = true
		}
	}
	switch {
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
	case h.DHCP > 0:
		return "only DHCP requests: the guest asks for an address and doesn't take its own"
	}
	return fmt.Sprintf("%d frames from it, and none of them tells an address", h.Own)
}
