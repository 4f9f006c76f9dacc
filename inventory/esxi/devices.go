package esxi

import (
	"fmt"
	"reflect"
	"strings"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/types"
)

const (
	// maxDevices bounds a VM's devices: 4 × 65 disks and some, by ESXi's
	// maximums.
	maxDevices = 1000
	// firstNIC is the device key of ethernet0.
	firstNIC, maxNICs          = 4000, 100
	firstSerial, firstParallel = 9000, 10000
)

// mapDevices sorts a VM's devices into the model. Controllers come first,
// since disks and drives refer to them.
func mapDevices(vm *inventory.VM, devices []types.BaseVirtualDevice) {
	if len(devices) > maxDevices {
		vm.Problem("%d devices", len(devices))
		devices = devices[:maxDevices]
	}
	m := mapper{vm: vm, controllers: make(map[int32]inventory.Controller), keys: make(map[int32]bool)}
	for _, d := range devices {
		if d == nil || reflect.ValueOf(d).IsNil() {
			continue
		}
		m.controller(d)
	}
	for _, d := range devices {
		if d == nil || reflect.ValueOf(d).IsNil() {
			vm.Other = append(vm.Other, "a device of a kind that this version of the API doesn't know")
			continue
		}
		m.device(d)
	}
	m.finish()
}

type mapper struct {
	vm          *inventory.VM
	controllers map[int32]inventory.Controller // by device key
	keys        map[int32]bool
}

func (m *mapper) controller(d types.BaseVirtualDevice) {
	base, ok := d.(types.BaseVirtualController)
	if !ok {
		return
	}
	class, model := controllerModel(d)
	if class == "" {
		return
	}
	c := inventory.Controller{Key: base.GetVirtualController().Key, Class: class, Bus: int(base.GetVirtualController().BusNumber), Model: model}
	if scsi, ok := d.(types.BaseVirtualSCSIController); ok {
		switch scsi.GetVirtualSCSIController().SharedBus {
		case types.VirtualSCSISharingVirtualSharing:
			c.Shared = "virtual"
		case types.VirtualSCSISharingPhysicalSharing:
			c.Shared = "physical"
		}
	}
	if c.Bus < 0 {
		m.vm.Problem("%s controller %d on bus %d", class, c.Key, c.Bus)
		c.Bus = 0
	}
	for _, other := range m.controllers {
		if other.Key == c.Key || other.Class == c.Class && other.Bus == c.Bus {
			m.vm.Problem("two controllers at %s%d", c.Class, c.Bus)
		}
	}
	m.controllers[c.Key] = c
	m.vm.Controllers = append(m.vm.Controllers, c)
}

func controllerModel(d types.BaseVirtualDevice) (class, model string) {
	switch d.(type) {
	case *types.ParaVirtualSCSIController:
		return "scsi", "pvscsi"
	case *types.VirtualLsiLogicController:
		return "scsi", "lsilogic"
	case *types.VirtualLsiLogicSASController:
		return "scsi", "lsisas1068"
	case *types.VirtualBusLogicController:
		return "scsi", "buslogic"
	case types.BaseVirtualSCSIController:
		return "scsi", typeName(d)
	case types.BaseVirtualSATAController:
		return "sata", "ahci"
	case *types.VirtualIDEController:
		return "ide", "ide"
	case *types.VirtualNVMEController:
		return "nvme", "nvme"
	}
	return "", ""
}

func (m *mapper) device(d types.BaseVirtualDevice) {
	key := d.GetVirtualDevice().Key
	if m.keys[key] {
		m.vm.Problem("two devices with key %d", key)
	}
	m.keys[key] = true
	switch d := d.(type) {
	case *types.VirtualDisk:
		m.disk(d)
	case *types.VirtualSriovEthernetCard:
		m.nic(d, "sriov")
		m.vm.Passthrough = append(m.vm.Passthrough, "SR-IOV: "+label(&d.VirtualDevice))
	case types.BaseVirtualEthernetCard:
		m.nic(d, nicModel(d))
	case *types.VirtualCdrom:
		m.cdrom(d)
	case *types.VirtualFloppy:
		m.vm.Floppies = append(m.vm.Floppies, inventory.Floppy{Image: medium(d.Backing), StartConnected: startConnected(&d.VirtualDevice)})
	case *types.VirtualSerialPort:
		m.vm.SerialPorts = append(m.vm.SerialPorts, port(&d.VirtualDevice, firstSerial))
	case *types.VirtualParallelPort:
		m.vm.Parallel = append(m.vm.Parallel, port(&d.VirtualDevice, firstParallel))
	case *types.VirtualMachineVideoCard:
		m.vm.Video = inventory.Video{
			RAMKiB: max(0, d.VideoRamSizeInKB), Displays: max(0, int(d.NumDisplays)), ThreeD: isTrue(d.Enable3DSupport),
		}
	default:
		m.minor(d)
	}
}

// minor takes the devices of which only the presence counts.
func (m *mapper) minor(d types.BaseVirtualDevice) {
	vm := m.vm
	switch d := d.(type) {
	case *types.VirtualTPM:
		vm.TPM = true
	case *types.VirtualUSBController:
		if isTrue(d.EhciEnabled) {
			vm.USB = append(vm.USB, "ehci")
		} else {
			vm.USB = append(vm.USB, "uhci")
		}
	case *types.VirtualUSBXHCIController:
		vm.USB = append(vm.USB, "xhci")
	case *types.VirtualUSB:
		name := backingName(d.Backing)
		if name == "" {
			name = label(&d.VirtualDevice)
		}
		vm.USBDevices = append(vm.USBDevices, name)
	case *types.VirtualNVDIMM:
		vm.NVDIMMs = append(vm.NVDIMMs, nvdimm(d))
	case *types.VirtualNVDIMMController:
		// nothing without its modules
	case *types.VirtualSCSIPassthrough:
		vm.Passthrough = append(vm.Passthrough, strings.TrimSpace("scsi-passthru: "+label(&d.VirtualDevice)+" "+backingName(d.Backing)))
	case *types.VirtualPCIPassthrough:
		vm.Passthrough = append(vm.Passthrough, passthrough(d))
	case *types.VirtualHdAudioCard:
		vm.Sound = "hdaudio"
	case *types.VirtualEnsoniq1371:
		vm.Sound = "es1371"
	case *types.VirtualSoundBlaster16:
		vm.Sound = "sb16"
	case *types.VirtualPCIController, *types.VirtualPS2Controller, *types.VirtualSIOController,
		*types.VirtualKeyboard, *types.VirtualPointingDevice, *types.VirtualMachineVMCIDevice:
		// the chipset: every VM has them
	default:
		if class, _ := controllerModel(d); class == "" {
			vm.Other = append(vm.Other, typeName(d)+": "+label(d.GetVirtualDevice()))
		}
	}
}

// finish drops the IDE controllers that nothing hangs on: the API shows two
// in every VM, as part of the chipset.
func (m *mapper) finish() {
	vm := m.vm
	used := make(map[int]bool)
	for _, d := range vm.Disks {
		used[d.Bus] = used[d.Bus] || d.Class == "ide"
	}
	for _, d := range vm.CDROMs {
		used[d.Bus] = used[d.Bus] || d.Class == "ide"
	}
	kept := vm.Controllers[:0]
	for _, c := range vm.Controllers {
		if c.Class != "ide" || used[c.Bus] {
			kept = append(kept, c)
		}
	}
	vm.Controllers = kept
	numberNICs(vm)
	taken := make(map[string]bool)
	check := func(address string) {
		if taken[address] {
			vm.Problem("two devices at %s", address)
		}
		taken[address] = true
	}
	for _, d := range vm.Disks {
		check(d.Address())
	}
	for _, d := range vm.CDROMs {
		check(d.Address())
	}
}

// unnumbered is the index of a NIC whose key tells none, an SR-IOV card's.
const unnumbered = -1

// numberNICs gives the NICs that aren't ethernetN the numbers after those that
// are, in their order.
func numberNICs(vm *inventory.VM) {
	seen, next := make(map[int]bool), 0
	for _, n := range vm.NICs {
		if n.Index != unnumbered && seen[n.Index] {
			vm.Problem("two NICs are ethernet%d", n.Index)
		}
		seen[n.Index], next = true, max(next, n.Index+1)
	}
	for i := range vm.NICs {
		if vm.NICs[i].Index == unnumbered {
			vm.NICs[i].Index = next
			next++
		}
	}
}

// place returns where a device sits on its controller.
func (m *mapper) place(d *types.VirtualDevice) (class string, bus, unit int) {
	c, ok := m.controllers[d.ControllerKey]
	if !ok {
		m.vm.Problem("device %d (%s) on controller %d, which the VM does not have", d.Key, label(d), d.ControllerKey)
	}
	if d.UnitNumber == nil || *d.UnitNumber < 0 {
		m.vm.Problem("device %d (%s) has no unit number", d.Key, label(d))
		return c.Class, c.Bus, 0
	}
	return c.Class, c.Bus, int(*d.UnitNumber)
}

func (m *mapper) nic(d types.BaseVirtualEthernetCard, model string) {
	c := d.GetVirtualEthernetCard()
	n := inventory.NIC{
		Key: c.Key, Index: unnumbered, Label: label(&c.VirtualDevice), Model: model, MAC: strings.ToLower(c.MacAddress),
		MACType: strings.ToLower(c.AddressType), StartConnected: startConnected(&c.VirtualDevice), WakeOnLAN: isTrue(c.WakeOnLanEnabled),
	}
	if c.Key >= firstNIC && c.Key < firstNIC+maxNICs {
		n.Index = int(c.Key - firstNIC)
	}
	if c.Connectable != nil {
		n.Connected = c.Connectable.Connected
	}
	if slot, ok := c.SlotInfo.(*types.VirtualDevicePciBusSlotInfo); ok && slot.PciSlotNumber > 0 {
		n.PCISlot = int(slot.PciSlotNumber)
	}
	switch b := c.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		n.PortGroup = unescapeName(b.DeviceName)
	case *types.VirtualEthernetCardLegacyNetworkBackingInfo:
		n.PortGroup = unescapeName(b.DeviceName)
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		n.Distributed = b.Port.PortgroupKey
	case *types.VirtualEthernetCardOpaqueNetworkBackingInfo:
		n.Distributed = b.OpaqueNetworkId
	}
	m.vm.NICs = append(m.vm.NICs, n)
}

// nicModel returns the name that a .vmx has in virtualDev.
func nicModel(d types.BaseVirtualEthernetCard) string {
	switch d.(type) {
	case *types.VirtualVmxnet3, *types.VirtualVmxnet3Vrdma:
		return "vmxnet3"
	case *types.VirtualVmxnet2:
		return "vmxnet2"
	case *types.VirtualVmxnet:
		return "vmxnet"
	case *types.VirtualE1000:
		return "e1000"
	case *types.VirtualE1000e:
		return "e1000e"
	case *types.VirtualPCNet32:
		return "pcnet32"
	}
	return typeName(d)
}

func (m *mapper) cdrom(d *types.VirtualCdrom) {
	c := inventory.CDROM{StartConnected: startConnected(&d.VirtualDevice)}
	c.Class, c.Bus, c.Unit = m.place(&d.VirtualDevice)
	switch name := backingName(d.Backing); {
	case inventory.NoMedium(name): // an empty drive
	case isISO(d.Backing):
		c.ISO = name
	default:
		c.Device = name
	}
	m.vm.CDROMs = append(m.vm.CDROMs, c)
}

func isISO(b types.BaseVirtualDeviceBackingInfo) bool {
	_, ok := b.(*types.VirtualCdromIsoBackingInfo)
	return ok
}

// medium is the file, or the host's drive, in a drive; "" for none.
func medium(b types.BaseVirtualDeviceBackingInfo) string {
	if name := backingName(b); !inventory.NoMedium(name) {
		return name
	}
	return ""
}

// port maps a serial or parallel port; the device key of the first is first.
func port(d *types.VirtualDevice, first int32) inventory.Port {
	p := inventory.Port{Index: int(max(0, d.Key-first)), Target: backingName(d.Backing), StartConnected: startConnected(d)}
	switch b := d.Backing.(type) {
	case *types.VirtualSerialPortURIBackingInfo:
		p.Backing, p.Target, p.Direction = "network", inventory.WithoutPassword(b.ServiceURI), b.Direction
	case *types.VirtualSerialPortThinPrintBackingInfo:
		p.Backing = "thinprint"
	case types.BaseVirtualDeviceFileBackingInfo:
		p.Backing = "file"
	case types.BaseVirtualDevicePipeBackingInfo:
		p.Backing = "pipe"
	default:
		p.Backing = "device"
	}
	return p
}

func nvdimm(d *types.VirtualNVDIMM) inventory.NVDIMM {
	const most = 1 << 40 // MiB
	n := inventory.NVDIMM{Capacity: min(max(0, d.CapacityInMB), most) << 20, Path: medium(d.Backing)}
	if d.UnitNumber != nil {
		n.Unit = int(*d.UnitNumber)
	}
	return n
}

func passthrough(d *types.VirtualPCIPassthrough) string {
	switch b := d.Backing.(type) {
	case *types.VirtualPCIPassthroughDeviceBackingInfo:
		return strings.TrimSpace(b.Id + " " + b.DeviceName)
	case *types.VirtualPCIPassthroughVmiopBackingInfo:
		return "vGPU " + b.Vgpu
	}
	return label(&d.VirtualDevice)
}

// backingName returns the file, device or pipe behind a device.
func backingName(b types.BaseVirtualDeviceBackingInfo) string {
	switch b := b.(type) {
	case types.BaseVirtualDeviceFileBackingInfo:
		return b.GetVirtualDeviceFileBackingInfo().FileName
	case types.BaseVirtualDeviceDeviceBackingInfo:
		return b.GetVirtualDeviceDeviceBackingInfo().DeviceName
	case types.BaseVirtualDeviceRemoteDeviceBackingInfo:
		return b.GetVirtualDeviceRemoteDeviceBackingInfo().DeviceName
	case types.BaseVirtualDevicePipeBackingInfo:
		return b.GetVirtualDevicePipeBackingInfo().PipeName
	}
	return ""
}

func startConnected(d *types.VirtualDevice) bool {
	return d.Connectable != nil && d.Connectable.StartConnected
}

func label(d *types.VirtualDevice) string {
	if d.DeviceInfo == nil || reflect.ValueOf(d.DeviceInfo).IsNil() {
		return fmt.Sprintf("device %d", d.Key)
	}
	return d.DeviceInfo.GetDescription().Label
}

func typeName(d any) string { return reflect.TypeOf(d).Elem().Name() }
