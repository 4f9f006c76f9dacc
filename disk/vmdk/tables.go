package vmdk

import (
	"container/list"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"esxodus/disk/internal/readat"
)

const (
	tableCacheBytes = 4 << 20
	// maxDirectories bounds the memory of an image's grain directories: twice
	// what 64 TiB in grains of the usual size need.
	maxDirectories = 16 << 20 // bytes
	tableAhead     = 32       // tables read at once where they lie side by side
)

// table is a grain table: the sector in the file of each grain.
type table [tableEntries]uint32

func (t *table) decode(b []byte) {
	for i := range t {
		t[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
}

// tableKey names a grain table of an extent.
type tableKey struct {
	extent *sparse
	index  int64
}

// tableCache keeps the grain tables used last. Tables that it has given out
// stay valid.
type tableCache struct {
	mu    sync.Mutex
	max   int
	items map[tableKey]*list.Element
	order list.List // of *tableItem, last used first
}

type tableItem struct {
	key   tableKey
	table table
}

func newTableCache(bytes int) *tableCache {
	return &tableCache{max: bytes / (4 * tableEntries), items: map[tableKey]*list.Element{}}
}

func (c *tableCache) get(k tableKey) *table {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return &e.Value.(*tableItem).table //nolint:errcheck // the list holds nothing else
}

func (c *tableCache) put(it *tableItem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[it.key]; ok {
		return
	}
	c.items[it.key] = c.order.PushFront(it)
	for c.order.Len() > c.max {
		old := c.order.Remove(c.order.Back()).(*tableItem) //nolint:errcheck // the list holds nothing else
		delete(c.items, old.key)
	}
}

// table is the grain table of this index; its directory entry isn't 0.
func (s *sparse) table(index int64) (*table, error) {
	if t := s.tables.get(tableKey{s, index}); t != nil {
		return t, nil
	}
	if s.footer {
		return s.markedTable(index)
	}
	// Tables mostly lie side by side: read some ahead.
	n := int64(1)
	for n < tableAhead && index+n < int64(len(s.gd)) && int64(s.gd[index+n]) == int64(s.gd[index])+n*tableSectors {
		n++
	}
	b := make([]byte, n*tableSectors*sectorSize)
	at := int64(s.gd[index]) * sectorSize
	if err := readat.Full(s.file, b, at); err != nil {
		return nil, fmt.Errorf("%s: grain table %d in sector %d: %w", s.name, index, s.gd[index], err)
	}
	var first *table
	for i := range n {
		it := &tableItem{key: tableKey{s, index + i}}
		it.table.decode(b[i*tableSectors*sectorSize:])
		if i == 0 {
			first = &it.table
		}
		s.tables.put(it)
	}
	return first, nil
}

// markedTable reads a grain table with the marker before it.
func (s *sparse) markedTable(index int64) (*table, error) {
	var b [(1 + tableSectors) * sectorSize]byte
	sector := int64(s.gd[index])
	if err := readat.Full(s.file, b[:], (sector-1)*sectorSize); err != nil {
		return nil, fmt.Errorf("%s: grain table %d in sector %d: %w", s.name, index, sector, err)
	}
	if m := parseMarker(b[:]); m != (marker{count: tableSectors, kind: markerTable}) {
		return nil, fmt.Errorf("%w: %s: sector %d: want the marker of grain table %d, found %v", ErrFormat, s.name, sector-1, index, m)
	}
	it := &tableItem{key: tableKey{s, index}}
	it.table.decode(b[sectorSize:])
	s.tables.put(it)
	return &it.table, nil
}

// loadDirectory reads the grain directory and checks that what it points to
// can be grain tables: inside the file, clear of header, descriptor and
// directory, and of each other.
func (s *sparse) loadDirectory(budget *int64) error {
	n := s.h.tables()
	bytes := n * 4
	at := s.h.Directory * sectorSize
	if bytes > maxDirectories-*budget {
		return fmt.Errorf("%w: %d grain tables: too many to keep in memory", ErrUnsupported, n)
	}
	*budget += bytes
	if at > s.file.Size()-bytes {
		return fmt.Errorf("%w: header offset 56: grain directory of %d bytes at %d: the file has only %d; it may be cut short",
			ErrFormat, bytes, at, s.file.Size())
	}
	b := make([]byte, bytes)
	if err := readat.Full(s.file, b, at); err != nil {
		return fmt.Errorf("grain directory in sector %d: %w", s.h.Directory, err)
	}
	s.gd = make([]uint32, n)
	for i := range s.gd {
		s.gd[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return s.checkDirectory(sectors(bytes))
}

func sectors(bytes int64) int64 { return (bytes + sectorSize - 1) / sectorSize }

// region is a range of sectors of the file.
type region struct {
	what        string
	from, count int64
}

func (r region) overlaps(from, count int64) bool {
	return from < r.from+r.count && r.from < from+count
}

func (s *sparse) checkDirectory(size int64) error {
	taken := []region{
		{"the header", 0, 1},
		{"the descriptor", s.h.DescriptorOffset, s.h.DescriptorSize},
		{"the grain directory", s.h.Directory, size},
	}
	for _, r := range taken[:2] {
		if r.overlaps(s.h.Directory, size) {
			return fmt.Errorf("%w: header offset 56: the grain directory in sector %d overlaps %s", ErrFormat, s.h.Directory, r.what)
		}
	}
	for i, at := range s.gd {
		if at == 0 {
			continue
		}
		if (int64(at)+tableSectors)*sectorSize > s.file.Size() {
			return fmt.Errorf("%w: grain directory entry %d: sector %d is beyond the file's end at %d bytes; it may be cut short",
				ErrFormat, i, at, s.file.Size())
		}
		for _, r := range taken {
			if r.overlaps(int64(at), tableSectors) {
				return fmt.Errorf("%w: grain directory entry %d: sector %d overlaps %s", ErrFormat, i, at, r.what)
			}
		}
	}
	sorted := slices.Clone(s.gd)
	slices.Sort(sorted)
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1] != 0 && sorted[i]-sorted[i-1] < tableSectors {
			return fmt.Errorf("%w: grain directory: two grain tables share sector %d", ErrFormat, sorted[i])
		}
	}
	return nil
}
