package install

import (
	"fmt"
	"path"
	"strings"
)

// Bus is how a BIOS reaches a disk.
type Bus string

// The buses that matter: SeaBIOS reads no sector beyond 2^32 through SCSI.
const (
	Virtio  Bus = "virtio" // virtio-blk
	SCSI    Bus = "scsi"   // virtio-scsi, pvscsi, LSI
	ATA     Bus = "ata"    // IDE and AHCI
	NVMe    Bus = "nvme"
	Unknown Bus = ""
)

// ParseBus reads the name of a bus.
func ParseBus(name string) (Bus, error) {
	switch b := Bus(name); b {
	case Virtio, SCSI, ATA, NVMe:
		return b, nil
	}
	return Unknown, fmt.Errorf("bus %q: want virtio, scsi, ata or nvme", name)
}

// limit is the sector from which on nothing boots through the bus, 0 for none.
func (b Bus) limit() uint64 {
	if b == SCSI {
		return 1 << 32
	}
	return 0
}

// Disk is a whole disk.
type Disk struct {
	dev     device
	node    string // below /dev
	sectors uint64
	block   uint64 // logical block size, bytes
	bus     Bus
}

// String returns the disk's node: "/dev/vda".
func (d *Disk) String() string { return "/dev/" + d.node }

// piece says that the sectors from start on of a volume are on a disk from lba
// on.
type piece struct {
	start, count uint64
	disk         *Disk
	lba          uint64
}

// maxDepth is how many devices may lie upon each other.
const maxDepth = 8

// volume is a block device that holds a file system.
type volume struct {
	dev    device
	name   string // for people: "/dev/mapper/vg-boot"
	dm     string // device-mapper's name, "" for another kind of device
	group  string // volume group, "" where LVM has no part in it
	pieces []piece
}

// resolver finds out where on disks volumes lie.
type resolver struct {
	sys    *System
	tables func(device) ([]target, error)
	disks  map[device]*Disk
}

// volume finds out where on disks the device d lies.
func (r *resolver) volume(d device) (*volume, error) {
	dir, err := r.sys.dir(d)
	if err != nil {
		return nil, err
	}
	node, err := r.sys.node(dir)
	if err != nil {
		return nil, err
	}
	v := &volume{dev: d, name: "/dev/" + node}
	if v.dm, err = r.sys.attribute(dir + "/dm/name"); err != nil {
		return nil, err
	}
	if v.dm != "" {
		v.name = "/dev/mapper/" + v.dm
		uuid, err := r.sys.attribute(dir + "/dm/uuid")
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(uuid, "LVM-") {
			v.group = groupOf(v.dm)
		}
	}
	v.pieces, err = r.pieces(d, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.name, err)
	}
	return v, nil
}

// groupOf returns the volume group in device-mapper's name of a logical volume:
// group and volume with a hyphen between, hyphens of their own doubled.
func groupOf(name string) string {
	var group strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '-' {
			if i+1 == len(name) || name[i+1] != '-' {
				break
			}
			i++
		}
		group.WriteByte(name[i])
	}
	return group.String()
}

// pieces goes down from a device to disks.
func (r *resolver) pieces(d device, depth int) ([]piece, error) {
	if depth == maxDepth {
		return nil, fmt.Errorf("more than %d devices on top of each other", maxDepth)
	}
	dir, err := r.sys.dir(d)
	if err != nil {
		return nil, err
	}
	switch {
	case r.sys.exists(dir + "/dm"):
		return r.mapped(d, depth)
	case r.sys.exists(dir + "/partition"):
		return r.partition(dir, depth)
	case r.sys.exists(dir + "/md"):
		return nil, fmt.Errorf("%s is a RAID array of md, where a block has no one place: /boot must be on a plain disk or a linear logical volume", path.Base(dir))
	}
	disk, err := r.disk(d, dir)
	if err != nil {
		return nil, err
	}
	return []piece{{count: disk.sectors, disk: disk}}, nil
}

// partition goes from a partition to its disk.
func (r *resolver) partition(dir string, depth int) ([]piece, error) {
	start, err := r.sys.number(dir + "/start")
	if err != nil {
		return nil, err
	}
	count, err := r.sys.number(dir + "/size")
	if err != nil {
		return nil, err
	}
	text, err := r.sys.attribute(path.Dir(dir) + "/dev")
	if err != nil {
		return nil, err
	}
	parent, err := parseDevice(text)
	if err != nil {
		return nil, fmt.Errorf("the disk of partition %s: %w", path.Base(dir), err)
	}
	return r.below(parent, start, 0, count, depth)
}

// mapped goes from a device of device-mapper to those below it.
func (r *resolver) mapped(d device, depth int) ([]piece, error) {
	table, err := r.tables(d)
	if err != nil {
		return nil, err
	}
	var all []piece
	for _, t := range table {
		if t.kind != "linear" {
			return nil, fmt.Errorf("sectors %d to %d are mapped by %q, which the boot loader can't follow: "+
				"only linear volumes (no RAID, thin, cache, snapshot, encryption; no pvmove under way) can hold /boot", t.start, t.start+t.count-1, t.kind)
		}
		below, offset, err := t.linear()
		if err != nil {
			return nil, err
		}
		part, err := r.below(below, offset, t.start, t.count, depth)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

// below returns the pieces of count sectors from offset on of a device, as they
// appear from sector start on of the one upon it.
func (r *resolver) below(d device, offset, start, count uint64, depth int) ([]piece, error) {
	whole, err := r.pieces(d, depth+1)
	if err != nil {
		return nil, err
	}
	if offset+count < offset {
		return nil, fmt.Errorf("%d sectors from sector %d on of device %s: no device is that large", count, offset, d)
	}
	var out []piece
	for _, p := range whole {
		from, to := max(p.start, offset), min(p.start+p.count, offset+count)
		if from < to {
			out = append(out, piece{start: start + from - offset, count: to - from, disk: p.disk, lba: p.lba + from - p.start})
		}
	}
	return out, nil
}

// disk describes a whole disk.
func (r *resolver) disk(d device, dir string) (*Disk, error) {
	if known, ok := r.disks[d]; ok {
		return known, nil
	}
	if kind, ok := strings.CutPrefix(dir, "devices/virtual/block/"); ok && !strings.HasPrefix(kind, "loop") {
		return nil, fmt.Errorf("/dev/%s is not a disk that a BIOS could boot from", kind)
	}
	disk := &Disk{dev: d, bus: busOf(dir)}
	var err error
	if disk.node, err = r.sys.node(dir); err != nil {
		return nil, err
	}
	if disk.sectors, err = r.sys.number(dir + "/size"); err != nil {
		return nil, err
	}
	if disk.block, err = r.sys.number(dir + "/queue/logical_block_size"); err != nil {
		return nil, err
	}
	r.disks[d] = disk
	return disk, nil
}

// busOf tells the bus from a disk's directory in sysfs.
func busOf(dir string) Bus {
	parts := strings.Split(dir, "/")
	for i, p := range parts {
		switch {
		case strings.HasPrefix(p, "virtio") && i+1 < len(parts) && parts[i+1] == "block":
			return Virtio
		case strings.HasPrefix(p, "ata"):
			return ATA
		case p == "nvme":
			return NVMe
		case strings.HasPrefix(p, "host"):
			return SCSI
		}
	}
	return Unknown
}
