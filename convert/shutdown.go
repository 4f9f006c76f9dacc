package convert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"esxodus/inventory"
)

const (
	// shutdownTimeout is how long a guest may take to shut down: some install
	// updates first.
	shutdownTimeout = 15 * time.Minute
	// settleTime is how long a guest that was asked to shut down, and hasn't,
	// is watched before the request is taken for lost. It is well below
	// undoTimeout.
	settleTime = time.Minute
	settlePoll = 2 * time.Second
)

// refused reports whether an error is a shutdown that the host refused or never
// heard of: the guest was not asked and will not go off. Such an error has a
// method Refused.
func refused(err error) bool {
	r, ok := errors.AsType[interface {
		error
		Refused() bool
	}](err)
	return ok && r.Refused()
}

// wasOff is the result of a shutdown that found the VM off already: undoing it
// powers nothing on.
const wasOff = "was off already"

// shutdown shuts the source VM down. The journal learns of a refusal, so that
// undoing it waits for nothing.
func (a *act) shutdown(ctx context.Context, i int, step Step) (any, error) {
	if h, err := a.Host.Inventory(ctx); err == nil && !a.journal.asked(i) {
		vm, err := h.Find(a.job.VM.Source.ID)
		if err == nil && vm.Power == inventory.PoweredOff {
			return wasOff, nil
		}
		if err == nil {
			err = sameHardware(&a.job.VM.Source, vm) // or the guest would be shut down for nothing
		}
		if err != nil {
			return nil, err
		}
	}
	if err := a.journal.step(i, EventClaim, nil); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	err := a.Host.Shutdown(bounded, step.Road, a.job.VM.Source.ID)
	if refused(err) {
		return nil, errors.Join(err, a.journal.step(i, EventUndone, nil))
	}
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return nil, fmt.Errorf("%w: look at the VM's console what it waits for, or shut it down by hand", err)
	}
	return nil, err
}

// powerOn takes a shutdown back. A guest that was asked and is still on may go
// off at any moment, and would then stay off behind everybody's back: it is
// waited for.
func (a *act) powerOn(ctx context.Context, step Step, s stepState) error {
	if s.claim == nil {
		return nil // the guest was not asked
	}
	if !s.done {
		a.Progress.Step(a.job.VM.Name, fmt.Sprintf("wait up to %v for the guest, which was asked to shut down, to go off", settleTime))
		if err := a.settle(ctx); err != nil {
			return err
		}
	}
	a.Progress.Step(a.job.VM.Name, fmt.Sprintf("power %q on again", a.job.VM.Source.Name))
	return a.Host.PowerOn(ctx, step.Road, a.job.VM.Source.ID)
}

// settle returns when the source VM is off, or has been on for settleTime.
func (a *act) settle(ctx context.Context) error {
	deadline := time.NewTimer(settleTime)
	defer deadline.Stop()
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for {
		h, err := a.Host.Inventory(ctx)
		if err != nil {
			return err
		}
		on := slices.ContainsFunc(h.VMs, func(vm inventory.VM) bool {
			return vm.ID == a.job.VM.Source.ID && vm.Power == inventory.PoweredOn
		})
		if !on {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
