package journal

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// maxJournal bounds what is read back: a plan of one VM is some 100 KiB.
const maxJournal = 64 << 20

// ErrEmpty means that a crash came before the first record was whole, so that
// nothing was done.
var ErrEmpty = errors.New("the journal holds no plan: nothing was done")

// Job is what a journal is about. It is kept in the first record as JSON; its
// type is a pointer to what that is read into.
type Job interface {
	// Steps are its parts, in the order in which they are done.
	Steps() []Step
	// CheckRecorded says what is wrong with one that is on record: as much of it
	// as telling of it and undoing it depend on. name is the directory's.
	CheckRecorded(run, name string) error
	// CheckStep says what is wrong with a record of step i, which s has taken.
	CheckStep(i int, s *StepState, r *Record) error
	// About says what the job is about, Leavings what it may have made, both for
	// people with a damaged journal.
	About() string
	Leavings() string
	// Rollback is the command that undoes the run of that name, and Yourself what
	// is left to look after where no journal tells what was made. Both are asked of a
	// job that couldn't be read, too.
	Rollback(name string) string
	Yourself() string
}

// Step is a part of a job.
type Step struct {
	Kind   string
	Text   string // for people
	Claims bool   // it writes down what it is about to touch, so as to know it again
}

// History is what a journal says.
type History[J Job] struct {
	job     J
	records []Record
}

// Job returns the job that the run carries out.
func (h *History[J]) Job() J { return h.job }

// Records returns what happened, in its order.
func (h *History[J]) Records() []Record { return h.records }

// Run returns the run's id, which marks what it makes.
func (h *History[J]) Run() string { return h.records[0].Run }

// Committing reports whether a commit has begun.
func (h *History[J]) Committing() bool {
	return slices.ContainsFunc(h.records, func(r Record) bool { return r.Event == EventCommit })
}

// Undoing reports whether a rollback has begun. What it has undone may not be
// on record yet.
func (h *History[J]) Undoing() bool { return h.Progress().Phase == PhaseUndoing }

// StepState is how far one step got.
type StepState struct {
	Begun, Done bool
	Place       *Record // the begin that says where the step makes something
	Claim       *Record
	Result      *Record
	Failed      *Record // what the last attempt saw that failed
}

// Steps replays the journal.
func (h *History[J]) Steps() []StepState {
	out := make([]StepState, len(h.job.Steps()))
	for i := range h.records {
		if r := &h.records[i]; r.Step != nil {
			out[*r.Step].take(r)
		}
	}
	return out
}

// take is what a record of the step's makes of it.
func (s *StepState) take(r *Record) {
	switch r.Event {
	case EventBegin:
		s.Begun, s.Done, s.Failed = true, false, nil
		if len(r.Data) > 0 {
			s.Place = r
		}
	case EventClaim:
		s.Claim = r
	case EventDone:
		s.Done, s.Result = true, r
	case EventFailed:
		s.Failed = r
	case EventUndone:
		*s = StepState{}
	case EventPlan, EventStopped, EventRollback, EventCommit, EventEnd:
	}
}

// Phase is a run's state in a word or two.
type Phase string

// The phases of a run. Those of one whose steps are all done, and that may be
// committed, are the job's.
const (
	PhaseUnfinished Phase = "unfinished"     // running, stopped or killed: resume or rollback
	PhaseUndoing    Phase = "half undone"    // a rollback did not end: rollback again
	PhaseCommitting Phase = "half committed" // a commit did not end: commit again
	PhaseCommitted  Phase = "committed"
	PhaseRolledBack Phase = "rolled back"
)

// Ended reports whether nothing is left to do.
func (p Phase) Ended() bool { return p == PhaseCommitted || p == PhaseRolledBack }

// Progress is how far a run has got.
type Progress struct {
	Run     string    `json:"run"`
	Started time.Time `json:"started"`
	Updated time.Time `json:"updated"`
	Done    int       `json:"done"`  // steps
	Steps   int       `json:"steps"` // in all
	Phase   Phase     `json:"phase"`
	Step    string    `json:"step,omitempty"`  // the step that was last begun and isn't done
	Error   string    `json:"error,omitempty"` // what stopped it
}

// Progress condenses the history.
func (h *History[J]) Progress() Progress {
	steps := h.job.Steps()
	p := Progress{
		Run: h.Run(), Started: h.records[0].Time, Updated: h.records[len(h.records)-1].Time,
		Steps: len(steps), Phase: PhaseUnfinished,
	}
	for i, s := range h.Steps() {
		switch {
		case s.Done:
			p.Done++
		case s.Begun:
			p.Step = steps[i].Text
		}
	}
	for _, r := range h.records {
		switch r.Event {
		case EventRollback, EventUndone:
			p.Phase = PhaseUndoing
		case EventStopped:
			p.Error = r.Error
		case EventBegin:
			p.Phase, p.Error = PhaseUnfinished, ""
		case EventCommit:
			p.Phase = PhaseCommitting
		case EventEnd:
			p.Phase, p.Error = Phase(r.Outcome), ""
		case EventPlan, EventClaim, EventDone, EventFailed:
		}
	}
	return p
}

// DamagedError is a journal with a line that is not a record, or one that doesn't
// fit the job and the records before it. Nothing is done by such a journal.
type DamagedError struct {
	Path  string
	Line  int // from 1
	Err   error
	until string // how far the run had got before the line
	left  string // what it may have made
	undo  string // the command that undoes it
	own   string // what is left to look after without the journal
}

// Error names the line, and how far the run had got before it.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s, line %d: %v; nothing was touched%s", e.Path, e.Line, e.Err, e.until)
}

// Unwrap returns what is wrong with the line.
func (e *DamagedError) Unwrap() error { return e.Err }

// Advice says what can be done about the journal.
func (e *DamagedError) Advice() string {
	if e.left == "" {
		return fmt.Sprintf("restore %s from a backup; without it esxodus undoes nothing of this run: then look after %s yourself", e.Path, e.own)
	}
	return fmt.Sprintf("restore it from a backup; or keep a copy and cut it off before that line (head -n %d), then `%s`. "+
		"That leaves alone what the run made after that line: check %s yourself", e.Line-1, e.undo, e.left)
}

func damaged[J Job](path string, h *History[J], err error) *DamagedError {
	var kind J
	e := &DamagedError{Path: path, Line: len(h.records) + 1, Err: err, undo: kind.Rollback(filepath.Base(filepath.Dir(path))), own: kind.Yourself()}
	if len(h.records) > 0 {
		p := h.Progress()
		e.until = fmt.Sprintf(". Up to that line: %s, run %s, %d of %d steps done", h.job.About(), p.Run, p.Done, p.Steps)
		e.left = h.job.Leavings()
	}
	return e
}

// Read reads the journal in a directory without locking it. Where there is none,
// the error wraps fs.ErrNotExist.
func Read[J Job](dir string) (*History[J], error) {
	f, err := os.Open(filepath.Join(dir, FileName))
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	h, _, err := readHistory[J](f)
	if errors.Is(err, ErrEmpty) {
		err = fmt.Errorf("%s: %w", f.Name(), err)
	}
	return &h, err
}

// readHistory returns the complete records of a journal and the length of what
// they take. A last line cut short by a crash doesn't count: its event never happened.
func readHistory[J Job](f *os.File) (h History[J], good int64, err error) {
	br := bufio.NewReader(io.LimitReader(f, maxJournal+1))
	c := checker[J]{history: &h}
	for {
		line, err := br.ReadBytes('\n')
		if good+int64(len(line)) > maxJournal {
			return h, 0, damaged(f.Name(), &h, fmt.Errorf("the journal is larger than %d bytes", int64(maxJournal)))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return h, 0, err
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return h, 0, damaged(f.Name(), &h, fmt.Errorf("not a record: %w", err))
		}
		if err := c.take(&rec, filepath.Base(filepath.Dir(f.Name()))); err != nil {
			return h, 0, damaged(f.Name(), &h, err)
		}
		h.records = append(h.records, rec)
		good += int64(len(line))
	}
	if len(h.records) == 0 {
		return h, 0, ErrEmpty
	}
	return h, good, nil
}

// checker compares each record of a journal with the job and the records before
// it.
type checker[J Job] struct {
	history    *History[J]
	plan       []Step // the job's
	steps      []StepState
	undoing    bool
	committing bool
	ended      bool
}

// take checks the record that follows those it took. name is the domain's, as
// the journal's directory says.
func (c *checker[J]) take(r *Record, name string) error {
	first := len(c.history.records) == 0
	if first != (r.Event == EventPlan) || (r.Plan != nil) != (r.Event == EventPlan) {
		return fmt.Errorf("%q: a journal begins with its plan, and has only one", r.Event)
	}
	if c.ended || c.committing && r.Event != EventEnd {
		return fmt.Errorf("%q: nothing can follow the end, and only the end can follow a commit", r.Event)
	}
	if c.undoing && slices.Contains([]Event{EventBegin, EventClaim, EventDone, EventFailed, EventCommit}, r.Event) {
		return fmt.Errorf("%q: it can't follow a rollback", r.Event)
	}
	switch r.Event {
	case EventPlan:
		return c.begin(r, name)
	case EventBegin, EventClaim, EventDone, EventFailed, EventUndone:
		return c.step(r)
	case EventStopped:
	case EventRollback:
		c.undoing = true
	case EventCommit:
		c.committing = true
		if slices.ContainsFunc(c.steps, func(s StepState) bool { return !s.Done }) {
			return errors.New("a commit, before all steps are done")
		}
	case EventEnd:
		c.ended = true
		undone := !slices.ContainsFunc(c.steps, func(s StepState) bool { return s.Begun })
		if r.Outcome != Committed && r.Outcome != RolledBack || (r.Outcome == Committed) != c.committing || r.Outcome == RolledBack && !undone {
			return fmt.Errorf("the end %q doesn't follow from the records before it", r.Outcome)
		}
	default:
		return fmt.Errorf("unknown event %q: was it written by a newer esxodus?", r.Event)
	}
	if r.Step != nil {
		return fmt.Errorf("%q: it belongs to no step, but names step %d", r.Event, *r.Step)
	}
	return nil
}

// begin takes the first record.
func (c *checker[J]) begin(r *Record, name string) error {
	var job J
	if string(r.Plan) == "null" {
		return errors.New("not a record: its plan is null")
	}
	if err := json.Unmarshal(r.Plan, &job); err != nil {
		return fmt.Errorf("not a record: %w", err)
	}
	if err := job.CheckRecorded(r.Run, name); err != nil {
		return err
	}
	c.plan, c.history.job = job.Steps(), job
	c.steps = make([]StepState, len(c.plan))
	return nil
}

// step checks a record of a step.
func (c *checker[J]) step(r *Record) error {
	if r.Step == nil || *r.Step < 0 || *r.Step >= len(c.steps) {
		return fmt.Errorf("%q: it names none of the plan's %d steps", r.Event, len(c.steps))
	}
	i, steps := *r.Step, c.plan
	kind := steps[i].Kind
	switch {
	case r.Event == EventBegin:
		if k := slices.IndexFunc(c.steps[:i], func(s StepState) bool { return !s.Done }); k >= 0 {
			return fmt.Errorf("step %d (%s) begins, but step %d (%s) before it isn't done", i, kind, k, steps[k].Kind)
		}
	case !c.steps[i].Begun:
		return fmt.Errorf("%q of step %d (%s), which hasn't begun", r.Event, i, kind)
	case r.Event == EventFailed && c.steps[i].Done:
		return fmt.Errorf("step %d (%s) failed, and is done", i, kind)
	case r.Event == EventClaim && !steps[i].Claims:
		return fmt.Errorf("a claim of step %d (%s), which claims nothing", i, kind)
	}
	c.steps[i].take(r)
	return c.history.job.CheckStep(i, &c.steps[i], r)
}
