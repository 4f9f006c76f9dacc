package network

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

// Virtual is one of libvirt's own networks, or a bridge that LXD manages.
type Virtual struct {
	Name       string `json:"name"`
	UUID       string `json:"uuid,omitempty"` // LXD gives none
	Bridge     string `json:"bridge,omitempty"`
	Active     bool   `json:"active"`
	Persistent bool   `json:"persistent"`
	AutoStart  bool   `json:"autoStart"`
	XML        string `json:"xml,omitempty"` // libvirt's, inactive where it is persistent
	LXD        *LXD   `json:"lxd,omitempty"` // nil for libvirt's
}

// LXD is what LXD is told to make a bridge again.
type LXD struct {
	Description string            `json:"description"`
	Config      map[string]string `json:"config"`
	Devices     []LXDDevice       `json:"devices"`
}

// LXDDevice is a device of a profile of LXD's that has the bridge.
type LXDDevice struct {
	Project string            `json:"project"`
	Profile string            `json:"profile"`
	Name    string            `json:"name"`
	Keys    map[string]string `json:"keys"` // all of them, type and network too
}

// String names the device: "eth0 of the profile default".
func (d LXDDevice) String() string {
	text := fit.Paste(d.Name) + " of the profile " + fit.Paste(d.Profile)
	if d.Project != "default" {
		text += " (project " + fit.Paste(d.Project) + ")"
	}
	return text
}

// Same reports whether a network is just as another.
func (v Virtual) Same(w Virtual) bool { return reflect.DeepEqual(v, w) }

// String names the network and whose it is: "libvirt's network default".
func (v Virtual) String() string { return v.owner() + " network " + v.Name }

func (v Virtual) owner() string {
	if v.LXD != nil {
		return "LXD's"
	}
	return "libvirt's"
}

// Virtuals are those of a libvirt.
type Virtuals struct {
	URI      string    `json:"uri"`
	Networks []Virtual `json:"networks"`
	Unknown  string    `json:"unknown,omitempty"` // why it can't be known which there are
}

// VirtualChange is a network that a step removes, or makes.
type VirtualChange struct {
	URI  string   `json:"uri"`           // of its libvirt; of no use for LXD's
	Old  Virtual  `json:"old"`           // as it was when this was planned; none if it has no name
	New  *Virtual `json:"new,omitempty"` // as it is to be; nil to remove it
	Gone string   `json:"gone"`          // the bridge that goes with it, "" for none
}

// Of is the network that it is about.
func (c *VirtualChange) Of() Virtual {
	if c.New != nil {
		return *c.New
	}
	return c.Old
}

// ConcernInUse means that something needs a network that is to go.
const ConcernInUse = "network.in-use"

// Without says what it takes to remove one of libvirt's networks, or a bridge of LXD's,
// from a host, and what needs it. users are the domains of each link, and what LXD says
// that has its bridge. It can be undone like any other change.
func (h *Host) Without(v Virtual, uri string, users map[string][]string) Changes {
	var c Changes
	inUse := func(evidence, advice string) {
		c.Concerns = append(c.Concerns, ledger.Concern{ID: ConcernInUse, Severity: ledger.Blocker, Subject: Label(v.Name), Evidence: evidence, Advice: advice})
	}
	if names := users[v.Bridge]; v.Bridge != "" && len(names) > 0 {
		advice := "attach those domains elsewhere with virsh edit, or undefine them"
		if v.LXD != nil {
			advice = "attach those elsewhere (lxc config device override, or another profile; virsh edit for a domain), or delete them"
		}
		name := v.Name
		if v.Bridge != v.Name {
			name += " (" + v.Bridge + ")"
		}
		inUse(fmt.Sprintf("the network %s is used by %s", name, strings.Join(names, ", ")), advice)
	} else if ports := h.ports(v.Bridge); len(ports) > 0 {
		inUse(fmt.Sprintf("%s has the ports %s", v.Bridge, strings.Join(ports, ", ")), "something else, a container say, is attached to it: take that away first")
	}
	if h.Came != "" && h.Came == v.Bridge {
		inUse("your own session comes in by "+v.Bridge, "log in by another interface")
	}
	change := &VirtualChange{URI: uri, Old: v}
	if _, there := h.Link(v.Bridge); there && v.Bridge != "" {
		change.Gone = v.Bridge
		c.Wire = []string{v.Bridge + " goes, with its addresses (" + strings.Join(h.cidrs(v.Bridge), ", ") + "), its dnsmasq and " + v.owner() + " firewall rules for it"}
	}
	c.Steps = []Step{
		{Kind: StepVirtual, Text: v.removal(), Virtual: change},
		{Kind: StepCheck, Text: "see that all other addresses, routes and rules are still there"},
		{Kind: StepConfirm, Text: "wait for your word that this host can be reached"},
	}
	return c
}

// removal says what the step does.
func (v Virtual) removal() string {
	text := "remove " + v.String()
	if v.LXD != nil && len(v.LXD.Devices) > 0 {
		var all []string
		for _, d := range v.LXD.Devices {
			all = append(all, d.String())
		}
		text += ", and the profiles' devices that have it (" + strings.Join(all, ", ") + ")"
	}
	return text + "; the journal keeps what it was"
}

// ports lists what is attached to a bridge but the dummies that old libvirts, and LXD
// for an MTU, give it.
func (h *Host) ports(bridge string) []string {
	var out []string
	for _, l := range h.Links {
		if bridge != "" && l.Master == bridge && l.Name != bridge+"-nic" && l.Name != bridge+"-mtu" {
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
