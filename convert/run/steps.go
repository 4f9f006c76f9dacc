package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"esxodus/convert/domain"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/convert/volume"
	"esxodus/disk"
)

// executor carries out the steps of one run.
type executor struct {
	Effects
	job     *plan.VMJob
	journal *runs.Journal
	at      plan.Kind // of the step at work
}

// task is one step of a run, and how far it got.
type task struct {
	plan.Step
	index int
	state journal.StepState
	disk  *plan.Disk // of a step that has one
}

// deed is how steps of a kind are done. Doing one again that was done in part, or
// whole, must give the same; undo takes back what it did, whole or in part.
type deed struct {
	says  bool // announces itself; all others are announced by the step's text
	stops bool // may be stopped at any moment, to be gone on with
	again bool // is done again by a run that still has something to copy after it
	do    func(*executor, context.Context, *task) (any, error)
	undo  func(*executor, context.Context, *task) error // nil: it leaves nothing
}

// deeds is how each kind of step is done.
func deeds() map[plan.Kind]deed {
	return map[plan.Kind]deed{
		plan.StepPackages: {do: (*executor).fetch, undo: (*executor).forgetPackages},
		plan.StepShutdown: {do: (*executor).shutdown, undo: (*executor).powerOn},
		plan.StepUnused:   {do: (*executor).findUnused, undo: (*executor).forgetUnused},
		plan.StepCreate:   {do: (*executor).create, undo: (*executor).remove},
		plan.StepTemplate: {do: (*executor).templates, undo: (*executor).forgetTemplates},
		plan.StepCopy:     {says: true, stops: true, do: (*executor).copyDisk, undo: (*executor).forgetDigests},
		plan.StepRecheck:  {says: true, again: true, do: (*executor).recheck},
		plan.StepVerify:   {says: true, do: (*executor).verifyDisk},
		plan.StepGuest:    {do: (*executor).convertGuest, undo: (*executor).forgetGuest},
		plan.StepMerge:    {do: (*executor).merge},
		plan.StepDefine:   {do: (*executor).define, undo: (*executor).undefine},
		plan.StepProve:    {says: true, do: (*executor).prove, undo: (*executor).forgetProof},
	}
}

// task returns step i and how it is done.
func (x *executor) task(i int, s journal.StepState) (*task, deed, error) {
	t := &task{Step: x.job.VM.Steps[i], index: i, state: s}
	how, ok := deeds()[t.Kind]
	if !ok {
		return nil, deed{}, fmt.Errorf("the plan has a step of unknown kind %q: was it made by a newer esxodus?", t.Kind)
	}
	if traits, _ := t.Kind.Traits(); traits.PerDisk {
		if t.disk, ok = x.job.VM.Disk(t.Disk); !ok {
			return nil, deed{}, fmt.Errorf("the plan has no disk %q", t.Disk)
		}
	}
	return t, how, nil
}

// act does one step and returns what the journal says of it.
func (x *executor) act(ctx context.Context, i int, s journal.StepState) (any, error) {
	t, how, err := x.task(i, s)
	if err != nil {
		return nil, err
	}
	if !how.says {
		x.Progress.Step(x.job.VM.Name, t.Text)
	}
	if !how.stops {
		return how.do(x, ctx, t)
	}
	return x.stoppable(ctx, func(ctx context.Context) (any, error) { return how.do(x, ctx, t) })
}

// undo takes a step's effect back, whole or partial.
func (x *executor) undo(ctx context.Context, i int, s journal.StepState) error {
	t, how, err := x.task(i, s)
	if err != nil || how.undo == nil {
		return err
	}
	return how.undo(x, ctx, t)
}

// create makes the disk's volume. What a crashed attempt left is taken over
// only where it is provably this run's.
func (x *executor) create(ctx context.Context, t *task) (any, error) {
	id, err := runs.Identity(&t.state)
	if err != nil {
		return nil, err
	}
	vol := t.disk.Volume
	state, err := x.Storage.State(ctx, vol, x.journal.Run(), id)
	if err != nil {
		return nil, err
	}
	switch state {
	case volume.Ours:
		return nil, nil // there is nothing to say
	case volume.Foreign:
		return nil, fmt.Errorf("%s exists and esxodus did not make it: it stays as it is; choose another name, or remove it", vol)
	case volume.Absent:
	}
	return nil, x.Storage.Create(ctx, vol, x.journal.Run(), func(id volume.Identity) error {
		return x.journal.Step(t.index, journal.EventClaim, id)
	})
}

// place is what the record of a step's begin says of where it makes something:
// the first that began knows, and an older esxodus didn't say.
func (x *executor) place(ctx context.Context, step plan.Step, s journal.StepState) (any, error) {
	if step.Kind != plan.StepCreate || s.Claim != nil {
		return nil, nil // there is nothing to say
	}
	id, err := runs.Identity(&s)
	if err == nil && id.Place == "" {
		id.Place, err = x.Storage.Place(ctx)
	}
	return id, err
}

func (x *executor) remove(ctx context.Context, t *task) error {
	id, err := runs.Identity(&t.state)
	if err != nil {
		return err
	}
	err = x.Storage.Remove(ctx, t.disk.Volume, x.journal.Run(), id)
	if p, ok := errors.AsType[*volume.PlaceError](err); ok && x.Lost {
		x.Progress.Step(x.job.VM.Name, fmt.Sprintf("treat %s as lost: %s", t.disk.Volume, p.Why))
		return nil
	}
	return err
}

func (x *executor) forgetDigests(_ context.Context, t *task) error {
	return errors.Join(disk.RemoveDigests(x.digestPath(t.Disk)), disk.RemoveDigests(x.laterPath(t.Disk)))
}

func (x *executor) digestPath(address string) string {
	return x.journal.Path(address + ".digests")
}

// laterPath is where the digests are of what a guest's conversion wrote to a disk.
func (x *executor) laterPath(address string) string {
	return x.journal.Path(address + ".converted.digests")
}

// copyDisk fills the volume, going on from what the digests say is there.
func (x *executor) copyDisk(ctx context.Context, t *task) (_ any, err error) {
	d := t.disk
	src, closeSrc, err := x.openSource(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeSrc()) }()
	if src.Size() != d.Size {
		return nil, fmt.Errorf("%s has %d bytes, but the plan says %d: it has changed; plan again", d.Path, src.Size(), d.Size)
	}
	if src, err = x.needed(d, src); err != nil {
		return nil, err
	}
	stats, err := x.onVolume(ctx, d, src, doCopy, disk.Copy)
	return stats, err
}

// verifyDisk reads the volume back and compares it with the digests.
func (x *executor) verifyDisk(ctx context.Context, t *task) (any, error) {
	source, err := x.stand(t.disk)
	if err != nil {
		return nil, err
	}
	return x.onVolume(ctx, t.disk, source, doVerify, disk.Verify)
}

// What the engine does, in words for the progress.
const (
	doCopy   = "copy"
	doVerify = "verify"
)

type engine func(context.Context, disk.Target, []disk.Mapping, disk.Options) (disk.Stats, error)

// onVolume runs the engine over a disk's volume with its digests.
func (x *executor) onVolume(ctx context.Context, d *plan.Disk, src disk.Image, what string, run engine) (stats disk.Stats, err error) {
	if err := x.ours(ctx, d); err != nil {
		return stats, err
	}
	dst, err := disk.OpenRaw(d.Volume.Path, true)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if from, ok, err := x.Storage.Blank(ctx, d.Volume); err != nil {
		return stats, err
	} else if ok {
		dst.Blank(from)
	}
	maps, closeHead, err := x.mappings(d, src)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, closeHead()) }()
	digests, err := x.digests(d, what, dst.Size(), maps)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, digests.Close()) }()
	add, end := x.Progress.Begin(x.job.VM.Name, what+" "+d.Address, dst.Size())
	defer end()
	o := disk.Options{Progress: add, Digests: digests, Rate: x.Rate}
	if what == doCopy {
		o.Connections = x.Connections
	}
	stats, err = run(ctx, dst, maps, o)
	return stats, x.poolSays(ctx, d, x.blame(d, err))
}

// ours makes sure, before a volume is opened, that it is the one that this run
// made, and makes it one that can be opened.
func (x *executor) ours(ctx context.Context, d *plan.Disk) error {
	var id volume.Identity
	for i, s := range x.journal.Steps() {
		if step := x.job.VM.Steps[i]; step.Kind != plan.StepCreate || step.Disk != d.Address {
			continue
		}
		var err error
		if id, err = runs.Identity(&s); err != nil {
			return err
		}
	}
	state, err := x.Storage.State(ctx, d.Volume, x.journal.Run(), id)
	if err != nil {
		return keep(err)
	}
	if state != volume.Ours {
		return keep(fmt.Errorf("%s is %s, not the one that this run made: it stays as it is; roll back", d.Volume, state))
	}
	return x.Storage.Activate(ctx, d.Volume)
}

// digests opens the disk's digest file, or makes it for a copy that begins.
func (x *executor) digests(d *plan.Disk, what string, size int64, maps []disk.Mapping) (*disk.Digests, error) {
	path := x.digestPath(d.Address)
	digests, err := disk.OpenDigests(path, x.digestSource(d), size, maps)
	switch {
	case what == doCopy && errors.Is(err, fs.ErrNotExist):
		return disk.CreateDigests(path, x.digestSource(d), size, maps)
	case errors.Is(err, disk.ErrDamaged), errors.Is(err, disk.ErrOtherPlan):
		return nil, fmt.Errorf("%w; remove it to copy from the start", err)
	}
	return digests, err
}

// digestSource names what a disk's digests are of.
func (x *executor) digestSource(d *plan.Disk) string {
	return fmt.Sprintf("%s %s %s", x.job.Source.Host, x.job.VM.Source.InstanceUUID, d.Path)
}

// laterSource names what the digests at [executor.laterPath] are of.
func (x *executor) laterSource(d *plan.Disk) string { return x.digestSource(d) + " converted" }

// forgetLost takes back that disks were copied whose digests are gone before
// they were verified: they are copied again. An admin removes digests that are
// damaged.
func (x *executor) forgetLost(states []journal.StepState) {
	for i, step := range x.job.VM.Steps {
		if step.Kind != plan.StepVerify || states[i].Done {
			continue
		}
		if _, err := os.Lstat(x.digestPath(step.Disk)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		copied := slices.IndexFunc(x.job.VM.Steps, func(s plan.Step) bool { return s.Kind == plan.StepCopy && s.Disk == step.Disk })
		states[copied].Done = false
	}
}

// sweep removes what killed runs left of digest files in the making.
func (x *executor) sweep() error {
	for _, d := range x.job.VM.Disks {
		if err := errors.Join(disk.SweepDigests(x.digestPath(d.Address)), disk.SweepDigests(x.laterPath(d.Address))); err != nil {
			return keep(err)
		}
	}
	return nil
}

// targetError is a failure of the target's storage (full, broken), which doesn't
// go away by trying again: it undoes the run.
type targetError struct{ err error }

func (e *targetError) Error() string { return e.err.Error() }
func (e *targetError) Unwrap() error { return e.err }

// blame says whose error one of the copy engine's is. What the source or the
// digests did doesn't count against what was copied. Nor does a block that
// differs from its digest say which of them is wrong.
func (x *executor) blame(d *plan.Disk, err error) error {
	if err == nil {
		return nil
	}
	if m, ok := errors.AsType[*disk.MismatchError](err); ok {
		return keep(fmt.Errorf("%w: either the storage returns what wasn't written, or %s is damaged; remove that file to copy %s again, or roll back",
			m, x.digestPath(d.Address), d.Address))
	}
	_, read := errors.AsType[*disk.ReadError](err)
	_, digests := errors.AsType[*disk.DigestsError](err)
	if read || digests || errors.Is(err, disk.ErrNotCopied) {
		return keep(err)
	}
	return &targetError{err}
}

// define defines the domain, marked as this run's.
func (x *executor) define(ctx context.Context, _ *task) (any, error) {
	xml, err := domain.Tag(x.job.VM.Domain.XML, x.journal.Run())
	if err != nil {
		return nil, err
	}
	// Don't throw away hours of copying because libvirt is down or rejects the XML.
	// This host starts it at its boot only when it is in its VM's place, or accepted:
	// before that the VM may run.
	if err := x.Virt.Define(ctx, xml, false, x.journal.Run()); err != nil {
		return nil, keep(err)
	}
	made, _, err := x.Virt.Compare(ctx, xml)
	return defined{digest(made)}, keep(err)
}

func (x *executor) undefine(ctx context.Context, _ *task) error {
	return x.Virt.Undefine(ctx, x.job.VM.Name, x.journal.Run())
}
