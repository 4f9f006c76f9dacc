package plan

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/appliance"
	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/packages"
	"esxodus/convert/volume"
	"esxodus/inventory"

	"libvirt.org/go/libvirtxml"
)

// GuestFacts is what this host can do for one guest that could get a new
// layout.
type GuestFacts struct {
	Missing  string       // why it can't be converted here; "" if it can
	Packages packages.Set // that the guest lacks
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

// Lay lays out a VM's disks. Where nothing is known of them, or the guest
// can't be converted on this host or started from its new layout, they are
// kept.
func (f *Facts) Lay(vm *inventory.VM, o Options) layout.Layout {
	r := layout.Request{
		Kind: o.Layout, Name: vm.Name, Seed: vm.InstanceUUID, Guest: f.Guests[vm.ID], Unseen: f.unseen(vm),
		UEFI: vm.Firmware == inventory.EFI, SecureBoot: vm.SecureBoot, TPM: vm.TPM,
	}
	r.Fixed = shared(vm)
	l := layout.New(r)
	if why := f.unfit(vm, l, o); why.Why != "" {
		r.Kind = layout.Keep
		l = layout.New(r)
		l.Because(why)
		l.Refused = asked(o.Layout)
	}
	if len(l.Disks) == len(vm.Disks) {
		return l
	}
	l.Disks = nil
	for _, d := range vm.Disks {
		l.Disks = append(l.Disks, layout.Disk{
			Address: d.Address(), Kind: layout.Keep, Size: d.Capacity, Ranges: []layout.Range{{Length: d.Capacity}},
		})
	}
	return l
}

// asked reports whether a new layout is asked for by its name.
func asked(kind layout.Kind) bool { return kind == layout.LVM || kind == layout.Plain }

// unseen says why nothing is known of a VM's disks.
func (f *Facts) unseen(vm *inventory.VM) layout.Reason {
	switch u, cs := f.Unread[vm.ID], FormatConcerns(vm); {
	case vm.Power == inventory.PoweredOn:
		return layout.Reason{Why: "it is running, and its disks can't be read while it runs", Cure: "shut it down, then plan again for the new layout"}
	case vm.Power == inventory.Suspended:
		return layout.Reason{Why: "it is suspended, and its disks can't be read until it is off", Cure: "resume it and shut it down, then plan again for the new layout"}
	case len(cs) > 0:
		return layout.Reason{Why: cs[0].Subject + ": " + cs[0].Evidence, Cure: cs[0].Advice}
	case u != nil:
		return layout.Reason{Why: "a disk can't be opened: " + u.Error()}
	}
	return layout.Reason{}
}

// unfit returns why the VM can't get its new layout; Why is empty if nothing rules
// it out. If the admin named the layout explicitly, a blocker reports it instead,
// with more detail.
func (f *Facts) unfit(vm *inventory.VM, l layout.Layout, o Options) layout.Reason {
	if l.Kind == layout.Keep {
		return layout.Reason{}
	}
	if n := len(vm.Disks); n > appliance.MaxDisks {
		return layout.Reason{Why: fmt.Sprintf("it has %d disks, and the appliance in which guests are converted takes %d", n, appliance.MaxDisks)}
	}
	if why := f.Convertible[vm.ID].Missing; why != "" {
		return layout.Reason{Why: why}
	}
	if asked(o.Layout) || l.Boot == nil || !l.Boot.High() {
		return layout.Reason{}
	}
	v := VMPlan{Source: *vm, Guest: f.Guests[vm.ID], Layout: l}
	if v.foreseenBus(f.Host) != "scsi" {
		return layout.Reason{}
	}
	return l.HighBoot()
}

// foreseenBus is what lilo will call the bus of the disk with the loader. Where
// no domain can be made of the VM, which is told elsewhere, it is "".
func (v *VMPlan) foreseenBus(h *inventory.Host) string {
	conv, _, _ := v.GuestConversion()
	v.Conversion = &conv
	v.Name = domain.Name(v.Source.Name)
	o := v.domainOptions(h, v.converted(&conv))
	o.VirtType = "kvm"
	for _, d := range v.Source.Disks {
		at := "/" + d.Address() // any path that is its own
		v.Disks = append(v.Disks, Disk{Address: d.Address(), Volume: volume.Volume{Path: at}})
		o.Disks = append(o.Disks, domain.Disk{Address: d.Address(), Path: at, Size: d.Capacity})
	}
	dom, err := domain.New(&v.Source, h, o)
	if err != nil {
		return ""
	}
	return v.bootBus(dom.Domain)
}

// shared are the disks that other VMs may read, with the reason: they stay as
// those know them.
func shared(vm *inventory.VM) map[string]string {
	fixed := make(map[string]string)
	for _, d := range vm.Disks {
		i := slices.IndexFunc(vm.Controllers, func(c inventory.Controller) bool { return c.Class == d.Class && c.Bus == d.Bus })
		switch {
		case d.MultiWriter:
			fixed[d.Address()] = "several VMs may write to it (multi-writer)"
		case i >= 0 && vm.Controllers[i].Shared != "":
			fixed[d.Address()] = "other VMs share its bus (" + vm.Controllers[i].Shared + ")"
		}
	}
	return fixed
}

// planGuest plans the guest's conversion, and returns the guest as it will be.
func (v *VMPlan) planGuest(f *Facts) guest.Guest {
	v.layoutConcerns()
	if !v.Relaid() {
		v.Concerns = append(v.Concerns, adapt.NICDrivers(v.Guest)...)
		v.Concerns = append(v.Concerns, adapt.Faults(v.Guest)...)
		return v.Guest
	}
	conv, entries, concerns := v.GuestConversion()
	v.Conversion = &conv
	v.Packages = f.Convertible[v.Source.ID].Packages
	v.touchPackages()
	v.Ledger = append(v.Ledger, entries...)
	v.Concerns = append(v.Concerns, concerns...)
	return v.converted(&conv)
}

// touchPackages lists files of the packages that none of the conversion's own
// patterns covers: an upgrade of what was there already, say. apt tells no more
// of them than their names; which files they have dpkg's list in the guest says.
func (v *VMPlan) touchPackages() {
	for _, p := range v.Packages.Packages {
		doc := "/usr/share/doc/" + p.Name + "/"
		if slices.ContainsFunc(v.Conversion.Touches, func(t guest.Touch) bool { return t.Match(doc + "copyright") }) {
			continue
		}
		for _, pattern := range []string{doc, "/var/lib/dpkg/info/" + p.Name + ".*", "/var/lib/dpkg/info/" + p.Name + ":*"} {
			v.Conversion.Touches = append(v.Conversion.Touches, guest.Touch{
				Pattern: pattern, Reason: "files of " + p.Name + ": also all that dpkg -L " + p.Name + " lists",
			})
		}
	}
}

// GuestConversion computes what changes inside the guest.
func (v *VMPlan) GuestConversion() (guest.Conversion, []ledger.Entry, []ledger.Concern) {
	return adapt.New(adapt.Input{Guest: v.Guest, Layout: v.Layout, NICs: v.Source.NICs})
}

// converted is what a look would find after the conversion, as far as the
// domain depends on it.
func (v *VMPlan) converted(conv *guest.Conversion) guest.Guest {
	g := v.Guest
	g.DiskNames, g.EFILoaders = nil, nil
	g.Config.Needs = slices.DeleteFunc(slices.Clone(g.Config.Needs), func(n guest.Need) bool { return !n.Lasts() })
	for _, n := range adapt.Names(v.Guest, v.Source.NICs) {
		g.PinnedNames = append(slices.Clone(g.PinnedNames), n.Name)
	}
	g.Initrds = slices.Clone(g.Initrds)
	for i := range g.Initrds {
		for _, o := range conv.Overlays {
			if o.Initrd == g.Initrds[i].Path && len(o.Modules) > 0 {
				g.Initrds[i].Virtio, g.Initrds[i].Evidence = guest.Yes, "the conversion adds the drivers"
			}
		}
	}
	return g
}

// onlyDisks is what the guest, as it will be, allows its disks to be called.
func (v *VMPlan) onlyDisks() guest.OnlyDisks {
	if v.Conversion != nil {
		return v.Conversion.OnlyDisks
	}
	return adapt.OnlyDisks(v.Guest)
}

// boots tells the loader's installer the bus that the disk will be on when it
// boots; in the appliance it is on another.
func (v *VMPlan) boots(dom *libvirtxml.Domain) {
	if v.Conversion == nil || len(v.Conversion.Loader) == 0 || v.Conversion.OwnLoader != "" {
		return
	}
	if bus := v.bootBus(dom); bus != "" {
		v.Conversion.Loader = append(v.Conversion.Loader, "--bus", bus)
	}
}

// bootBus is what lilo calls the bus that the disk with the loader is on in
// the domain, "" where no disk gets a loader.
func (v *VMPlan) bootBus(dom *libvirtxml.Domain) string {
	if v.Layout.Boot == nil {
		return ""
	}
	d, ok := v.Disk(v.Layout.Boot.Disk)
	if !ok {
		return ""
	}
	for _, have := range dom.Devices.Disks {
		if domain.SourcePath(have.Source) == d.Volume.Path {
			return loaderBus(have.Target.Bus)
		}
	}
	return ""
}

// highBoot refuses before the copy what the loader's installer would refuse
// after it.
func (v *VMPlan) highBoot(dom *libvirtxml.Domain) {
	if v.bootBus(dom) != "scsi" || !v.Layout.Boot.High() {
		return
	}
	address, why := v.Layout.Boot.Disk, v.Layout.HighBoot()
	v.Concerns = append(v.Concerns, ledger.Concern{
		ID: ConcernHighBoot, Severity: ledger.Blocker, Subject: address, Evidence: why.Why,
		Advice: fmt.Sprintf("%s; or change what keeps the disk from virtio-blk (the reason of disks[%s].class in the ledger); "+
			"or leave --layout out: the disks then stay as they are", why.Cure, address),
	})
}

// loaderBus is what lilo calls one of libvirt's buses.
func loaderBus(bus string) string {
	if bus == "sata" || bus == "ide" {
		return "ata"
	}
	return bus
}

// layoutConcerns turns a layout that was asked for and can't be had into a
// blocker, and tells the risk of one that can.
func (v *VMPlan) layoutConcerns() {
	if v.Layout.Kind == layout.Plain {
		v.Concerns = append(v.Concerns, ledger.Concern{
			ID: ConcernLayout, Severity: ledger.Warning,
			Evidence: "ext4's first block holds the boot sector, too: after a power cut its journal may put an older boot sector back",
			Advice: "lilo freezes the file system when it writes, which prevents that; let nothing else write sector 0. " +
				"There is no room for swap or a second file system: --layout lvm has neither drawback",
		})
	}
	if !v.Layout.Refused {
		return
	}
	const keep = "leave --layout out (or give --layout keep): the disks then stay as they are"
	for _, why := range v.Layout.Reasons {
		advice := keep
		if slices.Contains(v.Layout.Curable, why) {
			advice = "do that, and plan again; or " + keep
		}
		v.Concerns = append(v.Concerns, ledger.Concern{
			ID: ConcernLayout, Severity: ledger.Blocker, Evidence: "the guest can't have the layout that was asked for: " + why, Advice: advice,
		})
	}
}

// Relaid reports whether the plan changes the layout of any disk.
func (v *VMPlan) Relaid() bool { return v.Layout.Kind != layout.Keep }

// templateStep is the step that makes LVM's metadata, where there is any.
func (v *VMPlan) templateStep() []Step {
	if len(v.Layout.Groups) == 0 {
		return nil
	}
	var texts []string
	for _, g := range v.Layout.Groups {
		var made []string
		for _, lv := range g.Volumes {
			if lv.New {
				made = append(made, lv.Name)
			}
		}
		text := fmt.Sprintf("make the volume group %s on %d whole disk(s)", g.Name, len(g.PVs))
		if g.UUID != "" {
			text = fmt.Sprintf("move the volume group %s onto %d whole disk(s)", g.Name, len(g.PVs))
		}
		if len(made) > 0 {
			text += " with the new volumes " + strings.Join(made, ", ")
		}
		texts = append(texts, text)
	}
	return []Step{{Kind: StepTemplate, Text: "with LVM's own tools, on a template: " + strings.Join(texts, "; ")}}
}

// packagesStep gets what the guest lacks.
func (v *VMPlan) packagesStep() []Step {
	var size int64
	for _, p := range v.Packages.Packages {
		size += p.Size
	}
	if v.Conversion == nil || size == 0 {
		return nil
	}
	return []Step{{Kind: StepPackages, Text: fmt.Sprintf("get the guest's %d package(s), %d bytes, and check their hashes", len(v.Packages.Packages), size)}}
}

// guestSteps are the steps that convert the guest, where it is converted.
func (v *VMPlan) guestSteps() []Step {
	if v.Conversion == nil {
		return nil
	}
	c := v.Conversion
	what := fmt.Sprintf("%d edit(s)", len(c.Edits))
	if n := len(c.Install) + len(c.Remove); n > 0 {
		what += fmt.Sprintf(", %d package(s)", n)
	}
	if len(c.Loader) > 0 {
		what += ", the boot map"
	}
	return []Step{
		{Kind: StepGuest, Text: "convert the guest in an isolated appliance, on overlays: " + what},
		{Kind: StepMerge, Text: "write the overlays into the volumes, and check loader, map and sums there"},
	}
}
