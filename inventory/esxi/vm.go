package esxi

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/types"
)

// maxSnapshots bounds the snapshots listed: ESXi allows 32 in a chain.
const maxSnapshots = 1000

// mapVM makes the model's VM of what the host says.
func mapVM(o object) inventory.VM {
	summary := prop[types.VirtualMachineConfigSummary](o, "summary.config")
	vm := inventory.VM{
		ID: o.ref.Value, Name: unescapeName(cmp.Or(prop[string](o, "name"), summary.Name)), Path: summary.VmPathName,
		Power:           inventory.PowerState(prop[types.VirtualMachinePowerState](o, "runtime.powerState")),
		ConnectionState: string(prop[types.VirtualMachineConnectionState](o, "runtime.connectionState")),
		Firmware:        inventory.BIOS, CPU: inventory.CPU{CoresPerSocket: 1, LimitMHz: -1}, Memory: inventory.Memory{LimitMiB: -1},
		Controllers: []inventory.Controller{}, Disks: []inventory.Disk{}, NICs: []inventory.NIC{},
	}
	vm.ConsolidationNeeded, _ = o.props["runtime.consolidationNeeded"].(bool)
	if vm.Power == "" {
		vm.Power = inventory.PowerUnknown
	}
	ft := prop[types.VirtualMachineFaultToleranceState](o, "runtime.faultToleranceState")
	vm.FaultTolerance = ft != "" && ft != types.VirtualMachineFaultToleranceStateNotConfigured
	vm.Tools = mapTools(o)
	if config, ok := o.props["config"].(types.VirtualMachineConfigInfo); ok {
		layout := prop[types.VirtualMachineFileLayoutEx](o, "layoutEx")
		mapConfig(&vm, config, layout)
	}
	vm.Snapshots = mapSnapshots(&vm, prop[types.VirtualMachineSnapshotInfo](o, "snapshot"))
	vm.Sort()
	return vm
}

func mapConfig(vm *inventory.VM, c types.VirtualMachineConfigInfo, layout types.VirtualMachineFileLayoutEx) {
	vm.Path = cmp.Or(c.Files.VmPathName, vm.Path)
	vm.ChangeVersion = c.ChangeVersion
	vm.BIOSUUID, vm.InstanceUUID = inventory.UUID(c.Uuid), inventory.UUID(c.InstanceUuid)
	vm.GuestID, vm.GuestFullName = c.GuestId, cmp.Or(c.AlternateGuestName, c.GuestFullName)
	vm.HardwareVersion, _ = strconv.Atoi(strings.TrimPrefix(c.Version, "vmx-")) // 0 is "not known"
	vm.Template, vm.Annotation = c.Template, c.Annotation
	if c.Firmware == string(types.GuestOsDescriptorFirmwareTypeEfi) {
		vm.Firmware = inventory.EFI
	}
	vm.ChangeTracking, vm.NestedHV = isTrue(c.ChangeTrackingEnabled), isTrue(c.NestedHVEnabled)
	vm.Encrypted = c.KeyId != nil
	vm.DiskEnableUUID = isTrue(c.Flags.DiskUuidEnabled)
	vm.SyncTime = c.Tools != nil && isTrue(c.Tools.SyncTimeWithHost)
	mapCPU(vm, c)
	mapMemory(vm, c)
	mapDevices(vm, c.Hardware.Device)
	mapLayout(vm, layout)
	mapBoot(vm, c.BootOptions)
	options := make(map[string]string, len(c.ExtraConfig))
	for _, option := range c.ExtraConfig {
		if option == nil {
			continue
		}
		v := option.GetOptionValue()
		options[v.Key] = fmt.Sprint(v.Value)
	}
	vm.SetOptions(options)
}

func mapCPU(vm *inventory.VM, c types.VirtualMachineConfigInfo) {
	cpu := &vm.CPU
	cpu.Count = int(c.Hardware.NumCPU)
	if cpu.Count < 1 {
		vm.Problem("%d CPUs", cpu.Count)
		cpu.Count = 0
	}
	if n := c.Hardware.NumCoresPerSocket; n != nil && *n > 0 {
		cpu.CoresPerSocket = int(*n)
	}
	cpu.HotAdd, cpu.HotRemove = isTrue(c.CpuHotAddEnabled), isTrue(c.CpuHotRemoveEnabled)
	if a := c.CpuAllocation; a != nil {
		cpu.ReservationMHz, cpu.LimitMHz = bound(a.Reservation, 0), bound(a.Limit, -1)
		cpu.Shares, cpu.SharesLevel = mapShares(a.Shares)
	}
	if c.CpuAffinity != nil {
		for _, n := range c.CpuAffinity.AffinitySet {
			cpu.Affinity = append(cpu.Affinity, int(n))
		}
	}
	for _, m := range c.CpuFeatureMask {
		cpu.Masked = cpu.Masked || strings.Trim(m.Eax+m.Ebx+m.Ecx+m.Edx, "-: ") != ""
	}
}

func mapMemory(vm *inventory.VM, c types.VirtualMachineConfigInfo) {
	m := &vm.Memory
	m.SizeMiB = int64(c.Hardware.MemoryMB)
	if m.SizeMiB < 1 {
		vm.Problem("%d MiB of memory", m.SizeMiB)
		m.SizeMiB = 0
	}
	m.HotAdd, m.Locked = isTrue(c.MemoryHotAddEnabled), isTrue(c.MemoryReservationLockedToMax)
	if a := c.MemoryAllocation; a != nil {
		m.ReservationMiB, m.LimitMiB = bound(a.Reservation, 0), bound(a.Limit, -1)
		m.Shares, m.SharesLevel = mapShares(a.Shares)
	}
}

// bound returns *n, or none where it is absent or negative.
func bound(n *int64, none int64) int64 {
	if n == nil || *n < 0 {
		return none
	}
	return *n
}

func mapShares(s *types.SharesInfo) (int, string) {
	if s == nil {
		return 0, ""
	}
	return max(0, int(s.Shares)), string(s.Level)
}

func mapBoot(vm *inventory.VM, b *types.VirtualMachineBootOptions) {
	if b == nil {
		return
	}
	vm.SecureBoot = isTrue(b.EfiSecureBootEnabled)
	vm.BootDelay = max(0, b.BootDelay)
	for _, d := range b.BootOrder {
		switch d := d.(type) {
		case *types.VirtualMachineBootOptionsBootableDiskDevice:
			vm.BootOrder = append(vm.BootOrder, fmt.Sprintf("disk:%d", d.DeviceKey))
		case *types.VirtualMachineBootOptionsBootableEthernetDevice:
			vm.BootOrder = append(vm.BootOrder, fmt.Sprintf("ethernet:%d", d.DeviceKey))
		case *types.VirtualMachineBootOptionsBootableCdromDevice:
			vm.BootOrder = append(vm.BootOrder, "cdrom")
		case *types.VirtualMachineBootOptionsBootableFloppyDevice:
			vm.BootOrder = append(vm.BootOrder, "floppy")
		}
	}
}

func mapTools(o object) inventory.Tools {
	t := inventory.Tools{
		Status: prop[string](o, "guest.toolsRunningStatus"), Version: prop[string](o, "guest.toolsVersion"),
		Hostname: prop[string](o, "guest.hostName"),
	}
	for _, nic := range prop[types.ArrayOfGuestNicInfo](o, "guest.net").GuestNicInfo {
		for _, ip := range nic.IpAddress {
			if !slices.Contains(t.IPs, ip) {
				t.IPs = append(t.IPs, ip)
			}
		}
	}
	if ip := prop[string](o, "guest.ipAddress"); ip != "" && !slices.Contains(t.IPs, ip) {
		t.IPs = append([]string{ip}, t.IPs...)
	}
	return t
}

// mapSnapshots lists the tree of snapshots, parents first.
func mapSnapshots(vm *inventory.VM, info types.VirtualMachineSnapshotInfo) []inventory.Snapshot {
	type branch struct {
		parent string
		trees  []types.VirtualMachineSnapshotTree
	}
	var list []inventory.Snapshot
	for todo := []branch{{"", info.RootSnapshotList}}; len(todo) > 0; todo = todo[1:] {
		for _, s := range todo[0].trees {
			if len(list) == maxSnapshots {
				vm.Problem("more than %d snapshots", maxSnapshots)
				return list
			}
			list = append(list, inventory.Snapshot{
				ID: s.Snapshot.Value, Parent: todo[0].parent, Name: unescapeName(s.Name), Description: s.Description,
				Created: s.CreateTime.UTC().Format(time.RFC3339), Power: string(s.State),
				Current: info.CurrentSnapshot != nil && *info.CurrentSnapshot == s.Snapshot,
			})
			todo = append(todo, branch{s.Snapshot.Value, s.ChildSnapshotList})
		}
	}
	return list
}

// mapLayout gives each disk its files, and the VM its NVRAM file.
func mapLayout(vm *inventory.VM, layout types.VirtualMachineFileLayoutEx) {
	files := make(map[int32]types.VirtualMachineFileLayoutExFileInfo, len(layout.File))
	for _, f := range layout.File {
		files[f.Key] = f
		if f.Type == string(types.VirtualMachineFileLayoutExFileTypeNvram) {
			vm.NVRAM = f.Name
		}
	}
	for _, l := range layout.Disk {
		i := slices.IndexFunc(vm.Disks, func(d inventory.Disk) bool { return d.Key == l.Key })
		if i < 0 {
			continue
		}
		d := &vm.Disks[i]
		seen := make(map[int32]bool)
		for _, unit := range l.Chain {
			for _, key := range unit.FileKey {
				if f, ok := files[key]; ok && !seen[key] {
					seen[key] = true
					d.Files = append(d.Files, mapFile(f))
				}
			}
		}
		addParents(d)
	}
}

func mapFile(f types.VirtualMachineFileLayoutExFileInfo) inventory.File {
	out := inventory.File{Path: f.Name, Type: f.Type, Size: max(0, f.Size), Allocated: max(0, f.UniqueSize)}
	if f.UniqueSize == 0 && f.Type != string(types.VirtualMachineFileLayoutExFileTypeDiskExtent) {
		out.Allocated = out.Size // a descriptor; an extent of 0 is thin and empty
	}
	return out
}

// addParents completes the chain from the layout where the backing does not
// tell it: a seSparse delta's backing has no place for its flat base. The
// layout lists the base first.
func addParents(d *inventory.Disk) {
	var chain []string
	for _, f := range d.Files {
		if f.Type == string(types.VirtualMachineFileLayoutExFileTypeDiskDescriptor) {
			chain = append(chain, f.Path)
		}
	}
	if len(chain) > 1 && chain[len(chain)-1] == d.Path {
		slices.Reverse(chain)
	}
	if len(chain)-1 > len(d.Parents) && chain[0] == d.Path {
		d.Parents = chain[1:]
	}
}
