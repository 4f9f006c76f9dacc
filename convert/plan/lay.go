package plan

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/inventory"

	"libvirt.org/go/libvirtxml"
)

// asked reports whether a new layout is asked for by its name.
func asked(kind layout.Kind) bool { return kind == layout.LVM || kind == layout.Plain }

// unseen says why nothing is known of a VM's disks.
func (f *Facts) unseen(vm *inventory.VM, o Options) layout.Reason {
	switch u, cs := f.Unread[vm.ID], FormatConcerns(vm); {
	case vm.Power == inventory.PoweredOn:
		return layout.Reason{Why: "it is running, and its disks can't be read while it runs", Cure: "shut it down, then plan again for the new layout"}
	case vm.Power == inventory.Suspended:
		return layout.Reason{Why: "it is suspended, and its disks can't be read until it is off", Cure: "resume it and shut it down, then plan again for the new layout"}
	case len(fileConcerns(vm, f.Source, o)) > 0:
		return layout.Reason{Why: "it may be running", Cure: "shut it down, or say with --off that it is off, then plan again for the new layout"}
	case len(cs) > 0:
		return layout.Reason{Why: cs[0].Subject + ": " + cs[0].Evidence, Cure: cs[0].Advice}
	case u != nil:
		return layout.Reason{Why: "a disk can't be opened: " + u.Error()}
	}
	return layout.Reason{}
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

// touchPackages lists files of the packages that none of the conversion's own
// patterns covers: an upgrade of what was there already, say. apt says no more
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

// adaptInput is what the guest's conversion is computed from.
func (v *VMPlan) adaptInput() adapt.Input {
	return adapt.Input{Guest: v.Guest, Layout: v.Layout, NICs: v.NICs, Addresses: v.Addresses, SameDisks: domain.SameControllers(&v.Source)}
}

// leftConcern says that a guest isn't changed though it should be, and why. What
// follows from that, the domain says.
func (v *VMPlan) leftConcern(why layout.Reason) {
	if why.Why == "" {
		return
	}
	v.Concerns = append(v.Concerns, ledger.Concern{
		ID: ConcernLeft, Severity: ledger.Warning,
		Evidence: "the guest should be changed so that " + strings.Join(adapt.Wants(v.adaptInput()), " and ") + "; it is left as it is: " + why.Why,
		Advice:   "fix what is named here, and plan again; or change the guest by hand once it runs here",
	})
}

// converted is what a look would find after the conversion, as far as the
// domain depends on it.
func (v *VMPlan) converted() guest.Guest {
	g, conv := v.Guest, v.Conversion
	if conv == nil {
		return g
	}
	if v.Relaid() {
		g.DiskNames, g.EFILoaders = nil, nil
		g.Config.Needs = slices.DeleteFunc(slices.Clone(g.Config.Needs), func(n guest.Need) bool { return !n.Lasts() })
	}
	g.Initrds = slices.Clone(g.Initrds)
	for i := range g.Initrds {
		in := &g.Initrds[i]
		added := func(o guest.Overlay) bool { return o.Initrd == in.Path && len(o.Modules) > 0 }
		remade := func(argv []string) bool { return guest.Remade(argv) == in.Path }
		if slices.ContainsFunc(conv.Overlays, added) || slices.ContainsFunc(conv.Commands, remade) {
			in.Virtio, in.Evidence = guest.Yes, "the conversion adds the drivers"
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
		Advice: fmt.Sprintf("%s; or change what keeps the disk off virtio-blk (see the reason of disks[%s].class in the ledger); "+
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
			Evidence: "ext4's first block also holds the boot sector: after a power cut its journal may restore an older boot sector",
			Advice: "lilo freezes the file system when it writes, which prevents that; don't let anything else write sector 0. " +
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
