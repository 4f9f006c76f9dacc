package plan

import (
	"slices"
	"strings"
	"testing"

	"esxodus/convert/ledger"
	"esxodus/convert/plan/plantest"
	"esxodus/inventory"
	"esxodus/network"
)

// TestHostAsked: where the target says what configures its links, VLAN devices are
// attached in the right file, and those that nothing makes are named.
func TestHostAsked(t *testing.T) {
	here := network.Host{
		Networkd: network.Networkd{Running: true, Version: 252},
		Links:    []network.Link{{Name: "eno1", Networkd: network.NetworkdOfLink{File: "/etc/systemd/network/lan.network"}}},
	}
	netdev := network.File{Path: network.Dir + "/x.netdev", Text: "[NetDev]\nName=eno1.42\nKind=vlan\n"}
	parent := network.File{Path: network.Dir + "/lan.network", Text: "[Network]\nVLAN=eno1.42\n"}
	for _, tt := range []struct {
		name     string
		here     *network.Host
		files    []network.File
		dropIn   string
		fleeting bool
	}{
		{"not asked", nil, nil, "zz-esxodus-eno1.network.d/esxodus-eno1.42.conf", false},
		{"asked", &here, nil, "lan.network.d/esxodus-eno1.42.conf", true},
		{"made already", &here, []network.File{netdev, parent}, "lan.network.d/esxodus-eno1.42.conf", false},
	} {
		h := plantest.Host()
		pg := &h.Network.PortGroups[0]
		pg.VLAN, h.VMs[0].NICs[0].PortGroup = 42, pg.Name
		h.VMs[0].NICs = h.VMs[0].NICs[:1]
		h.Network.VSwitches = []inventory.VSwitch{{Name: pg.VSwitch, MTU: 1500, Uplinks: []string{"vmnic0"}}}
		o := testOptions(t)
		o.Network.Map, o.Network.Uplinks = nil, map[string]string{"": "eno1"}
		f := Facts{Host: &h, Target: TargetFacts{VirtTypes: []string{"qemu"}}}
		if tt.here != nil {
			asked := *tt.here
			asked.Files = tt.files
			f.Network = &asked
		}
		p := planned(t, f, o)
		if !slices.ContainsFunc(p.Network.Units, func(u network.Unit) bool { return u.Name == tt.dropIn }) {
			t.Errorf("%s: no unit %s among %+v", tt.name, tt.dropIn, p.Network.Units)
		}
		named := slices.ContainsFunc(p.Concerns, func(c ledger.Concern) bool {
			return c.ID == ConcernFleeting && c.Severity == ledger.Warning && c.Subject == "eno1.42" && strings.Contains(c.Advice, "`esxodus network apply`")
		})
		if named != tt.fleeting {
			t.Errorf("%s: eno1.42 is called fleeting: %v; want %v", tt.name, named, tt.fleeting)
		}
	}
}
