package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// PowerState is a VM's power state, in vSphere's words.
type PowerState string

// The power states. Unknown is what a .vmx file alone can tell.
const (
	PoweredOn    PowerState = "poweredOn"
	PoweredOff   PowerState = "poweredOff"
	Suspended    PowerState = "suspended"
	PowerUnknown PowerState = "unknown"
)

// DiskFormat is how a virtual disk's bytes are kept.
type DiskFormat string

// The formats of disks.
const (
	FormatFlat        DiskFormat = "flat"        // in an extent, byte for byte
	FormatSESparse    DiskFormat = "seSparse"    // grains, ESXi's newer deltas
	FormatSparse      DiskFormat = "sparse"      // grains: hosted disks, and ESXi's older deltas (COWD)
	FormatRDM         DiskFormat = "rdm"         // on a LUN, mapped virtually
	FormatRawPhysical DiskFormat = "rawPhysical" // on a LUN or device, passed through
)

// Via is a way to ask a host for what changes something there.
type Via string

// The ways.
const (
	ViaAPI Via = "api" // what the free licence refuses
	ViaSSH Via = "ssh" // vim-cmd, which no licence closes
)

// Firmware is what starts the guest.
type Firmware string

// The two firmwares.
const (
	BIOS Firmware = "bios"
	EFI  Firmware = "efi"
)

// VM is a virtual machine on an ESXi host.
type VM struct {
	ID              string     `json:"id"`   // managed object id; a plain number on ESXi, which vim-cmd takes too
	Name            string     `json:"name"` // decoded: may hold any character
	Path            string     `json:"path"` // "[datastore] dir/name.vmx"
	ChangeVersion   string     `json:"changeVersion,omitempty"`
	BIOSUUID        string     `json:"biosUUID,omitempty"`     // 8-4-4-4-12 lower-case hex, the digits in the order of the .vmx's bytes ("56 4d …" is 564d…)
	InstanceUUID    string     `json:"instanceUUID,omitempty"` // same form
	GenerationID    string     `json:"generationID,omitempty"` // VM generation id, same form, as Windows prints it
	GuestID         string     `json:"guestID,omitempty"`      // "debian10_64Guest"
	GuestFullName   string     `json:"guestFullName,omitempty"`
	HardwareVersion int        `json:"hardwareVersion,omitempty"` // 13 for vmx-13
	Power           PowerState `json:"power"`
	Locks           []string   `json:"locks,omitempty"`           // files beside a .vmx, or its disks, that are there while its VM runs; an API tells the power state
	ConnectionState string     `json:"connectionState,omitempty"` // "connected"; "orphaned", "inaccessible", "invalid" cannot be read
	SMBIOS          SMBIOS     `json:"smbios,omitzero"`
	Template        bool       `json:"template,omitempty"`
	Annotation      string     `json:"annotation,omitempty"` // may hold newlines

	Firmware   Firmware `json:"firmware"`
	SecureBoot bool     `json:"secureBoot,omitempty"`
	NVRAM      string   `json:"nvram,omitempty"`     // datastore path of the .nvram file
	BootOrder  []string `json:"bootOrder,omitempty"` // bios.bootOrder or bootOptions: "disk:2000", "cdrom", "ethernet:4000", "floppy"; disks and NICs with their device keys
	HDDOrder   []string `json:"hddOrder,omitempty"`  // bios.hddOrder: disk addresses such as "scsi0:1"
	BootDelay  int64    `json:"bootDelay,omitempty"` // milliseconds

	CPU    CPU    `json:"cpu"`
	Memory Memory `json:"memory"`

	Controllers []Controller `json:"controllers"`
	Disks       []Disk       `json:"disks"` // by controller class (sata, ide, scsi, nvme: VMware's own order), bus, then unit, as numbers
	NICs        []NIC        `json:"nics"`  // by index (the N of ethernetN)
	CDROMs      []CDROM      `json:"cdroms,omitempty"`
	Floppies    []Floppy     `json:"floppies,omitempty"`
	SerialPorts []Port       `json:"serialPorts,omitempty"`
	Parallel    []Port       `json:"parallelPorts,omitempty"`
	TPM         bool         `json:"tpm,omitempty"`
	USB         []string     `json:"usb,omitempty"`         // controllers: "ehci", "xhci"
	USBDevices  []string     `json:"usbDevices,omitempty"`  // host devices passed through
	Passthrough []string     `json:"passthrough,omitempty"` // PCI devices passed through
	Sound       string       `json:"sound,omitempty"`
	Video       Video        `json:"video"`
	NVDIMMs     []NVDIMM     `json:"nvdimms,omitempty"`
	Other       []string     `json:"other,omitempty"` // devices of a type this schema has no field for: "VirtualFoo: label"

	Snapshots           []Snapshot `json:"snapshots,omitempty"` // parents before children
	ConsolidationNeeded bool       `json:"consolidationNeeded,omitempty"`
	ChangeTracking      bool       `json:"changeTracking,omitempty"`
	FaultTolerance      bool       `json:"faultTolerance,omitempty"`
	Encrypted           bool       `json:"encrypted,omitempty"`
	NestedHV            bool       `json:"nestedHV,omitempty"`
	DiskEnableUUID      bool       `json:"diskEnableUUID,omitempty"` // the guest sees its disks' UUIDs as serial numbers
	SyncTime            bool       `json:"syncTime,omitempty"`       // Tools set the guest's clock
	ClockOffset         string     `json:"clockOffset,omitempty"`    // rtc.diffFromUTC, seconds
	Tools               Tools      `json:"tools"`
	AutoStart           *AutoStart `json:"autoStart,omitempty"`

	// Extra is the rest of the .vmx's keys (lower case) that nothing above
	// holds and that are not ESXi's own bookkeeping. The values of those that
	// [Secret] names are replaced with "(N bytes)": they hold passwords and
	// cloud-init user data.
	Extra map[string]string `json:"extra,omitempty"`

	// Problems are things that the source says of the VM and that cannot be,
	// such as a disk of negative size or two at one address. A VM that has any
	// is shown but must not be converted.
	Problems []string `json:"problems,omitempty"`

	// Notes are what was assumed where the source is odd, but no contradiction.
	Notes []string `json:"notes,omitempty"`
}

// SMBIOS is what the VM's firmware is told to say to the guest; what is empty,
// ESXi fills in.
type SMBIOS struct {
	AssetTag string `json:"assetTag,omitempty"` // of the chassis
	Serial   string `json:"serial,omitempty"`   // of the system
	Model    string `json:"model,omitempty"`    // of the system
	Board    string `json:"board,omitempty"`    // of the main board
}

// NVDIMM is a module of memory that persists in a file.
type NVDIMM struct {
	Unit     int    `json:"unit"`
	Path     string `json:"path"` // datastore path
	Capacity int64  `json:"capacity,omitempty"`
}

// CPU is the virtual processors. Limit is -1 when there is none.
type CPU struct {
	Count          int    `json:"count"`
	CoresPerSocket int    `json:"coresPerSocket"` // at least 1
	HotAdd         bool   `json:"hotAdd,omitempty"`
	HotRemove      bool   `json:"hotRemove,omitempty"`
	ReservationMHz int64  `json:"reservationMHz,omitempty"`
	LimitMHz       int64  `json:"limitMHz"`
	Shares         int    `json:"shares,omitempty"`
	SharesLevel    string `json:"sharesLevel,omitempty"` // low, normal, high, custom
	Affinity       []int  `json:"affinity,omitempty"`
	Masked         bool   `json:"masked,omitempty"` // CPUID masks are set
}

// Memory is the guest's memory. LimitMiB is -1 when there is none.
type Memory struct {
	SizeMiB        int64  `json:"sizeMiB"`
	HotAdd         bool   `json:"hotAdd,omitempty"`
	ReservationMiB int64  `json:"reservationMiB,omitempty"`
	LimitMiB       int64  `json:"limitMiB"`
	Shares         int    `json:"shares,omitempty"`
	SharesLevel    string `json:"sharesLevel,omitempty"`
	Locked         bool   `json:"locked,omitempty"` // all of it reserved
}

// Controller is a disk controller.
type Controller struct {
	Key    int32  `json:"key"`
	Class  string `json:"class"` // scsi, sata, ide, nvme
	Bus    int    `json:"bus"`
	Model  string `json:"model"`            // pvscsi, lsilogic, lsisas1068, buslogic, ahci, ide, nvme
	Shared string `json:"shared,omitempty"` // virtual or physical bus sharing
}

// Disk is a virtual disk.
type Disk struct {
	Key          int32      `json:"key"`   // device key; order by it means nothing
	Label        string     `json:"label"` // "Hard disk 1"
	Class        string     `json:"class"` // controller class: scsi, sata, ide, nvme
	Bus          int        `json:"bus"`
	Unit         int        `json:"unit"`
	Path         string     `json:"path"` // datastore path of the descriptor, "[datastore] dir/name.vmdk"
	Capacity     int64      `json:"capacity"`
	UUID         string     `json:"uuid,omitempty"`
	ContentID    string     `json:"contentID,omitempty"`
	Format       DiskFormat `json:"format"`         // the top link's backing
	Mode         string     `json:"mode,omitempty"` // persistent, independent_persistent, independent_nonpersistent, nonpersistent …
	Thin         bool       `json:"thin,omitempty"`
	EagerZeroed  bool       `json:"eagerZeroed,omitempty"`
	WriteThrough bool       `json:"writeThrough,omitempty"`
	MultiWriter  bool       `json:"multiWriter,omitempty"`
	Parents      []string   `json:"parents,omitempty"`    // descriptors of the links below, nearest first
	Files        []File     `json:"files,omitempty"`      // every file of the chain, where the host lists them
	RDM          string     `json:"rdm,omitempty"`        // the LUN behind a raw device mapping
	IOPSLimit    int64      `json:"iopsLimit,omitempty"`  // operations a second
	BytesLimit   int64      `json:"bytesLimit,omitempty"` // bytes a second
	Shares       int        `json:"shares,omitempty"`
}

// Address is where the disk sits, as in a .vmx: "scsi0:2".
func (d Disk) Address() string { return address(d.Class, d.Bus, d.Unit) }

// Allocated is how many bytes the disk's files take on the datastore, or
// Capacity when the host does not say.
func (d Disk) Allocated() int64 {
	var n int64
	for _, f := range d.Files {
		n += f.Allocated
	}
	if n == 0 {
		return d.Capacity
	}
	return n
}

// File is one file of a disk on a datastore.
type File struct {
	Path      string `json:"path"`
	Type      string `json:"type"` // diskDescriptor, diskExtent
	Size      int64  `json:"size"`
	Allocated int64  `json:"allocated"`
}

// NIC is a virtual network adapter.
type NIC struct {
	Key            int32  `json:"key"`
	Index          int    `json:"index"` // the N of ethernetN
	Label          string `json:"label,omitempty"`
	Model          string `json:"model"`                 // vmxnet3, vmxnet2, e1000, e1000e, pcnet32, sriov
	MAC            string `json:"mac"`                   // lower case; "" when ESXi has not made one yet
	MACType        string `json:"macType"`               // generated, assigned (by vCenter), manual
	PortGroup      string `json:"portGroup,omitempty"`   // "" when not on a standard port group
	Distributed    string `json:"distributed,omitempty"` // distributed port group key or opaque network id
	NetworkName    string `json:"networkName,omitempty"` // of that network, where the source has one
	Connected      bool   `json:"connected"`
	StartConnected bool   `json:"startConnected"`
	PCISlot        int    `json:"pciSlot,omitempty"` // pciSlotNumber, see SlotName
	WakeOnLAN      bool   `json:"wakeOnLAN,omitempty"`
}

// Network is what the NIC is connected to: a standard port group's name, or a
// distributed one's key; "" for nothing.
func (n NIC) Network() string {
	if n.PortGroup != "" {
		return n.PortGroup
	}
	return n.Distributed
}

// SlotName is what systemd calls the NIC in a guest on VMware, "" where its slot
// isn't known. A pciSlotNumber is function × 1024 + slot (Broadcom KB 2047927), and
// the slot that ACPI tells the guest is the sum of both: 192 is ens192, 1184 ens161.
func (n NIC) SlotName() string {
	if n.PCISlot <= 0 {
		return ""
	}
	return fmt.Sprintf("ens%d", n.PCISlot%1024+n.PCISlot/1024)
}

// BusOrder lists NICs, as indices, in the order in which a guest finds them: that of
// their places, where all are known, else the given one. Function 1 of a bridge comes
// right after its function 0: 160, 1184, 192, so that a VM's fourth NIC is often its
// first or second.
func BusOrder(nics []NIC) []int {
	order := make([]int, len(nics))
	for i := range order {
		order[i] = i
	}
	if !slices.ContainsFunc(nics, func(n NIC) bool { return n.PCISlot <= 0 }) {
		slices.SortStableFunc(order, func(i, j int) int {
			x, y := nics[i].PCISlot, nics[j].PCISlot
			return cmp.Or(x%1024-y%1024, x-y)
		})
	}
	return order
}

// CDROM is a CD-ROM drive.
type CDROM struct {
	Class          string `json:"class"` // ide, sata, scsi
	Bus            int    `json:"bus"`
	Unit           int    `json:"unit"`
	ISO            string `json:"iso,omitempty"`    // datastore path
	Device         string `json:"device,omitempty"` // host or client device
	StartConnected bool   `json:"startConnected"`
}

// Address is where the drive sits, as in a .vmx: "ide1:0".
func (c CDROM) Address() string { return address(c.Class, c.Bus, c.Unit) }

// Floppy is a floppy drive.
type Floppy struct {
	Image          string `json:"image,omitempty"`
	StartConnected bool   `json:"startConnected"`
}

// Port is a serial or parallel port.
type Port struct {
	Index          int    `json:"index"`
	Backing        string `json:"backing"`             // file, pipe, network, device, thinprint
	Target         string `json:"target,omitempty"`    // file name, pipe name, URI or device
	Direction      string `json:"direction,omitempty"` // client or server, of a network port
	StartConnected bool   `json:"startConnected"`
}

// Video is the display adapter.
type Video struct {
	RAMKiB   int64 `json:"ramKiB,omitempty"`
	Displays int   `json:"displays,omitempty"`
	ThreeD   bool  `json:"threeD,omitempty"`
}

// Snapshot is one snapshot of a VM.
type Snapshot struct {
	ID          string `json:"id"`
	Parent      string `json:"parent,omitempty"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Created     string `json:"created,omitempty"` // RFC 3339
	Power       string `json:"power,omitempty"`
	Current     bool   `json:"current,omitempty"`
}

// Tools is what VMware Tools in the guest said last.
type Tools struct {
	Status   string   `json:"status,omitempty"` // guestToolsRunning, guestToolsNotRunning, …
	Version  string   `json:"version,omitempty"`
	Hostname string   `json:"hostname,omitempty"`
	IPs      []string `json:"ips,omitempty"`
}

// AutoStart is a VM's place in the host's autostart. A delay of -1 is the
// host's default.
type AutoStart struct {
	Order            int    `json:"order"`       // -1: after all that have one
	StartDelay       int    `json:"startDelay"`  // seconds
	StopDelay        int    `json:"stopDelay"`   // seconds
	StartAction      string `json:"startAction"` // powerOn, none
	StopAction       string `json:"stopAction,omitempty"`
	WaitForHeartbeat bool   `json:"waitForHeartbeat,omitempty"`
}

// AutoStartEntry is a VM's entry in its host's autostart as the host keeps it, so that it
// can be put back as it was. Delays are seconds, -1 for the host's default.
type AutoStartEntry struct {
	Order       int    `json:"order"` // -1: after all that have one
	StartDelay  int    `json:"startDelay"`
	StopDelay   int    `json:"stopDelay"`
	StartAction string `json:"startAction"` // powerOn, none
	StopAction  string `json:"stopAction"`
	Heartbeat   string `json:"heartbeat"` // yes, no, systemDefault
}

// Starts reports whether the host starts the VM by the entry.
func (e *AutoStartEntry) Starts() bool { return strings.EqualFold(e.StartAction, "powerOn") }

// Off is the entry without the start: all else stays.
func (e AutoStartEntry) Off() AutoStartEntry {
	e.StartAction = "none"
	return e
}
