package report

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/plan"
	"esxodus/inventory/fit"
)

// DiskView is one disk's way to its volume.
type DiskView struct {
	From, To string
	Layout   string // the old one beside the new
}

func diskViews(v *plan.VMPlan) []DiskView {
	views := make([]DiskView, len(v.Disks))
	for i, d := range v.Disks {
		views[i] = DiskView{
			From:   fmt.Sprintf("%s %s %s%s", d.Address, fit.Bytes(d.Size), d.Path, via(&d)),
			To:     fmt.Sprintf("%s%s", d.Volume, grown(&v.Layout, i)),
			Layout: fmt.Sprintf("%s -> %s", oldLayout(v, d.Address), newLayout(v, i)),
		}
	}
	return views
}

// via is the way that a disk's bytes take, where it is another than usual.
func via(d *plan.Disk) string {
	switch o := d.Origin(); o.Way {
	case plan.WayFile:
		return ", via file: " + o.File
	case plan.WaySSH:
		return ", via SSH"
	case plan.WayNFC:
		return ", via a lease: " + o.File
	case plan.WayHTTPS:
	}
	return ""
}

// moves are the ways of a guest's file systems, if it gets a new layout.
func moves(v *plan.VMPlan) []string {
	if v.Layout.Kind == layout.Keep {
		return nil
	}
	texts := make([]string, len(v.Layout.Moves))
	for i, m := range v.Layout.Moves {
		texts[i] = move(m)
	}
	return texts
}

func grown(l *layout.Layout, i int) string {
	if i >= len(l.Disks) || l.Disks[i].Grown == 0 {
		return ""
	}
	return fmt.Sprintf(", larger by %s", fit.Bytes(l.Disks[i].Grown))
}

// oldLayout says how the source's disk is divided.
func oldLayout(v *plan.VMPlan, address string) string {
	for _, d := range v.Guest.Disks {
		if d.Address != address {
			continue
		}
		switch n := len(d.Partitions); {
		case d.Table == "none" && n == 1:
			return "the whole disk is " + orUnknown(d.Partitions[0].Content)
		case d.Table == "none":
			return "unknown"
		default:
			return d.Table + ", " + fit.Count(n, "partition")
		}
	}
	return "unknown"
}

// newLayout says what the target's disk is.
func newLayout(v *plan.VMPlan, i int) string {
	if i >= len(v.Layout.Disks) {
		return "unknown"
	}
	switch d := v.Layout.Disks[i]; d.Kind {
	case layout.LVM:
		for _, g := range v.Layout.Groups {
			for _, pv := range g.PVs {
				if pv.Disk == d.Address {
					return fmt.Sprintf("lvm: the whole disk is a physical volume of %s, extents of %s from %s on", g.Name, fit.Bytes(g.ExtentSize), fit.Bytes(pv.Start))
				}
			}
		}
		return "lvm"
	case layout.Plain:
		return "plain: the whole disk is one file system"
	default:
		return "keep: as it is"
	}
}

// move is one file system's old place and its new one.
func move(m layout.Move) string {
	text := m.Content
	if m.Mount != "" {
		text += " " + m.Mount
	}
	text += fmt.Sprintf(", %s: %s at %d -> ", fit.Bytes(m.Length), m.From, m.FromOffset)
	if m.To == "" {
		return text + "left out: " + m.Reason
	}
	text += fmt.Sprintf("%s at %d", m.To, m.ToOffset)
	if m.ToDisk != "" && m.ToDisk != m.FromDisk {
		text += " of " + m.ToDisk
	}
	if gone := strings.Join(m.Names, ", "); gone != "" {
		text += "; no longer " + gone
	}
	return text
}

// ConversionView is what changes inside a guest.
type ConversionView struct {
	Install, Remove []string
	Edits           []EditView
	Bring           []string // programs
	Initrds         []string
	Run             []string // commands
	Touches         []Reasoned
	Touched         int // patterns of files that are left out of Touches
}

// EditView is a change of one file as a diff.
type EditView struct {
	Head string
	Diff []string // lines
}

// Reasoned are texts that share a reason.
type Reasoned struct {
	Texts  []string
	Reason string
}

// conversion returns nil where nothing changes inside the guest.
func conversion(v *plan.VMPlan, full bool) *ConversionView {
	c := v.Conversion
	if c == nil {
		return nil
	}
	view := &ConversionView{Remove: c.Remove}
	for _, k := range v.Packages.Packages {
		version := k.Version
		if k.Old != "" {
			version += " in place of " + k.Old
		}
		view.Install = append(view.Install, fmt.Sprintf("%s %s, %s (%s)", k.Name, version, fit.Bytes(k.Size), k.From))
	}
	for _, e := range c.Edits {
		head, rest, _ := strings.Cut(e.Diff(), "\n")
		view.Edits = append(view.Edits, EditView{Head: head, Diff: textLines(rest)})
	}
	for _, b := range c.Programs {
		view.Bring = append(view.Bring, b.Path)
	}
	for _, o := range c.Overlays {
		view.Initrds = append(view.Initrds, fmt.Sprintf("%s gets %s", o.Initrd, o.Reason))
	}
	for _, argv := range append(slices.Clone(c.Commands), c.Loader) {
		if len(argv) > 0 {
			view.Run = append(view.Run, strings.Join(argv, " "))
		}
	}
	if full {
		view.Touches = touches(c.Touches)
	} else {
		view.Touched = len(c.Touches)
	}
	return view
}

func textLines(text string) []string {
	var lines []string
	for l := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(l, "\n"))
	}
	return lines
}

// touches are what else changes, by reason.
func touches(ts []guest.Touch) []Reasoned {
	var out []Reasoned
	for _, t := range ts {
		out = addReasoned(out, t.Pattern, t.Reason)
	}
	return out
}

// addReasoned puts a text with those of the same reason.
func addReasoned(list []Reasoned, text, reason string) []Reasoned {
	for i := range list {
		if list[i].Reason == reason {
			list[i].Texts = append(list[i].Texts, text)
			return list
		}
	}
	return append(list, Reasoned{Texts: []string{text}, Reason: reason})
}
