package plan

import (
	"time"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/packages"
	"esxodus/convert/volume"
	"esxodus/inventory"
	"esxodus/network"
)

// ShutdownMode is what is done with VMs that are on.
type ShutdownMode string

// The modes.
const (
	ShutdownNever ShutdownMode = ""     // they are refused
	ShutdownAuto  ShutdownMode = "auto" // through the API where the licence lets it, else over SSH
	ShutdownAPI   ShutdownMode = ShutdownMode(inventory.ViaAPI)
	ShutdownSSH   ShutdownMode = ShutdownMode(inventory.ViaSSH)
)

// Options is what the admin asks for.
type Options struct {
	VMs      []string // names or ids; none means all
	Storage  string   // "dir:/path", "lvm:VG" or "lvm:VG/POOL"
	Network  network.Options
	VirtType string       // kvm or qemu; "" for the best that the target has
	Libvirt  string       // connection URI
	Shutdown ShutdownMode // what is done with powered-on VMs
	// PowerOff is after which time the power of a VM is cut that doesn't shut down, or at
	// once where nobody can ask it to; 0 for never. Whole seconds.
	PowerOff time.Duration
	Off      []string // VMs that are off, whatever lies beside their .vmx; names or ids
	// Via are the ways that disks are to take, by the VM's name or id; "" is all VMs'.
	Via      map[string]Way
	NoProof  bool     // leave out the boot proof
	BootOnly bool     // leave out the network proof
	Ports    []uint16 // TCP ports that a network proof tries
	NoEdits  bool     // change nothing in guests that keep their layout
	// NoSpeed leaves it open how fast the source serves disks.
	NoSpeed bool
	// AllBlocks copies what nothing needs, too.
	AllBlocks bool
	// Addresses are those that NICs get in place of theirs, by the VM's name or id.
	Addresses map[string][]guest.NewAddress
	Layout    layout.Kind // auto, lvm, keep or plain; "" is auto
	// Acknowledged are the admin's words about concerns.
	Acknowledged []Acknowledgement
	// Again is what is kept of a VM's part that is made anew; nil for a new plan.
	Again *Kept
}

// Facts is everything a plan is made from: what was read of the source, of the
// guests' disks and of the target.
type Facts struct {
	Source Source
	Host   *inventory.Host
	Guests map[string]guest.Guest  // by VM id
	Unread map[string]*UnreadError // by VM id: the disk that can't be opened
	// Detours are VMs, by id, whose disks don't come by the way that they would, but by
	// another.
	Detours map[string]Detour
	Storage volume.Facts
	Target  TargetFacts
	Network *network.Host // the target's networking; nil where that can't be known
}

// TargetFacts is what the target's libvirt says of itself.
type TargetFacts struct {
	Links                []string      // its network interfaces; nil where they can't be known
	Host                 string        // its name
	VirtTypes            []string      // kvm, qemu
	CPULevel             int           // x86-64's microarchitecture level, 1 to 4; 0 where it isn't known
	EFI, SecureBoot, TPM bool          // what its firmware and swtpm offer
	Domains              []KnownDomain // what exists there
	Missing              string        // why nothing is known of it; "" when asked with success
}

// KnownDomain is a domain that exists on the target.
type KnownDomain struct {
	Active bool
	Disks  []string // paths
	Name   string
	UUID   string
	MACs   []string
}

// GuestFacts is what this host can do for one guest that is to be changed.
type GuestFacts struct {
	Missing  string       // why it can't be converted here; "" if it can
	Packages packages.Set // that the guest lacks
}

// Detour is another way than the usual one.
type Detour struct {
	Way Way
	Why string // the usual one can't be gone
}

// concern tells of it.
func (d Detour) concern() ledger.Concern {
	c := ledger.Concern{
		ID: ConcernWay, Severity: ledger.Note, Evidence: "its disks come by SSH, as HTTPS doesn't serve them: " + d.Why,
		Advice: "nothing: they can be read that way, if more slowly",
	}
	if d.Way == WayNFC {
		c.Evidence = "its disks come by a lease, as no file serves them: " + d.Why
		c.Advice = "nothing; what the lease brought is kept under --scratch until the run is committed, and the VM can't be started on ESXi while it brings it"
	}
	return c
}

// UnreadError is a disk that can't be opened, though what the host says of its
// VM lets one expect that it can.
type UnreadError struct {
	Address string
	Err     error
}

// Error names the disk.
func (e *UnreadError) Error() string { return e.Address + ": " + e.Err.Error() }

// Unwrap returns why.
func (e *UnreadError) Unwrap() error { return e.Err }

// Via decides what ShutdownAuto means: the API where the licence lets it, else SSH.
func (m ShutdownMode) Via(l inventory.License) inventory.Via {
	if m != ShutdownAuto {
		return inventory.Via(m)
	}
	if l.ReadOnly {
		return inventory.ViaSSH
	}
	return inventory.ViaAPI
}
