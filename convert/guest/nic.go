package guest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// NIC is a network interface of the VM as the guest has it on VMware.
type NIC struct {
	Index int    `json:"index"` // the N of the VM's ethernetN
	MAC   string `json:"mac"`   // lower case, with colons
	// Name is what the guest calls it there, "" where that isn't known; Why says
	// what tells.
	Name string `json:"name,omitempty"`
	Why  string `json:"why,omitempty"`
	// Kept says what keeps the name here; "" where nothing does.
	Kept string `json:"kept,omitempty"`
	// Addresses are those that the guest's configuration gives it, or a VLAN,
	// bond or bridge on it. One of a bond is listed for each of its NICs.
	Addresses []Address    `json:"addresses,omitempty"`
	Gateways  []netip.Addr `json:"gateways,omitempty"`
	DNS       []netip.Addr `json:"dns,omitempty"`
	DHCP4     bool         `json:"dhcp4,omitempty"`
	DHCP6     bool         `json:"dhcp6,omitempty"`
	RA        bool         `json:"ra,omitempty"` // takes an address of router advertisements
	// OtherMAC is the address of Ethernet that the guest gives it instead of its own.
	OtherMAC string `json:"otherMAC,omitempty"`
	// LeasedOn is the bond or bridge that takes such an address in the NIC's place:
	// of several NICs that it is on, one is enough for it.
	LeasedOn string `json:"leasedOn,omitempty"`

	LinkFile string    `json:"-"` // the .link file that counts for it on VMware
	Lost     []string  `json:"-"` // files that configure it by its place or its driver on VMware
	Links    []NetLink `json:"-"` // what configures it, and nothing that stands on it
}

// Address is an address of an interface.
type Address struct {
	On     string       `json:"on"`            // the interface: ens192, bond0, ens192.42
	Tag    int          `json:"tag,omitempty"` // of the VLAN that it is on, as the NIC's frames carry it; 0 for none
	Prefix netip.Prefix `json:"prefix"`        // with the host's bits: 192.0.2.10/24
}

// NewAddress is one that a NIC gets in place of the one that it has.
type NewAddress struct {
	Index   int          `json:"index"`  // the N of the VM's ethernetN
	Prefix  netip.Prefix `json:"prefix"` // with the host's bits
	Gateway netip.Addr   `json:"gateway,omitzero"`
	DNS     []netip.Addr `json:"dns,omitempty"` // none leaves the guest's
}

// UnmarshalJSON refuses an address that doesn't say whose it is: 0 is one of the indexes.
func (a *NewAddress) UnmarshalJSON(b []byte) error {
	type plain NewAddress
	var in struct {
		plain

		Index *int `json:"index"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return err
	}
	if in.Index == nil {
		return fmt.Errorf("the address %s has no index, the N of the VM's ethernetN", in.Prefix)
	}
	*a = NewAddress(in.plain)
	a.Index = *in.Index
	return nil
}

// WithoutIPv6 drops what is IPv6's, where the guest has it off.
func (n *Net) WithoutIPv6() {
	is6 := func(a netip.Addr) bool { return !a.Is4() }
	for i := range n.Links {
		l := &n.Links[i]
		l.Addresses = slices.DeleteFunc(l.Addresses, func(p netip.Prefix) bool { return is6(p.Addr()) })
		l.Gateways, l.DNS = slices.DeleteFunc(l.Gateways, is6), slices.DeleteFunc(l.DNS, is6)
		l.DHCP6, l.RA = false, false
	}
}

// Family reports whether an address is of the new one's family.
func (a NewAddress) Family(x netip.Addr) bool { return x.Is4() == a.Prefix.Addr().Is4() }

// Net is what a guest's files say of its network interfaces.
type Net struct {
	Links     []NetLink
	LinkFiles []LinkFile // as they are found; see [Net.Linked]
	Rules     []NICRule  // in the order in which udev reads them
	Auto      []string   // patterns of the names that ifupdown brings up
	// Used says when NetworkManager last used a connection, by its UUID.
	Used map[string]int64
}

// Add adds what another file says.
func (n *Net) Add(o Net) {
	n.Links = append(n.Links, o.Links...)
	n.LinkFiles = append(n.LinkFiles, o.LinkFiles...)
	n.Rules = append(n.Rules, o.Rules...)
	n.Auto = append(n.Auto, o.Auto...)
}

// NetStyle is the program whose configuration something is.
type NetStyle string

// The styles.
const (
	Ifupdown       NetStyle = "ifupdown"       // interfaces(5)
	Netplan        NetStyle = "netplan"        // netplan(5)
	Networkd       NetStyle = "networkd"       // systemd.network(5)
	NetworkManager NetStyle = "NetworkManager" // nm-settings-keyfile(5)
	Ifcfg          NetStyle = "ifcfg"          // of the RHEL family, and SUSE's ifcfg(5), which wicked reads too
)

// LinkKind is what an interface is.
type LinkKind string

// The kinds. Whatever stands on others and is none of these is virtual.
const (
	LinkNIC     LinkKind = ""
	LinkVLAN    LinkKind = "vlan"
	LinkBond    LinkKind = "bond"
	LinkBridge  LinkKind = "bridge"
	LinkVirtual LinkKind = "virtual"
)

// NetLink is what one stanza, section or file of a guest says of an interface.
type NetLink struct {
	File   string   // absolute
	Also   []string // other files that say of it, which is joined here
	Finder string   // the one of them that has Match, where it isn't File
	Style  NetStyle
	ID     string // netplan's own name of it
	Name   string // "" where Match alone tells which it is
	Kind   LinkKind
	Match  NICMatch
	Below  []string // names of the interfaces that it stands on
	Above  []string // and of those that stand on it
	Tag    int      // of a VLAN
	Idle   bool     // nothing brings it up by itself; of ifupdown see Net.Auto

	Addresses        []netip.Prefix
	Gateways, DNS    []netip.Addr
	DHCP4, DHCP6, RA bool
	MAC              string // that it takes instead of the NIC's
	ByMAC            bool   // DHCP servers know it by its address of Ethernet

	// Of a connection of NetworkManager's, which takes one for a NIC.
	ByNM     bool
	UUID     string
	Priority int
}

// NICRule is a name that something other than a .link file gives to NICs: a rule of
// udev, HWADDR= of the RHEL family, nameif's table.
type NICRule struct {
	File  string // absolute
	Name  string
	Match NICMatch
}

// LinkFile is a .link file, systemd.link(5), or one that netplan makes.
type LinkFile struct {
	Path   string   // absolute
	Also   []string // its drop-ins
	Match  NICMatch
	Name   string   // Name=
	Policy []string // NamePolicy=
	Keys   []string // the other lines of [Link], but for alternative names
	Masked bool     // it is empty or leads to /dev/null, and hides others of its name
}

// NICMatch says which NICs something is for. The zero value is for all.
type NICMatch struct {
	MACs    []string // canonical
	Names   []string // patterns of names, as they are at that time
	Paths   []string // patterns of ID_PATH: pci-0000:0b:00.0
	Drivers []string // patterns
	Types   []string // patterns: ether
	// Foreign: it asks for what isn't judged here (the host's name, its kernel's
	// command line, properties of udev), or for what a NIC of a VM isn't.
	Foreign bool
	VMware  bool // it takes them on VMware alone
}

// IsZero reports whether it says nothing.
func (m NICMatch) IsZero() bool {
	return len(m.MACs)+len(m.Names)+len(m.Paths)+len(m.Drivers)+len(m.Types) == 0 && !m.Foreign && !m.VMware
}

// Has reports whether a match takes a NIC of the given properties, where "" for one
// of them is any. A list that begins with ! takes those that none of it matches
// (systemd.link(5)).
func (m NICMatch) Has(mac, name, idPath, driver string) bool {
	return !m.Foreign && (len(m.MACs) == 0 || mac == "" || slices.Contains(m.MACs, mac)) &&
		matches(m.Names, name) && matches(m.Paths, idPath) && matches(m.Drivers, driver) && matches(m.Types, "ether")
}

func matches(patterns []string, s string) bool {
	if len(patterns) == 0 || s == "" {
		return true
	}
	first, not := strings.CutPrefix(patterns[0], "!")
	hit := func(p string) bool { ok, err := path.Match(p, s); return ok && err == nil }
	return (hit(first) || slices.ContainsFunc(patterns[1:], hit)) != not
}

// CanonicalMAC is the one form in which addresses of Ethernet are compared: lower
// case, with colons. It is "" for what is no such address of one NIC.
func CanonicalMAC(s string) string {
	s = strings.TrimSpace(s)
	if len(s) == 17 {
		s = strings.ReplaceAll(s, "-", ":")
	}
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 || bytes.Equal(hw, make([]byte, 6)) {
		return ""
	}
	return hw.String()
}

// linkDirs are where systemd looks for .link files, the first before the others.
func linkDirs() []string {
	return []string{"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network"}
}

// Linked lists .link files in the order in which systemd tries them: by their names,
// whatever their directory. Of several of one name the first directory's counts, and
// none where that one is masked.
func (n *Net) Linked() []LinkFile {
	all, dirs := slices.Clone(n.LinkFiles), linkDirs()
	slices.SortStableFunc(all, func(a, b LinkFile) int {
		return cmp.Or(strings.Compare(path.Base(a.Path), path.Base(b.Path)),
			slices.Index(dirs, path.Dir(a.Path))-slices.Index(dirs, path.Dir(b.Path)))
	})
	all = slices.CompactFunc(all, func(a, b LinkFile) bool { return path.Base(a.Path) == path.Base(b.Path) })
	return slices.DeleteFunc(all, func(f LinkFile) bool { return f.Masked })
}
