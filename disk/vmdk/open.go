package vmdk

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"

	"esxodus/disk/internal/readat"
)

// Open opens a disk by its descriptor, or by the file of a monolithic sparse
// or streamOptimized one. The image must be closed. Disks that are understood
// but not read give an error wrapping [ErrUnsupported], files that can't be
// right one wrapping [ErrFormat]; see also [Image.Notes]. A snapshot is opened with
// all disks that it stands on: the image is the disk as the VM sees it.
func Open(o Opener, name string) (*Image, error) {
	m := &Image{tables: newPageCache(tableCacheBytes), directories: new(int64)}
	if err := m.open(o, name); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), m.Close())
	}
	return m, nil
}

func (m *Image) open(o Opener, name string) error {
	f, err := o.Open(name)
	if err != nil {
		return err
	}
	m.own(f)
	start, err := head(f, sectorSize)
	if err != nil {
		return err
	}
	switch begins := func(magic string) bool { return bytes.HasPrefix(start, []byte(magic)) }; {
	case begins(sparseMagic):
		return m.openMonolithic(o, name, f)
	case begins(cowdMagic), begins(seMagic):
		return fmt.Errorf("%w: the data of a snapshot, without its description; give the descriptor instead%s", ErrFormat, describedBy(name))
	}
	if !IsDescriptor(start) || f.Size() > maxDescriptor {
		return notDescriptor(name, f.Size())
	}
	text, err := head(f, maxDescriptor)
	if err != nil {
		return err
	}
	return m.openDescribed(o, text)
}

// head is the first n bytes of f, or all if it has fewer.
func head(f File, n int64) ([]byte, error) {
	b := make([]byte, min(n, max(f.Size(), 0)))
	if err := readat.Full(f, b, 0); err != nil {
		return nil, fmt.Errorf("reading its first %d bytes: %w", len(b), err)
	}
	return b, nil
}

// partOfDisk matches the names of files that hold data which a descriptor of
// another name describes.
var partOfDisk = regexp.MustCompile(`(?i)^(.+)-(flat|f[0-9]{3}|s[0-9]{3}|rdmp?|ctk|delta|sesparse)\.vmdk$`)

// notDescriptor says what a file without a descriptor may be.
func notDescriptor(name string, size int64) error {
	if size <= 0 {
		return fmt.Errorf("%w: the file is empty", ErrFormat)
	}
	if by := describedBy(name); by != "" {
		return fmt.Errorf("%w: this is a part of a disk, without its description; give the descriptor instead%s", ErrFormat, by)
	}
	return fmt.Errorf("%w: neither a descriptor nor a sparse extent; if it is raw data, give the descriptor that names it", ErrFormat)
}

// describedBy guesses the descriptor of a file with data by its name, for a sentence.
func describedBy(name string) string {
	if m := partOfDisk.FindStringSubmatch(name); m != nil {
		return fmt.Sprintf(", most likely %q", m[1]+".vmdk")
	}
	return ""
}

// openMonolithic opens a sparse extent that embeds its descriptor.
func (m *Image) openMonolithic(o Opener, name string, f File) error {
	s, err := m.newSparse(name, f)
	if err != nil {
		return err
	}
	if s.h.DescriptorOffset == 0 {
		return fmt.Errorf("%w: one extent of a split disk; give the descriptor that names it", ErrFormat)
	}
	text, err := s.descriptor()
	if err != nil {
		return err
	}
	if m.desc, err = ParseDescriptor(text); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	if _, err := supported(&m.desc); err != nil {
		return err
	}
	if len(m.desc.Extents) != 1 || m.desc.Extents[0].Kind != "SPARSE" {
		return fmt.Errorf("%w: embedded descriptor: want one SPARSE extent, the file itself", ErrFormat)
	}
	if err := m.appendSparse(m.desc.Extents[0], s); err != nil {
		return err
	}
	return m.openParent(o)
}

// openDescribed opens the extents of a descriptor.
func (m *Image) openDescribed(o Opener, text []byte) error {
	var err error
	if m.desc, err = ParseDescriptor(text); err != nil {
		return err
	}
	types, err := supported(&m.desc)
	if err != nil {
		return err
	}
	used := map[string][]Extent{}
	for i, e := range m.desc.Extents {
		if err := m.openExtent(o, e, types, used); err != nil {
			return fmt.Errorf("extent %d: %w", i+1, err)
		}
	}
	return m.openParent(o)
}

// openExtent opens the file of e. used are the extents so far, by file.
func (m *Image) openExtent(o Opener, e Extent, types extentTypes, used map[string][]Extent) error {
	if e.Kind == "ZERO" {
		m.add(e.Sectors*sectorSize, zeros{})
		return nil
	}
	if err := checkName(e.Name); err != nil {
		return err
	}
	for _, u := range used[e.Name] {
		if e.Offset < u.Offset+u.Sectors && u.Offset < e.Offset+e.Sectors {
			return fmt.Errorf("%w: %q holds another extent's data already", ErrFormat, e.Name)
		}
	}
	used[e.Name] = append(used[e.Name], e)
	f, err := o.Open(e.Name)
	if err != nil {
		return err
	}
	m.own(f)
	return types[e.Kind](m, e, f)
}

// addFlat appends the flat extent e, whose bytes are in f.
func (m *Image) addFlat(e Extent, f File) error {
	from, n := e.Offset*sectorSize, e.Sectors*sectorSize
	if f.Size() < from+n {
		return fmt.Errorf("%w: %s has %d bytes, the descriptor says %d from offset %d; the copy isn't complete",
			ErrFormat, e.Name, f.Size(), n, from)
	}
	m.add(n, &flat{file: f, from: from, size: n})
	return nil
}

// addSparse appends the sparse extent e, which is the file f.
func (m *Image) addSparse(e Extent, f File) error {
	s, err := m.newSparse(e.Name, f)
	if err == nil {
		err = m.appendSparse(e, s)
	}
	return in(e.Name, err)
}

// in says which file an error is about.
func in(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", file, err)
}

// appendSparse appends s as the extent e.
func (m *Image) appendSparse(e Extent, s *sparse) error {
	return m.appendGrid(e, &s.grid, s, s.h.Unclean)
}

// appendGrid appends c, whose grains are g's, as the extent e.
func (m *Image) appendGrid(e Extent, g *grid, c content, unclean bool) error {
	if e.Offset != 0 {
		return fmt.Errorf("%w: a sparse extent with offset %d", ErrFormat, e.Offset)
	}
	if e.Sectors*sectorSize != g.size {
		return fmt.Errorf("%w: header: capacity of %d sectors, the descriptor says %d", ErrFormat, g.size/sectorSize, e.Sectors)
	}
	if unclean {
		m.notes = append(m.notes, fmt.Sprintf("%s wasn't closed properly by the program that wrote it last", g.name))
	}
	m.add(g.size, c)
	return nil
}
