package network

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"esxodus/inventory/fit"
)

// Host is the KVM host's networking as it is: package hostnet reads it.
//
// Words: what networkd didn't make is foreign, whoever made it (a person, bird,
// FRR). A link is unowned if nothing configures it.
type Host struct {
	Name     string    `json:"name"`
	Networkd Networkd  `json:"networkd"`
	Links    []Link    `json:"links"`           // by name
	Rules    []Rule    `json:"rules,omitempty"` // of policy routing that are not the kernel's own
	Files    []File    `json:"files,omitempty"` // that networkd reads, by path
	Managers []Manager `json:"managers,omitempty"`
	IOMMU    bool      `json:"iommu,omitempty"` // one is at work, so that domains can have devices
	// Virtuals are libvirt's own networks, nil where it wasn't asked.
	Virtuals *Virtuals `json:"virtuals,omitempty"`
	// Came is the link that the admin's own session comes in by, "" where that
	// isn't known or is no link of the host's.
	Came string `json:"came,omitempty"`
}

// Networkd is what can be said of systemd-networkd itself.
type Networkd struct {
	Running bool      `json:"running"`
	Version int       `json:"version,omitempty"` // of systemd; 0 if it isn't known
	Started time.Time `json:"started,omitzero"`
	// Unknown says why it can't be known what it has done with each link, "" if
	// that is known.
	Unknown string `json:"unknown,omitempty"`
}

// Link is a network interface.
type Link struct {
	Name      string         `json:"name"`
	Index     int            `json:"index"`
	Kind      string         `json:"kind,omitempty"`   // vlan, bridge, bond, macvtap…; "" for a physical one
	Driver    string         `json:"driver,omitempty"` // of a physical one
	SpeedMbps int            `json:"speedMbps,omitempty"`
	Up        bool           `json:"up"`
	Carrier   bool           `json:"carrier"`
	MTU       int            `json:"mtu"`
	MAC       string         `json:"mac,omitempty"`
	Master    string         `json:"master,omitempty"` // the bridge or bond that it is a port of
	Parent    string         `json:"parent,omitempty"` // of a VLAN device, macvlan or macvtap
	VLAN      int            `json:"vlan,omitempty"`   // id of a VLAN device
	VFs       int            `json:"vfs,omitempty"`    // virtual functions that there are
	MaxVFs    int            `json:"maxVFs,omitempty"` // that there can be
	UsedVFs   int            `json:"usedVFs,omitempty"`
	PF        string         `json:"pf,omitempty"`       // of a virtual function that this host drives: whose it is
	Path      string         `json:"path,omitempty"`     // udev's ID_PATH of a physical one
	VFPaths   []string       `json:"vfPaths,omitempty"`  // the same of all virtual functions that there can be
	LinkFile  string         `json:"linkFile,omitempty"` // path of the .link file that udev applied
	Addresses []Address      `json:"addresses,omitempty"`
	Routes    []Routes       `json:"routes,omitempty"`
	Networkd  NetworkdOfLink `json:"networkd"`
	Dnsmasq   bool           `json:"dnsmasq,omitempty"` // a dnsmasq serves it
	LXD       bool           `json:"lxd,omitempty"`     // it is one of LXD's
	Wireless  bool           `json:"wireless,omitempty"`
}

// NetworkdOfLink is what networkd says of a link.
type NetworkdOfLink struct {
	State string `json:"state,omitempty"` // configured, unmanaged…; "" if it isn't known
	File  string `json:"file,omitempty"`  // path of the .network file that it applies
}

// Address is an address of a link.
type Address struct {
	CIDR  string `json:"cidr"`
	Scope string `json:"scope,omitempty"` // link, host; "" for global
	// Source is where networkd has it from: static, DHCPv4, NDisc…, or foreign;
	// "" if it doesn't say.
	Source string `json:"source,omitempty"`
}

// Routes are a link's routes of one kind: a BGP router may have a million.
type Routes struct {
	Protocol string   `json:"protocol"` // kernel, static, bird…
	Table    int      `json:"table"`
	Family   int      `json:"family"` // 4 or 6
	Count    int      `json:"count"`
	Foreign  bool     `json:"foreign,omitempty"`
	Default  bool     `json:"default,omitempty"` // a default route is among them
	Examples []string `json:"examples"`          // at most three
}

// Rule is a rule of policy routing.
type Rule struct {
	Text     string `json:"text"`
	Protocol string `json:"protocol"`
}

// File is one that networkd reads.
type File struct {
	Path string `json:"path"`
	Text string `json:"text"`
	// Changed is when its content or its metadata last changed: ctime, since
	// anybody can set an mtime.
	Changed time.Time `json:"changed"`
}

// Manager is a program beside networkd that configures links.
type Manager struct {
	Name  string   `json:"name"`
	Links []string `json:"links,omitempty"` // that it configures
	// Evidence is where that is said: a file, or the program's own answer.
	Evidence string `json:"evidence"`
}

// The managers.
const (
	NetworkManager = "NetworkManager"
	Ifupdown       = "ifupdown"
	Netplan        = "Netplan"
)

// Link returns the link of that name.
func (h *Host) Link(name string) (Link, bool) {
	i := slices.IndexFunc(h.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, false
	}
	return h.Links[i], true
}

// file returns a file that networkd reads.
func (h *Host) file(path string) (File, bool) {
	i := slices.IndexFunc(h.Files, func(f File) bool { return f.Path == path })
	if i < 0 {
		return File{}, false
	}
	return h.Files[i], true
}

// Fill completes what the admin said of the host by what it says itself: what it has
// for SR-IOV, and which file networkd applies to each link. What was said stays. A link of ours isn't
// the host's, and neither are links that share one file, in which a VLAN device
// would belong to all of them.
func (h *Host) Fill(o Options) Options {
	files := map[string]string{}
	of := map[string]int{}
	for _, l := range h.Links {
		of[path.Base(l.Networkd.File)]++
	}
	for _, l := range h.Links {
		name := path.Base(l.Networkd.File)
		if l.Networkd.File != "" && of[name] == 1 && !ours(name) {
			files[l.Name] = name
		}
	}
	o.Absent = slices.DeleteFunc(slices.Sorted(maps.Keys(o.Files)), func(name string) bool {
		_, there := h.Link(name)
		return there
	})
	maps.Copy(files, o.Files)
	o.Files = files
	others := slices.DeleteFunc(slices.Clone(o.Hosts), func(o HostFunctions) bool { return o.Host == h.Name })
	o.Hosts = append([]HostFunctions{h.Functions()}, others...)
	return o
}

// ours reports whether a file of networkd's is one that esxodus writes.
func ours(name string) bool { return strings.Contains(path.Base(name), "esxodus-") }

// managers names who beside networkd configures a link.
func (h *Host) managers(link string) []Manager {
	return slices.DeleteFunc(slices.Clone(h.Managers), func(m Manager) bool { return !slices.Contains(m.Links, link) })
}

// Foreign lists what of a link networkd didn't make and would take away: its
// addresses but those of the link's own scope, and its routes.
func (l *Link) Foreign() []string {
	var out []string
	for _, a := range l.Addresses {
		if a.Scope == "" && (a.Source == "" || a.Source == "foreign") {
			out = append(out, "address "+a.CIDR)
		}
	}
	for _, r := range l.Routes {
		if r.Foreign {
			out = append(out, r.String())
		}
	}
	return out
}

// String is the routes in some words: "3 routes proto bird (203.0.113.0/24 via 192.0.2.1, …)".
func (r Routes) String() string {
	text := fmt.Sprintf("%s proto %s (%s", fit.Count(r.Count, "route"), r.Protocol, strings.Join(r.Examples, ", "))
	if r.Count > len(r.Examples) {
		text += ", …"
	}
	return text + ")"
}

// DHCP reports whether a link has an address or a route of a lease.
func (l *Link) DHCP() bool {
	return slices.ContainsFunc(l.Addresses, func(a Address) bool { return strings.HasPrefix(a.Source, "DHCP") }) ||
		slices.ContainsFunc(l.Routes, func(r Routes) bool { return r.Protocol == "dhcp" })
}
