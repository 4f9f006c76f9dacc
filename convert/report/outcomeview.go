package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/run"
	"esxodus/inventory/fit"
)

// OutcomeView is what a report shows of migrations after they ran. It is made from their
// outcomes alone; text and page are two renderings of it.
type OutcomeView struct {
	VMs      []OutcomeVM
	States   []StateCount // those that there are
	NotBegun []string     // of a plan
	Units    []ArtefactView
	Made     time.Time // zero where nobody said it
	Begun    time.Time // zero where nothing was begun
	Took     time.Duration
	Sums     []FigureView // of all VMs
	Differs  int          // artefacts
}

// StateCount is how many VMs stand so.
type StateCount struct {
	State string
	Class string // good, open or bad
	Count int
}

// OutcomeVM is what became of one VM.
type OutcomeVM struct {
	Name, VM     string
	State, Class string
	Figures      []FigureView
	Artefacts    []ArtefactView
	Answers      []string
	Acknowledged []string
	Error        string
	Next         []string
	Spans        []SpanView
	// From and Wide are its place on the time line, in thousandths of all.
	From, Wide int
	Begun      time.Time
	Took       time.Duration // from the first step's beginning to the last one's end
}

// SpanView is when one step was at work.
type SpanView struct {
	Kind, Text string
	After      time.Duration // since all began
	Took       time.Duration
	From, Wide int // in thousandths of its VM's time
}

// FigureView is a number that was predicted, and what came.
type FigureView struct {
	What, Planned, Actual string
	More                  string // by how much the second is more, or less
}

// ArtefactView says of something that was made whether it is as planned.
type ArtefactView struct {
	What, Where, Verdict string
	Differs              bool
}

// The classes of states.
const (
	classGood = "ready"
	classOpen = "needs"
	classBad  = "blocked"
)

// OutcomeOf makes the view of outcomes.
func OutcomeOf(o *Outcome, now time.Time) OutcomeView {
	v := OutcomeView{NotBegun: o.NotBegun, Made: now}
	sums := make(map[string]*run.Figure)
	var order []string
	for _, vm := range o.VMs {
		one := outcomeVM(vm)
		v.count(one.State, one.Class)
		v.VMs = append(v.VMs, one)
		for _, f := range vm.Figures {
			if sums[f.What] == nil {
				sums[f.What] = &run.Figure{What: f.What, Unit: f.Unit}
				order = append(order, f.What)
			}
			sums[f.What].Predicted += f.Predicted
			sums[f.What].Actual += f.Actual
		}
	}
	for _, what := range order {
		v.Sums = append(v.Sums, figureView(*sums[what]))
	}
	for _, a := range o.Units {
		v.Units = append(v.Units, artefactView(a))
	}
	for _, a := range o.Artefacts() {
		if len(a.Differs) > 0 {
			v.Differs++
		}
	}
	v.times(o)
	return v
}

// outcomeVM is one VM's part, without its place in time.
func outcomeVM(vm *run.Outcome) OutcomeVM {
	out := OutcomeVM{
		Name: vm.Name, VM: vm.VM, Answers: vm.Answers, Acknowledged: vm.Acknowledged, Error: vm.Error, Next: vm.Next,
	}
	out.State, out.Class = standing(vm)
	for _, f := range vm.Figures {
		out.Figures = append(out.Figures, figureView(f))
	}
	for _, a := range vm.Artefacts {
		out.Artefacts = append(out.Artefacts, artefactView(a))
	}
	return out
}

// standing says in a few words how a VM's migration stands, and of what class that is.
func standing(o *run.Outcome) (state, class string) {
	switch {
	case o.Differs():
		return string(o.Phase) + ", not as planned", classBad
	case o.Phase == journal.PhaseCommitted:
		return string(o.Phase), classGood
	case o.InPlace:
		return "in its VM's place", classGood
	case o.Phase == journal.PhaseUnfinished && o.Error != "", o.Phase == journal.PhaseUndoing:
		return string(o.Phase), classBad
	}
	return string(o.Phase), classOpen
}

// count counts a VM that stands so.
func (v *OutcomeView) count(state, class string) {
	i := slices.IndexFunc(v.States, func(s StateCount) bool { return s.State == state })
	if i < 0 {
		i = len(v.States)
		v.States = append(v.States, StateCount{State: state, Class: class})
	}
	v.States[i].Count++
}

// times places VMs and steps in time.
func (v *OutcomeView) times(o *Outcome) {
	var first, last time.Time
	for i, vm := range o.VMs {
		begin, end := extent(vm.Spans)
		if begin.IsZero() {
			continue
		}
		v.VMs[i].Begun, v.VMs[i].Took = begin, end.Sub(begin).Round(time.Second)
		if first.IsZero() || begin.Before(first) {
			first = begin
		}
		if end.After(last) {
			last = end
		}
	}
	v.Begun, v.Took = first, last.Sub(first).Round(time.Second)
	for i, vm := range o.VMs {
		one := &v.VMs[i]
		if one.Begun.IsZero() {
			continue
		}
		one.From, one.Wide = bar(one.Begun.Sub(first), one.Took, last.Sub(first))
		for _, s := range vm.Spans {
			took := seconds(s.Seconds)
			view := SpanView{Kind: s.Kind, Text: s.Text, After: s.Begin.Sub(first).Round(time.Second), Took: took.Round(time.Second / 10)}
			view.From, view.Wide = bar(s.Begin.Sub(one.Begun), took, one.Took)
			one.Spans = append(one.Spans, view)
		}
	}
}

// extent is from when to when spans are.
func extent(spans []run.Span) (begin, end time.Time) {
	for _, s := range spans {
		if begin.IsZero() || s.Begin.Before(begin) {
			begin = s.Begin
		}
		if at := s.Begin.Add(seconds(s.Seconds)); at.After(end) {
			end = at
		}
	}
	return begin, end
}

// bar is a span's place in a whole, in thousandths, and visible however short it is.
func bar(after, took, all time.Duration) (from, wide int) {
	const least = 2
	from = min(int(share(int64(after), int64(all))), 1000-least)
	return from, min(max(int(share(int64(took), int64(all))), least), 1000-from)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func figureView(f run.Figure) FigureView {
	v := FigureView{What: f.What, Planned: amount(f.Predicted, f.Unit), Actual: amount(f.Actual, f.Unit), More: "as planned"}
	if f.Predicted > 0 && v.Planned != v.Actual {
		v.More = fmt.Sprintf("%+.0f %%", (f.Actual/f.Predicted-1)*100)
	}
	return v
}

func artefactView(a run.Artefact) ArtefactView {
	v := ArtefactView{What: a.What, Where: a.Where, Verdict: "as planned", Differs: len(a.Differs) > 0}
	switch {
	case v.Differs:
		v.Verdict = "DIFFERS: " + strings.Join(a.Differs, "; ")
	case a.Unknown != "":
		v.Verdict = "not known: " + a.Unknown
	}
	return v
}

func amount(n float64, unit string) string {
	if unit == "bytes" {
		return fit.Bytes(int64(n))
	}
	return seconds(n).Round(time.Second / 10).String()
}

// StateNames are the states that there are.
func (v OutcomeView) StateNames() []string {
	out := make([]string, len(v.States))
	for i, s := range v.States {
		out[i] = s.State
	}
	return out
}
