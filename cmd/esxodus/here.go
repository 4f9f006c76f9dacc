package main

import (
	"context"
	"fmt"

	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/convert/target"
	"esxodus/inventory/fit"
)

// refuseOther refuses a libvirt of another machine by its URI: the storage is
// always on this one, so that the volumes would be made here and the domain there.
func refuseOther(ctx context.Context, uri string) error {
	there, err := target.OtherMachine(ctx, uri)
	if err != nil {
		return usagef("--libvirt %s: %w", uri, err)
	}
	return elsewhere(uri, there)
}

// onThisMachine refuses a libvirt that calls itself another machine's. One that
// doesn't answer is reported later.
func (e *effects) onThisMachine(ctx context.Context) error {
	return elsewhere(e.virt.URI, e.virt.OtherHost(ctx))
}

// elsewhere is the error of a libvirt that is on the machine there, nil if that
// is "".
func elsewhere(uri, there string) error {
	if there == "" {
		return nil
	}
	return &exitError{
		code: exitUsage,
		err:  fmt.Errorf("--libvirt %s is the libvirt of another machine, %s: the disks would be made here, but the domain there", uri, there),
		hint: "run esxodus on " + there + " itself, where --libvirt qemu:///system is the default; or leave --libvirt out, for domains on this machine",
	}
}

// answers makes sure, before anything is made, that there is a libvirt to define
// domains in: by a URI that leads nowhere not even a rollback could be done.
func (e *effects) answers(ctx context.Context) error {
	if err := e.virt.Answers(ctx); err != nil {
		return withHint(fmt.Errorf("%w; nothing was changed", err), "libvirt must answer on this machine before anything is copied: `virsh -c "+fit.Paste(e.virt.URI)+" list` shows whether it does")
	}
	return nil
}

// resume goes on with a run whose domain is to be on this machine.
func (e *effects) resume(ctx context.Context, j *runs.Journal) error {
	err := refuseOther(ctx, e.virt.URI)
	if err == nil {
		err = e.onThisMachine(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", run.ErrStopped, err)
	}
	return run.Apply(ctx, j, e.Effects)
}
