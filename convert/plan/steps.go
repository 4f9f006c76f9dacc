package plan

import (
	"fmt"
	"strings"
	"time"

	"esxodus/inventory"
	"esxodus/inventory/fit"
)

// steps lists what carrying out the VM's part means, in words that a dry
// run shows.
func steps(vm *inventory.VM, v *VMPlan, f Facts, o Options) []Step {
	out := v.packagesStep()
	if vm.Power == inventory.PoweredOn && o.Shutdown != ShutdownNever {
		via := o.Shutdown.Via(f.Host.License)
		out = append(out, Step{Kind: StepShutdown, Via: via, PowerOff: int(o.PowerOff.Seconds()), Text: fmt.Sprintf(
			"shut down %q on %s through %s%s (undone by powering it on)", vm.Name, f.Host.Name, strings.ToUpper(string(via)), cutText(o.PowerOff))})
	}
	recheck := Step{Kind: StepRecheck, Text: fmt.Sprintf("check that %q is off and as planned", vm.Name)}
	out = append(out, recheck)
	add := func(kind Kind, format string) {
		for _, d := range v.Disks {
			out = append(out, Step{Kind: kind, Disk: d.Address, Text: fmt.Sprintf(format, d.Address, d.Volume, d.Size, d.Volume.Size)})
		}
	}
	add(StepCreate, "make %[2]s of %[4]d bytes for %[1]s")
	if !v.AllBlocks {
		out = append(out, Step{Kind: StepUnused, Text: "find what nothing needs on its disks, and leave that out of the copy" + v.unusedText()})
	}
	out = append(out, v.templateStep()...)
	for _, d := range v.Disks {
		out = append(out, Step{Kind: StepCopy, Disk: d.Address, Text: fmt.Sprintf("copy %s %s to %s, %d bytes", d.Address, d.Origin(), d.Volume, d.Size)})
	}
	out = append(out, recheck)
	add(StepVerify, "read %[2]s back and compare it with the digests of %[1]s")
	out = append(out, v.guestSteps()...)
	define := "define the persistent domain " + v.Name
	if v.Domain.AutoStart {
		define += " (the cutover, or the commit, has this host start it when it boots)"
	}
	out = append(out, Step{Kind: StepDefine, Text: define})
	return append(out, v.proofStep(virtType(o.VirtType, f.Target), o)...)
}

// cutText says when a shutdown cuts the VM's power.
func cutText(after time.Duration) string {
	if after == 0 {
		return ""
	}
	return fmt.Sprintf("; where it isn't off %v later, or can't be asked, cut its power", after)
}

// unusedText says how much isn't copied, as far as the look inside could tell.
func (v *VMPlan) unusedText() string {
	if v.Sizes.Unused+v.Sizes.Zero == 0 {
		return ""
	}
	return fmt.Sprintf(" (when planned, of %d bytes: %d unused, %d zero)", v.Sizes.Provisioned, v.Sizes.Unused, v.Sizes.Zero)
}

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
		text := fmt.Sprintf("make the volume group %s on %s", g.Name, fit.Count(len(g.PVs), "whole disk"))
		if g.UUID != "" {
			text = fmt.Sprintf("move the volume group %s onto %s", g.Name, fit.Count(len(g.PVs), "whole disk"))
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
	return []Step{{Kind: StepPackages, Text: fmt.Sprintf("get %s for the guest, %d bytes, and check the hashes", fit.Count(len(v.Packages.Packages), "package"), size)}}
}

// guestSteps are the steps that convert the guest, where it is converted.
func (v *VMPlan) guestSteps() []Step {
	if v.Conversion == nil {
		return nil
	}
	c := v.Conversion
	what, checks := fit.Count(len(c.Edits), "edit"), ""
	if n := len(c.Install) + len(c.Remove); n > 0 {
		what += ", " + fit.Count(n, "package")
	}
	if n := len(c.Overlays) + len(c.Commands); n > 0 && !v.Relaid() {
		what += ", " + fit.Count(n, "change") + " of initrds"
	}
	if v.Layout.Boot != nil {
		checks = ", and check loader, map and checksums there"
	}
	if len(c.Loader) > 0 {
		what += ", the boot map"
	}
	return []Step{
		{Kind: StepGuest, Text: "convert the guest in an isolated appliance, on overlays: " + what},
		{Kind: StepMerge, Text: "write the overlays into the volumes" + checks},
	}
}
