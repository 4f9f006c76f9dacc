package plan

import (
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/ledger"
	"esxodus/convert/plan/plantest"
	"esxodus/inventory"
	"esxodus/network"
)

// TestDistributed: a distributed port group is attached by its key or its name, and
// a NIC that ESXi shows no network of stops nothing.
func TestDistributed(t *testing.T) {
	const key, name = "dvportgroup-1063", "Prod LAN"
	for _, tt := range []struct {
		name    string
		network map[string]string
		change  func(*inventory.NIC)
		device  string // that the NIC is attached to
		blocked string // in a blocker's evidence
		warned  string // in a warning's
	}{
		{"by its key", map[string]string{key: "macvtap:eno1.42"}, nil, "eno1.42", "", ""},
		{"by its name", map[string]string{name: "macvtap:eno1.42"}, nil, "eno1.42", "", ""},
		{"by both", map[string]string{key: "macvtap:eno1.42", name: "macvtap:eno1.43"}, nil, "eno1.42", "", ""},
		{"not at all", nil, nil, "", `nothing is planned for port group "dvportgroup-1063 (Prod LAN)"`, ""},
		{"to nothing", map[string]string{name: "none"}, nil, "", "", ""},
		{"no network", nil, func(n *inventory.NIC) { n.Distributed, n.NetworkName = "", "" }, "", "", "ESXi shows no network that it is connected to"},
		{"a misspelt one", map[string]string{"Prod LAm": "macvtap:eno1.42", key: "none"}, nil, "", "", "Prod LAm"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := plantest.Host()
			n := &h.VMs[0].NICs[0]
			n.PortGroup, n.Distributed, n.NetworkName = "", key, name
			if tt.change != nil {
				tt.change(n)
			}
			o := testOptions(t)
			o.Network.Map = tt.network
			p := planned(t, Facts{Host: &h, Target: TargetFacts{VirtTypes: []string{"qemu"}}}, o)
			var dom libvirtxml.Domain
			if err := dom.Unmarshal(p.VMs[0].Domain.XML); err != nil {
				t.Fatal(err)
			}
			device, nic := "", dom.Devices.Interfaces[0]
			if nic.Source.Direct != nil {
				device = nic.Source.Direct.Dev
			}
			if device != tt.device || (device == "") != (nic.Link != nil && nic.Link.State == "down") {
				t.Errorf("the NIC is on %q, link %+v; want it on %q", device, nic.Link, tt.device)
			}
			all := slices.Concat(p.Concerns, p.VMs[0].Concerns)
			told := func(s ledger.Severity, text string) bool {
				return slices.ContainsFunc(all, func(c ledger.Concern) bool {
					return c.Severity == s && strings.HasPrefix(c.ID, "n") && (text == "" || strings.Contains(c.Evidence+c.Subject, text))
				})
			}
			if told(ledger.Blocker, tt.blocked) != (tt.blocked != "") || told(ledger.Warning, tt.warned) != (tt.warned != "") {
				t.Errorf("concerns %+v; want a blocker with %q, a warning with %q", all, tt.blocked, tt.warned)
			}
		})
	}
}

// TestUnmapped: an uplink without an interface is one blocker, not one more for
// each NIC, whose advice would lose the VLAN.
func TestUnmapped(t *testing.T) {
	h := plantest.Host()
	o := testOptions(t)
	o.Network.Uplinks = nil
	p := planned(t, Facts{Host: &h, Target: TargetFacts{VirtTypes: []string{"qemu"}}}, o)
	var ids []string
	for _, c := range p.Blockers(0) {
		if strings.HasPrefix(c.ID, "n") {
			ids = append(ids, c.ID)
		}
	}
	if !slices.Equal(ids, []string{network.ConcernUnmapped}) {
		t.Errorf("blockers %q; want %s once", ids, network.ConcernUnmapped)
	}
}

// TestFunctions: of the hosts that domains may be on each has a virtual function for
// each NIC that needs one; what isn't connected needs none.
func TestFunctions(t *testing.T) {
	for _, tt := range []struct {
		name    string
		count   int
		off     bool // the last NIC isn't connected
		blocked bool
	}{
		{"enough", 2, false, false},
		{"too few", 1, false, true},
		{"enough for what is connected", 1, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := plantest.Host()
			vm := &h.VMs[0]
			second := vm.NICs[0]
			second.Index, second.MAC, second.StartConnected = second.Index+1, "00:0c:29:00:00:77", !tt.off
			vm.NICs = append(vm.NICs, second)
			o := testOptions(t)
			o.VMs = []string{vm.Name}
			o.Network.Map = map[string]string{vm.NICs[0].PortGroup: "sriov:eno1"}
			o.Network.Functions = map[string]int{"eno1": tt.count}
			for _, name := range []string{"kvm1", "kvm2"} {
				o.Network.Hosts = append(o.Network.Hosts, network.HostFunctions{Host: name, IOMMU: true, Adapters: []network.Adapter{{Name: "eno1", Driver: "igb", Max: 7}}})
			}
			p := planned(t, Facts{Host: &h, Target: TargetFacts{VirtTypes: []string{"qemu"}}}, o)
			if !strings.Contains(p.VMs[0].Domain.XML, `<source network="esxodus-vf-eno1">`) {
				t.Errorf("no virtual function: %s", p.VMs[0].Domain.XML)
			}
			short := slices.ContainsFunc(p.Blockers(0), func(c ledger.Concern) bool { return c.ID == network.ConcernShort })
			if short != tt.blocked {
				t.Errorf("blockers %+v; want one of too few: %v", p.Blockers(0), tt.blocked)
			}
		})
	}
}
