package vmdk

import (
	"bytes"
	"fmt"
	"iter"
	"sync"

	"esxodus/disk/internal/readat"
)

// sparse is the content of a hosted sparse extent, compressed or not.
type sparse struct {
	name    string
	file    File
	h       Header
	footer  bool // the directory is in a footer, and tables have markers
	size    int64
	grain   int64 // bytes
	gd      []uint32
	tables  *tableCache
	scratch sync.Pool // of *inflater
}

// newSparse opens the sparse extent in f.
func (m *Image) newSparse(name string, f File) (*sparse, error) {
	b, err := head(f, sectorSize)
	if err != nil {
		return nil, err
	}
	s := &sparse{name: name, file: f, tables: m.tables}
	if s.h, err = ParseHeader(b); err != nil {
		return nil, err
	}
	if s.h.Directory < 0 {
		if err := s.readFooter(); err != nil {
			return nil, err
		}
	}
	s.size, s.grain = s.h.Capacity*sectorSize, s.h.GrainSize*sectorSize
	return s, s.loadDirectory(&m.gds)
}

// descriptor is the text embedded in the file.
func (s *sparse) descriptor() ([]byte, error) {
	n, at := s.h.DescriptorSize*sectorSize, s.h.DescriptorOffset*sectorSize
	if n > maxDescriptor || at > s.file.Size()-n {
		return nil, fmt.Errorf("%w: header offset 28: descriptor of %d bytes at %d; the limit is %d, and the file has %d",
			ErrFormat, n, at, maxDescriptor, s.file.Size())
	}
	b := make([]byte, n)
	if err := readat.Full(s.file, b, at); err != nil {
		return nil, fmt.Errorf("embedded descriptor: %w", err)
	}
	text, _, _ := bytes.Cut(b, []byte{0})
	return text, nil
}

// place is where a grain is.
type place struct {
	is presence
	at int64 // bytes into the file, of data
}

// cursor looks grains up; it remembers the last table.
type cursor struct {
	s     *sparse
	index int64
	table *table
}

// at is where the grain is. Its place in the file is checked against the file's
// bounds.
func (c *cursor) at(grain int64) (place, error) {
	s := c.s
	index := grain / tableEntries
	if s.gd[index] == 0 {
		return place{}, nil
	}
	if c.table == nil || c.index != index {
		t, err := s.table(index)
		if err != nil {
			return place{}, err
		}
		c.table, c.index = t, index
	}
	sector := int64(c.table[grain%tableEntries])
	switch {
	case sector == 0:
		return place{}, nil
	case sector == 1 && s.h.zeroGrains():
		return place{is: zero}, nil
	}
	need := int64(grainMarker + 1)
	if !s.h.Compressed() {
		need = s.length(grain)
	}
	switch {
	case sector < max(s.h.Overhead, 1):
		return place{}, fmt.Errorf("%w: %s: grain %d is in sector %d, among the metadata (which ends at %d)",
			ErrFormat, s.name, grain, sector, max(s.h.Overhead, 1))
	case sector*sectorSize > s.file.Size()-need:
		return place{}, fmt.Errorf("%w: %s: grain %d is in sector %d, beyond the file's end at %d bytes; it may be cut short",
			ErrFormat, s.name, grain, sector, s.file.Size())
	}
	return place{is: data, at: sector * sectorSize}, nil
}

// length is how many bytes of the disk the grain holds; the last one may hold
// fewer than the others.
func (s *sparse) length(grain int64) int64 { return min(s.grain, s.size-grain*s.grain) }

func (s *sparse) read(p []byte, off int64) error {
	if s.h.Compressed() {
		return s.readCompressed(p, off)
	}
	c := cursor{s: s}
	for len(p) > 0 {
		first, n, err := s.run(&c, off, int64(len(p)))
		if err != nil {
			return err
		}
		if first.is != data {
			clear(p[:n])
		} else if err := readat.Full(s.file, p[:n], first.at); err != nil {
			return fmt.Errorf("%s: grain %d: %w", s.name, off/s.grain, err)
		}
		p, off = p[n:], off+n
	}
	return nil
}

// run says where the byte at off is, and how many bytes up to most follow it
// there.
func (s *sparse) run(c *cursor, off, most int64) (first place, n int64, err error) {
	grain := off / s.grain
	skip := off % s.grain
	if first, err = c.at(grain); err != nil {
		return place{}, 0, err
	}
	if first.is == data {
		first.at += skip
	}
	n = s.grain - skip
	for n < most {
		grain++
		next, err := c.at(grain)
		if err != nil {
			return place{}, 0, err
		}
		if next.is != first.is || first.is == data && next.at != first.at+n {
			break
		}
		n += s.grain
	}
	return first, min(n, most), nil
}

func (s *sparse) runs(off int64) iter.Seq2[run, error] {
	return func(yield func(run, error) bool) {
		c := cursor{s: s}
		for off < s.size {
			r, err := s.alike(&c, off)
			if !yield(r, err) || err != nil {
				return
			}
			off = r.end
		}
	}
}

// alike is the run that begins at off. It ends with its grain table at the
// latest, so that no step takes long.
func (s *sparse) alike(c *cursor, off int64) (run, error) {
	per := s.grain * tableEntries
	end := min((off/per+1)*per, s.size)
	if s.gd[off/per] == 0 {
		return run{off, end, absent}, nil
	}
	first, err := c.at(off / s.grain)
	if err != nil {
		return run{}, err
	}
	next := (off/s.grain + 1) * s.grain
	for ; next < end; next += s.grain {
		at, err := c.at(next / s.grain)
		if err != nil {
			return run{}, err
		}
		if at.is != first.is {
			break
		}
	}
	return run{off, min(next, end), first.is}, nil
}
