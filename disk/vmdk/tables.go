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
	tableCacheBytes = 8 << 20 // of a whole chain
	// maxDirectories bounds the memory of a chain's grain directories: twice
	// what 64 TiB in grains of the usual size need.
	maxDirectories = 16 << 20 // bytes
	aheadBytes     = 64 << 10 // of tables that are read at once where they lie side by side
)

// page names some metadata of an extent: a grain table, or with a negative number
// a part of the directory.
type page struct {
	extent *grid
	number int64
}

// pageCache keeps the metadata used last. What it has given out stays valid.
type pageCache struct {
	mu    sync.Mutex
	max   int // bytes
	bytes int
	items map[page]*list.Element
	order list.List // of *pageItem, last used first
}

type pageItem struct {
	key  page
	text []byte
}

func newPageCache(bytes int) *pageCache {
	return &pageCache{max: bytes, items: map[page]*list.Element{}}
}

func (c *pageCache) get(k page) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*pageItem).text //nolint:errcheck // the list holds nothing else
}

func (c *pageCache) put(k page, text []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[k]; ok {
		return
	}
	c.items[k] = c.order.PushFront(&pageItem{k, text})
	for c.bytes += len(text); c.bytes > c.max && c.order.Len() > 1; {
		old := c.order.Remove(c.order.Back()).(*pageItem) //nolint:errcheck // the list holds nothing else
		delete(c.items, old.key)
		c.bytes -= len(old.text)
	}
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
	return checkTables(s.gd, tableSectors, s.file.Size(), []region{
		{"the grain directory", s.h.Directory, sectors(bytes)},
		{"the header", 0, 1},
		{"the descriptor", s.h.DescriptorOffset, s.h.DescriptorSize},
	})
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

// checkTables checks the sectors in which a directory says that grain tables of some
// sectors are: in the file, and clear of each other and of what is taken, of
// which the first is the directory itself.
func checkTables(gd []uint32, length, file int64, taken []region) error {
	for _, r := range taken[1:] {
		if r.overlaps(taken[0].from, taken[0].count) {
			return fmt.Errorf("%w: %s in sector %d overlaps %s", ErrFormat, taken[0].what, taken[0].from, r.what)
		}
	}
	for i, at := range gd {
		if at == 0 {
			continue
		}
		if (int64(at)+length)*sectorSize > file {
			return fmt.Errorf("%w: grain directory entry %d: sector %d is beyond the file's end at %d bytes; it may be cut short",
				ErrFormat, i, at, file)
		}
		for _, r := range taken {
			if r.overlaps(int64(at), length) {
				return fmt.Errorf("%w: grain directory entry %d: sector %d overlaps %s", ErrFormat, i, at, r.what)
			}
		}
	}
	sorted := slices.Clone(gd)
	slices.Sort(sorted)
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1] != 0 && int64(sorted[i]-sorted[i-1]) < length {
			return fmt.Errorf("%w: grain directory: two grain tables share sector %d", ErrFormat, sorted[i])
		}
	}
	return nil
}
