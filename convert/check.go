package convert

import (
	"errors"
	"fmt"
	"path/filepath"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/domain"
	"esxodus/convert/host"
)

// Check holds a plan that was read from a file, and perhaps edited, against
// what New makes: names that are safe, volumes that are where the storage
// puts them and that the domain uses, ranges inside their disks, steps that
// belong to disks. It returns what is wrong in the file's own words.
func (p *Plan) Check() error {
	if p.Schema != PlanSchema {
		return fmt.Errorf("schema %d: this esxodus reads %d; plan anew", p.Schema, PlanSchema)
	}
	storage, err := host.ParseStorage(p.Target.Storage, host.Tool{})
	if err != nil {
		return fmt.Errorf("target.storage: %w", err)
	}
	seen := make(map[string]bool)
	for i := range p.VMs {
		v := &p.VMs[i]
		if domain.Name(v.Name) != v.Name {
			return fmt.Errorf("vms[%d].name %q: not a name for a domain; %q would be", i, v.Name, domain.Name(v.Name))
		}
		if seen[v.Name] {
			return fmt.Errorf("vms[%d].name %q: used twice", i, v.Name)
		}
		seen[v.Name] = true
		if err := errors.Join(v.check(storage), v.checkExpect(p.Target.VirtType)); err != nil {
			return fmt.Errorf("vms[%d] (%s): %w", i, v.Name, err)
		}
	}
	return nil
}

func (v *VMPlan) check(storage Storage) error {
	used, err := v.sources()
	if err != nil {
		return err
	}
	paths := make(map[string]bool)
	for i, d := range v.Disks {
		if err := d.check(storage); err != nil {
			return fmt.Errorf("disks[%d] (%s): %w", i, d.Address, err)
		}
		if err := v.checkLayout(&d); err != nil {
			return fmt.Errorf("layout of %s: %w", d.Address, err)
		}
		if paths[d.Volume.Path] {
			return fmt.Errorf("disks[%d] (%s): volume %s is used twice", i, d.Address, d.Volume)
		}
		paths[d.Volume.Path] = true
		if !used[d.Volume.Path] {
			return fmt.Errorf("disks[%d] (%s): domain.xml does not use the volume %s", i, d.Address, d.Volume.Path)
		}
	}
	for i, s := range v.Steps {
		_, ok := v.disk(s.Disk)
		switch s.Kind {
		case StepCreate, StepCopy, StepVerify:
			if !ok {
				return fmt.Errorf("steps[%d]: no disk %q", i, s.Disk)
			}
		case StepPackages, StepShutdown, StepTemplate, StepRecheck, StepGuest, StepMerge, StepDefine, StepProve:
		default:
			return fmt.Errorf("steps[%d]: unknown kind %q: was the plan made by a newer esxodus?", i, s.Kind)
		}
	}
	return nil
}

// sources returns the paths of the domain's disks. The domain must have the
// name of the plan's VM: a rollback looks for it under that.
func (v *VMPlan) sources() (map[string]bool, error) {
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(v.Domain.XML); err != nil {
		return nil, fmt.Errorf("domain.xml: %w", err)
	}
	if dom.Name != v.Name {
		return nil, fmt.Errorf("domain.xml: its name is %q, and name says %q: they must be one", dom.Name, v.Name)
	}
	used := make(map[string]bool)
	if dom.Devices == nil {
		return used, nil
	}
	for _, d := range dom.Devices.Disks {
		used[sourcePath(d)] = true
	}
	return used, nil
}

func (d *Disk) check(storage Storage) error {
	name := d.Volume.LV
	if d.Volume.Kind == host.KindDir {
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

// checkLayout holds where a disk's bytes land against the disk and its volume.
func (v *VMPlan) checkLayout(d *Disk) error {
	lay, ok := v.laid(d.Address)
	if !ok {
		return errors.New("there is none")
	}
	if lay.Size > d.Volume.Size || lay.Head < 0 || lay.Head > lay.Size {
		return fmt.Errorf("%d bytes with a head of %d do not fit into the volume's %d", lay.Size, lay.Head, d.Volume.Size)
	}
	for i, r := range lay.Ranges {
		inSource := r.Source >= 0 && r.Length > 0 && r.Source <= d.Size-r.Length
		inTarget := r.Target >= lay.Head && r.Target <= d.Volume.Size-r.Length
		if !inSource || !inTarget {
			return fmt.Errorf("ranges[%d]: %+v is not inside the disk's %d bytes and the volume's %d", i, r, d.Size, d.Volume.Size)
		}
	}
	return nil
}
