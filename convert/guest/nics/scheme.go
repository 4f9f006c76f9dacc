package nics

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/inventory"
)

// scheme is a rule that makes names of NICs.
type scheme int

const (
	bySlot   scheme = iota // ens192, of the slot that ACPI tells
	byPath                 // enp11s0, of the place on the bus
	onboard                // eno16780032, of ACPI's index: RHEL 7.0 to 7.2
	byMAC                  // enx000c29aabbcc
	counted                // eth0, as the kernel finds them
	outright               // something in the guest spells it out
)

// name is what a scheme makes of a NIC, "" where that isn't known.
func (s scheme) name(vm []inventory.NIC, i int) string {
	n := vm[i]
	at, known := placeOf(n)
	switch s {
	case bySlot:
		return n.SlotName()
	case byPath:
		if known {
			return fmt.Sprintf("enp%ds%d", at.bus, at.device)
		}
	case onboard:
		if known {
			return fmt.Sprintf("eno%d", (n.Index+1)<<24|at.bus<<8|at.device<<3)
		}
	case byMAC:
		if mac := guest.CanonicalMAC(n.MAC); mac != "" {
			return "enx" + strings.ReplaceAll(mac, ":", "")
		}
	case counted:
		return fmt.Sprintf("eth%d", slices.Index(inventory.BusOrder(vm), i))
	}
	return ""
}

// why says what a name is concluded from.
func (s scheme) why() string {
	switch s {
	case counted:
		return "predicted from the order in which the kernel finds the NICs"
	case byMAC:
		return "made of its address"
	}
	return "predicted from its slot"
}

// place is where a NIC is on a VM's buses.
type place struct {
	bus, device int
}

// placeOf takes a pciSlotNumber apart (Broadcom KB 2047927): five bits of the device,
// five of the bridge and one, and the bridge's function. The bridge to the old bus is
// 2; a port of the bridges 5 to 8 leads to bus 3 + 8 × (bridge − 5) + function.
func placeOf(n inventory.NIC) (place, bool) {
	device, bridge, function := n.PCISlot&31, n.PCISlot>>5&31, n.PCISlot>>10
	switch {
	case n.PCISlot <= 0 || function > 7:
	case bridge == 1:
		return place{2, device}, true
	case bridge >= 5 && bridge <= 8:
		return place{3 + 8*(bridge-5) + function, device}, true
	}
	return place{}, false
}

// idPath is what udev calls a NIC's place on VMware, ID_PATH. One whose place isn't
// known is at least on a bus.
func idPath(n inventory.NIC) string {
	at, known := placeOf(n)
	if !known {
		return "pci-0000:ff:1f.7"
	}
	return fmt.Sprintf("pci-0000:%02x:%02x.0", at.bus, at.device)
}
