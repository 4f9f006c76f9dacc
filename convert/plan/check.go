package plan

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/host"
	"esxodus/convert/ledger"
	"esxodus/convert/volume"
	"esxodus/inventory"
	"esxodus/inventory/fit"
)

// Check compares a plan that was read from a file, and perhaps edited, with what
// the planner makes: names that are safe, volumes that are where the storage puts them
// and that the domain uses, layouts that lose no byte, and exactly the steps
// that all of this calls for. It returns what is wrong in the file's own words.
// VMs with blockers are never begun, and so not looked at.
func (p *Plan) Check() error {
	if p.Schema != Schema {
		return fmt.Errorf("schema %d: this esxodus reads %d; plan again", p.Schema, Schema)
	}
	storage, err := volume.ParseStorage(p.Target.Storage, host.Tool{})
	if err != nil {
		return fmt.Errorf("target.storage: %w", err)
	}
	if err := p.checkFrom(); err != nil {
		return err
	}
	seen, paths := make(map[string]bool), make(map[string]string)
	for i := range p.VMs {
		v := &p.VMs[i]
		if domain.Name(v.Name) != v.Name {
			return fmt.Errorf("vms[%d].name %q: not a name for a domain; %q would do", i, v.Name, domain.Name(v.Name))
		}
		if err := v.checkReaddressed(); err != nil {
			return fmt.Errorf("vms[%d] (%s): %w", i, v.Name, err)
		}
		if v.blocked() {
			continue // never begun, and perhaps without a domain, or with another's name
		}
		if seen[v.Name] {
			return fmt.Errorf("vms[%d].name %q: used twice", i, v.Name)
		}
		seen[v.Name] = true
		if err := errors.Join(v.checkOrigins(p.SourceOf(i)), v.checkFile(storage), v.checkExpect(p.Target.VirtType)); err != nil {
			return fmt.Errorf("vms[%d] (%s): %w", i, v.Name, err)
		}
		for k, d := range v.Disks {
			if other, twice := paths[d.Volume.Path]; twice {
				return fmt.Errorf("vms[%d] (%s): disks[%d] (%s): volume %s is %s's", i, v.Name, k, d.Address, d.Volume, other)
			}
			paths[d.Volume.Path] = v.Name
		}
	}
	return errors.Join(p.checkOrder(), p.checkAcknowledged())
}

// checkFrom wants each VM to come from one of the plan's sources.
func (p *Plan) checkFrom() error {
	for i := range p.VMs {
		if n := p.VMs[i].From; n < 0 || n > len(p.More) {
			return fmt.Errorf("vms[%d].from %d: the plan has %s, numbered from 0", i, n, fit.Count(len(p.More)+1, "source"))
		}
	}
	return nil
}

// blocked reports whether blockers of its own keep the VM from being begun.
func (v *VMPlan) blocked() bool { return ledger.Blocked(v.Concerns) }

// check compares all that a run depends on with what the planner makes.
func (v *VMPlan) check(storage volume.Storage) error {
	if err := v.checkDisks(storage); err != nil {
		return err
	}
	if len(v.Layout.Disks) != len(v.Disks) {
		return fmt.Errorf("layout.disks: %d of them, for %d disks", len(v.Layout.Disks), len(v.Disks))
	}
	for i := range v.Disks {
		if err := v.checkLayout(i); err != nil {
			return fmt.Errorf("layout of %s: %w", v.Disks[i].Address, err)
		}
	}
	if err := errors.Join(v.checkKind(), v.checkSizes(), v.checkConversion(), v.checkNICs(), v.checkSums()); err != nil {
		return err
	}
	if err := v.checkDomain(); err != nil {
		return fmt.Errorf("domain.xml: %w", err)
	}
	return v.checkSteps()
}

// maxPlanDisk is more than any disk has, and so little that sums of a VM's
// disks don't overflow.
const maxPlanDisk = 1 << 50

// checkDisks compares the disks with the source's, and their volumes with the
// storage: this much a rollback depends on, too.
func (v *VMPlan) checkDisks(storage volume.Storage) error {
	if len(v.Disks) != len(v.Source.Disks) {
		return fmt.Errorf("disks: %d, but the source has %d: every disk is copied", len(v.Disks), len(v.Source.Disks))
	}
	addresses, paths := make(map[string]bool), make(map[string]bool)
	for i, d := range v.Disks {
		src := &v.Source.Disks[i]
		var err error
		switch {
		case d.Address != src.Address() || d.Path != src.Path || d.Size != src.Capacity:
			err = fmt.Errorf("%q, %d bytes: the source's disk there is %s, %q, %d bytes", d.Path, d.Size, src.Address(), src.Path, src.Capacity)
		case !isAddress(d.Address) || addresses[d.Address]:
			err = errors.New("not a disk's address, or two disks have it")
		case d.Size <= 0 || d.Size > maxPlanDisk || d.Volume.Size > maxPlanDisk:
			err = fmt.Errorf("a size of %d bytes on a volume of %d", d.Size, d.Volume.Size)
		case paths[d.Volume.Path]:
			err = fmt.Errorf("volume %s is used twice", d.Volume)
		default:
			err = d.check(storage)
		}
		if err != nil {
			return fmt.Errorf("disks[%d] (%s): %w", i, d.Address, err)
		}
		addresses[d.Address], paths[d.Volume.Path] = true, true
	}
	return nil
}

// isAddress reports whether a disk's address is one: files are named after it.
func isAddress(s string) bool {
	return s != "" && len(s) <= 40 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != ':' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// checkSizes compares the sums with the disks.
func (v *VMPlan) checkSizes() error {
	var disks, least, there int64
	for i, d := range v.Disks {
		disks, least, there = disks+d.Size, least+v.Layout.Disks[i].Size, there+v.Source.Disks[i].Allocated()
	}
	if z := v.Sizes; z.Provisioned != disks || z.Allocated != there || z.Target < least {
		return fmt.Errorf("sizes: %+v, but the disks have %d bytes, %d of them allocated, and need %d", z, disks, there, least)
	}
	if z := v.Sizes; z.Unused < 0 || z.Zero < 0 || z.Zero > disks || z.Unused > disks-z.Zero {
		return fmt.Errorf("sizes: %d bytes unused and %d zero, but the disks have %d", z.Unused, z.Zero, disks)
	}
	return nil
}

// checkConversion wants a conversion where the layout changes, and packages where
// some are to be installed.
func (v *VMPlan) checkConversion() error {
	switch c := v.Conversion; {
	case c == nil && v.Relaid():
		return fmt.Errorf("conversion: missing, but with the layout %s the guest can't start unchanged", v.Layout.Kind)
	case c != nil && (len(c.Mounts) == 0 || c.Mounts[0].At != "/"):
		return errors.New("conversion.mounts: the first one must be the guest's root")
	case c != nil && !v.Relaid() && len(c.Install)+len(c.Remove)+len(c.Programs)+len(c.Loader) > 0:
		return errors.New("conversion: a guest that keeps its layout gets no packages, programs or boot loader")
	case c != nil && len(c.Install) > 0 && len(v.Packages.Packages) == 0:
		return fmt.Errorf("packages: missing, but conversion.install has %s", strings.Join(c.Install, ", "))
	case c != nil:
		return v.checkNames(c)
	}
	return nil
}

// checkNames wants a conversion whose files and devices the appliance can find,
// which it would notice only once all is copied.
func (v *VMPlan) checkNames(c *guest.Conversion) error {
	if err := c.CheckPaths(); err != nil {
		return fmt.Errorf("conversion: %w", err)
	}
	for _, m := range slices.Concat(c.Mounts, c.Checks) {
		address, onDisk := strings.CutPrefix(m.Device, "disk:")
		address, _, _ = strings.Cut(address, "#")
		if _, ok := v.Disk(address); onDisk && !ok || !onDisk && !strings.HasPrefix(m.Device, "/dev/") {
			return fmt.Errorf("conversion: device %q of a mount or check: want one of the plan's disks, or a volume in /dev", m.Device)
		}
	}
	if i := slices.IndexFunc(c.Commands, func(argv []string) bool { return len(argv) == 0 }); i >= 0 {
		return fmt.Errorf("conversion.commands[%d]: empty", i)
	}
	return nil
}

// checkSteps wants the steps that the planner lists for the rest of the plan, in its
// order. Their texts are for people alone. Without the step that finds what nothing needs
// all is copied: plans and runs of an older esxodus have none.
func (v *VMPlan) checkSteps() error {
	o := Options{NoProof: v.NoProof, BootOnly: v.BootOnly}
	for i, s := range v.Steps {
		if s.Kind != StepShutdown {
			continue
		}
		if err := s.checkShutdown(); err != nil {
			return fmt.Errorf("steps[%d]%w", i, err)
		}
		o.Shutdown, o.PowerOff = ShutdownMode(s.Via), s.powerOff()
	}
	as := *v
	as.AllBlocks = v.AllBlocks || !v.has(StepUnused)
	want := steps(&v.Source, &as, Facts{Host: &inventory.Host{}}, o)
	for i, s := range v.Steps {
		if _, ok := v.Disk(s.Disk); s.Disk != "" && !ok {
			return fmt.Errorf("steps[%d]: no disk %q", i, s.Disk)
		}
		if _, ok := s.Kind.Traits(); !ok {
			return fmt.Errorf("steps[%d]: unknown kind %q: was the plan made by a newer esxodus?", i, s.Kind)
		}
		if i >= len(want) {
			return fmt.Errorf("steps[%d]: %s is one too many: the plan needs %d steps", i, s.name(), len(want))
		}
		if s.name() != want[i].name() {
			return fmt.Errorf("steps[%d]: %s, but the plan needs %s here", i, s.name(), want[i].name())
		}
	}
	if len(v.Steps) < len(want) {
		return fmt.Errorf("steps: %d, but the plan needs %s next", len(v.Steps), want[len(v.Steps)].name())
	}
	return nil
}

// checkShutdown wants a way that there is, and that a VM's power is cut as the text says.
func (s *Step) checkShutdown() error {
	if s.Via != inventory.ViaAPI && s.Via != inventory.ViaSSH {
		return fmt.Errorf(": unknown way %q: want api or ssh", s.Via)
	}
	after := s.powerOff()
	if err := CheckPowerOff(after); err != nil || !strings.Contains(s.Text, cutText(after)) || after == 0 && strings.Contains(s.Text, "cut its power") {
		return fmt.Errorf(".powerOff %d: not what the step's text says; plan again with --power-off", s.PowerOff)
	}
	return nil
}

// powerOff is after which time a shutdown cuts the VM's power, 0 for never.
func (s *Step) powerOff() time.Duration { return time.Duration(s.PowerOff) * time.Second }

// mostPowerOff is the longest time after which a VM's power is cut.
const mostPowerOff = 24 * time.Hour

// CheckPowerOff wants a time that a guest can shut down in.
func CheckPowerOff(after time.Duration) error {
	const least = 10 * time.Second
	if after != 0 && (after < least || after > mostPowerOff || after%time.Second != 0) {
		return fmt.Errorf("%v: want whole seconds, from %v to %v", after, least, mostPowerOff)
	}
	return nil
}

// name is all of a step that decides what is done.
func (s Step) name() string {
	return strings.Join(strings.Fields(string(s.Kind)+" "+string(s.Via)+" "+s.Disk), " ")
}

func (d *Disk) check(storage volume.Storage) error {
	name := d.Volume.LV
	if d.Volume.Kind == volume.KindDir {
		name = filepath.Base(d.Volume.Path)
	}
	want, err := storage.Volume(name, d.Volume.Size)
	if err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	if want != d.Volume {
		return fmt.Errorf("volume %+v: not in %s, where it would be %+v", d.Volume, storage, want)
	}
	return nil
}

// CheckRecorded checks as much of a job that is on record as telling of it and
// undoing it depend on. name is the domain's, as the journal's directory says.
func (j *VMJob) CheckRecorded(name string) error {
	v := &j.VM
	if domain.Name(v.Name) != v.Name || v.Name != name {
		return fmt.Errorf("its plan is for a domain %q", v.Name)
	}
	storage, err := volume.ParseStorage(j.Target.Storage, host.Tool{})
	if err != nil {
		return fmt.Errorf("its plan's target: %w", err)
	}
	if err := v.checkDisks(storage); err != nil {
		return fmt.Errorf("its plan's %w", err)
	}
	for i, s := range v.Steps {
		_, ok := v.Disk(s.Disk)
		if traits, known := s.Kind.Traits(); !known || ok != traits.PerDisk {
			return fmt.Errorf("its plan's steps[%d], %s, isn't known: was it written by a newer esxodus?", i, s.name())
		}
	}
	return nil
}

// Check compares all of a job that is on record with what the planner makes. One from
// before noProof was recorded may have no proof.
func (j *VMJob) Check() error {
	storage, err := volume.ParseStorage(j.Target.Storage, host.Tool{})
	if err != nil {
		return err
	}
	v := j.VM
	if v.Sums != (Sums{}) {
		if err := v.checkExpect(j.Target.VirtType); err != nil {
			return err
		}
	}
	if err := v.checkOrigins(&j.Source); err != nil {
		return err
	}
	v.NoProof = !slices.ContainsFunc(v.Steps, func(s Step) bool { return s.Kind == StepProve })
	return v.check(storage)
}
