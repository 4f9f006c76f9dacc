package adapt

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// networkDir is where .link files of the guest's admin are.
const networkDir = "/etc/systemd/network"

// Pin is what will keep the name of a NIC.
type Pin struct {
	NIC  guest.NIC
	Edit guest.Edit
	// Beaten is a .link file of the guest's that sorts before it all the same, ""
	// for none.
	Beaten string
}

// Pins lists the files that keep the names of the NICs that nothing in the guest
// keeps, by their addresses.
func Pins(g guest.Guest, nics []guest.NIC) []Pin {
	var out []Pin
	for _, n := range nics {
		twice := slices.ContainsFunc(nics, func(o guest.NIC) bool { return o.MAC == n.MAC && o.Index != n.Index })
		if n.Name == "" || n.MAC == "" || n.Kept != "" || twice {
			continue
		}
		beaten := ""
		e := guest.Edit{Make: true, Mode: 0o644, Reason: "the NIC keeps the name that it has on VMware"}
		if g.Config.Naming.LinkFiles && !g.Config.Naming.NoLinkRule {
			e.Path, e.New, beaten = linkFile(g, n)
		} else {
			e.Path, e.New = ruleFile(n)
		}
		out = append(out, Pin{NIC: n, Edit: e, Beaten: beaten})
	}
	return out
}

// linkFile is a .link file that systemd tries before all that the guest has for
// this NIC: of those that match only the first counts. beaten is one that none can
// come before. What the one that counted
// until now says besides is kept. Path= keeps VLANs and bridges out, which have a
// NIC's address, but no place on a bus.
func linkFile(g guest.Guest, n guest.NIC) (name, text, beaten string) {
	text = fmt.Sprintf("# Made by esxodus: the name that this NIC had on VMware.\n[Match]\nMACAddress=%s\nPath=*pci-*\n\n[Link]\nName=%s\n", n.MAC, n.Name)
	var rivals []string
	for _, l := range g.Config.Net.Linked() {
		if (guest.NICMatch{MACs: l.Match.MACs, Types: l.Match.Types}).Has(n.MAC, "", "", "") {
			rivals = append(rivals, path.Base(l.Path))
		}
		if l.Path == n.LinkFile && (strings.HasPrefix(l.Path, "/etc/") || len(l.Also) > 0) && len(l.Keys) > 0 {
			text += "# As in " + oneLine(l.Path) + ", which counted until now:\n" + strings.Join(l.Keys, "\n") + "\n"
		}
	}
	for _, prefix := range []string{"10-", "00-", "0-", "+"} {
		name = prefix + "esxodus-" + n.Name + ".link"
		i := slices.IndexFunc(rivals, func(r string) bool { return r <= name })
		if i < 0 {
			return networkDir + "/" + name, text, ""
		}
		beaten = rivals[i]
	}
	return networkDir + "/" + name, text, beaten
}

// ruleFile is for a udev from before .link files.
func ruleFile(n guest.NIC) (name, text string) {
	return "/etc/udev/rules.d/71-esxodus-" + n.Name + ".rules", fmt.Sprintf(
		"# Made by esxodus: the name that this NIC had on VMware.\nSUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{address}==\"%s\", ATTR{type}==\"1\", NAME=\"%s\"\n", n.MAC, n.Name)
}

// nicNames keeps the names of NICs.
func (b *builder) nicNames() {
	pins := Pins(b.g, b.in.NICs)
	if link := b.c.Links[networkDir]; link.Missing && len(pins) > 0 {
		b.concern(ConcernUnread, ledger.Blocker, networkDir, fmt.Sprintf("%s leads to %s, which is not there, and is to hold the names of NICs", networkDir, link.Target), "make it a directory in the guest, or "+b.instead())
	}
	for _, p := range pins {
		if p.Beaten != "" {
			b.concern(ConcernNIC, ledger.Warning, p.NIC.Name, fmt.Sprintf("%s may be for %s and sorts before every name that a file of ours can have: the NIC may get another name here", p.Beaten, p.NIC.Name),
				"give that file in the guest a name that begins with a letter or a digit, and plan again")
		}
		b.nicFiles = append(b.nicFiles, p.Edit)
		b.out.Edits = append(b.out.Edits, p.Edit)
		b.entry("guest.nic["+p.NIC.Name+"]", p.NIC.Name, p.NIC.Name, "bound to "+p.NIC.MAC+", as its place on the bus has changed; "+p.NIC.Why)
	}
}
