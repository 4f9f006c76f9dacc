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
	"strings"

	"esxodus/convert/plan"
	"esxodus/convert/volume"
)

// maxJournal bounds what is read back: a plan of one VM is some 100 KiB.
const maxJournal = 64 << 20

// ErrEmpty means that a crash came before the plan record was whole, so that
// nothing was done.
var ErrEmpty = errors.New("the journal holds no plan: nothing was done under it")

// DamagedError is a journal with a line that is no record, or one that doesn't
// fit the plan and the records before it. Nothing is done by such a journal.
type DamagedError struct {
	Path  string
	Line  int // from 1
	Err   error
	known []Record // those before the line
}

// Error names the line, and how far the run had got before it.
func (e *DamagedError) Error() string {
	text := fmt.Sprintf("%s, line %d: %v; nothing was touched", e.Path, e.Line, e.Err)
	if len(e.known) == 0 {
		return text
	}
	s := summary(e.known)
	return fmt.Sprintf("%s. Until then: %q from %s to %s, run %s, %d of %d steps done", text, s.VM, s.Host, s.Job.Target.Storage, s.Run, s.Done, s.Steps)
}

// Unwrap returns what is wrong with the line.
func (e *DamagedError) Unwrap() error { return e.Err }

// Advice tells what can be done about the journal.
func (e *DamagedError) Advice() string {
	if len(e.known) == 0 {
		return fmt.Sprintf("restore %s from a backup; without it esxodus removes nothing that this run made: its domain, its volumes and the source's power state are then yours to look after", e.Path)
	}
	s := summary(e.known)
	var volumes []string
	for _, d := range s.Job.VM.Disks {
		volumes = append(volumes, d.Volume.String())
	}
	return fmt.Sprintf("restore it from a backup; or keep a copy and cut it off before that line (head -n %d), then `esxodus rollback %s`. "+
		"What it made after that line is left alone then: look at the domain %s and at %s yourself",
		e.Line-1, s.Name, s.Name, strings.Join(volumes, ", "))
}

// readRecords returns the complete records of a journal and the length of what
// they take. A last line cut short by a crash is none: its event never happened.
func readRecords(f *os.File) (records []Record, good int64, err error) {
	br := bufio.NewReader(io.LimitReader(f, maxJournal+1))
	var c checker
	damaged := func(err error) error {
		return &DamagedError{Path: f.Name(), Line: len(records) + 1, Err: err, known: records}
	}
	for {
		line, err := br.ReadBytes('\n')
		if good+int64(len(line)) > maxJournal {
			return nil, 0, damaged(fmt.Errorf("the journal is larger than %d bytes", int64(maxJournal)))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return nil, 0, damaged(fmt.Errorf("no record: %w", err))
		}
		if err := c.take(&rec, filepath.Base(filepath.Dir(f.Name()))); err != nil {
			return nil, 0, damaged(err)
		}
		records = append(records, rec)
		good += int64(len(line))
	}
	if len(records) == 0 {
		return nil, 0, ErrEmpty
	}
	return records, good, nil
}

// checker compares each record of a journal with the plan and the records
// before it.
type checker struct {
	job        *plan.VMJob
	steps      []StepState
	undoing    bool
	committing bool
	ended      bool
}

// take checks the record that follows those it took. name is the domain's, as
// the journal's directory says.
func (c *checker) take(r *Record, name string) error {
	if (c.job == nil) != (r.Event == EventPlan) || (r.Plan != nil) != (r.Event == EventPlan) {
		return fmt.Errorf("%q: a journal begins with its plan, and has one", r.Event)
	}
	if c.ended || c.committing && r.Event != EventEnd {
		return fmt.Errorf("%q: nothing can follow the end, and only the end a commit", r.Event)
	}
	if c.undoing && slices.Contains([]Event{EventBegin, EventClaim, EventDone, EventCommit}, r.Event) {
		return fmt.Errorf("%q: nothing can follow a rollback but more of it", r.Event)
	}
	switch r.Event {
	case EventPlan:
		c.job, c.steps = r.Plan, make([]StepState, len(r.Plan.VM.Steps))
		return errors.Join(volume.CheckRun(r.Run), c.job.CheckRecorded(name))
	case EventBegin, EventClaim, EventDone, EventUndone:
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
			return fmt.Errorf("the end %q, which the records before it don't come to", r.Outcome)
		}
	default:
		return fmt.Errorf("unknown event %q: was it written by a newer esxodus?", r.Event)
	}
	if r.Step != nil {
		return fmt.Errorf("%q: is of no step, and names step %d", r.Event, *r.Step)
	}
	return nil
}

// step checks a record of a step.
func (c *checker) step(r *Record) error {
	if r.Step == nil || *r.Step < 0 || *r.Step >= len(c.steps) {
		return fmt.Errorf("%q: names none of the plan's %d steps", r.Event, len(c.steps))
	}
	i := *r.Step
	kind := c.job.VM.Steps[i].Kind
	traits, _ := kind.Traits()
	switch {
	case r.Event == EventBegin:
		if k := slices.IndexFunc(c.steps[:i], func(s StepState) bool { return !s.Done }); k >= 0 {
			return fmt.Errorf("step %d (%s) begins, and step %d (%s) before it isn't done", i, kind, k, c.job.VM.Steps[k].Kind)
		}
	case !c.steps[i].Begun:
		return fmt.Errorf("%q of step %d (%s), which hasn't begun", r.Event, i, kind)
	case r.Event == EventClaim && !traits.Claims:
		return fmt.Errorf("a claim of step %d (%s), which claims nothing", i, kind)
	}
	c.steps[i].take(r)
	if _, err := c.steps[i].Identity(); err != nil && kind == plan.StepCreate {
		return err
	}
	if kind == plan.StepRecheck && r.Event == EventDone {
		return json.Unmarshal(r.Data, new(Seen))
	}
	return nil
}

// Seen is what of a VM changes whenever it runs or is reconfigured. A recheck
// leaves it in the journal for those that follow.
type Seen struct {
	ChangeVersion string   `json:"changeVersion"`
	ContentIDs    []string `json:"contentIDs"`
	// Files says which state of the disks' files the host has, where it tells.
	Files []string `json:"files,omitempty"`
}
