package network

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// account writes the ledger of one port group.
func (p *planner) account(a Attachment, pg inventory.PortGroup) {
	add := func(name, source, target string, fate ledger.Fate, reason string) {
		if source != "" {
			p.plan.Ledger = append(p.plan.Ledger, ledger.Entry{Property: "portGroups[" + Label(pg.Name) + "]." + name, Source: source, Target: target, Fate: fate, Reason: reason})
		}
	}
	drop := func(name, source, reason string) { add(name, source, "", ledger.Dropped, reason) }
	target := strings.TrimSpace(string(a.Mode) + " " + a.Device)
	denied := p.denied[pg.Name]
	if denied != "" {
		denied = "no virtual function: " + denied
	}
	add("name", pg.Name, target, fateOf(denied == ""), denied)
	add("vSwitch", pg.VSwitch, target, ledger.Mapped, "")
	switch {
	case a.Mode == SRIOV:
		add("vlan", strconv.Itoa(pg.VLAN), functionTag(a), fateOf(a.VLAN == max(pg.VLAN, 0)), reasonUnless(a.VLAN == max(pg.VLAN, 0), "asked for"))
	case a.VLAN != 0 || a.Uplink != "" && pg.VLAN == 0 || a.Device == dummyDevice(pg):
		add("vlan", strconv.Itoa(pg.VLAN), a.Device, ledger.Mapped, "")
	case a.Uplink != "":
		add("vlan", strconv.Itoa(pg.VLAN), a.Device, ledger.Changed, "all tags for which this host has no device")
	case a.Mode == None:
		drop("vlan", strconv.Itoa(pg.VLAN), "attached to nothing")
	default:
		add("vlan", strconv.Itoa(pg.VLAN), a.Device, ledger.Changed, "whatever "+a.Device+" carries")
	}
	accountSecurity(a, pg.Policy, target, add)
	p.accountTeaming(a, pg, drop)
	if s := pg.Policy.Shaping; s != nil {
		add("policy.shaping", fmt.Sprintf("%d bit/s, peak %d bit/s, burst %d bytes", s.AverageBitsPerSecond, s.PeakBitsPerSecond, s.BurstBytes), "outbound bandwidth of each interface", ledger.Mapped, "")
	}
	if s, ok := p.host.VSwitch(pg.VSwitch); ok && s.MTU != 0 {
		target, reason := mtuTarget(a, pg, s.MTU)
		add("mtu", strconv.Itoa(s.MTU), target, fateOf(reason == ""), reason)
	}
}

// accountSecurity writes what becomes of a port group's promises and freedoms.
func accountSecurity(a Attachment, policy inventory.Policy, target string, add func(name, source, target string, fate ledger.Fate, reason string)) {
	check := func(name string, value, kept bool, reason string) {
		add("policy."+name, strconv.FormatBool(value), target, fateOf(kept), reasonUnless(kept, reason))
	}
	if a.Mode == SRIOV {
		check("macChanges", policy.MACChanges, !policy.MACChanges, "the host gives a virtual function its address; the guest can't change it")
		check("promiscuous", policy.Promiscuous, !policy.Promiscuous, "an adapter gives a virtual function only its own frames")
		check("forgedTransmits", policy.ForgedTransmits, !policy.ForgedTransmits, "the adapter drops frames from other addresses")
		return
	}
	direct := a.Mode == Macvtap
	if a.TrustGuest {
		add("policy.macChanges", strconv.FormatBool(true), "trustGuestRxFilters", ledger.Mapped, "")
	} else {
		check("macChanges", policy.MACChanges, !policy.MACChanges && direct, "a property of "+target)
	}
	check("promiscuous", policy.Promiscuous, !policy.Promiscuous && direct, "macvtap delivers only a guest's own frames, a bridge also those whose addresses it doesn't know")
	check("forgedTransmits", policy.ForgedTransmits, policy.ForgedTransmits, "neither macvtap nor a bridge checks the sender's MAC")
}

// functionTag is what an adapter does with a virtual function's frames.
func functionTag(a Attachment) string {
	if a.VLAN == 0 {
		return "no tag"
	}
	return fmt.Sprintf("tag %d, which the adapter adds", a.VLAN)
}

// mtuTarget returns the MTU that a NIC gets here, and why that may be another
// one than on ESXi, "" if it is the same.
func mtuTarget(a Attachment, pg inventory.PortGroup, of int) (target, reason string) {
	same := strconv.Itoa(cmp.Or(a.MTU, defaultMTU))
	switch {
	case of == defaultMTU:
		return same, ""
	case a.MTU != of:
		return same, "is not an Ethernet MTU"
	case a.Mode == SRIOV:
		return "at most that of " + a.Device, "a virtual function can't have more than its adapter, which stays as it is"
	case a.Mode != Macvtap || a.Device == dummyDevice(pg) || a.VLAN != 0 && of < defaultMTU:
		return same, ""
	case a.Uplink != "" && of > defaultMTU:
		return "that of " + a.Device, "a macvtap has its device's; only optional units raise that"
	}
	return "that of " + a.Device, "a macvtap has its device's, which stays as it is"
}

func (p *planner) accountTeaming(a Attachment, pg inventory.PortGroup, drop func(name, source, reason string)) {
	policy, one := pg.Policy, "one interface of this host replaces all uplinks; bonds are up to this host"
	switch {
	case a.Uplink == "":
		one = "no uplink is used"
	case len(p.vmnics(pg)) == 1:
		one = a.Uplink + " replaces it"
	}
	drop("policy.teaming", policy.Teaming, one)
	drop("policy.active", strings.Join(policy.Active, ", "), one)
	drop("policy.standby", strings.Join(policy.Standby, ", "), one)
	if policy.NotifySwitches {
		drop("policy.notifySwitches", "true", "the kernel announces a macvtap's address itself")
	}
	if policy.Failback {
		drop("policy.failback", "true", one)
	}
}

func fateOf(same bool) ledger.Fate {
	if same {
		return ledger.Mapped
	}
	return ledger.Changed
}

func reasonUnless(same bool, reason string) string {
	if same {
		return ""
	}
	return reason
}

// Label shows a name from the source on one line, quoted only if it must be.
func Label(name string) string {
	if q := strconv.Quote(name); q != `"`+name+`"` {
		return q
	}
	return name
}
