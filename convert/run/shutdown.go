package run

import (
	"cmp"
	"context"
	"encoding/json"
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

// stillOn reports whether an error is a guest that was asked to shut down, and hasn't in
// its time. Such an error has a method StillOn.
func stillOn(err error) bool {
	s, ok := errors.AsType[interface {
		error
		StillOn() bool
	}](err)
	return ok && s.StillOn()
}

// wasOff is the result of a shutdown that found the VM off already: undoing it
// powers nothing on.
const wasOff = "was off already"

// shutdown shuts the source VM down. The journal learns of a refusal, so that
// undoing it waits for nothing.
func (x *executor) shutdown(ctx context.Context, t *task) (any, error) {
	if h, err := x.Host.Inventory(ctx); err == nil && !x.journal.Asked(t.index) {
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
	before := cutBefore(t.state.Claim)
	if err := x.journal.Step(t.index, journal.EventClaim, before.record()); err != nil {
		return nil, err
	}
	limit := cmp.Or(time.Duration(t.PowerOff)*time.Second, shutdownTimeout)
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := x.Host.Shutdown(bounded, t.Via, x.job.VM.Source.ID)
	if err == nil {
		return before.record(), nil // of an attempt that ended as it cut the power
	}
	if ctx.Err() == nil && bounded.Err() != nil && t.PowerOff == 0 {
		return nil, fmt.Errorf("%w: see on the VM's console what it is waiting for, or shut it down by hand", err)
	}
	return x.stubborn(ctx, t, err)
}

// stubborn goes on where a guest didn't shut down.
func (x *executor) stubborn(ctx context.Context, t *task, err error) (any, error) {
	if t.PowerOff > 0 && ctx.Err() == nil && (stillOn(err) || unasked(err)) {
		tried, cut, cutErr := x.cutPower(ctx, t, err)
		if tried || cutErr == nil {
			return cut.record(), cutErr
		}
		err = errors.Join(err, cutErr)
	}
	if refused(err) {
		return nil, errors.Join(err, x.journal.Step(t.index, journal.EventUndone, nil))
	}
	return nil, err
}

// powerCut is what is on record of a shutdown that cut the VM's power.
type powerCut struct {
	Cut string `json:"cut"` // why
}

// record is what the journal gets of it, nil of none.
func (c *powerCut) record() any {
	if c == nil {
		return nil
	}
	return c
}

// cutTimeout is how long a host may take to cut a VM's power.
const cutTimeout = 2 * time.Minute

// cutPower cuts the power of a VM that didn't shut down, or can't be asked to, as the plan
// said it would. It looks once more whether that is the VM, and still on; tried says that
// it was, and that the host was asked.
func (x *executor) cutPower(ctx context.Context, t *task, why error) (tried bool, cut *powerCut, err error) {
	h, err := x.Host.Inventory(ctx)
	if err != nil {
		return false, nil, err
	}
	vm, err := h.Find(x.job.VM.Source.ID)
	switch {
	case err != nil:
		return false, nil, err
	case vm.Power == inventory.PoweredOff:
		return false, nil, nil // after all
	case vm.Power != inventory.PoweredOn:
		return false, nil, fmt.Errorf("%q is %s by now: its power isn't cut", vm.Name, vm.Power)
	}
	if err := sameHardware(&x.job.VM.Source, vm); err != nil {
		return false, nil, err
	}
	cut = &powerCut{Cut: why.Error()}
	if err := x.journal.Step(t.index, journal.EventClaim, cut); err != nil {
		return false, nil, err
	}
	x.Progress.Step(x.job.VM.Name, fmt.Sprintf("cut the power of %q: %v", x.job.VM.Source.Name, why))
	bounded, cancel := context.WithTimeout(ctx, cutTimeout)
	defer cancel()
	return true, cut, x.Host.PowerOff(bounded, t.Via, x.job.VM.Source.ID)
}

// cutBefore is what an earlier attempt's claim says of the power that it was about to cut;
// nil where it wasn't.
func cutBefore(claim *journal.Record) *powerCut {
	var cut powerCut
	if claim == nil || json.Unmarshal(claim.Data, &cut) != nil || cut.Cut == "" {
		return nil
	}
	return &cut
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
