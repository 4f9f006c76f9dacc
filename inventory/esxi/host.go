package esxi

import (
	"context"
	"errors"
	"strings"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/types"
)

// optional runs a retrieval of something that not every host has or lets
// every user see, and takes its absence for an empty answer.
func (c *Client) optional(ctx context.Context, spec types.PropertyFilterSpec, each func(object)) error {
	err := c.retrieve(ctx, spec, each)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrPermission) {
		c.log.DebugContext(ctx, "the host doesn't say", "object", spec.ObjectSet[0].Obj.Type, "error", err)
		return nil
	}
	return err
}

func (c *Client) license(ctx context.Context) (inventory.License, error) {
	var l inventory.License
	if c.content.LicenseManager == nil {
		return l, nil
	}
	err := c.optional(ctx, of(*c.content.LicenseManager, "licenses"), func(o object) {
		l = mapLicense(prop[types.ArrayOfLicenseManagerLicenseInfo](o, "licenses").LicenseManagerLicenseInfo)
	})
	return l, err
}

// mapLicense picks the licence that the host runs on. ESXi lists one, and
// beside it sometimes the evaluation that it started with.
func mapLicense(all []types.LicenseManagerLicenseInfo) inventory.License {
	var l inventory.License
	for _, info := range all {
		if l.Edition != "" && info.EditionKey == "eval" {
			continue
		}
		l = inventory.License{Edition: info.EditionKey, Name: info.Name, ReadOnly: freeLicense(info)}
	}
	return l
}

// freeLicense reports whether the licence is the free one, of which VMware
// calls the product "vSphere Hypervisor".
func freeLicense(info types.LicenseManagerLicenseInfo) bool {
	edition := strings.ToLower(info.EditionKey)
	return strings.HasPrefix(edition, "esxbasic") || strings.HasPrefix(edition, "esx.hypervisor") ||
		strings.HasSuffix(strings.TrimSpace(info.Name), "Hypervisor")
}

// autoStart returns the autostart configuration from its manager, or else the
// copy of it in the host's configuration.
func (c *Client) autoStart(ctx context.Context, host object) (types.HostAutoStartManagerConfig, error) {
	config := prop[types.HostAutoStartManagerConfig](host, "config.autoStart")
	ref := prop[types.ManagedObjectReference](host, "configManager.autoStartManager")
	if ref.Value == "" {
		return config, nil
	}
	err := c.optional(ctx, of(ref, "config"), func(o object) {
		if own, ok := o.props["config"].(types.HostAutoStartManagerConfig); ok {
			config = own
		}
	})
	return config, err
}

func mapAutoStartDefaults(d *types.AutoStartDefaults) inventory.AutoStartDefaults {
	if d == nil {
		return inventory.AutoStartDefaults{}
	}
	return inventory.AutoStartDefaults{
		Enabled: isTrue(d.Enabled), StartDelay: int(d.StartDelay), StopDelay: int(d.StopDelay),
		StopAction: lowerFirst(d.StopAction), WaitForHeartbeat: isTrue(d.WaitForHeartbeat),
	}
}

func mapAutoStart(info types.AutoStartPowerInfo, defaults inventory.AutoStartDefaults) *inventory.AutoStart {
	wait := info.WaitForHeartbeat == types.AutoStartWaitHeartbeatSettingYes ||
		info.WaitForHeartbeat == types.AutoStartWaitHeartbeatSettingSystemDefault && defaults.WaitForHeartbeat
	return &inventory.AutoStart{
		Order: int(info.StartOrder), StartDelay: int(info.StartDelay), StopDelay: int(info.StopDelay),
		StartAction: lowerFirst(info.StartAction), StopAction: lowerFirst(info.StopAction), WaitForHeartbeat: wait,
	}
}

// lowerFirst makes one spelling of "PowerOn", as old hosts write, and
// "powerOn".
func lowerFirst(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToLower(s[:1]) + s[1:]
}

func isTrue(b *bool) bool { return b != nil && *b }

func datastoreOf(o object) inventory.Datastore {
	s := prop[types.DatastoreSummary](o, "summary")
	return inventory.Datastore{
		Name: s.Name, URL: s.Url, Type: s.Type, Capacity: max(0, s.Capacity), Free: max(0, s.FreeSpace), Accessible: s.Accessible,
	}
}

// storeOf takes "ds:///vmfs/volumes/<uuid>/" apart.
func storeOf(d inventory.Datastore) store {
	dir := strings.TrimRight(strings.TrimPrefix(d.URL, "ds://"), "/")
	return store{name: d.Name, dir: dir}
}

func mapNetwork(host object) inventory.Network {
	n := inventory.Network{VSwitches: []inventory.VSwitch{}, PortGroups: []inventory.PortGroup{}, Uplinks: []inventory.Uplink{}}
	devices := make(map[string]string) // pnic key to device
	for _, p := range prop[types.ArrayOfPhysicalNic](host, "config.network.pnic").PhysicalNic {
		devices[p.Key] = p.Device
		u := inventory.Uplink{Device: p.Device, MAC: strings.ToLower(p.Mac), Driver: p.Driver, PCI: p.Pci}
		if p.LinkSpeed != nil {
			u.SpeedMbps, u.Duplex = max(0, int(p.LinkSpeed.SpeedMb)), p.LinkSpeed.Duplex
		}
		n.Uplinks = append(n.Uplinks, u)
	}
	specs := make(map[string]types.HostNetworkPolicy) // by vSwitch name
	for _, s := range prop[types.ArrayOfHostVirtualSwitch](host, "config.network.vswitch").HostVirtualSwitch {
		if s.Spec.Policy != nil {
			specs[s.Name] = *s.Spec.Policy
		}
		n.VSwitches = append(n.VSwitches, mapVSwitch(s, devices))
	}
	for _, p := range prop[types.ArrayOfHostPortGroup](host, "config.network.portgroup").HostPortGroup {
		effective := merge(p.ComputedPolicy, merge(p.Spec.Policy, specs[p.Spec.VswitchName]))
		n.PortGroups = append(n.PortGroups, inventory.PortGroup{
			Name: unescapeName(p.Spec.Name), VSwitch: p.Spec.VswitchName, VLAN: int(p.Spec.VlanId), Policy: mapPolicy(effective),
		})
	}
	for _, v := range prop[types.ArrayOfHostVirtualNic](host, "config.network.vnic").HostVirtualNic {
		n.VMKernel = append(n.VMKernel, mapVMKernel(v))
	}
	return n
}

func mapVSwitch(s types.HostVirtualSwitch, devices map[string]string) inventory.VSwitch {
	v := inventory.VSwitch{Name: s.Name, MTU: int(s.Mtu), Ports: int(s.NumPorts), Uplinks: []string{}}
	if v.MTU == 0 {
		v.MTU = int(s.Spec.Mtu)
	}
	for _, key := range s.Pnic {
		if device, ok := devices[key]; ok {
			v.Uplinks = append(v.Uplinks, device)
		} else {
			v.Uplinks = append(v.Uplinks, strings.TrimPrefix(key, "key-vim.host.PhysicalNic-"))
		}
	}
	if s.Spec.Policy != nil {
		v.Policy = mapPolicy(*s.Spec.Policy)
	}
	return v
}

func mapVMKernel(v types.HostVirtualNic) inventory.VMKernel {
	k := inventory.VMKernel{
		Device: v.Device, PortGroup: unescapeName(v.Portgroup), MAC: strings.ToLower(v.Spec.Mac), MTU: int(v.Spec.Mtu),
	}
	if v.Spec.Ip != nil {
		k.IP, k.Netmask, k.DHCP = v.Spec.Ip.IpAddress, v.Spec.Ip.SubnetMask, v.Spec.Ip.Dhcp
	}
	return k
}

// merge returns own with what it leaves open taken from parent.
func merge(own, parent types.HostNetworkPolicy) types.HostNetworkPolicy {
	own.Security = mergeSecurity(own.Security, parent.Security)
	own.NicTeaming = mergeTeaming(own.NicTeaming, parent.NicTeaming)
	if own.ShapingPolicy == nil || own.ShapingPolicy.Enabled == nil {
		own.ShapingPolicy = parent.ShapingPolicy
	}
	return own
}

func mergeSecurity(own, parent *types.HostNetworkSecurityPolicy) *types.HostNetworkSecurityPolicy {
	if own == nil || parent == nil {
		return either(own, parent)
	}
	return &types.HostNetworkSecurityPolicy{
		AllowPromiscuous: either(own.AllowPromiscuous, parent.AllowPromiscuous),
		MacChanges:       either(own.MacChanges, parent.MacChanges),
		ForgedTransmits:  either(own.ForgedTransmits, parent.ForgedTransmits),
	}
}

func mergeTeaming(own, parent *types.HostNicTeamingPolicy) *types.HostNicTeamingPolicy {
	if own == nil || parent == nil {
		return either(own, parent)
	}
	t := *own
	if t.Policy == "" {
		t.Policy = parent.Policy
	}
	t.NotifySwitches = either(own.NotifySwitches, parent.NotifySwitches)
	t.RollingOrder = either(own.RollingOrder, parent.RollingOrder)
	t.NicOrder = either(own.NicOrder, parent.NicOrder)
	return &t
}

func either[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func mapPolicy(p types.HostNetworkPolicy) inventory.Policy {
	var out inventory.Policy
	if s := p.Security; s != nil {
		out.Promiscuous, out.MACChanges, out.ForgedTransmits = isTrue(s.AllowPromiscuous), isTrue(s.MacChanges), isTrue(s.ForgedTransmits)
	}
	if t := p.NicTeaming; t != nil {
		out.Teaming, out.NotifySwitches = t.Policy, isTrue(t.NotifySwitches)
		out.Failback = t.RollingOrder != nil && !*t.RollingOrder // rolling is vSphere's word for no failback
		if t.NicOrder != nil {
			out.Active, out.Standby = t.NicOrder.ActiveNic, t.NicOrder.StandbyNic
		}
	}
	if s := p.ShapingPolicy; s != nil && isTrue(s.Enabled) {
		out.Shaping = &inventory.Shaping{
			AverageBitsPerSecond: s.AverageBandwidth, PeakBitsPerSecond: s.PeakBandwidth, BurstBytes: s.BurstSize,
		}
	}
	return out
}
