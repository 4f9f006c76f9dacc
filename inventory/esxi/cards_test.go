package esxi

import (
	"testing"

	"esxodus/inventory"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
)

// TestOddDevices: an SR-IOV card before the first NIC takes no number from it,
// drives without a medium hold none, and modules of persistent memory are told.
func TestOddDevices(t *testing.T) {
	t.Parallel()
	card := new(types.VirtualSriovEthernetCard)
	card.VirtualDevice, card.MacAddress = dev(13000, 100, 7, "SR-IOV"), "00:50:56:AA:00:03"
	nic := new(types.VirtualVmxnet3)
	nic.VirtualDevice, nic.MacAddress = dev(4000, 100, 8, "Network adapter 1"), "00:50:56:AA:00:01"
	module := &types.VirtualNVDIMM{VirtualDevice: dev(53000, 52000, 1, "NVDIMM 1"), CapacityInMB: 4096}
	module.Backing = &types.VirtualNVDIMMBackingInfo{VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[ds] web/pmem.vmdk"}}
	tape := &types.VirtualSCSIPassthrough{VirtualDevice: dev(2001, 1000, 1, "SCSI device 1")}
	tape.Backing = &types.VirtualSCSIPassthroughDeviceBackingInfo{VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "vml.1"}}
	ide := new(types.VirtualIDEController)
	ide.Key = 200
	devices := []types.BaseVirtualDevice{card, nic, module, new(types.VirtualNVDIMMController), tape, ide, scsiController(1000, 0)}
	for i, file := range []string{"", "emptyBackingString", "[] emptyBackingString", "[ds]", "[ds] a.iso"} {
		d := &types.VirtualCdrom{VirtualDevice: dev(int32(3000+i), 200, int32(i), "CD")}
		d.Backing = &types.VirtualCdromIsoBackingInfo{VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: file}}
		devices = append(devices, d)
	}
	vm := mapVM(vmObject(&types.VirtualMachineConfigInfo{Hardware: types.VirtualHardware{NumCPU: 1, MemoryMB: 4, Device: devices}}, nil))
	if len(vm.Problems) > 0 || len(vm.Other) > 0 {
		t.Errorf("problems %q, other %q", vm.Problems, vm.Other)
	}
	if len(vm.NICs) != 2 || vm.NICs[0].Key != 4000 || vm.NICs[0].Index != 0 || vm.NICs[1].Model != "sriov" || vm.NICs[1].Index != 1 {
		t.Errorf("NICs %+v; want ethernet0, then the card", vm.NICs)
	}
	for i, c := range vm.CDROMs {
		if want := map[bool]string{true: "[ds] a.iso"}[i == 4]; c.ISO != want || c.Device != "" {
			t.Errorf("drive %d holds %q %q; want %q", i, c.ISO, c.Device, want)
		}
	}
	if want := []inventory.NVDIMM{{Unit: 1, Path: "[ds] web/pmem.vmdk", Capacity: 4 << 30}}; !cmp.Equal(vm.NVDIMMs, want) {
		t.Errorf("NVDIMMs %+v; want %+v", vm.NVDIMMs, want)
	}
	if want := []string{"SR-IOV: SR-IOV", "scsi-passthru: SCSI device 1 vml.1"}; !cmp.Equal(vm.Passthrough, want) {
		t.Errorf("passthrough %q; want %q", vm.Passthrough, want)
	}
}

// TestMachineID: what the API tells of a key that the guest reads is its length.
func TestMachineID(t *testing.T) {
	t.Parallel()
	vm := mapVM(vmObject(&types.VirtualMachineConfigInfo{ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "machine.id", Value: "root:EXAMPLE"}}}, nil))
	if got := vm.Extra["machine.id"]; got != "(12 bytes)" {
		t.Errorf("machine.id is shown as %q", got)
	}
}
