package plan

import (
	"fmt"
	"slices"

	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
	"esxodus/convert/guest/netconf"
	"esxodus/convert/guest/nics"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// findNICs finds out which NIC is which interface of the guest, and tells what is
// in doubt.
func (v *VMPlan) findNICs() {
	found, doubts := nics.Of(v.Guest, v.Source.NICs)
	v.NICs = found
	for _, d := range doubts {
		c := ledger.Concern{ID: domain.ConcernNICName, Severity: ledger.Warning, Evidence: d.Text, Advice: d.Advice}
		if d.Minor {
			c.Severity = ledger.Note
		}
		if d.NIC >= 0 {
			c.Subject = fmt.Sprintf("ethernet%d", d.NIC)
		}
		v.Concerns = append(v.Concerns, c)
	}
	v.Concerns = append(v.Concerns, adapt.DHCP(v.NICs)...)
}

// keepNames notes which names the conversion keeps.
func (v *VMPlan) keepNames(c guest.Conversion) {
	for _, p := range adapt.Pins(v.Guest, v.NICs) {
		if slices.ContainsFunc(c.Edits, func(e guest.Edit) bool { return e.Path == p.Edit.Path }) {
			v.nic(p.NIC.Index).Kept = p.Edit.Path
		}
	}
}

// nic is one of the VM's by the N of its ethernetN, nil for none.
func (v *VMPlan) nic(index int) *guest.NIC {
	for i := range v.NICs {
		if v.NICs[i].Index == index {
			return &v.NICs[i]
		}
	}
	return nil
}

// readdress notes the addresses that NICs get.
func (v *VMPlan) readdress() {
	for _, a := range v.Addresses {
		n := v.nic(a.Index)
		if n == nil {
			continue // a blocker
		}
		n.Addresses = slices.DeleteFunc(n.Addresses, func(x guest.Address) bool { return x.On == n.Name && a.Family(x.Prefix.Addr()) })
		n.Addresses = append(n.Addresses, guest.Address{On: n.Name, Prefix: a.Prefix})
		n.DHCP4, n.DHCP6 = n.DHCP4 && !a.Prefix.Addr().Is4(), n.DHCP6 && a.Prefix.Addr().Is4()
		if a.Gateway.IsValid() {
			n.Gateways = append(slices.DeleteFunc(n.Gateways, a.Family), a.Gateway)
		}
		if len(a.DNS) > 0 {
			n.DNS = a.DNS
		}
	}
}

// addresses are those that are asked for a VM's NICs.
func (o Options) addresses(vm *inventory.VM) []guest.NewAddress {
	if as, named := o.Addresses[vm.Name]; named {
		return as
	}
	return o.Addresses[vm.ID]
}

// checkAddresses refuses addresses for what isn't planned.
func (o Options) checkAddresses(vms []*inventory.VM) error {
	for name, as := range o.Addresses {
		meant := func(vm *inventory.VM) bool { return vm.Name == name || vm.ID == name }
		i := slices.IndexFunc(vms, meant)
		if i >= 0 && slices.ContainsFunc(vms[i+1:], meant) {
			return fmt.Errorf("%s names %q, which is the name or id of several VMs, and only one can have the address: plan them one by one", adapt.AddressFlag, name)
		}
		if i < 0 {
			return fmt.Errorf("%s names the VM %q, which is none of those that are planned", adapt.AddressFlag, name)
		}
		for _, a := range as {
			if !slices.ContainsFunc(vms[i].NICs, func(n inventory.NIC) bool { return n.Index == a.Index }) {
				return fmt.Errorf("%s: VM %q has no ethernet%d", adapt.AddressFlag, name, a.Index)
			}
		}
	}
	return nil
}

// checkNICs wants a plan's NICs to be the VM's, all of them, with names that can be
// interfaces', and those that get another address to have it.
func (v *VMPlan) checkNICs() error {
	if len(v.NICs) != 0 && len(v.NICs) != len(v.Source.NICs) {
		return fmt.Errorf("nics: %d of them, and the VM has %d", len(v.NICs), len(v.Source.NICs))
	}
	for i, n := range v.NICs {
		of := v.Source.NICs[i]
		switch {
		case n.Index != of.Index || n.MAC != guest.CanonicalMAC(of.MAC):
			return fmt.Errorf("nics[%d]: ethernet%d with the MAC %q: the VM has ethernet%d with %q there", i, n.Index, n.MAC, of.Index, of.MAC)
		case n.Name != "" && !netconf.Usable(n.Name):
			return fmt.Errorf("nics[%d].name %q: no interface can be called so", i, n.Name)
		}
	}
	for i, a := range v.Addresses {
		if err := checkAddress(a); err != nil {
			return fmt.Errorf("addresses[%d]: %w", i, err)
		}
		n := v.nic(a.Index)
		if n == nil || !slices.ContainsFunc(n.Addresses, func(has guest.Address) bool { return has.Prefix == a.Prefix }) {
			return fmt.Errorf("addresses[%d]: ethernet%d is to get %s, and nics doesn't have it there", i, a.Index, a.Prefix)
		}
	}
	return nil
}
