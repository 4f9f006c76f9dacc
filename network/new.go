package network

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/inventory/fit"
	"esxodus/network/networkd"
)

const (
	trunkVLAN  = 4095
	defaultMTU = networkd.DefaultMTU
)

// New plans the networking for the named port groups of an ESXi host. The
// plan depends on nothing else: the same port group gets the same device
// whichever others are asked for with it, so that VMs may be planned one by
// one. What can't be done is a concern; an error says that o makes no sense.
func New(host *inventory.Network, portGroups []string, o Options) (Plan, error) {
	if err := o.check(); err != nil {
		return Plan{}, err
	}
	p := planner{host: host, o: o, uplinks: map[string]*networkd.Uplink{}, dummies: map[string]*dummy{}, bonds: map[string]networkd.Bond{}, pools: map[string]Pool{}, denied: map[string]string{}}
	names := slices.Compact(slices.Sorted(slices.Values(portGroups)))
	for _, name := range names {
		p.portGroup(name)
	}
	p.unusedConcerns(names)
	p.crossConcerns()
	p.planPools()
	if err := p.units(); err != nil {
		return Plan{}, fmt.Errorf("networkd units: %w", err)
	}
	ledger.SortConcerns(p.plan.Concerns)
	return p.plan, nil
}

type planner struct {
	host    *inventory.Network
	o       Options
	plan    Plan
	uplinks map[string]*networkd.Uplink // by the KVM host's name
	dummies map[string]*dummy           // by name
	bonds   map[string]networkd.Bond    // by name
	pools   map[string]Pool             // by interface
	denied  map[string]string           // why a port group has no virtual function
}

// dummy is a device without anything behind it.
type dummy struct {
	mtu        int
	portGroups []string
}

func (p *planner) concern(id string, severity ledger.Severity, subject, evidence, advice string) {
	p.plan.Concerns = append(p.plan.Concerns, ledger.Concern{ID: id, Severity: severity, Subject: Label(subject), Evidence: evidence, Advice: advice})
}

// portGroup finds the attachment of one port group.
func (p *planner) portGroup(name string) {
	pg, known := p.host.PortGroup(name)
	a := Attachment{PortGroup: name}
	if known {
		a.VSwitch, a.Shaping = pg.VSwitch, pg.Policy.Shaping
		a.MTU = p.mtu(pg)
	}
	if to, ok := p.o.Map[name]; ok {
		t, _ := parseTarget(to) // checked
		if t.mode == SRIOV {
			p.onFunctions(a, pg, known, t)
			return
		}
		a.Mode, a.Device, a.MacvtapMode = t.mode, t.device, t.macvtap
		a.TrustGuest = a.Mode == Macvtap && pg.Policy.MACChanges
		p.add(a, pg, known)
		return
	}
	if !known {
		p.concern(ConcernPortGroup, ledger.Blocker, name, fmt.Sprintf("the ESXi host has no port group %q (a distributed or renamed one?)", name),
			"say what it attaches to: `"+MapFlag+" "+fit.Paste(name+"=macvtap:DEVICE")+"`")
		return
	}
	a.Mode, a.MacvtapMode, a.TrustGuest = Macvtap, macvtapModes()[0], pg.Policy.MACChanges
	vmnics := p.vmnics(pg)
	if len(vmnics) == 0 && p.o.Uplinks[pg.VSwitch] == "" {
		p.isolate(&a, pg)
		p.add(a, pg, known)
		return
	}
	uplink, vmnic := p.uplink(pg, vmnics)
	if uplink == "" {
		p.concern(ConcernUnmapped, ledger.Blocker, name, fmt.Sprintf("port group %q is on vSwitch %q through %s, and nothing says which interface of this host to use instead", name, pg.VSwitch, strings.Join(vmnics, ", ")),
			fmt.Sprintf("name it, for instance `%s %s`", UplinkFlag, fit.Paste(vmnics[0]+"=eno1")))
		return
	}
	p.teaming(pg, vmnics, vmnic, uplink)
	a.Uplink = uplink
	p.hang(&a, pg)
	p.add(a, pg, known)
}

// onFunctions attaches a port group to virtual functions of an interface that was
// named for it, with the VLAN that was named, if one was.
func (p *planner) onFunctions(a Attachment, pg inventory.PortGroup, known bool, t target) {
	pg.Name = a.PortGroup
	if t.vlan != 0 {
		pg.VLAN = t.vlan
	}
	a.Mode, a.Uplink, a.MacvtapMode, a.TrustGuest = SRIOV, t.device, macvtapModes()[0], pg.Policy.MACChanges
	p.hang(&a, pg)
	p.add(a, pg, known)
}

// mtu is the vSwitch's, 0 for the default.
func (p *planner) mtu(pg inventory.PortGroup) int {
	s, ok := p.host.VSwitch(pg.VSwitch)
	if !ok || s.MTU == defaultMTU || s.MTU < 576 || s.MTU > 65535 {
		return 0
	}
	return s.MTU
}

// vmnics returns the uplinks that the port group may use: the active ones,
// then the standby ones; where the policy names none, the vSwitch's.
func (p *planner) vmnics(pg inventory.PortGroup) []string {
	all := slices.Concat(pg.Policy.Active, pg.Policy.Standby)
	if len(all) > 0 {
		return all
	}
	s, _ := p.host.VSwitch(pg.VSwitch)
	return s.Uplinks
}

// uplink returns the KVM host's interface for a port group, and the uplink of
// ESXi's that it stands for.
func (p *planner) uplink(pg inventory.PortGroup, vmnics []string) (dev, vmnic string) {
	if dev := p.o.Uplinks[pg.VSwitch]; dev != "" {
		return dev, ""
	}
	for _, v := range vmnics {
		if dev := p.o.Uplinks[v]; dev != "" {
			return dev, v
		}
	}
	return p.o.Uplinks[""], ""
}

// add appends an attachment with its ledger and the concerns that are its own.
func (p *planner) add(a Attachment, pg inventory.PortGroup, known bool) {
	p.plan.Attachments = append(p.plan.Attachments, a)
	if known {
		p.account(a, pg)
		p.security(a, pg)
	}
	p.macvtapMode(a)
	switch {
	case a.Mode == SRIOV:
		p.functionConcerns(a, pg)
	case a.Mode == Bridge:
		p.bridge(a, pg)
	case pg.VLAN == trunkVLAN && a.Mode == Macvtap && p.dummies[a.Device] != nil:
		p.concern(ConcernTrunk, ledger.Warning, a.PortGroup, "VLAN 4095 on a vSwitch without uplinks: there the guest hears all VLANs of the vSwitch; here each of those is a device of its own, and it hears none of them",
			"put the port groups that it must hear on one bridge, with `"+MapFlag+" "+fit.Paste(pg.Name+"=bridge:BRIDGE")+"` for each")
	case pg.VLAN == trunkVLAN && a.Mode == Macvtap:
		p.concern(ConcernTrunk, ledger.Warning, a.PortGroup, "VLAN 4095: the guest gets and sends tagged frames of every VLAN",
			fmt.Sprintf("tagged frames pass macvtap on %s, except for VLANs for which this host has a device; if some don't arrive: ethtool -K %s rx-vlan-filter off", a.Device, a.Device))
	}
}

// macvtapMode says what a mode other than the usual one means.
func (p *planner) macvtapMode(a Attachment) {
	means := map[string]string{
		"private":     "domains on it never reach each other",
		"vepa":        "domains on it reach each other only by a switch that sends frames back to the port that they came from",
		"passthrough": "one domain has " + a.Device + " to itself: a second one doesn't start",
	}[a.MacvtapMode]
	if means != "" {
		p.concern(ConcernMode, ledger.Note, a.PortGroup, "macvtap's mode "+a.MacvtapMode+" was asked for: "+means, "leave the mode out for the usual one, in which they reach each other")
	}
}

func (p *planner) bridge(a Attachment, pg inventory.PortGroup) {
	severity, speed := ledger.Note, 0
	for _, v := range p.vmnics(pg) {
		if u, ok := p.host.Uplink(v); ok {
			speed = max(speed, u.SpeedMbps)
		}
	}
	evidence := a.Device + " is a bridge: its uplink is promiscuous, and each frame goes through this host's network stack"
	if speed > 1000 {
		severity, evidence = ledger.Warning, evidence+fmt.Sprintf("; ESXi's uplink runs at %d Mbit/s", speed)
	}
	p.concern(ConcernBridge, severity, a.PortGroup, evidence, "macvtap needs about 30 % less CPU: leave "+MapFlag+" out for this port group unless the host itself must reach the domain or the guest needs all frames")
}

// security says which promises and freedoms of the port group macvtap can't
// keep.
func (p *planner) security(a Attachment, pg inventory.PortGroup) {
	if a.Mode != Macvtap {
		return
	}
	if pg.Policy.Promiscuous {
		p.concern(ConcernPromiscuous, ledger.Warning, pg.Name, "promiscuous mode is allowed: a guest may watch all frames (capture, nested hypervisor, CARP)",
			"macvtap gives a guest only its own frames; if it needs all, use "+MapFlag+" "+fit.Paste(pg.Name+"=bridge:BRIDGE"))
	}
	if !pg.Policy.ForgedTransmits {
		p.concern(ConcernForged, ledger.Note, pg.Name, "forged transmits are rejected: a guest may send only from its own MAC", "macvtap doesn't enforce that; filter on the physical switch if it matters")
	}
}

// teaming says which of several uplinks is used.
func (p *planner) teaming(pg inventory.PortGroup, vmnics []string, vmnic, dev string) {
	if len(vmnics) < 2 {
		return
	}
	severity, advice := ledger.Warning, fmt.Sprintf("if that one cable fails, its domains are cut off: make a bond on this host and name it with `%s %s`", UplinkFlag, fit.Paste(pg.VSwitch+"=BOND"))
	if bond, ok := p.bond(pg); ok {
		advice = fmt.Sprintf("if that one cable fails, its domains are cut off: the plan's optional units make the bond %s of %s; once it is there, plan again with `%s %s`",
			bond.Name, strings.Join(bond.Legs, " and "), UplinkFlag, fit.Paste(pg.VSwitch+"="+bond.Name))
		p.bonds[bond.Name] = bond
	}
	if vmnic == "" {
		severity, advice = ledger.Note, "make sure that "+dev+" is a bond, if the guests need more than one cable"
	}
	p.concern(ConcernTeaming, severity, pg.Name,
		fmt.Sprintf("%d uplinks (%s; %s); here %s replaces %s", len(vmnics), strings.Join(vmnics, ", "), cmp.Or(pg.Policy.Teaming, "no policy"), dev, cmp.Or(vmnic, "all of them")), advice)
}
