// Package part reads how a disk is divided, and what the parts hold: partition
// tables ([Read]), signatures of file systems and other content ([Probe]), a
// part as an image of its own ([Section]), FAT file systems ([FAT]), and a
// bounded cache that makes small reads through a network cheap ([Cached]).
//
// Words: an [Entry] is one partition as its table describes it; a container is
// the extended partition that holds the logical ones; [Content] is what the
// first and last bytes of a range say that it is.
//
// All of it reads disks that somebody else wrote. The tables are parsed here
// and not by go-diskfs, which has no logical partitions and no limits on what
// a table may claim; its FAT reader is used behind the checks of [FAT].
package part

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"esxodus/disk"
	"esxodus/disk/internal/readat"
)

// ErrFormat is wrapped by every error that says that the bytes were read but
// make no sense. Any other error is one of reading.
var ErrFormat = errors.New("malformed")

// The kinds of table.
const (
	KindMBR  = "mbr"
	KindGPT  = "gpt"
	KindNone = "none"
)

const sector = 512

// Table is a disk's partition table.
type Table struct {
	Kind       string // KindMBR, KindGPT or KindNone
	SectorSize int64  // bytes that the table's numbers count in
	ID         string // mbr: 8 hex digits, "00000000" if it has none; gpt: GUID in capitals
	BootCode   bool   // sector 0 holds code and ends in 55 AA
	Backup     bool   // gpt: the primary was broken, this is the backup's
	Hybrid     bool   // gpt: the MBR lists partitions of its own besides
	Usable     int64  // gpt: bytes from the start of the disk to where partitions end at most
	// Entries are ordered by Number. Containers are among them.
	Entries []Entry
	// Notes say what is odd but could be read.
	Notes []string
}

// Entry is one partition.
type Entry struct {
	Number    int
	Offset    int64  // bytes from the start of the disk
	Length    int64  // bytes
	Type      string // mbr: two hex digits, "83"; gpt: GUID in capitals
	TypeName  string // what the type is called, "" if unknown
	Name      string // gpt only
	GUID      string // gpt only, the partition's own, in capitals
	Flags     uint64 // gpt only: attribute bits
	Active    bool   // mbr: flag 80; gpt: legacy BIOS bootable
	Logical   bool   // mbr: inside the container
	Container bool   // mbr: an extended partition, holds no content itself
}

func (e Entry) String() string {
	return fmt.Sprintf("partition %d (type %s, bytes %d to %d)", e.Number, e.Type, e.Offset, e.Offset+e.Length)
}

// Read reads the partition table of img: GPT if a protective MBR points to
// one, else MBR with its logical partitions, else none. Entries that overlap
// or leave the disk give an error that wraps [ErrFormat] and names them; the
// Table then still holds what was read.
func Read(img disk.Image) (Table, error) {
	s0 := make([]byte, sector)
	if img.Size() < sector {
		return Table{Kind: KindNone, SectorSize: sector}, nil
	}
	if err := readat.Full(img, s0, 0); err != nil {
		return Table{}, fmt.Errorf("sector 0: %w", err)
	}
	m := parseMBR(s0)
	t := Table{Kind: KindNone, SectorSize: sector, BootCode: m.bootCode}
	if !m.ok {
		return t, nil
	}
	if m.protective() {
		gpt, err := readGPT(img, m)
		if err != nil {
			return Table{Kind: KindGPT, SectorSize: sector, BootCode: m.bootCode}, err
		}
		gpt.BootCode = m.bootCode
		return gpt, gpt.check(img.Size())
	}
	t.Kind, t.ID = KindMBR, fmt.Sprintf("%08x", m.diskID)
	if err := t.addMBR(img, m); err != nil {
		return t, err
	}
	if len(t.Entries) == 0 {
		return emptyMBR(img, t)
	}
	return t, t.check(img.Size())
}

// emptyMBR tells a table with no partitions from a disk without table whose
// sector 0 merely ends in 55 AA: LILO's, say, in front of an LVM physical
// volume.
func emptyMBR(img disk.Image, t Table) (Table, error) {
	c, err := Probe(img, img.Size())
	if err != nil {
		return t, err
	}
	if c.Type != "" {
		t.Kind, t.ID = KindNone, ""
	}
	return t, nil
}

// check says which entry leaves the disk or overlaps another. Logical
// partitions lie in their container, which was checked when they were read.
func (t Table) check(size int64) error {
	var es []Entry
	for _, e := range t.Entries {
		if e.Offset < 0 || e.Length <= 0 || e.Offset > size || e.Length > size-e.Offset {
			return fmt.Errorf("%w partition table: %v goes beyond the disk of %d bytes", ErrFormat, e, size)
		}
		if !e.Container {
			es = append(es, e)
		}
	}
	slices.SortStableFunc(es, func(a, b Entry) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := 1; i < len(es); i++ {
		if es[i].Offset < es[i-1].Offset+es[i-1].Length {
			return fmt.Errorf("%w partition table: %v overlaps %v", ErrFormat, es[i], es[i-1])
		}
	}
	return nil
}

// readSome reads what there is of [off, off+n) within size. Past the end it is
// shorter, or empty.
func readSome(r io.ReaderAt, off, n, size int64) ([]byte, error) {
	if off < 0 || off >= size {
		return nil, nil
	}
	b := make([]byte, min(n, size-off))
	return b, readat.Full(r, b, off)
}
