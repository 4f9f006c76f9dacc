package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"esxodus/convert/cutover"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/inventory"
	"esxodus/inventory/redact"
	"esxodus/network/wire"
)

// Live asks guests on the real network, as [wire.Live] does.
type Live interface {
	Run(ctx context.Context) error
	Passed() bool
	Results() []wire.LiveResult
	Taken(running bool) []string
	Close() error
}

// ErrBack means that a cutover failed, or was interrupted, and was taken back.
var ErrBack = errors.New("the cutover was taken back")

const (
	// listenFor is how long it is listened, before a domain starts, for somebody who has
	// its addresses: RFC 5227 waits for as long (PROBE_NUM of them, up to PROBE_MAX apart).
	listenFor = 3 * time.Second
	// stopPatience is how long a domain that is taken back may take to shut down.
	stopPatience = time.Minute
	lookEvery    = 500 * time.Millisecond
)

// switcher carries out the cutover of one VM.
type switcher struct {
	*executor
	job *cutover.Job
	own *cutover.Journal
}

// CutOver does what is left of a cutover's steps. What fails, or is interrupted, is
// taken back, all of it: the error then wraps [ErrBack].
func CutOver(ctx context.Context, j *cutover.Journal, migration *runs.Journal, e Effects) error {
	x := newSwitcher(j, migration, e)
	if phase := j.Progress().Phase; phase != journal.PhaseUnfinished {
		return fmt.Errorf("the cutover of %s is %s: it can't be gone on with", x.job.Name, phase)
	}
	err := x.advance(ctx)
	if err == nil {
		return nil
	}
	record := j.Add(journal.Record{Event: journal.EventStopped, Error: redact.Text(err.Error())})
	if back := CutBack(context.WithoutCancel(ctx), j, migration, e); back != nil || record != nil {
		return fmt.Errorf("%w: %w; and taking it back: %w", ErrStopped, err, errors.Join(record, back))
	}
	if x.restarts() {
		return fmt.Errorf("%w; %w, and %q powered on again on %s: what was copied of it is old by now", err, ErrBack, x.job.VM, x.job.Host)
	}
	return fmt.Errorf("%w; %w", err, ErrBack)
}

func newSwitcher(j *cutover.Journal, migration *runs.Journal, e Effects) *switcher {
	return &switcher{executor: &executor{Effects: e, job: migration.Job(), journal: migration}, job: j.Job(), own: j}
}

func (x *switcher) advance(ctx context.Context) error {
	states := x.own.Steps()
	starts, _ := x.job.Step(cutover.StepStart)
	for i, s := range x.job.Acts {
		// What the source was is not what it is: looked at again until the domain starts.
		again := s.Kind == cutover.StepSource && !states[starts].Begun
		if states[i].Done && !again {
			continue
		}
		if err := x.act(ctx, i, &s); err != nil {
			return fmt.Errorf("%s: %w", s.Text, err)
		}
	}
	return nil
}

// act does one step between its records.
func (x *switcher) act(ctx context.Context, i int, s *cutover.Step) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	x.Progress.Step(x.job.Name, s.Text)
	place, err := x.found(ctx, i, s)
	if err != nil {
		return err
	}
	if err := x.own.Step(i, journal.EventBegin, place); err != nil {
		return err
	}
	var result any
	switch s.Kind {
	case cutover.StepSource:
		err = x.source(ctx)
	case cutover.StepAutoStart:
		err = x.autoStartOff(ctx, s, place)
	case cutover.StepStart:
		err = x.start(ctx)
	case cutover.StepAnswer:
		result, err = x.answer(ctx, s.Expect)
	case cutover.StepBoot:
		err = x.boots(ctx, s.Unit)
	}
	if err == nil {
		return x.own.Step(i, journal.EventDone, result)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// found is what a step's first attempt finds, for its undoing.
func (x *switcher) found(ctx context.Context, i int, s *cutover.Step) (any, error) {
	if s.Kind != cutover.StepAutoStart {
		return nil, nil // there is nothing to say
	}
	if before := x.own.Steps()[i].Place; before != nil {
		return cutover.EntryOf(before)
	}
	e, err := x.Host.AutoStart(ctx, s.Via, x.job.ID)
	return &cutover.Entry{AutoStartEntry: e}, err
}

// source makes sure that nothing has become of the VM since it was copied, and that
// its place on the network is free.
func (x *switcher) source(ctx context.Context) error {
	now, err := x.look(ctx)
	if err == nil {
		err = x.asSeen(now)
	}
	if err != nil {
		return fmt.Errorf("%w; what was copied is old then: `esxodus rollback %s`, and convert it again", err, x.job.Name)
	}
	live, err := x.live()
	if err != nil || live == nil {
		return err
	}
	listening, stop := context.WithTimeout(ctx, listenFor)
	err = errors.Join(live.Run(listening), live.Close())
	stop()
	if err == nil {
		err = context.Cause(ctx)
	}
	if taken := live.Taken(false); err == nil && len(taken) > 0 {
		err = fmt.Errorf("somebody has the VM's place on the network: %s: is it running elsewhere?", strings.Join(taken, "; "))
	}
	return err
}

// live takes places beside the NICs that are to answer; nil where there are none.
func (x *switcher) live() (Live, error) {
	_, s := x.job.Step(cutover.StepAnswer)
	if s == nil || len(s.Expect.NICs) == 0 {
		return nil, nil
	}
	var nics []wire.LiveNIC
	for _, n := range s.Expect.NICs {
		to := wire.LiveNIC{Name: n.Label(), MAC: n.MAC, Device: n.Device, Mode: n.Mode}
		for _, a := range n.Addresses {
			to.Addresses = append(to.Addresses, wire.Address{Tag: a.Tag, Prefix: a.Prefix, Shared: a.On != n.Name})
		}
		nics = append(nics, to)
	}
	return x.Live(nics)
}

// autoStartOff takes the VM out of its host's autostart, and looks whether it is.
func (x *switcher) autoStartOff(ctx context.Context, s *cutover.Step, place any) error {
	was, _ := place.(*cutover.Entry)
	if was == nil || !was.Starts() {
		return nil // it is out already
	}
	if err := x.Host.SetAutoStart(ctx, s.Via, x.job.ID, was.Off()); err != nil {
		return err
	}
	now, err := x.Host.AutoStart(ctx, s.Via, x.job.ID)
	if err == nil && now.Starts() {
		err = fmt.Errorf("%s took the change and starts %q all the same: take it out of the autostart there by hand", x.job.Host, x.job.VM)
	}
	return err
}

// start starts the domain, unless its VM runs by now.
func (x *switcher) start(ctx context.Context) error {
	vm, err := x.sourceNow(ctx, "is it on another host?")
	if err == nil {
		err = x.off(vm)
	}
	if err != nil {
		return err
	}
	return x.Virt.Start(ctx, x.job.Name, x.job.Migration)
}

// CutBack undoes a cutover, last step first. Once it has begun it can only be repeated
// until it succeeds.
func CutBack(ctx context.Context, j *cutover.Journal, migration *runs.Journal, e Effects) error {
	x := newSwitcher(j, migration, e)
	if j.Progress().Phase.Ended() {
		return fmt.Errorf("the cutover of %s was taken back: %w", x.job.Name, runs.ErrAlready)
	}
	if !j.Undoing() {
		if err := j.Add(journal.Record{Event: journal.EventRollback}); err != nil {
			return err
		}
	}
	started := x.started()
	for i, s := range slices.Backward(j.Steps()) {
		if !s.Begun {
			continue
		}
		if err := x.back(ctx, i, s, started); err != nil {
			return stopped(fmt.Errorf("taking back %q: %w", x.job.Acts[i].Text, err))
		}
		if err := j.Step(i, journal.EventUndone, nil); err != nil {
			return stopped(err)
		}
	}
	return stopped(j.Add(journal.Record{Event: journal.EventEnd, Outcome: journal.RolledBack}))
}

// started reports whether the domain may have been started, by any attempt.
func (x *switcher) started() bool {
	starts, _ := x.job.Step(cutover.StepStart)
	return slices.ContainsFunc(x.own.Records(), func(r journal.Record) bool {
		return r.Event == journal.EventBegin && r.Step != nil && *r.Step == starts
	})
}

// restarts reports whether taking it back powers the VM on again: where the migration
// shut it down, and the domain was to take its place. A cutover that never came that
// far leaves it off, and the copy good.
func (x *switcher) restarts() bool {
	_, s := x.job.Step(cutover.StepSource)
	return s != nil && s.Via != "" && x.started()
}

// back takes back one step.
func (x *switcher) back(ctx context.Context, i int, s journal.StepState, started bool) error {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	act := &x.job.Acts[i]
	switch act.Kind {
	case cutover.StepStart:
		x.Progress.Step(x.job.Name, fmt.Sprintf("stop the domain %s", x.job.Name))
		return x.Virt.Stop(ctx, x.job.Name, x.job.Migration, stopPatience)
	case cutover.StepAutoStart:
		return x.autoStartBack(ctx, act, s)
	case cutover.StepSource:
		if act.Via == "" || !started {
			return nil
		}
		x.Progress.Step(x.job.Name, fmt.Sprintf("power %q on again", x.job.VM))
		return x.Host.PowerOn(ctx, act.Via, x.job.ID)
	case cutover.StepBoot:
		return x.bootsNot(ctx, act.Unit)
	case cutover.StepAnswer:
	}
	return nil
}

// autoStartBack puts back the VM's entry in its host's autostart.
func (x *switcher) autoStartBack(ctx context.Context, act *cutover.Step, s journal.StepState) error {
	if s.Place == nil {
		return nil
	}
	was, err := cutover.EntryOf(s.Place)
	if err != nil || !was.Starts() {
		return err
	}
	now, err := x.Host.AutoStart(ctx, act.Via, x.job.ID)
	if err != nil || now == was.AutoStartEntry {
		return err
	}
	x.Progress.Step(x.job.Name, fmt.Sprintf("put %q back into the autostart of %s", x.job.VM, x.job.Host))
	return x.Host.SetAutoStart(ctx, act.Via, x.job.ID, was.AutoStartEntry)
}

// Twice says that a VM runs on its source though its domain has its place, "" where it
// doesn't.
func Twice(ctx context.Context, h Host, job *plan.VMJob) (string, error) {
	host, err := h.Inventory(ctx)
	if err != nil {
		return "", err
	}
	vm, err := host.Find(job.VM.Source.ID)
	if err != nil {
		return "", nil // it was removed there, as it should be
	}
	if vm.Power != inventory.PoweredOn {
		return "", nil
	}
	return fmt.Sprintf("%q RUNS ON %s BESIDE ITS DOMAIN %s: two machines with one name, one MAC and one address, and what each of them writes the other lacks. Stop one of them now",
		vm.Name, host.Name, job.VM.Name), nil
}
