package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"esxodus/convert/batch"
	"esxodus/convert/cutover"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/inventory/fit"
)

// States prints how runs stand, one line each and more for what went wrong and
// what to do.
func States(w io.Writer, f Form, states []runs.State) error {
	p := f.page(w)
	if len(states) == 0 {
		p.line("no migration is recorded")
		return p.err
	}
	for _, s := range states {
		if s.Twice != "" {
			p.wrapped("!!! ", s.Twice)
		}
		phase := string(s.Phase)
		if s.Running {
			phase = "running"
		}
		steps := fmt.Sprintf("%d of %d steps, ", s.Done, s.Steps)
		if s.Phase == journal.PhaseRolledBack {
			steps = "" // none is left, which reads as if none had been undone
		}
		p.wrapped("", fmt.Sprintf("%s: %s, %s%s", s.Name, phase, steps, s.Updated.Local().Format(time.DateTime)))
		if s.Proof != "" {
			p.wrapped("  proof: ", brief(s.Proof))
			if s.Console != "" && s.Seen != plan.SawLogin {
				p.wrapped("  console: ", s.Console)
			}
		}
		p.cutover(s)
		p.some("  its power was cut: ", slices.DeleteFunc([]string{s.PowerCut}, func(why string) bool { return why == "" }))
		p.some("  note: ", s.Notes)
		p.some("  file system: ", s.Unsound())
		p.some("  volumes: ", s.Volumes)
		if s.Step != "" && !s.Running {
			p.wrapped("  left at: ", s.Step)
		}
		if s.Error != "" {
			p.wrapped("  error: ", p.complete(s.Error))
		}
		p.next(s)
	}
	return p.err
}

// some prints as many lines of a kind as a terminal is good for.
func (p *page) some(label string, texts []string) {
	const most = 20
	for _, text := range texts[:min(len(texts), most)] {
		p.wrapped(label, brief(text))
	}
	if n := len(texts) - most; n > 0 {
		p.wrapped(label, fmt.Sprintf("and %d more (--output json)", n))
	}
}

// brief is as much of what a step left in the journal as a terminal is good for;
// status --json has all of it.
func brief(text string) string {
	const most = 4 << 10
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " …"
}

// next prints what the admin can do about a run: each command on a line of its
// own, however long, so that it can be pasted.
func (p *page) next(s runs.State) {
	if s.Running {
		return
	}
	label := "  next: "
	if s.Complete() && !s.CutOver() && !s.Stale() {
		if s.Phase == runs.PhaseUnseen {
			p.line("%ssee it boot before you accept it, on its screen:", label)
			label = strings.Repeat(" ", len(label))
		}
		p.line("%s%s", label, fit.TerminalLine(strings.Trim(p.complete("`esxodus cutover "+s.Name+"`"), "`")))
		label = "  then: "
	}
	for _, c := range s.Commands() {
		p.line("%s%s", label, fit.TerminalLine(strings.Trim(p.complete(c), "`")))
		label = "    or: "
	}
}

// cutover prints how a domain took its VM's place.
func (p *page) cutover(s runs.State) {
	c := s.Cutover
	if c == nil {
		return
	}
	p.wrapped("  cutover: ", strings.TrimPrefix(brief(c.Words()), "cutover "))
	if s.Downtime > 0 {
		p.wrapped("  downtime: ", fmt.Sprintf("%v, from the source's shutdown until all answered", time.Duration(s.Downtime*float64(time.Second)).Round(time.Second/10)))
	}
	if c.Error != "" && c.Phase != cutover.PhaseDone {
		p.wrapped("  error: ", p.complete(c.Error))
	}
}

// Cutover prints the steps of a cutover.
func Cutover(w io.Writer, f Form, j *cutover.Job) error {
	p := f.page(w)
	p.wrapped("", fmt.Sprintf("%s takes the place of %q (id %s on %s):", j.Name, j.VM, j.ID, j.Host))
	for i, s := range j.Acts {
		p.wrapped(fmt.Sprintf("  %d. ", i+1), s.Text)
	}
	return p.err
}

// Cutovers prints a line for each cutover of many, in the order in which they begin.
func Cutovers(w io.Writer, f Form, waves []plan.Wave, jobs map[string]*cutover.Job) error {
	p := f.page(w)
	for _, wave := range waves {
		for _, t := range wave.VMs {
			j := jobs[t.VM]
			if j == nil {
				continue
			}
			text := fmt.Sprintf("takes the place of %q (id %s on %s), %s", j.VM, j.ID, j.Host, fit.Count(len(j.Acts), "step"))
			if t.Chained {
				text += ", in its turn"
			}
			if t.Delay > 0 {
				text += fmt.Sprintf("; the next %d s later", t.Delay)
			}
			p.wrapped(t.VM+": ", text)
		}
	}
	p.line("each one's steps: --full")
	return p.err
}

// Chosen prints what a command would do to which migrations, and which it would leave.
func Chosen(w io.Writer, f Form, verb string, names []string, left []batch.Result) error {
	p := f.page(w)
	if len(names) > 0 {
		p.wrapped(verb+": ", strings.Join(names, ", "))
	}
	for _, r := range left {
		why := r.Error
		if why == "" {
			why = string(r.Did)
		}
		p.wrapped("not "+r.Name+": ", p.complete(why))
	}
	return p.err
}

// Results prints what was done about several VMs.
func Results(w io.Writer, f Form, results []batch.Result) error {
	p := f.page(w)
	for _, r := range results {
		switch {
		case r.Error != "":
			p.wrapped(r.Name+": ", "FAILED: "+p.complete(r.Error))
		default:
			p.wrapped(r.Name+": ", outcome(r))
		}
		if r.Proof != "" {
			p.wrapped("  proof: ", r.Proof)
		}
		if len(r.Untried) > 0 {
			p.wrapped("  not tried on a network: ", strings.Join(r.Untried, ", "))
		}
		for _, text := range r.FileSystems {
			p.wrapped("  file system: ", text)
		}
		if r.Advice != "" {
			p.wrapped("  do: ", p.complete(r.Advice))
		}
	}
	return p.err
}

// outcome is what a batch did about a VM, and how that stands.
func outcome(r batch.Result) string {
	if r.InPlace {
		return fmt.Sprintf("%s, in its VM's place", r.Did)
	}
	if string(r.Phase) == string(r.Did) || strings.HasPrefix(string(r.Phase), string(r.Did)+",") {
		return string(r.Phase)
	}
	return fmt.Sprintf("%s, %s", r.Did, r.Phase)
}
