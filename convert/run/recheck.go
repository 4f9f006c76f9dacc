package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/disk"
	"esxodus/inventory"
)

// recheck reads the host again and compares the VM with the plan's, and with
// what the run's first recheck saw. Once a copy has begun, a mismatch keeps it:
// what is wrong may be at the source's end alone.
func (x *executor) recheck(ctx context.Context, _ *task) (any, error) {
	x.Progress.Step(x.job.VM.Name, "check that the source is off and unchanged")
	now, err := x.look(ctx)
	if err == nil {
		err = x.asSeen(now)
	}
	if x.begun(plan.StepCopy) {
		err = keep(err)
	}
	return now, err
}

func (x *executor) look(ctx context.Context) (now runs.Seen, err error) {
	vm, err := x.sourceNow(ctx, "plan again")
	if err != nil {
		return now, err
	}
	now.ChangeVersion = vm.ChangeVersion
	for _, d := range vm.Disks {
		now.ContentIDs = append(now.ContentIDs, d.ContentID)
	}
	if err := x.off(vm); err != nil {
		return now, err
	}
	if err := unchanged(&x.job.VM.Source, vm); err != nil {
		return now, err
	}
	now.Files, err = x.files(ctx)
	return now, err
}

// sourceNow is the VM as the source has it now. advice is for one that it doesn't have.
func (x *executor) sourceNow(ctx context.Context, advice string) (*inventory.VM, error) {
	h, err := x.Host.Inventory(ctx)
	if err != nil {
		return nil, keep(err)
	}
	planned := &x.job.VM.Source
	i := slices.IndexFunc(h.VMs, func(vm inventory.VM) bool { return vm.ID == planned.ID })
	if i < 0 {
		return nil, fmt.Errorf("%q (id %s) is no longer on %s; %s", planned.Name, planned.ID, h.Name, advice)
	}
	return &h.VMs[i], nil
}

// mayRun says why a VM may be running, "" if it is off. What the admin said of one
// holds for the files that were beside its .vmx then.
func (x *executor) mayRun(vm *inventory.VM) string {
	v := &x.job.VM
	return x.job.Source.MayRun(vm, v.Off && slices.Equal(v.Source.Locks, vm.Locks))
}

// off makes sure that the VM is off.
func (x *executor) off(vm *inventory.VM) error {
	switch why := x.mayRun(vm); {
	case why == "":
		return nil
	case x.job.Source.From != "":
		return fmt.Errorf("%q: %s: its disks would change under the copy; shut it down", vm.Name, why)
	}
	return fmt.Errorf("%q is %s: its disks change under the copy; shut it down (or plan with --shutdown)", vm.Name, vm.Power)
}

// versioned is what an image may be that tells which state of its files it
// reads.
type versioned interface{ Versions() []string }

// files asks which state of the disks' files the host has: what the API tells
// of them stays the same where somebody writes to a file by hand, or where what
// is in between answers with an older copy.
func (x *executor) files(ctx context.Context) (all []string, err error) {
	for _, d := range x.job.VM.Disks {
		img, closeImage, err := x.Host.OpenDisk(ctx, d.Origin())
		switch {
		case err != nil && x.begun(plan.StepShutdown):
			return nil, err // as long as nothing is copied the VM isn't left off for what is wrong with the way there
		case err != nil:
			return nil, keep(err)
		}
		if v, ok := img.(versioned); ok {
			all = append(all, v.Versions()...)
		}
		if err := closeImage(); err != nil {
			return nil, keep(err)
		}
	}
	return all, nil
}

// asSeen compares the VM with what the run's first recheck saw: a VM that the
// run shut down may have been started and stopped again since.
func (x *executor) asSeen(now runs.Seen) error {
	first, ok, err := x.firstSeen()
	if err != nil || !ok {
		return err
	}
	if first.ChangeVersion != now.ChangeVersion || !slices.Equal(first.ContentIDs, now.ContentIDs) {
		return fmt.Errorf("%q was started or changed since this run began: roll back, and plan again", x.job.VM.Source.Name)
	}
	return sameFiles(first.Files, now.Files)
}

// firstSeen is what the run's first recheck saw, if there was one.
func (x *executor) firstSeen() (first runs.Seen, ok bool, err error) {
	for _, r := range x.journal.Records() {
		if r.Event != journal.EventDone || r.Step == nil || x.job.VM.Steps[*r.Step].Kind != plan.StepRecheck {
			continue
		}
		if err := json.Unmarshal(r.Data, &first); err != nil {
			return first, false, fmt.Errorf("journal: what the first check saw: %w", err)
		}
		return first, true, nil
	}
	return first, false, nil
}

// openSource opens a disk to take what is on it to the target.
func (x *executor) openSource(ctx context.Context, d *plan.Disk) (disk.Image, func() error, error) {
	img, closeImage, err := x.Host.OpenDisk(ctx, d.Origin())
	if err != nil {
		return nil, nil, keep(err)
	}
	if err := x.asChecked(img); err != nil {
		return nil, nil, errors.Join(keep(err), closeImage())
	}
	return img, closeImage, nil
}

// asChecked makes sure that what is about to be copied is what the first check
// saw. The checks before and after the copy may both have been answered by the
// host, and what is copied by a cache.
func (x *executor) asChecked(img disk.Image) error {
	changed, err := x.changedFiles(img)
	if err != nil || len(changed) == 0 {
		return err
	}
	return otherFile(changed[0].was, changed[0].is)
}

// changedFile is a file of the source whose state isn't what it was.
type changedFile struct{ was, is string }

// changedFiles are those of an image that the first check saw otherwise, as far as
// the source and the journal tell.
func (x *executor) changedFiles(img disk.Image) (changed []changedFile, err error) {
	v, ok := img.(versioned)
	if !ok {
		return nil, nil
	}
	first, ok, err := x.firstSeen()
	if err != nil || !ok || len(first.Files) == 0 {
		return nil, err
	}
	for _, is := range v.Versions() {
		if slices.Contains(first.Files, is) {
			continue
		}
		was := "nothing"
		name, _, _ := strings.Cut(is, ": ")
		if i := slices.IndexFunc(first.Files, func(f string) bool { return strings.HasPrefix(f, name+": ") }); i >= 0 {
			was = first.Files[i]
		}
		changed = append(changed, changedFile{was, is})
	}
	return changed, nil
}

// sameFiles compares the state of files with what the first check saw. A journal
// of an older esxodus says nothing of them.
func sameFiles(first, now []string) error {
	if len(first) == 0 {
		return nil
	}
	for i := range max(len(first), len(now)) {
		was, is := "nothing", "nothing"
		if i < len(first) {
			was = first[i]
		}
		if i < len(now) {
			is = now[i]
		}
		if was != is {
			return otherFile(was, is)
		}
	}
	return nil
}

func otherFile(was, is string) error {
	return fmt.Errorf("a file of the source has changed since this run began: it was %s, and is %s: roll back, and plan again (if nobody changed it, something in between answers with another copy)", was, is)
}

// begun reports whether a step of a kind was ever begun.
func (x *executor) begun(kind plan.Kind) bool {
	return slices.ContainsFunc(x.journal.Records(), func(r journal.Record) bool {
		return r.Event == journal.EventBegin && r.Step != nil && x.job.VM.Steps[*r.Step].Kind == kind
	})
}

// unchanged says what in a VM is no longer as planned, so that a plan made
// on Monday doesn't copy Tuesday's other disk. A VM that the plan itself shut
// down has a newer change version and content ID; its hardware must still be
// the same.
func unchanged(planned, now *inventory.VM) error {
	if planned.Power != inventory.PoweredOn && now.ChangeVersion != planned.ChangeVersion {
		return differs(now, "change version", planned.ChangeVersion, now.ChangeVersion)
	}
	if err := sameHardware(planned, now); err != nil {
		return err
	}
	for i, d := range planned.Disks {
		if n := now.Disks[i]; planned.Power != inventory.PoweredOn && n.ContentID != d.ContentID {
			return differs(now, "the content ID of "+d.Address(), d.ContentID, n.ContentID)
		}
	}
	return nil
}

func differs(now *inventory.VM, what string, was, is any) error {
	return fmt.Errorf("%q has changed since the plan: %s was %v and is %v; plan again", now.Name, what, was, is)
}

// sameHardware compares what the domain is made of, and what is copied. It
// holds whether the VM is on or off.
func sameHardware(planned, now *inventory.VM) error {
	type part struct {
		what    string
		was, is any
	}
	parts := []part{
		{"instance UUID", planned.InstanceUUID, now.InstanceUUID},
		{"the number of processors", planned.CPU.Count, now.CPU.Count},
		{"the memory in MiB", planned.Memory.SizeMiB, now.Memory.SizeMiB},
		{"the firmware", planned.Firmware, now.Firmware},
		{"the number of disks", len(planned.Disks), len(now.Disks)},
		{"the number of snapshots", len(planned.Snapshots), len(now.Snapshots)},
		{"the number of NICs", len(planned.NICs), len(now.NICs)},
	}
	for i, d := range planned.Disks[:min(len(planned.Disks), len(now.Disks))] {
		n := now.Disks[i]
		parts = append(parts, part{"the file of " + d.Address(), d.Path, n.Path}, part{"the size of " + d.Address(), d.Capacity, n.Capacity})
	}
	for i, c := range planned.NICs[:min(len(planned.NICs), len(now.NICs))] {
		n, name := now.NICs[i], fmt.Sprintf("ethernet%d", c.Index)
		parts = append(parts, part{"the model of " + name, c.Model, n.Model}, part{"the MAC address of " + name, c.MAC, n.MAC},
			part{"the network of " + name, c.PortGroup + c.Distributed, n.PortGroup + n.Distributed})
	}
	for _, p := range parts {
		if p.was != p.is {
			return differs(now, p.what, p.was, p.is)
		}
	}
	return nil
}
