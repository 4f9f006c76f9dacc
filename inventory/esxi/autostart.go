package esxi

import (
	"context"
	"fmt"
	"math"
	"slices"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// autoStartManager returns the reference of the host's autostart, and its entries.
func (c *Client) autoStartManager(ctx context.Context) (ref types.ManagedObjectReference, entries []types.AutoStartPowerInfo, err error) {
	var host object
	filter := c.under(map[string][]string{"HostSystem": {"config.autoStart", "configManager.autoStartManager"}})
	if err := c.retrieve(ctx, filter, func(o object) { host = o }); err != nil {
		return ref, nil, err
	}
	config, err := c.autoStart(ctx, host)
	return prop[types.ManagedObjectReference](host, "configManager.autoStartManager"), config.PowerInfo, err
}

// AutoStartEntry returns a VM's entry in the host's autostart, the zero one where it
// has none.
func (c *Client) AutoStartEntry(ctx context.Context, vmID string) (inventory.AutoStartEntry, error) {
	_, entries, err := c.autoStartManager(ctx)
	if err != nil {
		return inventory.AutoStartEntry{}, fmt.Errorf("%s: autostart: %w", c.cfg.URL.Host, err)
	}
	i := slices.IndexFunc(entries, func(p types.AutoStartPowerInfo) bool { return p.Key.Value == vmID })
	if i < 0 {
		return inventory.AutoStartEntry{}, nil
	}
	p := entries[i]
	return inventory.AutoStartEntry{
		Order: int(p.StartOrder), StartDelay: int(p.StartDelay), StopDelay: int(p.StopDelay),
		StartAction: p.StartAction, StopAction: p.StopAction, Heartbeat: string(p.WaitForHeartbeat),
	}, nil
}

// SetAutoStart changes a VM's entry in the host's autostart. It returns
// [ErrRestricted] on the free licence.
func (c *Client) SetAutoStart(ctx context.Context, vmID string, e inventory.AutoStartEntry) error {
	ref, _, err := c.autoStartManager(ctx)
	if err == nil {
		clamp := func(n int) int32 { return int32(min(max(n, -1), math.MaxInt32)) }
		_, err = methods.ReconfigureAutostart(ctx, c.write(), &types.ReconfigureAutostart{
			This: ref, Spec: types.HostAutoStartManagerConfig{PowerInfo: []types.AutoStartPowerInfo{{
				Key: vmRef(vmID), StartOrder: clamp(e.Order), StartDelay: clamp(e.StartDelay), StopDelay: clamp(e.StopDelay),
				StartAction: e.StartAction, StopAction: e.StopAction, WaitForHeartbeat: types.AutoStartWaitHeartbeatSetting(e.Heartbeat),
			}}},
		})
	}
	if err := wrapFault(err); err != nil {
		return fmt.Errorf("%s: autostart of VM %s: %w", c.cfg.URL.Host, vmID, err)
	}
	return nil
}
