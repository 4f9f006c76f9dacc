// Package xfs reads XFS file systems, versions 4 and 5, of every feature set
// that Linux guests have, as an [io/fs.FS]; it never writes. Sources: "XFS
// Algorithms & Data Structures", 3rd edition, and what mkfs.xfs and the kernel
// make of it since.
//
// Every number from the disk is checked before it is used. Where the file
// system has checksums (version 5) a block whose checksum, owner or place is
// not what it says is an error that wraps [ErrFormat]: the kernel would refuse
// it too. The memory that a call needs is bounded by [fsview.MaxDir] and the depth of
// an extent tree.
//
// The log is not replayed. A file system that needs that ([FS.NeedsRecovery])
// may show files as they were some seconds before the machine stopped, or lack
// what was made in them. Files on a realtime device, and directories of
// version 1 (IRIX, before 2001), are refused.
//
// Words: an allocation group (AG) is one of the equal parts of the space, each
// with inodes of its own; a block is the unit of allocation; a block's number
// on disk has the AG in its upper bits, here a linear one counts from the
// space's start; a fork is the part of an inode that says where its data is;
// an extent is a run of blocks.
package xfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"

	"esxodus/disk/internal/fsview"
	"esxodus/disk/internal/readat"
)

// ErrFormat is wrapped by errors that say that the bytes make no sense or use
// a feature that is not read here. Other errors are of reading.
var ErrFormat = errors.New("malformed xfs file system")

const (
	superSize  = 512 // what is read of the superblock at first
	superMagic = 0x58465342

	versionDirV2    = 0x2000
	versionMoreBits = 0x8000
	features2FType  = 0x200

	incompatFType    = 0x1
	incompatMetaUUID = 0x4
	// FTYPE, SPINODES, META_UUID, BIGTIME, NEEDSREPAIR, NREXT64, EXCHRANGE,
	// PARENT, METADIR, ZONED, ZONE_GAPS: none but those handled below changes
	// how files, directories and links are read.
	incompatKnown = 0x7ff
)

// FS is an open file system. It keeps no cache; the reader under it should.
// Several goroutines may use it.
type FS struct {
	fsview.View

	r         io.ReaderAt
	version   int // 4 or 5
	ftype     bool
	blockSize int64
	blocks    int64 // in the file system
	agBlocks  int64 // in an allocation group; the last may have fewer
	agBits    uint  // of a block's number within its group
	perBits   uint  // of an inode's number within its block
	inodeSize int64
	dirBlock  int64  // bytes of a directory's block
	logStart  uint64 // block number; 0 is another device
	logBlocks int64
	uuid      [16]byte // that metadata is stamped with
	free      int64    // blocks
	freeFiles int64
	dirty     bool

	sectorSize int64
	incompat   uint32 // of version 5
	readOnly   uint32 // of version 5: features for which old kernels don't write
	rootInode  uint64
	totals     totals
	doubt      string // why free space can't be told, by the superblock
}

// Open reads the superblock of the file system in the first size bytes of r,
// and as much of its log as shows whether that is to be replayed.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	b := make([]byte, superSize)
	if size < superSize {
		return nil, fmt.Errorf("%w: %d bytes are too few", ErrFormat, size)
	}
	if err := readat.Full(r, b, 0); err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	f, root, err := parseSuper(b)
	if err != nil {
		return nil, err
	}
	if f.blocks > size/f.blockSize {
		return nil, fmt.Errorf("%w: it claims %d blocks of %d bytes in a space of %d bytes", ErrFormat, f.blocks, f.blockSize, size)
	}
	if f.version == 5 {
		b = make([]byte, binary.BigEndian.Uint16(b[102:])) // the whole sector
		if err := readat.Full(r, b, 0); err != nil {
			return nil, fmt.Errorf("superblock: %w", err)
		}
		if err := checkSum(b, 224); err != nil {
			return nil, fmt.Errorf("superblock: %w", err)
		}
	}
	f.r = r
	f.View = fsview.New(f, root)
	if f.dirty, err = f.logDirty(); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return f, nil
}

// parseSuper decodes the superblock's first 512 bytes, and returns the root's
// inode number beside.
func parseSuper(b []byte) (*FS, uint64, error) {
	be := binary.BigEndian
	if len(b) < superSize || be.Uint32(b) != superMagic {
		return nil, 0, fmt.Errorf("%w: no superblock", ErrFormat)
	}
	if err := checkGeometry(b); err != nil {
		return nil, 0, err
	}
	version := be.Uint16(b[100:])
	f := &FS{
		version: int(version & 0xf), blockSize: int64(be.Uint32(b[4:])), inodeSize: int64(be.Uint16(b[104:])),
		agBlocks: int64(be.Uint32(b[84:])), agBits: uint(b[124]), perBits: uint(b[123]),
		dirBlock: int64(be.Uint32(b[4:])) << b[192], logStart: be.Uint64(b[48:]), logBlocks: int64(be.Uint32(b[96:])),
		uuid: [16]byte(b[32:48]), sectorSize: int64(be.Uint16(b[102:])),
		totals: totals{free: be.Uint64(b[144:]), inodes: be.Uint64(b[128:]), freeInodes: be.Uint64(b[136:]), lazy: true},
	}
	if err := f.setBlocks(be.Uint64(b[8:]), int64(be.Uint32(b[88:]))); err != nil {
		return nil, 0, err
	}
	f.free = int64(min(be.Uint64(b[144:]), uint64(f.blocks))) // bounded
	f.setFreeFiles(be.Uint64(b[128:]), be.Uint64(b[136:]), int64(b[127]))
	switch {
	case f.version == 5:
		incompat := be.Uint32(b[216:])
		if incompat&^incompatKnown != 0 {
			return nil, 0, fmt.Errorf("%w: features %#x are newer than esxodus", ErrFormat, incompat&^incompatKnown)
		}
		f.incompat, f.ftype, f.readOnly = incompat, incompat&incompatFType != 0, be.Uint32(b[212:])
		if incompat&incompatMetaUUID != 0 {
			f.uuid = [16]byte(b[248:264])
		}
	case f.version != 4:
		return nil, 0, fmt.Errorf("%w: version %d", ErrFormat, f.version)
	case version&versionDirV2 == 0:
		return nil, 0, fmt.Errorf("%w: directories of version 1", ErrFormat)
	default:
		var more uint32
		if version&versionMoreBits != 0 {
			more = be.Uint32(b[200:]) | be.Uint32(b[204:])
		}
		f.ftype, f.totals.lazy = more&features2FType != 0, more&features2LazyCount != 0
	}
	f.rootInode, f.doubt = be.Uint64(b[56:]), doubt(b, f.version)
	return f, f.rootInode, nil
}

// checkGeometry checks the superblock's sizes against their logarithms and
// against what the kernel accepts.
func checkGeometry(b []byte) error {
	be := binary.BigEndian
	block, sector, inode, ag := be.Uint32(b[4:]), be.Uint16(b[102:]), be.Uint16(b[104:]), be.Uint32(b[84:])
	switch {
	case block < 512 || block > 65536 || block != 1<<b[120]:
		return fmt.Errorf("%w: blocks of %d bytes (2^%d)", ErrFormat, block, b[120])
	case sector < 512 || sector > 32768 || uint32(sector) != 1<<b[121]:
		return fmt.Errorf("%w: sectors of %d bytes (2^%d)", ErrFormat, sector, b[121])
	case inode < 256 || inode > 2048 || uint32(inode) != 1<<b[122] || uint32(inode) > block || b[123] != b[120]-b[122]:
		return fmt.Errorf("%w: inodes of %d bytes (2^%d), 2^%d in a block", ErrFormat, inode, b[122], b[123])
	case ag < 64 || ag > 1<<31 || int(b[124]) != bits.Len32(ag-1):
		return fmt.Errorf("%w: allocation groups of %d blocks (2^%d)", ErrFormat, ag, b[124])
	case b[192] > 16 || uint(b[120])+uint(b[192]) > 16:
		return fmt.Errorf("%w: directory blocks of 2^%d bytes", ErrFormat, uint(b[120])+uint(b[192]))
	case b[126] != 0:
		return fmt.Errorf("%w: mkfs.xfs did not finish", ErrFormat)
	}
	return nil
}

// setBlocks checks that the space is as many blocks as its groups can hold.
func (f *FS) setBlocks(blocks uint64, groups int64) error {
	if blocks == 0 || blocks > 1<<54 || groups != (int64(blocks)-1)/f.agBlocks+1 {
		return fmt.Errorf("%w: %d blocks in %d allocation groups of %d", ErrFormat, blocks, groups, f.agBlocks)
	}
	f.blocks = int64(blocks)
	return nil
}

// setFreeFiles works out how many files can be made, as the kernel does: inodes
// are made of free blocks as they are needed, up to a percentage of all blocks;
// 0 is no limit.
func (f *FS) setFreeFiles(inodes, free uint64, percent int64) {
	perBlock := int64(1) << f.perBits
	have := int64(min(inodes, uint64(f.blocks*perBlock))) // bounded
	files := have + f.free*perBlock
	if percent > 0 && percent <= 100 {
		files = max(min(files, f.blocks/100*percent*perBlock), have)
	}
	f.freeFiles = files - have + int64(min(free, uint64(have))) // bounded
}

// FreeFiles is how many files can be made. What Free says of its age holds for
// it, too.
func (f *FS) FreeFiles() int64 { return f.freeFiles }

// Free is how many bytes can be written to files, as the superblock has it: of
// a file system that was not unmounted that may be out of date.
func (f *FS) Free() int64 { return f.free * f.blockSize }

// NeedsRecovery reports whether the log may hold changes that are not yet in
// place: the file system was not unmounted. It is true when the log lies on
// another device, for what is in that is not known.
func (f *FS) NeedsRecovery() bool { return f.dirty }

// linear turns a block's number on disk, the first of count, into one that
// counts from the start of the space. The run lies in one allocation group.
func (f *FS) linear(block uint64, count int64) (int64, error) {
	group, in := block>>f.agBits, int64(block&(1<<f.agBits-1)) // agBits is at most 31
	if group > uint64(f.blocks/f.agBlocks) || count < 1 || count > f.agBlocks || in > f.agBlocks-count {
		return 0, fmt.Errorf("%w: %d blocks at %d of group %d", ErrFormat, count, in, group)
	}
	at := int64(group)*f.agBlocks + in // group is bounded
	if at > f.blocks-count {
		return 0, fmt.Errorf("%w: blocks %d to %d of %d", ErrFormat, at, at+count, f.blocks)
	}
	return at, nil
}

// stamp says where a kind of block has its checksum, place, UUID and owner, which
// is an inode or, in less room, a group.
type stamp struct {
	sum, place, uuid, owner int
	group                   bool
}

// verify checks what version 5 stamps on a block of metadata: its checksum,
// where it lies and to which inode or group it belongs.
func (f *FS) verify(b []byte, s stamp, at, owner int64) error {
	if f.version < 5 {
		return nil
	}
	be := binary.BigEndian
	if err := checkSum(b, s.sum); err != nil {
		return fmt.Errorf("block %d: %w", at, err)
	}
	place, own, kind := be.Uint64(b[s.place:]), be.Uint64(b[s.owner:]), "inode"
	if s.group {
		own, kind = uint64(be.Uint32(b[s.owner:])), "group"
	}
	if place != uint64(at*(f.blockSize/512)) || own != uint64(owner) || !bytes.Equal(b[s.uuid:s.uuid+16], f.uuid[:]) { // not negative
		return fmt.Errorf("%w: block %d belongs to %s %d and sector %d, or to another file system", ErrFormat, at, kind, own, place)
	}
	return nil
}

// checkSum checks the CRC-32C at a place in what it is of. It is taken with
// zeros in its own place, and kept in the other byte order than all else.
func checkSum(b []byte, at int) error {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, b[:at])
	sum = crc32.Update(sum, table, make([]byte, 4))
	sum = crc32.Update(sum, table, b[at+4:])
	if want := binary.LittleEndian.Uint32(b[at:]); sum != want {
		return fmt.Errorf("%w: the checksum of %d bytes is %08x, but %08x is recorded", ErrFormat, len(b), sum, want)
	}
	return nil
}

// bytes reads n bytes of the file system from a linear block on, which the
// caller has checked.
func (f *FS) bytes(block, n int64) ([]byte, error) {
	b := make([]byte, n)
	if err := readat.Full(f.r, b, block*f.blockSize); err != nil {
		return nil, fmt.Errorf("block %d: %w", block, err)
	}
	return b, nil
}
