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

// What a cache of [Cached] holds at most: 256 blocks of 64 KiB, 16 MiB. A read
// through a network costs a round trip, so a block is about what one carries.
const (
	cacheBlock  = 64 << 10
	cacheBlocks = 256
)

// Cached is img with a cache of recently read blocks, for looks that read here
// and there a few bytes. It holds at most 16 MiB, and what is longer than a block of
// it isn't kept. Several goroutines may read; one at a time reads from img.
func Cached(img disk.Image) disk.Image {
	return &cached{img: img, blocks: map[int64]*list.Element{}}
}

type cached struct {
	img disk.Image

	mu     sync.Mutex
	blocks map[int64]*list.Element // by block number
	recent list.List               // of cacheEntry, latest first
}

type cacheEntry struct {
	number int64
	data   []byte
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) > cacheBlock {
		return c.img.ReadAt(p, off)
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= c.img.Size() {
			return n, io.EOF
		}
		b, err := c.block(at / cacheBlock)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], b[at%cacheBlock:])
	}
	return n, nil
}

// block returns the whole block, shorter only at the end of the image.
func (c *cached) block(number int64) ([]byte, error) {
	if e, ok := c.blocks[number]; ok {
		c.recent.MoveToFront(e)
		return e.Value.(cacheEntry).data, nil //nolint:errcheck // nothing else is ever put in
	}
	off := number * cacheBlock
	data := make([]byte, min(cacheBlock, c.img.Size()-off))
	if n, err := c.img.ReadAt(data, off); n < len(data) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading %d bytes at %d: %w", len(data), off, err)
	}
	if c.recent.Len() == cacheBlocks {
		oldest := c.recent.Back()
		delete(c.blocks, c.recent.Remove(oldest).(cacheEntry).number) //nolint:errcheck // as above
	}
	c.blocks[number] = c.recent.PushFront(cacheEntry{number: number, data: data})
	return data, nil
}
