package part

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"esxodus/disk"
	"esxodus/disk/internal/readat"
)

const (
	maxLogical     = 128 // Linux itself stops at 60 (sd) to 251
	typeProtective = 0xee
)

// mbr is sector 0 as a master boot record.
type mbr struct {
	ok       bool // it is one, perhaps with no partitions
	bootCode bool
	diskID   uint32
	slots    [4]slot
}

// slot is one of the four descriptions in an MBR or EBR. Numbers are sectors.
type slot struct {
	active       bool
	typ          byte
	start, count uint32
}

func (s slot) used() bool     { return s.typ != 0 && s.count != 0 }
func (s slot) extended() bool { return s.typ == 0x05 || s.typ == 0x0f || s.typ == 0x85 }

// parseMBR decodes 512 bytes. A boot sector of FAT or NTFS ends in 55 AA too,
// with code where an MBR has its table: flags other than 00 and 80 tell.
func parseMBR(b []byte) mbr {
	var m mbr
	if len(b) < sector || b[510] != 0x55 || b[511] != 0xaa {
		return m
	}
	m.bootCode = slices.ContainsFunc(b[:440], func(c byte) bool { return c != 0 })
	if isFATBoot(b) || isNTFSBoot(b) {
		return m
	}
	var ok bool
	if m.slots, ok = parseSlots(b); !ok {
		return m
	}
	m.ok = true
	m.diskID = binary.LittleEndian.Uint32(b[440:])
	return m
}

func parseSlots(b []byte) (slots [4]slot, ok bool) {
	for i := range slots {
		e := b[446+16*i:]
		if e[0] != 0 && e[0] != 0x80 {
			return slots, false
		}
		slots[i] = slot{
			active: e[0] == 0x80,
			typ:    e[4],
			start:  binary.LittleEndian.Uint32(e[8:]),
			count:  binary.LittleEndian.Uint32(e[12:]),
		}
	}
	return slots, true
}

func (m mbr) protective() bool {
	return slices.ContainsFunc(m.slots[:], func(s slot) bool { return s.typ == typeProtective && s.count != 0 })
}

func (m mbr) hybrid() bool {
	return slices.ContainsFunc(m.slots[:], func(s slot) bool { return s.used() && s.typ != typeProtective })
}

func (s slot) entry(number int, base int64) Entry {
	return Entry{
		Number: number, Offset: (base + int64(s.start)) * sector, Length: int64(s.count) * sector,
		Type: fmt.Sprintf("%02x", s.typ), TypeName: mbrTypeName(s.typ), Active: s.active,
	}
}

// addMBR adds the primary partitions and, for the first container, the logical
// ones from number 5 on.
func (t *Table) addMBR(img disk.Image, m mbr) error {
	container := slot{}
	for i, s := range m.slots {
		if !s.used() {
			continue
		}
		e := s.entry(i+1, 0)
		e.Container = s.extended()
		t.Entries = append(t.Entries, e)
		if !e.Container {
			continue
		}
		if container.used() {
			t.Notes = append(t.Notes, fmt.Sprintf("%v is a second extended partition; its logical partitions are not looked at", e))
			continue
		}
		container = s
	}
	if !container.used() {
		return nil
	}
	logical, err := readLogical(img, container)
	t.Entries = append(t.Entries, logical...)
	return err
}

// readLogical follows the chain of extended boot records in the container. In
// each, the first slot is a logical partition, counted from that record, and
// the second the next record, counted from the container's start. A record is
// visited once only, so that a chain that bites its tail ends.
func readLogical(img disk.Image, container slot) ([]Entry, error) {
	var es []Entry
	first := int64(container.start)
	last := first + int64(container.count)
	seen := map[int64]bool{}
	for at := first; ; {
		if seen[at] {
			return es, fmt.Errorf("%w extended partition: the chain of logical partitions returns to sector %d", ErrFormat, at)
		}
		seen[at] = true
		slots, err := readEBR(img, at)
		if err != nil {
			return es, err
		}
		next := int64(0)
		for _, s := range slots {
			switch {
			case !s.used():
			case s.extended():
				next = first + int64(s.start)
			case len(es) == maxLogical:
				return es, fmt.Errorf("%w extended partition: more than %d logical partitions", ErrFormat, maxLogical)
			default:
				e := s.entry(5+len(es), at)
				e.Logical = true
				es = append(es, e)
				if e.Offset <= at*sector || e.Offset+e.Length > last*sector {
					return es, fmt.Errorf("%w extended partition: logical %v leaves its container, sectors %d to %d", ErrFormat, e, first, last)
				}
			}
		}
		if next == 0 {
			return es, nil
		}
		if next < first || next >= last {
			return es, fmt.Errorf("%w extended partition: the record at sector %d points to sector %d outside of it", ErrFormat, at, next)
		}
		at = next
	}
}

// readEBR reads the first two slots of the extended boot record at a sector.
// The first record of an empty container may be blank.
func readEBR(img disk.Image, at int64) ([]slot, error) {
	b := make([]byte, sector)
	if err := readat.Full(img, b, at*sector); errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w extended partition: its boot record at sector %d lies behind the end of the disk", ErrFormat, at)
	} else if err != nil {
		return nil, fmt.Errorf("extended boot record at sector %d: %w", at, err)
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return nil, fmt.Errorf("%w extended partition: no boot record at sector %d", ErrFormat, at)
	}
	slots, ok := parseSlots(b)
	if !ok {
		return nil, fmt.Errorf("%w extended partition: the boot record at sector %d has impossible flags", ErrFormat, at)
	}
	return slots[:2], nil
}
