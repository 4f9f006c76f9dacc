package domain

import (
	"fmt"
	"slices"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/network"
)

// Disk is where one of the source's disks is on this host.
type Disk struct {
	Address string // the source's: "scsi0:0"
	Path    string // absolute
	Block   bool   // a block device; else a raw file
	Size    int64  // bytes there; at least the source's capacity
}

// Options is what [New] needs to know beside the source.
type Options struct {
	Name     string       // the domain's; see [Name]
	VirtType string       // kvm or qemu
	Disks    []Disk       // one for each source disk that comes along, in any order
	Network  network.Plan // attachments by port group
	Guest    guest.Guest  // what the look inside found; may be empty
	NICs     []guest.NIC  // as the guest has them, with what keeps their names
	NoEdits  bool         // the admin declined changes in the guest
	Emulator string       // "" for libvirt's choice
	BIOS     bool         // start by BIOS, though the source starts through UEFI
	// BootDisk is the address of the disk that got a new boot loader: the first
	// of the hard disks to boot. "" where none did.
	BootDisk string
	// OnlyDisks is what the guest allows its disks to be called.
	OnlyDisks guest.OnlyDisks
	// HostMHz is the speed of one core of the source host, which a CPU limit
	// in MHz is a share of. 0 when it isn't known; the limit is then dropped.
	HostMHz int64
}

// Result is a domain and everything that must be said about it.
type Result struct {
	Domain    *libvirtxml.Domain
	XML       string // of Domain
	Ledger    []ledger.Entry
	Concerns  []ledger.Concern
	AutoStart bool // start it with the host
}

// New turns a VM into a domain. The same arguments give the same result, byte
// for byte. host may be nil where the source is a lone .vmx file.
//
// What a domain can't have is not an error but a concern; an error says that the
// arguments make no domain at all.
func New(vm *inventory.VM, host *inventory.Host, o Options) (Result, error) {
	if host == nil {
		host = &inventory.Host{}
	}
	if err := check(vm, o); err != nil {
		return Result{}, fmt.Errorf("domain for %q: %w", vm.Name, err)
	}
	b := &builder{
		vm: vm, host: host, o: o, sys: classify(vm, o.Guest),
		dom: &libvirtxml.Domain{Type: o.VirtType, Name: o.Name, Devices: &libvirtxml.DomainDeviceList{Emulator: o.Emulator}},
	}
	b.identity()
	b.platform()
	b.cpu()
	b.memory()
	b.clock()
	b.nics()
	b.disks()
	b.cdroms()
	b.boot()
	b.devices()
	b.leftovers()
	b.autostart()
	b.guestConcerns()
	b.pci.finish(b.dom)
	text, err := b.dom.Marshal()
	if err != nil {
		return Result{}, fmt.Errorf("domain for %q: %w", vm.Name, err)
	}
	b.concerns = ledger.Merge(b.concerns, ConcernDiskNames, ConcernISO)
	ledger.SortConcerns(b.concerns)
	return Result{Domain: b.dom, XML: text, Ledger: b.ledger, Concerns: b.concerns, AutoStart: b.start}, nil
}

// builder collects a Result. Each of its methods deals with one part of the
// source and leaves the domain's part, ledger entries and concerns.
type builder struct {
	vm       *inventory.VM
	host     *inventory.Host
	o        Options
	sys      system
	dom      *libvirtxml.Domain
	pci      pciBus
	names    targetNames
	scsi     string // model of the SCSI controllers, "" for virtio's
	ledger   []ledger.Entry
	concerns []ledger.Concern
	start    bool
}

func check(vm *inventory.VM, o Options) error {
	switch {
	case o.VirtType != "kvm" && o.VirtType != "qemu":
		return fmt.Errorf("virtualisation type %q: want kvm or qemu", o.VirtType)
	case o.Name == "" || Name(o.Name) != o.Name:
		return fmt.Errorf("name %q: libvirt or LVM doesn't accept it; %q would do", o.Name, Name(o.Name))
	case vm.CPU.Count < 1:
		return fmt.Errorf("%d virtual CPUs", vm.CPU.Count)
	case vm.Memory.SizeMiB < 1 || vm.Memory.SizeMiB > MaxMemoryMiB:
		return fmt.Errorf("%d MiB of memory", vm.Memory.SizeMiB)
	}
	if o.BootDisk != "" && !slices.ContainsFunc(o.Disks, func(d Disk) bool { return d.Address == o.BootDisk }) {
		return fmt.Errorf("disk %s, which has the boot loader, isn't migrated", o.BootDisk)
	}
	return checkDisks(vm, o.Disks)
}

// checkDisks finds what would attach a wrong disk, which is worse than none.
func checkDisks(vm *inventory.VM, disks []Disk) error {
	known := make(map[string]int64, len(vm.Disks))
	for _, d := range vm.Disks {
		if _, twice := known[d.Address()]; twice {
			return fmt.Errorf("two disks at %s", d.Address())
		}
		known[d.Address()] = d.Capacity
	}
	paths := make(map[string]string, len(disks))
	for _, d := range disks {
		capacity, ok := known[d.Address]
		if !ok {
			return fmt.Errorf("disk %s: the VM has no disk there, or it was given twice", d.Address)
		}
		delete(known, d.Address)
		if d.Path == "" || d.Path[0] != '/' {
			return fmt.Errorf("disk %s: path %q is not absolute", d.Address, d.Path)
		}
		if other, twice := paths[d.Path]; twice {
			return fmt.Errorf("disks %s and %s are both on %s", other, d.Address, d.Path)
		}
		paths[d.Path] = d.Address
		if d.Size < capacity {
			return fmt.Errorf("disk %s: %s has %d bytes, the source's disk has %d", d.Address, d.Path, d.Size, capacity)
		}
	}
	return nil
}

// MaxMemoryMiB is more than any ESXi gives a VM (24 TiB), and keeps a lie in a
// .vmx from overflowing.
const MaxMemoryMiB = 64 << 20

// newUUID is a UUID for a VM that has none: the same one each time.
func newUUID(host *inventory.Host, vm *inventory.VM) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://esxodus/1?"+host.UUID+"\x00"+vm.Path+"\x00"+vm.ID+"\x00"+vm.Name)).String()
}
