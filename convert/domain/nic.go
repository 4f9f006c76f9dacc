package domain

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/inventory/fit"
	"esxodus/network"
)

// sriov is the inventory's model of a NIC that is a virtual function.
const sriov = "sriov"

func ethernet(n inventory.NIC) string { return fmt.Sprintf("ethernet%d", n.Index) }

// nics makes an interface of each network adapter, in the source's order.
func (b *builder) nics() {
	at := b.nicAddresses()
	for i, n := range b.vm.NICs {
		of := b.of("nics[%s].", ethernet(n))
		model, reason := b.nicModel(n)
		iface := libvirtxml.DomainInterface{
			MAC:     &libvirtxml.DomainInterfaceMAC{Address: b.mac(n)},
			Model:   &libvirtxml.DomainInterfaceModel{Type: model},
			Address: at[i],
		}
		lent := b.lent(n)
		switch {
		case lent:
			of.changed("model", n.Model, "a virtual function of this host's adapter", "as the plan of the networks has it; the proof's copy has "+model)
		case n.Model == model:
			of.mapped("model", n.Model, model)
		default:
			of.changed("model", n.Model, model, reason)
		}
		if strings.EqualFold(n.Model, sriov) && !lent {
			b.concern(ConcernSRIOV, ledger.Warning, ethernet(n), "SR-IOV: the guest drives a virtual function of the ESXi host's adapter itself", fmt.Sprintf("the domain has a %s NIC with the same MAC address: "+
				"make sure that the guest's configuration isn't tied to the adapter's driver, or give it a virtual function of this host's with <interface type='hostdev'>", model))
		}
		b.attach(n, &iface)
		b.link(n, &iface)
		b.dom.Devices.Interfaces = append(b.dom.Devices.Interfaces, iface)
		b.nicName(n, at[i])
		of.changed("pciSlot", n.PCISlot, showPCI(at[i]), "the domain's PCI buses are QEMU's; NICs keep the order in which the guest found them")
		of.mapped("index", n.Index, "order of the interfaces")
		of.dropped("key", n.Key, "number of the device on ESXi")
		of.dropped("label", n.Label, "VMware's caption")
		of.dropped("networkName", n.NetworkName, "the network's name; its id identifies it")
		of.dropped("wakeOnLAN", n.WakeOnLAN, "QEMU's NICs can't wake a domain; use virsh start")
	}
}

// lent reports whether a NIC becomes a virtual function that libvirt lends. It can't
// unplug one, so a NIC that isn't connected at the start never does.
func (b *builder) lent(n inventory.NIC) bool {
	a, _ := b.o.Network.Attachment(n.Network())
	return a.Mode == network.SRIOV && n.StartConnected
}

// nicAddresses gives the NICs PCI addresses in the order in which the guest
// enumerated them on VMware, so that a guest that counts eth0, eth1 … by that
// order counts the same here.
func (b *builder) nicAddresses() []*libvirtxml.DomainAddress {
	nics := b.vm.NICs
	at := make([]*libvirtxml.DomainAddress, len(nics))
	for _, i := range inventory.BusOrder(nics) {
		model, _ := b.nicModel(nics[i])
		// All of an old guest's NICs are on one bus: it counts them by bus first.
		if !b.sys.transitional() && (model == "virtio" || model == "e1000e") {
			at[i] = b.pci.express()
		} else {
			at[i] = b.pci.old()
		}
	}
	return at
}

// nicModel picks what the guest has a driver for.
func (b *builder) nicModel(n inventory.NIC) (model, reason string) {
	if lent := b.lent(n); n.Model != "" && (lent || strings.EqualFold(n.Model, sriov)) {
		n.Model = "" // chosen as for any other
		model, reason = b.nicModel(n)
		if lent {
			return model, "" // of the proof's copy
		}
		return model, "a virtual function of the ESXi host's adapter stays there; " + reason
	}
	switch {
	case n.Model == "vmxnet3" && b.sys.family == linux && b.unread(): // QEMU has it
		return n.Model, ""
	case n.Model == "e1000" || n.Model == "e1000e" && !b.sys.legacy:
		return n.Model, ""
	case b.sys.virtio():
		return b.sys.virtioModel(), "the paravirtual NIC of KVM; " + b.sys.virtioReason()
	case b.sys.legacy && b.sys.family == windows:
		return "rtl8139", "Windows of that age has its driver"
	case b.sys.legacy:
		return "e1000", b.sys.from + " predates virtio"
	case b.sys.family == windows:
		return "e1000e", "Windows has its driver; change it to virtio once virtio-win is installed"
	}
	return "e1000e", "no virtio driver is known to be in the guest"
}

// mac keeps the address. Where ESXi has made none yet, or it is not one that
// libvirt takes, the interface gets one in QEMU's range, the same each time.
func (b *builder) mac(n inventory.NIC) string {
	of := b.of("nics[%s].", ethernet(n))
	hw, err := net.ParseMAC(n.MAC)
	if err == nil && len(hw) == 6 && hw[0]&1 == 0 && slices.Max(hw) > 0 {
		of.mapped("mac", n.MAC, hw.String())
		of.dropped("macType", n.MACType, "how the address was assigned no longer matters")
		return hw.String()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", newUUID(b.host, b.vm), b.vm.BIOSUUID, n.Index))
	made := net.HardwareAddr{0x52, 0x54, 0x00, sum[0], sum[1], sum[2]}.String()
	of.add("mac", cmp.Or(n.MAC, "none yet"), made, ledger.Changed, "the source has no usable address")
	of.changed("macType", n.MACType, "fixed", "generated here")
	if n.MAC == "" {
		b.concern(ConcernMACMissing, ledger.Warning, ethernet(n), "ESXi assigns the MAC address at the first start, and the VM was never started", "the interface gets "+made)
	} else {
		b.concern(ConcernMAC, ledger.Blocker, ethernet(n), fmt.Sprintf("MAC address %q is not a unicast address", n.MAC), "correct it on ESXi")
	}
	return made
}

// attach connects the interface to what the network plan says.
func (b *builder) attach(n inventory.NIC, iface *libvirtxml.DomainInterface) {
	of := b.of("nics[%s].", ethernet(n))
	key := n.Network()
	a, ok := b.attachment(n)
	switch {
	case key == "":
		b.concern(ConcernPortGroup, ledger.Warning, ethernet(n), "ESXi shows no network that it is connected to", "its link is down here; attach it with virsh edit if it is needed")
		a.Mode = network.None
	case !ok:
		a.Mode = network.None
		if b.o.Network.Unmapped(key) {
			break // a blocker already, whose advice is the better one: it keeps the VLAN
		}
		called := key
		if n.NetworkName != "" {
			called += " (" + n.NetworkName + ")"
		}
		b.concern(ConcernPortGroup, ledger.Blocker, ethernet(n), fmt.Sprintf("nothing is planned for port group %q", called),
			fmt.Sprintf("say what it attaches to: `%s %s`", network.MapFlag, fit.Paste(key+"=macvtap:DEVICE")))
	case a.Mode == network.Macvtap:
		iface.Source = &libvirtxml.DomainInterfaceSource{Direct: &libvirtxml.DomainInterfaceSourceDirect{Dev: a.Device, Mode: cmp.Or(a.MacvtapMode, "bridge")}}
		if a.TrustGuest && iface.Model.Type == b.sys.virtioModel() {
			iface.TrustGuestRXFilters = "yes"
		}
	case a.Mode == network.SRIOV:
		b.function(n, a, iface)
	case a.Mode == network.Bridge:
		iface.Source = &libvirtxml.DomainInterfaceSource{Bridge: &libvirtxml.DomainInterfaceSourceBridge{Bridge: a.Device}}
		if a.MTU > 0 {
			iface.MTU = &libvirtxml.DomainInterfaceMTU{Size: uint(a.MTU)}
		}
	}
	iface.Bandwidth = bandwidth(a.Shaping)
	if a.Mode == network.None {
		// An interface of its own user-mode network with the link down: the
		// guest finds its NIC, and no frame goes anywhere.
		iface.Source = &libvirtxml.DomainInterfaceSource{User: &libvirtxml.DomainInterfaceSourceUser{}}
		iface.Link = &libvirtxml.DomainInterfaceLink{State: "down"}
		iface.Bandwidth = nil
		of.dropped("portGroup", n.PortGroup, "attached to nothing, link down")
		of.dropped("distributed", n.Distributed, "attached to nothing, link down")
		return
	}
	target := string(a.Mode) + " on " + a.Device
	if a.Mode == network.SRIOV {
		target = "a virtual function of " + a.Device
	}
	of.mapped("portGroup", n.PortGroup, target)
	of.mapped("distributed", n.Distributed, target)
}

// attachment is what a NIC is to be connected to.
func (b *builder) attachment(n inventory.NIC) (network.Attachment, bool) {
	a, ok := b.o.Network.Attachment(n.Network())
	if a.Mode != network.SRIOV || b.lent(n) {
		return a, ok
	}
	b.concern(ConcernPortGroup, ledger.Warning, ethernet(n), "it isn't connected when the VM starts, and libvirt can't unplug a virtual function",
		"its link is down here, and it is attached to nothing; attach it to "+a.Network+" with virsh edit if it is needed")
	return network.Attachment{Mode: network.None}, true
}

// function has libvirt's network lend the interface a virtual function. The model is
// only for the proof's copy: libvirt has no use for it.
func (b *builder) function(n inventory.NIC, a network.Attachment, iface *libvirtxml.DomainInterface) {
	iface.Source = &libvirtxml.DomainInterfaceSource{Network: &libvirtxml.DomainInterfaceSourceNetwork{Network: a.Network}}
	if a.VLAN > 0 {
		iface.VLan = &libvirtxml.DomainInterfaceVLan{Tags: []libvirtxml.DomainInterfaceVLanTag{{ID: uint(a.VLAN)}}}
	}
	driver := cmp.Or(a.Driver, "its own")
	macvtap := fmt.Sprintf("leave it at macvtap with `%s %s`", network.MapFlag, fit.Paste(a.AsMacvtap()))
	have, known := newestKernel(b.o.Guest.Kernels)
	switch first := firstKernel(a.Driver); {
	case b.sys.family != linux:
		b.concern(ConcernVFDriver, ledger.Warning, ethernet(n), "the guest gets a virtual function of "+a.Device+", for which its system may have no driver: "+b.sys.from,
			"install the adapter maker's driver in the guest before the migration, or "+macvtap)
	case known && first != nil && have.before(first...):
		b.concern(ConcernVFDriver, ledger.Warning, ethernet(n), fmt.Sprintf("the guest's kernel %s is older than the driver (%s) of the virtual function that it gets", have.text, driver),
			"unless its distribution has added that, "+macvtap)
	case !known || first == nil:
		b.concern(ConcernVFDriver, ledger.Warning, ethernet(n), fmt.Sprintf("the guest gets a virtual function of %s, and it isn't known whether its kernel has the driver (%s)", a.Device, driver),
			"look for it in the guest with modinfo, or "+macvtap)
	}
}

// firstKernel is the first Linux with a driver of virtual functions, nil where that
// isn't known.
func firstKernel(driver string) []int {
	return map[string][]int{"igbvf": {2, 6, 30}, "ixgbevf": {2, 6, 34}, "iavf": {3, 14}, "mlx5_core": {4, 5}, "bnxt_en": {4, 4}}[driver]
}

// bandwidth makes libvirt's limits of a port group's shaping, which is of the
// guest's outgoing traffic. Rates are in kB/s, the burst in KiB.
func bandwidth(s *inventory.Shaping) *libvirtxml.DomainInterfaceBandwidth {
	if s == nil || s.AverageBitsPerSecond < 8000 {
		return nil
	}
	count := func(n, unit int64) *int {
		if n < unit {
			return nil
		}
		return new(int(min(n/unit, 1<<31-1)))
	}
	return &libvirtxml.DomainInterfaceBandwidth{Outbound: &libvirtxml.DomainInterfaceBandwidthParams{
		Average: count(s.AverageBitsPerSecond, 8000), Peak: count(s.PeakBitsPerSecond, 8000), Burst: count(s.BurstBytes, 1024),
	}}
}

// link sets whether the cable is in when the domain starts.
func (b *builder) link(n inventory.NIC, iface *libvirtxml.DomainInterface) {
	of := b.of("nics[%s].", ethernet(n))
	if iface.Link != nil { // attached to nothing
		of.changed("startConnected", n.StartConnected, "link down", "attached to nothing")
		of.changed("connected", n.Connected, "link down", "attached to nothing")
		return
	}
	if n.StartConnected {
		of.mapped("startConnected", true, "link up")
	} else {
		iface.Link = &libvirtxml.DomainInterfaceLink{State: "down"}
		of.add("startConnected", "false", "link down", ledger.Mapped, "")
	}
	if n.Connected && !n.StartConnected {
		of.changed("connected", n.Connected, "link down", "the state of the moment; at the VM's next start it would be unplugged")
		return
	}
	of.mapped("connected", n.Connected, "link up")
}

// nicName warns of a name in the guest that nothing keeps. Here systemd calls a NIC
// enp<bus>s<slot> on q35 and ens<slot> on pc (TestGuestSees asks systemd).
func (b *builder) nicName(n inventory.NIC, at *libvirtxml.DomainAddress) {
	name := predictable(b.pci.machine, at)
	i := slices.IndexFunc(b.o.NICs, func(g guest.NIC) bool { return g.Index == n.Index })
	if i < 0 || b.o.NICs[i].Name == "" || b.o.NICs[i].Name == name || b.o.NICs[i].Kept != "" {
		return
	}
	have := b.o.NICs[i]
	severity, uses := ledger.Note, ""
	if slices.Contains(b.o.Guest.Interfaces, have.Name) {
		severity, uses = ledger.Warning, ", and its configuration has that name"
	}
	keep := "keep the old name in the guest"
	if b.o.NoEdits {
		keep = "leave --no-edits out, and the conversion keeps the old name; or keep it in the guest"
	}
	b.concern(ConcernNICName, severity, ethernet(n), fmt.Sprintf("the guest calls it %s%s; here its name will be %s", have.Name, uses, name),
		fmt.Sprintf("%s: /etc/systemd/network/10-%s.link with [Match] MACAddress=%s and [Link] Name=%s, then rebuild the initramfs; or change the name wherever the guest has it",
			keep, have.Name, b.dom.Devices.Interfaces[len(b.dom.Devices.Interfaces)-1].MAC.Address, have.Name))
}

// predictable is what systemd's net_id calls a NIC at an address.
func predictable(machine string, at *libvirtxml.DomainAddress) string {
	if machine == pc {
		return fmt.Sprintf("ens%d", *at.PCI.Slot)
	}
	return fmt.Sprintf("enp%ds%d", *at.PCI.Bus, *at.PCI.Slot)
}
