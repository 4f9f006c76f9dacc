package netrun

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"esxodus/convert/journal"
)

// Dir is the directory of state that holds a directory for each run.
type Dir string

// Journal is the open journal of a run.
type Journal = journal.Journal[*Job]

// Phases of a run whose steps are all done, of one that waits for the admin, and
// of one whose process is gone and its guard too, as after a power cut.
const (
	PhaseApplied journal.Phase = "applied"
	PhaseWaiting journal.Phase = "waiting for your confirmation"
	PhaseCutOff  journal.Phase = "cut off"
)

// State is what a journal says has become of a run.
type State struct {
	journal.Progress
	Host     string    `json:"host"`
	Running  bool      `json:"running"`
	Deadline time.Time `json:"deadline,omitzero"` // of the confirmation, while that is waited for
	Leavings string    `json:"leavings"`
}

// Live reports whether there is something to undo.
func (s State) Live() bool { return s.Phase != journal.PhaseRolledBack }

// path is the directory of a run.
func (d Dir) path(run string) string { return filepath.Join(string(d), "network", run) }

// post is the directory whose lock the guard of a run holds.
func (d Dir) post(run string) string { return filepath.Join(d.path(run), "guard") }

// List returns all runs, the first one first.
func (d Dir) List() ([]State, error) {
	entries, err := os.ReadDir(filepath.Join(string(d), "network"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	var states []State
	for _, e := range entries {
		h, err := journal.Read[*Job](d.path(e.Name()))
		if errors.Is(err, journal.ErrEmpty) || errors.Is(err, fs.ErrNotExist) {
			continue // nothing was done
		}
		if err != nil {
			return nil, err // whose run it is, and when, can't be told
		}
		states = append(states, d.state(h))
	}
	slices.SortFunc(states, func(a, b State) int { return a.Started.Compare(b.Started) })
	return states, nil
}

func (d Dir) state(h *journal.History[*Job]) State {
	run := h.Run()
	s := State{Progress: h.Progress(), Host: h.Job().Host, Running: journal.Locked(d.path(run)), Leavings: h.Job().Leavings()}
	at := confirming(h)
	switch {
	case s.Phase != journal.PhaseUnfinished:
	case s.Done == s.Steps:
		s.Phase = PhaseApplied
	case !s.Running && !journal.Locked(d.post(run)):
		s.Phase = PhaseCutOff
	case !at.IsZero():
		s.Phase, s.Deadline = PhaseWaiting, at.Add(h.Job().Within)
	}
	return s
}

// Last returns the newest run that isn't rolled back.
func (d Dir) Last() (State, bool, error) {
	states, err := d.List()
	for _, s := range slices.Backward(states) {
		if s.Live() {
			return s, true, err
		}
	}
	return State{}, false, err
}

// Create starts the journal of a new run.
func (d Dir) Create(job *Job) (*Journal, error) {
	run := journal.NewRun()
	return journal.Create(d.path(run), job, run)
}

// Open opens the journal of a run and locks it.
func (d Dir) Open(run string) (*Journal, error) { return journal.Open[*Job](d.path(run)) }

// Confirm leaves word for the run that waits for it that the host can be reached.
func (d Dir) Confirm(run string) error {
	if err := os.WriteFile(filepath.Join(d.path(run), confirmed), nil, 0o600); err != nil {
		return fmt.Errorf("confirming: %w", err)
	}
	return nil
}
