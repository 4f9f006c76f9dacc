package adapt

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/netconf"
	"esxodus/convert/ledger"
)

// AddressFlag is the flag that gives a NIC of a VM another address.
const AddressFlag = "--ip"

// addresses gives NICs the addresses that were asked for.
func (b *builder) addresses() {
	for _, a := range b.in.Addresses {
		files, from, err := b.readdress(a)
		subject := fmt.Sprintf("ethernet%d", a.Index)
		if err != nil {
			b.concern(ConcernAddress, ledger.Blocker, subject, fmt.Sprintf("the address %s is asked for, and the guest can't be given that: %v", a.Prefix, err), leaveOut())
			continue
		}
		for _, f := range files {
			b.change(f.Path, string(f.Text), "the address that is asked for")
		}
		b.entry("guest.address["+subject+"]", from, a.Prefix.String(), "asked for")
	}
}

// leaveOut is what to do where a guest can't be given an address.
func leaveOut() string {
	return "leave " + AddressFlag + " out, or addresses in a saved plan, and change the address in the guest once it runs here"
}

// NoAddresses tells that a guest that is left as it is gets no addresses.
func NoAddresses(in Input) []ledger.Concern {
	var out []ledger.Concern
	for _, a := range in.Addresses {
		out = append(out, ledger.Concern{
			ID: ConcernAddress, Severity: ledger.Blocker, Subject: fmt.Sprintf("ethernet%d", a.Index),
			Evidence: fmt.Sprintf("the address %s is asked for, and the guest is left as it is", a.Prefix),
			Advice:   leaveOut(),
		})
	}
	return out
}

// readdress finds what configures a NIC for the new address's family, and changes
// that.
func (b *builder) readdress(a guest.NewAddress) (files []netconf.File, from string, err error) {
	i := slices.IndexFunc(b.in.NICs, func(n guest.NIC) bool { return n.Index == a.Index })
	if i < 0 {
		return nil, "", fmt.Errorf("the VM has no ethernet%d", a.Index)
	}
	n := b.in.NICs[i]
	var links []guest.NetLink
	for _, l := range n.Links {
		of := func(p netip.Prefix) bool { return a.Family(p.Addr()) }
		if slices.ContainsFunc(l.Addresses, of) || (l.DHCP4 && a.Prefix.Addr().Is4()) || (l.DHCP6 || l.RA) && !a.Prefix.Addr().Is4() {
			links = append(links, l)
		}
	}
	if len(links) != 1 || len(links[0].Also) > 0 {
		return nil, "", unclear(n, links)
	}
	l := links[0]
	if !a.Gateway.IsValid() {
		for _, g := range l.Gateways {
			if a.Family(g) && !a.Prefix.Masked().Contains(g) {
				return nil, "", fmt.Errorf("its gateway %s isn't in that network: add gw=", g)
			}
		}
	}
	files, err = netconf.Readdress(l, b.text, a)
	return files, was(l, a), err
}

// unclear says why it isn't known where a NIC's address is configured.
func unclear(n guest.NIC, links []guest.NetLink) error {
	var files []string
	for _, l := range links {
		files = append(append(files, l.File), l.Also...)
	}
	if len(files) > 0 {
		return fmt.Errorf("several files configure it (%s)", strings.Join(files, ", "))
	}
	for _, a := range n.Addresses {
		if a.On != n.Name {
			return fmt.Errorf("its address is on %s, which stands on it", a.On)
		}
	}
	return fmt.Errorf("nothing was found that configures it")
}

// was is the address that a link had.
func was(l guest.NetLink, a guest.NewAddress) string {
	for _, p := range l.Addresses {
		if a.Family(p.Addr()) {
			return p.String()
		}
	}
	return "of DHCP"
}
