package report

import (
	"fmt"
	"strings"
	"testing"

	"esxodus/network"
)

// TestWayMap: boxes don't lie on each other or outside the drawing, texts fit into
// them, what is shared is one box, and each way can be followed.
func TestWayMap(t *testing.T) {
	t.Parallel()
	var ways []WayView
	for i := range 40 {
		ways = append(ways, WayView{
			VSwitch: fmt.Sprintf("vSwitch%d", i/9), PortGroup: strings.Repeat("データ", i%5+1) + fmt.Sprint(i), VLAN: i % 3 * 10,
			Uplink: fmt.Sprintf("eno%d", i%4), Device: fmt.Sprintf("eno%d.%d", i%4, i%3*10), Mode: network.Macvtap,
		})
	}
	ways = append(ways,
		WayView{PortGroup: "unmapped"}, WayView{PortGroup: "down", VSwitch: "vSwitch0", Mode: network.None},
		WayView{PortGroup: "bridged", VSwitch: "vSwitch0", Mode: network.Bridge, Device: "br0"},
		WayView{PortGroup: "fast", VSwitch: "vSwitch1", Mode: network.SRIOV, Device: "eno1", Uplink: "eno1", VLAN: 20},
	)
	m := mapOf(ways)
	for i, b := range m.Boxes {
		if b.X < 0 || b.Y < mapTop || b.X+boxWide > m.Width || b.Y+boxHigh > m.Height {
			t.Errorf("the box %q at %d, %d is outside of %d x %d", b.Title, b.X, b.Y, m.Width, m.Height)
		}
		for _, line := range b.Lines {
			if n := Width(line.Text); n > boxColumns || line.Y < b.Y || line.Y > b.Y+boxHigh {
				t.Errorf("%q, %d columns at %d, isn't in its box at %d", line.Text, n, line.Y, b.Y)
			}
		}
		for _, c := range m.Boxes[i+1:] {
			if b.X == c.X && b.Y < c.Y+boxHigh && c.Y < b.Y+boxHigh {
				t.Errorf("%q and %q lie on each other", b.Title, c.Title)
			}
		}
	}
	titles := map[string]int{}
	for _, b := range m.Boxes {
		titles[b.Title]++
	}
	for title, want := range map[string]int{"vSwitch0 (vSwitch)": 1, "eno1 (uplink)": 1, "not mapped yet": 1, "link stays down": 1, "br0 (bridge)": 1, "eno1 (virtual functions)": 1, "unmapped (0 NICs, 0 VMs)": 1, "VLAN 20": 4} {
		if titles[title] != want {
			t.Errorf("%d boxes are called %q, want %d", titles[title], title, want)
		}
	}
	from := map[string]bool{}
	for _, l := range m.Lines {
		from[strings.Split(l.Path, "C")[0]] = true
	}
	last := 4*(boxWide+gapWide) + mapEdge
	for _, b := range m.Boxes {
		if start := fmt.Sprintf("M%d %d", b.X+boxWide, b.Y+boxHigh/2); b.X != last && !from[start] {
			t.Errorf("nothing leads on from %q", b.Title)
		}
	}
}
