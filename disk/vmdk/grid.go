package vmdk

import (
	"fmt"
	"iter"
	"slices"

	"esxodus/disk/internal/readat"
)

// grid is what all sparse extents have in common: grains, whose places grain
// tables say.
type grid struct {
	name    string
	file    File
	size    int64 // bytes
	grain   int64 // bytes
	entries int64 // of a grain table
	width   int64 // bytes of an entry
	marked  bool  // a marker stands before each table
	tables  *pageCache
	index   index
}

// index finds and reads grain tables: what differs between the formats.
type index interface {
	// where is a grain table's offset in the file, 0 if there is none.
	where(table int64) (int64, error)
	// place is where a grain is by the table that it is in.
	place(t []byte, grain int64) (place, error)
}

// place is where a grain is.
type place struct {
	is presence
	at int64 // bytes into the file, of data
}

// cursor looks grains up; it remembers the last table.
type cursor struct {
	g     *grid
	index int64
	known bool
	table []byte // nil: there is none
}

// at is where the grain is. Its place in the file is checked against the file's
// bounds.
func (c *cursor) at(grain int64) (place, error) {
	i := grain / c.g.entries
	if !c.known || c.index != i {
		t, err := c.g.table(i)
		if err != nil {
			return place{}, err
		}
		c.table, c.index, c.known = t, i, true
	}
	if c.table == nil {
		return place{}, nil
	}
	return c.g.index.place(c.table, grain)
}

// within checks that what is said to be a grain's lies behind the metadata and in
// the file.
func (g *grid) within(grain, at, need, metadata int64) error {
	switch {
	case at < metadata:
		return fmt.Errorf("%w: %s: grain %d is in sector %d, among the metadata (which ends at %d)",
			ErrFormat, g.name, grain, at/sectorSize, metadata/sectorSize)
	case at > g.file.Size()-need:
		return fmt.Errorf("%w: %s: grain %d is in sector %d, beyond the file's end at %d bytes; it may be cut short",
			ErrFormat, g.name, grain, at/sectorSize, g.file.Size())
	}
	return nil
}

// length is how many bytes of the disk the grain holds; the last one may hold
// fewer than the others.
func (g *grid) length(grain int64) int64 { return min(g.grain, g.size-grain*g.grain) }

// read implements content.
func (g *grid) read(pieces []piece) (gaps []piece, err error) {
	c := cursor{g: g}
	var parts []piece
	for _, p := range pieces {
		for len(p.to) > 0 {
			first, n, err := g.run(&c, p.at, int64(len(p.to)))
			if err != nil {
				return nil, err
			}
			switch to := p.to[:n]; first.is {
			case data:
				parts = append(parts, piece{to, first.at})
			case zero:
				clear(to)
			default:
				gaps = append(gaps, piece{to, p.at})
			}
			p = piece{p.to[n:], p.at + n}
		}
	}
	if err := gather(g.file, parts); err != nil {
		return nil, fmt.Errorf("%s: %w", g.name, err)
	}
	return gaps, nil
}

// run says where the byte at off is, and how many bytes up to most follow it
// there.
func (g *grid) run(c *cursor, off, most int64) (first place, n int64, err error) {
	grain := off / g.grain
	skip := off % g.grain
	if first, err = c.at(grain); err != nil {
		return place{}, 0, err
	}
	if first.is == data {
		first.at += skip
	}
	n = g.grain - skip
	for n < most {
		grain++
		next, err := c.at(grain)
		if err != nil {
			return place{}, 0, err
		}
		if next.is != first.is || first.is == data && next.at != first.at+n {
			break
		}
		n += g.grain
	}
	return first, min(n, most), nil
}

func (g *grid) runs(off int64) iter.Seq2[run, error] {
	return func(yield func(run, error) bool) {
		c := cursor{g: g}
		for off < g.size {
			r, err := g.alike(&c, off)
			if !yield(r, err) || err != nil {
				return
			}
			off = r.end
		}
	}
}

// alike is the run that begins at off. It ends with its grain table at the
// latest, so that no step takes long.
func (g *grid) alike(c *cursor, off int64) (run, error) {
	per := g.grain * g.entries
	end := min((off/per+1)*per, g.size)
	first, err := c.at(off / g.grain)
	if err != nil {
		return run{}, err
	}
	next := (off/g.grain + 1) * g.grain
	if c.table == nil {
		next = end
	}
	for ; next < end; next += g.grain {
		at, err := c.at(next / g.grain)
		if err != nil {
			return run{}, err
		}
		if at.is != first.is {
			break
		}
	}
	return run{off, min(next, end), first.is}, nil
}

// table is the grain table of this index, as it is in the file, nil if there is
// none. Tables mostly lie side by side: some are read ahead.
func (g *grid) table(i int64) ([]byte, error) {
	if t := g.tables.get(page{g, i}); t != nil {
		return t, nil
	}
	at, err := g.index.where(i)
	if err != nil || at == 0 {
		return nil, err
	}
	if g.marked {
		return g.markedTable(i, at)
	}
	size, n := g.entries*g.width, int64(1)
	for n < max(aheadBytes/size, 1) && (i+n)*g.entries*g.grain < g.size {
		next, err := g.index.where(i + n)
		if err != nil || next != at+n*size {
			break // if it is wanted, the error comes again
		}
		n++
	}
	b := make([]byte, n*size)
	if err := readat.Full(g.file, b, at); err != nil {
		return nil, fmt.Errorf("%s: grain table %d in sector %d: %w", g.name, i, at/sectorSize, err)
	}
	for k := range n {
		g.tables.put(page{g, i + k}, slices.Clone(b[k*size:(k+1)*size])) // or one would keep all of b
	}
	return b[:size:size], nil
}

// markedTable reads a grain table with the marker before it.
func (g *grid) markedTable(i, at int64) ([]byte, error) {
	b := make([]byte, sectorSize+g.entries*g.width)
	if err := readat.Full(g.file, b, at-sectorSize); err != nil {
		return nil, fmt.Errorf("%s: grain table %d in sector %d: %w", g.name, i, at/sectorSize, err)
	}
	if m := parseMarker(b); m != (marker{count: uint64(g.entries * g.width / sectorSize), kind: markerTable}) {
		return nil, fmt.Errorf("%w: %s: sector %d: want the marker of grain table %d, found %v", ErrFormat, g.name, at/sectorSize-1, i, m)
	}
	g.tables.put(page{g, i}, b[sectorSize:])
	return b[sectorSize:], nil
}
