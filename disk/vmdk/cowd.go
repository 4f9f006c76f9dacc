package vmdk

import (
	"encoding/binary"
	"fmt"

	"esxodus/disk/internal/readat"
)

const (
	cowdMagic   = "COWD"
	cowdHeader  = 4 // sectors
	cowdEntries = 4096
	cowdTable   = cowdEntries * 4 / sectorSize // sectors
)

// cowd is the content of a vmfsSparse extent ("-delta.vmdk"): the changes of a snapshot
// on VMFS 3 and 5, mostly in grains of a sector. Its format is that of COWDisk_Header in
// the "ESX Server Sparse Extents" of VMware's Virtual Disk Format 1.1.
type cowd struct {
	grid
	directory deltaDirectory
	metadata  int64 // bytes at the start that no grain is in
}

// addCOWD appends the vmfsSparse extent e, which is the file f.
func (m *Image) addCOWD(e Extent, f File) error {
	c := &cowd{grid: grid{name: e.Name, file: f, entries: cowdEntries, width: 4, tables: m.tables}}
	c.index = c
	unclean, err := c.open()
	if err == nil {
		err = m.appendGrid(e, &c.grid, c, unclean)
	}
	return in(e.Name, err)
}

// open reads the header and checks what it points to.
func (c *cowd) open() (unclean bool, err error) {
	le := binary.LittleEndian
	b := make([]byte, cowdHeader*sectorSize)
	if err := readat.Full(c.file, b, 0); err != nil {
		return false, fmt.Errorf("%w: header: %w", ErrFormat, err)
	}
	if string(b[:4]) != cowdMagic {
		return false, fmt.Errorf("%w: header: no magic number %q", ErrFormat, cowdMagic)
	}
	if v := le.Uint32(b[4:]); v != 1 {
		return false, fmt.Errorf("%w: header offset 4: COWD version %d; clone the disk with vmkfstools -i on ESXi", ErrUnsupported, v)
	}
	capacity, grain := int64(le.Uint32(b[12:])), int64(le.Uint32(b[16:]))
	directory, entries := int64(le.Uint32(b[20:])), int64(le.Uint32(b[24:]))
	switch {
	case capacity == 0:
		return false, fmt.Errorf("%w: header offset 12: a capacity of 0 sectors", ErrFormat)
	case grain == 0 || grain > maxGrain || grain&(grain-1) != 0:
		return false, fmt.Errorf("%w: header offset 16: a grain size of %d sectors, want a power of 2 up to %d", ErrFormat, grain, maxGrain)
	case directory < cowdHeader:
		return false, fmt.Errorf("%w: header offset 20: the grain directory is in sector %d, in the header", ErrFormat, directory)
	}
	n := (capacity + grain*cowdEntries - 1) / (grain * cowdEntries)
	if entries < n {
		return false, fmt.Errorf("%w: header offset 24: %d grain tables, want %d for %d sectors", ErrFormat, entries, n, capacity)
	}
	c.size, c.grain = capacity*sectorSize, grain*sectorSize
	c.metadata = (directory + sectors(n*4)) * sectorSize
	c.directory = deltaDirectory{g: &c.grid, at: directory * sectorSize, entries: n, width: 4}
	var gd []uint32
	if err := c.directory.each(func(_ int64, e uint64) error { gd = append(gd, uint32(e)); return nil }); err != nil {
		return false, err
	}
	return le.Uint32(b[1648:]) != 0, checkTables(gd, cowdTable, c.file.Size(), []region{
		{"the grain directory", directory, sectors(n * 4)},
		{"the header", 0, cowdHeader},
	})
}

// where implements index.
func (c *cowd) where(table int64) (int64, error) {
	e, err := c.directory.entry(table)
	return int64(e) * sectorSize, err
}

// place implements index. An entry of 1 means zeros: ESXi writes it where it has
// unmapped a grain, and sector 1 is the header's.
func (c *cowd) place(t []byte, grain int64) (place, error) {
	switch sector := int64(binary.LittleEndian.Uint32(t[grain%cowdEntries*4:])); sector {
	case 0:
		return place{}, nil
	case 1:
		return place{is: zero}, nil
	default:
		at := sector * sectorSize
		return place{is: data, at: at}, c.within(grain, at, c.length(grain), c.metadata)
	}
}
