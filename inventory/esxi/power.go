package esxi

import (
	"context"
	"fmt"
	"time"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func vmRef(id string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VirtualMachine", Value: id}
}

// Power returns the power state of the VM with the given id. The error wraps
// [ErrNotFound] when there is no such VM.
func (c *Client) Power(ctx context.Context, vmID string) (inventory.PowerState, error) {
	state := inventory.PowerUnknown
	err := c.retrieve(ctx, of(vmRef(vmID), "runtime.powerState"), func(o object) {
		state = inventory.PowerState(prop[types.VirtualMachinePowerState](o, "runtime.powerState"))
	})
	if err != nil {
		return state, fmt.Errorf("%s: power state of VM %s: %w", c.cfg.URL.Host, vmID, err)
	}
	return state, nil
}

// Shutdown asks the guest to shut down and returns when the VM is powered
// off, or with [ErrStillOn] when ctx ends first. A VM that is off already is
// no error. It returns [ErrRestricted] on the free licence (the road then is
// SSH) and [ErrNoTools] when no Tools run in the guest.
func (c *Client) Shutdown(ctx context.Context, vmID string) error {
	return c.bring(ctx, vmID, inventory.PoweredOff, "shut down", func() error {
		_, err := methods.ShutdownGuest(ctx, c.write(), &types.ShutdownGuest{This: vmRef(vmID)})
		return err
	})
}

// PowerOff cuts the VM's power, as pulling the plug does, and returns when it
// is off. It returns [ErrRestricted] on the free licence.
func (c *Client) PowerOff(ctx context.Context, vmID string) error {
	return c.bring(ctx, vmID, inventory.PoweredOff, "power off", func() error {
		_, err := methods.PowerOffVM_Task(ctx, c.write(), &types.PowerOffVM_Task{This: vmRef(vmID)})
		return err
	})
}

// PowerOn powers the VM on and returns when it is. It returns [ErrRestricted]
// on the free licence.
func (c *Client) PowerOn(ctx context.Context, vmID string) error {
	return c.bring(ctx, vmID, inventory.PoweredOn, "power on", func() error {
		_, err := methods.PowerOnVM_Task(ctx, c.write(), &types.PowerOnVM_Task{This: vmRef(vmID)})
		return err
	})
}

// bring brings a VM to a power state by a call, unless it is in it.
func (c *Client) bring(ctx context.Context, vmID string, want inventory.PowerState, what string, call func() error) error {
	err := Bring(ctx, want, c.retry.poll, func() (inventory.PowerState, error) { return c.Power(ctx, vmID) }, func() error {
		return wrapFault(call())
	})
	if err != nil {
		return fmt.Errorf("%s: %s VM %s: %w", c.cfg.URL.Host, what, vmID, err)
	}
	return nil
}

// Bring brings a VM to the power state want: it asks for the state, calls call
// where it is another, and asks again every so often until it is reached. When
// ctx ends before a VM is off the error wraps [ErrStillOn]. Both roads to a
// host use it.
func Bring(ctx context.Context, want inventory.PowerState, every time.Duration,
	power func() (inventory.PowerState, error), call func() error,
) error {
	state, err := power()
	if err != nil || state == want {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	start := time.Now()
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		state, err := power()
		if err == nil && state == want {
			return nil
		}
		if ctx.Err() == nil && err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			if want == inventory.PoweredOn {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w after %s: %w", ErrStillOn, time.Since(start).Round(time.Second), context.Cause(ctx))
		}
	}
}
