package report

import (
	"fmt"
	"slices"

	"esxodus/inventory/fit"
	"esxodus/network"
)

// The map's measures, in SVG units. Its text is 13 units high in a fixed pitch of
// about 7.8 a column, so that boxColumns of them fit into a box.
const (
	boxWide, boxHigh = 176, 46
	gapWide, gapHigh = 40, 12
	boxColumns       = 20
	mapTop           = 34 // room for the columns' heads
	mapEdge          = 2  // room for the outermost lines' width
)

// wayMap is a drawing of the port groups' ways: a column for each stage, a box for
// what several may share, and lines between them.
type wayMap struct {
	Width, Height int
	Heads         []mapHead
	Boxes         []*mapBox
	Lines         []mapLine
}

type mapHead struct {
	X    int
	Text string
}

// mapBox is one thing of a way.
type mapBox struct {
	X, Y   int
	Title  string // in full
	Lines  []mapText
	Dashed bool // nothing is there
	Wrong  bool // something must be

	rows []int // those of the ways through it
}

// mapText is a line of a box, where it is in the drawing.
type mapText struct {
	X, Y int
	Text string
}

// mapLine joins two boxes.
type mapLine struct {
	Path string
}

// Wide and High are a box's size.
func (*mapBox) Wide() int { return boxWide }

// High is how high a box is.
func (*mapBox) High() int { return boxHigh }

// stop is a box that a way goes through. What has the same key is one box.
type stop struct {
	key           string
	first, second string // lines
	dashed, wrong bool
}

// stops are those of a way, one for each column.
func stops(row int, w *WayView) []stop {
	none := func(column, text string) stop {
		return stop{key: fmt.Sprintf("%s %d", column, row), first: text, dashed: true}
	}
	out := []stop{
		{key: w.VSwitch, first: w.VSwitch, second: "vSwitch"},
		{key: w.VSwitch + " " + w.PortGroup, first: w.PortGroup, second: fmt.Sprintf("%s, %s", fit.Count(w.NICs, "NIC"), fit.Count(len(w.Places), "VM"))},
		none("vlan", "no tag"), none("uplink", "–"),
		{key: string(w.Mode) + " " + w.Device, first: w.Device, second: string(w.Mode)},
	}
	if w.VSwitch == "" {
		out[0] = none("vSwitch", "not known")
	}
	if w.VLAN > 0 {
		out[2] = stop{key: fmt.Sprintf("%s %d", w.Uplink, w.VLAN), first: fmt.Sprintf("VLAN %d", w.VLAN)}
	}
	if w.Uplink != "" {
		out[3] = stop{key: w.Uplink, first: w.Uplink, second: "uplink"}
	}
	switch w.Mode {
	case network.None:
		out[4] = none("none", "link stays down")
	case "":
		out[4] = none("none", "not mapped yet")
		out[4].wrong = true
	case network.SRIOV:
		out[4].second = "virtual functions"
	case network.Macvtap, network.Bridge:
	}
	return out
}

// mapOf draws the ways; nil for none.
func mapOf(ways []WayView) *wayMap {
	if len(ways) == 0 {
		return nil
	}
	m := &wayMap{}
	columns := make([][]*mapBox, 0, 5)
	byKey := map[string]*mapBox{}
	for column, head := range []string{"ESXi", "port group", "VLAN", "this host", "domains' interface"} {
		x := mapEdge + column*(boxWide+gapWide)
		m.Heads = append(m.Heads, mapHead{x, head})
		m.Width = x + boxWide + mapEdge
		columns = append(columns, nil)
		for row := range ways {
			s := stops(row, &ways[row])[column]
			key := fmt.Sprintf("%d %s", column, s.key)
			b := byKey[key]
			if b == nil {
				b = newBox(x, s)
				byKey[key] = b
				columns[column] = append(columns[column], b)
			}
			b.rows = append(b.rows, row)
		}
	}
	for _, boxes := range columns {
		m.Height = max(m.Height, settle(boxes))
		m.Boxes = append(m.Boxes, boxes...)
	}
	m.Lines = joins(columns, len(ways))
	return m
}

// newBox makes a box, whose height is still to be found.
func newBox(x int, s stop) *mapBox {
	b := &mapBox{X: x, Title: s.first, Dashed: s.dashed, Wrong: s.wrong}
	for _, text := range []string{s.first, s.second} {
		if text != "" {
			b.Lines = append(b.Lines, mapText{X: x + 9, Text: Fit(text, boxColumns)})
		}
	}
	if s.second != "" {
		b.Title += " (" + s.second + ")"
	}
	return b
}

// settle places a column's boxes, each in the middle of its ways if there is room,
// and returns where the last one ends.
func settle(boxes []*mapBox) int {
	middle := func(b *mapBox) int {
		return (b.rows[0] + b.rows[len(b.rows)-1]) * (boxHigh + gapHigh) / 2
	}
	slices.SortStableFunc(boxes, func(a, b *mapBox) int { return middle(a) - middle(b) })
	end := 0
	for _, b := range boxes {
		b.Y = mapTop + max(middle(b), end)
		end = b.Y - mapTop + boxHigh + gapHigh
		for i := range b.Lines {
			b.Lines[i].Y = b.Y + boxHigh/2 + 5 - 9*(len(b.Lines)-1) + 18*i
		}
	}
	return mapTop + end
}

// joins are the lines between boxes of neighbouring columns that a way goes through,
// each drawn once.
func joins(columns [][]*mapBox, ways int) []mapLine {
	var out []mapLine
	seen := map[[2]*mapBox]bool{}
	for i := range columns[1:] {
		at := func(column, row int) *mapBox {
			for _, b := range columns[column] {
				if _, found := slices.BinarySearch(b.rows, row); found {
					return b
				}
			}
			return nil
		}
		for row := range ways {
			pair := [2]*mapBox{at(i, row), at(i+1, row)}
			if seen[pair] {
				continue
			}
			seen[pair] = true
			x, y, to := pair[0].X+boxWide, pair[0].Y+boxHigh/2, pair[1].Y+boxHigh/2
			out = append(out, mapLine{fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x, y, x+gapWide/2, y, x+gapWide/2, to, x+gapWide, to)})
		}
	}
	return out
}
