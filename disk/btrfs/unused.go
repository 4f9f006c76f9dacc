package btrfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"sort"

	"esxodus/disk"
	"esxodus/disk/internal/freemap"
)

// What is known to change nothing of what this reads.
const (
	incompatKnown = 0x10fff // all up to RAID1C34, and simple quotas: not zoned, nor a tree of stripes, nor extent trees of version 2
	readOnlyKnown = 0xf     // tree of free space, verity, tree of block groups
	superKnown    = 0x3     // flags of the superblock: written, relocated
)

const (
	chunkSystem, chunkMeta = 0x2, 0x4
	chunkTypes             = 0x7  // data, too
	chunkTwice             = 0x20 // profile: two copies on a device
	maxChunks              = 1 << 16

	startBytes = 1 << 20 // kept at the start of the device
)

// copies are where the superblock's copies on a device are, each in its own 64 KiB.
func copies() []disk.Range {
	return []disk.Range{{Offset: 64 << 20, Length: 64 << 10}, {Offset: 256 << 30, Length: 64 << 10}}
}

// chunk is where a chunk with tree blocks has its first copy, bytes.
type chunk struct {
	address, length uint64
	offset          int64
}

// Unused yields the runs of bytes, from the start of the device, that hold
// nothing: ascending, disjoint, not touching, each inside the size given to
// [Open]. They are what the device tree has in no device extent; free space inside
// of these counts as used, and so do the first MiB, the superblock's copies, and all
// behind what the device's item calls its size.
//
// The file system need not have been unmounted: the device extents are those of
// the last commit, which is what a mount finds. Only where files were synced
// since is there a log tree, and nothing is told.
//
// A [disk.UntrustedError] says why nothing can be told; other errors are those of
// reading. After an error whatever was yielded before is void. It keeps some 3 MiB
// at most, and asks ctx before each read.
func (f *FS) Unused(ctx context.Context) iter.Seq2[disk.Range, error] {
	return freemap.Runs(func(yield func(disk.Range) bool) error { return freemap.Untrusting(f.unused(ctx, yield), ErrFormat) })
}

func (f *FS) unused(ctx context.Context, yield func(disk.Range) bool) error {
	if err := f.trusted(); err != nil {
		return err
	}
	chunks, err := f.chunks(ctx)
	if err != nil {
		return fmt.Errorf("chunk tree: %w", err)
	}
	place := f.placer(ctx, chunks)
	root, generation, level, err := f.deviceTree(place)
	if err != nil {
		return fmt.Errorf("root tree: %w", err)
	}
	g := &gaps{f: f, yield: yield, copies: copies(), end: startBytes}
	t := &tree{f: f, owner: treeDevice, place: place, to: key{1<<64 - 1, 255, 1<<64 - 1}, item: g.item}
	if err := t.walk(root, generation, level, nil); err != nil {
		return fmt.Errorf("device tree: %w", err)
	}
	if g.taken != f.taken {
		return freemap.Untrusted("its device extents have %d bytes, but its superblock counts %d", g.taken, f.taken)
	}
	return g.free(f.total - f.total%f.sectorSize)
}

// trusted looks at what the superblock says.
func (f *FS) trusted() error {
	le, b := binary.LittleEndian, f.super
	if sum := le.Uint16(b[196:]); sum != 0 {
		return freemap.Untrusted("its checksums are of type %d, not CRC-32C", sum)
	}
	if err := checkSum(b); err != nil {
		return fmt.Errorf("superblock: %w", err)
	}
	flags, readOnly, incompat := le.Uint64(b[56:]), le.Uint64(b[180:]), le.Uint64(b[188:])
	switch {
	case flags&^superKnown != 0:
		return freemap.Untrusted("it is a seed, its UUID is being changed, or it is no whole one (flags %#x)", flags)
	case le.Uint64(b[172:]) != 0 || readOnly&^readOnlyKnown != 0 || incompat&^incompatKnown != 0:
		return freemap.Untrusted("it has features whose free space is not known (compatible %#x, read-only %#x, incompatible %#x)", le.Uint64(b[172:]), readOnly, incompat)
	case le.Uint64(b[136:]) != 1:
		return freemap.Untrusted("it is on %d devices", le.Uint64(b[136:]))
	case le.Uint64(b[96:]) != 0:
		return freemap.Untrusted("it was not unmounted: it has a log tree that is to be replayed")
	case b[198] > maxLevel || b[199] > maxLevel:
		return fmt.Errorf("%w: trees of %d and %d levels", ErrFormat, b[198], b[199])
	}
	return nil
}

// chunks reads the chunk tree, whose own chunks the superblock lists, checks it, and
// returns the chunks that tree blocks are in, by address.
func (f *FS) chunks(ctx context.Context) ([]chunk, error) {
	system, err := f.systemChunks()
	if err != nil {
		return nil, err
	}
	le, b := binary.LittleEndian, f.super
	var chunks []chunk
	var end, taken uint64
	t := &tree{f: f, owner: treeChunk, place: f.placer(ctx, system), from: key{256, kindChunk, 0}, to: key{256, kindChunk, 1<<64 - 1}}
	t.item = func(k key, data []byte) error {
		c, kind, stripes, err := f.parseChunk(k, data)
		if err != nil {
			return err
		}
		if c.address < end {
			return fmt.Errorf("%w: chunk %d overlaps the one before, up to %d", ErrFormat, c.address, end)
		}
		end, taken = c.address+c.length, taken+c.length*stripes // each at most the device's size, and so are all together
		if taken > uint64(f.taken) {
			return freemap.Untrusted("its chunks have more than %d bytes, which its superblock counts", f.taken)
		}
		if kind&(chunkMeta|chunkSystem) == 0 {
			return nil
		}
		if len(chunks) == maxChunks {
			return fmt.Errorf("%w: more than %d chunks of tree blocks", ErrFormat, maxChunks)
		}
		chunks = append(chunks, c)
		return nil
	}
	if err := t.walk(le.Uint64(b[88:]), le.Uint64(b[164:]), int(b[199]), nil); err != nil {
		return nil, err
	}
	if taken != uint64(f.taken) {
		return nil, freemap.Untrusted("its chunks have %d bytes, but its superblock counts %d", taken, f.taken)
	}
	return chunks, nil
}

// systemChunks lists the chunks that the superblock has.
func (f *FS) systemChunks() ([]chunk, error) {
	n := binary.LittleEndian.Uint32(f.super[160:])
	if n > arrayMax {
		return nil, fmt.Errorf("%w: %d bytes of system chunks", ErrFormat, n)
	}
	var chunks []chunk
	for b := f.super[arrayAt:][:n]; len(b) > 0; {
		if len(b) < keySize+48 {
			return nil, fmt.Errorf("%w: a system chunk of %d bytes", ErrFormat, len(b))
		}
		size := keySize + 48 + 32*int(binary.LittleEndian.Uint16(b[keySize+44:]))
		if size > len(b) {
			return nil, fmt.Errorf("%w: a system chunk of %d bytes in %d", ErrFormat, size, len(b))
		}
		c, kind, _, err := f.parseChunk(parseKey(b), b[keySize:size])
		if err != nil {
			return nil, err
		}
		if i := len(chunks); kind&chunkSystem == 0 || i > 0 && c.address < chunks[i-1].address+chunks[i-1].length {
			return nil, fmt.Errorf("%w: the superblock has chunk %d of type %#x", ErrFormat, c.address, kind)
		}
		chunks, b = append(chunks, c), b[size:]
	}
	return chunks, nil
}

// parseChunk decodes a chunk, and returns its type and how many device extents it has.
func (f *FS) parseChunk(k key, b []byte) (c chunk, kind, stripes uint64, err error) {
	le := binary.LittleEndian
	if k.object != 256 || k.kind != kindChunk || len(b) < 80 || len(b) != 48+32*int(le.Uint16(b[44:])) {
		return chunk{}, 0, 0, fmt.Errorf("%w: chunk %d is of %d bytes", ErrFormat, k.offset, len(b))
	}
	length, kind, stripes := le.Uint64(b), le.Uint64(b[24:]), uint64(le.Uint16(b[44:]))
	want := uint64(1)
	if kind&chunkTwice != 0 {
		want = 2
	}
	switch {
	case kind&^(chunkTypes|chunkTwice) != 0:
		return chunk{}, 0, 0, freemap.Untrusted("chunk %d has a profile of several devices (type %#x)", k.offset, kind)
	case stripes != want || length == 0 || length > uint64(f.total) || k.offset > 1<<63:
		return chunk{}, 0, 0, fmt.Errorf("%w: chunk %d of %d bytes has %d stripes, for type %#x", ErrFormat, k.offset, length, stripes, kind)
	}
	for s := b[48:]; len(s) > 0; s = s[32:] {
		if at := le.Uint64(s[8:]); le.Uint64(s) != f.device || at > uint64(f.total)-length {
			return chunk{}, 0, 0, fmt.Errorf("%w: chunk %d is at %d of device %d", ErrFormat, k.offset, at, le.Uint64(s))
		}
	}
	return chunk{address: k.offset, length: length, offset: int64(le.Uint64(b[56:]))}, kind, stripes, nil // bounded
}

// placer finds tree blocks on the device by their addresses.
func (f *FS) placer(ctx context.Context, chunks []chunk) func(address uint64) (int64, error) {
	return func(address uint64) (int64, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		i := sort.Search(len(chunks), func(i int) bool { return chunks[i].address+chunks[i].length > address })
		if i == len(chunks) || address < chunks[i].address || address-chunks[i].address+uint64(f.nodeSize) > chunks[i].length { // not negative
			return 0, fmt.Errorf("%w: tree block %d is in no chunk of tree blocks", ErrFormat, address)
		}
		return chunks[i].offset + int64(address-chunks[i].address), nil // both inside the device
	}
}

// deviceTree finds the root of the device tree in the tree of roots.
func (f *FS) deviceTree(place func(uint64) (int64, error)) (address, generation uint64, level int, err error) {
	le, b := binary.LittleEndian, f.super
	found := false
	want := key{treeDevice, kindRoot, 0}
	t := &tree{f: f, owner: treeRoot, place: place, from: want, to: want}
	t.item = func(_ key, data []byte) error {
		if len(data) < 239 || data[238] > maxLevel {
			return fmt.Errorf("%w: a root of %d bytes", ErrFormat, len(data))
		}
		generation, address, level, found = le.Uint64(data[160:]), le.Uint64(data[176:]), int(data[238]), true
		return nil
	}
	if err := t.walk(le.Uint64(b[80:]), le.Uint64(b[72:]), int(b[198]), nil); err != nil {
		return 0, 0, 0, err
	}
	if !found {
		return 0, 0, 0, fmt.Errorf("%w: no device tree", ErrFormat)
	}
	return address, generation, level, nil
}

// gaps is what lies between device extents.
type gaps struct {
	f      *FS
	yield  func(disk.Range) bool
	copies []disk.Range // that are still to come

	end   int64 // of what was passed
	last  int64 // the end of the last device extent
	taken int64 // bytes in device extents
}

// item takes an item of the device tree.
func (g *gaps) item(k key, data []byte) error {
	le := binary.LittleEndian
	switch k.kind {
	case kindReplace:
		const started, suspended = 1, 4
		if len(data) < 40 || le.Uint64(data[32:]) == started || le.Uint64(data[32:]) == suspended {
			return freemap.Untrusted("its device is being replaced")
		}
		return nil
	case kindExtent:
	default:
		return nil
	}
	if k.object != g.f.device || len(data) < 32 {
		return fmt.Errorf("%w: a device extent of device %d, of %d bytes", ErrFormat, k.object, len(data))
	}
	length := le.Uint64(data[24:])
	if total := uint64(g.f.total); length == 0 || length > total || k.offset > total-length || k.offset < uint64(g.last) { // not negative
		return fmt.Errorf("%w: a device extent of %d bytes at %d, behind those up to %d of %d", ErrFormat, length, k.offset, g.last, total)
	}
	if err := g.free(int64(k.offset)); err != nil { // bounded
		return err
	}
	g.last = int64(k.offset + length)
	g.end, g.taken = max(g.end, g.last), g.taken+int64(length)
	return nil
}

// free yields what is free up to an offset.
func (g *gaps) free(to int64) error {
	for g.end < to {
		for len(g.copies) > 0 && g.copies[0].Offset+g.copies[0].Length <= g.end {
			g.copies = g.copies[1:]
		}
		end, next := to, to
		if len(g.copies) > 0 && g.copies[0].Offset < to {
			end, next = g.copies[0].Offset, g.copies[0].Offset+g.copies[0].Length
		}
		if end > g.end && !g.yield(disk.Range{Offset: g.end, Length: end - g.end}) {
			return freemap.ErrStopped
		}
		g.end = next
	}
	return nil
}
