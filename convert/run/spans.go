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

// spansOf are the spans of a run's steps that are done, in their order.
func spansOf(s *runs.State) []Span {
	var out []Span
	begun := make(map[int]time.Time)
	for _, r := range s.History().Records() {
		if r.Step == nil {
			continue
		}
		switch r.Event {
		case journal.EventBegin:
			begun[*r.Step] = r.Time
		case journal.EventDone:
			step := &s.Job.VM.Steps[*r.Step]
			out = append(out, Span{string(step.Kind), step.Text, begun[*r.Step], r.Time.Sub(begun[*r.Step]).Seconds()})
		case journal.EventPlan, journal.EventClaim, journal.EventFailed, journal.EventStopped, journal.EventUndone, journal.EventRollback, journal.EventCommit, journal.EventEnd:
		}
	}
	if s.Cutover != nil {
		for _, t := range s.Cutover.Took {
			out = append(out, Span{"cutover: " + string(t.Kind), t.Text, t.Begin, t.Seconds})
		}
	}
	return out
}
