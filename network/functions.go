package network

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/inventory/fit"
	"esxodus/network/networkd"
)

// Words: a physical function (PF) is an adapter with SR-IOV, a virtual function (VF)
// a part of it that a domain drives by itself.

// HostFunctions is what a host has for SR-IOV.
type HostFunctions struct {
	Host     string    `json:"host"`
	IOMMU    bool      `json:"iommu"` // without it no domain can have a part of an adapter
	Adapters []Adapter `json:"adapters,omitempty"`
}

// Adapter is an interface of a host that could have virtual functions.
type Adapter struct {
	Name   string `json:"name"`
	Driver string `json:"driver,omitempty"`
	Master string `json:"master,omitempty"` // the bond or bridge that it is a port of
	Max    int    `json:"max,omitempty"`    // VFs that there can be
	Made   int    `json:"made,omitempty"`   // that there are
	Used   int    `json:"used,omitempty"`   // of those, that somebody has
}

// Pool is the virtual functions of an interface, and the network of libvirt's that
// lends them to domains: each host has one of that name, so that a domain's XML is
// the same on all.
type Pool struct {
	Device  string `json:"device"`          // eno1
	Count   int    `json:"count,omitempty"` // that the admin allows; 0 for those that there are
	Network string `json:"network"`         // esxodus-vf-eno1
}

// PoolName is the name of libvirt's network of an interface's virtual functions.
func PoolName(dev string) string { return "esxodus-vf-" + dev }

// The flags about SR-IOV.
const (
	FunctionsFlag = "--sriov" // of Options.Functions: --sriov eno1=8
	PeerFlag      = "--peer"  // of Options.Hosts: --peer FILE
)

// The ids of the concerns about SR-IOV.
const (
	ConcernNoFunction  = "network.no-vf"        // macvtap instead of the virtual function that was asked for
	ConcernFunctionMAC = "network.vf-mac"       // the adapter drops frames of other addresses
	ConcernMigration   = "network.vf-migration" // such a domain can't move while it runs
	ConcernProofNIC    = "network.vf-proof"     // the boot proof has another NIC
	ConcernFunctions   = "network.vfs"          // their number can't be had
	ConcernShort       = "network.vfs-short"    // fewer than NICs
	ConcernFlap        = "network.vfs-boot"     // made at the next boot: making them resets the link
	ConcernPool        = "network.vf-network"   // libvirt's network for them can't be made
	ConcernOnePeer     = "network.vf-hosts"     // only this host is known
)

// ParseFunctions reads the values of --sriov: "eno1=8", or "eno1" for as many as there
// are.
func ParseFunctions(values []string) (map[string]int, error) {
	out := map[string]int{}
	for _, v := range values {
		dev, text, counted := strings.Cut(v, "=")
		n, err := 0, networkd.CheckName(dev)
		if err == nil && counted {
			if n, err = strconv.Atoi(text); err != nil || n < 1 {
				err = fmt.Errorf("%q is no number of virtual functions", text)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w; write eno1=8 with an interface that ip link shows on this host and how many virtual functions it may have", FunctionsFlag, v, err)
		}
		if old, twice := out[dev]; twice && old != n {
			return nil, fmt.Errorf("%s: %s has both %d and %d", FunctionsFlag, dev, old, n)
		}
		out[dev] = n
	}
	return out, nil
}

// Functions is what the host has for SR-IOV.
func (h *Host) Functions() HostFunctions {
	out := HostFunctions{Host: h.Name, IOMMU: h.IOMMU}
	for _, l := range h.Links {
		if l.Kind == "" && l.PF == "" && l.Name != "lo" {
			out.Adapters = append(out.Adapters, Adapter{Name: l.Name, Driver: l.Driver, Master: l.Master, Max: l.MaxVFs, Made: l.VFs, Used: l.UsedVFs})
		}
	}
	return out
}

// adapter is the one of that name.
func (h *HostFunctions) adapter(name string) (Adapter, bool) {
	i := slices.IndexFunc(h.Adapters, func(a Adapter) bool { return a.Name == name })
	if i < 0 {
		return Adapter{}, false
	}
	return h.Adapters[i], true
}

// free is how many more domains' NICs an adapter serves if it has at least count
// virtual functions.
func (a Adapter) free(count int) int { return max(a.Made, count) - a.Used }

// lack says why a host can't lend virtual functions of an interface, and what helps;
// "" if it can.
func (h *HostFunctions) lack(dev string, count int) (why, advice string) {
	a, there := h.adapter(dev)
	of := dev + " of " + h.Host
	switch {
	case !there:
		return h.Host + " has no physical interface " + dev, "give the adapter the same name on each host, with a .link file"
	case a.Max == 0:
		return fmt.Sprintf("%s has no virtual functions (its driver is %q)", of, a.Driver), "if the adapter can have them, turn SR-IOV on in the firmware of host and adapter"
	case !h.IOMMU:
		return h.Host + " has no IOMMU at work, without which no domain can drive a part of an adapter", "turn VT-d or AMD-Vi on in the firmware, and boot with intel_iommu=on on Intel's"
	case a.Master != "":
		return fmt.Sprintf("%s is a port of %s, and a virtual function doesn't move to another cable with that", of, a.Master), "name an adapter that stands by itself, or leave the bond to macvtap"
	case a.Made == 0 && a.Driver == late:
		return fmt.Sprintf("%s has no virtual functions yet, and its driver (%s) makes them only while the interface is up, which it isn't yet when udev would", of, late),
			"make them with a unit of your own that runs once it is up, and give " + FunctionsFlag + " " + dev
	case a.Made == 0 && count == 0:
		return of + " has no virtual functions yet, and it isn't said how many it may have", "give " + FunctionsFlag + " " + dev + "=8"
	case a.Made == 0 && count > a.Max:
		return fmt.Sprintf("%s can have %d virtual functions, not %d", of, a.Max, count), fmt.Sprintf("give %s %s=%d", FunctionsFlag, dev, a.Max)
	case a.Made > 0 && a.Made < count:
		return fmt.Sprintf("%s has %d virtual functions already, and to make it %d would take those away from whom has them", of, a.Made, count), resize(dev, a.Made)
	case a.free(count) <= 0:
		return fmt.Sprintf("all %d virtual functions of %s are in use", max(a.Made, count), of), "free one, or allow more with " + FunctionsFlag
	}
	return "", ""
}

// resize says how the number of virtual functions gets another one.
func resize(dev string, have int) string {
	return fmt.Sprintf("give %[1]s %[2]s=%[3]d; or, in a quiet hour, with all domains that have one shut down, echo 0 >/sys/class/net/%[2]s/device/sriov_numvfs, and plan again", FunctionsFlag, dev, have)
}

// function attaches a port group to virtual functions of its uplink, if the admin
// allows that and it is possible on each host. Otherwise it says why not.
func (p *planner) function(a *Attachment, pg inventory.PortGroup) (why string) {
	count, allowed := p.o.Functions[a.Uplink]
	if !allowed && a.Mode != SRIOV {
		return ""
	}
	why, advice := unfit(pg)
	if why == "" && len(p.o.Hosts) == 0 {
		why, advice = "it isn't known what this host has", "plan on the host itself, or give "+PeerFlag
	}
	for i := range p.o.Hosts {
		if why == "" {
			why, advice = p.o.Hosts[i].lack(a.Uplink, count)
		}
	}
	if why != "" {
		a.Mode = Macvtap
		p.concern(ConcernNoFunction, ledger.Warning, a.PortGroup, "macvtap instead of a virtual function of "+a.Uplink+": "+why, advice)
		return why
	}
	a.Mode, a.MacvtapMode, a.TrustGuest = SRIOV, "", false
	a.Network = PoolName(a.Uplink)
	here, _ := p.o.Hosts[0].adapter(a.Uplink)
	a.Driver = functionDriver(here.Driver)
	if pg.VLAN > 0 {
		a.VLAN = pg.VLAN
	}
	p.pools[a.Uplink] = Pool{Device: a.Uplink, Count: count, Network: a.Network}
	return ""
}

// unfit says why a port group's NICs can't be virtual functions, whatever the host
// has.
func unfit(pg inventory.PortGroup) (why, advice string) {
	attach := "attach it to a bridge with `" + MapFlag + " " + fit.Paste(pg.Name+"=bridge:BRIDGE") + "`, or leave it at macvtap"
	switch {
	case pg.VLAN == trunkVLAN:
		return "a virtual function carries one VLAN, and the port group is a trunk (VLAN 4095)", attach
	case pg.Policy.Promiscuous:
		return "an adapter gives a virtual function only its own frames, and the port group is promiscuous", attach
	case pg.Policy.Shaping != nil:
		return "libvirt limits no virtual function's bandwidth, and the port group is shaped", "leave it at macvtap, which keeps the limit"
	}
	return "", ""
}

// functionDriver is the driver of an adapter's virtual functions in a Linux guest.
func functionDriver(driver string) string {
	drivers := map[string]string{"igb": "igbvf", "ixgbe": "ixgbevf", "i40e": "iavf", "ice": "iavf"}
	if vf, other := drivers[driver]; other {
		return vf
	}
	return driver // mlx5_core, bnxt_en and others drive both
}

// functionConcerns says what virtual functions mean for the domains that have them.
func (p *planner) functionConcerns(a Attachment, pg inventory.PortGroup) {
	p.concern(ConcernMigration, ledger.Warning, a.PortGroup, "a domain that has a virtual function can't be migrated while it runs, and all of its memory is locked: no ballooning, no overcommitting",
		"shut it down to move it, or leave it at macvtap with `"+MapFlag+" "+fit.Paste(a.AsMacvtap())+"`; a second, virtio NIC with libvirt's <teaming> in the domain lets it move, if the guest's kernel has net_failover")
	p.concern(ConcernProofNIC, ledger.Note, a.PortGroup, "the boot proof's copy has a virtio NIC with the same address in place of the virtual function: the proof doesn't show that the guest drives that",
		"look at its network at the first start")
	if pg.Policy.MACChanges || pg.Policy.ForgedTransmits {
		p.concern(ConcernFunctionMAC, ledger.Note, a.PortGroup, "the port group lets guests use other MAC addresses than their NICs'; the adapter drops such frames of a virtual function (CARP, VRRP with virtual MACs, nested bridges)",
			"if a guest needs that, leave it at macvtap or a bridge; or set trust on and spoofchk off for its virtual function (ip link set "+a.Device+" vf N) after each start")
	}
}

// AsMacvtap is what [MapFlag] gives a port group instead of virtual functions.
func (a *Attachment) AsMacvtap() string {
	if a.VLAN > 0 {
		return a.PortGroup + "=macvtap:" + vlanDevice(a.Device, a.VLAN)
	}
	return a.PortGroup + "=macvtap:" + a.Device
}

// setConcerns says for how many hosts the choice was made.
func (p *planner) setConcerns() {
	if len(p.pools) == 0 || len(p.o.Hosts) != 1 {
		return
	}
	p.concern(ConcernOnePeer, ledger.Note, "", "only "+p.o.Hosts[0].Host+" is known: whether another host can run these domains isn't",
		"if they may move to others, run `esxodus network host` there, and plan with "+PeerFlag+" FILE for each")
}

// planPools puts the pools into the plan.
func (p *planner) planPools() {
	for _, dev := range slices.Sorted(maps.Keys(p.pools)) {
		p.plan.Pools = append(p.plan.Pools, p.pools[dev])
	}
}

// Demand says where more NICs want a virtual function than a host has, by how many
// NICs each port group has.
func (p *Plan) Demand(hosts []HostFunctions, nics func(Attachment) int) {
	for _, pool := range p.Pools {
		need := 0
		for _, a := range p.Attachments {
			if a.Mode == SRIOV && a.Device == pool.Device {
				need += nics(a)
			}
		}
		for i := range hosts {
			a, _ := hosts[i].adapter(pool.Device)
			if free := a.free(pool.Count); need > free {
				p.Concerns = append(p.Concerns, ledger.Concern{
					ID: ConcernShort, Severity: ledger.Blocker, Subject: pool.Device,
					Evidence: fmt.Sprintf("%s on %s: %s want a virtual function, and %d are free: not all of the domains would start", pool.Device, hosts[i].Host, fit.Count(need, "NIC"), free),
					Advice:   "allow more with " + FunctionsFlag + " " + pool.Device + "=N, plan fewer VMs, or leave some port groups at macvtap with " + MapFlag,
				})
			}
		}
	}
}
