package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"esxodus/convert"
)

// States prints how runs stand, one line each and a second for what went
// wrong.
func States(w io.Writer, states []convert.State) error {
	p := &page{w: w}
	if len(states) == 0 {
		p.line("no migration is on record")
		return p.err
	}
	for _, s := range states {
		phase := string(s.Phase)
		if s.Running {
			phase = "running"
		}
		p.wrapped("", fmt.Sprintf("%s: %s, %d of %d steps, %s", s.Name, phase, s.Done, s.Steps, s.Updated.Local().Format(time.DateTime)))
		if s.Proof != "" {
			p.wrapped("  proof: ", s.Proof)
		}
		for _, n := range s.Notes {
			p.wrapped("  note: ", n)
		}
		if s.Step != "" && !s.Running {
			p.wrapped("  left at: ", s.Step)
		}
		if s.Error != "" {
			p.wrapped("  error: ", s.Error)
		}
		if n := next(s); n != "" {
			p.wrapped("  next: ", n)
		}
	}
	return p.err
}

// next tells what the admin can do about a run.
func next(s convert.State) string {
	if s.Running {
		return ""
	}
	switch s.Phase {
	case convert.PhaseReady:
		return fmt.Sprintf("virsh start %s (with the source off), then esxodus commit %s; or esxodus rollback %s", s.Name, s.Name, s.Name)
	case convert.PhaseUnseen:
		return s.Seeing()
	case convert.PhaseUnfinished:
		return fmt.Sprintf("esxodus resume %s, or esxodus rollback %s", s.Name, s.Name)
	case convert.PhaseUndoing:
		return "esxodus rollback " + s.Name
	case convert.PhaseCommitting:
		return "esxodus commit " + s.Name
	case convert.PhaseCommitted, convert.PhaseRolledBack:
	}
	return ""
}

// Results prints what a batch did.
func Results(w io.Writer, results []convert.Result) error {
	p := &page{w: w}
	for _, r := range results {
		switch {
		case r.Error != "":
			p.wrapped(r.Name+": ", "FAILED: "+r.Error)
		default:
			p.wrapped(r.Name+": ", outcome(r))
		}
		if r.Proof != "" {
			p.wrapped("  proof: ", r.Proof)
		}
		if r.Advice != "" {
			p.wrapped("  do: ", r.Advice)
		}
	}
	return p.err
}

// outcome is what a batch did about a VM, and how that stands.
func outcome(r convert.Result) string {
	if strings.HasPrefix(string(r.Phase), string(r.Did)+",") {
		return string(r.Phase)
	}
	return fmt.Sprintf("%s, %s", r.Did, r.Phase)
}
