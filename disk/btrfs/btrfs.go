// Package btrfs reads as much of a Btrfs file system as it takes to tell which
// parts of its device were never given to anything; it never writes. Source: the
// kernel's include/uapi/linux/btrfs_tree.h and what mkfs.btrfs makes of it.
//
// Every number from the disk is checked before it is used. A block whose checksum,
// place, owner, generation or file system is not what leads to it is an error that
// wraps [ErrFormat]. Memory is bounded whatever the file system says.
//
// Words: a chunk is a run of the address space that trees and files are in; it lies
// in one or more device extents, runs of a device; a profile says how (one copy, two
// copies, striped). The chunk tree says where each chunk is, the device tree has the
// device extents. A commit writes changed blocks to new places and then the
// superblock, which leads to all others: so what it leads to is whole at any time,
// but for the log tree, which has what was synced since.
package btrfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"

	"esxodus/disk/internal/readat"
)

// ErrFormat is wrapped by errors that say that the bytes make no sense or use
// a feature that is not read here. Other errors are of reading.
var ErrFormat = errors.New("malformed Btrfs file system")

const (
	superAt   = 64 << 10
	superSize = 4096
	superName = "_BHRfS_M"

	arrayAt  = 811 // of the system chunks in the superblock
	arrayMax = 2048

	incompatMetaUUID = 0x400
)

// FS is an open file system. It keeps no cache; the reader under it should. Several
// goroutines may use it.
type FS struct {
	r          io.ReaderAt
	super      []byte
	sectorSize int64 // bytes
	nodeSize   int64 // bytes
	uuid       []byte
	device     uint64 // its number
	total      int64  // bytes of the device that are the file system's
	taken      int64  // bytes of it in device extents
}

// Open reads the superblock of the file system in the first size bytes of r.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	b := make([]byte, superSize)
	if size < superAt+superSize {
		return nil, fmt.Errorf("%w: %d bytes are too few", ErrFormat, size)
	}
	if err := readat.Full(r, b, superAt); err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	le := binary.LittleEndian
	if string(b[64:72]) != superName || le.Uint64(b[48:]) != superAt {
		return nil, fmt.Errorf("%w: no superblock", ErrFormat)
	}
	f := &FS{r: r, super: b, uuid: b[32:48], device: le.Uint64(b[201:])}
	sector, node, total, taken := le.Uint32(b[144:]), le.Uint32(b[148:]), le.Uint64(b[209:]), le.Uint64(b[217:])
	switch {
	case sector < 512 || sector > 64<<10 || bits.OnesCount32(sector) != 1:
		return nil, fmt.Errorf("%w: sectors of %d bytes", ErrFormat, sector)
	case node < 4096 || node > 64<<10 || bits.OnesCount32(node) != 1:
		return nil, fmt.Errorf("%w: tree blocks of %d bytes", ErrFormat, node)
	case total > uint64(size) || taken > total:
		return nil, fmt.Errorf("%w: it claims %d of %d bytes in a space of %d", ErrFormat, taken, total, size)
	}
	f.sectorSize, f.nodeSize, f.total, f.taken = int64(sector), int64(node), int64(total), int64(taken) // bounded
	if le.Uint64(b[188:])&incompatMetaUUID != 0 {
		f.uuid = b[571:587]
	}
	return f, nil
}

// checkSum checks the CRC-32C at the start of a block, which is of all behind its 32
// bytes.
func checkSum(b []byte) error {
	sum := crc32.Checksum(b[32:], crc32.MakeTable(crc32.Castagnoli))
	if want := binary.LittleEndian.Uint32(b); sum != want {
		return fmt.Errorf("%w: the checksum of %d bytes is %08x, but %08x is recorded", ErrFormat, len(b), sum, want)
	}
	return nil
}

// key is what an item of a tree is found by; they are in this order.
type key struct {
	object uint64
	kind   byte
	offset uint64
}

const keySize = 17

func parseKey(b []byte) key {
	le := binary.LittleEndian
	return key{le.Uint64(b), b[8], le.Uint64(b[9:])}
}

func (k key) less(l key) bool {
	switch {
	case k.object != l.object:
		return k.object < l.object
	case k.kind != l.kind:
		return k.kind < l.kind
	}
	return k.offset < l.offset
}

// Trees, and kinds of items in them.
const (
	treeRoot, treeChunk, treeDevice = 1, 3, 4

	kindRoot, kindExtent, kindChunk, kindReplace = 132, 204, 228, 250
)

const (
	headSize = 101 // of a block of a tree, bytes
	itemSize = 25  // a key, and where in the leaf its data is
	nextSize = 33  // a key, a block's address and its generation

	maxLevel = 7
)

// tree is a walk through a tree.
type tree struct {
	f     *FS
	owner uint64
	place func(address uint64) (offset int64, err error) // of a block on the device
	// from and to are which keys are wanted; blocks without any aren't read. item gets
	// each item in order; an error ends the walk.
	from, to key
	item     func(k key, data []byte) error

	last key // the item before
	any  bool
}

// walk goes through the tree below a block. first is the key that its parent says it begins
// with, nil for the root.
func (t *tree) walk(address, generation uint64, level int, first *key) error {
	b, err := t.read(address, generation, level)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	n := int(le.Uint32(b[96:])) // read checks it
	if first != nil && (n == 0 || parseKey(b[headSize:]) != *first) {
		return fmt.Errorf("%w: tree block %d does not begin where the tree says", ErrFormat, address)
	}
	if level == 0 {
		return t.leaf(address, b, n)
	}
	for i := range n {
		e := b[headSize+i*nextSize:]
		k := parseKey(e)
		if i+1 < n {
			next := parseKey(e[nextSize:])
			if !k.less(next) {
				return fmt.Errorf("%w: the keys of tree block %d do not ascend", ErrFormat, address)
			}
			if next.less(t.from) { // all below is before
				continue
			}
		}
		if t.to.less(k) {
			return nil
		}
		if err := t.walk(le.Uint64(e[keySize:]), le.Uint64(e[keySize+8:]), level-1, &k); err != nil {
			return err
		}
	}
	return nil
}

// leaf passes on a leaf's n items.
func (t *tree) leaf(address uint64, b []byte, n int) error {
	le := binary.LittleEndian
	for i := range n {
		e := b[headSize+i*itemSize:]
		k, at, size := parseKey(e), uint64(le.Uint32(e[keySize:])), uint64(le.Uint32(e[keySize+4:]))
		if t.any && !t.last.less(k) {
			return fmt.Errorf("%w: the keys of tree block %d do not ascend", ErrFormat, address)
		}
		t.last, t.any = k, true
		if at < uint64(n*itemSize) || at+size > uint64(len(b)-headSize) {
			return fmt.Errorf("%w: item %d of tree block %d has %d bytes at %d", ErrFormat, i, address, size, at)
		}
		if k.less(t.from) || t.to.less(k) {
			continue
		}
		if err := t.item(k, b[headSize+at:][:size]); err != nil {
			return err
		}
	}
	return nil
}

// read reads a block of the tree and checks its head.
func (t *tree) read(address, generation uint64, level int) ([]byte, error) {
	offset, err := t.place(address)
	if err != nil {
		return nil, err
	}
	b := make([]byte, t.f.nodeSize)
	if err := readat.Full(t.f.r, b, offset); err != nil {
		return nil, fmt.Errorf("tree block %d: %w", address, err)
	}
	if err := checkSum(b); err != nil {
		return nil, fmt.Errorf("tree block %d: %w", address, err)
	}
	le := binary.LittleEndian
	size := itemSize
	if level > 0 {
		size = nextSize
	}
	switch {
	case le.Uint64(b[48:]) != address || !bytes.Equal(b[32:48], t.f.uuid) || le.Uint64(b[88:]) != t.owner:
		return nil, fmt.Errorf("%w: tree block %d is block %d of tree %d, or of another file system", ErrFormat, address, le.Uint64(b[48:]), le.Uint64(b[88:]))
	case le.Uint64(b[80:]) != generation || int(b[100]) != level:
		return nil, fmt.Errorf("%w: tree block %d is of generation %d and level %d, want %d and %d", ErrFormat, address, le.Uint64(b[80:]), b[100], generation, level)
	case le.Uint32(b[96:]) > uint32((len(b)-headSize)/size) || level > 0 && le.Uint32(b[96:]) == 0: // not negative
		return nil, fmt.Errorf("%w: tree block %d has %d entries", ErrFormat, address, le.Uint32(b[96:]))
	}
	return b, nil
}
