package esxi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"esxodus/inventory"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
)

func vmObject(config *types.VirtualMachineConfigInfo, more map[string]any) object {
	o := object{ref: types.ManagedObjectReference{Type: "VirtualMachine", Value: "7"}, props: map[string]any{
		"name": "web", "runtime.powerState": types.VirtualMachinePowerStatePoweredOff,
	}}
	if config != nil {
		o.props["config"] = *config
	}
	maps.Copy(o.props, more)
	return o
}

func dev(key, controller, unit int32, name string) types.VirtualDevice {
	return types.VirtualDevice{Key: key, ControllerKey: controller, UnitNumber: &unit, DeviceInfo: &types.Description{Label: name}}
}

func scsiController(key, bus int32) types.BaseVirtualDevice {
	c := new(types.ParaVirtualSCSIController)
	c.Key, c.BusNumber = key, bus
	return c
}

func diskAt(key, controller, unit int32, capacity int64) *types.VirtualDisk {
	d := &types.VirtualDisk{VirtualDevice: dev(key, controller, unit, fmt.Sprintf("Hard disk %d", key-1999)), CapacityInBytes: capacity}
	d.Backing = &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: fmt.Sprintf("[ds] web/web_%d.vmdk", key)},
	}
	return d
}

// TestUnreadableVM: of an invalid VM the host gives next to nothing.
func TestUnreadableVM(t *testing.T) {
	got := mapVM(object{ref: types.ManagedObjectReference{Type: "VirtualMachine", Value: "9"}, props: map[string]any{
		"name": "a%2fb", "runtime.connectionState": types.VirtualMachineConnectionStateInvalid,
		"summary.config": types.VirtualMachineConfigSummary{VmPathName: "[ds] gone/gone.vmx"},
	}})
	want := inventory.VM{
		ID: "9", Name: "a/b", Path: "[ds] gone/gone.vmx", Power: inventory.PowerUnknown, ConnectionState: "invalid", Firmware: inventory.BIOS,
		CPU: inventory.CPU{CoresPerSocket: 1, LimitMHz: -1}, Memory: inventory.Memory{LimitMiB: -1},
		Controllers: []inventory.Controller{}, Disks: []inventory.Disk{}, NICs: []inventory.NIC{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mapVM (-want +got):\n%s", diff)
	}
}

// TestDiskOrder: numbers are numbers, and device keys mean nothing.
func TestDiskOrder(t *testing.T) {
	sata := new(types.VirtualAHCIController)
	sata.Key, sata.BusNumber = 15000, 0
	nvme := new(types.VirtualNVMEController)
	nvme.Key, nvme.BusNumber = 31000, 0
	ide := new(types.VirtualIDEController)
	ide.Key, ide.BusNumber = 200, 0
	vm := mapVM(vmObject(&types.VirtualMachineConfigInfo{Hardware: types.VirtualHardware{NumCPU: 1, MemoryMB: 4, Device: []types.BaseVirtualDevice{
		diskAt(2000, 1000, 10, 1), diskAt(2001, 1000, 2, 1), diskAt(2002, 1001, 0, 1), diskAt(2003, 31000, 0, 1), diskAt(2004, 15000, 1, 1), diskAt(2005, 200, 1, 1),
		nvme, ide, sata, scsiController(1001, 1), scsiController(1000, 0),
	}}}, nil))
	var got []string
	for _, d := range vm.Disks {
		got = append(got, d.Address())
	}
	want := []string{"sata0:1", "ide0:1", "scsi0:2", "scsi0:10", "scsi1:0", "nvme0:0"}
	if !slices.Equal(got, want) || len(vm.Problems) > 0 {
		t.Errorf("disks %v, problems %v; want %v", got, vm.Problems, want)
	}
}

func TestProblems(t *testing.T) {
	nic := func(key int32) types.BaseVirtualDevice {
		n := new(types.VirtualVmxnet3)
		n.VirtualDevice = dev(key, 100, 7, "nic")
		return n
	}
	noUnit := diskAt(2000, 1000, 0, 512)
	noUnit.UnitNumber = nil
	odd := diskAt(2000, 1000, 0, 512)
	odd.Backing = nil
	tests := []struct {
		name    string
		devices []types.BaseVirtualDevice
		want    string
	}{
		{name: "none", devices: []types.BaseVirtualDevice{scsiController(1000, 0), diskAt(2000, 1000, 0, 512), nic(4000), nic(4001)}},
		{name: "negative capacity", devices: []types.BaseVirtualDevice{scsiController(1000, 0), diskAt(2000, 1000, 0, -5)}, want: "capacity of -5 bytes"},
		{name: "absurd capacity", devices: []types.BaseVirtualDevice{scsiController(1000, 0), diskAt(2000, 1000, 0, 1<<62)}, want: "capacity of 4611686018427387904 bytes"},
		{name: "same address", devices: []types.BaseVirtualDevice{scsiController(1000, 0), diskAt(2000, 1000, 0, 512), diskAt(2001, 1000, 0, 512)}, want: "two devices at scsi0:0"},
		{name: "same key", devices: []types.BaseVirtualDevice{scsiController(1000, 0), diskAt(2000, 1000, 0, 512), diskAt(2000, 1000, 1, 512)}, want: "two devices with key 2000"},
		{name: "same bus", devices: []types.BaseVirtualDevice{scsiController(1000, 0), scsiController(1001, 0)}, want: "two controllers at scsi0"},
		{name: "negative bus", devices: []types.BaseVirtualDevice{scsiController(1000, -1)}, want: "on bus -1"},
		{name: "no controller", devices: []types.BaseVirtualDevice{diskAt(2000, 1000, 0, 512)}, want: "which the VM does not have"},
		{name: "no unit", devices: []types.BaseVirtualDevice{scsiController(1000, 0), noUnit}, want: "no unit number"},
		{name: "no backing", devices: []types.BaseVirtualDevice{scsiController(1000, 0), odd}, want: "doesn't know"},
		{name: "same NIC", devices: []types.BaseVirtualDevice{nic(4000), nic(4000)}, want: "two NICs are ethernet0"},
		{name: "nothing", devices: []types.BaseVirtualDevice{nil, (*types.VirtualDisk)(nil)}},
		{name: "many", devices: slices.Repeat([]types.BaseVirtualDevice{nic(1)}, 5000), want: "5000 devices"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vm := mapVM(vmObject(&types.VirtualMachineConfigInfo{Hardware: types.VirtualHardware{NumCPU: 1, MemoryMB: 4, Device: tt.devices}}, nil))
			all := strings.Join(vm.Problems, "; ")
			if (tt.want == "") != (all == "") || !strings.Contains(all, tt.want) {
				t.Errorf("problems = %q; want %q", all, tt.want)
			}
		})
	}
}

func TestChains(t *testing.T) {
	file := func(name string) types.VirtualDeviceFileBackingInfo {
		return types.VirtualDeviceFileBackingInfo{FileName: name}
	}
	tests := []struct {
		name    string
		backing types.BaseVirtualDeviceBackingInfo
		format  string
		parents []string
	}{
		{name: "base", backing: &types.VirtualDiskFlatVer2BackingInfo{VirtualDeviceFileBackingInfo: file("[ds] w/w.vmdk"), DeltaDiskFormat: "seSparseFormat"}, format: "flat"},
		{name: "COWD", backing: &types.VirtualDiskFlatVer2BackingInfo{
			VirtualDeviceFileBackingInfo: file("[ds] w/w-000002.vmdk"), DeltaDiskFormat: "redoLogFormat",
			Parent: &types.VirtualDiskFlatVer2BackingInfo{VirtualDeviceFileBackingInfo: file("[ds] w/w-000001.vmdk"), Parent: &types.VirtualDiskFlatVer2BackingInfo{VirtualDeviceFileBackingInfo: file("[ds] w/w.vmdk")}},
		}, format: "sparse", parents: []string{"[ds] w/w-000001.vmdk", "[ds] w/w.vmdk"}},
		{name: "seSparse", backing: &types.VirtualDiskSeSparseBackingInfo{VirtualDeviceFileBackingInfo: file("[ds] w/w-000001.vmdk")}, format: "seSparse", parents: []string{"[ds] w/w.vmdk"}},
		{name: "virtual RDM", backing: &types.VirtualDiskRawDiskMappingVer1BackingInfo{VirtualDeviceFileBackingInfo: file("[ds] w/r.vmdk"), CompatibilityMode: "virtualMode", DeviceName: "vml.1"}, format: "rdm"},
		{name: "physical RDM", backing: &types.VirtualDiskRawDiskMappingVer1BackingInfo{VirtualDeviceFileBackingInfo: file("[ds] w/r.vmdk"), CompatibilityMode: "physicalMode", LunUuid: "0200"}, format: "rawPhysical"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := diskAt(2000, 1000, 0, 512)
			d.Backing = tt.backing
			more := map[string]any{}
			if tt.format == "seSparse" { // its base is flat, which only the layout tells
				more["layoutEx"] = types.VirtualMachineFileLayoutEx{
					File: []types.VirtualMachineFileLayoutExFileInfo{
						{Key: 1, Name: "[ds] w/w.vmdk", Type: "diskDescriptor", Size: 500},
						{Key: 2, Name: "[ds] w/w-flat.vmdk", Type: "diskExtent", Size: 512, UniqueSize: 100},
						{Key: 3, Name: "[ds] w/w-000001.vmdk", Type: "diskDescriptor", Size: 400},
						{Key: 4, Name: "[ds] w/w-000001-sesparse.vmdk", Type: "diskExtent", Size: 600, UniqueSize: 50},
						{Key: 9, Name: "[ds] w/w.nvram", Type: "nvram"},
					},
					Disk: []types.VirtualMachineFileLayoutExDiskLayout{{Key: 2000, Chain: []types.VirtualMachineFileLayoutExDiskUnit{{FileKey: []int32{1, 2}}, {FileKey: []int32{3, 4, 77}}}}, {Key: 5}},
				}
			}
			vm := mapVM(vmObject(&types.VirtualMachineConfigInfo{Hardware: types.VirtualHardware{NumCPU: 1, MemoryMB: 4, Device: []types.BaseVirtualDevice{scsiController(1000, 0), d}}}, more))
			got := vm.Disks[0]
			if string(got.Format) != tt.format || !slices.Equal(got.Parents, tt.parents) {
				t.Errorf("format %q, parents %v; want %q, %v", got.Format, got.Parents, tt.format, tt.parents)
			}
			if tt.format == "seSparse" && (got.Allocated() != 500+100+400+50 || vm.NVRAM != "[ds] w/w.nvram") {
				t.Errorf("Allocated = %d, NVRAM = %q", got.Allocated(), vm.NVRAM)
			}
			if strings.HasPrefix(tt.format, "r") && got.RDM == "" {
				t.Error("no LUN named")
			}
		})
	}
}

func TestSnapshotTree(t *testing.T) {
	ref := func(id string) types.ManagedObjectReference {
		return types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: id}
	}
	current := ref("3")
	vm := mapVM(vmObject(nil, map[string]any{"snapshot": types.VirtualMachineSnapshotInfo{
		CurrentSnapshot: &current,
		RootSnapshotList: []types.VirtualMachineSnapshotTree{{Snapshot: ref("1"), Name: "a%2fb", State: "poweredOff", ChildSnapshotList: []types.VirtualMachineSnapshotTree{
			{Snapshot: ref("2"), Name: "left"}, {Snapshot: ref("3"), Name: "right", Description: "two\nlines"},
		}}},
	}}))
	var got []string
	for _, s := range vm.Snapshots {
		got = append(got, fmt.Sprintf("%s<%s %q %t", s.ID, s.Parent, s.Name, s.Current))
	}
	want := []string{`1< "a/b" false`, `2<1 "left" false`, `3<1 "right" true`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshots (-want +got):\n%s", diff)
	}
}
