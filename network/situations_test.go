package network

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/inventory"
)

// TestSituations: each situation of a port group has one outcome, and the concerns
// that it deserves. A situation is a change of one port group, PG, on a vSwitch with
// one uplink, vmnic0, which is eno1 here.
func TestSituations(t *testing.T) {
	type world struct {
		n *inventory.Network
		o Options
	}
	pg := func(w *world) *inventory.PortGroup { return &w.n.PortGroups[0] }
	vlan := func(id int) func(*world) { return func(w *world) { pg(w).VLAN = id } }
	to := func(target string) func(*world) {
		return func(w *world) { w.o.Map = map[string]string{"PG": target} }
	}
	team := func(policy string, vmnics ...string) func(*world) {
		return func(w *world) {
			w.n.VSwitches[0].Uplinks = vmnics
			pg(w).Policy.Active, pg(w).Policy.Teaming = vmnics, policy
		}
	}
	uplinks := func(pairs ...string) func(*world) {
		return func(w *world) {
			w.o.Uplinks = map[string]string{}
			for _, p := range pairs {
				key, dev, _ := strings.Cut(p, "=")
				w.o.Uplinks[key] = dev
			}
		}
	}
	files := func(pairs ...string) func(*world) {
		return func(w *world) {
			w.o.Files = map[string]string{}
			for _, p := range pairs {
				key, file, _ := strings.Cut(p, "=")
				w.o.Files[key] = file
			}
		}
	}
	mtu := func(n int) func(*world) { return func(w *world) { w.n.VSwitches[0].MTU = n } }
	speed := func(n int) func(*world) { return func(w *world) { w.n.Uplinks[0].SpeedMbps = n } }
	isolated := func(w *world) { w.n.VSwitches[0].Uplinks, pg(w).Policy.Active, w.o.Uplinks = nil, nil, nil }
	gone := func(w *world) { w.n.PortGroups = nil }
	policy := func(change func(*inventory.Policy)) func(*world) { return func(w *world) { change(&pg(w).Policy) } }
	lan := files("eno1=lan.network")
	sriov := func(pairs ...string) func(*world) {
		return func(w *world) {
			var err error
			if w.o.Functions, err = ParseFunctions(pairs); err != nil {
				t.Fatal(err)
			}
		}
	}
	adapter := Adapter{Name: "eno1", Driver: "igb", Max: 7}
	// on has hosts that are like one with eight virtual functions at most, but for
	// their changes.
	on := func(changes ...func(*HostFunctions)) func(*world) {
		return func(w *world) {
			for i, change := range changes {
				h := HostFunctions{Host: fmt.Sprintf("kvm%d", i+1), IOMMU: true, Adapters: []Adapter{adapter}}
				change(&h)
				w.o.Hosts = append(w.o.Hosts, h)
			}
		}
	}
	able := func(*HostFunctions) {}
	vfs := func(change func(*Adapter)) func(*HostFunctions) {
		return func(h *HostFunctions) { change(&h.Adapters[0]) }
	}
	made := func(n, used int) func(*HostFunctions) {
		return vfs(func(a *Adapter) { a.Made, a.Used = n, used })
	}
	for _, tt := range []struct {
		name    string
		changes []func(*world)
		want    string // mode device mode-of-macvtap trust; concerns; units; optional
	}{
		{"plain", nil, "macvtap eno1 bridge; host-guest up; 10-esxodus-macvtap; 30-host-eno1"},
		{"plain, the host's file known", []func(*world){lan}, "macvtap eno1 bridge; host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV", []func(*world){lan, sriov("eno1=4"), on(able)}, "sriov eno1 igbvf; vf-migration! vf-hosts vf-mac vf-proof; ; "},
		{"SR-IOV on two hosts", []func(*world){lan, sriov("eno1=4"), on(able, able)}, "sriov eno1 igbvf; vf-migration! vf-mac vf-proof; ; "},
		{"SR-IOV, nobody brings it up", []func(*world){sriov("eno1=4"), on(able, able)}, "sriov eno1 igbvf; vf-migration! up vf-mac vf-proof; ; "},
		{"SR-IOV, VLAN 42", []func(*world){lan, vlan(42), sriov("eno1=4"), on(able, able)}, "sriov eno1 igbvf 42; vf-migration! vf-mac vf-proof; ; "},
		{"SR-IOV of mlx5", []func(*world){lan, sriov("eno1=4"), on(vfs(func(a *Adapter) { a.Driver = "mlx5_core" }), able)}, "sriov eno1 mlx5_core; vf-migration! vf-mac vf-proof; ; "},
		{"SR-IOV of bnxt, which makes none at boot", []func(*world){lan, sriov("eno1=4"), on(vfs(func(a *Adapter) { a.Driver = "bnxt_en" }))}, "macvtap eno1 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV of bnxt, made by a unit", []func(*world){lan, sriov("eno1"), on(vfs(func(a *Adapter) { a.Driver, a.Made = "bnxt_en", 4 }))}, "sriov eno1 bnxt_en; vf-migration! vf-hosts vf-mac vf-proof; ; "},
		{"SR-IOV, not allowed", []func(*world){lan, on(able, able)}, "macvtap eno1 bridge; host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, allowed on another", []func(*world){lan, sriov("eno2=4"), on(able, able)}, "macvtap eno1 bridge; unused! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, no host is known", []func(*world){lan, sriov("eno1=4")}, "macvtap eno1 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, one host has no IOMMU", []func(*world){lan, sriov("eno1=4"), on(able, func(h *HostFunctions) { h.IOMMU = false })}, "macvtap eno1 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, one host has no such adapter", []func(*world){lan, vlan(42), sriov("eno1=4"), on(able, func(h *HostFunctions) { h.Adapters = nil })}, "macvtap eno1.42 bridge; no-vf!; 10-esxodus-macvtap 20-eno1.42 lan.network.d/eno1.42; "},
		{"SR-IOV, one adapter can't", []func(*world){lan, sriov("eno1=4"), on(able, vfs(func(a *Adapter) { a.Max = 0 }))}, "macvtap eno1 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, more than it can", []func(*world){lan, sriov("eno1=8"), on(able)}, "macvtap eno1 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, a leg of a bond", []func(*world){lan, sriov("eno1=4"), on(vfs(func(a *Adapter) { a.Master = "bond0" }))}, "macvtap eno1 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, made already", []func(*world){lan, sriov("eno1"), on(made(4, 3), made(7, 0))}, "sriov eno1 igbvf; vf-migration! vf-mac vf-proof; ; "},
		{"SR-IOV, none made and no number", []func(*world){lan, sriov("eno1"), on(made(4, 0), able)}, "macvtap eno1 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, fewer made", []func(*world){lan, sriov("eno1=4"), on(made(2, 0))}, "macvtap eno1 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, all in use on one host", []func(*world){lan, sriov("eno1=4"), on(able, made(4, 4))}, "macvtap eno1 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV for a trunk", []func(*world){lan, vlan(4095), sriov("eno1=4"), on(able, able)}, "macvtap eno1 bridge; no-vf! trunk! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, promiscuous", []func(*world){lan, sriov("eno1=4"), on(able, able), policy(func(p *inventory.Policy) { p.Promiscuous = true })}, "macvtap eno1 bridge; no-vf! promiscuous! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, shaping", []func(*world){lan, sriov("eno1=4"), on(able, able), policy(func(p *inventory.Policy) { p.Shaping = &inventory.Shaping{AverageBitsPerSecond: 1e8} })}, "macvtap eno1 bridge shaped; no-vf! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"SR-IOV, MAC changes allowed", []func(*world){lan, sriov("eno1=4"), on(able, able), policy(func(p *inventory.Policy) { p.MACChanges = true })}, "sriov eno1 igbvf; vf-migration! vf-mac vf-proof; ; "},
		{"SR-IOV, all MACs kept", []func(*world){lan, sriov("eno1=4"), on(able, able), policy(func(p *inventory.Policy) { p.ForgedTransmits = false })}, "sriov eno1 igbvf; vf-migration! vf-proof; ; "},
		{"SR-IOV with jumbo frames", []func(*world){lan, sriov("eno1=4"), on(able, able), mtu(9000)}, "sriov eno1 igbvf 9000; mtu! vf-migration! vf-mac vf-proof; ; lan.network.d/mtu-09000"},
		{"SR-IOV by choice", []func(*world){to("sriov:eno9"), vlan(42), on(func(h *HostFunctions) { h.Adapters[0].Name, h.Adapters[0].Made = "eno9", 4 })}, "sriov eno9 igbvf 42; vf-migration! up vf-hosts vf-mac vf-proof; ; "},
		{"SR-IOV by choice, on a VLAN", []func(*world){to("sriov:eno1,7"), sriov("eno1=4"), lan, on(able, able)}, "sriov eno1 igbvf 7; vf-migration! vf-mac vf-proof; ; "},
		{"SR-IOV by choice, impossible", []func(*world){to("sriov:eno1,7"), sriov("eno1=4"), lan}, "macvtap eno1.7 bridge; no-vf!; 10-esxodus-macvtap 20-eno1.7 lan.network.d/eno1.7; "},
		{"SR-IOV by choice, a port group that isn't there", []func(*world){gone, lan, to("sriov:eno1,7"), sriov("eno1=4"), on(able, able)}, "sriov eno1 igbvf 7; vf-migration! vf-proof; ; "},
		{"macvtap by choice where SR-IOV is allowed", []func(*world){to("macvtap:eno1"), sriov("eno1=4"), on(able, able)}, "macvtap eno1 bridge; ; 10-esxodus-macvtap; "},
		{"a bond where SR-IOV is allowed", []func(*world){uplinks("vSwitch0=bond0"), files("bond0=b.network"), sriov("bond0=4"), on(able)}, "macvtap bond0 bridge; no-vf! host-guest; 10-esxodus-macvtap; 30-host-bond0"},
		{"a vSwitch without uplinks where SR-IOV is allowed", []func(*world){isolated, sriov("eno1=4"), on(able, able)}, "macvtap esx-vSwitch0 bridge; unused! isolated; 10-esxodus-macvtap 20-esx-vSwitch0; "},
		{"VLAN 1", []func(*world){vlan(1), lan}, "macvtap eno1.1 bridge; ; 10-esxodus-macvtap 20-eno1.1 lan.network.d/eno1.1; "},
		{"VLAN 42", []func(*world){vlan(42), lan}, "macvtap eno1.42 bridge; ; 10-esxodus-macvtap 20-eno1.42 lan.network.d/eno1.42; "},
		{"VLAN 4094", []func(*world){vlan(4094), lan}, "macvtap eno1.4094 bridge; ; 10-esxodus-macvtap 20-eno1.4094 lan.network.d/eno1.4094; "},
		{"VLAN 42, no file known", []func(*world){vlan(42)}, "macvtap eno1.42 bridge; file!; 10-esxodus-macvtap 20-eno1.42 zz-eno1.network.d/eno1.42; zz-eno1"},
		{"VLAN 42 that the host has", []func(*world){vlan(42), files("eno1=lan.network", "eno1.42=v42.network")}, "macvtap eno1.42 bridge; ; 10-esxodus-macvtap; "},
		{"VLAN -1, of a broken host", []func(*world){vlan(-1), lan}, "macvtap eno1 bridge; host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"trunk", []func(*world){vlan(4095), lan}, "macvtap eno1 bridge; trunk! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"trunk to a bridge", []func(*world){vlan(4095), to("bridge:br0")}, "bridge br0; bridge; ; "},
		{"trunk to nothing", []func(*world){vlan(4095), to("none")}, "none; ; ; "},
		{"a long name and VLAN 4000", []func(*world){vlan(4000), uplinks("vmnic0=enp129s0f1np1"), files("enp129s0f1np1=lan.network")}, "macvtap vlan4000-* bridge; ; 10-esxodus-macvtap 20-vlan4000-* lan.network.d/vlan4000-*; "},
		{"a bond's VLAN", []func(*world){vlan(42), uplinks("vSwitch0=bond0"), files("bond0=bond0.network")}, "macvtap bond0.42 bridge; ; 10-esxodus-macvtap 20-bond0.42 bond0.network.d/bond0.42; "},
		{"mapped to macvtap", []func(*world){to("macvtap:eno9")}, "macvtap eno9 bridge; ; 10-esxodus-macvtap; "},
		{"mapped to macvtap on a VLAN", []func(*world){vlan(42), to("macvtap:eno9.7")}, "macvtap eno9.7 bridge; ; 10-esxodus-macvtap; "},
		{"private", []func(*world){to("macvtap:eno9,private")}, "macvtap eno9 private; mode; 10-esxodus-macvtap; "},
		{"vepa", []func(*world){to("macvtap:eno9,vepa")}, "macvtap eno9 vepa; mode; 10-esxodus-macvtap; "},
		{"passthrough", []func(*world){to("macvtap:eno9,passthrough")}, "macvtap eno9 passthrough; mode; 10-esxodus-macvtap; "},
		{"the usual mode, asked for", []func(*world){to("macvtap:eno9,bridge")}, "macvtap eno9 bridge; ; 10-esxodus-macvtap; "},
		{"a bridge", []func(*world){to("bridge:br0")}, "bridge br0; bridge; ; "},
		{"a bridge at 1 Gbit/s", []func(*world){to("bridge:br0"), speed(1000)}, "bridge br0; bridge; ; "},
		{"a bridge at 10 Gbit/s", []func(*world){to("bridge:br0"), speed(10000)}, "bridge br0; bridge!; ; "},
		{"a bridge of a fast standby", []func(*world){to("bridge:br0"), team("", "vmnic0", "vmnic1"), func(w *world) { w.n.Uplinks[1].SpeedMbps = 25000 }}, "bridge br0; bridge!; ; "},
		{"nothing", []func(*world){to("none")}, "none; ; ; "},
		{"MAC changes allowed", []func(*world){lan, policy(func(p *inventory.Policy) { p.MACChanges = true })}, "macvtap eno1 bridge trust; host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"MAC changes allowed, mapped", []func(*world){to("macvtap:eno9"), policy(func(p *inventory.Policy) { p.MACChanges = true })}, "macvtap eno9 bridge trust; ; 10-esxodus-macvtap; "},
		{"MAC changes allowed, a bridge", []func(*world){to("bridge:br0"), policy(func(p *inventory.Policy) { p.MACChanges = true })}, "bridge br0; bridge; ; "},
		{"promiscuous", []func(*world){lan, policy(func(p *inventory.Policy) { p.Promiscuous = true })}, "macvtap eno1 bridge; promiscuous! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"promiscuous, a bridge", []func(*world){to("bridge:br0"), policy(func(p *inventory.Policy) { p.Promiscuous = true })}, "bridge br0; bridge; ; "},
		{"forged transmits rejected", []func(*world){lan, policy(func(p *inventory.Policy) { p.ForgedTransmits = false })}, "macvtap eno1 bridge; forged host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"forged transmits rejected, a bridge", []func(*world){to("bridge:br0"), policy(func(p *inventory.Policy) { p.ForgedTransmits = false })}, "bridge br0; bridge; ; "},
		{"shaping", []func(*world){lan, policy(func(p *inventory.Policy) { p.Shaping = &inventory.Shaping{AverageBitsPerSecond: 1e8} })}, "macvtap eno1 bridge shaped; host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"shaping to nothing", []func(*world){to("none"), policy(func(p *inventory.Policy) { p.Shaping = &inventory.Shaping{AverageBitsPerSecond: 1e8} })}, "none shaped; ; ; "},
		{"two uplinks, one named", []func(*world){lan, team("loadbalance_srcid", "vmnic0", "vmnic1")}, "macvtap eno1 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"two uplinks, the second named", []func(*world){team("loadbalance_srcid", "vmnic0", "vmnic1"), uplinks("vmnic1=eno2"), files("eno2=lan.network")}, "macvtap eno2 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno2"},
		{"two uplinks, both named: by port", []func(*world){team("loadbalance_srcid", "vmnic0", "vmnic1"), uplinks("vmnic0=eno1", "vmnic1=eno2"), lan}, "macvtap eno1 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno1 40-bond-vSwitch0:active-backup"},
		{"two uplinks, both named: by MAC", []func(*world){team("loadbalance_srcmac", "vmnic0", "vmnic1"), uplinks("vmnic0=eno1", "vmnic1=eno2"), lan}, "macvtap eno1 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno1 40-bond-vSwitch0:active-backup"},
		{"two uplinks, both named: by load", []func(*world){team("loadbalance_loadbased", "vmnic0", "vmnic1"), uplinks("vmnic0=eno1", "vmnic1=eno2"), lan}, "macvtap eno1 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno1 40-bond-vSwitch0:active-backup"},
		{"two uplinks, both named: by IP", []func(*world){team("loadbalance_ip", "vmnic0", "vmnic1"), uplinks("vmnic0=eno1", "vmnic1=eno2"), lan}, "macvtap eno1 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno1 40-bond-vSwitch0:balance-xor"},
		{"two uplinks, both named: LACP", []func(*world){team("lacp", "vmnic0", "vmnic1"), uplinks("vmnic0=eno1", "vmnic1=eno2"), lan}, "macvtap eno1 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno1 40-bond-vSwitch0:802.3ad"},
		{"two uplinks, both named: an order", []func(*world){team("failover_explicit", "vmnic1", "vmnic0"), uplinks("vmnic0=eno1", "vmnic1=eno2"), files("eno2=lan.network")}, "macvtap eno2 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno2 40-bond-vSwitch0:active-backup:stay:eno2"},
		{"an order with failback", []func(*world){team("failover_explicit", "vmnic1", "vmnic0"), uplinks("vmnic0=eno1", "vmnic1=eno2"), files("eno2=lan.network"), policy(func(p *inventory.Policy) { p.Failback = true })}, "macvtap eno2 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno2 40-bond-vSwitch0:active-backup:eno2"},
		{"both named the same", []func(*world){team("loadbalance_ip", "vmnic0", "vmnic1"), uplinks("vmnic0=bond0", "vmnic1=bond0"), files("bond0=b.network")}, "macvtap bond0 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-bond0"},
		{"a bond for the vSwitch", []func(*world){team("loadbalance_ip", "vmnic0", "vmnic1"), uplinks("vSwitch0=bond0"), files("bond0=b.network")}, "macvtap bond0 bridge; host-guest teaming; 10-esxodus-macvtap; 30-host-bond0"},
		{"a bond for the vSwitch, uplinks named too", []func(*world){team("loadbalance_ip", "vmnic0", "vmnic1"), uplinks("vSwitch0=bond0", "vmnic0=eno1", "vmnic1=eno2"), files("bond0=b.network")}, "macvtap bond0 bridge; host-guest teaming; 10-esxodus-macvtap; 30-host-bond0"},
		{"one interface for all", []func(*world){team("loadbalance_ip", "vmnic0", "vmnic1"), uplinks("=bond0"), files("bond0=b.network")}, "macvtap bond0 bridge; host-guest teaming; 10-esxodus-macvtap; 30-host-bond0"},
		{"active and standby", []func(*world){lan, policy(func(p *inventory.Policy) { p.Standby = []string{"vmnic1"} })}, "macvtap eno1 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"only a standby is named", []func(*world){policy(func(p *inventory.Policy) { p.Standby = []string{"vmnic1"} }), uplinks("vmnic1=eno2"), files("eno2=lan.network")}, "macvtap eno2 bridge; teaming! host-guest; 10-esxodus-macvtap; 30-host-eno2"},
		{"the policy names no uplink", []func(*world){lan, policy(func(p *inventory.Policy) { p.Active = nil })}, "macvtap eno1 bridge; host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"no uplink of this host is named", []func(*world){uplinks()}, "; unmapped!!; ; "},
		{"another uplink is named", []func(*world){uplinks("vmnic1=eno2")}, "; unmapped!!; ; "},
		{"an uplink that isn't there is named", []func(*world){uplinks("vmnic0=eno1", "vmnic7=eno7"), lan}, "macvtap eno1 bridge; unused! host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"a vSwitch without uplinks", []func(*world){isolated}, "macvtap esx-vSwitch0 bridge; isolated; 10-esxodus-macvtap 20-esx-vSwitch0; "},
		{"a vSwitch without uplinks, VLAN 5", []func(*world){isolated, vlan(5)}, "macvtap esx-vSwitch0.5 bridge; isolated; 10-esxodus-macvtap 20-esx-vSwitch0.5; "},
		{"a vSwitch without uplinks, a trunk", []func(*world){isolated, vlan(4095)}, "macvtap esx-* bridge; trunk! isolated; 10-esxodus-macvtap 20-esx-*; "},
		{"a vSwitch without uplinks, which gets one", []func(*world){isolated, uplinks("vSwitch0=eno5"), files("eno5=x.network")}, "macvtap eno5 bridge; host-guest; 10-esxodus-macvtap; 30-host-eno5"},
		{"a vSwitch without uplinks, mapped", []func(*world){isolated, to("macvtap:eno9")}, "macvtap eno9 bridge; ; 10-esxodus-macvtap; "},
		{"a vSwitch without uplinks, promiscuous", []func(*world){isolated, policy(func(p *inventory.Policy) { p.Promiscuous = true })}, "macvtap esx-vSwitch0 bridge; promiscuous! isolated; 10-esxodus-macvtap 20-esx-vSwitch0; "},
		{"jumbo frames", []func(*world){lan, mtu(9000)}, "macvtap eno1 bridge 9000; mtu! host-guest; 10-esxodus-macvtap; 30-host-eno1 lan.network.d/mtu-09000"},
		{"jumbo frames in a VLAN", []func(*world){lan, mtu(9000), vlan(42)}, "macvtap eno1.42 bridge 9000; mtu!; 10-esxodus-macvtap 20-eno1.42 lan.network.d/eno1.42; 20-eno1.42.network.d/mtu-09000 lan.network.d/mtu-09000"},
		{"jumbo frames to a bridge", []func(*world){to("bridge:br0"), mtu(9000)}, "bridge br0 9000; bridge; ; "},
		{"jumbo frames without uplinks", []func(*world){isolated, mtu(9000)}, "macvtap esx-vSwitch0 bridge 9000; isolated; 10-esxodus-macvtap 20-esx-vSwitch0; "},
		{"small frames in a VLAN", []func(*world){lan, mtu(1400), vlan(42)}, "macvtap eno1.42 bridge 1400; ; 10-esxodus-macvtap 20-eno1.42 lan.network.d/eno1.42; "},
		{"an MTU that is none", []func(*world){lan, mtu(70000)}, "macvtap eno1 bridge; host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"a port group that isn't there", []func(*world){gone}, "; portGroup!!; ; "},
		{"one that isn't there, mapped", []func(*world){gone, to("macvtap:eno9")}, "macvtap eno9 bridge; ; 10-esxodus-macvtap; "},
		{"a distributed one, mapped to a bridge", []func(*world){gone, to("bridge:br0")}, "bridge br0; bridge; ; "},
		{"one that isn't there, to nothing", []func(*world){gone, to("none")}, "none; ; ; "},
		{"a name with spaces and quotes", []func(*world){lan, func(w *world) { w.n.VSwitches[0].Name, pg(w).VSwitch = `v "x" %s`, `v "x" %s` }}, "macvtap eno1 bridge; host-guest; 10-esxodus-macvtap; 30-host-eno1"},
		{"without uplinks, a vSwitch with a dot", []func(*world){isolated, func(w *world) { w.n.VSwitches[0].Name, pg(w).VSwitch = "a.5", "a.5" }}, "macvtap esx-* bridge; isolated; 10-esxodus-macvtap 20-esx-*; "},
		{"the host's macvlan is there already", []func(*world){files("eno1=lan.network", "host-eno1=m.network")}, "macvtap eno1 bridge; host-guest; 10-esxodus-macvtap; "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{
				n: &inventory.Network{
					VSwitches:  []inventory.VSwitch{{Name: "vSwitch0", MTU: 1500, Uplinks: []string{"vmnic0"}}},
					PortGroups: []inventory.PortGroup{{Name: "PG", VSwitch: "vSwitch0", Policy: inventory.Policy{ForgedTransmits: true, Active: []string{"vmnic0"}}}},
					Uplinks:    []inventory.Uplink{{Device: "vmnic0"}, {Device: "vmnic1"}},
				},
				o: Options{Uplinks: map[string]string{"vmnic0": "eno1"}},
			}
			for _, change := range tt.changes {
				change(w)
			}
			p, err := New(w.n, []string{"PG"}, w.o)
			if err != nil {
				t.Fatal(err)
			}
			got := situation(p)
			if parts := strings.Split(tt.want, "*"); len(parts) > 1 { // a hash stands there
				rest := got
				for _, part := range parts {
					_, after, ok := strings.Cut(rest, part)
					if !ok {
						t.Fatalf("got  %s\nwant %s", got, tt.want)
					}
					rest = after
				}
				return
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// situation is a plan in one line: the attachment, the concerns with a mark for a
// warning and two for a blocker, the units and the optional ones.
func situation(p Plan) string {
	out := ""
	for _, a := range p.Attachments {
		out = strings.TrimRight(fmt.Sprintf("%s %s %s", a.Mode, a.Device, a.MacvtapMode+a.Driver), " ")
		if a.Mode == SRIOV && a.VLAN > 0 {
			out += fmt.Sprintf(" %d", a.VLAN)
		}
		if a.TrustGuest {
			out += " trust"
		}
		if a.Shaping != nil {
			out += " shaped"
		}
		if a.MTU > 0 {
			out += fmt.Sprintf(" %d", a.MTU)
		}
	}
	var concerns []string
	for _, c := range p.Concerns {
		mark := map[string]string{"warning": "!", "blocker": "!!"}[string(c.Severity)]
		concerns = append(concerns, strings.TrimPrefix(c.ID, "network.")+mark)
	}
	return fmt.Sprintf("%s; %s; %s; %s", out, strings.Join(concerns, " "), units(p.Units), units(p.Optional))
}

// units are the names of files, those of a device once, and a bond's mode.
func units(us []Unit) string {
	var out []string
	primary := ""
	for _, u := range us {
		name := strings.NewReplacer("20-esxodus-", "20-", "30-esxodus-", "30-", "40-esxodus-", "40-", "zz-esxodus-", "zz-", ".d/esxodus-", ".d/", ".netdev", "", ".conf", "").Replace(u.Name)
		if base, ok := strings.CutSuffix(name, ".network"); ok {
			name = base
		}
		if strings.HasPrefix(name, "40-") {
			_, mode, ok := strings.Cut(u.Text, "Mode=")
			if !ok {
				if strings.Contains(u.Text, "PrimarySlave=yes") {
					primary = ":" + name[strings.LastIndex(name, "-")+1:]
				}
				continue
			}
			mode, _, _ = strings.Cut(mode, "\n")
			name += ":" + mode
			if strings.Contains(u.Text, "PrimaryReselectPolicy=failure") {
				name += ":stay"
			}
		}
		if strings.Contains(name, ".d/host-") || slices.Contains(out, name) {
			continue
		}
		out = append(out, name)
	}
	return strings.Join(out, " ") + primary
}
