package run

import (
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/runs"
)

// Span is when a step was at work, of the migration or of its cutover: the last time, if
// it was begun more than once.
type Span struct {
	Kind    string    `json:"kind"` // a step's, as in the plan; "cutover: " and a step's, as in that
	Text    string    `json:"text"`
	Begin   time.Time `json:"begin"`
	Seconds float64   `json:"seconds"`
}

// spansOf are the spans of a run's steps that were done, in the plan's order, then those
// of its cutover. A resume does some steps again: each has one span.
func spansOf(s *runs.State) []Span {
	steps := s.Job.VM.Steps
	begun, done := make([]time.Time, len(steps)), make([]time.Time, len(steps))
	for _, r := range s.History().Records() {
		if r.Step == nil {
			continue
		}
		switch r.Event {
		case journal.EventBegin:
			begun[*r.Step], done[*r.Step] = r.Time, time.Time{}
		case journal.EventDone:
			done[*r.Step] = r.Time
		case journal.EventPlan, journal.EventClaim, journal.EventFailed, journal.EventStopped, journal.EventUndone, journal.EventRollback, journal.EventCommit, journal.EventEnd:
		}
	}
	var out []Span
	for i, step := range steps {
		if !done[i].IsZero() {
			out = append(out, Span{string(step.Kind), step.Text, begun[i], done[i].Sub(begun[i]).Seconds()})
		}
	}
	if s.Cutover != nil {
		for _, t := range s.Cutover.Took {
			out = append(out, Span{"cutover: " + string(t.Kind), t.Text, t.Begin, t.Seconds})
		}
	}
	return out
}
