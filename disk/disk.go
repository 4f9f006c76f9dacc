// Package disk moves the bytes of virtual disks.
//
// Words: an [Image] is anything readable as a disk; an [Extent] is a run of
// bytes of it that is data or known to read as zeros; a [Mapping] says where a
// range of an image lands on a [Target]. A copy is a list of mappings, so that
// a disk can arrive in another layout than it left in; one mapping of
// everything is the plain copy. [Copy] hashes each block as it passes and
// [Verify] reads the target back against those hashes.
package disk

import (
	"io"
	"iter"
)

// Image is a disk's content. ReadAt may be called from several goroutines.
// What it reads through (a network, say) ends with the context that it was
// opened with.
type Image interface {
	io.ReaderAt
	Size() int64 // bytes
	// Extents yields runs that ascend, touch, and cover [0, Size). An error
	// ends it.
	Extents() iter.Seq2[Extent, error]
}

// Extent is a run of bytes of an Image.
type Extent struct {
	Offset int64 // bytes
	Length int64 // bytes, more than 0
	Zero   bool  // reads as zeros; need not be read at all
}

// Target is what a copy writes to: a raw file or a block device. Its methods
// may be called from several goroutines.
type Target interface {
	io.ReaderAt
	io.WriterAt
	Size() int64 // bytes
	// Zero makes [off, off+n) read as zeros, without writing them where the
	// target can do better (a hole, BLKZEROOUT).
	Zero(off, n int64) error
	// Sync returns once everything written is on stable storage.
	Sync() error
}

// Mapping says that Length bytes of Source from SourceOffset land at
// TargetOffset. Source is nil for a range that shall read as zeros. All three
// numbers are bytes and multiples of the sector, 512.
type Mapping struct {
	Source       Image
	SourceOffset int64
	TargetOffset int64
	Length       int64
}
