package esxi

import (
	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/types"
)

const (
	maxLinks    = 64      // of a snapshot chain; ESXi allows 32
	maxCapacity = 1 << 56 // bytes
)

func (m *mapper) disk(v *types.VirtualDisk) {
	d := inventory.Disk{Key: v.Key, Label: label(&v.VirtualDevice), Capacity: capacity(v)}
	d.Class, d.Bus, d.Unit = m.place(&v.VirtualDevice)
	if d.Capacity < 0 || d.Capacity > maxCapacity {
		m.vm.Problem("%s has a capacity of %d bytes", d.Label, d.Capacity)
		d.Capacity = 0
	}
	if io := v.StorageIOAllocation; io != nil {
		if io.Limit != nil && *io.Limit > 0 {
			d.IOPSLimit = *io.Limit
		}
		d.Shares, _ = mapShares(io.Shares)
	} else {
		d.Shares, _ = mapShares(v.Shares)
	}
	if !mapBacking(&d, v.Backing) {
		m.vm.Problem("%s has a backing that esxodus doesn't know: %T", d.Label, v.Backing)
	}
	if d.UUID != "" {
		if normal := inventory.UUID(d.UUID); normal != "" {
			d.UUID = normal
		}
	}
	m.vm.Disks = append(m.vm.Disks, d)
}

func capacity(v *types.VirtualDisk) int64 {
	if v.CapacityInBytes != 0 || v.CapacityInKB < 0 || v.CapacityInKB > maxCapacity>>10 {
		return v.CapacityInBytes
	}
	return v.CapacityInKB << 10 // hosts before 5.5
}

const multiWriter = string(types.VirtualDiskSharingSharingMultiWriter)

// mapBacking fills in what the disk is made of. It returns false for a
// backing that it does not know.
func mapBacking(d *inventory.Disk, backing types.BaseVirtualDeviceBackingInfo) bool {
	switch b := backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		flat(d, b)
	case *types.VirtualDiskSeSparseBackingInfo:
		d.Format, d.Path, d.Mode, d.UUID, d.ContentID = inventory.FormatSESparse, b.FileName, b.DiskMode, b.Uuid, b.ContentId
		d.WriteThrough = isTrue(b.WriteThrough)
		for p := b.Parent; p != nil && len(d.Parents) < maxLinks; p = p.Parent {
			d.Parents = append(d.Parents, p.FileName)
		}
	case *types.VirtualDiskSparseVer2BackingInfo:
		d.Format, d.Path, d.Mode, d.UUID, d.ContentID = inventory.FormatSparse, b.FileName, b.DiskMode, b.Uuid, b.ContentId
		d.WriteThrough = isTrue(b.WriteThrough)
		for p := b.Parent; p != nil && len(d.Parents) < maxLinks; p = p.Parent {
			d.Parents = append(d.Parents, p.FileName)
		}
	case *types.VirtualDiskRawDiskMappingVer1BackingInfo:
		rdm(d, b)
	case *types.VirtualDiskFlatVer1BackingInfo:
		d.Format, d.Path, d.Mode, d.ContentID, d.WriteThrough = inventory.FormatFlat, b.FileName, b.DiskMode, b.ContentId, isTrue(b.WriteThrough)
	case *types.VirtualDiskRawDiskVer2BackingInfo:
		d.Format, d.Path, d.RDM, d.UUID, d.MultiWriter = inventory.FormatRawPhysical, b.DescriptorFileName, b.DeviceName, b.Uuid, b.Sharing == multiWriter
	default:
		return false
	}
	return true
}

func flat(d *inventory.Disk, b *types.VirtualDiskFlatVer2BackingInfo) {
	d.Format, d.Path, d.Mode, d.UUID, d.ContentID = inventory.FormatFlat, b.FileName, b.DiskMode, b.Uuid, b.ContentId
	d.Thin, d.EagerZeroed, d.WriteThrough = isTrue(b.ThinProvisioned), isTrue(b.EagerlyScrub), isTrue(b.WriteThrough)
	d.MultiWriter = b.Sharing == multiWriter
	switch {
	case b.Parent == nil: // a base disk; its DeltaDiskFormat is that of snapshots to come
	case b.DeltaDiskFormat == string(types.VirtualDiskDeltaDiskFormatSeSparseFormat):
		d.Format = inventory.FormatSESparse
	default:
		d.Format = inventory.FormatSparse // a delta: COWD, which vSphere calls redoLogFormat
	}
	for p := b.Parent; p != nil && len(d.Parents) < maxLinks; p = p.Parent {
		d.Parents = append(d.Parents, p.FileName)
	}
}

func rdm(d *inventory.Disk, b *types.VirtualDiskRawDiskMappingVer1BackingInfo) {
	d.Format, d.Path, d.Mode, d.UUID, d.ContentID = inventory.FormatRDM, b.FileName, b.DiskMode, b.Uuid, b.ContentId
	if b.CompatibilityMode == string(types.VirtualDiskCompatibilityModePhysicalMode) {
		d.Format = inventory.FormatRawPhysical
	}
	d.RDM, d.MultiWriter = b.DeviceName, b.Sharing == multiWriter
	if d.RDM == "" {
		d.RDM = b.LunUuid
	}
	for p := b.Parent; p != nil && len(d.Parents) < maxLinks; p = p.Parent {
		d.Parents = append(d.Parents, p.FileName)
	}
}
