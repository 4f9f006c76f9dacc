// Package plan makes the plan of a migration from an ESXi host to libvirt domains:
// pure data, made from [Facts] by way of a [Draft], and checked by [Plan.Check] when
// it comes back from a file. It asks nothing and changes nothing.
//
// Words: a [Plan] is what will be done; a [Step] is one undoable act of it. A dry
// run prints the plan and ends; what carries it out does the steps that it lists
// and no others.
package plan

import (
	"cmp"
	"net/url"
	"slices"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/packages"
	"esxodus/convert/volume"
	"esxodus/inventory"
	"esxodus/network"
)

// Schema is the version of a plan's form.
const Schema = 1

// Plan is what will be done for a set of VMs. The same source, target and
// options give the same bytes. It may be saved, read, and edited in these
// fields: a disk's volume, a domain's XML and autostart, a VM's addresses,
// network.units, the order, why a concern is acknowledged, and the list of VMs itself. What follows from addresses is made
// anew by [Plan.Again] and [Plan.Replace] before anything is carried out.
type Plan struct {
	Schema   int              `json:"schema"`
	Source   Source           `json:"source"`
	More     []Source         `json:"moreSources,omitempty"` // further hosts, of a plan of several
	Target   Target           `json:"target"`
	Network  network.Plan     `json:"network"`
	Order    *Order           `json:"order,omitempty"` // nil for that of VMs
	VMs      []VMPlan         `json:"vms"`
	Concerns []ledger.Concern `json:"concerns,omitempty"` // of the VMs together
	Room     *Room            `json:"-"`                  // nil in a plan from a file
}

// Source is where the VMs are: on a host, or in a directory of this machine.
type Source struct {
	From       string `json:"from,omitempty"` // the directory, absolute; there is no URL then
	URL        string `json:"url"`            // with the user, never the password
	Host       string `json:"host"`
	Version    string `json:"version"`
	Thumbprint string `json:"thumbprint,omitempty"` // pin that was given, SHA-256
	// Datastores are those of the host's that are mounted on this machine, by name.
	Datastores map[string]string `json:"datastores,omitempty"`
	// Rate is how fast it served a disk when the plan was made, in bytes a second; 0 where
	// that wasn't measured.
	Rate int64 `json:"rate,omitempty"`
	// Scratch is the directory of this machine, absolute, in which disks are kept that a
	// lease brings.
	Scratch string `json:"scratch,omitempty"`
}

// Target is where the domains will be.
type Target struct {
	Storage  string `json:"storage"` // "dir:/path", "lvm:VG" or "lvm:VG/POOL"
	Libvirt  string `json:"libvirt"` // connection URI
	VirtType string `json:"virtType"`
	Host     string `json:"host,omitempty"`
}

// VMPlan is one VM's part of a plan.
type VMPlan struct {
	Name string `json:"name"` // the domain's
	// From is the number of the VM's source: 0 for the plan's first, 1 for the first of
	// its further ones.
	From   int           `json:"from,omitempty"`
	Source inventory.VM  `json:"source"`
	Guest  guest.Guest   `json:"guest"`
	Layout layout.Layout `json:"layout"`
	// Conversion is what changes inside the guest; nil where nothing does.
	Conversion *guest.Conversion `json:"conversion,omitempty"`
	Packages   packages.Set      `json:"packages,omitzero"` // that the conversion installs
	Disks      []Disk            `json:"disks"`
	Domain     Domain            `json:"domain"`
	NICs       []guest.NIC       `json:"nics,omitempty"` // as the guest has them, where that is known
	// Addresses are those that its NICs get in place of theirs, where that was asked for.
	Addresses []guest.NewAddress `json:"addresses,omitempty"`
	Sums      Sums               `json:"sums,omitzero"` // zero in plans from before there were any
	Sizes     Sizes              `json:"sizes"`
	Steps     []Step             `json:"steps"`
	Via       Way                `json:"via,omitempty"`       // that was asked for of its disks
	Off       bool               `json:"off,omitempty"`       // the admin said that it is off, whatever lies beside its .vmx
	NoProof   bool               `json:"noProof,omitempty"`   // the boot proof was declined
	BootOnly  bool               `json:"bootOnly,omitempty"`  // the network proof was declined
	NoEdits   bool               `json:"noEdits,omitempty"`   // changes in a guest that keeps its layout were declined
	AllBlocks bool               `json:"allBlocks,omitempty"` // what nothing needs is copied, too
	Ledger    []ledger.Entry     `json:"ledger"`
	Concerns  []ledger.Concern   `json:"concerns,omitempty"`
}

// Domain is the libvirt domain to define.
type Domain struct {
	UUID      string `json:"uuid"`
	AutoStart bool   `json:"autoStart"`
	XML       string `json:"xml"` // apply adds the run's id as metadata, nothing else
}

// Disk is one disk's way from the datastore to its volume. Where its bytes
// land is in the layout.
type Disk struct {
	Address string        `json:"address"`        // "scsi0:0"
	Path    string        `json:"path"`           // datastore path of the descriptor
	Via     Way           `json:"via,omitempty"`  // "" is https
	File    string        `json:"file,omitempty"` // the descriptor on this machine, where the way is file
	Size    int64         `json:"size"`           // bytes on the source
	Volume  volume.Volume `json:"volume"`
}

// Sizes sums up what a VM's disks take, in bytes.
type Sizes struct {
	Provisioned int64 `json:"provisioned"`      // the disks' sizes
	Allocated   int64 `json:"allocated"`        // what they take on the datastore
	Target      int64 `json:"target"`           // what the volumes take at most
	Unused      int64 `json:"unused,omitempty"` // what nothing needs of the disks, as far as the look inside could tell
	Zero        int64 `json:"zero,omitempty"`   // what is known to be zero of the rest
}

// Read is how many bytes of the disks are read, as far as that is known.
func (s Sizes) Read() int64 { return s.Provisioned - s.Unused - s.Zero }

// Kind is what a step does.
type Kind string

// The kinds of step.
const (
	StepPackages Kind = "packages" // get what the guest lacks, before anything is touched
	StepShutdown Kind = "shutdown" // shut the source VM down
	StepUnused   Kind = "unused"   // find what nothing needs on the disks, which isn't copied
	StepCreate   Kind = "create"   // make a volume
	StepTemplate Kind = "template" // have LVM make the heads of the physical volumes
	StepCopy     Kind = "copy"     // fill it
	StepRecheck  Kind = "recheck"  // the source is still off and unchanged
	StepVerify   Kind = "verify"   // read the volume back against the digests
	StepGuest    Kind = "guest"    // convert the guest, on overlays over the volumes
	StepMerge    Kind = "merge"    // write the overlays into the volumes
	StepDefine   Kind = "define"   // define the persistent domain
	StepProve    Kind = "prove"    // boot a copy of it that changes nothing
)

// Traits are what all steps of a kind have in common.
type Traits struct {
	PerDisk bool // there is one for each disk, which names it
	Claims  bool // it writes down what it is about to touch, so as to know it again
}

// Traits returns those of a kind, and whether there is such a kind.
func (k Kind) Traits() (Traits, bool) {
	t, ok := map[Kind]Traits{
		StepPackages: {},
		StepShutdown: {Claims: true},
		StepUnused:   {},
		StepCreate:   {PerDisk: true, Claims: true},
		StepTemplate: {},
		StepCopy:     {PerDisk: true},
		StepRecheck:  {},
		StepVerify:   {PerDisk: true},
		StepGuest:    {},
		StepMerge:    {},
		StepDefine:   {},
		StepProve:    {},
	}[k]
	return t, ok
}

// Step is one act of a plan.
type Step struct {
	Kind Kind          `json:"kind"`
	Disk string        `json:"disk,omitempty"` // address, of create, copy and verify
	Via  inventory.Via `json:"road,omitempty"` // of shutdown
	// PowerOff is after how many seconds a shutdown cuts the VM's power; 0 for never.
	PowerOff int    `json:"powerOff,omitempty"`
	Text     string `json:"text"` // the dry run's line
	// Expect is what the proof must see; nil in plans from before there was it.
	Expect *Expect `json:"expect,omitempty"`
}

// VMJob is all that carrying out one VM's part needs: what a journal's first
// record holds.
type VMJob struct {
	Source Source `json:"source"`
	Target Target `json:"target"`
	VM     VMPlan `json:"vm"`
}

// Job returns the part of the plan that is about VM i.
func (p *Plan) Job(i int) *VMJob {
	j := &VMJob{Source: *p.SourceOf(i), Target: p.Target, VM: p.VMs[i]}
	j.VM.From = 0
	return j
}

// Sources are all that the plan's VMs come from, in the order of [VMPlan.From].
func (p *Plan) Sources() []Source { return append([]Source{p.Source}, p.More...) }

// Label is a short name for a source: its host's, as in its address, or the directory.
func (s *Source) Label() string {
	if u, err := url.Parse(s.URL); err == nil && s.From == "" && u.Host != "" {
		return u.Host
	}
	return cmp.Or(s.From, s.Host)
}

// SourceOf is where VM i comes from.
func (p *Plan) SourceOf(i int) *Source {
	if n := p.VMs[i].From; n > 0 {
		return &p.More[n-1]
	}
	return &p.Source
}

// Rate is how fast the source's disks are expected to come, in bytes a second.
func (j *VMJob) Rate() int64 { return j.Source.Expected() }

// Expected is what was measured, or else what is usual, in bytes a second.
func (s *Source) Expected() int64 { return cmp.Or(s.Rate, Rate) }

// NetworkOf is the plan's networking without the port groups of other sources than that
// of VM i.
func (p *Plan) NetworkOf(i int) network.Plan { return p.Network.Of(p.VMs[i].From) }

// has reports whether there is a step of a kind.
func (v *VMPlan) has(k Kind) bool {
	return slices.ContainsFunc(v.Steps, func(s Step) bool { return s.Kind == k })
}

// ShutsDownBy is how the VM is shut down, "" where it is off.
func (v *VMPlan) ShutsDownBy() inventory.Via {
	for _, s := range v.Steps {
		if s.Kind == StepShutdown {
			return s.Via
		}
	}
	return ""
}

// LeavesOut reports whether what nothing needs isn't copied.
func (v *VMPlan) LeavesOut() bool { return v.has(StepUnused) }

// LaidOut returns the layout of the disk at an address.
func (v *VMPlan) LaidOut(address string) (*layout.Disk, bool) {
	for i := range v.Layout.Disks {
		if v.Layout.Disks[i].Address == address {
			return &v.Layout.Disks[i], true
		}
	}
	return nil, false
}

// Disk returns the disk at an address.
func (v *VMPlan) Disk(address string) (*Disk, bool) {
	for i := range v.Disks {
		if v.Disks[i].Address == address {
			return &v.Disks[i], true
		}
	}
	return nil, false
}
