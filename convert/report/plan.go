package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

// Plan prints a plan's view as text.
func Plan(w io.Writer, f Form, v View) error {
	p := f.page(w)
	p.wrapped("plan: ", v.From)
	p.wrapped("  to: ", v.To)
	p.wrapped("      ", v.tally())
	if v.Stories {
		for i := range v.VMs {
			story(p, &v.VMs[i])
		}
	} else {
		list(p, v.VMs)
		findings(p, &v)
	}
	networking(p, &v)
	if v.Stories && len(v.Concerns) > 0 {
		p.line("")
		concerns(p, "", v.Concerns)
	}
	nextCommands(p, &v)
	return p.err
}

// tally sums the VMs up.
func (v *View) tally() string {
	var states []string
	for _, s := range []State{Ready, Attention, Blocked} {
		switch n := v.in(s); {
		case n > 1 && s == Attention:
			states = append(states, fmt.Sprintf("%d need attention", n))
		case n > 0:
			states = append(states, fmt.Sprintf("%d %s", n, s))
		}
	}
	return fmt.Sprintf("%s; %s of %s to read (%s allocated on the datastore), at most %s on the target; about %s at %s",
		strings.Join(states, ", "), fit.Bytes(v.Sizes.Read()), fit.Bytes(v.Sizes.Provisioned), fit.Bytes(v.Sizes.Allocated), fit.Bytes(v.Sizes.Target), v.Duration, v.Rate)
}

// list prints each VM on a line.
func list(p *page, vms []VMView) {
	heads := []column{{head: "VM", cut: true}, {head: "STATE"}, {head: "SIZE"}, {head: "USED"}, {head: "LAYOUT"}, {head: "NETWORK", cut: true}}
	several := len(vms) > 0 && vms[0].Host != ""
	if several {
		heads = slices.Insert(heads, 1, column{head: "HOST", cut: true})
	}
	var rows [][]string
	for _, vm := range vms {
		row := []string{vm.Name, string(vm.State), fit.Bytes(vm.Size), fit.Bytes(vm.Read), vm.Layout, vm.Network}
		if several {
			row = slices.Insert(row, 1, vm.Host)
		}
		rows = append(rows, row)
	}
	p.line("")
	p.table(heads, rows)
}

// findings prints the blockers and warnings of all VMs. What to do about a VM's
// warning stands in its story.
func findings(p *page, v *View) {
	if len(v.Findings) > 0 {
		p.line("")
	}
	for _, f := range v.Findings {
		text := f.ID
		switch {
		case len(f.VMs) == len(v.VMs):
			text += " (all VMs)"
		case len(f.VMs) > 0:
			text += " (" + strings.Join(fold(f.VMs, mostShown, "more"), ", ") + ")"
		}
		advice := f.Advice
		if f.Severity == ledger.Warning && len(f.VMs) > 0 {
			advice = ""
		}
		finding(p, "", f.Severity, text+": "+strings.Join(fold(f.Evidence, 2, "more like it"), "; "), advice, f.Acknowledged)
	}
	if v.Notes > 0 {
		p.wrapped("", fmt.Sprintf("Name a VM to see what to do about its warnings. Notes, which stop nothing: %d.", v.Notes))
	}
}

func finding(p *page, indent string, severity ledger.Severity, text, advice, acknowledged string) {
	head := fmt.Sprintf("%s%-8s ", indent, strings.ToUpper(string(severity)))
	p.wrapped(head, text)
	switch {
	case acknowledged != "":
		p.wrapped(strings.Repeat(" ", len(head)), "acknowledged: "+acknowledged)
	case advice != "":
		p.wrapped(strings.Repeat(" ", len(head)), "do: "+p.complete(advice))
	}
}

func concerns(p *page, indent string, cs []ledger.Concern) {
	for _, c := range cs {
		text := c.ID
		if c.Subject != "" {
			text += " (" + c.Subject + ")"
		}
		finding(p, indent, c.Severity, text+": "+c.Evidence, c.Advice, c.Acknowledged)
	}
}

// story prints all of one VM: first what stands in its way, then what is done.
func story(p *page, v *VMView) {
	isNote := func(c ledger.Concern) bool { return c.Severity == ledger.Note }
	p.line("")
	p.wrapped("", fmt.Sprintf("== %s (%s) -> domain %s: %s", v.Name, strings.TrimSuffix("id "+v.ID+" on "+v.Host, " on "), v.Domain, v.State))
	concerns(p, "  ", slices.DeleteFunc(slices.Clone(v.Concerns), isNote))
	p.wrapped("  guest    ", v.Guest)
	p.each("    part   ", v.Parts)
	p.each("    note   ", v.GuestNotes)
	disks(p, v)
	p.each("  used     ", v.Used)
	p.each("  nic      ", v.NICs)
	for i, s := range v.Steps {
		p.wrapped(fmt.Sprintf("  step %-4d", i+1), s)
	}
	if v.Conversion != nil {
		changes(p, v.Conversion)
	}
	fated(p, v.Ledger)
	if v.Hidden > 0 {
		p.wrapped("  ledger   ", fmt.Sprintf("properties that stay as they are or are ESXi's own: %d (--full)", v.Hidden))
	}
	concerns(p, "  ", slices.DeleteFunc(slices.Clone(v.Concerns), func(c ledger.Concern) bool { return !isNote(c) }))
}

// disks prints each disk's way to its volume, and how its content moves.
func disks(p *page, v *VMView) {
	for _, d := range v.Disks {
		p.wrapped("  disk     ", d.From)
		p.wrapped("           ", "-> "+d.To)
		p.wrapped("           ", "layout "+d.Layout)
	}
	p.each("    move   ", v.Moves)
	p.each("    layout ", v.LayoutNotes)
}

// changes prints what changes inside the guest, files as diffs.
func changes(p *page, c *ConversionView) {
	p.each("  install  ", c.Install)
	if len(c.Remove) > 0 {
		p.wrapped("  remove   ", strings.Join(c.Remove, ", "))
	}
	for _, e := range c.Edits {
		p.wrapped("  ", e.Head)
		p.verbatim(e.Diff)
	}
	p.wrapped("  bring    ", strings.Join(c.Bring, ", "))
	p.each("  initrd   ", c.Initrds)
	p.each("  run      ", c.Run)
	if c.Touched > 0 {
		p.wrapped("  touches  ", fmt.Sprintf("what follows from these changes: packages' files and records, logs, directories; %s of files (--full)", fit.Count(c.Touched, "pattern")))
	}
	for _, t := range c.Touches {
		p.wrapped("  touches  ", strings.Join(fold(t.Texts, mostShown, inJSON), " ")+" ("+t.Reason+")")
	}
}

// fated prints a ledger. What shares a fate and a reason shares a paragraph.
func fated(p *page, fs []Fated) {
	for _, f := range fs {
		texts := f.Texts
		if f.Reason != "" {
			texts = fold(texts, mostShown, inJSON)
		}
		text := strings.Join(texts, "; ")
		if f.Reason != "" {
			text += " (" + f.Reason + ")"
		}
		p.wrapped(fmt.Sprintf("  %-8s ", f.Fate), text)
	}
}

// mostShown is how many entries of one reason the text shows; JSON has all, as
// inJSON says.
const (
	mostShown = 6
	inJSON    = "more like these (--output json)"
)

// fold cuts a long list and says so.
func fold(texts []string, most int, more string) []string {
	if len(texts) <= most {
		return texts
	}
	return append(slices.Clone(texts[:most-1]), fmt.Sprintf("and %d %s", len(texts)-most+1, more))
}

func networking(p *page, v *View) {
	units(p, "systemd-networkd units that the interfaces need (--units DIR writes them)", v.Units, v.Full)
	units(p, "optional, yours to decide on; each file says what it does (DIR/optional)", v.Optional, v.Full)
	if v.Stories {
		fated(p, v.Ledger)
	}
}

// units prints units' texts, or only their names.
func units(p *page, head string, us []UnitView, full bool) {
	if len(us) == 0 {
		return
	}
	p.line("")
	if !full {
		names := make([]string, len(us))
		for i, u := range us {
			names[i] = u.Name
		}
		p.wrapped("  ", head+": "+strings.Join(names, ", "))
		return
	}
	p.wrapped("", head)
	for _, u := range us {
		p.line("  /etc/systemd/network/%s", fit.TerminalLine(u.Name))
		p.verbatim(u.Lines)
	}
}

// nextCommands prints what to do next: each command on a line of its own, however
// long, so that it can be pasted.
func nextCommands(p *page, v *View) {
	if n := v.in(Blocked); n > 0 {
		p.line("")
		p.wrapped("", fmt.Sprintf("%d of %s can't be converted yet: do what BLOCKER says, then plan again", n, fit.Count(len(v.VMs), "VM")))
	}
	if len(v.Next) > 0 {
		p.line("")
		p.line("next")
	}
	for _, c := range v.Next {
		p.wrapped("  ", c.Why+":")
		for line := range strings.SplitSeq(p.complete(c.Line), ", then ") {
			p.line("    %s", fit.TerminalLine(strings.Trim(line, "`")))
		}
	}
}
