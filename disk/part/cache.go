package part

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"esxodus/disk"
)

// What a [Cache] holds at most: 256 blocks of 64 KiB, 16 MiB. A read through a network
// costs a round trip, so a block is about what one carries; a read of up to four blocks
// is one.
const (
	cacheBlock  = 64 << 10
	cacheBlocks = 256
	cacheRun    = 4
)

// Cache holds blocks of some disks that were read recently, for looks that read here and
// there a few bytes: 16 MiB of all disks together at most. Its zero value is empty.
// Several goroutines may use its images; one at a time reads from what is below.
type Cache struct {
	mu     sync.Mutex
	images int
	blocks map[blockKey]*list.Element
	recent list.List // of cacheEntry, latest first
	spare  [][]byte  // of blocks that were forgotten
	run    []byte    // what several blocks are read into
}

type blockKey struct {
	image  int
	number int64
}

type cacheEntry struct {
	key  blockKey
	data []byte
}

// Image is img with the cache. What is longer than four blocks isn't kept.
func (c *Cache) Image(img disk.Image) disk.Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.images++
	return &cached{cache: c, number: c.images, img: img}
}

// Forget empties the cache, whose images aren't used any more, but keeps its memory for
// the next ones.
func (c *Cache) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.recent.Len() > 0 {
		c.spare = append(c.spare, c.drop())
	}
}

// drop forgets the oldest block and returns its memory.
func (c *Cache) drop() []byte {
	e := c.recent.Remove(c.recent.Back()).(cacheEntry) //nolint:errcheck // nothing else is ever put in
	delete(c.blocks, e.key)
	return e.data[:cacheBlock]
}

// find returns a block, nil where it isn't held.
func (c *Cache) find(key blockKey) []byte {
	e, ok := c.blocks[key]
	if !ok {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(cacheEntry).data //nolint:errcheck // as above
}

// keep holds a copy of a block.
func (c *Cache) keep(key blockKey, data []byte) {
	var own []byte
	switch last := len(c.spare) - 1; {
	case c.recent.Len() == cacheBlocks:
		own = c.drop()
	case last >= 0:
		own, c.spare = c.spare[last], c.spare[:last]
	default:
		own = make([]byte, cacheBlock)
	}
	if c.blocks == nil {
		c.blocks = make(map[blockKey]*list.Element)
	}
	c.blocks[key] = c.recent.PushFront(cacheEntry{key: key, data: own[:copy(own, data)]})
}

// Cached is img with a cache of its own, or img itself if it has one already.
func Cached(img disk.Image) disk.Image {
	return Through(img, func(img disk.Image) disk.Image { return img })
}

// Through is img with a cache, that of img if it has one, and reads what isn't held by
// way of what wrap makes of the image below, which has the same bytes.
func Through(img disk.Image, wrap func(disk.Image) disk.Image) disk.Image {
	if c, ok := img.(*cached); ok {
		return &cached{cache: c.cache, number: c.number, img: wrap(c.img)}
	}
	return new(Cache).Image(wrap(img))
}

// cached is an image with a cache.
type cached struct {
	cache  *Cache
	number int // among the cache's images
	img    disk.Image
}

func (c *cached) Size() int64 { return c.img.Size() }

func (c *cached) Extents() iter.Seq2[disk.Extent, error] { return c.img.Extents() }

// ExtentsFrom yields the image's extents from the one that holds off.
func (c *cached) ExtentsFrom(off int64) iter.Seq2[disk.Extent, error] {
	return disk.ExtentsFrom(c.img, off)
}

func (c *cached) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at %d: negative offset", off)
	}
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if len(p) > cacheRun*cacheBlock {
		return c.img.ReadAt(p, off)
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= c.img.Size() {
			return n, io.EOF
		}
		b, err := c.from(at/cacheBlock, (off+int64(len(p))-1)/cacheBlock)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], b[at%cacheBlock:])
	}
	return n, nil
}

// from returns the block with a number, or that and others behind it, up to the last one
// that is wanted: those that it has to read for it. The last block of an image may be
// shorter. What it returns is good until the next call.
func (c *cached) from(number, last int64) ([]byte, error) {
	if b := c.cache.find(blockKey{c.number, number}); b != nil {
		return b, nil
	}
	count := int64(1)
	for number+count <= last && count < cacheRun && c.cache.blocks[blockKey{c.number, number + count}] == nil {
		count++
	}
	if c.cache.run == nil {
		c.cache.run = make([]byte, cacheRun*cacheBlock)
	}
	off := number * cacheBlock
	data := c.cache.run[:min(count*cacheBlock, c.img.Size()-off)]
	if n, err := c.img.ReadAt(data, off); n < len(data) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading %d bytes at %d: %w", len(data), off, err)
	}
	for at := int64(0); at < int64(len(data)); at += cacheBlock {
		c.cache.keep(blockKey{c.number, number + at/cacheBlock}, data[at:min(at+cacheBlock, int64(len(data)))])
	}
	return data, nil
}
