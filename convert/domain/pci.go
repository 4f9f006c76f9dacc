package domain

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// The two machine types. q35 is the default, for BIOS guests as well: it is
// what QEMU develops and secure boot needs, and a Linux that boots from the
// one boots from the other. It has AHCI but no IDE, so that guests from before
// AHCI get pc.
const (
	q35 = "q35"
	pc  = "pc"
)

// pciBus gives out PCI addresses, so that a domain's are the same each time
// it is made and a Linux guest's NIC names can be foretold.
//
// On q35 each device has a root port of its own, NICs first: NIC i is at
// bus i+1, which systemd calls enp<i+1>s0. Old-style PCI devices (e1000) sit
// on the root complex, from slot 0x10 on. On pc, all are on bus 0: slot 1 is
// the chipset's, 2 the display's, NICs follow from 3.
//
//	00:01.0        display
//	00:02.0-0f.7   root ports: NICs, disks, controllers, spare ones for hot-plug
//	00:10.0-1e.0   old-style PCI: e1000; all that's virtio for an old guest
type pciBus struct {
	machine string
	ports   uint // root ports so far
	slots   uint // old-style devices so far
}

const (
	firstPortSlot = 2
	portsPerSlot  = 8
	firstOldSlot  = 0x10
	lastOldSlot   = 0x1e // 0x1f is the chipset's own
	firstPCSlot   = 3
	sparePorts    = 4
	reservedOld   = 4 // old-style slots for USB, virtio-serial, balloon and RNG
)

// express returns the address of the next PCI Express device; on pc, of the
// next device.
func (p *pciBus) express() *libvirtxml.DomainAddress {
	if p.machine == pc {
		return p.old()
	}
	p.ports++
	return pciAddress(p.ports, 0, 0)
}

// old returns the address of the next old-style PCI device.
func (p *pciBus) old() *libvirtxml.DomainAddress {
	first := uint(firstOldSlot)
	if p.machine == pc {
		first = firstPCSlot
	}
	p.slots++
	return pciAddress(0, first+p.slots-1, 0)
}

// oldLeft is the number of old-style devices that still have a place on q35.
func (p *pciBus) oldLeft() int { return lastOldSlot - firstOldSlot + 1 - int(p.slots) }

// virtioAddress returns the address of the next virtio device.
func (b *builder) virtioAddress() *libvirtxml.DomainAddress {
	if b.sys.transitional() {
		return b.pci.old()
	}
	return b.pci.express()
}

// finish adds the root ports that were used and some for hot-plug.
func (p *pciBus) finish(dom *libvirtxml.Domain) {
	if p.machine == pc {
		return
	}
	all := []libvirtxml.DomainController{{Type: "pci", Index: new(uint(0)), Model: "pcie-root"}}
	for i := range p.ports + sparePorts {
		at := pciAddress(0, firstPortSlot+i/portsPerSlot, i%portsPerSlot)
		if i%portsPerSlot == 0 {
			at.PCI.MultiFunction = "on"
		}
		all = append(all, libvirtxml.DomainController{
			Type: "pci", Index: new(i + 1), Model: "pcie-root-port",
			PCI:     &libvirtxml.DomainControllerPCI{Target: &libvirtxml.DomainControllerPCITarget{Chassis: new(i + 1), Port: new(0x10 + i)}},
			Address: at,
		})
	}
	dom.Devices.Controllers = append(all, dom.Devices.Controllers...)
}

func pciAddress(bus, slot, function uint) *libvirtxml.DomainAddress {
	return &libvirtxml.DomainAddress{PCI: &libvirtxml.DomainAddressPCI{
		Domain: new(uint(0)), Bus: &bus, Slot: &slot, Function: &function,
	}}
}

// showPCI is the address as lspci writes it.
func showPCI(a *libvirtxml.DomainAddress) string {
	return fmt.Sprintf("%02x:%02x.%x", *a.PCI.Bus, *a.PCI.Slot, *a.PCI.Function)
}

// targetNames gives out disk target names: vda, vdb … by prefix.
type targetNames map[string]int

func (t *targetNames) next(prefix string) string {
	if *t == nil {
		*t = targetNames{}
	}
	n := (*t)[prefix]
	(*t)[prefix]++
	return prefix + letters(n)
}

// letters counts a … z, aa, ab … as the kernel does.
func letters(n int) string {
	s := ""
	for n++; n > 0; n = (n - 1) / 26 {
		s = string(rune('a'+(n-1)%26)) + s
	}
	return s
}
