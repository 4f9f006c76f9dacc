// Package extfs reads ext2, ext3 and ext4 file systems, of every age and
// feature set that Linux guests have, as an [io/fs.FS]; it never writes.
//
// It reads what go-diskfs cannot: that opens only an ext4 with metadata
// checksums (no ext2, no ext3, nothing made by e2fsprogs before 1.44), misreads
// sparse files, and can be driven into endless loops and out of memory by a
// crafted directory index. Here every number from the disk is checked before
// it is used; the memory that a call needs is bounded by [fsview.MaxDir],
// [fsview.MaxFile] and the depth of an extent tree, 5.
//
// The journal is not replayed. A file system that needs recovery
// ([FS.NeedsRecovery]) may show files as they were some seconds before the
// machine stopped.
//
// Words: a block is the unit of allocation, an inode a file's description, an
// extent a run of blocks (ext4), a block map the older list of single blocks.
package extfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"esxodus/disk/internal/fsview"
	"esxodus/disk/internal/readat"
)

// ErrFormat is wrapped by errors that say that the bytes make no sense or use
// a feature that is not read here. Other errors are of reading.
var ErrFormat = errors.New("malformed ext file system")

const (
	superOffset = 1024
	rootInode   = 2
	maxGroups   = 1 << 22 // of 128 MiB: 512 TiB

	incompatCompression = 0x1
	incompatRecover     = 0x4
	incompatJournalDev  = 0x8
	incompatMetaBG      = 0x10
	incompat64Bit       = 0x80
	incompatFlexBG      = 0x200
	incompatInlineData  = 0x8000
)

// FS is an open file system. It keeps no cache; the reader under it should.
// Several goroutines may use it.
type FS struct {
	fsview.View

	r         io.ReaderAt
	size      int64
	blockSize int64
	blocks    int64 // in the file system
	firstData int64
	perGroup  int64 // inodes
	blocksPer int64 // blocks per group
	inodes    int64
	inodeSize int64
	descSize  int64
	firstMeta int64 // first meta block group
	free      int64 // blocks that any user may take
	freeFiles int64 // inodes
	incompat  uint32
	errors    string // what the kernel noted of them
	sums      sums

	accounting accounting
}

// Open reads the superblock of the file system in the first size bytes of r.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	b := make([]byte, 1024)
	if size < superOffset+1024 {
		return nil, fmt.Errorf("%w: %d bytes are too few", ErrFormat, size)
	}
	if err := readat.Full(r, b, superOffset); err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	f, err := parseSuper(b)
	if err != nil {
		return nil, err
	}
	if f.blocks > size/f.blockSize {
		return nil, fmt.Errorf("%w: it claims %d blocks of %d bytes in a space of %d bytes", ErrFormat, f.blocks, f.blockSize, size)
	}
	f.r, f.size = r, size
	f.View = fsview.New(f, rootInode)
	return f, nil
}

// parseSuper decodes the superblock's 1024 bytes.
func parseSuper(b []byte) (*FS, error) {
	le := binary.LittleEndian
	if len(b) < 1024 || le.Uint16(b[56:]) != 0xef53 {
		return nil, fmt.Errorf("%w: no superblock", ErrFormat)
	}
	logBlock := le.Uint32(b[24:])
	if logBlock > 6 {
		return nil, fmt.Errorf("%w: block size 2^%d", ErrFormat, logBlock)
	}
	f := &FS{
		blockSize: 1024 << logBlock, blocks: int64(le.Uint32(b[4:])), inodes: int64(le.Uint32(b[0:])),
		firstData: int64(le.Uint32(b[20:])), blocksPer: int64(le.Uint32(b[32:])), perGroup: int64(le.Uint32(b[40:])),
		inodeSize: 128, descSize: 32, incompat: le.Uint32(b[96:]), firstMeta: int64(le.Uint32(b[260:])),
	}
	if le.Uint32(b[76:]) >= 1 { // revision
		f.inodeSize = int64(le.Uint16(b[88:]))
	} else {
		f.incompat = 0
	}
	f.free = int64(le.Uint32(b[12:])) - int64(le.Uint32(b[8:])) // less those that are reserved
	if f.incompat&incompat64Bit != 0 {
		f.blocks |= int64(le.Uint32(b[336:])) << 32
		f.free += (int64(le.Uint32(b[344:])) - int64(le.Uint32(b[340:]))) << 32
		f.descSize = int64(le.Uint16(b[254:]))
	}
	f.free = min(max(f.free, 0), max(f.blocks, 0))
	f.freeFiles = min(int64(le.Uint32(b[16:])), f.inodes)
	if le.Uint16(b[58:])&stateErrors != 0 {
		f.errors = "a kernel that had it mounted found errors in it"
		if n := le.Uint32(b[404:]); n > 0 { // newer ones count
			f.errors += fmt.Sprintf(" (%d times)", n)
		}
	}
	f.sums, f.accounting = parseSums(b, f.incompat), parseAccounting(b)
	return f, f.check()
}

func (f *FS) check() error {
	switch {
	case f.incompat&(incompatCompression|incompatJournalDev) != 0:
		return fmt.Errorf("%w: features %#x: compressed, or a journal device", ErrFormat, f.incompat)
	case f.inodeSize < 128 || f.inodeSize > f.blockSize || f.inodeSize&(f.inodeSize-1) != 0:
		return fmt.Errorf("%w: inodes of %d bytes", ErrFormat, f.inodeSize)
	case f.descSize < 32 || f.descSize > 1024 || f.descSize&(f.descSize-1) != 0:
		return fmt.Errorf("%w: group descriptors of %d bytes", ErrFormat, f.descSize)
	case f.blocksPer == 0 || f.blocksPer > f.blockSize*8*f.accounting.ratio || f.perGroup == 0 || f.perGroup > f.blockSize*8:
		return fmt.Errorf("%w: %d blocks and %d inodes per group", ErrFormat, f.blocksPer, f.perGroup)
	case f.blocks <= 0 || f.blocks > 1<<46 || f.firstData > 1 || f.firstData >= f.blocks:
		return fmt.Errorf("%w: %d blocks, the first is %d", ErrFormat, f.blocks, f.firstData)
	case f.groups() > maxGroups:
		return fmt.Errorf("%w: %d groups", ErrFormat, f.groups())
	}
	return nil
}

func (f *FS) groups() int64 { return (f.blocks - f.firstData + f.blocksPer - 1) / f.blocksPer }

// Free is how many bytes can be written to files, as the superblock has it: of
// a file system that was not unmounted that may be out of date.
func (f *FS) Free() int64 { return f.free * f.blockSize }

// FreeFiles is how many files can be made: how many inodes are free. What Free
// says of its age holds for it, too.
func (f *FS) FreeFiles() int64 { return f.freeFiles }

// NeedsRecovery reports whether the journal holds changes that are not yet in
// place.
func (f *FS) NeedsRecovery() bool { return f.incompat&incompatRecover != 0 }

// descriptorAt is where the descriptor of a group lies, in bytes.
func (f *FS) descriptorAt(group int64) int64 {
	perBlock := f.blockSize / f.descSize
	meta := group / perBlock
	if f.incompat&incompatMetaBG == 0 || meta < f.firstMeta {
		return (superOffset/f.blockSize+1)*f.blockSize + group*f.descSize
	}
	// A meta block group keeps its descriptors in its first group, behind the
	// superblock's copy where that group has one.
	first := meta * perBlock
	block := f.firstData + first*f.blocksPer
	if f.hasSuper(first) {
		block++
	}
	if first == 0 && f.firstData == 0 && f.blockSize == superOffset {
		block++ // bigalloc counts the boot block too
	}
	return block*f.blockSize + group%perBlock*f.descSize
}

// hasSuper reports whether a group holds the superblock or a copy: all do; by the
// rule of sparse_super groups 0, 1 and powers of 3, 5 and 7; by that of
// sparse_super2 group 0 and two that the superblock names.
func (f *FS) hasSuper(group int64) bool {
	a := f.accounting
	if a.compat&compatSparseSuper2 != 0 {
		return group == 0 || group == int64(a.backups[0]) || group == int64(a.backups[1])
	}
	if group <= 1 || a.readOnly&roSparseSuper == 0 {
		return true
	}
	for _, n := range []int64{3, 5, 7} {
		p := n
		for p < group {
			p *= n
		}
		if p == group {
			return true
		}
	}
	return false
}

// block reads n bytes at a place in a block of the file system.
func (f *FS) block(number, at, n int64) ([]byte, error) {
	if number <= 0 || number >= f.blocks || at < 0 || n > f.blockSize-at {
		return nil, fmt.Errorf("%w: block %d of %d", ErrFormat, number, f.blocks)
	}
	b := make([]byte, n)
	if err := readat.Full(f.r, b, number*f.blockSize+at); err != nil {
		return nil, fmt.Errorf("block %d: %w", number, err)
	}
	return b, nil
}
