package extfs

import (
	"context"
	"encoding/binary"
	"fmt"

	"esxodus/disk"
	"esxodus/disk/internal/readat"
)

const (
	journalMagic = 0xc03b3998

	blockDescriptor = 1 // kinds of blocks
	blockSuperV1    = 3
	blockSuperV2    = 4

	journal64Bit = 0x2 // incompatible features
	journalSumV2 = 0x8
	journalSumV3 = 0x10
	journalKnown = 0x1f // those, revocations (1) and commits that aren't waited for (4)

	journalSums = 0x1 // the compatible feature

	tagEscaped  = 0x1
	tagSameUUID = 0x2
	tagLast     = 0x8

	journalRead    = 1 << 20
	maxJournal     = 10_240_000 // blocks, mke2fs's limit
	maxJournalRuns = 1 << 16
	maxCopies      = 3 << 20 // bytes of bitmaps that are kept
)

// copies are the bitmaps that a journal has, all those of a group in one.
type copies struct {
	of   map[int64]bitmap // by group
	room int64            // bytes
	rest bitmap           // groups that there was no room for: all of them counts as used
}

// add adds a block of the journal.
func (c *copies) add(group int64, block bitmap) {
	b, ok := c.of[group]
	if !ok {
		if c.room -= int64(len(block)); c.room < 0 {
			c.rest.set(group, group+1)
			return
		}
		b = make(bitmap, len(block))
		c.of[group] = b
	}
	b.or(block)
}

// mark marks in a group's bitmap what the copies have as used.
func (c *copies) mark(group int64, used bitmap) {
	used.or(c.of[group])
	if c.rest[group/8]>>(group%8)&1 != 0 {
		used.set(0, int64(len(used))*8)
	}
}

// journal is the journal of a file system, and where in it the reading is.
type journal struct {
	f      *FS
	m      *metadata
	in     inode
	copies *copies

	blocks int64 // from its superblock on
	first  int64 // behind the superblock
	dirty  bool  // it has something to replay
	odd    string

	tagSize, tagsEnd int
	wide             bool // block numbers have 64 bits
	tags             []tag
}

// tag says what one of the blocks behind a descriptor block is.
type tag struct {
	group   int64 // whose bitmap it is, or one of these
	escaped bool  // it begins with journalMagic, where the journal has zeros
}

const (
	tagOther = -1
	tagSuper = -2 // the superblock
)

// journalled reads the bitmaps in the journal of a file system that needs it to be
// replayed. Of one that doesn't it looks whether the journal is empty, and returns nil.
func (f *FS) journalled(ctx context.Context, m *metadata) (*copies, error) {
	if f.accounting.compat&compatJournal == 0 || f.accounting.external {
		return nil, nil
	}
	j, err := f.openJournal()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	switch {
	case j.odd != "":
	case !f.NeedsRecovery() && j.dirty:
		j.odd = "holds changes, though the superblock says that it doesn't"
	case !f.NeedsRecovery():
		return nil, nil
	case j.blocks > m.free*f.accounting.ratio:
		j.odd = "is larger than the free space that it may tell of"
	}
	if j.odd != "" {
		return nil, &disk.UntrustedError{Why: "its journal " + j.odd}
	}
	j.m, j.copies = m, &copies{of: map[int64]bitmap{}, room: maxCopies, rest: make(bitmap, f.groups()/8+1)}
	if err := j.walk(ctx); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if j.odd != "" {
		return nil, &disk.UntrustedError{Why: "its journal " + j.odd}
	}
	return j.copies, nil
}

// openJournal reads a journal's superblock (struct journal_superblock_s of Linux'
// include/linux/jbd2.h), and notes what is odd about it.
func (f *FS) openJournal() (*journal, error) {
	be := binary.BigEndian
	in, err := f.inode(int64(f.accounting.journal))
	if err != nil {
		return nil, err
	}
	b := make([]byte, 1024)
	if in.size < int64(len(b)) {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrFormat, in.size)
	}
	if _, err := f.readAt(in, b, 0); err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	j := &journal{
		f: f, in: in, blocks: int64(be.Uint32(b[16:])), first: int64(be.Uint32(b[20:])),
		dirty: be.Uint32(b[28:]) != 0, tagSize: 8, tagsEnd: int(f.blockSize),
	}
	kind := be.Uint32(b[4:])
	switch {
	case be.Uint32(b) != journalMagic || kind != blockSuperV1 && kind != blockSuperV2:
		j.odd = "has no superblock"
	case int64(be.Uint32(b[12:])) != f.blockSize || j.blocks > in.size/f.blockSize || j.blocks > maxJournal || j.first < 1 || j.first >= j.blocks:
		j.odd = fmt.Sprintf("has %d blocks of %d bytes, the first is %d, in a file of %d bytes", j.blocks, be.Uint32(b[12:]), j.first, in.size)
	case be.Uint32(b[32:]) != 0:
		j.odd = "notes an error"
	case kind == blockSuperV2:
		j.features(b)
	}
	return j, nil
}

// features takes in what features a journal has.
func (j *journal) features(b []byte) {
	be := binary.BigEndian
	compat, incompat, readOnly := be.Uint32(b[36:]), be.Uint32(b[40:]), be.Uint32(b[44:])
	if j.f.NeedsRecovery() && (compat&^journalSums != 0 || incompat&^journalKnown != 0 || readOnly != 0) {
		j.odd = fmt.Sprintf("has features that aren't known here (%#x, %#x, %#x)", compat, incompat, readOnly)
		return
	}
	// As journal_tag_bytes of Linux' fs/jbd2/journal.c has it.
	if j.wide = incompat&journal64Bit != 0; j.wide {
		j.tagSize += 4
	}
	if incompat&journalSumV2 != 0 {
		j.tagSize += 2
	}
	if incompat&journalSumV3 != 0 {
		j.tagSize = 16
	}
	if incompat&(journalSumV2|journalSumV3) == 0 {
		return
	}
	j.tagsEnd -= 4
	sum := be.Uint32(b[252:])
	be.PutUint32(b[252:], 0)
	if sum != crc32c(1<<32-1, b) {
		j.odd = "has a superblock whose checksum is wrong"
	}
}

// walk takes all bitmaps from the journal.
func (j *journal) walk(ctx context.Context) error {
	runs, err := j.f.runs(ctx, j.in, j.blocks)
	if err != nil {
		return err
	}
	if err := j.each(ctx, runs, j.look); err != nil {
		return err
	}
	return j.wrap(ctx, runs)
}

// look looks at the next block.
func (j *journal) look(b []byte) bool {
	switch {
	case binary.BigEndian.Uint32(b) != journalMagic:
		j.take(b)
	case binary.BigEndian.Uint32(b[4:]) == blockDescriptor:
		j.tags = j.describe(b)
	default:
		j.tags = nil
	}
	return true
}

// wrap goes on behind the superblock: the journal is a ring, and the last tags may
// be of blocks there.
func (j *journal) wrap(ctx context.Context, runs []span) error {
	if len(j.tags) == 0 {
		return nil
	}
	return j.each(ctx, runs, func(b []byte) bool {
		if binary.BigEndian.Uint32(b) == journalMagic {
			return false
		}
		j.take(b)
		return len(j.tags) > 0
	})
}

// each reads the blocks behind the superblock, one after the other, until do
// returns false.
func (j *journal) each(ctx context.Context, runs []span, do func(b []byte) bool) error {
	size := j.f.blockSize
	buf := make([]byte, journalRead)
	skip := j.first
	for _, r := range runs {
		from := min(skip, r.count)
		skip -= from
		for from < r.count {
			b := buf[:min(r.count-from, journalRead/size)*size]
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := readat.Full(j.f.r, b, (r.start+from)*size); err != nil {
				return fmt.Errorf("block %d: %w", r.start+from, err)
			}
			from += int64(len(b)) / size
			for ; len(b) > 0; b = b[size:] {
				if !do(b[:size]) {
					return nil
				}
			}
		}
	}
	return nil
}

// describe decodes a descriptor block: a tag for each of the blocks that follow it.
// None of those begins with journalMagic as long as they're what it describes:
// one that does was written later, and with it the tags end.
func (j *journal) describe(b []byte) []tag {
	be := binary.BigEndian
	tags := j.tags[:0]
	for at := 12; at+j.tagSize <= j.tagsEnd; at += j.tagSize {
		t := b[at : at+j.tagSize]
		block, flags := int64(be.Uint32(t)), be.Uint16(t[6:])
		if j.wide {
			block |= int64(be.Uint32(t[8:])) << 32
		}
		group, found := j.m.groupOf(block)
		switch {
		case block == superOffset/j.f.blockSize:
			group = tagSuper
		case !found:
			group = tagOther
		}
		tags = append(tags, tag{group, flags&tagEscaped != 0})
		if flags&tagSameUUID == 0 {
			at += 16
		}
		if flags&tagLast != 0 {
			break
		}
	}
	return tags
}

// take takes the block that the next tag is of.
func (j *journal) take(b []byte) {
	if len(j.tags) == 0 {
		return
	}
	t := j.tags[0]
	j.tags = j.tags[1:]
	switch t.group {
	case tagOther:
	case tagSuper:
		j.compare(b[superOffset%j.f.blockSize:])
	default:
		if t.escaped {
			binary.BigEndian.PutUint32(b, journalMagic)
		}
		j.copies.add(t.group, b[:j.f.accounting.clusters/8])
	}
}

// compare looks at a copy of the superblock. One with another size is of a file system
// that was grown, whose bitmaps may not all be known yet; one that notes errors is of a
// file system whose bitmaps may be wrong.
func (j *journal) compare(super []byte) {
	other, err := parseSuper(super)
	switch {
	case err != nil: // stale, and something else
	case other.blocks != j.f.blocks:
		j.odd = fmt.Sprintf("has a superblock of %d blocks, the file system %d: it was being grown", other.blocks, j.f.blocks)
	case other.errors != "":
		j.odd = "has a superblock in which a kernel noted errors"
	}
}

// runs is where the first n blocks of a file without holes lie.
func (f *FS) runs(ctx context.Context, in inode, n int64) ([]span, error) {
	rs := fileRuns{f: f, left: n}
	if in.flags&flagExtents == 0 {
		err := rs.mapped(ctx, in)
		return rs.runs, err
	}
	for looks := 0; rs.left > 0; looks++ {
		if looks > maxJournalRuns {
			return nil, errScattered()
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start, count, err := f.findExtent(in, n-rs.left)
		if err != nil {
			return nil, err
		}
		if err := rs.add(start, count); err != nil {
			return nil, err
		}
	}
	return rs.runs, nil
}

func errScattered() error {
	return &disk.UntrustedError{Why: "its journal lies in too many pieces"}
}

// fileRuns are the blocks of a file as far as they were found.
type fileRuns struct {
	f    *FS
	runs []span
	left int64
}

func (rs *fileRuns) add(start, count int64) error {
	count = min(count, rs.left)
	if start <= 0 || start > rs.f.blocks-count {
		return fmt.Errorf("%w: blocks %d to %d of %d", ErrFormat, start, start+count, rs.f.blocks)
	}
	rs.left -= count
	if last := len(rs.runs) - 1; last >= 0 && rs.runs[last].start+rs.runs[last].count == start {
		rs.runs[last].count += count
		return nil
	}
	if rs.runs = append(rs.runs, span{start, count}); len(rs.runs) > maxJournalRuns {
		return errScattered()
	}
	return nil
}

// mapped goes through a block map, each of whose blocks it reads once.
func (rs *fileRuns) mapped(ctx context.Context, in inode) error {
	for i := range 15 {
		level := max(i-11, 0)
		if err := rs.indirect(ctx, int64(binary.LittleEndian.Uint32(in.block[4*i:])), level); err != nil {
			return err
		}
	}
	if rs.left > 0 {
		return fmt.Errorf("%w: %d blocks are past the block map", ErrFormat, rs.left)
	}
	return nil
}

// indirect adds a block, or those that it lists at some level.
func (rs *fileRuns) indirect(ctx context.Context, block int64, level int) error {
	if rs.left == 0 {
		return nil
	}
	if level == 0 {
		return rs.add(block, 1)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := rs.f.block(block, 0, rs.f.blockSize)
	if err != nil {
		return fmt.Errorf("block map: %w", err)
	}
	for ; len(b) > 0 && rs.left > 0; b = b[4:] {
		if err := rs.indirect(ctx, int64(binary.LittleEndian.Uint32(b)), level-1); err != nil {
			return err
		}
	}
	return nil
}
