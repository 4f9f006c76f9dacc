package extfs

import (
	"encoding/binary"
	"fmt"

	"esxodus/disk"
)

const (
	stateValid = 0x1

	compatJournal      = 0x4
	compatSparseSuper2 = 0x200
	compatFastCommit   = 0x400

	// Features under which a bitmap has what is used: of lazy_bg (0x40) and of
	// snapshots (compatible 0x180, read-only 0x80) that isn't known, nor of blocks that
	// files share (0x4000).
	knownCompat   = 0x1e3f
	knownIncompat = 0x3e7d6
	knownReadOnly = 0x1b77f

	roSparseSuper = 0x1
	roBigalloc    = 0x200
	roOrphans     = 0x10000
)

// accounting is what the superblock says of how blocks are accounted for.
type accounting struct {
	compat, readOnly uint32 // features
	clean            bool   // unmounted, or with a journal
	orphan           uint32 // the first inode that is deleted and was still open
	backups          [2]uint32
	reserved         int64 // blocks behind the group descriptors
	journal          uint32
	external         bool // the journal is elsewhere
	ratio            int64
	clusters         int64 // per group
}

// parseAccounting decodes these fields of the superblock. A file system of
// revision 0 has no features.
func parseAccounting(b []byte) accounting {
	le := binary.LittleEndian
	a := accounting{clean: le.Uint16(b[58:])&stateValid != 0, ratio: 1, clusters: int64(le.Uint32(b[32:]))}
	if le.Uint32(b[76:]) == 0 { // revision
		return a
	}
	a.compat, a.readOnly = le.Uint32(b[92:]), le.Uint32(b[100:])
	a.orphan, a.reserved = le.Uint32(b[232:]), int64(le.Uint16(b[206:]))
	a.journal, a.external = le.Uint32(b[224:]), le.Uint32(b[228:]) != 0
	a.backups = [2]uint32{le.Uint32(b[588:]), le.Uint32(b[592:])}
	if a.readOnly&roBigalloc != 0 {
		a.ratio, a.clusters = 0, int64(le.Uint32(b[36:]))
		if log := int64(le.Uint32(b[28:])) - int64(le.Uint32(b[24:])); log >= 0 && log < 32 {
			a.ratio = 1 << log
		}
	}
	return a
}

// trusted says why the superblock rules out that the bitmaps tell what is used.
func (f *FS) trusted() error {
	a := f.accounting
	var why string
	switch {
	case a.compat&^knownCompat != 0 || f.incompat&^knownIncompat != 0 || a.readOnly&^knownReadOnly != 0:
		why = fmt.Sprintf("it has features that aren't known here (%#x, %#x, %#x)", a.compat&^knownCompat, f.incompat&^knownIncompat, a.readOnly&^knownReadOnly)
	case f.sums.super:
		why = "the checksum of its superblock is wrong"
	case f.errors != "":
		why = f.errors
	case !a.clean:
		why = "it wasn't unmounted and has no journal"
	case !f.NeedsRecovery() && (a.orphan != 0 || a.readOnly&roOrphans != 0):
		why = "files that were deleted while they were open are still to be freed"
	case f.NeedsRecovery() && a.compat&compatFastCommit != 0:
		why = "it wasn't unmounted, and its journal has fast commits, which tell nothing of bitmaps"
	case f.NeedsRecovery() && (a.compat&compatJournal == 0 || a.external):
		why = "it wasn't unmounted, and its journal isn't in it"
	case a.clusters%8 != 0:
		why = fmt.Sprintf("its groups have %d clusters, no whole number of bytes in a bitmap", a.clusters)
	default:
		return f.accountable()
	}
	return &disk.UntrustedError{Why: why}
}

// accountable checks the numbers that bitmaps are read by.
func (f *FS) accountable() error {
	a := f.accounting
	if a.ratio == 0 || a.clusters == 0 || a.clusters > f.blockSize*8 || a.clusters*a.ratio != f.blocksPer {
		return fmt.Errorf("%w: groups of %d blocks and %d clusters of %d blocks", ErrFormat, f.blocksPer, a.clusters, a.ratio)
	}
	return nil
}
