package xfs

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"esxodus/disk"
	"esxodus/disk/internal/freemap"
)

// Features that the rules for free space are known to hold with.
const (
	versionShared   = 0x200 // of version 4: nothing mounts it
	features2Known  = 0x28a // LAZYSBCOUNT, ATTR2, PROJID32, FTYPE
	readOnlyFINOBT  = 0x1
	readOnlyRMAP    = 0x2
	readOnlyReflink = 0x4
	readOnlyKnown   = 0xf // those and INOBTCNT
	logKnown        = 0x1 // LARP; what is in the log says it is one only until it is clean

	gapBytes = 128 << 10 // what is read between two leaves rather than asked for apart
)

// doubt says why the groups' trees of free space can't be relied on by what the
// superblock says, "" for no reason.
func doubt(b []byte, version int) string {
	be := binary.BigEndian
	compat, readOnly, incompat, log := be.Uint32(b[208:]), be.Uint32(b[212:]), be.Uint32(b[216:]), be.Uint32(b[220:])
	more := uint32(0)
	if be.Uint16(b[100:])&versionMoreBits != 0 {
		more = be.Uint32(b[200:]) | be.Uint32(b[204:])
	}
	switch {
	case be.Uint64(b[48:]) == 0:
		return "its log lies on another device"
	case be.Uint64(b[16:]) != 0:
		return "it has a realtime section"
	case version == 4 && (be.Uint16(b[100:])&versionShared != 0 || more&^features2Known != 0):
		return fmt.Sprintf("it has features that are not known (version %#x, %#x)", be.Uint16(b[100:]), more)
	case version == 4:
		return ""
	case incompat&incompatNeedsRepair != 0:
		return "it is marked as needing xfs_repair"
	case incompat >= incompatMetaDir || compat != 0 || readOnly&^readOnlyKnown != 0 || log&^logKnown != 0:
		return fmt.Sprintf("it has features whose free space is not known (compatible %#x, read-only %#x, incompatible %#x, log %#x)", compat, readOnly, incompat, log)
	}
	return ""
}

// Unused yields the runs of bytes, from the start of the file system, that hold
// nothing: ascending, disjoint, not touching, each inside the size given to
// [Open]. They are the runs in each group's tree of free space; its spare blocks
// (AGFL) count as used, and so does all behind the last block.
//
// The trees must be sound, and agree with what the headers of their groups
// count. That the superblock counts otherwise means nothing: while the file
// system is mounted its counts aren't kept. The log is not looked into: as long
// as it is to be replayed the trees are those of some moment before, in which
// files had not yet got their blocks.
//
// A [disk.UntrustedError] says why nothing can be told; other errors are those of
// reading. After an error whatever was yielded before is void. It keeps some 2
// MiB, and asks ctx before each read.
func (f *FS) Unused(ctx context.Context) iter.Seq2[disk.Range, error] {
	return freemap.Runs(func(yield func(disk.Range) bool) error { return f.unused(ctx, yield) })
}

func (f *FS) unused(ctx context.Context, yield func(disk.Range) bool) error {
	switch {
	case f.doubt != "":
		return &disk.UntrustedError{Why: f.doubt}
	case f.dirty:
		return &disk.UntrustedError{Why: "it was not unmounted: its log is to be replayed"}
	}
	for n := range (f.blocks-1)/f.agBlocks + 1 {
		err := f.unusedOf(ctx, n, yield)
		var what wrong
		switch {
		case errors.As(err, &what):
			return &disk.UntrustedError{Why: fmt.Sprintf("allocation group %d: %s", n, what)}
		case err != nil:
			return fmt.Errorf("allocation group %d: %w", n, err)
		}
	}
	return nil
}

// unusedOf yields the free runs of a group.
func (f *FS) unusedOf(ctx context.Context, n int64, yield func(disk.Range) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g, err := f.group(n)
	if err != nil {
		return err
	}
	if bad := g.check(); len(bad) > 0 {
		return wrong(bad[0].Error())
	}
	if what := g.spares(); what != "" {
		return wrong(what)
	}
	used := g.fixed()
	t := &freeTree{
		g: g, gap: gapBytes / f.blockSize,
		before: func(int64) error { return ctx.Err() },
		run: func(start, count int64) error {
			for len(used) > 0 && used[0].end <= start {
				used = used[1:]
			}
			if len(used) > 0 && used[0].start < start+count {
				return wrongf("its blocks %d to %d are free, but %s is there", start, start+count, used[0].what)
			}
			if !yield(disk.Range{Offset: (n*f.agBlocks + start) * f.blockSize, Length: count * f.blockSize}) {
				return freemap.ErrStopped
			}
			return nil
		},
	}
	return t.walk()
}

// fixture is blocks of a group that are known to be used.
type fixture struct {
	start, end int64
	what       string
}

// fixed lists what a group is known to use without a look at its files, by place:
// its headers, its spare blocks, the roots of its trees, the log, the root
// directory's inode.
func (g *group) fixed() []fixture {
	be, f := binary.BigEndian, g.f
	used := []fixture{{0, (4*f.sectorSize + f.blockSize - 1) / f.blockSize, "its header"}}
	for _, r := range []struct {
		header  []byte
		at      int
		feature uint32
	}{
		{g.space, 16, 0},
		{g.space, 20, 0},
		{g.space, 24, readOnlyRMAP},
		{g.space, 88, readOnlyReflink},
		{g.inodes, 20, 0},
		{g.inodes, 328, readOnlyFINOBT},
	} {
		if r.feature == 0 || f.readOnly&r.feature != 0 {
			root := int64(be.Uint32(r.header[r.at:]))
			used = append(used, fixture{root, root + 1, "a tree's root"})
		}
	}
	for _, b := range g.spareBlocks() {
		used = append(used, fixture{int64(b), int64(b) + 1, "a spare block"})
	}
	for _, r := range []struct {
		block  uint64
		blocks int64
		what   string
	}{{f.logStart, f.logBlocks, "the log"}, {f.rootInode >> f.perBits, 1, "the root directory"}} {
		if r.block>>f.agBits == uint64(g.number) {
			at := int64(r.block & (1<<f.agBits - 1)) // agBits is at most 31
			used = append(used, fixture{at, at + r.blocks, r.what})
		}
	}
	slices.SortFunc(used, func(a, b fixture) int { return cmp.Compare(a.start, b.start) })
	return used
}
