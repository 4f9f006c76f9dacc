package xfs

import (
	"encoding/binary"
	"fmt"
	"slices"

	"esxodus/disk/internal/readat"
)

// Limits of a [freeTree].
const (
	maxLevels = 9       // XFS_BTREE_MAXLEVELS
	maxRead   = 1 << 20 // bytes of one read, and of the leaves that are kept at a time
)

// wrong says what is wrong with a group's tree of free space.
type wrong string

func (w wrong) Error() string { return string(w) }

func wrongf(format string, args ...any) error { return wrong(fmt.Sprintf(format, args...)) }

// freeTree is a walk through the tree that holds the free space of a group by
// its place ("XFS Algorithms & Data Structures", § AG Free Space B+Trees). It
// keeps a block of each level and [maxRead] of leaves. The runs in it must
// ascend, and all blocks but the root must be half full, as the kernel keeps
// them: so no tree, however it was made, has the walk read more blocks than it
// takes to list every second block of the group.
type freeTree struct {
	g *group
	// before is called before blocks are read, and run with each run of the
	// group's blocks that the tree has. An error from either ends the walk.
	before func(blocks int64) error
	run    func(start, count int64) error
	gap    int64 // blocks between two leaves that are rather read than left out

	rights     [maxLevels]level
	end        int64 // of the last run
	free, most int64 // blocks in all runs; of the longest
}

// level is how far a walk has come on a level of the tree, of which the leaves
// are 0.
type level struct {
	at    uint32 // the block that was last passed
	right uint32 // the one that it calls its right sibling
}

// walk goes through the whole tree, and checks it, and what the header says of it.
// What it finds wrong is an error of type [wrong]; others are those of reading, and
// those of before and run.
func (t *freeTree) walk() error {
	be := binary.BigEndian
	root, levels := be.Uint32(t.g.space[16:]), be.Uint32(t.g.space[28:])
	if levels == 0 || levels > maxLevels {
		return wrongf("its tree of free space has %d levels", levels)
	}
	for i := range t.rights {
		t.rights[i] = level{noBlock, noBlock}
	}
	if err := t.follow([]uint32{root}, nil, int(levels)-1); err != nil {
		return err
	}
	for _, l := range t.rights {
		if l.right != noBlock {
			return wrongf("its tree of free space ends at block %d, which has block %d beside it", l.at, l.right)
		}
	}
	if t.free != t.g.free() {
		return wrongf("it counts %d free blocks, but its tree of them has %d", t.g.free(), t.free)
	}
	if longest := int64(be.Uint32(t.g.space[56:])); t.most != longest {
		return wrongf("its longest run is of %d free blocks, but its tree has one of %d", longest, t.most)
	}
	return nil
}

// follow goes through the blocks that pointers lead to. keys are where each
// begins; the root has none.
func (t *freeTree) follow(pointers, keys []uint32, level int) error {
	batch := 1 // inner blocks are few
	if level == 0 {
		batch = max(1, int(maxRead/t.g.f.blockSize))
	}
	for i := 0; i < len(pointers); i += batch {
		part := pointers[i:min(i+batch, len(pointers))]
		blocks, err := t.read(part)
		if err != nil {
			return err
		}
		for j, b := range blocks {
			n, err := t.check(part[j], b, level, keys == nil)
			if err != nil {
				return err
			}
			head, _ := t.g.f.freeShape()
			if keys != nil && n > 0 && binary.BigEndian.Uint32(b[head:]) != keys[i+j] {
				return wrongf("block %d of its tree of free space does not begin where the tree says", part[j])
			}
			if level == 0 {
				err = t.leaf(b[head : head+8*n])
			} else {
				err = t.node(b[head:], n, level)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// freeShape is the length in bytes of the head of a block of such a tree, and its
// signature.
func (f *FS) freeShape() (head int, magic string) {
	if f.version == 5 {
		return 56, "AB3B"
	}
	return 16, "ABTB"
}

// check checks a block's head, and returns how many entries it has.
func (t *freeTree) check(at uint32, b []byte, lev int, root bool) (int, error) {
	be := binary.BigEndian
	head, magic := t.g.f.freeShape()
	n, most := int(be.Uint16(b[6:])), (len(b)-head)/entrySize(lev)
	if string(b[:4]) != magic || int(be.Uint16(b[4:])) != lev || n > most || n < most/2 && !root || n == 0 && lev > 0 {
		return 0, wrongf("block %d of its tree of free space makes no sense", at)
	}
	linear := t.g.number*t.g.f.agBlocks + int64(at)
	if err := t.g.f.verify(b, stamp{sum: 52, place: 16, uuid: 32, owner: 48, group: true}, linear, t.g.number); err != nil {
		return 0, wrongf("block %d of its tree of free space makes no sense: %v", at, err)
	}
	last := &t.rights[lev]
	if left := be.Uint32(b[8:]); left != last.at || last.at != noBlock && last.right != at {
		return 0, wrongf("block %d of its tree of free space is not where the blocks beside it say", at)
	}
	*last = level{at, be.Uint32(b[12:])}
	return n, nil
}

// entrySize is what an entry takes, bytes: a run in leaves, else a run and a
// pointer.
func entrySize(lev int) int {
	if lev > 0 {
		return 12
	}
	return 8
}

// leaf takes the runs of a leaf.
func (t *freeTree) leaf(runs []byte) error {
	be := binary.BigEndian
	for ; len(runs) > 0; runs = runs[8:] {
		start, count := int64(be.Uint32(runs)), int64(be.Uint32(runs[4:]))
		if count == 0 || start <= t.end || count > t.g.length-start { // runs that touch would be one
			return wrongf("its tree of free space has %d blocks at %d of %d, behind those up to %d", count, start, t.g.length, t.end)
		}
		t.end, t.free, t.most = start+count, t.free+count, max(t.most, count)
		if err := t.run(start, count); err != nil {
			return err
		}
	}
	return nil
}

// node follows an inner block's n pointers, behind the room for all its keys.
func (t *freeTree) node(b []byte, n, lev int) error {
	be := binary.BigEndian
	keys, pointers := make([]uint32, n), make([]uint32, n)
	for i := range n {
		keys[i] = be.Uint32(b[8*i:])
		pointers[i] = be.Uint32(b[len(b)/12*8+4*i:])
	}
	return t.follow(pointers, keys, lev-1)
}

// read reads blocks of the group, those that lie together at once, and returns
// them in the order they are given in.
func (t *freeTree) read(at []uint32) ([][]byte, error) {
	f, out := t.g.f, make([][]byte, len(at))
	order := make([]int, len(at))
	for i, a := range at {
		if int64(a) >= t.g.length {
			return nil, wrongf("its tree of free space leads to block %d of %d", a, t.g.length)
		}
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(at[a]) - int(at[b]) })
	for len(order) > 0 {
		first, n := int64(at[order[0]]), 1
		for n < len(order) {
			next, before := int64(at[order[n]]), int64(at[order[n-1]])
			if next == before {
				return nil, wrongf("its tree of free space leads twice to block %d", next)
			}
			if next-before-1 > t.gap || (next+1-first)*f.blockSize > maxRead {
				break
			}
			n++
		}
		count := int64(at[order[n-1]]) + 1 - first
		if err := t.before(count); err != nil {
			return nil, err
		}
		b := make([]byte, count*f.blockSize)
		if err := readat.Full(f.r, b, (t.g.number*f.agBlocks+first)*f.blockSize); err != nil {
			return nil, fmt.Errorf("blocks %d to %d: %w", first, first+count, err)
		}
		for _, i := range order[:n] {
			out[i] = slices.Clone(b[(int64(at[i])-first)*f.blockSize:][:f.blockSize])
		}
		order = order[n:]
	}
	return out, nil
}
