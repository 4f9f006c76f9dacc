// Package volume makes volumes (raw files or logical volumes), and the overlays
// that a boot proof writes to.
//
// A [Volume] is what a disk is copied to. Whoever makes one does so under a
// run's id, and only what provably is of that run is ever removed: a logical
// volume carries the id as a tag from the instant that it exists, a file is
// known by its [Identity], which [Dir.Create] hands over to be journalled
// before the file gets its name.
package volume

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"esxodus/convert/host"
)

// The kinds of volume.
const (
	KindDir = "dir" // a sparse raw file in a directory
	KindLVM = "lvm" // a logical volume
)

// Volume is what a disk is copied to: a raw file or a logical volume.
type Volume struct {
	Kind string `json:"kind"`           // dir or lvm
	Path string `json:"path"`           // of the file, or /dev/VG/LV
	VG   string `json:"vg,omitempty"`   // volume group, of lvm
	LV   string `json:"lv,omitempty"`   // logical volume, of lvm
	Pool string `json:"pool,omitempty"` // thin pool that it takes its space from, of lvm; "" for none
	Size int64  `json:"size"`           // bytes asked for; a logical volume is rounded up to whole extents
}

// String names the volume for people: a file's path, or VG/LV.
func (v Volume) String() string {
	if v.Kind == KindLVM {
		return v.VG + "/" + v.LV
	}
	return v.Path
}

// Identity tells what a run made from anything else of the same name. A file
// has a device, an inode and, where the file system keeps it, a time of
// birth, as inode numbers are soon used again. A logical volume has a tag.
type Identity struct {
	Dev   uint64 `json:"dev,omitempty"`
	Ino   uint64 `json:"ino,omitempty"`
	Birth int64  `json:"birth,omitempty"` // nanoseconds since 1970; 0 if unknown
	Tag   string `json:"tag,omitempty"`
	// Place is where it was made, as [Storage.Place] says: where that is another
	// now, what isn't there may be elsewhere. "" if it isn't on record.
	Place string `json:"place,omitempty"`
}

// State says whose the thing at a volume's name is.
type State string

// The states of a volume.
const (
	Absent  State = "absent"  // nothing has that name
	Ours    State = "ours"    // the run made it
	Foreign State = "foreign" // something else: never touched
)

// Facts is what a plan must know of a storage. Sizes are in bytes.
type Facts struct {
	Free       int64      `json:"free"`
	Unit       int64      `json:"unit"`                 // sizes are rounded up to multiples: the extent, or the file system's block
	FSType     string     `json:"fsType,omitempty"`     // of dir
	Sparse     bool       `json:"sparse"`               // takes only the space that is written
	Unpassable string     `json:"unpassable,omitempty"` // first directory on the way to dir that other users, and so QEMU, cannot pass
	Pool       *Pool      `json:"pool,omitempty"`       // thin pool; Free is the pool's then
	Paths      Paths      `json:"paths,omitzero"`       // how the disks of a volume group are reached
	Volumes    []Found    `json:"volumes"`              // in the order asked
	Sharing    Sharing    `json:"sharing,omitzero"`     // what lvm's group is to other hosts
	Activation Activation `json:"activation,omitzero"`  // of lvm's group
}

// Found is what a plan must know of one volume.
type Found struct {
	Volume Volume `json:"volume"`
	Size   int64  `json:"size"`             // bytes on the target, rounded up
	Exists string `json:"exists,omitempty"` // what has the name already: "a file of 512 bytes"; "" for nothing
	Unfit  string `json:"unfit,omitempty"`  // why it can never be made here; "" if it can
}

// Storage is where volumes are made: a [Dir] or an [LVM].
type Storage interface {
	fmt.Stringer
	// Volume names a volume of size bytes. It touches nothing.
	Volume(name string, size int64) (Volume, error)
	// Place identifies the directory or volume group that is there now, so that
	// another one of its name isn't taken for it.
	Place(ctx context.Context) (string, error)
	// Check reads what a plan must know. It changes nothing.
	Check(ctx context.Context, vols []Volume) (Facts, error)
	// Create makes v, empty or with undefined content, for a run. Nothing
	// that exists is touched: the error then wraps [ErrExists]. claim is
	// called with the identity before anything has v's name; when it
	// fails, so does Create. After a crash ask State first.
	Create(ctx context.Context, v Volume, run string, claim func(Identity) error) error
	// State says whether v is there and whose, from what was claimed. It is a
	// [PlaceError] where v isn't there and the place is not the one on record.
	State(ctx context.Context, v Volume, run string, id Identity) (State, error)
	// Activate makes v.Path one that can be opened.
	Activate(ctx context.Context, v Volume) error
	// Blank says, for a volume that takes no space for what was never written,
	// from which byte on nothing was: it reads as zeros from there. ok is false
	// for any other volume.
	Blank(ctx context.Context, v Volume) (from int64, ok bool, err error)
	// Remove removes v and what an unfinished Create left, if the run made
	// them. What another made is left alone and is not an error.
	Remove(ctx context.Context, v Volume, run string, id Identity) error
	// Release makes a volume that the run made as any other: Remove will
	// not remove it any more.
	Release(ctx context.Context, v Volume, run string, id Identity) error
}

// PlaceError means that the directory or volume group isn't there that volumes
// were made in, or that another one is: whether they still exist can't be known.
type PlaceError struct {
	Volume Volume
	Why    string // "nothing is mounted on /disks"
	Advice string // what brings it back
}

// Error says what can't be known, why, and what to do.
func (e *PlaceError) Error() string {
	return fmt.Sprintf("it isn't known whether %s still exists: %s: %s", e.Volume, e.Why, e.Advice)
}

// ErrExists means that something has the name of a volume to create.
var ErrExists = errors.New("exists already, and stays as it is")

// ParseStorage reads "dir:/PATH", "lvm:VG" or "lvm:VG/POOL".
func ParseStorage(s string, tool host.Tool) (Storage, error) {
	kind, where, _ := strings.Cut(s, ":")
	switch kind {
	case KindDir:
		if !filepath.IsAbs(where) {
			return nil, fmt.Errorf("storage %q: want an absolute path: dir:/PATH", s)
		}
		return Dir{Path: filepath.Clean(where), Log: tool.Log}, nil
	case KindLVM:
		l := LVM{Tool: tool, Log: tool.Log}
		var thin bool
		l.VG, l.Pool, thin = strings.Cut(where, "/")
		err := CheckVG(l.VG)
		if err == nil && thin {
			err = CheckLV(l.Pool)
		}
		if err != nil {
			return nil, fmt.Errorf("storage %q: %w", s, err)
		}
		return l, nil
	}
	return nil, fmt.Errorf("storage %q: want dir:/PATH (raw files), lvm:VG (logical volumes) or lvm:VG/POOL (thin ones)", s)
}

// maxName bounds a volume's name. LVM allows less where the group's is long; a file
// name allows 255 with what a temporary name adds.
const maxName = 100

var runPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// CheckRun says what is wrong with a run id, which is put into file names and LVM
// tags.
func CheckRun(run string) error {
	if !runPattern.MatchString(run) {
		return fmt.Errorf("run id %q: want up to 64 letters, digits and _ . -", run)
	}
	return nil
}
