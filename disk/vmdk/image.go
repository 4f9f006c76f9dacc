package vmdk

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"sort"

	"esxodus/disk"
)

// Image is an open disk. It is a [disk.Image]; several goroutines may read it.
type Image struct {
	desc   Descriptor
	parts  []part
	size   int64
	parent *Image // holds what is absent here; nil: nothing does
	files  []io.Closer
	notes  []string
	states []string // of the files that tell

	// Of the whole chain:
	tables      *pageCache
	directories *int64 // bytes of grain directories in memory
	depth       int    // how many disks stand on this one
}

// part is an extent in its place. Its data are asked for bytes below its size
// only.
type part struct {
	start, size int64 // bytes
	data        content
}

// content is what an extent holds.
type content interface {
	// read fills pieces, which ascend, but for what is absent, which it lists
	// likewise. Their places are counted from the extent's start.
	read(pieces []piece) (gaps []piece, err error)
	// runs yields what is where from off on: runs that ascend and touch, up to
	// the extent's end. Neighbours may be alike.
	runs(off int64) iter.Seq2[run, error]
}

// presence says whether an extent holds the bytes of a place.
type presence uint8

const (
	absent presence = iota // no: they are the parent's, or zeros if there is none
	zero                   // yes: zeros, which take no room
	data                   // yes
)

// run is a range of an extent, all of it alike.
type run struct {
	from, end int64 // bytes
	is        presence
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
	if m.parent != nil {
		errs = append(errs, m.parent.Close())
	}
	return errors.Join(errs...)
}

// Size is the disk's size in bytes.
func (m *Image) Size() int64 { return m.size }

// Descriptor is the disk's description, of a snapshot that of its newest link. It must
// not be changed.
func (m *Image) Descriptor() Descriptor { return m.desc }

// Format is the disk's createType, as the descriptor writes it.
func (m *Image) Format() string { return m.desc.CreateType }

// Chain is how many disks the image is made of: 1, and one for each snapshot beneath it.
func (m *Image) Chain() int {
	n := 0
	for ; m != nil; m = m.parent {
		n++
	}
	return n
}

// Notes are sentences about what the user should know of the disk's state.
func (m *Image) Notes() []string { return m.gathered(func(l *Image) []string { return l.notes }) }

// Versions say which state of its files the image reads, one for each file that
// tells: a [File] with a Name and a Version.
func (m *Image) Versions() []string { return m.gathered(func(l *Image) []string { return l.states }) }

// gathered is what all links of the chain have to say.
func (m *Image) gathered(of func(*Image) []string) []string {
	var out []string
	for ; m != nil; m = m.parent {
		out = append(out, of(m)...)
	}
	return out
}

// ReadAt reads as [io.ReaderAt] says.
func (m *Image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at negative offset %d", off)
	}
	want := p[:max(0, min(int64(len(p)), m.size-off))]
	if len(want) > 0 {
		if err := m.read([]piece{{want, off}}); err != nil {
			return 0, err
		}
	}
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(p), nil
}

// read fills pieces, which ascend, from the whole chain: link by link, so that only
// one of them at a time needs memory for it.
func (m *Image) read(pieces []piece) error {
	var all []piece
	for len(pieces) > 0 {
		var mine []piece
		e := &m.parts[m.find(pieces[0].at)]
		mine, pieces = e.share(pieces)
		gaps, err := e.data.read(mine)
		if err != nil {
			return err
		}
		for _, g := range gaps {
			all = append(all, piece{g.to, g.at + e.start})
		}
	}
	if m.parent != nil {
		return m.parent.read(all)
	}
	for _, g := range all {
		clear(g.to)
	}
	return nil
}

// share takes what is the part's off pieces, the first of which begins in it.
func (e *part) share(pieces []piece) (mine, rest []piece) {
	for len(pieces) > 0 && pieces[0].at < e.start+e.size {
		p := &pieces[0]
		n := min(int64(len(p.to)), e.start+e.size-p.at)
		mine = append(mine, piece{p.to[:n], p.at - e.start})
		if n < int64(len(p.to)) {
			p.to, p.at = p.to[n:], p.at+n
			break
		}
		pieces = pieces[1:]
	}
	return mine, pieces
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
		var last disk.Extent
		for e, err := range m.unmerged(max(off, 0)) {
			switch {
			case err != nil:
				if last.Length == 0 || yield(last, nil) {
					yield(disk.Extent{}, err)
				}
				return
			case last.Length > 0 && last.Kind == e.Kind:
				last.Length += e.Length
				continue
			case last.Length > 0 && !yield(last, nil):
				return
			}
			last = e
		}
		if last.Length > 0 {
			yield(last, nil)
		}
	}
}

func (m *Image) unmerged(off int64) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for i := m.find(off); i < len(m.parts); i++ {
			p := &m.parts[i]
			for r, err := range p.data.runs(max(off-p.start, 0)) {
				if err != nil {
					yield(disk.Extent{}, err)
					return
				}
				if !m.yieldRun(disk.Extent{Offset: p.start + r.from, Length: r.end - r.from, Kind: disk.Zero}, r.is, yield) {
					return
				}
			}
		}
	}
}

// yieldRun yields the extents of a run: one, or the parent's where it is absent. False
// ends it.
func (m *Image) yieldRun(e disk.Extent, is presence, yield func(disk.Extent, error) bool) bool {
	if is == data {
		e.Kind = disk.Data
	}
	if is != absent || m.parent == nil {
		return yield(e, nil)
	}
	end := e.Offset + e.Length
	for x, err := range m.parent.unmerged(e.Offset) {
		if err != nil {
			yield(disk.Extent{}, err)
			return false
		}
		x.Length = min(x.Length, end-x.Offset)
		if !yield(x, nil) {
			return false
		}
		if x.Offset+x.Length == end {
			break
		}
	}
	return true
}

// zeros is the content of a ZERO extent.
type zeros struct{ size int64 }

func (zeros) read(pieces []piece) ([]piece, error) {
	for _, p := range pieces {
		clear(p.to)
	}
	return nil, nil
}

func (z zeros) runs(off int64) iter.Seq2[run, error] {
	return func(yield func(run, error) bool) { yield(run{off, z.size, zero}, nil) }
}

// flat is the content of a flat extent: a range of a file.
type flat struct {
	file       File
	from, size int64 // bytes
}

func (f *flat) read(pieces []piece) ([]piece, error) {
	for i := range pieces {
		pieces[i].at += f.from
	}
	return nil, gather(f.file, pieces)
}

func (f *flat) runs(off int64) iter.Seq2[run, error] {
	img, ok := f.file.(disk.Image)
	if !ok {
		return func(yield func(run, error) bool) { yield(run{off, f.size, data}, nil) }
	}
	return func(yield func(run, error) bool) {
		for e, err := range disk.ExtentsFrom(img, f.from+off) {
			if err != nil {
				yield(run{}, err)
				return
			}
			r := run{max(e.Offset-f.from, off), min(e.Offset+e.Length-f.from, f.size), zero}
			if e.Kind == disk.Data {
				r.is = data
			}
			if r.end <= r.from || !yield(r, nil) || r.end == f.size {
				return
			}
		}
	}
}
