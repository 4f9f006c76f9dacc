package cutover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"esxodus/convert/journal"
	"esxodus/inventory"
)

// Dir is the directory of a cutover in that of its migration.
func Dir(run string) string { return filepath.Join(run, "cutover") }

// Entry is what the autostart step found, and puts back.
type Entry struct {
	inventory.AutoStartEntry
}

// EntryOf reads what the autostart step found.
func EntryOf(r *journal.Record) (*Entry, error) {
	e := new(Entry)
	if err := json.Unmarshal(r.Data, e); err != nil {
		return nil, fmt.Errorf("the autostart entry in the journal: %w", err)
	}
	return e, nil
}

// Answer is what came of the questions: the result of the last step.
type Answer struct {
	Text string `json:"text"` // for people
	// Seen says whether anything of the guest was seen at all.
	Seen bool `json:"seen"`
	// Seconds is how long it took from the domain's start.
	Seconds float64 `json:"seconds"`
}

// Undone is what taking back the first step leaves in the journal.
type Undone struct {
	Restarted bool `json:"restarted"` // the VM was powered on again
}

func checkRecord(k Kind, r *journal.Record) error {
	switch {
	case k == StepAutoStart && r.Event == journal.EventBegin && len(r.Data) > 0:
		_, err := EntryOf(r)
		return err
	case r.Event == journal.EventUndone && len(r.Data) > 0:
		return json.Unmarshal(r.Data, new(Undone))
	case k == StepAnswer && r.Event == journal.EventDone:
		return json.Unmarshal(r.Data, new(Answer))
	}
	return nil
}

// Phase is how a cutover stands.
type Phase string

// The phases of a cutover. One that was taken back is as if it had never been.
const (
	PhaseUnfinished Phase = "unfinished"  // begun, and neither done nor taken back
	PhaseUndoing    Phase = "half undone" // taking it back did not end
	PhaseDone       Phase = "done"        // the domain is in its VM's place
	PhaseBack       Phase = "taken back"
)

// State is what a cutover's journal says has become of it.
type State struct {
	Phase   Phase     `json:"phase"`
	Begun   time.Time `json:"begun"`
	Updated time.Time `json:"updated"`
	Error   string    `json:"error,omitempty"` // what stopped it, or had it taken back
	// Restarted is set where taking it back powered the VM on again: what was copied is
	// old then.
	Restarted bool      `json:"restarted,omitempty"`
	Started   time.Time `json:"started,omitzero"` // when the domain was
	Ended     time.Time `json:"ended,omitzero"`   // when all that must answer had
	Answer    *Answer   `json:"answer,omitempty"`
	// Took has, for each step that is done, how long it took.
	Took []Took `json:"took,omitempty"`
}

// Took is how long a step took.
type Took struct {
	Kind    Kind      `json:"kind"`
	Text    string    `json:"text"`
	Begin   time.Time `json:"begin"`
	Seconds float64   `json:"seconds"`
}

// StateOf says what has become of a cutover.
func StateOf(h *journal.History[*Job]) State {
	job, p := h.Job(), h.Progress()
	s := State{Phase: PhaseUnfinished, Begun: p.Started, Updated: p.Updated, Error: p.Error}
	begun := make([]time.Time, len(job.Acts))
	for _, r := range h.Records() {
		if r.Event == journal.EventStopped {
			s.Error = r.Error
		}
		if r.Step == nil {
			continue
		}
		act := &job.Acts[*r.Step]
		switch r.Event {
		case journal.EventBegin:
			begun[*r.Step] = r.Time
		case journal.EventDone:
			s.done(act, &r, begun[*r.Step])
		case journal.EventUndone:
			var u Undone
			_ = json.Unmarshal(r.Data, &u) // none, or [Job.CheckStep] has had it
			s.Restarted = s.Restarted || u.Restarted
		case journal.EventPlan, journal.EventClaim, journal.EventFailed, journal.EventStopped, journal.EventRollback, journal.EventCommit, journal.EventEnd:
		}
	}
	switch {
	case p.Phase == journal.PhaseRolledBack:
		s.Phase = PhaseBack
	case p.Phase == journal.PhaseUndoing:
		s.Phase = PhaseUndoing
	case p.Done == p.Steps:
		s.Phase = PhaseDone
	}
	return s
}

func (s *State) done(act *Step, r *journal.Record, begun time.Time) {
	s.Took = append(s.Took, Took{act.Kind, act.Text, begun, r.Time.Sub(begun).Seconds()})
	switch act.Kind {
	case StepStart:
		s.Started = r.Time
	case StepAnswer:
		s.Ended, s.Answer = r.Time, new(Answer)
		_ = json.Unmarshal(r.Data, s.Answer) // [Job.CheckStep] has had it
	case StepSource, StepAutoStart, StepBoot:
	}
}

// Words says how a cutover stands.
func (s *State) Words() string {
	switch {
	case s.Phase == PhaseDone && s.Answer != nil:
		return fmt.Sprintf("in its VM's place since %s: %s", s.Started.Local().Format(time.DateTime), s.Answer.Text)
	case s.Phase == PhaseBack && s.Restarted:
		return "taken back, and the VM powered on again: what was copied is old"
	case s.Phase == PhaseBack:
		return "taken back"
	}
	return "cutover " + string(s.Phase)
}

// Journal is the open journal of a cutover.
type Journal = journal.Journal[*Job]

// Create starts the journal of a cutover in the directory of its migration. One that
// was taken back is kept beside it.
func Create(run string, job *Job) (*Journal, error) {
	dir := Dir(run)
	h, err := journal.Read[*Job](dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, journal.ErrEmpty):
	case err != nil:
		return nil, err
	case !h.Progress().Phase.Ended():
		return nil, fmt.Errorf("a cutover of %s is %s", job.Name, StateOf(h).Phase)
	default:
		if err := os.Rename(dir, dir+"-"+h.Run()); err != nil {
			return nil, fmt.Errorf("keeping the journal of the last cutover: %w", err)
		}
	}
	return journal.Create(dir, job, journal.NewRun())
}

// Open opens the journal of a cutover that has begun.
func Open(run string) (*Journal, error) { return journal.Open[*Job](Dir(run)) }

// Read returns how the cutover of a migration stands, nil where there was none.
func Read(run string) (*State, error) {
	h, err := journal.Read[*Job](Dir(run))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, journal.ErrEmpty) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := StateOf(h)
	return &s, nil
}
