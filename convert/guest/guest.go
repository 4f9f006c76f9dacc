// Package guest is the model of what is inside a VM: what a look finds ([Guest]),
// and what a conversion changes ([Conversion]). Its rooms: conf reads the files of a
// guest, inspect looks, adapt decides what changes, initrd builds what is added to
// initrds, apply carries it out.
//
// Words: a volume is a partition, a whole disk without table, or a logical
// volume; the root is the volume that the guest mounts at /; the tree is the
// root with the other volumes mounted in it that could be read.
package guest

import (
	"path"
	"strings"

	"esxodus/disk/unused"
)

// Guest is what a look inside found. Every field may be empty: a look that
// finds nothing is not an error, the plan then says so.
type Guest struct {
	OS          string       `json:"os,omitempty"`         // linux, windows, bsd; "" unknown
	Distro      string       `json:"distro,omitempty"`     // os-release ID: debian
	DistroLike  []string     `json:"distroLike,omitempty"` // os-release ID_LIKE: what it derives from
	Version     string       `json:"version,omitempty"`    // os-release VERSION_ID: 12
	PrettyName  string       `json:"prettyName,omitempty"`
	Hostname    string       `json:"hostname,omitempty"`
	Root        string       `json:"root,omitempty"`        // the volume: "scsi0:0 partition 1", "vg0/root"
	OtherRoots  []string     `json:"otherRoots,omitempty"`  // volumes that look like a root just as much
	Disks       []DiskLayout `json:"disks"`                 // in the VM's order
	Volumes     []Volume     `json:"volumes,omitempty"`     // logical volumes
	Groups      []Group      `json:"groups,omitempty"`      // volume groups
	Kernels     []string     `json:"kernels,omitempty"`     // versions with an image in /boot, newest last
	Initrds     []Initrd     `json:"initrds,omitempty"`     // one per kernel that has one
	Cmdline     string       `json:"cmdline,omitempty"`     // kernel command line of the default boot entry
	Consoles    []string     `json:"consoles,omitempty"`    // console= of the default boot entry: "ttyS0,115200n8"
	SerialLogin []string     `json:"serialLogin,omitempty"` // serial ports with a login, as far as that is known: ttyS0
	EFILoaders  []string     `json:"efiLoaders,omitempty"`  // on the EFI system partition: "EFI/debian/shimx64.efi"
	Interfaces  []string     `json:"interfaces,omitempty"`  // NIC names that the guest's configuration uses: ens192
	// PinnedNames are those NIC names that the guest binds to a MAC address:
	// they survive a change of bus.
	PinnedNames []string `json:"pinnedNames,omitempty"`
	DiskNames   []string `json:"diskNames,omitempty"` // unstable names its configuration uses: /dev/sda1
	Agent       bool     `json:"agent,omitempty"`     // qemu-guest-agent is installed
	OpenVMTools bool     `json:"openVMTools,omitempty"`
	VMwareTools bool     `json:"vmwareTools,omitempty"` // VMware's own, not open-vm-tools
	Notes       []string `json:"notes,omitempty"`       // what could not be read, and why
	// Claims are what the guest itself takes for its root, where that isn't Root.
	Claims []Claim `json:"claims,omitempty"`
	// OtherSystems are the titles of boot menu entries that start another system
	// than that on Root, at most 16.
	OtherSystems []string `json:"otherSystems,omitempty"`
	// OtherBoots are volumes that hold a boot loader's configuration and are
	// mounted nowhere.
	OtherBoots []string `json:"otherBoots,omitempty"`
	// Faults are file systems that a check would complain of as they are.
	Faults []Fault `json:"faults,omitempty"`
	// Spaces say what of the disks nothing needs, as they are at the source.
	Spaces []unused.Space `json:"spaces,omitempty"`
	Config Config         `json:"-"` // what its conversion is made from
}

// Fault is what is wrong with a file system at the source.
type Fault struct {
	Volume  string `json:"volume"` // "scsi0:0 partition 1", "vg0/root"
	Content string `json:"content"`
	Mount   string `json:"mount,omitempty"`
	What    string `json:"what"`              // for people
	Refused bool   `json:"refused,omitempty"` // so much so that a kernel refuses it, or fails on it
}

// DiskLayout is one disk's partition table and what its partitions hold.
type DiskLayout struct {
	Address    string      `json:"address"`              // the source's: "scsi0:0"
	Size       int64       `json:"size"`                 // bytes
	Table      string      `json:"table"`                // mbr, gpt, none
	TableID    string      `json:"tableID,omitempty"`    // mbr: 8 hex digits; gpt: GUID
	BootCode   bool        `json:"bootCode,omitempty"`   // sector 0 holds code and ends in 55 AA
	SectorSize int64       `json:"sectorSize,omitempty"` // bytes that the table counts in, where that is not 512
	Hybrid     bool        `json:"hybrid,omitempty"`     // gpt: the MBR lists partitions of its own besides
	Problem    string      `json:"problem,omitempty"`    // why the table makes no sense
	Partitions []Partition `json:"partitions,omitempty"`
}

// Partition is one partition, or the whole disk where there is no table (then
// Number is 0).
type Partition struct {
	Number    int    `json:"number"`
	Offset    int64  `json:"offset"`              // bytes
	Length    int64  `json:"length"`              // bytes
	Type      string `json:"type,omitempty"`      // table's type: 83, ef00's GUID
	TypeName  string `json:"typeName,omitempty"`  // what that is called: Linux
	Name      string `json:"name,omitempty"`      // gpt
	GUID      string `json:"guid,omitempty"`      // gpt, the partition's own
	Active    bool   `json:"active,omitempty"`    // the BIOS boots from it
	Logical   bool   `json:"logical,omitempty"`   // mbr, inside the container
	Container bool   `json:"container,omitempty"` // mbr, the extended partition itself
	Content   string `json:"content,omitempty"`   // ext4, xfs, swap, lvm2, vfat, ntfs, luks, btrfs, md …; "" unknown
	Label     string `json:"label,omitempty"`
	UUID      string `json:"uuid,omitempty"`      // of the file system
	Dirty     bool   `json:"dirty,omitempty"`     // not cleanly unmounted
	Cut       bool   `json:"cut,omitempty"`       // the content says that it is larger than its space
	Suspended bool   `json:"suspended,omitempty"` // swap, or a file system with a swap file, that holds a hibernated system
	Mount     string `json:"mount,omitempty"`     // from the guest's fstab; "swap" for swap
}

// Volume is a logical volume.
type Volume struct {
	Group   string   `json:"group"`
	Name    string   `json:"name"`
	Length  int64    `json:"length"` // bytes
	Kind    string   `json:"kind"`   // linear, or its segment types: "thin", "raid1"
	PVs     []string `json:"pvs"`    // UUIDs of the physical volumes it lies on
	Content string   `json:"content,omitempty"`
	Label   string   `json:"label,omitempty"`
	UUID    string   `json:"uuid,omitempty"` // of the file system
	Dirty   bool     `json:"dirty,omitempty"`
	Cut     bool     `json:"cut,omitempty"` // the content says that it is larger than its space
	// Suspended: swap, or a file system with a swap file, that holds a hibernated system.
	Suspended bool   `json:"suspended,omitempty"`
	Mount     string `json:"mount,omitempty"`
	// ID is the device mapper's identifier: "LVM-" and the UUIDs of group and
	// volume without hyphens.
	ID string `json:"id,omitempty"`
}

// Link is udev's name of a volume by its identifier, which Ubuntu's installer
// writes into fstab.
func (v *Volume) Link() string { return "/dev/disk/by-id/dm-uuid-" + v.ID }

// Readiness says whether something is so.
type Readiness string

// The three answers.
const (
	Yes     Readiness = "yes"
	No      Readiness = "no"
	Unknown Readiness = "unknown"
)

// Initrd is a kernel's initial RAM disk.
type Initrd struct {
	Kernel string `json:"kernel"` // version
	Path   string `json:"path"`   // in the guest
	// Virtio says whether kernel and initrd together find a disk on virtio;
	// Evidence says from what that is concluded.
	Virtio   Readiness `json:"virtio"`
	Evidence string    `json:"evidence"`
	// Modules are those that a conversion may add which the kernel has; none
	// where its /lib/modules is gone.
	Modules []string `json:"-"`
}

// LacksVirtio returns the initrd of the kernel that boots by default, else of the
// newest, if it is known not to find a disk on virtio, else nil.
func (g *Guest) LacksVirtio() *Initrd {
	if len(g.Kernels) == 0 {
		return nil
	}
	starts := []string{strings.TrimPrefix(path.Base(g.Config.Image), "vmlinuz-"), g.Kernels[len(g.Kernels)-1]}
	for _, kernel := range starts {
		for i, r := range g.Initrds {
			if r.Kernel == kernel && r.Virtio == No {
				return &g.Initrds[i]
			}
		}
	}
	return nil
}
