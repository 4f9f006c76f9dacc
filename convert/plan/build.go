package plan

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
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
	Storage  string   // "dir:/path" or "lvm:VG"
	Network  network.Options
	VirtType string       // kvm or qemu; "" for the best that the target has
	Libvirt  string       // connection URI
	Shutdown ShutdownMode // what is done with powered-on VMs
	NoProof  bool         // leave out the boot proof
	Layout   layout.Kind  // auto, lvm, keep or plain; "" is auto
}

// Facts is everything a plan is made from: what was read of the source, of the
// guests' disks and of the target.
type Facts struct {
	Source      Source
	Host        *inventory.Host
	Guests      map[string]guest.Guest  // by VM id
	Unread      map[string]*UnreadError // by VM id: the disk that can't be opened
	Convertible map[string]GuestFacts   // by VM id, of those that could get a new layout
	Storage     volume.Facts
	Target      TargetFacts
}

// TargetFacts is what the target's libvirt says of itself.
type TargetFacts struct {
	Links                []string      // its network interfaces; nil where they can\'t be known
	Host                 string        // its name
	VirtTypes            []string      // kvm, qemu
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

// New makes the plan. It is pure: the same arguments give the same plan. What
// speaks against a VM is among its concerns, also that it can't be planned; an
// error means that no plan could be made at all.
func New(f Facts, o Options) (*Plan, error) {
	vms, err := f.Host.Select(o.VMs)
	if err != nil {
		return nil, err
	}
	net, err := network.New(&f.Host.Network, portGroups(vms), o.Network)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Schema: Schema,
		Source: f.Source,
		Target: Target{
			Storage: o.Storage, Libvirt: o.Libvirt, Host: f.Target.Host,
			VirtType: virtType(o.VirtType, f.Target),
		},
		Network: net,
	}
	storage, err := volume.ParseStorage(o.Storage, host.Tool{})
	if err != nil {
		return nil, err
	}
	for _, vm := range vms {
		why := sick(vm)
		if len(why) == 0 {
			v, err := newVM(vm, p, f, o, storage)
			if err == nil {
				p.VMs = append(p.VMs, v)
				continue
			}
			why = failed(err)
		}
		p.VMs = append(p.VMs, unplanned(vm, &f, o, why))
	}
	addNetwork(p)
	addClashes(p)
	p.Concerns = append(p.Concerns, placeConcerns(p, f)...)
	ledger.SortConcerns(p.Concerns)
	for i := range p.VMs {
		ledger.SortConcerns(p.VMs[i].Concerns)
	}
	return p, nil
}

// virtType picks the domain type: what was asked for, else kvm where the
// target has it or nothing is known of the target.
func virtType(asked string, t TargetFacts) string {
	if asked != "" {
		return asked
	}
	if t.Missing == "" {
		for _, have := range []string{"kvm", "qemu"} {
			if slices.Contains(t.VirtTypes, have) {
				return have
			}
		}
	}
	return "kvm"
}

// portGroups lists the port groups that the VMs' NICs use, each once.
func portGroups(vms []*inventory.VM) []string {
	var names []string
	seen := make(map[string]bool)
	for _, vm := range vms {
		for _, n := range vm.NICs {
			if n.PortGroup != "" && !seen[n.PortGroup] {
				seen[n.PortGroup] = true
				names = append(names, n.PortGroup)
			}
		}
	}
	return names
}

// Volumes names a VM's volumes: one for each disk, in their order, as large as
// the layout needs it.
func Volumes(vm *inventory.VM, lay layout.Layout, storage volume.Storage) ([]volume.Volume, error) {
	name := domain.Name(vm.Name)
	vols := make([]volume.Volume, len(vm.Disks))
	for i, d := range vm.Disks {
		vol, err := storage.Volume(domain.VolumeName(name, i, d), lay.Disks[i].Size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Address(), err)
		}
		vols[i] = vol
	}
	return vols, nil
}

// volume returns what the target's storage said of a volume.
func (f *Facts) volume(v volume.Volume) volume.Found {
	for _, fact := range f.Storage.Volumes {
		if fact.Volume.Path == v.Path {
			return fact
		}
	}
	return volume.Found{Volume: v, Size: v.Size}
}

func newVM(vm *inventory.VM, p *Plan, f Facts, o Options, storage volume.Storage) (VMPlan, error) {
	v := VMPlan{Name: domain.Name(vm.Name), Source: *vm, Guest: f.Guests[vm.ID], NoProof: o.NoProof}
	lay := f.Lay(vm, o)
	v.Layout = lay
	converted := v.planGuest(&f)
	vols, err := Volumes(vm, lay, storage)
	if err != nil {
		return v, err
	}
	opts := v.domainOptions(f.Host, converted)
	opts.VirtType, opts.Network = p.Target.VirtType, p.Network
	for i, d := range vm.Disks {
		v.addDisk(d, vols[i], f)
		opts.Disks = append(opts.Disks, domain.Disk{
			Address: d.Address(), Path: vols[i].Path, Block: vols[i].Kind == volume.KindLVM, Size: v.Disks[i].Volume.Size,
		})
	}
	dom, err := domain.New(vm, f.Host, opts)
	if err != nil {
		return v, err
	}
	v.boots(dom.Domain)
	v.highBoot(dom.Domain)
	v.Domain = Domain{UUID: dom.Domain.UUID, AutoStart: dom.AutoStart, XML: dom.XML}
	v.Ledger = append(v.Ledger, dom.Ledger...)
	v.Concerns = append(v.Concerns, dom.Concerns...)
	v.Concerns = append(v.Concerns, concerns(vm, &v, f, o)...)
	v.Steps = steps(vm, &v, f, o)
	return v, nil
}

// domainOptions are those of a domain's that the plan of the guest decides.
func (v *VMPlan) domainOptions(h *inventory.Host, converted guest.Guest) domain.Options {
	o := domain.Options{Name: v.Name, HostMHz: h.CPUMHz, Guest: converted, OnlyDisks: v.onlyDisks()}
	if boot := v.Layout.Boot; boot != nil {
		o.BIOS, o.BootDisk = boot.UEFI, boot.Disk
	}
	return o
}

// addDisk plans one disk's volume.
func (v *VMPlan) addDisk(d inventory.Disk, vol volume.Volume, f Facts) {
	v.Disks = append(v.Disks, Disk{Address: d.Address(), Path: d.Path, Size: d.Capacity, Volume: vol})
	v.Sizes.Provisioned += d.Capacity
	v.Sizes.Allocated += d.Allocated()
	v.Sizes.Target += f.volume(vol).Size
}

// steps lists what carrying out the VM's part comes to, in words that a dry
// run shows.
func steps(vm *inventory.VM, v *VMPlan, f Facts, o Options) []Step {
	out := v.packagesStep()
	if vm.Power == inventory.PoweredOn && o.Shutdown != ShutdownNever {
		via := o.Shutdown.via(f.Host.License)
		out = append(out, Step{Kind: StepShutdown, Via: via, Text: fmt.Sprintf(
			"shut down %q on %s through %s (undone by powering it on)", vm.Name, f.Host.Name, strings.ToUpper(string(via)))})
	}
	recheck := Step{Kind: StepRecheck, Text: fmt.Sprintf("check that %q is off and as planned", vm.Name)}
	out = append(out, recheck)
	add := func(kind Kind, format string) {
		for _, d := range v.Disks {
			out = append(out, Step{Kind: kind, Disk: d.Address, Text: fmt.Sprintf(format, d.Address, d.Volume, d.Size, d.Volume.Size)})
		}
	}
	add(StepCreate, "make %[2]s of %[4]d bytes for %[1]s")
	out = append(out, v.templateStep()...)
	add(StepCopy, "copy %[1]s over HTTPS to %[2]s, %[3]d bytes")
	out = append(out, recheck)
	add(StepVerify, "read %[2]s back against the digests of %[1]s")
	out = append(out, v.guestSteps()...)
	auto := "no autostart"
	if v.Domain.AutoStart {
		auto = "autostart"
	}
	out = append(out, Step{Kind: StepDefine, Text: fmt.Sprintf("define the persistent domain %s, %s", v.Name, auto)})
	return append(out, v.proofStep(virtType(o.VirtType, f.Target), o)...)
}

// via decides what ShutdownAuto means: the API where the licence lets it, else SSH.
func (m ShutdownMode) via(l inventory.License) inventory.Via {
	if m != ShutdownAuto {
		return inventory.Via(m)
	}
	if l.ReadOnly {
		return inventory.ViaSSH
	}
	return inventory.ViaAPI
}
