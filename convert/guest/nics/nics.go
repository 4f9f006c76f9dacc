// Package nics finds out which NIC of a VM is which interface of its guest: what it
// is called on VMware, what keeps that name on another machine, and which addresses
// it has. It knows what the guest's files say and where the VM has its NICs.
package nics

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/netconf"
	"esxodus/inventory"
)

// Doubt is what can't be known for certain, or won't be as it was.
type Doubt struct {
	NIC    int    // the N of ethernetN, -1 for none in particular
	Minor  bool   // nothing is at stake
	Text   string // what is known
	Advice string
}

// Of lists a VM's NICs as its guest has them, in the VM's order.
func Of(g guest.Guest, vm []inventory.NIC) ([]guest.NIC, []Doubt) {
	f := finder{g: g, vm: vm, linked: g.Config.Net.Linked()}
	for _, n := range vm {
		f.out = append(f.out, guest.NIC{Index: n.Index, MAC: guest.CanonicalMAC(n.MAC)})
	}
	for i := range vm {
		s, firm := f.rule(i, there(vm[i]))
		f.by, f.firm = append(f.by, s), append(f.firm, firm)
	}
	if g.OS != "linux" {
		return f.out, nil
	}
	for i := range vm {
		if l := f.first(i, there(vm[i])); l != nil {
			f.out[i].LinkFile = l.Path
		}
	}
	f.explicit()
	f.schemes()
	f.keepers()
	f.addresses()
	return f.out, f.doubts
}

type finder struct {
	g      guest.Guest
	vm     []inventory.NIC
	linked []guest.LinkFile
	out    []guest.NIC
	doubts []Doubt
	by     []scheme // what names each NIC
	firm   []bool   // that is certain

	climbed int // interfaces that were looked at, of one NIC
}

func (f *finder) doubt(i int, text, advice string) {
	index := -1
	if i >= 0 {
		index = f.vm[i].Index
	}
	f.doubts = append(f.doubts, Doubt{NIC: index, Text: text, Advice: advice})
}

// minor is of doubts at which nothing is at stake.
func (f *finder) minor(text, advice string) {
	f.doubts = append(f.doubts, Doubt{NIC: -1, Minor: true, Text: text, Advice: advice})
}

// at is where a NIC is, as far as a match may ask for it: its ID_PATH and its driver.
type at struct {
	path, driver string
	vmware       bool
}

// there is where a NIC is on VMware.
func there(n inventory.NIC) at {
	switch model := strings.ToLower(n.Model); model {
	case "vmxnet3", "vmxnet", "e1000", "e1000e", "pcnet32":
		return at{idPath(n), model, true}
	case "vmxnet2":
		return at{idPath(n), "vmxnet", true}
	}
	return at{idPath(n), "", true}
}

// here are places that it may have on a machine of QEMU's.
func here(n inventory.NIC) []at {
	driver := "virtio_net"
	if d := there(n).driver; strings.HasPrefix(d, "e1000") {
		driver = d
	}
	return []at{{"pci-0000:01:00.0", driver, false}, {"pci-0000:00:03.0", driver, false}}
}

// lasts reports whether a match takes the same NIC there: by its address, or
// whatever its place and its driver. The kernel's own names are the same, as the NICs
// are found in the same order.
func (f *finder) lasts(m guest.NICMatch, i int) bool {
	other := func(a at) bool { return !m.Has(f.out[i].MAC, "", a.path, a.driver) }
	return !m.VMware && !slices.ContainsFunc(here(f.vm[i]), other)
}

// given is what gives a NIC a name outright.
type given struct {
	name, by string
	lasts    bool // on a new machine too
}

// explicit names the NICs that something in the guest gives a name of its own.
func (f *finder) explicit() {
	for i := range f.vm {
		if f.out[i].MAC == "" {
			continue
		}
		s, ok := f.given(i)
		switch {
		case ok && f.taken(s.name):
			f.doubt(i, fmt.Sprintf("%s gives the name %s to several of the VM's NICs, and only one can have it", s.by, s.name), f.advice(i))
		case ok:
			f.out[i].Name, f.out[i].Why, f.by[i] = s.name, s.by+" names it", outright
			f.firm[i] = true
			if s.lasts {
				f.out[i].Kept = s.by
			}
		}
	}
}

// given finds the name of a NIC that a rule, HWADDR= or a .link file spells out. A
// rule's wins over a .link file's, and of rules the last.
func (f *finder) given(i int) (given, bool) {
	mac, a := f.out[i].MAC, there(f.vm[i])
	for _, r := range slices.Backward(f.g.Config.Net.Rules) {
		if named(r.Match) && r.Match.Has(mac, counted.name(f.vm, i), a.path, a.driver) {
			return given{r.Name, r.File, f.lasts(r.Match, i)}, true
		}
	}
	for _, l := range f.g.Config.Net.Links {
		if f.g.Config.Naming.HWAddr && l.Style == guest.Ifcfg && l.Kind == guest.LinkNIC && l.Name != "" && slices.Contains(l.Match.MACs, mac) {
			return given{l.Name, l.File, true}, true
		}
	}
	first := f.first(i, a)
	if first == nil || !netconf.Usable(first.Name) || len(first.Policy) > 0 && !f.g.Config.Naming.NoPolicy {
		return given{}, false
	}
	other := func(a at) bool { l := f.first(i, a); return l == nil || l.Path != first.Path }
	return given{first.Name, first.Path, !slices.ContainsFunc(here(f.vm[i]), other)}, true
}

// named reports whether a rule tells NICs apart.
func named(m guest.NICMatch) bool { return len(m.MACs)+len(m.Paths)+len(m.Drivers)+len(m.Names) > 0 }

// first is the .link file that counts for a NIC at a place, nil for none.
func (f *finder) first(i int, a at) *guest.LinkFile {
	n := f.g.Config.Naming
	if !n.LinkFiles || n.NoLinkRule {
		return nil
	}
	for k, l := range f.linked {
		if l.Match.IsZero() && f.needsMatch() || l.Match.VMware && !a.vmware {
			continue
		}
		if l.Match.Has(f.out[i].MAC, counted.name(f.vm, i), a.path, a.driver) {
			return &f.linked[k]
		}
	}
	return nil
}

// needsMatch reports whether systemd passes over files that match by nothing, as it
// does from 243 on: its own default has a match since then.
func (f *finder) needsMatch() bool {
	return slices.ContainsFunc(f.g.Config.Net.LinkFiles, func(l guest.LinkFile) bool {
		return strings.HasSuffix(l.Path, "lib/systemd/network/99-default.link") && !l.Match.IsZero()
	})
}

// schemes names the others by the rule that systemd, biosdevname or the kernel has,
// which the names in the guest's configuration confirm or correct.
func (f *finder) schemes() {
	used := f.used()
	ruled, most := f.by, f.hits(f.by, used)
	for _, s := range []scheme{bySlot, byPath, onboard, counted} {
		all := slices.Clone(f.by)
		for i := range all {
			if !f.firm[i] {
				all[i] = s
			}
		}
		if n := f.hits(all, used); n > most {
			f.by, most = all, n
		}
	}
	f.against(ruled, used)
	for i := range f.out {
		if n := &f.out[i]; n.MAC != "" && n.Name == "" {
			f.predict(i, used)
		}
	}
	f.only(used, most)
	f.leftOver(used)
	f.foreign()
}

// against tells where the configuration has names like eth0, and systemd's rule would
// give others.
func (f *finder) against(ruled []scheme, used []string) {
	for i, s := range f.by {
		name := s.name(f.vm, i)
		if s == counted && ruled[i] != counted && slices.Contains(used, name) {
			f.differs(i, "the guest's configuration has the name "+name, ruled[i].name(f.vm, i), name)
		}
	}
}

// differs tells that there are two answers, and which the plan takes.
func (f *finder) differs(i int, what, rule, taken string) {
	f.doubt(i, fmt.Sprintf("%s, where its slot would make it %s: the plan takes %s", what, rule, taken),
		"see what ip link shows in the guest on VMware; if it is the other name, bind that to the NIC's address in the guest, and plan again")
}

// predict names a NIC by its scheme, unless the configuration has a name together
// with its address.
func (f *finder) predict(i int, used []string) {
	n := &f.out[i]
	name, known := f.by[i].name(f.vm, i), f.known(i)
	if f.taken(name) {
		name = "" // by one that has it for certain, or is in a place of the same number
	}
	n.Name, n.Why = name, f.by[i].why()
	switch {
	case known != "" && !f.taken(known):
		if n.Name != "" {
			f.differs(i, fmt.Sprintf("the guest's configuration has the name %s with the address %s", known, n.MAC), n.Name, known)
		}
		n.Name, n.Why = known, "its configuration has this name with its address"
		f.by[i] = outright
	case n.Name == "" && len(f.out) == 1 && len(used) == 1:
		n.Name, n.Why = used[0], onlyName
		f.by[i] = outright
	case n.Name == "":
		n.Why = ""
		f.doubt(i, "what the guest calls it isn't known: the VM's file has no slot of it, or another NIC has the name that the slot would make", f.advice(i))
	case slices.Contains(used, n.Name):
		n.Why += ", and the guest's configuration has that name"
	}
}

// onlyName is why a NIC is called so by the one name in a configuration.
const onlyName = "the only name that the guest's configuration has, for its only NIC"

// taken reports whether a NIC has a name already.
func (f *finder) taken(name string) bool {
	return slices.ContainsFunc(f.out, func(n guest.NIC) bool { return n.Name == name })
}

// only is for the VM with one NIC whose configuration has one name, and not the
// predicted one: a network that works has that name.
func (f *finder) only(used []string, hits int) {
	if hits > 0 || len(f.out) != 1 || len(used) != 1 || f.firm[0] || f.out[0].Name == used[0] || f.out[0].Name == "" {
		return
	}
	n := &f.out[0]
	f.differs(0, "the guest's configuration calls its only NIC "+used[0], n.Name, used[0])
	n.Name, n.Why, f.by[0] = used[0], onlyName, outright
}

// leftOver tells of names in the configuration that belong to no NIC of the VM.
func (f *finder) leftOver(used []string) {
	var left, have []string
	for _, name := range used {
		if !f.taken(name) {
			left = append(left, name)
		}
	}
	for _, n := range f.out {
		if n.Name != "" {
			have = append(have, n.Name+" ("+n.MAC+")")
		}
	}
	if len(left) == 0 || len(f.out) == 0 {
		return
	}
	text := fmt.Sprintf("the guest's configuration names %s, and none of the VM's NICs is known by that name", few(left))
	if len(have) > 0 {
		text += ": they are " + strings.Join(have, ", ")
	}
	confirmed := func(n guest.NIC) bool { return slices.Contains(f.g.Interfaces, n.Name) }
	if !slices.ContainsFunc(f.out, func(n guest.NIC) bool { return !confirmed(n) }) {
		f.minor(text, "it seems to be left over, as the configuration has the name of each NIC: nothing must be done")
		return
	}
	f.doubt(-1, text, "if it is left over, nothing must be done; else see which NIC that is (ip link in the guest on VMware), and bind the name to its address in the guest: a .link file in /etc/systemd/network with [Match] MACAddress= and [Link] Name=")
}

// mostTold is how many names or files a doubt lists.
const mostTold = 16

// few lists the first of some names.
func few(names []string) string {
	if n := len(names) - mostTold; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostTold], ", "), n)
	}
	return strings.Join(names, ", ")
}

// foreign tells of configuration that is for another machine's NIC, as a clone has
// it.
func (f *finder) foreign() {
	told := 0
	for _, l := range f.g.Config.Net.Links {
		ours := func(mac string) bool {
			return slices.ContainsFunc(f.out, func(n guest.NIC) bool { return n.MAC == mac })
		}
		if l.Kind == guest.LinkNIC && len(l.Match.MACs) > 0 && !slices.ContainsFunc(l.Match.MACs, ours) && slices.Contains(f.g.Config.Naming.Active, l.Style) {
			if told++; told > mostTold {
				return
			}
			f.minor(fmt.Sprintf("%s is for the address %s, which none of the VM's NICs has", l.File, few(l.Match.MACs)),
				"it has no effect on VMware, and none here; correct it in the guest if it is meant for one of its NICs")
		}
	}
}

// advice is what to do where a name isn't known.
func (f *finder) advice(i int) string {
	return fmt.Sprintf("see which NIC has the address %s (ip link in the guest on VMware), and bind its name to that in the guest: a .link file in /etc/systemd/network with [Match] MACAddress=%s and [Link] Name=NAME; then plan again", f.out[i].MAC, f.out[i].MAC)
}

// used are the names of real NICs in the configuration that nothing binds to an
// address.
func (f *finder) used() []string {
	var out []string
	for _, name := range f.g.Interfaces {
		if !f.taken(name) && !slices.Contains(f.g.PinnedNames, name) && netconf.Usable(name) {
			out = append(out, name)
		}
	}
	return out
}

// known is the name that a connection has together with a NIC's address, without
// giving it.
func (f *finder) known(i int) string {
	for _, l := range f.g.Config.Net.Links {
		if l.Kind == guest.LinkNIC && l.Name != "" && slices.Contains(l.Match.MACs, f.out[i].MAC) {
			return l.Name
		}
	}
	return ""
}

// hits counts the names in the configuration that schemes explain.
func (f *finder) hits(by []scheme, used []string) int {
	n := 0
	for i, s := range by {
		if f.out[i].MAC != "" && f.out[i].Name == "" && slices.Contains(used, s.name(f.vm, i)) {
			n++
		}
	}
	return n
}

// rule is the scheme that the guest's udev follows for a NIC at a place. It is firm
// where the guest's admin decided on it: what else its configuration names is left
// over.
func (f *finder) rule(i int, a at) (s scheme, firm bool) {
	first, naming := f.first(i, a), f.g.Config.Naming
	if first == nil || naming.NoPolicy {
		return counted, naming.LinkFiles
	}
	firm = strings.HasPrefix(first.Path, "/etc/")
	for _, p := range first.Policy {
		switch p {
		case "slot":
			return bySlot, firm
		case "path":
			return byPath, firm
		case "mac":
			return byMAC, firm
		}
	}
	return counted, firm // it says nothing of names, so that the kernel's stay
}

// keepers says what keeps the names that follow a rule.
func (f *finder) keepers() {
	slots := !slices.ContainsFunc(f.vm, func(n inventory.NIC) bool { return n.PCISlot <= 0 })
	for i := range f.out {
		n := &f.out[i]
		other := func(a at) bool { s, _ := f.rule(i, a); return s != f.by[i] }
		switch {
		case n.Name == "" || n.Kept != "" || slices.ContainsFunc(here(f.vm[i]), other):
		case f.by[i] == byMAC:
			n.Kept = "its address, of which it is made"
		case f.by[i] == counted && (slots || len(f.vm) == 1):
			n.Kept = "the order of the NICs"
			f.mixed(i)
		}
	}
}

// mixed tells of NICs that the kernel counts, of which it may not find the first
// first: each driver finds its own.
func (f *finder) mixed(i int) {
	if a, b := there(f.vm[0]).driver, there(f.vm[i]).driver; a != b {
		f.doubt(i, fmt.Sprintf("the guest counts its NICs (%s), and on VMware they have different drivers (%s, %s): which is found first is up to their order", f.out[i].Name, a, b),
			"compare the addresses with ip link in the guest on VMware; if they differ from the plan's, bind the names to the addresses in the guest, and plan again")
	}
}
