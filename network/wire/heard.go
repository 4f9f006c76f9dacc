package wire

import (
	"net/netip"
	"slices"
)

// Heard is what was heard of a NIC: a bounded account of its frames.
type Heard struct {
	Frames   int      `json:"frames"`
	Odd      int      `json:"odd,omitempty"`    // of these, what isn't a frame of any network
	Own      int      `json:"own,omitempty"`    // of these, from the NIC's own MAC
	Others   []string `json:"others,omitempty"` // other MACs that sent
	DHCP     int      `json:"dhcp,omitempty"`   // requests for an address
	Declined bool     `json:"declined,omitempty"`
	Claims   []Claim  `json:"claims,omitempty"` // addresses that were announced or probed
}

// Claim is an address that somebody says is theirs.
type Claim struct {
	Tag     int        `json:"tag,omitempty"`
	Address netip.Addr `json:"address"`
	MAC     string     `json:"mac"`
}

// What is kept at most.
const (
	mostMACs   = 8
	mostClaims = 32
)

// add takes in a frame.
func (h *Heard) add(n note, sound bool, own hw) {
	h.Frames++
	if !sound {
		h.Odd++
		return
	}
	if n.src == own {
		h.Own++
	} else if mac := n.src.String(); len(h.Others) < mostMACs && !slices.Contains(h.Others, mac) {
		h.Others = append(h.Others, mac)
	}
	switch n.kind {
	case claim, probe, reply:
		h.claim(Claim{n.tag, n.addr, n.mac.String()})
	case dhcp4, dhcp6:
		h.DHCP++
	case other, echoReply, routers:
	}
}

func (h *Heard) claim(c Claim) {
	if !c.Address.IsValid() || c.Address.IsUnspecified() || c.Address.IsMulticast() {
		return
	}
	if len(h.Claims) < mostClaims && !slices.Contains(h.Claims, c) {
		h.Claims = append(h.Claims, c)
	}
}
