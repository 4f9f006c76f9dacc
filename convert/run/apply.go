// Package run carries out a VM's part of a plan, step by step, each between its
// records in the journal, so that it can be resumed, rolled back or committed.
package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"esxodus/convert/cutover"
	"esxodus/convert/host"
	"esxodus/convert/journal"
	"esxodus/convert/layout"
	"esxodus/convert/packages"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/convert/stage"
	"esxodus/convert/volume"
	"esxodus/disk"
	"esxodus/inventory"
	"esxodus/inventory/redact"
	"esxodus/network/wire"
)

// Host is the ESXi host that a VM comes from.
type Host interface {
	// Inventory reads the host again.
	Inventory(ctx context.Context) (*inventory.Host, error)
	// OpenDisk opens the disk behind a descriptor for random reads. The
	// image and its close function are bound to ctx.
	OpenDisk(ctx context.Context, from plan.Origin) (disk.Image, func() error, error)
	// Shutdown asks the guest to shut down through the API or SSH, and returns
	// once the VM is off. Its error has a method Refused that returns true where the
	// guest was not asked, Unasked where nobody can ask it, and StillOn where it was asked
	// and hasn't shut down when ctx ends. PowerOn undoes it.
	Shutdown(ctx context.Context, via inventory.Via, id string) error
	PowerOn(ctx context.Context, via inventory.Via, id string) error
	// PowerOff cuts a VM's power, and returns once it is off.
	PowerOff(ctx context.Context, via inventory.Via, id string) error
	// AutoStart returns a VM's entry in the host's autostart, the zero one where it has
	// none; SetAutoStart changes it.
	AutoStart(ctx context.Context, via inventory.Via, id string) (inventory.AutoStartEntry, error)
	SetAutoStart(ctx context.Context, via inventory.Via, id string, e inventory.AutoStartEntry) error
	// Away reports whether an error of these, or of a disk's image, is that the host can't
	// be reached: it may come back.
	Away(err error) bool
}

// Hypervisor is libvirt on the target host.
type Hypervisor interface {
	Facts(ctx context.Context) (plan.TargetFacts, error)
	Define(ctx context.Context, xml string, autostart bool, run string) error
	Undefine(ctx context.Context, name, run string) error
	// Compare returns what the hypervisor made of a domain's XML, and how that differs.
	Compare(ctx context.Context, xml string) (made string, differs []string, err error)
	// Start starts the domain of a run, Stop ends it: by its power button, and after
	// patience for good. Neither touches another's; what is so already is no error.
	Start(ctx context.Context, name, run string) error
	Stop(ctx context.Context, name, run string, patience time.Duration) error
	// AutoStart has the domain of a run started, or not, with this host. One that isn't
	// there is no error.
	AutoStart(ctx context.Context, name, run string, on bool) error
	// Agent reports whether the guest's agent answers, and whether the domain runs.
	Agent(ctx context.Context, name, run string) (answers, runs bool, err error)
	// Prove starts a transient domain, watches it boot, and returns which
	// proof was had: none that is less than what is expected. network says whether
	// all that must answer there has, and all that is tried; nil where nothing is. line
	// gets each line of its console.
	// An error with a method PortTaken that returns true means that somebody has
	// the UDP port of one of its NICs. CleanProof destroys one that a killed run
	// left.
	Prove(ctx context.Context, xml string, want plan.Expect, network func() (answered, complete bool), line func(string)) (plan.Proof, error)
	CleanProof(ctx context.Context, name, run string) error
}

// Guests converts guests in an isolated appliance.
type Guests interface {
	// Templates makes the heads of the physical volumes of groups, as
	// pvhead.Make says.
	Templates(ctx context.Context, dir string, groups []layout.Group, source func(address string) (io.ReaderAt, error)) error
	// Fetch gets packages into a directory; what is there isn't fetched again.
	Fetch(ctx context.Context, set packages.Set, dir string) error
	// Convert carries the job's conversion out on overlays over its volumes,
	// in the order of the disks, with the packages in a directory of Fetch's,
	// and returns what is worth a journal's line. dir is an empty directory for
	// what it needs on the way, which is removed afterwards; report gets what
	// is being done.
	Convert(ctx context.Context, job *plan.VMJob, packages, dir string, overlays []string, report func(doing string)) (any, error)
}

// Progress learns how far a step is. Begin announces work on total bytes and
// returns what takes the deltas and what ends it.
type Progress interface {
	Begin(vm, what string, total int64) (add func(n int64), end func())
	// Step announces a step that has no measure.
	Step(vm, what string)
}

// Effects is everything that carrying out a plan acts through.
type Effects struct {
	Host     Host
	Storage  volume.Storage
	Virt     Hypervisor
	Guests   Guests
	Tool     host.Runner
	Root     string // under which /etc is; "" for /
	Progress Progress
	// Live takes places beside NICs on their real networks.
	Live func(nics []wire.LiveNIC) (Live, error)
	// Connections limits the blocks that all copies together read at a time.
	Connections *disk.Connections
	Rate        *disk.Rate // nil for no limit
	Lost        bool       // a rollback takes volumes for lost that are on what isn't there
	// Patience is how long a host is waited for that can't be reached; 0 for not at all.
	Patience time.Duration
	// Stop, once closed, has runs stop before their next step, and copies where they are.
	Stop     <-chan struct{}
	NoProof  bool // pass over a boot proof that the plan has: the admin knows better
	BootOnly bool // the same of its network alone
}

// ErrStopped means that a run ended early and keeps what it has done: `resume`
// continues it, `rollback` undoes it.
var ErrStopped = errors.New("stopped; nothing is lost")

// ErrUndone means that a run failed or was interrupted and everything it did
// is undone.
var ErrUndone = errors.New("everything that this run made was removed")

// undoTimeout bounds the undoing of one step after an interrupt.
const undoTimeout = 2 * time.Minute

// Apply carries out what is left of a run's steps. An error that wraps
// ErrStopped leaves the run for resume, one that wraps ErrUndone has undone
// it.
func Apply(ctx context.Context, j *runs.Journal, e Effects) error {
	if err := j.Live("resume"); err != nil {
		return err
	}
	if j.Undoing() {
		return stopped(fmt.Errorf("%s: a rollback has begun, so this run can't be resumed: finish it with `esxodus rollback %s`", j.Job().VM.Name, j.Job().VM.Name))
	}
	if err := sound(j); err != nil {
		return err
	}
	x := &executor{Effects: e, job: j.Job(), journal: j}
	var away outage
	err := x.advance(ctx)
	for back := true; back && err != nil; {
		if back, err = x.outlast(ctx, &away, err); back {
			err = x.advance(ctx)
		}
	}
	if err == nil {
		return nil
	}
	if !x.undoes(ctx, err) {
		return errors.Join(fmt.Errorf("%w: %w", ErrStopped, err), j.Add(journal.Record{Event: journal.EventStopped, Error: redact.Text(err.Error())}))
	}
	if rec := j.Add(journal.Record{Event: journal.EventStopped, Error: redact.Text(err.Error())}); rec != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrStopped, err), rec)
	}
	if undo := Rollback(context.WithoutCancel(ctx), j, e); undo != nil {
		return fmt.Errorf("%w; and undoing it: %w", err, undo)
	}
	return fmt.Errorf("%w; %w", err, ErrUndone)
}

// undoes reports whether an error undoes the run: an interrupt does, a failure of
// the target's storage, and what fails before anything is copied. All else leaves
// what was copied for a resume, also what nobody thought of.
func (x *executor) undoes(ctx context.Context, err error) bool {
	_, kept := errors.AsType[*keepError](err)
	_, unwritten := errors.AsType[*journal.WriteError](err)
	_, target := errors.AsType[*targetError](err)
	return ctx.Err() != nil || !kept && !unwritten && (target || !x.begun(plan.StepCopy))
}

// keepError marks an error after which the run's work is kept.
type keepError struct{ err error }

func (e *keepError) Error() string { return e.err.Error() }
func (e *keepError) Unwrap() error { return e.err }

// keep marks err, if it is one, as leaving the run's work in place.
func keep(err error) error {
	if err == nil {
		return nil
	}
	return &keepError{err}
}

// advance does the steps that aren't done.
func (x *executor) advance(ctx context.Context) error {
	if err := errors.Join(x.sweep(), keep(x.known(ctx))); err != nil {
		return err
	}
	states := x.journal.Steps()
	x.forgetLost(states)
	for i, step := range x.job.VM.Steps {
		again := deeds()[step.Kind].again && x.copiesAfter(i, states)
		if states[i].Done && !again {
			continue
		}
		if x.asked() {
			return keep(errAsked)
		}
		x.at = step.Kind
		if err := x.do(ctx, i, step, states[i]); err != nil {
			return fmt.Errorf("%s: %w", step.Text, err)
		}
	}
	return nil
}

// errAsked is why a run ends that was asked to stop.
var errAsked = errors.New("stopped, as was asked for")

// asked reports whether the run was asked to stop.
func (x *executor) asked() bool {
	select {
	case <-x.Stop:
		return true
	default:
		return false
	}
}

// stoppable does something that can be stopped at any moment, and gone on with.
func (x *executor) stoppable(ctx context.Context, do func(context.Context) (any, error)) (any, error) {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-x.Stop:
			stop(errAsked)
		case <-ended:
		}
	}()
	result, err := do(inner)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(inner), errAsked) {
		err = keep(errAsked)
	}
	return result, err
}

// copiesAfter reports whether a copy that follows step i is still to be done:
// then a resumed run checks the source again before it goes on.
func (x *executor) copiesAfter(i int, states []journal.StepState) bool {
	for k := i + 1; k < len(states); k++ {
		if x.job.VM.Steps[k].Kind == plan.StepCopy && !states[k].Done {
			return true
		}
	}
	return false
}

// do carries out one step between its journal records.
func (x *executor) do(ctx context.Context, i int, step plan.Step, s journal.StepState) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	place, err := x.place(ctx, step, s)
	if err != nil {
		return err
	}
	if err := x.journal.Step(i, journal.EventBegin, place); err != nil {
		return err
	}
	result, err := x.act(ctx, i, s)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if u, unproven := errors.AsType[*unprovenError](err); unproven {
			err = errors.Join(err, x.journal.Step(i, journal.EventFailed, u.saw))
		}
		return err
	}
	return x.journal.Step(i, journal.EventDone, result)
}

// sound compares the plan that is on record with what the planner makes.
func sound(j *runs.Journal) error {
	if err := j.Job().Check(); err != nil {
		return fmt.Errorf("%w: %s, line 1: the plan is not one that esxodus made: %w", ErrStopped, j.Path(journal.FileName), err)
	}
	return nil
}

// Rollback undoes every step that was begun, last first, and ends the run. Once
// it has begun it can only be repeated until it succeeds.
func Rollback(ctx context.Context, j *runs.Journal, e Effects) error {
	if err := j.Already("roll back", journal.RolledBack); err != nil {
		return err
	}
	if err := j.Live("roll back"); err != nil {
		return err
	}
	if err := undoAll(ctx, j, e); err != nil {
		return stopped(err)
	}
	return stopped(j.Add(journal.Record{Event: journal.EventEnd, Outcome: journal.RolledBack}))
}

// stopped marks the error of what can be repeated and has to be.
func stopped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrStopped, err)
}

func undoAll(ctx context.Context, j *runs.Journal, e Effects) error {
	x := &executor{Effects: e, job: j.Job(), journal: j}
	if err := errors.Join(x.unused(ctx), x.sweep()); err != nil {
		return err
	}
	if err := x.known(ctx); err != nil && !e.Lost {
		return err
	}
	states := j.Steps()
	if begun := func(s journal.StepState) bool { return s.Begun }; !j.Undoing() && slices.ContainsFunc(states, begun) {
		if err := j.Add(journal.Record{Event: journal.EventRollback}); err != nil {
			return err
		}
	}
	for i, s := range slices.Backward(states) {
		if !s.Begun {
			continue
		}
		if err := x.undoStep(ctx, i, s); err != nil {
			return fmt.Errorf("undoing %q: %w", x.job.VM.Steps[i].Text, err)
		}
	}
	return nil
}

// unused makes sure, before anything is undone, that no domain but this run's,
// switched off, uses its volumes.
func (x *executor) unused(ctx context.Context) error {
	return x.eachUser(ctx, func(k plan.KnownDomain, d *plan.Disk) error {
		if k.Active {
			return fmt.Errorf("the domain %s is running from %s: shut it down first", k.Name, d.Volume)
		}
		if k.Name != x.job.VM.Name {
			return fmt.Errorf("the domain %s uses %s: undefine it, or commit this run", k.Name, d.Volume)
		}
		return nil
	})
}

// eachUser calls do with each domain that uses a volume of this run's, and the
// disk, but for a boot proof of this run that is running, which only reads it.
func (x *executor) eachUser(ctx context.Context, do func(plan.KnownDomain, *plan.Disk) error) error {
	facts, err := x.Virt.Facts(ctx)
	if err != nil && !x.begun(plan.StepDefine) {
		return nil // there is no domain of this run's yet
	}
	if err != nil {
		return err
	}
	for _, k := range facts.Domains {
		for i, d := range x.job.VM.Disks {
			proof := k.Active && strings.HasPrefix(k.Name, x.proofName())
			if !slices.Contains(k.Disks, d.Volume.Path) || !x.begun(plan.StepCreate) || proof {
				continue
			}
			if err := do(k, &x.job.VM.Disks[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// known makes sure, before anything is done, undone or accepted, that the storage
// can say what has become of each volume.
func (x *executor) known(ctx context.Context) error {
	return x.journal.EachVolume(func(v volume.Volume, id volume.Identity) error {
		_, err := x.Storage.State(ctx, v, x.journal.Run(), id)
		return err
	})
}

func (x *executor) undoStep(ctx context.Context, i int, s journal.StepState) error {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	if err := x.undo(ctx, i, s); err != nil {
		return err
	}
	return x.journal.Step(i, journal.EventUndone, nil)
}

// Commit accepts the domain: its volumes lose the mark by which a rollback
// would know them, and the run ends. All steps must be done. Once it has begun
// it can only be repeated until it succeeds, not taken back.
func Commit(ctx context.Context, j *runs.Journal, e Effects) error {
	if err := j.Already("commit", journal.Committed); err != nil {
		return err
	}
	inPlace, err := inPlace(j)
	if err != nil {
		return err
	}
	s := j.State()
	if !s.Complete() && s.Phase != journal.PhaseCommitting {
		return fmt.Errorf("%s: is %s, %d of %d steps done: only a finished run can be committed; `esxodus status %[1]s` says what may follow",
			j.Job().VM.Name, s.Phase, s.Done, s.Steps)
	}
	if err := sound(j); err != nil {
		return err
	}
	if err := (&executor{Effects: e, job: j.Job(), journal: j}).known(ctx); err != nil {
		return stopped(err)
	}
	if !j.Committing() {
		if err := j.Add(journal.Record{Event: journal.EventCommit}); err != nil {
			return stopped(err)
		}
	}
	if err := release(ctx, j, e); err != nil {
		return stopped(err)
	}
	if j.Job().VM.Domain.AutoStart && !inPlace {
		if err := e.Virt.AutoStart(ctx, j.Job().VM.Name, j.Run(), true); err != nil {
			return stopped(err)
		}
	}
	return stopped(j.Add(journal.Record{Event: journal.EventEnd, Outcome: journal.Committed}))
}

// inPlace reports whether the domain took its VM's place by a cutover, which saw to how
// this host starts it.
func inPlace(j *runs.Journal) (bool, error) {
	s, err := cutover.Read(j.Path(""))
	return s != nil && s.Phase == cutover.PhaseDone, err
}

// release takes the run's mark off its volumes, which may be done again.
func release(ctx context.Context, j *runs.Journal, e Effects) error {
	if err := (&executor{job: j.Job(), journal: j}).sweep(); err != nil {
		return err
	}
	if err := j.EachVolume(func(v volume.Volume, id volume.Identity) error { return e.Storage.Release(ctx, v, j.Run(), id) }); err != nil {
		return err
	}
	return unstage(j.Job())
}

// unstage removes what a lease has brought, which nothing needs any more.
func unstage(job *plan.VMJob) error {
	for _, d := range job.VM.Disks {
		if from := d.Origin(); from.Way == plan.WayNFC {
			if err := stage.Remove(from.File); err != nil {
				return err
			}
		}
	}
	return nil
}
