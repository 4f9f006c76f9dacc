package xfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"time"

	"esxodus/disk/internal/fsview"
	"esxodus/disk/internal/readat"
)

const (
	inodeMagic = 0x494e

	formatLocal, formatExtents, formatBTree = 1, 2, 3

	flagRealtime  = 0x1
	flagImmutable = 0x8
	flagAppend    = 0x10
	flag2BigTime  = 0x8
	flag2NRext64  = 0x10

	maxLink    = 1024
	linkMagic  = 0x58534c4d
	linkHeader = 56
)

// inode is a file's description.
type inode struct {
	fsys    *FS
	number  int64
	mode    fs.FileMode
	size    int64
	mtime   time.Time
	flags   uint16
	format  byte   // of the fork
	extents uint64 // in the fork
	fork    []byte // says where the data is, or is the data
}

// Node reads an inode. The number's upper bits are its allocation group, then
// comes the block in that, then the place in the block.
func (f *FS) Node(number uint64) (fsview.Node, error) {
	if number == 0 || number>>f.perBits>>f.agBits > uint64(f.blocks/f.agBlocks) {
		return nil, fmt.Errorf("%w: inode %d", ErrFormat, number)
	}
	block, err := f.linear(number>>f.perBits, 1)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", number, err)
	}
	at := block*f.blockSize + int64(number&(1<<f.perBits-1))*f.inodeSize // perBits is at most 8
	b := make([]byte, f.inodeSize)
	if err := readat.Full(f.r, b, at); err != nil {
		return nil, fmt.Errorf("inode %d: %w", number, err)
	}
	in, err := f.parseInode(b, number)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", number, err)
	}
	return in, nil
}

// parseInode decodes an inode's bytes.
func (f *FS) parseInode(b []byte, number uint64) (*inode, error) {
	be := binary.BigEndian
	version, base := b[4], 100
	if be.Uint16(b) != inodeMagic || version < 1 || version > 3 || (version == 3) != (f.version == 5) {
		return nil, fmt.Errorf("%w: no inode (%#x, version %d) is there", ErrFormat, be.Uint16(b), version)
	}
	var flags2 uint64
	if version == 3 {
		base, flags2 = 176, be.Uint64(b[120:])
		if err := checkSum(b, 100); err != nil {
			return nil, err
		}
		if be.Uint64(b[152:]) != number || !bytes.Equal(b[160:176], f.uuid[:]) {
			return nil, fmt.Errorf("%w: it is inode %d, or belongs to another file system", ErrFormat, be.Uint64(b[152:]))
		}
	}
	mode := be.Uint16(b[2:])
	if mode == 0 {
		return nil, fmt.Errorf("%w: it is free", ErrFormat)
	}
	in := &inode{
		fsys: f, number: int64(number), mode: fsview.Mode(mode), size: int64(be.Uint64(b[56:])), // size is checked
		mtime: fileTime(be.Uint64(b[40:]), flags2&flag2BigTime != 0), flags: be.Uint16(b[90:]),
		format: b[5], extents: uint64(be.Uint32(b[76:])), fork: b[base:],
	}
	if flags2&flag2NRext64 != 0 {
		in.extents = be.Uint64(b[24:])
	}
	if fork := int(b[82]) * 8; fork > len(in.fork) {
		return nil, fmt.Errorf("%w: a fork of %d bytes in %d", ErrFormat, fork, len(in.fork))
	} else if fork > 0 { // attributes follow
		in.fork = in.fork[:fork]
	}
	if in.size < 0 {
		return nil, fmt.Errorf("%w: size %d", ErrFormat, in.size)
	}
	return in, nil
}

// fileTime decodes a time: seconds and nanoseconds, both of 32 bits, or, for
// times beyond 2038, nanoseconds since the earliest of those seconds, 1901.
func fileTime(v uint64, big bool) time.Time {
	const second = 1e9
	if big {
		return time.Unix(int64(v/second)-1<<31, int64(v%second)).UTC()
	}
	return time.Unix(int64(int32(v>>32)), int64(uint32(v))%second).UTC() // the seconds are signed
}

// Mode, Size and ModTime describe the file.
func (in *inode) Mode() fs.FileMode { return in.mode }

// Size is in bytes.
func (in *inode) Size() int64 { return in.size }

// ModTime is when the file's content last changed.
func (in *inode) ModTime() time.Time { return in.mtime }

// Immutable and AppendOnly are the attributes i and a of chattr(1).
func (in *inode) Immutable() bool { return in.flags&flagImmutable != 0 }

// AppendOnly is described with Immutable.
func (in *inode) AppendOnly() bool { return in.flags&flagAppend != 0 }

// ReadAt reads a file's bytes. Holes, and extents allocated but not written,
// read as zeros.
func (in *inode) ReadAt(p []byte, off int64) (int, error) {
	if off >= in.size {
		return 0, io.EOF
	}
	f := in.fsys
	p = p[:min(int64(len(p)), in.size-off)]
	done := 0
	for done < len(p) {
		at := off + int64(done)
		s, err := in.find(at / f.blockSize)
		if err != nil {
			return done, fmt.Errorf("inode %d: %w", in.number, err)
		}
		skip, rest := at%f.blockSize, int64(len(p)-done)
		if s.run < (skip+rest-1)/f.blockSize+1 {
			rest = s.run*f.blockSize - skip
		}
		part := p[done : int64(done)+rest]
		if s.empty {
			clear(part)
		} else if err := readat.Full(f.r, part, s.block*f.blockSize+skip); err != nil {
			return done, fmt.Errorf("inode %d: %w", in.number, err)
		}
		done += len(part)
	}
	return done, nil
}

// Link is a symbolic link's target: in the inode, or in blocks that in version
// 5 have a header in each run of them.
func (in *inode) Link() (string, error) {
	if in.size > maxLink {
		return "", fmt.Errorf("%w: inode %d: a link of %d bytes", ErrFormat, in.number, in.size)
	}
	if in.format == formatLocal {
		if in.size > int64(len(in.fork)) {
			return "", fmt.Errorf("%w: inode %d: a link of %d bytes in %d", ErrFormat, in.number, in.size, len(in.fork))
		}
		return string(in.fork[:in.size]), nil
	}
	var target []byte
	for n := int64(0); int64(len(target)) < in.size; {
		s, err := in.find(n)
		if err != nil {
			return "", fmt.Errorf("inode %d: %w", in.number, err)
		}
		part, err := in.linkRun(s, int64(len(target)))
		if err != nil {
			return "", fmt.Errorf("inode %d: link: %w", in.number, err)
		}
		target = append(target, part...)
		n += s.run
	}
	return string(target[:in.size]), nil
}

// linkRun reads the part of a link's target in a run of blocks, at least one
// byte; off is where in the target it belongs.
func (in *inode) linkRun(s span, off int64) ([]byte, error) {
	f := in.fsys
	if s.empty || s.run > maxLink/f.blockSize+2 {
		return nil, fmt.Errorf("%w: %d bytes of %d are in a hole or in too many blocks", ErrFormat, in.size-off, in.size)
	}
	b, err := f.bytes(s.block, s.run*f.blockSize)
	if err != nil || f.version < 5 {
		return b, err
	}
	be := binary.BigEndian
	if be.Uint32(b) != linkMagic {
		return nil, fmt.Errorf("%w: block %d holds no part of a link", ErrFormat, s.block)
	}
	if err := f.verify(b, stamp{sum: 12, place: 40, uuid: 16, owner: 32}, s.block, in.number); err != nil {
		return nil, err
	}
	at, n := int64(be.Uint32(b[4:])), int64(be.Uint32(b[8:]))
	if at != off || n < 1 || n > int64(len(b))-linkHeader {
		return nil, fmt.Errorf("%w: block %d has %d bytes at %d, want those at %d", ErrFormat, s.block, n, at, off)
	}
	return b[linkHeader : linkHeader+n], nil
}
