package esxi

import (
	"context"
	"fmt"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"esxodus/inventory"
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
// off, or with [ErrStillOn] when ctx ends first. It returns [ErrRestricted]
// on the free licence (the road then is SSH) and [ErrNoTools] when no Tools
// run in the guest.
func (c *Client) Shutdown(ctx context.Context, vmID string) error {
	_, err := methods.ShutdownGuest(ctx, c.write(), &types.ShutdownGuest{This: vmRef(vmID)})
	if err == nil {
		err = c.untilOff(ctx, vmID)
	} else {
		err = wrapFault(err)
	}
	if err != nil {
		return fmt.Errorf("%s: shut down VM %s: %w", c.cfg.URL.Host, vmID, err)
	}
	return nil
}

// PowerOff cuts the VM's power, as pulling the plug does, and returns when it
// is off. It returns [ErrRestricted] on the free licence.
func (c *Client) PowerOff(ctx context.Context, vmID string) error {
	_, err := methods.PowerOffVM_Task(ctx, c.write(), &types.PowerOffVM_Task{This: vmRef(vmID)})
	if err == nil {
		err = c.untilOff(ctx, vmID)
	} else {
		err = wrapFault(err)
	}
	if err != nil {
		return fmt.Errorf("%s: power off VM %s: %w", c.cfg.URL.Host, vmID, err)
	}
	return nil
}

func (c *Client) untilOff(ctx context.Context, vmID string) error {
	t := time.NewTicker(c.retry.poll)
	defer t.Stop()
	for {
		state, err := c.Power(ctx, vmID)
		if err == nil && state == inventory.PoweredOff {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ErrStillOn, context.Cause(ctx))
		}
		if err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrStillOn, context.Cause(ctx))
		}
	}
}
