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
