package esxi

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/types"
)

// hostPaths and vmPaths are the properties that the model is made of.
func hostPaths() []string {
	return []string{
		"name", "summary.hardware.uuid", "summary.hardware.cpuMhz", "config.product", "config.network.vswitch", "config.network.portgroup",
		"config.network.pnic", "config.network.vnic", "config.autoStart", "configManager.autoStartManager",
	}
}

func vmPaths() []string {
	return []string{
		"name", "config", "layoutEx", "snapshot", "summary.config", "runtime.powerState", "runtime.connectionState",
		"runtime.consolidationNeeded", "runtime.faultToleranceState", "guest.toolsRunningStatus", "guest.toolsVersion",
		"guest.hostName", "guest.ipAddress", "guest.net",
	}
}

// Inventory reads the host and all its VMs: one property-collector retrieval
// for the VMs, in pages, and three small ones for the host. What the host
// cannot say of a VM (orphaned, inaccessible, invalid) is left out, the VM
// is listed all the same; what cannot be is in VM.Problems.
func (c *Client) Inventory(ctx context.Context) (*inventory.Host, error) {
	h, autostart, err := c.hostInventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: read the host: %w", c.cfg.URL.Host, err)
	}
	h.VMs = []inventory.VM{}
	err = c.retrieve(ctx, c.under(map[string][]string{"VirtualMachine": vmPaths()}), func(o object) {
		vm := mapVM(o)
		if info, ok := autostart[vm.ID]; ok {
			vm.AutoStart = mapAutoStart(info, h.AutoStart)
		}
		h.VMs = append(h.VMs, vm)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: read the VMs: %w", c.cfg.URL.Host, err)
	}
	slices.SortStableFunc(h.VMs, func(a, b inventory.VM) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	return h, nil
}

// hostInventory reads all but the VMs. The second result is the autostart
// entries by VM id.
func (c *Client) hostInventory(ctx context.Context) (*inventory.Host, map[string]types.AutoStartPowerInfo, error) {
	h := &inventory.Host{SchemaVersion: inventory.SchemaVersion, Datastores: []inventory.Datastore{}, Thumbprint: c.Thumbprint()}
	var host object
	stores := []store{}
	filter := c.under(map[string][]string{"HostSystem": hostPaths(), "Datastore": {"summary"}})
	err := c.retrieve(ctx, filter, func(o object) {
		switch o.ref.Type {
		case "HostSystem":
			host = o
		case "Datastore":
			d := datastoreOf(o)
			h.Datastores = append(h.Datastores, d)
			stores = append(stores, storeOf(d))
		}
	})
	if err != nil {
		return nil, nil, err
	}
	if host.props == nil {
		return nil, nil, fmt.Errorf("%w: no host in its own inventory", ErrProtocol)
	}
	c.remember(stores)
	slices.SortFunc(h.Datastores, func(a, b inventory.Datastore) int { return cmp.Compare(a.Name, b.Name) })
	h.Name = unescapeName(prop[string](host, "name"))
	h.UUID = inventory.UUID(prop[string](host, "summary.hardware.uuid"))
	h.CPUMHz = int64(prop[int32](host, "summary.hardware.cpuMhz"))
	h.Version, h.Build = c.content.About.Version, c.content.About.Build
	h.Network = mapNetwork(host)
	if h.License, err = c.license(ctx); err != nil {
		return nil, nil, fmt.Errorf("licence: %w", err)
	}
	config, err := c.autoStart(ctx, host)
	if err != nil {
		return nil, nil, fmt.Errorf("autostart: %w", err)
	}
	h.AutoStart = mapAutoStartDefaults(config.Defaults)
	entries := make(map[string]types.AutoStartPowerInfo, len(config.PowerInfo))
	for _, info := range config.PowerInfo {
		entries[info.Key.Value] = info
	}
	return h, entries, nil
}
