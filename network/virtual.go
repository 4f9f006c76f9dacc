package network

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/ledger"
)

// Virtual is one of libvirt's own networks.
type Virtual struct {
	Name       string `json:"name"`
	UUID       string `json:"uuid"`
	Bridge     string `json:"bridge,omitempty"`
	Active     bool   `json:"active"`
	Persistent bool   `json:"persistent"`
	AutoStart  bool   `json:"autoStart"`
	XML        string `json:"xml"` // inactive where it is persistent
}

// Virtuals are those of a libvirt.
type Virtuals struct {
	URI      string    `json:"uri"`
	Networks []Virtual `json:"networks"`
	Unknown  string    `json:"unknown,omitempty"` // why it can't be known which there are
}

// VirtualChange is a network that a step removes, or makes.
type VirtualChange struct {
	URI  string   `json:"uri"`           // of its libvirt
	Old  Virtual  `json:"old"`           // as it was when this was planned; none if it has no name
	New  *Virtual `json:"new,omitempty"` // as it is to be; nil to remove it
	Gone string   `json:"gone"`          // the bridge that goes with it, "" for none
}

// Name is the network's.
func (c *VirtualChange) Name() string {
	if c.New != nil {
		return c.New.Name
	}
	return c.Old.Name
}

// ConcernInUse means that something needs a network that is to go.
const ConcernInUse = "network.in-use"

// Without says what it takes to remove one of libvirt's networks from a host, and
// what needs it. users are the domains of each link. It can be undone like any
// other change.
func (h *Host) Without(v Virtual, uri string, users map[string][]string) Changes {
	var c Changes
	inUse := func(evidence, advice string) {
		c.Concerns = append(c.Concerns, ledger.Concern{ID: ConcernInUse, Severity: ledger.Blocker, Subject: Label(v.Name), Evidence: evidence, Advice: advice})
	}
	if names := users[v.Bridge]; v.Bridge != "" && len(names) > 0 {
		inUse(fmt.Sprintf("the network %s (%s) is used by %s", v.Name, v.Bridge, strings.Join(names, ", ")), "attach those domains elsewhere with virsh edit, or undefine them")
	} else if ports := h.ports(v.Bridge); len(ports) > 0 {
		inUse(fmt.Sprintf("%s has the ports %s", v.Bridge, strings.Join(ports, ", ")), "something else than libvirt's domains, containers say, is attached to it: take that away first")
	}
	if h.Came != "" && h.Came == v.Bridge {
		inUse("your own session comes in by "+v.Bridge, "log in by another interface")
	}
	change := &VirtualChange{URI: uri, Old: v}
	if _, there := h.Link(v.Bridge); there && v.Bridge != "" {
		change.Gone = v.Bridge
		c.Wire = []string{v.Bridge + " goes, with its addresses (" + strings.Join(h.cidrs(v.Bridge), ", ") + "), its dnsmasq and libvirt's firewall rules for it"}
	}
	c.Steps = []Step{
		{Kind: StepVirtual, Text: "remove libvirt's network " + v.Name + "; the journal keeps what it was", Virtual: change},
		{Kind: StepCheck, Text: "see that all other addresses, routes and rules are still there"},
		{Kind: StepConfirm, Text: "wait for your word that this host can be reached"},
	}
	return c
}

// ports lists what is attached to a bridge but the dummy that old libvirts give it.
func (h *Host) ports(bridge string) []string {
	var out []string
	for _, l := range h.Links {
		if bridge != "" && l.Master == bridge && l.Name != bridge+"-nic" {
			out = append(out, l.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (h *Host) cidrs(link string) []string {
	l, _ := h.Link(link)
	return cidrs(l.Addresses)
}
