package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"esxodus/convert/journal"
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

// unasked reports whether an error is a shutdown that nobody can ask the guest for. Such
// an error has a method Unasked.
func unasked(err error) bool {
	u, ok := errors.AsType[interface {
		error
		Unasked() bool
	}](err)
	return ok && u.Unasked()
}

// wasOff is the result of a shutdown that found the VM off already: undoing it
// powers nothing on.
const wasOff = "was off already"

// shutdown shuts the source VM down. The journal learns of a refusal, so that
// undoing it waits for nothing.
func (x *executor) shutdown(ctx context.Context, t *task) (any, error) {
	i := t.index
	if h, err := x.Host.Inventory(ctx); err == nil && !x.journal.Asked(i) {
		vm, err := h.Find(x.job.VM.Source.ID)
		if err == nil && vm.Power == inventory.PoweredOff {
			return wasOff, nil
		}
		if err == nil {
			err = sameHardware(&x.job.VM.Source, vm) // or the guest would be shut down for nothing
		}
		if err != nil {
			return nil, err
		}
	}
	if err := x.journal.Step(i, journal.EventClaim, nil); err != nil {
		return nil, err
	}
	limit := cmp.Or(time.Duration(t.PowerOff)*time.Second, shutdownTimeout)
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := x.Host.Shutdown(bounded, t.Via, x.job.VM.Source.ID)
	if late := err != nil && ctx.Err() == nil && bounded.Err() != nil; t.PowerOff > 0 && (late || unasked(err)) {
		return x.cutPower(ctx, t, err)
	}
	if refused(err) {
		return nil, errors.Join(err, x.journal.Step(i, journal.EventUndone, nil))
	}
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return nil, fmt.Errorf("%w: see on the VM's console what it is waiting for, or shut it down by hand", err)
	}
	return nil, err
}

// powerCut is what is on record of a shutdown that cut the VM's power.
type powerCut struct {
	Cut string `json:"cut"` // why
}

// cutTimeout is how long a host may take to cut a VM's power.
const cutTimeout = 2 * time.Minute

// cutPower cuts the power of a VM that didn't shut down, or can't be asked to, as the plan
// said it would. It looks once more whether that is the VM, and still on.
func (x *executor) cutPower(ctx context.Context, t *task, why error) (any, error) {
	h, err := x.Host.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	vm, err := h.Find(x.job.VM.Source.ID)
	if err == nil && vm.Power == inventory.PoweredOff {
		return nil, nil //nolint:nilnil // it went off after all
	}
	if err == nil {
		err = sameHardware(&x.job.VM.Source, vm)
	}
	if err != nil {
		return nil, err
	}
	cut := powerCut{Cut: why.Error()}
	if err := x.journal.Step(t.index, journal.EventClaim, cut); err != nil {
		return nil, err
	}
	x.Progress.Step(x.job.VM.Name, fmt.Sprintf("cut the power of %q: %v", x.job.VM.Source.Name, why))
	bounded, cancel := context.WithTimeout(ctx, cutTimeout)
	defer cancel()
	if err := x.Host.PowerOff(bounded, t.Via, x.job.VM.Source.ID); err != nil {
		return nil, err
	}
	return cut, nil
}

// powerOn takes a shutdown back. A guest that was asked and is still on may go
// off at any moment, and would then stay off unnoticed: it is
// waited for.
func (x *executor) powerOn(ctx context.Context, t *task) error {
	s := t.state
	if s.Claim == nil {
		return nil // the guest was not asked
	}
	if !s.Done {
		x.Progress.Step(x.job.VM.Name, fmt.Sprintf("wait up to %v for the guest to shut down, as it was asked to", settleTime))
		if err := x.settle(ctx); err != nil {
			return err
		}
	}
	x.Progress.Step(x.job.VM.Name, fmt.Sprintf("power %q on again", x.job.VM.Source.Name))
	return x.Host.PowerOn(ctx, t.Via, x.job.VM.Source.ID)
}

// settle returns when the source VM is off, or has been on for settleTime.
func (x *executor) settle(ctx context.Context) error {
	deadline := time.NewTimer(settleTime)
	defer deadline.Stop()
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for {
		h, err := x.Host.Inventory(ctx)
		if err != nil {
			return err
		}
		on := slices.ContainsFunc(h.VMs, func(vm inventory.VM) bool {
			return vm.ID == x.job.VM.Source.ID && vm.Power == inventory.PoweredOn
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
