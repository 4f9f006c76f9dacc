package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"esxodus/convert/appliance"
	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/volume"
	"esxodus/inventory"
	"esxodus/network"
)

// Draft is a plan that lacks what this host and its storage have to say: each VM
// has its layout, what changes in its guest, and its domain. [Draft.Answer] asks
// about the guests; [Draft.Volumes] lists what to ask of the storage, whose answer
// goes into Facts; and [Draft.Finish] makes the plan. It is pure: the same facts, options
// and answers give the same plan.
type Draft struct {
	Facts   Facts
	options Options
	storage volume.Storage
	target  Target
	network network.Plan
	vms     []draftVM
}

// draftVM is one VM of a draft.
type draftVM struct {
	way
	v        VMPlan
	adapted  []ledger.Concern // of the guest's conversion, among v's
	answered bool             // what this host can do for the guest is known
	failed   []ledger.Concern // why no plan can be made of it
}

// way is how a VM's disks and its guest are planned: as was asked for, or what
// is left of that.
type way struct {
	kind layout.Kind
	kept layout.Reason // why the disks are kept after all
	left layout.Reason // why nothing is changed in the guest after all
	told bool          // the reason for kept says what ends it
}

// Need is what must be known about one guest that is to be changed.
type Need struct {
	VM       string // its id
	Guest    guest.Guest
	Contents []string // types of the file systems that are mounted or checked
	Install  []string // packages that it lacks
	at       int      // among the draft's VMs
}

// NewDraft begins a plan. What stands in a VM's way is among its concerns, also
// that it can't be planned; an error means that no plan can be made at all.
func NewDraft(f Facts, o Options) (*Draft, error) {
	vms, err := f.Host.Select(o.VMs)
	if err != nil {
		return nil, err
	}
	d := &Draft{Facts: f, options: o, target: Target{
		Storage: o.Storage, Libvirt: o.Libvirt, Host: f.Target.Host, VirtType: virtType(o.VirtType, f.Target),
	}}
	if o.Again != nil {
		d.network = o.Again.network
	} else if d.network, err = Networking(f.Host, vms, o.Network, f.Network); err != nil {
		return nil, err
	}
	if f.Source.From != "" {
		unknownPortGroups(&d.network)
	}
	if err := errors.Join(o.checkAddresses(vms), o.checkOff(vms), o.checkWays(&f, vms)); err != nil {
		return nil, err
	}
	if d.storage, err = volume.ParseStorage(o.Storage, host.Tool{}); err != nil {
		return nil, err
	}
	for _, vm := range vms {
		if why := sick(vm, f.Source); len(why) > 0 {
			d.vms = append(d.vms, draftVM{v: VMPlan{Source: *vm}, failed: why})
			continue
		}
		d.vms = append(d.vms, d.settle(vm, way{kind: o.Layout}))
	}
	return d, nil
}

// Networking plans what the NICs of VMs are attached to on a host, of which nothing
// may be known.
func Networking(h *inventory.Host, vms []*inventory.VM, o network.Options, here *network.Host) (network.Plan, error) {
	if here != nil {
		o = here.Fill(o)
	}
	p, err := network.New(&h.Network, portGroups(vms), byKey(h, o, vms))
	if err == nil {
		count := nicsOf(vms)
		p.Demand(o.Hosts, func(a network.Attachment) int { return count[a.PortGroup] })
	}
	return p, err
}

// nicsOf counts the NICs of VMs on each port group, but those that aren't connected at
// the start: they need nothing.
func nicsOf(vms []*inventory.VM) map[string]int {
	count := map[string]int{}
	for _, vm := range vms {
		for _, n := range vm.NICs {
			if n.StartConnected {
				count[n.Network()]++
			}
		}
	}
	return count
}

// settle drafts a VM's part, and steps back while something rules it out.
func (d *Draft) settle(vm *inventory.VM, w way) draftVM {
	for {
		out := d.draft(vm, w)
		why := out.unfit()
		if why.Why == "" {
			return out
		}
		w = out.back(why)
	}
}

func (d *Draft) draft(vm *inventory.VM, w way) draftVM {
	out := draftVM{way: w, v: VMPlan{
		Name: domain.Name(vm.Name), Source: *vm, Guest: d.Facts.Guests[vm.ID], Layout: d.lay(vm, w),
		NoProof: d.options.NoProof, BootOnly: d.options.BootOnly, NoEdits: d.options.NoEdits, AllBlocks: d.options.AllBlocks, Off: d.options.SaysOff(vm), Via: cmp.Or(d.options.Way(vm), d.Facts.Detours[vm.ID].Way), Addresses: d.options.addresses(vm),
	}}
	if err := d.outline(&out); err != nil {
		out.failed = failed(err)
	}
	return out
}

// lay lays out a VM's disks. Where nothing is known of them they are kept.
func (d *Draft) lay(vm *inventory.VM, w way) layout.Layout {
	l := d.layDisks(vm, w)
	if l.Asked = d.options.Layout; l.Asked == layout.Auto {
		l.Asked = ""
	}
	return l
}

func (d *Draft) layDisks(vm *inventory.VM, w way) layout.Layout {
	l := layout.New(layout.Request{
		Kind: w.kind, Name: vm.Name, Seed: vm.InstanceUUID, Guest: d.Facts.Guests[vm.ID], Unseen: d.Facts.unseen(vm, d.options),
		UEFI: vm.Firmware == inventory.EFI, SecureBoot: vm.SecureBoot, TPM: vm.TPM, Fixed: shared(vm),
	})
	if w.kept.Why != "" {
		l.Because(w.kept)
		if w.told {
			l.Curable = append(l.Curable, w.kept.String())
		}
		l.Refused = asked(d.options.Layout)
	}
	if len(l.Disks) == len(vm.Disks) {
		return l
	}
	l.Disks = nil
	for _, have := range vm.Disks {
		l.Disks = append(l.Disks, layout.Disk{
			Address: have.Address(), Kind: layout.Keep, Size: have.Capacity, Ranges: []layout.Range{{Length: have.Capacity}},
		})
	}
	return l
}

// outline plans what changes in the guest, the volumes and the domain.
func (d *Draft) outline(w *draftVM) error {
	v := &w.v
	converted := w.planGuest(d.options.NoEdits)
	vols, err := volumes(&v.Source, v.Layout, d.storage)
	if err != nil {
		return err
	}
	d.options.Again.volumes(vols)
	o := v.domainOptions(d.Facts.Host, converted)
	o.NoEdits = d.options.NoEdits && !v.Relaid()
	o.VirtType, o.Network = d.target.VirtType, d.network
	for i, have := range v.Source.Disks {
		from := d.Facts.Source.Origin(&have, v.Via)
		v.Disks = append(v.Disks, Disk{Address: have.Address(), Path: have.Path, Via: from.Way, File: from.File, Size: have.Capacity, Volume: vols[i]})
		o.Disks = append(o.Disks, domain.Disk{
			Address: have.Address(), Path: vols[i].Path, Block: vols[i].Kind == volume.KindLVM, Size: vols[i].Size,
		})
	}
	dom, err := domain.New(&v.Source, d.Facts.Host, o)
	if err != nil {
		return err
	}
	v.boots(dom.Domain)
	v.highBoot(dom.Domain)
	v.Domain = d.options.Again.domain(Domain{UUID: dom.Domain.UUID, AutoStart: dom.AutoStart, XML: dom.XML})
	v.Ledger = append(v.Ledger, dom.Ledger...)
	v.Concerns = append(v.Concerns, dom.Concerns...)
	return nil
}

// planGuest plans the guest's conversion, and returns the guest as it will be.
func (w *draftVM) planGuest(noEdits bool) guest.Guest {
	v := &w.v
	v.layoutConcerns()
	v.findNICs()
	if w.left.Why != "" || noEdits && !v.Relaid() {
		v.Concerns = slices.Concat(v.Concerns, adapt.LostNICs(v.Guest, v.NICs), adapt.CloudInit(v.Guest), adapt.NoAddresses(v.adaptInput()), adapt.Faults(v.Guest))
		v.leftConcern(w.left)
		return v.Guest
	}
	conv, entries, concerns := adapt.New(v.adaptInput())
	w.adapted = concerns
	v.Ledger = append(v.Ledger, entries...)
	v.Concerns = append(v.Concerns, concerns...)
	if v.Relaid() || conv.Changes() {
		v.Conversion = &conv
		v.keepNames(conv)
		v.readdress()
	}
	return v.converted()
}

// unfit returns why the guest can't be changed like this, be it for a new layout
// or in place; Why is empty if nothing rules it out. If the admin named the layout
// explicitly, some of it is left to a blocker, which reports it with more detail.
func (w *draftVM) unfit() layout.Reason {
	v := &w.v
	if len(w.failed) > 0 {
		return layout.Reason{}
	}
	if n := len(v.Source.Disks); v.Conversion != nil && n > appliance.MaxDisks {
		return layout.Reason{Why: fmt.Sprintf("it has %d disks, but the appliance in which guests are converted takes at most %d", n, appliance.MaxDisks)}
	}
	for _, c := range w.adapted {
		if c.Severity == ledger.Blocker && c.ID != adapt.ConcernAddress { // which no other way would give it
			return layout.Reason{Why: reason(c)}
		}
	}
	high := func(c ledger.Concern) bool { return c.ID == ConcernHighBoot }
	if !asked(w.kind) && slices.ContainsFunc(v.Concerns, high) {
		return v.Layout.HighBoot()
	}
	return layout.Reason{}
}

// reason is a blocker in a sentence, without the advice to leave the guest as it
// is: that is what comes of it.
func reason(c ledger.Concern) string {
	advice := strings.TrimSuffix(strings.TrimSuffix(c.Advice, adapt.AsItIs), ", or ")
	if advice = strings.TrimSuffix(advice, "; or "); advice == "" {
		return c.Evidence
	}
	return c.Evidence + " (" + advice + ")"
}

// back is the next way if something rules this one out: from a new layout
// to the old one, from a guest that is changed there to one that isn't.
func (w *draftVM) back(why layout.Reason) way {
	if w.v.Relaid() {
		return way{kind: layout.Keep, kept: why}
	}
	return way{kind: w.kind, kept: w.kept, left: why, told: w.told}
}

// Answer asks about each guest that is to be changed. One that can't be changed
// like that is drafted otherwise, and asked about again.
func (d *Draft) Answer(ask func(Need) GuestFacts) {
	for needs := d.needs(); len(needs) > 0; needs = d.needs() {
		for _, n := range needs {
			d.take(n, ask(n))
		}
	}
}

// needs lists what is still to be asked about guests.
func (d *Draft) needs() []Need {
	var out []Need
	for i := range d.vms {
		w := &d.vms[i]
		if w.v.Conversion == nil || w.answered || len(w.failed) > 0 {
			continue
		}
		n := Need{VM: w.v.Source.ID, Guest: w.v.Guest, Install: w.v.Conversion.Install, at: i}
		for _, m := range slices.Concat(w.v.Conversion.Mounts, w.v.Conversion.Checks) {
			n.Contents = append(n.Contents, m.Content)
		}
		out = append(out, n)
	}
	return out
}

// take takes what this host can do for a guest. One that can't be converted here
// keeps its layout, or is left as it is.
func (d *Draft) take(n Need, a GuestFacts) {
	w := &d.vms[n.at]
	why := a.Missing
	if err := w.v.Guest.Room(w.v.Conversion, len(a.Packages.Packages), a.Packages.Unpacked); why == "" && err != nil {
		why = err.Error()
	}
	if why != "" {
		vm := w.v.Source
		to := w.back(layout.Reason{Why: why})
		to.told = to.told || why == a.Missing && w.v.Relaid()
		*w = d.settle(&vm, to)
		return
	}
	w.answered, w.v.Packages = true, a.Packages
	w.v.touchPackages()
}

// Volumes lists the volumes of all VMs.
func (d *Draft) Volumes() []volume.Volume {
	var all []volume.Volume
	for i := range d.vms {
		for _, have := range d.vms[i].v.Disks {
			all = append(all, have.Volume)
		}
	}
	return all
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

// byKey has what the admin said of distributed port groups by their names said of
// their keys.
func byKey(h *inventory.Host, o network.Options, vms []*inventory.VM) network.Options {
	asked := o.Map
	o.Map = maps.Clone(asked)
	for _, vm := range vms {
		for _, n := range vm.NICs {
			to, named := asked[n.NetworkName]
			if n.Distributed == "" || !named {
				continue
			}
			if _, keyed := asked[n.Distributed]; !keyed {
				o.Map[n.Distributed] = to
			}
			if _, standard := h.Network.PortGroup(n.NetworkName); !standard {
				delete(o.Map, n.NetworkName)
			}
		}
	}
	return o
}

// portGroups lists the port groups that the VMs' NICs use, each once.
func portGroups(vms []*inventory.VM) []string {
	var names []string
	seen := make(map[string]bool)
	for _, vm := range vms {
		for _, n := range vm.NICs {
			if name := n.Network(); name != "" && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// volumes names a VM's volumes: one for each disk, in their order, as large as
// the layout needs it.
func volumes(vm *inventory.VM, lay layout.Layout, storage volume.Storage) ([]volume.Volume, error) {
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

// domainOptions are those of a domain's that the plan of the guest decides.
func (v *VMPlan) domainOptions(h *inventory.Host, converted guest.Guest) domain.Options {
	o := domain.Options{Name: v.Name, HostMHz: h.CPUMHz, Guest: converted, NICs: v.NICs, OnlyDisks: v.onlyDisks()}
	if boot := v.Layout.Boot; boot != nil {
		o.BIOS, o.BootDisk = boot.UEFI, boot.Disk
	}
	return o
}
