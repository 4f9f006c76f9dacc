package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"esxodus/convert/domain"
	"esxodus/convert/host"
	"esxodus/disk"
)

// act carries out the steps of one run.
type act struct {
	Effects
	job     *VMJob
	journal *Journal
}

// act does one step and returns what the journal shall say of it. Doing a
// step again that was done in part, or whole, must come to the same.
func (a *act) act(ctx context.Context, i int, step Step, s stepState) (any, error) {
	switch step.Kind {
	case StepCreate, StepCopy, StepVerify:
		d, ok := a.job.VM.disk(step.Disk)
		if !ok {
			return nil, fmt.Errorf("the plan has no disk %q", step.Disk)
		}
		return a.actOnDisk(ctx, i, step, s, d)
	case StepPackages:
		a.Progress.Step(a.job.VM.Name, step.Text)
		return nil, a.fetch(ctx)
	case StepShutdown:
		a.Progress.Step(a.job.VM.Name, step.Text)
		return a.shutdown(ctx, i, step)
	case StepRecheck:
		return a.recheck(ctx)
	case StepTemplate:
		a.Progress.Step(a.job.VM.Name, step.Text)
		return nil, a.templates(ctx)
	case StepGuest:
		a.Progress.Step(a.job.VM.Name, step.Text)
		return a.convertGuest(ctx)
	case StepMerge:
		a.Progress.Step(a.job.VM.Name, step.Text)
		return a.merge(ctx)
	case StepDefine:
		a.Progress.Step(a.job.VM.Name, step.Text)
		return nil, a.define(ctx)
	case StepProve:
		return a.prove(ctx, step)
	}
	return nil, fmt.Errorf("the plan has a step of unknown kind %q: was it made by a newer esxodus?", step.Kind)
}

func (a *act) actOnDisk(ctx context.Context, i int, step Step, s stepState, d *Disk) (any, error) {
	switch step.Kind {
	case StepCreate:
		a.Progress.Step(a.job.VM.Name, step.Text)
		return nil, a.create(ctx, i, s, d)
	case StepCopy:
		return a.copyDisk(ctx, d)
	default:
		return a.verifyDisk(ctx, d)
	}
}

// undo takes a step's effect back, whole or partial.
func (a *act) undo(ctx context.Context, step Step, s stepState) error {
	switch step.Kind {
	case StepPackages:
		return os.RemoveAll(a.packagesDir())
	case StepShutdown:
		return a.powerOn(ctx, step, s)
	case StepCreate:
		return a.remove(ctx, step, s)
	case StepCopy:
		return disk.RemoveDigests(a.digestPath(step.Disk))
	case StepTemplate:
		return host.RemoveTemplates(a.templateDir())
	case StepGuest:
		return a.forgetGuest()
	case StepDefine:
		return a.Virt.Undefine(ctx, a.job.VM.Name, a.journal.Run())
	case StepProve:
		return a.cleanProof(ctx)
	case StepRecheck, StepVerify, StepMerge:
	}
	return nil
}

// create makes the disk's volume. What a crashed attempt left is taken over
// only where it is provably this run's.
func (a *act) create(ctx context.Context, i int, s stepState, d *Disk) error {
	id, err := s.identity()
	if err != nil {
		return err
	}
	state, err := a.Storage.State(ctx, d.Volume, a.journal.Run(), id)
	if err != nil {
		return err
	}
	switch state {
	case host.Ours:
		return nil
	case host.Foreign:
		return fmt.Errorf("%s exists and esxodus did not make it: it stays as it is; choose another name or remove it", d.Volume)
	case host.Absent:
	}
	return a.Storage.Create(ctx, d.Volume, a.journal.Run(), func(id host.Identity) error {
		return a.journal.step(i, EventClaim, id)
	})
}

// place is what the record of a step's begin says of where it makes something:
// the first that began knows, and an older esxodus didn't say.
func (a *act) place(ctx context.Context, step Step, s stepState) (any, error) {
	if step.Kind != StepCreate || s.claim != nil {
		return nil, nil //nolint:nilnil // there is nothing to say
	}
	id, err := s.identity()
	if err == nil && id.Place == "" {
		id.Place, err = a.Storage.Place(ctx)
	}
	return id, err
}

func (a *act) remove(ctx context.Context, step Step, s stepState) error {
	d, ok := a.job.VM.disk(step.Disk)
	if !ok {
		return fmt.Errorf("the plan has no disk %q", step.Disk)
	}
	id, err := s.identity()
	if err != nil {
		return err
	}
	err = a.Storage.Remove(ctx, d.Volume, a.journal.Run(), id)
	if p, ok := errors.AsType[*host.PlaceError](err); ok && a.Lost {
		a.Progress.Step(a.job.VM.Name, fmt.Sprintf("take %s for lost: %s", d.Volume, p.Why))
		return nil
	}
	return err
}

func (a *act) digestPath(address string) string {
	return a.journal.Path(address + ".digests")
}

// copyDisk fills the volume, going on from what the digests say is there.
func (a *act) copyDisk(ctx context.Context, d *Disk) (_ any, err error) {
	src, closeSrc, err := a.openSource(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeSrc()) }()
	if src.Size() != d.Size {
		return nil, fmt.Errorf("%s has %d bytes, the plan says %d: it has changed; plan anew", d.Path, src.Size(), d.Size)
	}
	stats, err := a.onVolume(ctx, d, src, doCopy, disk.Copy)
	return stats, err
}

// verifyDisk reads the volume back and holds it against the digests.
func (a *act) verifyDisk(ctx context.Context, d *Disk) (any, error) {
	// The digests are of a copy from an image of this size; it isn't read.
	source := disk.FromReaderAt(nil, d.Size)
	return a.onVolume(ctx, d, source, doVerify, disk.Verify)
}

// What the engine does, in words for the progress.
const (
	doCopy   = "copy"
	doVerify = "verify"
)

type engine func(context.Context, disk.Target, []disk.Mapping, disk.Options) (disk.Stats, error)

// onVolume runs the engine over a disk's volume with its digests.
func (a *act) onVolume(ctx context.Context, d *Disk, src disk.Image, what string, run engine) (stats disk.Stats, err error) {
	if err := a.ours(ctx, d); err != nil {
		return stats, err
	}
	dst, err := disk.OpenRaw(d.Volume.Path, true)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	maps, closeHead, err := a.mappings(d, src)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, closeHead()) }()
	digests, err := a.digests(d, what, dst.Size(), maps)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, digests.Close()) }()
	add, end := a.Progress.Begin(a.job.VM.Name, what+" "+d.Address, dst.Size())
	defer end()
	stats, err = run(ctx, dst, maps, disk.Options{Workers: a.Workers, Progress: add, Digests: digests, Rate: a.Rate})
	return stats, a.blame(d, err)
}

// ours makes sure, before a volume is opened, that it is the one that this run
// made, and makes it one that can be opened.
func (a *act) ours(ctx context.Context, d *Disk) error {
	var id host.Identity
	for i, s := range a.journal.steps() {
		if step := a.job.VM.Steps[i]; step.Kind != StepCreate || step.Disk != d.Address {
			continue
		}
		var err error
		if id, err = s.identity(); err != nil {
			return err
		}
	}
	state, err := a.Storage.State(ctx, d.Volume, a.journal.Run(), id)
	if err != nil {
		return keep(err)
	}
	if state != host.Ours {
		return keep(fmt.Errorf("%s is %s, not the one that this run made: it stays as it is; roll back", d.Volume, state))
	}
	return a.Storage.Activate(ctx, d.Volume)
}

// digests opens the disk's digest file, or makes it for a copy that begins.
func (a *act) digests(d *Disk, what string, size int64, maps []disk.Mapping) (*disk.Digests, error) {
	source := fmt.Sprintf("%s %s %s", a.job.Source.Host, a.job.VM.Source.InstanceUUID, d.Path)
	path := a.digestPath(d.Address)
	digests, err := disk.OpenDigests(path, source, size, maps)
	if what == doCopy && errors.Is(err, fs.ErrNotExist) {
		return disk.CreateDigests(path, source, size, maps)
	}
	return digests, err
}

// forgetLost takes back that disks were copied whose digests are gone before
// they were verified: they are copied again. An admin removes digests that are
// damaged.
func (a *act) forgetLost(states []stepState) {
	for i, step := range a.job.VM.Steps {
		if step.Kind != StepVerify || states[i].done {
			continue
		}
		if _, err := os.Lstat(a.digestPath(step.Disk)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		copied := slices.IndexFunc(a.job.VM.Steps, func(s Step) bool { return s.Kind == StepCopy && s.Disk == step.Disk })
		states[copied].done = false
	}
}

// sweep removes what killed runs left of digest files in the making.
func (a *act) sweep() error {
	for _, d := range a.job.VM.Disks {
		if err := disk.SweepDigests(a.digestPath(d.Address)); err != nil {
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
// digests did says nothing against what was copied. Nor does a block that
// differs from its digest say which of them is wrong.
func (a *act) blame(d *Disk, err error) error {
	if err == nil {
		return nil
	}
	if m, ok := errors.AsType[*disk.MismatchError](err); ok {
		return keep(fmt.Errorf("%w: either the storage gives back what wasn't written, or %s is damaged; remove that file to copy %s again, or roll back",
			m, a.digestPath(d.Address), d.Address))
	}
	_, read := errors.AsType[*disk.ReadError](err)
	_, digests := errors.AsType[*disk.DigestsError](err)
	if read || digests || errors.Is(err, disk.ErrNotCopied) {
		return keep(err)
	}
	return &targetError{err}
}

// define defines the domain, marked as this run's.
func (a *act) define(ctx context.Context) error {
	xml, err := domain.Tag(a.job.VM.Domain.XML, a.journal.Run())
	if err != nil {
		return err
	}
	// Hours of copying shall not go because libvirt is away or dislikes a line.
	return keep(a.Virt.Define(ctx, xml, a.job.VM.Domain.AutoStart, a.journal.Run()))
}
