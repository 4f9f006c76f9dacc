package xfs

import (
	"encoding/binary"
	"fmt"
)

const (
	maxLevel  = 16      // of an extent tree; the kernel makes at most 10
	fileEnd   = 1 << 54 // blocks; no file has more
	extentLen = 16      // bytes of an extent
)

// span is a run of a file's blocks.
type span struct {
	block int64 // linear number of the first
	run   int64 // how many, at least 1
	empty bool  // they are nowhere, or not yet written: they read as zeros
}

// find returns where block n of the file lies, and how many from there on.
func (in *inode) find(n int64) (span, error) {
	if in.flags&flagRealtime != 0 {
		return span{}, fmt.Errorf("%w: its data is on a realtime device, which esxodus doesn't read", ErrFormat)
	}
	switch in.format {
	case formatExtents:
		if in.extents > uint64(len(in.fork)/extentLen) {
			return span{}, fmt.Errorf("%w: %d extents in a fork of %d bytes", ErrFormat, in.extents, len(in.fork))
		}
		return in.fsys.findIn(in.fork[:in.extents*extentLen], n, fileEnd)
	case formatBTree:
		return in.findInTree(n)
	default:
		return span{}, fmt.Errorf("%w: data in a fork of format %d", ErrFormat, in.format)
	}
}

// findInTree descends the tree of extents whose root is in the inode.
func (in *inode) findInTree(n int64) (span, error) {
	be, f := binary.BigEndian, in.fsys
	if len(in.fork) < 4 {
		return span{}, fmt.Errorf("%w: a fork of %d bytes", ErrFormat, len(in.fork))
	}
	level, count := int(be.Uint16(in.fork)), int(be.Uint16(in.fork[2:]))
	if level < 1 || level > maxLevel {
		return span{}, fmt.Errorf("%w: an extent tree of %d levels", ErrFormat, level)
	}
	node, limit := in.fork[4:], int64(fileEnd)
	for ; level > 0; level-- {
		child, first, next, err := descend(node, count, n, limit)
		if err != nil {
			return span{}, err
		}
		if first > n {
			return span{run: first - n, empty: true}, nil // before the first extent
		}
		limit = next
		at, err := f.linear(child, 1)
		if err != nil {
			return span{}, fmt.Errorf("extent tree: %w", err)
		}
		if node, count, err = in.treeNode(at, level-1); err != nil {
			return span{}, fmt.Errorf("extent tree: %w", err)
		}
	}
	if count > len(node)/extentLen {
		return span{}, fmt.Errorf("%w: %d extents in a leaf of %d bytes", ErrFormat, count, len(node))
	}
	return f.findIn(node[:count*extentLen], n, limit)
}

// descend picks the child that covers block n: it returns the child's block,
// the first block of the file that it covers, and the one after its last.
func descend(node []byte, count int, n, limit int64) (child uint64, first, next int64, err error) {
	be := binary.BigEndian
	room := len(node) / 16 // keys for so many come first, then the numbers of blocks
	if count < 1 || count > room {
		return 0, 0, 0, fmt.Errorf("%w: an extent tree's node of %d entries; at most %d fit", ErrFormat, count, room)
	}
	for i := range count {
		key := be.Uint64(node[8*i:])
		if key >= fileEnd {
			return 0, 0, 0, fmt.Errorf("%w: an extent tree for block %d", ErrFormat, key)
		}
		if i > 0 && int64(key) > n {
			limit = min(limit, int64(key))
			break
		}
		first, child = int64(key), be.Uint64(node[8*(room+i):])
	}
	return child, first, limit, nil
}

// treeNode reads a block of an extent tree, which must be of the level given:
// so a descent ends. It returns what follows the header, and how many entries
// that claims to have.
func (in *inode) treeNode(at int64, level int) ([]byte, int, error) {
	be, f := binary.BigEndian, in.fsys
	b, err := f.bytes(at, f.blockSize)
	if err != nil {
		return nil, 0, err
	}
	magic, header := uint32(0x424d4150), 24
	if f.version == 5 {
		magic, header = 0x424d4133, 72
	}
	if be.Uint32(b) != magic || int(be.Uint16(b[4:])) != level {
		return nil, 0, fmt.Errorf("%w: block %d (%#x) is not a node of level %d", ErrFormat, at, be.Uint32(b), level)
	}
	if err := f.verify(b, stamp{sum: 64, place: 24, uuid: 40, owner: 56}, at, in.number); err != nil {
		return nil, 0, err
	}
	return b[header:], int(be.Uint16(b[6:])), nil
}

// findIn looks for block n of a file in extents, which end before block limit.
// An extent is 128 bits: 1 that says that it's not yet written, 54 of first
// block in the file, 52 of block on disk, 21 of length.
func (f *FS) findIn(extents []byte, n, limit int64) (span, error) {
	be := binary.BigEndian
	for e := extents; len(e) > 0; e = e[extentLen:] {
		hi, lo := be.Uint64(e), be.Uint64(e[8:])
		first, count := int64(hi>>9&(1<<54-1)), int64(lo&(1<<21-1))
		if n < first {
			limit = min(limit, first)
			break
		}
		if n >= first+count {
			continue
		}
		at, err := f.linear(hi&(1<<9-1)<<43|lo>>21, count)
		if err != nil {
			return span{}, fmt.Errorf("extent of block %d: %w", first, err)
		}
		return span{block: at + n - first, run: first + count - n, empty: hi>>63 != 0}, nil
	}
	if limit <= n {
		return span{}, fmt.Errorf("%w: block %d is past the extents' end, %d", ErrFormat, n, limit)
	}
	return span{run: limit - n, empty: true}, nil
}
