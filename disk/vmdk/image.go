package vmdk

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sort"

	"esxodus/disk"
)

// Image is an open disk. It is a [disk.Image]; several goroutines may read it.
type Image struct {
	desc   Descriptor
	parts  []part
	size   int64
	files  []io.Closer
	notes  []string
	states []string // of the files that tell
	tables *tableCache
	gds    int64 // bytes of grain directories in memory
}

// part is an extent in its place. Its data are asked for bytes below its size
// only.
type part struct {
	start, size int64 // bytes
	data        content
}

// content is what an extent holds.
type content interface {
	// read fills p from off or gives an error.
	read(p []byte, off int64) error
	// extents is what [disk.ExtentsFrom] yields, but not merged and not
	// necessarily beginning before off.
	extents(off int64) iter.Seq2[disk.Extent, error]
}

func (m *Image) own(f File) {
	if c, ok := f.(io.Closer); ok {
		m.files = append(m.files, c)
	}
	if v, ok := f.(interface {
		Name() string
		Version() string
	}); ok {
		m.states = append(m.states, v.Name()+": "+v.Version())
	}
}

func (m *Image) add(size int64, c content) {
	if z, ok := c.(zeros); ok {
		z.size = size
		c = z
	}
	m.parts = append(m.parts, part{start: m.size, size: size, data: c})
	m.size += size
}

// Close closes the files.
func (m *Image) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	m.files = nil
	return errors.Join(errs...)
}

// Size is the disk's size in bytes.
func (m *Image) Size() int64 { return m.size }

// Descriptor is the disk's description. It must not be changed.
func (m *Image) Descriptor() Descriptor { return m.desc }

// Format is the disk's createType, as the descriptor writes it.
func (m *Image) Format() string { return m.desc.CreateType }

// Notes are sentences about what the user should know of the disk's state.
func (m *Image) Notes() []string { return slices.Clone(m.notes) }

// Versions say which state of its files the image reads, one for each file that
// tells: a [File] with a Name and a Version.
func (m *Image) Versions() []string { return slices.Clone(m.states) }

// ReadAt reads as [io.ReaderAt] says.
func (m *Image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at negative offset %d", off)
	}
	want := p[:max(0, min(int64(len(p)), m.size-off))]
	n := 0
	for i := m.find(off); n < len(want); i++ {
		e := &m.parts[i]
		at := off + int64(n) - e.start
		k := min(int64(len(want)-n), e.size-at)
		if err := e.data.read(want[n:n+int(k)], at); err != nil {
			return n, err
		}
		n += int(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// find is the index of the part that holds off.
func (m *Image) find(off int64) int {
	return sort.Search(len(m.parts), func(i int) bool { return off < m.parts[i].start+m.parts[i].size })
}

// Extents yields what is data and what is zero, adjacent runs merged. Grain
// tables are read as it goes.
func (m *Image) Extents() iter.Seq2[disk.Extent, error] { return m.ExtentsFrom(0) }

// ExtentsFrom is Extents without what lies before off.
func (m *Image) ExtentsFrom(off int64) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		var run disk.Extent
		for e, err := range m.unmerged(max(off, 0)) {
			switch {
			case err != nil:
				if run.Length == 0 || yield(run, nil) {
					yield(disk.Extent{}, err)
				}
				return
			case run.Length > 0 && run.Kind == e.Kind:
				run.Length += e.Length
				continue
			case run.Length > 0 && !yield(run, nil):
				return
			}
			run = e
		}
		if run.Length > 0 {
			yield(run, nil)
		}
	}
}

func (m *Image) unmerged(off int64) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for i := m.find(off); i < len(m.parts); i++ {
			p := &m.parts[i]
			for e, err := range p.data.extents(max(off-p.start, 0)) {
				e.Offset += p.start
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

// zeros is the content of a ZERO extent.
type zeros struct{ size int64 }

func (zeros) read(p []byte, _ int64) error {
	clear(p)
	return nil
}

func (z zeros) extents(off int64) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		yield(disk.Extent{Offset: off, Length: z.size - off, Kind: disk.Zero}, nil)
	}
}

// flat is the content of a flat extent: a range of a file.
type flat struct {
	file       File
	from, size int64 // bytes
}

func (f *flat) read(p []byte, off int64) error { return readFull(f.file, p, f.from+off) }

func (f *flat) extents(off int64) iter.Seq2[disk.Extent, error] {
	img, ok := f.file.(disk.Image)
	if !ok {
		return func(yield func(disk.Extent, error) bool) {
			yield(disk.Extent{Offset: off, Length: f.size - off}, nil)
		}
	}
	return func(yield func(disk.Extent, error) bool) {
		for e, err := range disk.ExtentsFrom(img, f.from+off) {
			if err != nil {
				yield(e, err)
				return
			}
			start := max(e.Offset-f.from, off)
			end := min(e.Offset+e.Length-f.from, f.size)
			if end <= start || !yield(disk.Extent{Offset: start, Length: end - start, Kind: e.Kind}, nil) || end == f.size {
				return
			}
		}
	}
}
