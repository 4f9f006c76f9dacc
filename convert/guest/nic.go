package guest

import "net/netip"

// NIC is a network interface of the VM as the guest has it on VMware.
type NIC struct {
	Index int    `json:"index"` // the N of the VM's ethernetN
	MAC   string `json:"mac"`   // lower case, with colons
	// Name is what the guest calls it there, "" where that isn't known; Why says
	// what tells.
	Name string `json:"name,omitempty"`
	Why  string `json:"why,omitempty"`
	// Addresses are those that the guest's configuration gives it, or a VLAN,
	// bond or bridge on it.
	Addresses []Address    `json:"addresses,omitempty"`
	Gateways  []netip.Addr `json:"gateways,omitempty"`
	DNS       []netip.Addr `json:"dns,omitempty"`
	DHCP4     bool         `json:"dhcp4,omitempty"`
	DHCP6     bool         `json:"dhcp6,omitempty"`
	RA        bool         `json:"ra,omitempty"` // takes an address of router advertisements
}

// Address is an address of an interface.
type Address struct {
	On     string       `json:"on"`            // the interface: ens192, bond0, ens192.42
	Tag    int          `json:"tag,omitempty"` // of the VLAN that it is on, as the NIC's frames carry it; 0 for none
	Prefix netip.Prefix `json:"prefix"`        // with the host's bits: 192.0.2.10/24
}
