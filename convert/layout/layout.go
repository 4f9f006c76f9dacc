// Package layout decides where a guest's file systems go on the
// target's disks, before anything is copied. It is pure: it computes, LVM's own
// tools make the metadata later (package host), and what they make must agree.
//
// Words: a layout is keep (the disk as it was), lvm (the whole disk is one
// physical volume, without partitions) or plain (the whole disk is one file
// system). A head is the start of a physical volume up to its first extent:
// label, metadata, and room for boot code. A move is a file system's way from
// its old place to its new one.
package layout

import (
	"fmt"

	"esxodus/convert/guest"
)

// Kind is how a disk is laid out.
type Kind string

// The kinds of layout. Auto, in a request only, takes lvm for a guest that
// qualifies and keep for any other.
const (
	Auto  Kind = "auto"
	LVM   Kind = "lvm"
	Keep  Kind = "keep"
	Plain Kind = "plain"
)

// Layout is where a VM's disks go.
type Layout struct {
	Kind    Kind     `json:"kind"`              // lvm or plain if any disk changes, else keep
	Asked   Kind     `json:"asked,omitempty"`   // what was asked for, "" for auto
	Reasons []string `json:"reasons,omitempty"` // why it, or a disk, is not what was asked for, or not lvm
	Curable []string `json:"curable,omitempty"` // those of the reasons that say what ends them
	Refused bool     `json:"refused,omitempty"` // lvm or plain was asked for and can't be had, for the reasons
	Notes   []string `json:"notes,omitempty"`   // what should be known and stops nothing
	Disks   []Disk   `json:"disks"`             // in the VM's order; empty where nothing is known of them
	Groups  []Group  `json:"groups,omitempty"`  // volume groups that LVM's tools make or change
	Moves   []Move   `json:"moves,omitempty"`   // of every partition and logical volume with content
	Boot    *Boot    `json:"boot,omitempty"`    // nil where the disk keeps its boot loader
}

// Reason is what rules out a change.
type Reason struct {
	Why  string
	Cure string // what ends it, "" where nothing does
}

func (r Reason) String() string {
	if r.Cure == "" {
		return r.Why
	}
	return r.Why + ": " + r.Cure
}

// Because adds reasons to the layout's.
func (l *Layout) Because(reasons ...Reason) {
	for _, r := range reasons {
		l.Reasons = append(l.Reasons, r.String())
		if r.Cure != "" {
			l.Curable = append(l.Curable, r.String())
		}
	}
}

// Disk is one disk of a layout. Sizes and offsets are bytes.
type Disk struct {
	Address string  `json:"address"`          // the source's: "scsi0:0"
	Kind    Kind    `json:"kind"`             // lvm, keep or plain
	Size    int64   `json:"size"`             // what the target must have at least
	Grown   int64   `json:"grown"`            // by how much that is more than the source has
	Head    int64   `json:"head"`             // bytes from 0 that are LVM's; 0 where there is no head
	Reason  string  `json:"reason,omitempty"` // why it is kept while others change
	Ranges  []Range `json:"ranges"`           // ascending on the target, none in the head; the rest is zeroed
}

// Range says that Length bytes from Source on the source disk land at Target
// on the same disk of the target. All are bytes.
type Range struct {
	Source int64 `json:"source"`
	Target int64 `json:"target"`
	Length int64 `json:"length"`
}

// Group is a volume group to make (UUID is ""), or an existing one whose
// physical volumes move to the start of their disks and that gets new volumes.
type Group struct {
	Name       string   `json:"name"`
	UUID       string   `json:"uuid,omitempty"`
	Seqno      int64    `json:"seqno,omitempty"` // of an existing one: the layout holds for this state of its metadata only
	ExtentSize int64    `json:"extentSize"`      // bytes
	PVs        []PV     `json:"pvs"`
	Volumes    []Volume `json:"volumes"` // all that are visible and linear; new ones last, in the order of their making
}

// PV is a physical volume that is a whole disk of the target.
type PV struct {
	UUID    string `json:"uuid"`             // in LVM's groups
	Disk    string `json:"disk"`             // address
	Size    int64  `json:"size"`             // bytes, the disk's
	Start   int64  `json:"start"`            // bytes from the disk's start to extent 0
	Extents int64  `json:"extents"`          // after it was resized
	Source  int64  `json:"source,omitempty"` // of an existing one: its offset on the source disk, bytes
	New     bool   `json:"new"`
}

// Volume is a linear logical volume of a group. A new one has one segment.
type Volume struct {
	Name     string    `json:"name"`
	New      bool      `json:"new"`
	Extents  int64     `json:"extents"`
	Segments []Segment `json:"segments"`
}

// Segment is a run of Count physical extents of a volume.
type Segment struct {
	PV    string `json:"pv"`    // UUID
	PE    int64  `json:"pe"`    // first physical extent
	Count int64  `json:"count"` // extents
}

// Move is one file system's way. Offsets and lengths are bytes.
type Move struct {
	Content    string `json:"content"` // ext4, xfs, swap …
	Mount      string `json:"mount,omitempty"`
	Label      string `json:"label,omitempty"`
	UUID       string `json:"uuid,omitempty"` // of the file system
	From       string `json:"from"`           // "scsi0:0 partition 1", "vg0/root"
	FromDisk   string `json:"fromDisk,omitempty"`
	FromOffset int64  `json:"fromOffset"` // on that disk; of a logical volume its first extent's
	Length     int64  `json:"length"`
	// To is "vg0/root", the disk's address for plain, the same as From where it
	// stays as it was, and "" where it is left out.
	To       string `json:"to,omitempty"`
	ToDisk   string `json:"toDisk,omitempty"`
	ToOffset int64  `json:"toOffset"`
	Reason   string `json:"reason,omitempty"` // why it is left out
	// Names are the source's names of it that may hold no longer, as they may
	// stand in a guest's configuration: /dev/sda1, PARTUUID=…. A partition that
	// stays has only those that change with the bus.
	Names []string `json:"names,omitempty"`
}

// Device is the file system's name in the guest: "/dev/mapper/vg0-root",
// "" where there is none that lasts.
func (m Move) Device() string {
	return device(m.To)
}

// Boot is where the loader and what it loads lie.
type Boot struct {
	Disk   string `json:"disk"`             // address of the disk whose sector 0 boots
	PV     string `json:"pv,omitempty"`     // UUID of the physical volume that this disk is
	Volume string `json:"volume,omitempty"` // "vg0/boot": what holds /boot
	End    int64  `json:"end"`              // bytes: no block of /boot lies beyond it
	UEFI   bool   `json:"uefi"`             // the source boots through UEFI, the target by BIOS
}

// High reports whether blocks of /boot may lie beyond sector 2^32, which a BIOS
// reads on virtio-blk and not on virtio-scsi (SeaBIOS 1.16).
func (b *Boot) High() bool { return b.End > 1<<32*sector }

// HighBoot says why a layout whose /boot is high is not for a disk on
// virtio-scsi, and what brings /boot down.
func (l *Layout) HighBoot() Reason {
	what, cure := "the file system", "give /boot its own partition below 2 TiB in the guest"
	if l.Boot.Volume != "" {
		what = l.Boot.Volume
	}
	for _, g := range l.Groups {
		for _, v := range g.Volumes {
			switch {
			case g.Name+"/"+v.Name != l.Boot.Volume:
			case !v.New:
				cure = "give /boot its own volume below 2 TiB in the guest, or move it there with pvmove"
			case g.UUID != "":
				cure = fmt.Sprintf("the volume group %s has no room for it there: make some with lvreduce or a pvmove of low extents", g.Name)
			}
		}
	}
	return Reason{
		Why:  fmt.Sprintf("%s, which holds /boot, would reach beyond sector 2^32 (2 TiB) of %s, where a BIOS can't read a disk on virtio-scsi", what, l.Boot.Disk),
		Cure: cure,
	}
}

// check says where a layout contradicts itself, which only impossible facts
// can make it do.
func (l *Layout) check(disks []guest.DiskLayout) error {
	for i, d := range l.Disks {
		next := d.Head
		if d.Size%sector != 0 && d.Kind != Keep || d.Head < 0 || d.Head > d.Size {
			return fmt.Errorf("%s: a head of %d bytes on a disk of %d", d.Address, d.Head, d.Size)
		}
		for _, r := range d.Ranges {
			bad := r.Length <= 0 || r.Target < next || r.Length > d.Size-r.Target || r.Source < 0 || r.Length > disks[i].Size-r.Source
			if bad || d.Kind != Keep && (r.Source|r.Target|r.Length)%sector != 0 {
				return fmt.Errorf("%s: %d bytes can't go from %d to %d", d.Address, r.Length, r.Source, r.Target)
			}
			next = r.Target + r.Length
		}
	}
	return nil
}
