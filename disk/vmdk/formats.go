package vmdk

import (
	"fmt"
	"slices"
	"strings"
)

// beginnings are what the file that a disk is opened by may begin with, other
// than a descriptor, and what opens it then.
//
//nolint:gochecknoglobals // a constant table
var beginnings = []struct {
	magic string
	open  func(m *Image, name string, f File) error
}{
	{"KDMV", (*Image).openMonolithic},
	{"COWD", func(*Image, string, File) error { return errSnapshot("a COWD snapshot extent") }},
	{"\xbe\xba\xfe\xca\x00\x00\x00\x00", func(*Image, string, File) error { return errSnapshot("an seSparse snapshot extent") }},
}

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
}{
	{
		createTypes: "vmfs vmfsthin vmfseagerzeroedthick vmfspreallocated monolithicflat twogbmaxextentflat",
		extents:     extentTypes{"FLAT": (*Image).addFlat, "VMFS": (*Image).addFlat},
	},
	{
		createTypes: "monolithicsparse twogbmaxextentsparse streamoptimized",
		extents:     extentTypes{"SPARSE": (*Image).addSparse},
	},
	{createTypes: "vmfssparse sesparse", why: "a snapshot (%s)" + onlyChanges},
	{
		createTypes: "vmfsrdm vmfsrawdevicemap vmfsrdmp vmfspassthroughrawdevicemap",
		why: "a raw device mapping (%s) holds no data; copy the LUN itself as a block device, " +
			"or clone it into a file with vmkfstools -i on ESXi",
	},
	{createTypes: "vmfsraw fulldevice partitioneddevice", why: "a physical device (%s); copy the device itself"},
}

const onlyChanges = " holds only changes to another disk; " +
	"remove the VM's snapshots on ESXi (they are merged), then copy the disk"

func errSnapshot(what string) error { return fmt.Errorf("%w: %s"+onlyChanges, ErrUnsupported, what) }

// supported returns the types of extent that a disk of this description has, or
// says why it can't be read.
func supported(d *Descriptor) (extentTypes, error) {
	if d.Version < 1 || d.Version > 3 {
		return nil, fmt.Errorf("%w: descriptor version %d", ErrUnsupported, d.Version)
	}
	types, err := typesOf(d.CreateType)
	if err != nil {
		return nil, err
	}
	if d.HasParent() {
		return nil, errSnapshot(fmt.Sprintf("a snapshot (parentCID %08x)", d.ParentCID))
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

func typesOf(createType string) (extentTypes, error) {
	for _, f := range formats {
		switch {
		case !slices.Contains(strings.Fields(f.createTypes), strings.ToLower(createType)):
		case f.extents == nil:
			return nil, fmt.Errorf("%w: "+f.why, ErrUnsupported, createType)
		default:
			return f.extents, nil
		}
	}
	return nil, fmt.Errorf("%w: createType %.40q; clone it into a plain one with vmkfstools -i on ESXi", ErrUnsupported, createType)
}
