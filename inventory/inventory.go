// Package inventory describes an ESXi host and its virtual machines as plain
// data. The structs are the documented JSON that `esxodus inventory --output
// json` prints; they do no I/O and know nothing of migrations. Package esxi
// fills them through the SOAP API, package vmx from a .vmx file.
//
// Units are in the field's name or comment: bytes unless it says MiB, MHz or
// seconds. Zero means absent unless the comment says otherwise.
package inventory

import "strings"

// SchemaVersion is the version of the JSON that Host marshals to. It grows
// when a field changes its meaning or goes away, not when one is added.
const SchemaVersion = 1

// Host is one ESXi host: what it is, its networks, datastores and VMs.
type Host struct {
	SchemaVersion int               `json:"schemaVersion"`
	Name          string            `json:"name"`                 // the host's own name
	UUID          string            `json:"uuid,omitempty"`       // the hardware's
	Version       string            `json:"version"`              // "6.5.0"
	Build         string            `json:"build,omitempty"`      // "5969303"
	Thumbprint    string            `json:"thumbprint,omitempty"` // SHA-256 of the TLS certificate, colon-separated upper-case hex
	CPUMHz        int64             `json:"cpuMHz,omitempty"`     // of one core
	License       License           `json:"license"`
	Datastores    []Datastore       `json:"datastores"`
	Network       Network           `json:"network"`
	AutoStart     AutoStartDefaults `json:"autoStart"`
	VMs           []VM              `json:"vms"` // by name, then ID

	// Problems are what couldn't be read, so that VMs may be missing.
	Problems []string `json:"problems,omitempty"`
}

// License is the host's licence and what it lets a client do.
type License struct {
	Edition  string `json:"edition"` // editionKey, "esxBasic" for the free one
	Name     string `json:"name,omitempty"`
	ReadOnly bool   `json:"readOnly"` // the API refuses every change (the free licence)
}

// Datastore is a datastore the host mounts.
type Datastore struct {
	Name       string `json:"name"`
	URL        string `json:"url"` // "ds:///vmfs/volumes/<uuid>/"
	Type       string `json:"type"`
	Capacity   int64  `json:"capacity"`
	Free       int64  `json:"free"`
	Accessible bool   `json:"accessible"`
}

// Objects reports whether disks on the datastore are objects, which no file has, as on
// vSAN and virtual volumes.
func (d Datastore) Objects() bool {
	return strings.EqualFold(d.Type, "vsan") || strings.EqualFold(d.Type, "vvol")
}

// Network is the host's standard switches and what hangs off them.
type Network struct {
	VSwitches  []VSwitch   `json:"vSwitches"`
	PortGroups []PortGroup `json:"portGroups"`
	Uplinks    []Uplink    `json:"uplinks"`
	VMKernel   []VMKernel  `json:"vmkernel,omitempty"`
}

// VSwitch is a standard virtual switch. Uplinks name Uplink.Device.
type VSwitch struct {
	Name    string   `json:"name"`
	MTU     int      `json:"mtu"`
	Ports   int      `json:"ports,omitempty"`
	Uplinks []string `json:"uplinks"`
	Policy  Policy   `json:"policy"`
}

// PortGroup is a named set of ports on a vSwitch with one VLAN and policy.
// Policy is the effective one: what the port group leaves open is the
// vSwitch's.
type PortGroup struct {
	Name    string `json:"name"`
	VSwitch string `json:"vSwitch"`
	VLAN    int    `json:"vlan"` // 0 untagged, 1 to 4094 an id, 4095 all tags go to the guest
	Policy  Policy `json:"policy"`
}

// Policy is the security, teaming and shaping policy of a port group.
type Policy struct {
	Promiscuous     bool     `json:"promiscuous"`
	MACChanges      bool     `json:"macChanges"`
	ForgedTransmits bool     `json:"forgedTransmits"`
	Teaming         string   `json:"teaming,omitempty"` // loadbalance_srcid, _ip, _srcmac, failover_explicit
	Active          []string `json:"active,omitempty"`  // uplinks in use, in order
	Standby         []string `json:"standby,omitempty"`
	NotifySwitches  bool     `json:"notifySwitches,omitempty"`
	Failback        bool     `json:"failback,omitempty"`
	Shaping         *Shaping `json:"shaping,omitempty"`
}

// Shaping limits a port group's outgoing traffic.
type Shaping struct {
	AverageBitsPerSecond int64 `json:"averageBitsPerSecond"`
	PeakBitsPerSecond    int64 `json:"peakBitsPerSecond"`
	BurstBytes           int64 `json:"burstBytes"`
}

// Uplink is a physical network adapter (vmnicN).
type Uplink struct {
	Device    string `json:"device"`
	MAC       string `json:"mac"`
	SpeedMbps int    `json:"speedMbps,omitempty"` // 0 when the link is down
	Duplex    bool   `json:"duplex,omitempty"`
	Driver    string `json:"driver,omitempty"`
	PCI       string `json:"pci,omitempty"`
}

// VMKernel is one of the host's own network interfaces (vmkN).
type VMKernel struct {
	Device    string `json:"device"`
	PortGroup string `json:"portGroup"`
	MAC       string `json:"mac,omitempty"`
	IP        string `json:"ip,omitempty"`
	Netmask   string `json:"netmask,omitempty"`
	DHCP      bool   `json:"dhcp,omitempty"`
	MTU       int    `json:"mtu,omitempty"`
}

// AutoStartDefaults is the host-wide part of the autostart configuration.
type AutoStartDefaults struct {
	Enabled          bool   `json:"enabled"`
	StartDelay       int    `json:"startDelay"` // seconds
	StopDelay        int    `json:"stopDelay"`  // seconds
	StopAction       string `json:"stopAction,omitempty"`
	WaitForHeartbeat bool   `json:"waitForHeartbeat,omitempty"`
}

// DatastoreOf returns the datastore that a path "[datastore] dir/file" is on. One's name
// may be the beginning of another's.
func (h *Host) DatastoreOf(path string) (found Datastore, ok bool) {
	for _, d := range h.Datastores {
		if strings.HasPrefix(path, "["+d.Name+"] ") && (!ok || len(d.Name) > len(found.Name)) {
			found, ok = d, true
		}
	}
	return found, ok
}

// DatastoreByName returns the datastore called name.
func (h *Host) DatastoreByName(name string) (Datastore, bool) {
	for _, d := range h.Datastores {
		if d.Name == name {
			return d, true
		}
	}
	return Datastore{}, false
}

// PortGroup returns the port group called name.
func (n *Network) PortGroup(name string) (PortGroup, bool) {
	for _, p := range n.PortGroups {
		if p.Name == name {
			return p, true
		}
	}
	return PortGroup{}, false
}

// VSwitch returns the vSwitch called name.
func (n *Network) VSwitch(name string) (VSwitch, bool) {
	for _, s := range n.VSwitches {
		if s.Name == name {
			return s, true
		}
	}
	return VSwitch{}, false
}

// Uplink returns the uplink whose device is called name.
func (n *Network) Uplink(device string) (Uplink, bool) {
	for _, u := range n.Uplinks {
		if u.Device == device {
			return u, true
		}
	}
	return Uplink{}, false
}
