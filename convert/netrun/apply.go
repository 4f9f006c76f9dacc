package netrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"esxodus/convert/host"
	"esxodus/convert/journal"
	"esxodus/network"
)

// Machine is the host whose networking is changed.
type Machine interface {
	Read(ctx context.Context) (network.Host, error)
	Reload(ctx context.Context) error
	Make(d network.Device) error
	Remove(d network.Device) error
	Up(link string) error
	Down(link string) error
	MakeFunctions(f network.FunctionChange) error
	RemoveFunctions(f network.FunctionChange) error
}

// Virtuals are libvirt's own networks, or LXD's bridges.
type Virtuals interface {
	Virtual(ctx context.Context, name string) (network.Virtual, bool, error)
	RemoveVirtual(ctx context.Context, was network.Virtual) error
	RestoreVirtual(ctx context.Context, was network.Virtual) error
}

// Effects is what changes are made through.
type Effects struct {
	Machine Machine
	Root    string      // under which /etc is; "" for /
	Tool    host.Runner // for udevadm, etckeeper and git
	// Libvirt is the libvirt of a URI.
	Libvirt func(uri string) Virtuals
	LXD     Virtuals // this machine's
	// Ask asks the admin whether the host can be reached, until ctx ends; nil
	// where nobody can answer here, and [Dir.Confirm] does.
	Ask  func(ctx context.Context) error
	Step func(text string) // is told what is being done
	Note func(text string) // is told what went wrong and stops nothing
}

// ErrStopped means that what was done couldn't be undone: `esxodus network rollback`
// goes on.
var ErrStopped = errors.New("stopped; run `esxodus network rollback`")

// ErrUndone means that a run failed, and that all is as it was.
var ErrUndone = errors.New("everything is as it was")

// undoTimeout bounds what is undone after a failure or an interrupt.
const undoTimeout = 2 * time.Minute

type executor struct {
	Effects
	job     *Job
	journal *Journal
}

// Apply does what is left of a run's steps. What fails is undone, all of it.
func Apply(ctx context.Context, j *Journal, e Effects) error {
	if phase := j.Progress().Phase; phase != journal.PhaseUnfinished {
		return fmt.Errorf("this run is %s: it can't be applied", phase)
	}
	x := &executor{Effects: e, job: j.Job(), journal: j}
	err := x.advance(ctx)
	if err == nil {
		return nil
	}
	record := j.Add(journal.Record{Event: journal.EventStopped, Error: err.Error()})
	if undo := Rollback(context.WithoutCancel(ctx), j, e); undo != nil || record != nil {
		return fmt.Errorf("%w: %w", ErrStopped, errors.Join(err, record, undo))
	}
	return fmt.Errorf("%w; %w", err, ErrUndone)
}

func (x *executor) advance(ctx context.Context) error {
	states := x.journal.Steps()
	for i, s := range x.job.Changes.Steps {
		if states[i].Done {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := x.do(ctx, i, s, states[i]); err != nil {
			return fmt.Errorf("%s: %w", s.Text, err)
		}
	}
	return nil
}

// do carries out a step between its records.
func (x *executor) do(ctx context.Context, i int, s network.Step, state journal.StepState) error {
	if x.Step != nil {
		x.Step(s.Text)
	}
	place, err := x.place(ctx, s, state)
	if err != nil {
		return err
	}
	if err := x.journal.Step(i, journal.EventBegin, place); err != nil {
		return err
	}
	if err := x.act(ctx, s); err != nil {
		return err
	}
	return x.journal.Step(i, journal.EventDone, nil)
}

// place is what a step finds, for its undoing: what its first attempt found.
func (x *executor) place(ctx context.Context, s network.Step, state journal.StepState) (any, error) {
	switch {
	case s.Kind != network.StepFile && s.Kind != network.StepVirtual && s.Kind != network.StepVFs:
		return nil, nil
	case state.Place != nil:
		return json.RawMessage(state.Place.Data), nil
	case s.Kind == network.StepVirtual:
		return x.virtual(ctx, s.Virtual)
	case s.Kind == network.StepVFs:
		return x.none(ctx, s.VFs)
	}
	return x.look(s.File)
}

func (x *executor) act(ctx context.Context, s network.Step) error {
	switch s.Kind {
	case network.StepFile:
		return x.write(s.File)
	case network.StepUdev:
		_, err := x.Tool.Run(ctx, "udevadm", "control", "--reload")
		return err
	case network.StepReload:
		return x.Machine.Reload(ctx)
	case network.StepDevice:
		return x.Machine.Make(*s.Device)
	case network.StepUp:
		return x.Machine.Up(s.Link)
	case network.StepVFs:
		return x.Machine.MakeFunctions(*s.VFs)
	case network.StepVirtual:
		return x.setVirtual(ctx, s.Virtual)
	case network.StepCheck:
		return x.check(ctx)
	case network.StepConfirm:
		return x.confirm(ctx)
	case network.StepRecord:
		x.record(ctx, "esxodus: network devices for domains")
		return nil
	}
	return fmt.Errorf("%q is no kind of step", s.Kind)
}

// Rollback undoes what a run has done, last first. It can be repeated until it
// succeeds.
func Rollback(ctx context.Context, j *Journal, e Effects) error {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	x := &executor{Effects: e, job: j.Job(), journal: j}
	states := j.Steps()
	begun := func(s journal.StepState) bool { return s.Begun }
	if !j.Undoing() && slices.ContainsFunc(states, begun) {
		if err := j.Add(journal.Record{Event: journal.EventRollback}); err != nil {
			return err
		}
	}
	recorded := false
	for i, s := range slices.Backward(states) {
		if !s.Begun {
			continue
		}
		step := x.job.Changes.Steps[i]
		recorded = recorded || step.Kind == network.StepRecord
		if err := x.undo(ctx, step, s); err != nil {
			return fmt.Errorf("undoing %q: %w", step.Text, err)
		}
		if err := j.Step(i, journal.EventUndone, nil); err != nil {
			return err
		}
	}
	if recorded {
		x.record(ctx, "esxodus: network devices for domains, rolled back")
	}
	return j.Add(journal.Record{Event: journal.EventEnd, Outcome: journal.RolledBack})
}

// undo takes a step's effect away. networkd isn't told of the files that go: by
// now it may have read the uplinks' drop-ins, and a reload without them would
// configure those links anew. What it keeps in mind until it starts again makes no
// device.
func (x *executor) undo(ctx context.Context, s network.Step, state journal.StepState) error {
	switch s.Kind {
	case network.StepFile:
		var w was
		if err := placeOf(&state, &w); err != nil {
			return err
		}
		return x.restore(s.File, w)
	case network.StepDevice:
		return x.Machine.Remove(*s.Device)
	case network.StepUp:
		return x.Machine.Down(s.Link)
	case network.StepVirtual:
		var w network.Virtual
		if err := placeOf(&state, &w); err != nil {
			return err
		}
		return x.unsetVirtual(ctx, s.Virtual, w)
	case network.StepVFs:
		return x.unmake(ctx, *s.VFs)
	case network.StepUdev, network.StepReload, network.StepCheck, network.StepConfirm, network.StepRecord:
	}
	return nil
}
