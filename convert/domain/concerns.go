package domain

// The ids of the concerns that [New] raises. They are an interface: scripts
// and reports filter by them.
const (
	// The VM as a whole.
	ConcernName           = "vm.name"           // the domain has another name
	ConcernUUID           = "vm.uuid"           // no SMBIOS UUID that a domain can have
	ConcernState          = "vm.state"          // orphaned, inaccessible, invalid
	ConcernProblem        = "vm.problem"        // the source contradicts itself
	ConcernTemplate       = "vm.template"       // a template
	ConcernEncrypted      = "vm.encrypted"      // encrypted by vCenter
	ConcernFaultTolerance = "vm.faultTolerance" // shadowed by another VM
	ConcernHardware       = "vm.hardware"       // unknown virtual hardware version
	ConcernSnapshots      = "vm.snapshots"      // snapshots are not carried
	ConcernConsolidation  = "vm.consolidation"  // links of a deleted snapshot
	ConcernAutoStart      = "vm.autostart"      // VM and domain might both start
	ConcernStartOrder     = "vm.startOrder"     // libvirt has no order
	ConcernCloudInit      = "vm.cloudInit"      // user data through guestinfo
	ConcernRead           = "vm.read"           // what was assumed when the source was read
	ConcernReflectHost    = "vm.reflectHost"    // SMBIOS strings of the ESXi host

	// Processor, memory, firmware.
	ConcernTopology    = "cpu.topology"   // CPUs not divisible by cores per socket
	ConcernCPUs        = "cpu.count"      // more than 255
	ConcernHotAdd      = "cpu.hotAdd"     // CPU or memory hot-add
	ConcernAffinity    = "cpu.affinity"   // bound to the ESXi host's CPUs
	ConcernNUMA        = "cpu.numa"       // bound to the host's NUMA nodes, or cut into its own
	ConcernMasked      = "cpu.masked"     // CPUID masks
	ConcernCPULimit    = "cpu.limit"      // a limit that isn't carried
	ConcernNested      = "cpu.nested"     // a hypervisor in the guest
	ConcernMemoryLimit = "memory.limit"   // less than the memory
	ConcernNVRAM       = "efi.nvram"      // boot entries are lost
	ConcernSecureBoot  = "efi.secureBoot" // own keys are lost
	ConcernTPM         = "tpm.state"      // sealed secrets are lost
	ConcernClock       = "clock.sync"     // VMware Tools set the clock
	ConcernBootOrder   = "boot.order"     // names what the domain hasn't

	// Disks.
	ConcernCapacity      = "disk.capacity"      // impossible size
	ConcernDatastore     = "disk.datastore"     // not accessible
	ConcernRDM           = "disk.rdm"           // raw device mapping
	ConcernMultiWriter   = "disk.multiWriter"   // other VMs write it
	ConcernSharedBus     = "disk.sharedBus"     // other VMs write the controller's disks
	ConcernIndependent   = "disk.independent"   // not in snapshots
	ConcernNonpersistent = "disk.nonpersistent" // forgets at power-off
	ConcernLeftBehind    = "disk.leftBehind"    // not in the plan
	ConcernDiskNames     = "disk.names"         // names in the guest that will be others
	ConcernByID          = "disk.byID"          // /dev/disk/by-id

	// Network; package network has more.
	ConcernMAC        = "nic.mac"        // no address of one station
	ConcernMACMissing = "nic.macMissing" // none made yet
	ConcernPortGroup  = "nic.portGroup"  // nothing planned for it
	ConcernNICName    = "nic.name"       // the guest's name of it changes
	ConcernSRIOV      = "nic.sriov"      // was a part of a physical adapter
	ConcernVFDriver   = "nic.vfDriver"   // the guest may have none for the virtual function that it gets

	// Other devices.
	ConcernISO         = "device.iso"
	ConcernFloppy      = "device.floppy"
	ConcernSerial      = "device.serial"
	ConcernParallel    = "device.parallel"
	ConcernUSBDevice   = "device.usb"
	ConcernPassthrough = "device.passthrough" // missing in the domain
	ConcernNVDIMM      = "device.nvdimm"      // its content stays behind
	ConcernOther       = "device.other"

	// The guest.
	ConcernUnknownOS  = "guest.unknown"
	ConcernKernel     = "guest.kernel"     // may be older than virtio 1.0, or than virtio
	ConcernWindows    = "guest.windows"    // no virtio drivers known
	ConcernInitramfs  = "guest.initramfs"  // may lack virtio
	ConcernHibernated = "guest.hibernated" // its state is in its swap
	ConcernGroup      = "guest.lvm"        // a physical volume of a group that it needs is missing
	ConcernBootCode   = "guest.bootSector" // a BIOS finds nothing to boot
	ConcernLoader     = "guest.efiLoader"  // none where firmware without boot entries looks
	ConcernAgent      = "guest.agent"      // no qemu-guest-agent
	ConcernConsole    = "guest.console"    // no serial console
	ConcernTools      = "guest.tools"      // open-vm-tools remain
	ConcernLook       = "guest.look"       // what the look inside couldn't see
)
