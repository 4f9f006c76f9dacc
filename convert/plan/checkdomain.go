package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/domain"
	"esxodus/convert/volume"
)

// checkDomain compares the domain's XML, which may be edited, with the rest of the
// plan: its name and UUID, under which a rollback looks for it, and its disks,
// which are the plan's volumes, each once, and nothing else.
func (v *VMPlan) checkDomain() error {
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(v.Domain.XML); err != nil {
		return err
	}
	if dom.Name != v.Name {
		return fmt.Errorf("its name is %q, but name says %q: they must be the same", dom.Name, v.Name)
	}
	if !strings.EqualFold(dom.UUID, v.Domain.UUID) {
		return fmt.Errorf("its uuid is %q, but domain.uuid says %q: they must be the same", dom.UUID, v.Domain.UUID)
	}
	if dom.Devices == nil {
		dom.Devices = &libvirtxml.DomainDeviceList{}
	}
	for i, d := range v.Disks {
		if !slices.ContainsFunc(dom.Devices.Disks, func(have libvirtxml.DomainDisk) bool { return domain.SourcePath(have.Source) == d.Volume.Path }) {
			return fmt.Errorf("disks[%d] (%s): domain.xml does not use the volume %s", i, d.Address, d.Volume.Path)
		}
	}
	if err := v.checkAttached(&dom); err != nil {
		return err
	}
	return v.checkLoader(&dom)
}

// checkAttached wants each volume attached once, as a disk, and no other disk.
func (v *VMPlan) checkAttached(dom *libvirtxml.Domain) error {
	used, targets := make(map[string]bool), make(map[string]bool)
	for i := range dom.Devices.Disks {
		d := &dom.Devices.Disks[i]
		if d.Target == nil || d.Target.Dev == "" || targets[d.Target.Dev] {
			return fmt.Errorf("disk %d has no target, or another disk's", i+1)
		}
		targets[d.Target.Dev] = true
		path := domain.SourcePath(d.Source)
		if d.Device == "cdrom" || d.Device == "floppy" {
			if err := v.checkDrive(d); err != nil {
				return fmt.Errorf("drive %s: %w", d.Target.Dev, err)
			}
			continue
		}
		k := slices.IndexFunc(v.Disks, func(have Disk) bool { return have.Volume.Path == path })
		if k < 0 {
			return fmt.Errorf("disk %s is %q, which is not a volume of this plan: attach other disks after the migration", d.Target.Dev, path)
		}
		if used[path] {
			return fmt.Errorf("disk %s: volume %s is used twice", d.Target.Dev, v.Disks[k].Volume)
		}
		used[path] = true
		if err := attached(d, v.Disks[k].Volume); err != nil {
			return fmt.Errorf("disk %s: %w", d.Target.Dev, err)
		}
	}
	return nil
}

// checkDrive refuses a drive whose medium can be written to, or is a volume.
func (v *VMPlan) checkDrive(d *libvirtxml.DomainDisk) error {
	path := domain.SourcePath(d.Source)
	switch {
	case path != "" && slices.ContainsFunc(v.Disks, func(have Disk) bool { return have.Volume.Path == path }):
		return fmt.Errorf("%s is a disk's volume", path)
	case d.Device == "floppy" && d.Source != nil && d.ReadOnly == nil:
		return errors.New("the medium of a floppy drive must be <readonly/>")
	}
	return nil
}

// attached says what is wrong with the way in which a domain has a volume: it is
// a raw disk, and all of it.
func attached(d *libvirtxml.DomainDisk, vol volume.Volume) error {
	block := vol.Kind == volume.KindLVM
	src := d.Source
	switch {
	case d.Device != "" && d.Device != "disk":
		return fmt.Errorf("device %q: want disk", d.Device)
	case block != (src.Block != nil) || block == (src.File != nil):
		return fmt.Errorf("%s must be a source of type %s", vol.Path, map[bool]string{true: "block", false: "file"}[block])
	case d.Driver == nil || d.Driver.Type != "raw":
		return errors.New("its driver's type must be raw")
	case d.BackingStore != nil && d.BackingStore.Source != nil, d.Mirror != nil, src.Slices != nil, src.Encryption != nil, d.Encryption != nil:
		return errors.New("it has a backing store, a mirror, slices or encryption, but a volume is a whole raw disk")
	}
	return nil
}

// checkLoader wants that the boot map is made for the bus that the disk with
// the loader is on: it wouldn't start from another.
func (v *VMPlan) checkLoader(dom *libvirtxml.Domain) error {
	c := v.Conversion
	if c == nil || len(c.Loader) == 0 || c.OwnLoader != "" {
		return nil
	}
	if v.Layout.Boot == nil {
		return errors.New("conversion.loader makes a boot map, but layout.boot is missing")
	}
	bus := v.bootBus(dom)
	if i := slices.Index(c.Loader, "--bus"); bus == "" || i < 0 || i+2 != len(c.Loader) || c.Loader[i+1] != bus {
		return fmt.Errorf("the disk with the boot loader, %s, is on %q, but conversion.loader says %q", v.Layout.Boot.Disk, bus, c.Loader)
	}
	return nil
}
