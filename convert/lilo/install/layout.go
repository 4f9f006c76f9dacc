package install

import (
	"encoding/binary"
	"errors"
	"fmt"

	"esxodus/convert/lilo"
)

// layout is what lies at a boot disk's start, around sector 0.
type layout struct {
	pv    string // UUID of the physical volume that the disk is, "" for plain
	plain bool   // an ext file system is on the bare disk
	low   bool   // sectors 2 to 7 are free for stage 2
}

const lowSectors = lilo.Stage2Sector + lilo.Stage2Sectors

// Where things are in the first sectors.
const (
	tableAt, tableEnd = 446, 510
	labelSectors      = 4 // LVM looks for its label in so many
	extMagicAt        = 1024 + 56
)

// examine tells what a boot disk is; head is its first 8 sectors, v the volume
// that holds the map.
func examine(disk *Disk, head []byte, v *volume) (layout, error) {
	if head[510] == 0x55 && head[511] == 0xaa && partitions(head[tableAt:tableEnd]) {
		return layout{}, fmt.Errorf("%s has a partition table: this LILO boots disks without one, on which LVM or a file system begins at once; use GRUB here", disk)
	}
	for i := range labelSectors {
		label := head[i*512:][:512]
		if string(label[:8]) != "LABELONE" || string(label[24:32]) != "LVM2 001" {
			continue
		}
		if i == 0 {
			return layout{}, fmt.Errorf("%s has LVM's label in sector 0, where the boot sector goes: pvcreate with --labelsector 1 was needed", disk)
		}
		if v.group == "" {
			return layout{}, fmt.Errorf("%s is a physical volume, but %s is not a logical volume on it", disk, v.name)
		}
		pv, free, err := physicalVolume(label)
		if err != nil {
			return layout{}, fmt.Errorf("%s, LVM's label in sector %d: %w", disk, i, err)
		}
		return layout{pv: pv, low: i == 1 && free >= lowSectors*512}, nil
	}
	switch {
	case string(head[:4]) == "XFSB":
		return layout{}, fmt.Errorf("%s begins with an XFS file system, which leaves no room for a boot sector", disk)
	case binary.LittleEndian.Uint16(head[extMagicAt:]) != magicExt:
		return layout{}, fmt.Errorf("%s is neither a physical volume of LVM nor an ext file system: it has no place that is known to be free for a boot sector", disk)
	case v.dev != disk.dev:
		return layout{}, fmt.Errorf("%s begins with a file system that is not the one on %s, which holds the map", disk, v.name)
	}
	return layout{plain: true}, nil
}

// partitions tells whether a partition table has an entry of any type.
func partitions(table []byte) bool {
	for i := 0; i+16 <= len(table); i += 16 {
		if table[i+4] != 0 {
			return true
		}
	}
	return false
}

// physicalVolume reads LVM's label (lib/format_text/layout.h in LVM's source):
// the UUID as LVM shows it, and the first byte that its metadata or data use.
func physicalVolume(label []byte) (uuid string, free uint64, err error) {
	at := binary.LittleEndian.Uint32(label[20:])
	if at < 32 || at > 512-40-16 {
		return "", 0, fmt.Errorf("it says that its header is at byte %d", at)
	}
	header := label[at:]
	id := header[:32]
	for _, c := range id {
		if c < '!' || c > '~' || c == '/' {
			return "", 0, errors.New("its UUID is not text")
		}
	}
	uuid = fmt.Sprintf("%s-%s-%s-%s-%s-%s-%s", id[:6], id[6:10], id[10:14], id[14:18], id[18:22], id[22:26], id[26:])
	// Two lists of offset and size, each with a zero after it: data areas, of
	// which the offset counts from the disk's start, and metadata areas.
	free = ^uint64(0)
	for areas, lists := header[40:], 0; lists < 2; areas = areas[16:] {
		if len(areas) < 16 {
			return "", 0, errors.New("its list of areas doesn't end")
		}
		offset := binary.LittleEndian.Uint64(areas)
		if offset == 0 {
			lists++
			continue
		}
		free = min(free, offset)
	}
	return uuid, free, nil
}
