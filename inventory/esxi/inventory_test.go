package esxi

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"esxodus/inventory"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// crowd adds n VMs, copies of the first, to the simulator's one folder.
func crowd(tb testing.TB, m *simulator.Model, n int) {
	tb.Helper()
	ctx := m.Service.Context
	first, ok := ctx.Map.Any("VirtualMachine").(*simulator.VirtualMachine)
	if !ok {
		tb.Fatal("the simulator has no VM")
	}
	folder, ok := ctx.Map.Get(*first.Parent).(*simulator.Folder)
	if !ok {
		tb.Fatal("the VM is in no folder")
	}
	for i := range n {
		vm := &simulator.VirtualMachine{VirtualMachine: first.VirtualMachine}
		vm.Self = types.ManagedObjectReference{Type: "VirtualMachine", Value: fmt.Sprint(1000 + i)}
		vm.Name = fmt.Sprintf("vm%04d", i)
		ctx.Map.Put(vm)
		folder.ChildEntity = append(folder.ChildEntity, vm.Self)
	}
}

// TestInventoryCalls: a host with ten times the VMs costs as many more pages,
// and not a call more.
func TestInventoryCalls(t *testing.T) {
	for _, n := range []int{0, 95, 250} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newSim(t, nil)
			crowd(t, s.model, n)
			c := dialSim(t, s)
			before := s.total()
			h, err := c.Inventory(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			have := n + 2 // the simulator starts with two
			if len(h.VMs) != have {
				t.Errorf("%d VMs; want %d", len(h.VMs), have)
			}
			for _, vm := range h.VMs {
				if len(vm.Disks) != 1 || vm.Disks[0].Capacity == 0 || len(vm.NICs) != 1 {
					t.Fatalf("VM %s came with %d disks and %d NICs", vm.Name, len(vm.Disks), len(vm.NICs))
				}
			}
			pages := (have + pageSize - 1) / pageSize
			if got, want := s.total()-before, 3+pages; got != want {
				t.Errorf("%d calls for %d VMs; want %d: %v", got, have, want, s.calls)
			}
		})
	}
}

func BenchmarkInventory(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newSim(b, nil)
			crowd(b, s.model, n-2)
			c := dialSim(b, s)
			b.ReportAllocs()
			for b.Loop() {
				if h, err := c.Inventory(b.Context()); err != nil || len(h.VMs) != n {
					b.Fatal(len(h.VMs), err)
				}
			}
		})
	}
}

// TestInventoryNoAutoStart: the simulator has no HostAutoStartManager.
func TestInventoryNoAutoStart(t *testing.T) {
	s := newSim(t, nil)
	c := dialSim(t, s)
	h, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h.AutoStart.StartDelay == 0 || h.Name == "" || h.UUID == "" || h.Version == "" || h.Thumbprint != c.Thumbprint() {
		t.Errorf("host = %+v", h)
	}
}

func TestMapNetwork(t *testing.T) {
	yes, no := true, false
	host := object{props: map[string]any{
		"config.network.pnic": types.ArrayOfPhysicalNic{PhysicalNic: []types.PhysicalNic{
			{Key: "k0", Device: "vmnic0", Mac: "00:50:56:AA:00:01", LinkSpeed: &types.PhysicalNicLinkInfo{SpeedMb: 10000, Duplex: true}, Driver: "ixgben", Pci: "0000:02:00.0"},
			{Key: "k1", Device: "vmnic1", Mac: "00:50:56:aa:00:02"},
		}},
		"config.network.vswitch": types.ArrayOfHostVirtualSwitch{HostVirtualSwitch: []types.HostVirtualSwitch{{
			Name: "vSwitch0", Mtu: 9000, NumPorts: 128, Pnic: []string{"k1", "k0", "key-vim.host.PhysicalNic-vmnic9"},
			Spec: types.HostVirtualSwitchSpec{Policy: &types.HostNetworkPolicy{
				Security:   &types.HostNetworkSecurityPolicy{AllowPromiscuous: &no, MacChanges: &yes, ForgedTransmits: &yes},
				NicTeaming: &types.HostNicTeamingPolicy{Policy: "loadbalance_srcid", NotifySwitches: &yes, RollingOrder: &no, NicOrder: &types.HostNicOrderPolicy{ActiveNic: []string{"vmnic0"}, StandbyNic: []string{"vmnic1"}}},
			}},
		}}},
		"config.network.portgroup": types.ArrayOfHostPortGroup{HostPortGroup: []types.HostPortGroup{
			{Spec: types.HostPortGroupSpec{Name: "inherits", VswitchName: "vSwitch0", VlanId: 42}},
			{Spec: types.HostPortGroupSpec{Name: "trunk a%2fb", VswitchName: "vSwitch0", VlanId: 4095, Policy: types.HostNetworkPolicy{
				Security:      &types.HostNetworkSecurityPolicy{AllowPromiscuous: &yes},
				NicTeaming:    &types.HostNicTeamingPolicy{NicOrder: &types.HostNicOrderPolicy{ActiveNic: []string{"vmnic1"}}, RollingOrder: &yes},
				ShapingPolicy: &types.HostNetworkTrafficShapingPolicy{Enabled: &yes, AverageBandwidth: 1000, PeakBandwidth: 2000, BurstSize: 3000},
			}}},
			{
				Spec:           types.HostPortGroupSpec{Name: "computed", VswitchName: "vSwitch0"},
				ComputedPolicy: types.HostNetworkPolicy{Security: &types.HostNetworkSecurityPolicy{AllowPromiscuous: &no, MacChanges: &no, ForgedTransmits: &no}},
			},
		}},
		"config.network.vnic": types.ArrayOfHostVirtualNic{HostVirtualNic: []types.HostVirtualNic{
			{Device: "vmk0", Portgroup: "Management", Spec: types.HostVirtualNicSpec{Mac: "00:50:56:AA:00:01", Mtu: 1500, Ip: &types.HostIpConfig{IpAddress: "10.0.0.1", SubnetMask: "255.0.0.0"}}},
		}},
	}}
	base := inventory.Policy{
		MACChanges: true, ForgedTransmits: true, Teaming: "loadbalance_srcid", NotifySwitches: true, Failback: true,
		Active: []string{"vmnic0"}, Standby: []string{"vmnic1"},
	}
	own, computed := base, base
	own.Promiscuous, own.Active, own.Standby, own.Failback = true, []string{"vmnic1"}, nil, false
	own.Shaping = &inventory.Shaping{AverageBitsPerSecond: 1000, PeakBitsPerSecond: 2000, BurstBytes: 3000}
	computed.MACChanges, computed.ForgedTransmits = false, false
	want := inventory.Network{
		VSwitches: []inventory.VSwitch{{Name: "vSwitch0", MTU: 9000, Ports: 128, Uplinks: []string{"vmnic1", "vmnic0", "vmnic9"}, Policy: base}},
		PortGroups: []inventory.PortGroup{
			{Name: "inherits", VSwitch: "vSwitch0", VLAN: 42, Policy: base},
			{Name: "trunk a/b", VSwitch: "vSwitch0", VLAN: 4095, Policy: own},
			{Name: "computed", VSwitch: "vSwitch0", Policy: computed},
		},
		Uplinks: []inventory.Uplink{
			{Device: "vmnic0", MAC: "00:50:56:aa:00:01", SpeedMbps: 10000, Duplex: true, Driver: "ixgben", PCI: "0000:02:00.0"},
			{Device: "vmnic1", MAC: "00:50:56:aa:00:02"},
		},
		VMKernel: []inventory.VMKernel{{Device: "vmk0", PortGroup: "Management", MAC: "00:50:56:aa:00:01", IP: "10.0.0.1", Netmask: "255.0.0.0", MTU: 1500}},
	}
	if diff := cmp.Diff(want, mapNetwork(host)); diff != "" {
		t.Errorf("mapNetwork (-want +got):\n%s", diff)
	}
}

func TestMapLicense(t *testing.T) {
	tests := []struct {
		name string
		in   []types.LicenseManagerLicenseInfo
		want inventory.License
	}{
		{name: "none"},
		{name: "free", in: []types.LicenseManagerLicenseInfo{{EditionKey: "esxBasic", Name: "VMware vSphere 6 Hypervisor"}}, want: inventory.License{Edition: "esxBasic", Name: "VMware vSphere 6 Hypervisor", ReadOnly: true}},
		{name: "free by name", in: []types.LicenseManagerLicenseInfo{{EditionKey: "x", Name: "vSphere 8 Hypervisor"}}, want: inventory.License{Edition: "x", Name: "vSphere 8 Hypervisor", ReadOnly: true}},
		{name: "paid beside the evaluation", in: []types.LicenseManagerLicenseInfo{{EditionKey: "eval", Name: "Evaluation Mode"}, {EditionKey: "esx.enterprisePlus.cpuPackage", Name: "vSphere 7 Enterprise Plus"}, {EditionKey: "eval"}}, want: inventory.License{Edition: "esx.enterprisePlus.cpuPackage", Name: "vSphere 7 Enterprise Plus"}},
		{name: "evaluation", in: []types.LicenseManagerLicenseInfo{{EditionKey: "eval", Name: "Evaluation Mode"}}, want: inventory.License{Edition: "eval", Name: "Evaluation Mode"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mapLicense(tt.in); got != tt.want {
				t.Errorf("mapLicense = %+v; want %+v", got, tt.want)
			}
		})
	}
}

func TestVCenterIsRefused(t *testing.T) {
	s := newSimOf(t, simulator.VPX(), nil)
	if _, err := Dial(t.Context(), s.cfg); !errors.Is(err, ErrNotESXi) || !strings.Contains(err.Error(), "vCenter") {
		t.Errorf("Dial to vCenter = %v; want %v", err, ErrNotESXi)
	}
}
