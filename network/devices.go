package network

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/network/networkd"
)

// hang puts the attachment on its uplink or on a VLAN device of it.
func (p *planner) hang(a *Attachment, pg inventory.PortGroup) {
	up := p.uplinks[a.Uplink]
	if up == nil {
		up = &networkd.Uplink{Name: a.Uplink, File: p.o.Files[a.Uplink]}
		p.uplinks[a.Uplink] = up
	}
	if a.MTU > defaultMTU {
		up.MTU = max(up.MTU, a.MTU)
	}
	p.denied[a.PortGroup] = p.function(a, pg)
	if a.Mode == SRIOV || pg.VLAN <= 0 || pg.VLAN >= trunkVLAN {
		a.Device = a.Uplink
		return
	}
	a.VLAN, a.Device = pg.VLAN, vlanDevice(a.Uplink, pg.VLAN)
	if p.hostOwns(a.Device) {
		return
	}
	i := slices.IndexFunc(up.VLANs, func(v networkd.VLAN) bool { return v.ID == pg.VLAN })
	if i < 0 {
		i = len(up.VLANs)
		up.VLANs = append(up.VLANs, p.vlan(a.Uplink, a.VLAN))
	}
	if a.MTU > defaultMTU {
		up.VLANs[i].MTU = max(up.VLANs[i].MTU, a.MTU)
	}
}

// hostOwns reports whether the admin named a device as one that the host has
// and configures: then no units of ours may touch it.
func (p *planner) hostOwns(dev string) bool {
	_, file := p.o.Files[dev]
	return file || slices.Contains(slices.Collect(maps.Values(p.o.Uplinks)), dev)
}

// vlan is the VLAN device as all of ESXi's port groups on it need it: its MTU
// is below the default only if none of them has more.
func (p *planner) vlan(uplink string, id int) networkd.VLAN {
	v := networkd.VLAN{Name: vlanDevice(uplink, id), ID: id}
	most := 0
	for _, other := range p.onUplink(uplink) {
		if other.VLAN == id {
			v.For = append(v.For, other.Name)
			most = max(most, cmp.Or(p.mtu(other), defaultMTU))
		}
	}
	if most < defaultMTU {
		v.MTU = most
	}
	return v
}

// onUplink returns all of the ESXi host's port groups that would use an
// interface, asked for or not: what they share must not depend on which are.
func (p *planner) onUplink(dev string) []inventory.PortGroup {
	var all []inventory.PortGroup
	for _, pg := range p.host.PortGroups {
		vmnics := p.vmnics(pg)
		if len(vmnics) == 0 && p.o.Uplinks[pg.VSwitch] == "" {
			continue
		}
		if up, _ := p.uplink(pg, vmnics); up == dev {
			all = append(all, pg)
		}
	}
	slices.SortFunc(all, func(a, b inventory.PortGroup) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// vlanDevice names the VLAN device: "eno1.42", or, where that is too long for
// the kernel, "vlan42-3fa2c1" with a hash of the uplink's name. Nothing else
// goes into it, so that plans made apart agree, and two long names don't meet.
func vlanDevice(uplink string, id int) string {
	name := fmt.Sprintf("%s.%d", uplink, id)
	if len(name) <= networkd.MaxName {
		return name
	}
	sum := sha256.Sum256([]byte(uplink))
	name = fmt.Sprintf("vlan%d-%x", id, sum)
	return name[:min(len(name), networkd.MaxName)]
}

// isolate puts a port group whose vSwitch has no uplinks onto a device with
// nothing behind it, where its VMs reach each other as they did.
func (p *planner) isolate(a *Attachment, pg inventory.PortGroup) {
	a.Device = dummyDevice(pg)
	if p.dummies[a.Device] == nil {
		d := &dummy{mtu: a.MTU}
		for _, other := range p.host.PortGroups {
			if other.VSwitch == pg.VSwitch && other.VLAN == pg.VLAN {
				d.portGroups = append(d.portGroups, other.Name)
			}
		}
		slices.Sort(d.portGroups)
		p.dummies[a.Device] = d
	}
	p.concern(ConcernIsolated, ledger.Note, pg.Name, fmt.Sprintf("vSwitch %q has no uplink: its VMs reach only each other", pg.VSwitch),
		"they do so on this host too, on "+a.Device+". Domains on different hosts don't, and VMs from another ESXi host with a vSwitch of that name join them")
}

// dummyDevice names a device with nothing behind it. A vSwitch with a dot in
// its name gets a hash: "a.5" must not meet VLAN 5 of "a".
func dummyDevice(pg inventory.PortGroup) string {
	name := "esx-" + pg.VSwitch
	if pg.VLAN > 0 {
		name += "." + strconv.Itoa(pg.VLAN)
	}
	if networkd.CheckName(name) == nil && !strings.Contains(pg.VSwitch, ".") {
		return name
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", pg.VSwitch, pg.VLAN))
	return fmt.Sprintf("esx-%x", sum[:5])
}

// unusedConcerns names what a flag says and the ESXi host doesn't have: a slip of
// the pen would leave a NIC where nobody wants it. So it is with an interface of this
// host's for SR-IOV to which nothing goes. Port groups that are asked for
// are known, whether the host has them or not.
func (p *planner) unusedConcerns(portGroups []string) {
	for _, name := range slices.Sorted(maps.Keys(p.o.Map)) {
		if _, known := p.host.PortGroup(name); !known && !slices.Contains(portGroups, name) {
			p.concern(ConcernUnused, ledger.Warning, name, fmt.Sprintf("%s names %q, which is not a port group of the ESXi host or of a VM", MapFlag, name),
				"it has no effect: correct the name (`esxodus inventory` lists the port groups), or leave it out")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.o.Uplinks)) {
		_, vmnic := p.host.Uplink(name)
		_, vSwitch := p.host.VSwitch(name)
		named := func(pg inventory.PortGroup) bool { return pg.VSwitch == name || slices.Contains(p.vmnics(pg), name) }
		if name != "" && !vmnic && !vSwitch && !slices.ContainsFunc(p.host.PortGroups, named) {
			p.concern(ConcernUnused, ledger.Warning, name, fmt.Sprintf("%s names %q, which is neither an uplink nor a vSwitch of the ESXi host", UplinkFlag, name),
				"it has no effect: correct the name (`esxodus inventory` lists uplinks and vSwitches), or leave it out")
		}
	}
	for _, dev := range p.o.Absent {
		p.concern(ConcernUnused, ledger.Warning, dev, fmt.Sprintf("%s names %q, and this host has no such interface", FileFlag, dev),
			"it has no effect here: correct the name, or leave it out")
	}
	for _, dev := range slices.Sorted(maps.Keys(p.o.Functions)) {
		mapped := slices.ContainsFunc(slices.Collect(maps.Values(p.o.Map)), func(to string) bool { return strings.HasPrefix(to+",", string(SRIOV)+":"+dev+",") })
		if !mapped && len(p.onUplink(dev)) == 0 {
			p.concern(ConcernUnused, ledger.Warning, dev, fmt.Sprintf("%s names %q, and no port group goes to that interface", FunctionsFlag, dev),
				"it has no effect: correct the name, have port groups go there with "+UplinkFlag+", or leave it out")
		}
	}
}

// crossConcerns is what only several attachments together show.
func (p *planner) crossConcerns() {
	for _, dev := range p.direct() {
		advice := "that is normal. If the host must reach them on " + dev + ", the plan's optional units give it a macvlan beside them"
		if own := networkd.MacvlanName(dev); p.hostOwns(own) {
			advice = "that is normal. If the host must reach them on " + dev + ", it needs a macvlan beside them; the plan has none, as " + own + " already is an interface of this host"
		}
		p.concern(ConcernHostGuest, ledger.Note, dev, "over macvtap this host and its own domains can't reach each other; all others can", advice)
		p.upConcern(dev)
	}
	for _, dev := range slices.Sorted(maps.Keys(p.pools)) {
		if !slices.Contains(p.direct(), dev) {
			p.upConcern(dev)
		}
	}
	p.setConcerns()
	for _, dev := range slices.Sorted(maps.Keys(p.uplinks)) {
		up := p.uplinks[dev]
		p.file(up)
		if up.MTU > defaultMTU {
			p.concern(ConcernMTU, ledger.Warning, dev, fmt.Sprintf("a vSwitch has an MTU of %d, and %s one of %d unless this host says otherwise", up.MTU, dev, defaultMTU),
				fmt.Sprintf("if ip link show %s shows less and the guests need jumbo frames, the optional units raise it; first let the physical switch's ports allow it. Changing the MTU resets the link on many NICs, which drops sessions (BGP, iSCSI, ssh): do it in a quiet hour", dev))
		}
	}
}

// upConcern says where nothing brings an uplink up that domains are attached to
// itself.
func (p *planner) upConcern(dev string) {
	if p.o.Files[dev] == "" && len(p.uplinks[dev].VLANs) == 0 {
		p.concern(ConcernUp, ledger.Note, dev, "domains attach to "+dev+" itself, and the plan's units leave it alone: they don't bring it up",
			"ip link show "+dev+" must show it UP after each boot of this host. If nothing configures it, add a file in /etc/systemd/network with [Match] Name="+dev+" and [Link] ActivationPolicy=up, or auto "+dev+" and iface "+dev+" inet manual for ifupdown")
	}
}

// direct returns the uplinks that domains attach to themselves.
func (p *planner) direct() []string {
	var devs []string
	for _, a := range p.plan.Attachments {
		if a.Mode == Macvtap && a.Uplink != "" && a.VLAN == 0 {
			devs = append(devs, a.Uplink)
		}
	}
	slices.Sort(devs)
	return slices.Compact(devs)
}

// file says what to do where VLAN devices would be attached to nothing.
func (p *planner) file(up *networkd.Uplink) {
	if up.File != "" || len(up.VLANs) == 0 {
		return
	}
	var devs []string
	for _, v := range up.VLANs {
		devs = append(devs, v.Name)
	}
	slices.Sort(devs)
	dev := up.Name
	p.concern(ConcernFile, ledger.Warning, dev,
		fmt.Sprintf("%s must be attached to %s, but it isn't known which .network file configures that: until you say so, the units don't attach them", strings.Join(devs, ", "), dev),
		fmt.Sprintf("networkctl status %[1]s shows the file as Network File: give %[2]s %[1]s=FILE. If it shows n/a and ifupdown or NetworkManager configures %[1]s, make the VLAN devices there (iface %[3]s inet manual, vlan-raw-device %[1]s); if nothing does, copy the optional zz-esxodus-%[1]s.network too. If this host already has a file for a VLAN device: %[2]s %[3]s=FILE", dev, FileFlag, devs[0]))
}

// units writes the files of all devices.
func (p *planner) units() error {
	add := func(to *[]Unit, more []Unit, err error) error {
		*to = append(*to, more...)
		return err
	}
	if slices.ContainsFunc(p.plan.Attachments, func(a Attachment) bool { return a.Mode == Macvtap }) {
		p.plan.Units = append(p.plan.Units, networkd.Macvtap())
	}
	for _, dev := range slices.Sorted(maps.Keys(p.uplinks)) {
		up := p.uplinks[dev]
		slices.SortFunc(up.VLANs, func(a, b networkd.VLAN) int { return cmp.Compare(a.ID, b.ID) })
		for _, v := range up.VLANs {
			p.device(Device{Name: v.Name, Kind: KindVLAN, Parent: dev, VLAN: v.ID, MTU: v.MTU})
		}
		must, err := up.Units()
		if err := add(&p.plan.Units, must, err); err != nil {
			return err
		}
		may, err := up.Optional()
		if err := add(&p.plan.Optional, may, err); err != nil {
			return err
		}
	}
	for _, dev := range p.direct() {
		if p.hostOwns(networkd.MacvlanName(dev)) {
			continue
		}
		more, err := networkd.HostMacvlan(*p.uplinks[dev])
		if err := add(&p.plan.Optional, more, err); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.bonds)) {
		more, err := p.bonds[name].Units()
		if err := add(&p.plan.Optional, more, err); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.dummies)) {
		p.device(Device{Name: name, Kind: KindDummy, MTU: p.dummies[name].mtu})
		more, err := networkd.Dummy(name, p.dummies[name].mtu, p.dummies[name].portGroups)
		if err := add(&p.plan.Units, more, err); err != nil {
			return err
		}
	}
	return p.distinct()
}

// device adds a device. One that needs more than Ethernet's MTU gets it only
// where its uplink has it, which the plan leaves to a person.
func (p *planner) device(d Device) {
	if d.Kind == KindVLAN && d.MTU > defaultMTU {
		d.MTU = 0
	}
	p.plan.Devices = append(p.plan.Devices, d)
}

// distinct sorts the units by name and refuses two of one name: two devices
// that would be one.
func (p *planner) distinct() error {
	slices.SortFunc(p.plan.Devices, func(a, b Device) int { return cmp.Compare(a.Name, b.Name) })
	byName := func(a, b Unit) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(p.plan.Units, byName)
	slices.SortFunc(p.plan.Optional, byName)
	all := slices.SortedFunc(slices.Values(slices.Concat(p.plan.Units, p.plan.Optional)), byName)
	for i := 1; i < len(all); i++ {
		if all[i].Name == all[i-1].Name {
			return fmt.Errorf("two devices want the file %s: give one uplink another name", all[i].Name)
		}
	}
	return nil
}
