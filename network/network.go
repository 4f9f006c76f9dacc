// Package network turns ESXi's vSwitches and port groups into a description of
// the KVM host's networking: what each guest NIC attaches to, and the
// systemd-networkd units that it stands on. It decides and does no I/O;
// package networkd writes the units' text.
//
// Words: an uplink is a physical adapter (vmnic0 on ESXi, eno1 on the KVM
// host); a port group is ESXi's named VLAN on a vSwitch; an attachment is what
// a domain's interface is connected to here.
package network

import (
	"slices"

	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/network/networkd"
)

// Mode is how a domain's interface reaches the network.
type Mode string

// The modes. Macvtap is the default; a bridge only when asked for.
const (
	Macvtap Mode = "macvtap"
	Bridge  Mode = "bridge"
	SRIOV   Mode = "sriov" // a virtual function of an adapter, where that is allowed and possible
	None    Mode = "none"  // connected to nothing: the link stays down
)

// Options is what the admin says about the KVM host.
type Options struct {
	// Uplinks maps an ESXi uplink (vmnic0) or a vSwitch (vSwitch0) to the
	// host's interface (eno1). A vSwitch's own entry wins over its uplinks'.
	// The key "" is for all that no other entry names.
	Uplinks map[string]string `json:"uplinks,omitempty"`
	// Map overrides the attachment of a port group: "macvtap:eno1.42",
	// "bridge:br0" (an existing device either way), "sriov:eno1", or "none".
	Map map[string]string `json:"map,omitempty"`
	// Files maps an interface of the host (eno1) to the name of the .network
	// file that networkd applies to it (10-lan.network), where there is one.
	// A VLAN device (eno1.42) that has an entry is the host's: no units for it.
	Files map[string]string `json:"files,omitempty"`
	// Absent are those of Files that the host has no interface of.
	Absent []string `json:"absent,omitempty"`
	// Functions maps interfaces of the host on which SR-IOV is allowed to how many
	// virtual functions each may have; 0 for those that there are.
	Functions map[string]int `json:"functions,omitempty"`
	// Hosts are those that the domains may be on, this one first: a port group gets
	// virtual functions only if each has some.
	Hosts []HostFunctions `json:"hosts,omitempty"`
}

// The flags that fill [Options], for advice that quotes them.
const (
	UplinkFlag = "--uplink"        // of Options.Uplinks: --uplink vmnic0=eno1
	MapFlag    = "--network"       // of Options.Map: --network "VM Network=bridge:br0"
	FileFlag   = networkd.FileFlag // of Options.Files: --network-file eno1=10-lan.network
)

// Attachment is what the NICs of one port group connect to.
type Attachment struct {
	PortGroup   string `json:"portGroup"`
	Source      int    `json:"source,omitempty"`  // the number of the host that has the port group, in a plan of several
	VSwitch     string `json:"vSwitch,omitempty"` // ESXi's
	Mode        Mode   `json:"mode"`
	Device      string `json:"device,omitempty"`      // host device: the uplink itself, its VLAN device, or a bridge
	Uplink      string `json:"uplink,omitempty"`      // the host's physical interface under Device
	VLAN        int    `json:"vlan,omitempty"`        // tag that Device adds; 0 for none
	MacvtapMode string `json:"macvtapMode,omitempty"` // libvirt's source mode: bridge
	TrustGuest  bool   `json:"trustGuest,omitempty"`  // trustGuestRxFilters: the guest may change its MAC
	// Network is libvirt's network that lends virtual functions of Device, and Driver
	// what a Linux guest drives one with. VLAN is the tag that the adapter adds.
	Network string `json:"network,omitempty"`
	Driver  string `json:"driver,omitempty"`
	// MTU is the vSwitch's in bytes, 0 for the default of 1500. A macvtap has
	// its device's, whatever this says.
	MTU int `json:"mtu,omitempty"`
	// Shaping limits what the guest sends; nil for no limit.
	Shaping *inventory.Shaping `json:"shaping,omitempty"`
}

// Unit is one systemd-networkd file. Its name is relative to
// /etc/systemd/network and, for a drop-in, holds one slash.
type Unit = networkd.Unit

// The kinds of [Device].
const (
	KindVLAN    = "vlan"
	KindDummy   = "dummy"
	KindMacvlan = "macvlan"
)

// Device is one that the plan's units describe: made at once where it can't
// wait for the next boot.
type Device struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Parent string `json:"parent,omitempty"` // the uplink under a VLAN device
	VLAN   int    `json:"vlan,omitempty"`
	MTU    int    `json:"mtu,omitempty"` // bytes, 0 for its parent's or the kernel's
}

// Plan is the networking that the port groups in use need.
type Plan struct {
	Attachments []Attachment `json:"attachments"` // by port group
	// Units are by name. None of them configures an uplink, but for the VLAN
	// devices that are attached to it.
	Units []Unit `json:"units,omitempty"`
	// Devices are what Units make, by name.
	Devices []Device `json:"devices,omitempty"`
	// Pools are the virtual functions that the attachments need, by interface.
	Pools []Pool `json:"pools,omitempty"`
	// Optional are units that only a person can decide on, by name: the base
	// of an uplink that nothing else configures, jumbo frames, a macvlan by
	// which the host reaches its own domains.
	Optional []Unit           `json:"optionalUnits,omitempty"`
	Ledger   []ledger.Entry   `json:"ledger,omitempty"`
	Concerns []ledger.Concern `json:"concerns,omitempty"`
}

// Attachment returns the attachment of a port group.
func (p *Plan) Attachment(portGroup string) (Attachment, bool) {
	for _, a := range p.Attachments {
		if a.PortGroup == portGroup {
			return a, true
		}
	}
	return Attachment{}, false
}

// Unmapped reports whether a port group has no attachment because nothing says
// which interface replaces its uplinks. That is a blocker of the plan's own.
func (p *Plan) Unmapped(portGroup string) bool {
	return slices.ContainsFunc(p.Concerns, func(c ledger.Concern) bool {
		return c.ID == ConcernUnmapped && c.Subject == Label(portGroup)
	})
}

// The ids of the concerns that [New] raises.
const (
	ConcernUnmapped    = "network.unmapped"    // no interface of this host is known for the uplink
	ConcernPortGroup   = "network.portGroup"   // the host has no such port group
	ConcernTeaming     = "network.teaming"     // several uplinks, one is used
	ConcernTrunk       = "network.trunk"       // VLAN 4095: all tags go to the guest
	ConcernPromiscuous = "network.promiscuous" // the guest may see all frames
	ConcernForged      = "network.forged"      // a limit that macvtap can't keep
	ConcernBridge      = "network.bridge"      // costs of a bridge
	ConcernIsolated    = "network.isolated"    // a vSwitch without uplinks
	ConcernHostGuest   = "network.host-guest"  // host and domains don't reach each other
	ConcernMTU         = "network.mtu"         // jumbo frames
	ConcernUnused      = "network.unused"      // a flag names what isn't on the ESXi host, or what nothing goes to
	ConcernFile        = "network.file"        // a VLAN device hangs on an uplink whose .network file isn't known
	ConcernMode        = "network.mode"        // a macvtap of a mode that was asked for
	ConcernUp          = "network.up"          // nothing of the plan brings an uplink up
)
