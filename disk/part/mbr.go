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

// used reports whether Linux sees a partition here. As it does, that looks at
// the length only: type 0 with a length is a partition (/dev/sda1).
func (s slot) used() bool     { return s.count != 0 }
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

// hybrid reports whether the MBR beside a GPT lists partitions of its own. Of
// type 0 they are none to the firmware, and Linux reads the GPT only.
func (m mbr) hybrid() bool {
	return slices.ContainsFunc(m.slots[:], func(s slot) bool { return s.used() && s.typ != 0 && s.typ != typeProtective })
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
			t.Notes = append(t.Notes, fmt.Sprintf("%v is a second extended partition; its logical partitions are not read", e))
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

// readLogical follows the chain of extended boot records in the container, as
// Linux does (block/partitions/msdos.c). In each, the first slot is a logical
// partition, counted from that record, and the second the next record, counted
// from the container's start; but either may come first, and slots 3 and 4 may
// hold logical partitions too (see [ebr.logical]). A record is visited once
// only, so that a chain that bites its tail ends.
func readLogical(img disk.Image, container slot) ([]Entry, error) {
	var es []Entry
	c := sectors{int64(container.start), int64(container.start) + int64(container.count)}
	seen := map[int64]bool{}
	for r := (ebr{sectors: c}); ; {
		if seen[r.first] {
			return es, fmt.Errorf("%w extended partition: the chain of logical partitions returns to sector %d", ErrFormat, r.first)
		}
		seen[r.first] = true
		if err := r.read(img); err != nil {
			return es, err
		}
		for _, s := range r.logical(c) {
			if len(es) == maxLogical {
				return es, fmt.Errorf("%w extended partition: more than %d logical partitions", ErrFormat, maxLogical)
			}
			e := s.entry(5+len(es), r.first)
			e.Logical = true
			es = append(es, e)
			if e.Offset <= r.first*sector || e.Offset+e.Length > c.end*sector {
				return es, fmt.Errorf("%w extended partition: logical %v goes beyond its container, sectors %d to %d", ErrFormat, e, c.first, c.end)
			}
		}
		next, ok, err := r.next(c)
		if err != nil || !ok {
			return es, err
		}
		r = ebr{sectors: next}
	}
}

// sectors is a run of sectors of the disk: [first, end).
type sectors struct{ first, end int64 }

// ebr is an extended boot record: the first of the sectors that the link to it,
// or for the first one the container, has.
type ebr struct {
	sectors
	slots [4]slot
}

// read reads the record's slots.
func (r *ebr) read(img disk.Image) error {
	b := make([]byte, sector)
	if err := readat.Full(img, b, r.first*sector); errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w extended partition: its boot record at sector %d is beyond the end of the disk", ErrFormat, r.first)
	} else if err != nil {
		return fmt.Errorf("extended boot record at sector %d: %w", r.first, err)
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return fmt.Errorf("%w extended partition: no boot record at sector %d", ErrFormat, r.first)
	}
	var ok bool
	if r.slots, ok = parseSlots(b); !ok {
		return fmt.Errorf("%w extended partition: the boot record at sector %d has impossible flags", ErrFormat, r.first)
	}
	return nil
}

// logical lists the slots that are partitions. Slots 3 and 4 may hold garbage:
// as Linux does, those are passed over that leave the record's own sectors or
// the container c.
func (r *ebr) logical(c sectors) []slot {
	var out []slot
	for i, s := range r.slots {
		end := r.first + int64(s.start) + int64(s.count)
		if s.used() && !s.extended() && (i < 2 || end <= min(r.end, c.end)) {
			out = append(out, s)
		}
	}
	return out
}

// next is where the record's link leads; ok is false at the end of the chain.
// Of two links Linux follows the first: what lies behind the other one can't be
// known to be nothing, so that is an error, as a link out of the container c is.
func (r *ebr) next(c sectors) (next sectors, ok bool, err error) {
	for _, s := range r.slots {
		if !s.used() || !s.extended() {
			continue
		}
		if ok {
			return next, false, fmt.Errorf("%w extended partition: the record at sector %d links to two others, at sectors %d and %d",
				ErrFormat, r.first, next.first, c.first+int64(s.start))
		}
		ok = true
		next.first = c.first + int64(s.start)
		next.end = next.first + int64(s.count)
	}
	if ok && next.first >= c.end {
		return next, false, fmt.Errorf("%w extended partition: the record at sector %d points to sector %d outside of it", ErrFormat, r.first, next.first)
	}
	return next, ok, nil
}
