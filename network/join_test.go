package network

import (
	"slices"
	"strings"
	"testing"
)

// TestJoin: port groups of one name keep apart, what two hosts both need here is there
// once, and what would have to differ is refused.
func TestJoin(t *testing.T) {
	unit := func(name, text string) Unit { return Unit{Name: name, Text: text} }
	one := Plan{
		Attachments: []Attachment{{PortGroup: "VM Network", Mode: Macvtap, Device: "eno1"}, {PortGroup: "DMZ", Mode: Macvtap, Device: "eno1.10"}},
		Units:       []Unit{unit("b", "1"), unit("a", "1")}, Devices: []Device{{Name: "eno1.10", VLAN: 10}}, Pools: []Pool{{Device: "eno2"}},
	}
	two := Plan{
		Attachments: []Attachment{{PortGroup: "VM Network", Mode: Macvtap, Device: "eno1.20"}},
		Units:       []Unit{unit("c", "1"), unit("b", "1")}, Devices: []Device{{Name: "eno1.20", VLAN: 20}}, Pools: []Pool{{Device: "eno2"}},
	}
	p, err := Join(one, two)
	if err != nil || !slices.Equal(p.Units, []Unit{unit("a", "1"), unit("b", "1"), unit("c", "1")}) || len(p.Devices) != 2 || len(p.Pools) != 1 {
		t.Errorf("%v: %+v", err, p)
	}
	for from, want := range map[int]string{0: "eno1", 1: "eno1.20"} {
		of := p.Of(from)
		if a, _ := of.Attachment("VM Network"); a.Device != want || len(of.Attachments) != 2-from {
			t.Errorf("source %d: %+v; want %s", from, of.Attachments, want)
		}
	}
	if _, known := one.Attachment("DMZ"); !known || one.Attachments[0].Source != 0 || two.Attachments[0].Source != 0 {
		t.Error("what was joined has changed")
	}
	for _, other := range []Plan{{Units: []Unit{unit("a", "2")}}, {Devices: []Device{{Name: "eno1.10", VLAN: 11}}}, {Pools: []Pool{{Device: "eno2", Count: 3}}}} {
		if _, err := Join(one, other); err == nil || !strings.Contains(err.Error(), "plan these hosts apart") {
			t.Errorf("%+v: %v", other, err)
		}
	}
}
