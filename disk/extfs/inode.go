package extfs

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"esxodus/disk/internal/readat"
)

const (
	modeMask, modeDir, modeFile = 0xf000, 0x4000, 0x8000

	flagImmutable = 0x10
	flagAppend    = 0x20
	flagEncrypt   = 0x800
	flagExtents   = 0x80000
	flagInline    = 0x10000000

	maxDepth    = 5
	extentMagic = 0xf30a
	maxLink     = 4096
)

// inode is a file's description.
type inode struct {
	number int64
	mode   uint16
	size   int64
	flags  uint32
	mtime  time.Time
	block  [60]byte // block map, extent root, a short link's target or inline data
	raw    []byte   // the whole inode, for the rest of inline data
}

func (f *FS) inode(number int64) (inode, error) {
	if number < 1 || number > f.inodes {
		return inode{}, fmt.Errorf("%w: inode %d of %d", ErrFormat, number, f.inodes)
	}
	group, index := (number-1)/f.perGroup, (number-1)%f.perGroup
	if group >= f.groups() {
		return inode{}, fmt.Errorf("%w: inode %d in group %d of %d", ErrFormat, number, group, f.groups())
	}
	desc := make([]byte, f.descSize)
	if err := readat.Full(f.r, desc, f.descriptorAt(group)); err != nil {
		return inode{}, fmt.Errorf("descriptor of group %d: %w", group, err)
	}
	le := binary.LittleEndian
	table := int64(le.Uint32(desc[8:]))
	if f.incompat&incompat64Bit != 0 && f.descSize >= 64 {
		table |= int64(le.Uint32(desc[40:])) << 32
	}
	at := index * f.inodeSize
	b, err := f.block(table+at/f.blockSize, at%f.blockSize, f.inodeSize)
	if err != nil {
		return inode{}, fmt.Errorf("inode %d: %w", number, err)
	}
	in := inode{
		number: number, mode: le.Uint16(b), flags: le.Uint32(b[32:]), raw: b,
		mtime: time.Unix(int64(int32(le.Uint32(b[16:]))), 0).UTC(), // the field is signed
		size:  int64(le.Uint32(b[4:])),
	}
	copy(in.block[:], b[40:100])
	if k := in.mode & modeMask; k == modeFile || k == modeDir {
		in.size |= int64(le.Uint32(b[108:])) << 32
	}
	if in.size < 0 {
		return inode{}, fmt.Errorf("%w: inode %d: size %d", ErrFormat, number, in.size)
	}
	return in, nil
}

// find returns the block of the file system that holds block n of the file,
// and how many blocks from there on lie contiguously; 0 is a hole.
func (f *FS) find(in inode, n int64) (block, run int64, err error) {
	if in.flags&flagExtents != 0 {
		return f.findExtent(in, n)
	}
	block, err = f.findMapped(in, n)
	return block, 1, err
}

// findExtent descends the extent tree, whose root is in the inode. Each level
// must say a smaller depth than the one above, so that it ends.
func (f *FS) findExtent(in inode, n int64) (block, run int64, err error) {
	le := binary.LittleEndian
	node := in.block[:]
	for depth := maxDepth + 1; ; {
		entries, d := int(le.Uint16(node[2:])), int(le.Uint16(node[6:]))
		if le.Uint16(node) != extentMagic || 12+12*entries > len(node) || d >= depth {
			return 0, 0, fmt.Errorf("%w: inode %d: bad extent node (%d entries, depth %d)", ErrFormat, in.number, entries, d)
		}
		depth = d
		if d == 0 {
			block, run = leafExtent(node[12:12+12*entries], n)
			return block, run, nil
		}
		child := int64(0)
		for e := node[12 : 12+12*entries]; len(e) > 0 && int64(le.Uint32(e)) <= n; e = e[12:] {
			child = int64(le.Uint32(e[4:])) | int64(le.Uint16(e[8:]))<<32
		}
		if child == 0 {
			return 0, 1, nil // before the first extent
		}
		if node, err = f.block(child, 0, f.blockSize); err != nil {
			return 0, 0, fmt.Errorf("inode %d: extent tree: %w", in.number, err)
		}
	}
}

// leafExtent looks for file block n in a leaf's entries. An extent of more
// than 32768 blocks is one allocated but not written: it reads as zeros.
func leafExtent(entries []byte, n int64) (block, run int64) {
	le := binary.LittleEndian
	for e := entries; len(e) > 0; e = e[12:] {
		first, count := int64(le.Uint32(e)), int64(le.Uint16(e[4:]))
		written := count <= 32768
		if !written {
			count -= 32768
		}
		if n < first || n >= first+count {
			continue
		}
		run = first + count - n
		if !written {
			return 0, run
		}
		return int64(le.Uint32(e[8:])) | int64(le.Uint16(e[6:]))<<32 + (n - first), run
	}
	return 0, 1
}

// findMapped follows the block map: 12 direct blocks, then one, two and three
// levels of blocks of block numbers.
func (f *FS) findMapped(in inode, n int64) (int64, error) {
	le := binary.LittleEndian
	if n < 12 {
		return int64(le.Uint32(in.block[4*n:])), nil
	}
	n -= 12
	per := f.blockSize / 4
	span := per
	level := int64(1)
	for ; n >= span; level++ {
		if level == 3 {
			return 0, fmt.Errorf("%w: inode %d: block %d is past the block map", ErrFormat, in.number, n)
		}
		n -= span
		span *= per
	}
	at := int64(le.Uint32(in.block[4*(11+level):]))
	for ; level > 0 && at != 0; level-- {
		span /= per
		b, err := f.block(at, n/span*4, 4)
		if err != nil {
			return 0, fmt.Errorf("inode %d: block map: %w", in.number, err)
		}
		at, n = int64(le.Uint32(b)), n%span
	}
	return at, nil
}

// readAt reads the file's bytes. Holes read as zeros.
func (f *FS) readAt(in inode, p []byte, off int64) (int, error) {
	if off >= in.size {
		return 0, io.EOF
	}
	if in.flags&flagEncrypt != 0 {
		return 0, fmt.Errorf("%w: inode %d is encrypted", ErrFormat, in.number)
	}
	p = p[:min(int64(len(p)), in.size-off)]
	if in.flags&flagInline != 0 {
		return f.readInline(in, p, off)
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		block, run, err := f.find(in, at/f.blockSize)
		if err != nil {
			return done, err
		}
		skip := at % f.blockSize
		part := p[done:min(int64(len(p)), int64(done)+run*f.blockSize-skip)]
		if block == 0 {
			clear(part)
		} else if block < 0 || block+run > f.blocks {
			return done, fmt.Errorf("%w: inode %d: blocks %d to %d of %d", ErrFormat, in.number, block, block+run, f.blocks)
		} else if err := readat.Full(f.r, part, block*f.blockSize+skip); err != nil {
			return done, fmt.Errorf("inode %d: %w", in.number, err)
		}
		done += len(part)
	}
	return done, nil
}

// readInline reads a small file that is kept in its inode: 60 bytes in place
// of the block map, the rest in the attribute system.data.
func (f *FS) readInline(in inode, p []byte, off int64) (int, error) {
	data := append(in.block[:len(in.block):len(in.block)], inlineRest(in.raw)...)
	if in.size > int64(len(data)) {
		return 0, fmt.Errorf("%w: inode %d: inline data of %d bytes, but only %d are there", ErrFormat, in.number, in.size, len(data))
	}
	return copy(p, data[off:in.size]), nil
}

// inlineRest is the value of the attribute system.data in the inode's own
// attribute space.
func inlineRest(raw []byte) []byte {
	le := binary.LittleEndian
	if len(raw) < 132 {
		return nil
	}
	start := 128 + int(le.Uint16(raw[128:]))
	if start+4 > len(raw) || le.Uint32(raw[start:]) != 0xea020000 {
		return nil
	}
	entries := raw[start+4:]
	for e := entries; len(e) >= 16; {
		nameLen, index := int(e[0]), e[1]
		if nameLen == 0 && index == 0 {
			return nil
		}
		if 16+nameLen > len(e) {
			return nil
		}
		const systemIndex = 7
		if index == systemIndex && string(e[16:16+nameLen]) == "data" {
			at, n := int(le.Uint16(e[2:])), le.Uint32(e[8:])
			if at > len(entries) || int64(n) > int64(len(entries)-at) {
				return nil
			}
			return entries[at : at+int(n)]
		}
		next := (16 + nameLen + 3) &^ 3
		if next > len(e) {
			return nil
		}
		e = e[next:]
	}
	return nil
}

// link reads a symbolic link's target. Short ones are in the inode.
func (f *FS) link(in inode) (string, error) {
	if in.size > maxLink {
		return "", fmt.Errorf("%w: inode %d: link of %d bytes", ErrFormat, in.number, in.size)
	}
	if in.size < int64(len(in.block)) && in.flags&(flagExtents|flagInline|flagEncrypt) == 0 {
		return string(in.block[:in.size]), nil
	}
	b := make([]byte, in.size)
	n, err := f.readAt(in, b, 0)
	if err != nil && int64(n) < in.size {
		return "", err
	}
	return string(b), nil
}
