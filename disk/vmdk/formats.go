package vmdk

import (
	"fmt"
	"slices"
	"strings"
)

// extentTypes are the types of extent that a disk may have beside ZERO, each
// with what adds one whose file is open.
type extentTypes map[string]func(*Image, Extent, File) error

// formats are the createTypes known.
//
//nolint:gochecknoglobals // a constant table
var formats = []struct {
	createTypes string      // in lower case
	extents     extentTypes // nil: it isn't read
	why         string      // it isn't, with the createType in it
	parent      parenthood
}{
	{
		createTypes: "vmfs vmfsthin vmfseagerzeroedthick vmfspreallocated monolithicflat twogbmaxextentflat",
		extents:     extentTypes{"FLAT": (*Image).addFlat, "VMFS": (*Image).addFlat},
	},
	{
		createTypes: "monolithicsparse twogbmaxextentsparse",
		extents:     extentTypes{"SPARSE": (*Image).addSparse},
		parent:      mayHave,
	},
	{createTypes: "streamoptimized", extents: extentTypes{"SPARSE": (*Image).addSparse}},
	{createTypes: "vmfssparse", extents: extentTypes{"VMFSSPARSE": (*Image).addCOWD}, parent: mustHave},
	{createTypes: "sesparse", extents: extentTypes{"SESPARSE": (*Image).addSE}, parent: mustHave},
	{
		createTypes: "vmfsrdm vmfsrawdevicemap vmfsrdmp vmfspassthroughrawdevicemap",
		why: "a raw device mapping (%s) holds no data; copy the LUN itself as a block device, " +
			"or clone it into a file with vmkfstools -i on ESXi",
	},
	{createTypes: "vmfsraw fulldevice partitioneddevice", why: "a physical device (%s); copy the device itself"},
}

// parenthood says whether a disk may hold only the changes to another.
type parenthood uint8

const (
	hasNone parenthood = iota
	mayHave
	mustHave
)

// supported returns the types of extent that a disk of this description has, or
// says why it can't be read.
func supported(d *Descriptor) (extentTypes, error) {
	if d.Version < 1 || d.Version > 3 {
		return nil, fmt.Errorf("%w: descriptor version %d", ErrUnsupported, d.Version)
	}
	types, parent, err := typesOf(d.CreateType)
	switch {
	case err != nil:
		return nil, err
	case d.Native && d.HasParent():
		return nil, fmt.Errorf("%w: a native snapshot (isNativeSnapshot), of which only the storage array knows what it holds; delete the VM's snapshots on ESXi, or clone the disk with vmkfstools -i", ErrUnsupported)
	case d.HasParent() && parent == hasNone:
		return nil, fmt.Errorf("%w: a disk of createType %s with a parent (parentCID %08x)", ErrFormat, d.CreateType, d.ParentCID)
	case !d.HasParent() && parent == mustHave:
		return nil, fmt.Errorf("%w: a snapshot (%s) without a parent: parentCID is %08x", ErrFormat, d.CreateType, d.ParentCID)
	}
	for i, e := range d.Extents {
		switch {
		case e.Kind != "ZERO" && types[e.Kind] == nil:
			return nil, fmt.Errorf("%w: extent %d: type %s in a disk of createType %s", ErrUnsupported, i+1, e.Kind, d.CreateType)
		case e.Access == "NOACCESS":
			return nil, fmt.Errorf("%w: extent %d: the descriptor forbids access to it", ErrUnsupported, i+1)
		case e.Device != "":
			return nil, fmt.Errorf("%w: extent %d: unknown words after the offset: %.40q", ErrUnsupported, i+1, e.Device)
		}
	}
	return types, nil
}

func typesOf(createType string) (extentTypes, parenthood, error) {
	for _, f := range formats {
		switch {
		case !slices.Contains(strings.Fields(f.createTypes), strings.ToLower(createType)):
		case f.extents == nil:
			return nil, 0, fmt.Errorf("%w: "+f.why, ErrUnsupported, createType)
		default:
			return f.extents, f.parent, nil
		}
	}
	return nil, 0, fmt.Errorf("%w: createType %.40q; clone it into a plain one with vmkfstools -i on ESXi", ErrUnsupported, createType)
}
