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

// disks prints each disk's way to its volume, the old layout beside the new.
func disks(p *page, v *plan.VMPlan) {
	for i, d := range v.Disks {
		p.wrapped("  disk     ", fmt.Sprintf("%s %s %s", d.Address, Bytes(d.Size), d.Path))
		p.wrapped("           ", fmt.Sprintf("-> %s%s", d.Volume, grown(&v.Layout, i)))
		p.wrapped("           ", fmt.Sprintf("layout %s -> %s", oldLayout(v, d.Address), newLayout(v, i)))
	}
	if v.Layout.Kind != layout.Keep {
		for _, m := range v.Layout.Moves {
			p.wrapped("    move   ", move(m))
		}
	}
	for _, r := range slices.Concat(v.Layout.Reasons, v.Layout.Notes) {
		p.wrapped("    layout ", r)
	}
}

func grown(l *layout.Layout, i int) string {
	if i >= len(l.Disks) || l.Disks[i].Grown == 0 {
		return ""
	}
	return fmt.Sprintf(", larger by %s", Bytes(l.Disks[i].Grown))
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
			return fmt.Sprintf("%s, %d partition(s)", d.Table, n)
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
					return fmt.Sprintf("lvm: the whole disk is a physical volume of %s, extents of %s from %s on", g.Name, Bytes(g.ExtentSize), Bytes(pv.Start))
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
	text += fmt.Sprintf(", %s: %s at %d -> ", Bytes(m.Length), m.From, m.FromOffset)
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

// conversion prints what changes inside the guest, files as diffs.
func conversion(p *page, v *plan.VMPlan) {
	c := v.Conversion
	if c == nil {
		return
	}
	for _, k := range v.Packages.Packages {
		version := k.Version
		if k.Old != "" {
			version += " in place of " + k.Old
		}
		p.wrapped("  install  ", fmt.Sprintf("%s %s, %s (%s)", k.Name, version, Bytes(k.Size), k.From))
	}
	if len(c.Remove) > 0 {
		p.wrapped("  remove   ", strings.Join(c.Remove, ", "))
	}
	for _, e := range c.Edits {
		head, rest, _ := strings.Cut(e.Diff(), "\n")
		p.wrapped("  ", head)
		for l := range strings.Lines(rest) {
			p.line("    | %s", fit.TerminalLine(strings.TrimRight(l, "\n")))
		}
	}
	var programs []string
	for _, b := range c.Programs {
		programs = append(programs, b.Path)
	}
	p.wrapped("  bring    ", strings.Join(programs, ", "))
	for _, o := range c.Overlays {
		p.wrapped("  initrd   ", fmt.Sprintf("%s gets %s", o.Initrd, o.Reason))
	}
	for _, argv := range append(slices.Clone(c.Commands), c.Loader) {
		p.wrapped("  run      ", strings.Join(argv, " "))
	}
	touches(p, c.Touches)
}

// touches prints what else changes, for each reason the first of its patterns.
func touches(p *page, ts []guest.Touch) {
	var order []string
	byReason := make(map[string][]string)
	for _, t := range ts {
		if byReason[t.Reason] == nil {
			order = append(order, t.Reason)
		}
		byReason[t.Reason] = append(byReason[t.Reason], t.Pattern)
	}
	for _, why := range order {
		p.wrapped("  touches  ", strings.Join(fold(byReason[why]), " ")+" ("+why+")")
	}
}
