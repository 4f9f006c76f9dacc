package esxi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
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
	objects, err := c.machines(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: read the VMs: %w", c.cfg.URL.Host, err)
	}
	for _, o := range objects {
		vm := mapVM(o)
		if o.unread != nil {
			vm.Problem("the host's data on the VM can't be read: %v", o.unread)
		}
		if info, ok := autostart[vm.ID]; ok {
			vm.AutoStart = mapAutoStart(info, h.AutoStart)
		}
		h.VMs = append(h.VMs, vm)
	}
	slices.SortStableFunc(h.VMs, func(a, b inventory.VM) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	return h, nil
}

// machines reads all VMs, in pages. Where an answer can't be read it reads them
// one by one: what is wrong with one VM is that VM's.
func (c *Client) machines(ctx context.Context) ([]object, error) {
	var all []object
	collect := func(o object) { all = append(all, o) }
	err := c.retrieve(ctx, c.under(map[string][]string{"VirtualMachine": vmPaths()}), collect)
	if err == nil || !unreadable(ctx, err) {
		return all, err
	}
	all = nil
	if lerr := c.retrieve(ctx, c.under(map[string][]string{"VirtualMachine": {"name"}}), collect); lerr != nil {
		return nil, err // as it was: not even their names can be had
	}
	readable := 0
	for i, named := range all {
		one := named
		one.unread = c.retrieve(ctx, of(named.ref, vmPaths()...), func(o object) { one = o })
		if one.unread != nil && !unreadable(ctx, one.unread) {
			return nil, one.unread
		}
		if one.unread == nil {
			readable++
		}
		all[i] = one
	}
	if readable == 0 {
		return nil, err // it is the host's, then
	}
	return all, nil
}

// unreadable reports whether an answer came that made no sense, in contrast to
// none, or one that refused.
func unreadable(ctx context.Context, err error) bool {
	var syntax *xml.SyntaxError
	var number *strconv.NumError
	return ctx.Err() == nil && (errors.Is(err, ErrProtocol) || errors.As(err, &syntax) || errors.As(err, &number))
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
