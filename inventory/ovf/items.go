package ovf

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"

	"esxodus/inventory"

	"github.com/vmware/govmomi/ovf"
)

type item = ovf.ResourceAllocationSettingData

func kind(it *item) ovf.CIMResourceType {
	if it.ResourceType == nil {
		return 0
	}
	return *it.ResourceType
}

// subType is what VMware calls the device, in lower case.
func subType(it *item) string { return strings.ToLower(strings.TrimSpace(text(it.ResourceSubType))) }

// controller takes an item that is a disk controller. Its bus is its address among its
// kind, or the next one.
func (r *reader) controller(it *item) {
	c := inventory.Controller{Class: "scsi"}
	switch sub := subType(it); kind(it) {
	case ovf.IdeController:
		c.Class, c.Model = "ide", "ide"
	case ovf.ParallelScsiHba:
		models := map[string]string{"virtualscsi": "pvscsi", "lsilogicsas": "lsisas1068", "": "lsilogic"}
		c.Model = cmp.Or(models[sub], sub)
	case ovf.OtherStorage:
		switch {
		case strings.Contains(sub, "nvme"):
			c.Class, c.Model = "nvme", "nvme"
		case strings.Contains(sub, "ahci") || strings.Contains(sub, "sata"):
			c.Class, c.Model = "sata", "ahci"
		default:
			return
		}
	default:
		return
	}
	taken := map[int]bool{}
	for _, have := range r.vm.Controllers {
		taken[have.Bus] = taken[have.Bus] || have.Class == c.Class
	}
	const most = 4
	n, err := strconv.Atoi(strings.TrimSpace(text(it.Address)))
	if err != nil || n < 0 || n >= most || taken[n] {
		for n = 0; taken[n]; n++ {
		}
	}
	if n >= most {
		r.vm.Problem("it has more than %d controllers of the kind %s", most, c.Class)
		return
	}
	c.Bus, c.Key = n, map[string]int32{"ide": 200, "scsi": 1000, "sata": 15000, "nvme": 31000}[c.Class]+int32(n)
	if _, twice := r.parents[it.InstanceID]; twice {
		r.vm.Problem("two items have the InstanceID %.40q", it.InstanceID)
	}
	r.parents[it.InstanceID] = len(r.vm.Controllers)
	r.vm.Controllers = append(r.vm.Controllers, c)
}

// item takes all else.
func (r *reader) item(it *item) {
	vm := r.vm
	switch kind(it) {
	case ovf.Processor:
		vm.CPU.Count = r.count("processors", it, math.MaxInt16)
		if c := it.CoresPerSocket; c != nil && c.Value > 0 {
			vm.CPU.CoresPerSocket = int(c.Value)
		}
		vm.CPU.ReservationMHz = reserved(it)
	case ovf.Memory:
		r.memory(it)
	case ovf.DiskDrive:
		r.disk(it)
	case ovf.CdDrive, ovf.DvdDrive:
		c := inventory.CDROM{StartConnected: starts(it)}
		c.Class, c.Bus, c.Unit = r.place(it)
		vm.CDROMs = append(vm.CDROMs, c)
		if len(it.HostResource) > 0 {
			vm.Notes = append(vm.Notes, fmt.Sprintf("the image in its drive %s stays in the package: %.200s", c.Address(), it.HostResource[0]))
		}
	case ovf.EthernetAdapter:
		r.nic(it)
	case ovf.FloppyDrive:
		vm.Floppies = append(vm.Floppies, inventory.Floppy{StartConnected: starts(it)})
	case ovf.SerialPort:
		vm.SerialPorts = append(vm.SerialPorts, inventory.Port{Index: len(vm.SerialPorts), Backing: "device", StartConnected: starts(it)})
	case ovf.ParallelPort:
		vm.Parallel = append(vm.Parallel, inventory.Port{Index: len(vm.Parallel), Backing: "device", StartConnected: starts(it)})
	case ovf.UsbController:
		vm.USB = append(vm.USB, strings.TrimPrefix(cmp.Or(subType(it), "ehci"), "vmware.usb."))
	case ovf.Graphics:
		if n, err := strconv.ParseInt(setting(it, "videoRamSizeInKB"), 10, 32); err == nil && n > 0 {
			vm.Video.RAMKiB = n
		}
		vm.Video.ThreeD = inventory.Truth(setting(it, "enable3DSupport"))
	case ovf.IdeController, ovf.ParallelScsiHba, ovf.OtherStorage: // done
	default:
		if sub := subType(it); sub != "vmware.vmci" {
			vm.Other = append(vm.Other, strings.TrimSpace(fmt.Sprintf("%d %s: %.100s", kind(it), sub, it.ElementName)))
		}
	}
}

// count is how many of something an item is.
func (r *reader) count(of string, it *item, most uint) int {
	if it.VirtualQuantity == nil || *it.VirtualQuantity > most {
		r.vm.Problem("the number of %s is absent, or more than %d", of, most)
		return 0
	}
	return int(*it.VirtualQuantity)
}

func (r *reader) memory(it *item) {
	n := r.count("units of memory", it, math.MaxInt32)
	size, err := bytesOf(uint64(n), cmp.Or(text(it.AllocationUnits), "MegaBytes"))
	if err != nil || size%(1<<20) != 0 {
		r.vm.Problem("memory of %d in %q: want whole MiB", n, text(it.AllocationUnits))
		return
	}
	r.vm.Memory.SizeMiB, r.vm.Memory.ReservationMiB = size>>20, reserved(it)
}

func reserved(it *item) int64 {
	if it.Reservation == nil || *it.Reservation > math.MaxInt32 {
		return 0
	}
	return int64(*it.Reservation)
}

// starts reports whether a device is connected from the start.
func starts(it *item) bool { return it.AutomaticAllocation == nil || *it.AutomaticAllocation }

func setting(it *item, key string) string {
	for _, c := range it.Config {
		if c.Key == key {
			return c.Value
		}
	}
	return ""
}

// place is where a disk or drive sits.
func (r *reader) place(it *item) (class string, bus, unit int) {
	parent := text(it.Parent)
	i, ok := r.parents[parent]
	if !ok {
		r.vm.Problem("%.100q is on %.40q, which is no controller", it.ElementName, parent)
		return "scsi", 0, 0
	}
	const most = 256
	c := r.vm.Controllers[i]
	unit, err := strconv.Atoi(strings.TrimSpace(text(it.AddressOnParent)))
	if err != nil || unit < 0 || unit >= most {
		unit = r.units[parent]
	}
	r.units[parent] = max(r.units[parent], unit+1)
	return c.Class, c.Bus, unit
}

// disk takes a disk drive, whose HostResource leads to a disk, and that to a file.
func (r *reader) disk(it *item) {
	d := inventory.Disk{Key: int32(2000 + len(r.vm.Disks)), Label: it.ElementName, Format: inventory.FormatSparse, Mode: "persistent"}
	d.Class, d.Bus, d.Unit = r.place(it)
	for _, have := range r.vm.Disks {
		if have.Address() == d.Address() {
			r.vm.Problem("two disks are at %s", d.Address())
		}
	}
	if why := r.resolve(&d, it); why != "" {
		r.vm.Problem("disk %s: %s", d.Address(), why)
	}
	r.vm.Disks = append(r.vm.Disks, d)
}

// resolve finds a disk's capacity and file, or says what is wrong.
func (r *reader) resolve(d *inventory.Disk, it *item) string {
	if len(it.HostResource) != 1 {
		return fmt.Sprintf("it has %d resources, want one", len(it.HostResource))
	}
	_, id, ok := strings.Cut(it.HostResource[0], "/disk/")
	if !ok || r.e.Disk == nil {
		return fmt.Sprintf("its resource is %.100q: want ovf:/disk/ID", it.HostResource[0])
	}
	var desc *ovf.VirtualDiskDesc
	for i := range r.e.Disk.Disks {
		if r.e.Disk.Disks[i].DiskID == id {
			desc = &r.e.Disk.Disks[i]
			break
		}
	}
	if desc == nil {
		return fmt.Sprintf("there is no disk %.100q", id)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(desc.Capacity), 10, 63)
	if err == nil {
		d.Capacity, err = bytesOf(n, text(desc.CapacityAllocationUnits))
	}
	switch ref := text(desc.FileRef); {
	case err != nil:
		return fmt.Sprintf("its capacity is %.100q in %.40q", desc.Capacity, text(desc.CapacityAllocationUnits))
	case text(desc.ParentRef) != "":
		return "it holds changes to another disk (parentRef), which isn't read: export the VM without snapshots"
	case ref == "":
		return "it has no file: an empty disk; take it out of the descriptor, and add one to the domain by hand"
	default:
		return r.file(d, ref)
	}
}

// file finds the file of a disk.
func (r *reader) file(d *inventory.Disk, ref string) string {
	for i := range r.e.References {
		f := &r.e.References[i]
		if f.ID != ref {
			continue
		}
		d.Path = f.Href
		switch c := strings.ToLower(text(f.Compression)); {
		case c != "" && c != "identity":
			return fmt.Sprintf("its file is compressed by %s and can't be read at random: unpack the package, gunzip %s, take compression=%q out of the .ovf and its line out of the .mf", c, f.Href, c)
		case f.ChunkSize != nil:
			return "its file is in pieces (chunkSize): join them, and take chunkSize out of the .ovf"
		}
		return ""
	}
	return fmt.Sprintf("there is no file %.100q", ref)
}

// nic takes a network adapter. An OVF rarely has a MAC address.
func (r *reader) nic(it *item) {
	i := len(r.vm.NICs)
	n := inventory.NIC{
		Key: int32(4000 + i), Index: i, Label: it.ElementName, Model: cmp.Or(subType(it), "e1000"), MACType: "generated", StartConnected: starts(it),
		WakeOnLAN: inventory.Truth(setting(it, "wakeOnLanEnabled")),
	}
	if mac, err := net.ParseMAC(strings.TrimSpace(text(it.Address))); err == nil && len(mac) == 6 {
		n.MAC, n.MACType = mac.String(), "manual"
	}
	if len(it.Connection) > 0 {
		n.PortGroup = it.Connection[0]
	}
	if slot, err := strconv.Atoi(setting(it, "slotInfo.pciSlotNumber")); err == nil && slot > 0 && slot < 1<<16 {
		n.PCISlot = slot
	}
	r.vm.NICs = append(r.vm.NICs, n)
}
