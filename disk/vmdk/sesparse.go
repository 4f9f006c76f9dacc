package vmdk

import (
	"encoding/binary"
	"fmt"

	"esxodus/disk/internal/readat"
)

const (
	seMagic   = "\xbe\xba\xfe\xca\x00\x00\x00\x00"
	seVersion = 2<<32 | 1
	seEntries = 4096
	seTable   = seEntries * 8 / sectorSize // sectors
	seGrain   = 8                          // sectors
	// seHasTable is the upper half of a directory entry that has a table.
	seHasTable = 1 << 28
	seVolatile = 0xcafecafe
)

// seSparse is the content of an seSparse extent ("-sesparse.vmdk"): the changes of a
// snapshot on VMFS 6, or to a disk of 2 TiB and more. VMware doesn't document it; what
// its fields mean is known from QEMU's block/vmdk.c.
type seSparse struct {
	grid
	directory deltaDirectory
	tableArea area
	grains    area
}

// area is a range of the file in bytes.
type area struct{ from, size int64 }

// addSE appends the seSparse extent e, which is the file f.
func (m *Image) addSE(e Extent, f File) error {
	s := &seSparse{grid: grid{name: e.Name, file: f, grain: seGrain * sectorSize, entries: seEntries, width: 8, tables: m.tables}}
	s.index = s
	err := s.open()
	if err == nil {
		err = m.appendGrid(e, &s.grid, s, false)
	}
	return in(e.Name, err)
}

// open reads the headers and checks what they point to.
func (s *seSparse) open() error {
	b := make([]byte, sectorSize)
	if err := readat.Full(s.file, b, 0); err != nil {
		return fmt.Errorf("%w: header: %w", ErrFormat, err)
	}
	if string(b[:8]) != seMagic {
		return fmt.Errorf("%w: header: no magic number of seSparse", ErrFormat)
	}
	for _, f := range []struct {
		name   string
		offset int
		want   uint64
	}{{"version", 8, seVersion}, {"grain size", 24, seGrain}, {"grain table size", 32, seTable}, {"flags", 40, 0}, {"reserved", 48, 0}, {"reserved", 56, 0}, {"reserved", 64, 0}, {"reserved", 72, 0}} {
		if v := binary.LittleEndian.Uint64(b[f.offset:]); v != f.want {
			return fmt.Errorf("%w: header offset %d: %s %#x, only %#x is known; clone the disk with vmkfstools -i on ESXi", ErrUnsupported, f.offset, f.name, v, f.want)
		}
	}
	capacity := binary.LittleEndian.Uint64(b[16:])
	if capacity == 0 || capacity > maxSectors {
		return fmt.Errorf("%w: header offset 16: a capacity of %d sectors, want 1 to %d", ErrFormat, capacity, int64(maxSectors))
	}
	s.size = int64(capacity) * sectorSize
	return s.areas(b)
}

// areas finds the parts of the file.
func (s *seSparse) areas(b []byte) error {
	var volatile, directory area
	for _, f := range []struct {
		name   string
		offset int
		whole  bool // all of it is in the file
		to     *area
	}{{"volatile header", 80, true, &volatile}, {"grain directory", 128, true, &directory}, {"grain tables", 144, false, &s.tableArea}, {"grains", 192, false, &s.grains}} {
		from, size := binary.LittleEndian.Uint64(b[f.offset:]), binary.LittleEndian.Uint64(b[f.offset+8:])
		if from == 0 || size == 0 || from > 2*maxSectors || size > 2*maxSectors {
			return fmt.Errorf("%w: header offset %d: the %s: %d sectors from sector %d", ErrFormat, f.offset, f.name, size, from)
		}
		*f.to = area{int64(from) * sectorSize, int64(size) * sectorSize}
		if f.whole && f.to.from+f.to.size > s.file.Size() {
			return fmt.Errorf("%w: header offset %d: the %s (%d sectors from sector %d) goes beyond the file's end at %d bytes; it may be cut short",
				ErrFormat, f.offset, f.name, size, from, s.file.Size())
		}
	}
	if err := s.checkJournal(volatile.from); err != nil {
		return err
	}
	per := s.grain * seEntries
	s.directory = deltaDirectory{g: &s.grid, at: directory.from, entries: (s.size + per - 1) / per, width: 8}
	if directory.size < s.directory.entries*8 {
		return fmt.Errorf("%w: header offset 136: a grain directory of %d bytes, want %d for %d", ErrFormat, directory.size, s.directory.entries*8, s.size)
	}
	return s.checkTables()
}

// checkJournal refuses an extent whose tables in the file aren't the last word.
func (s *seSparse) checkJournal(at int64) error {
	var b [32]byte
	if err := readat.Full(s.file, b[:], at); err != nil {
		return fmt.Errorf("volatile header: %w", err)
	}
	if m := binary.LittleEndian.Uint64(b[:]); m != seVolatile {
		return fmt.Errorf("%w: volatile header at %d: magic number %#x", ErrFormat, at, m)
	}
	if binary.LittleEndian.Uint64(b[24:]) != 0 {
		return fmt.Errorf("%w: the journal of the snapshot must be replayed first, the host went down with the disk open; "+
			"power the VM on and off on ESXi, or clone the disk there with vmkfstools -i", ErrUnsupported)
	}
	return nil
}

// checkTables reads the directory once and checks that no two entries share a table.
func (s *seSparse) checkTables() error {
	room := min(s.tableArea.size, max(s.file.Size()-s.tableArea.from, 0)) / (seTable * sectorSize)
	seen := make([]uint64, min(room, s.directory.entries*2)/64+1) // of twice as many as the disk can have
	return s.directory.each(func(i int64, e uint64) error {
		n := int64(uint32(e))
		switch {
		case e == 0:
			return nil
		case e>>32 != seHasTable || n >= room:
			return fmt.Errorf("%w: grain directory entry %d: %#x, and there is room for %d tables; the file may be cut short", ErrFormat, i, e, room)
		case n/64 >= int64(len(seen)):
			return fmt.Errorf("%w: grain directory entry %d: table %d of a disk that has %d", ErrFormat, i, n, s.directory.entries)
		case seen[n/64]&(1<<(n%64)) != 0:
			return fmt.Errorf("%w: grain directory entry %d: another has grain table %d", ErrFormat, i, n)
		}
		seen[n/64] |= 1 << (n % 64)
		return nil
	})
}

// where implements index.
func (s *seSparse) where(table int64) (int64, error) {
	e, err := s.directory.entry(table)
	if err != nil || e == 0 {
		return 0, err
	}
	return s.tableArea.from + int64(uint32(e))*seTable*sectorSize, nil
}

// place implements index.
func (s *seSparse) place(t []byte, grain int64) (place, error) {
	e := binary.LittleEndian.Uint64(t[grain%seEntries*8:])
	switch kind := e >> 60; {
	case e == 0:
		return place{}, nil
	case kind == 1 || kind == 2: // unmapped, or written as zeros
		return place{is: zero}, nil
	case kind != 3:
		return place{}, fmt.Errorf("%w: %s: grain %d: unknown entry %#x", ErrFormat, s.name, grain, e)
	}
	n, room := int64(e>>48&0xfff|e&(1<<48-1)<<12), s.grains.size/s.grain
	if n >= room {
		return place{}, fmt.Errorf("%w: %s: grain %d is in place %d of %d", ErrFormat, s.name, grain, n, room)
	}
	at := s.grains.from + n*s.grain
	return place{is: data, at: at}, s.within(grain, at, s.length(grain), s.grains.from)
}
