package vmdk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"esxodus/disk/internal/readat"
)

// sparse is the content of a hosted sparse extent, compressed or not.
type sparse struct {
	grid
	h       Header
	gd      []uint32
	scratch sync.Pool // of *inflater
}

// newSparse opens the sparse extent in f.
func (m *Image) newSparse(name string, f File) (*sparse, error) {
	b, err := head(f, sectorSize)
	if err != nil {
		return nil, err
	}
	s := &sparse{grid: grid{name: name, file: f, entries: tableEntries, width: 4, tables: m.tables}}
	s.index = s
	if s.h, err = ParseHeader(b); err != nil {
		return nil, err
	}
	if s.h.Directory < 0 {
		if err := s.readFooter(); err != nil {
			return nil, err
		}
	}
	s.size, s.grain = s.h.Capacity*sectorSize, s.h.GrainSize*sectorSize
	return s, s.loadDirectory(m.directories)
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

// where implements index.
func (s *sparse) where(table int64) (int64, error) { return int64(s.gd[table]) * sectorSize, nil }

// place implements index.
func (s *sparse) place(t []byte, grain int64) (place, error) {
	sector := int64(binary.LittleEndian.Uint32(t[grain%tableEntries*4:]))
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
	return place{is: data, at: sector * sectorSize}, s.within(grain, sector*sectorSize, need, max(s.h.Overhead, 1)*sectorSize)
}

// read implements content.
func (s *sparse) read(pieces []piece) (gaps []piece, err error) {
	if !s.h.Compressed() {
		return s.grid.read(pieces)
	}
	for _, p := range pieces {
		some, err := s.readCompressed(p.to, p.at)
		if err != nil {
			return nil, err
		}
		gaps = append(gaps, some...)
	}
	return gaps, nil
}
