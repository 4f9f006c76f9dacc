package xfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"esxodus/disk/internal/readat"
)

// What [FS.Faults] looks at most at: allocation groups, of which most file
// systems have 4 to 32 and one that was grown may have hundreds, and blocks of
// their trees of free space, of which a group has one as long as its free space
// is in some hundred runs.
const (
	maxGroups = 256
	maxTree   = 512
)

const (
	incompatNeedsRepair = 0x10
	incompatMetaDir     = 0x100 // and later: other things count as free, too

	features2LazyCount = 0x2

	noBlock = 1<<32 - 1

	// Where the headers of a group have their fields: "XFS Algorithms & Data
	// Structures", § Allocation Groups.
	spaceSum, inodeSum, spareSum    = 216, 312, 32
	spaceUUID, inodeUUID, spareUUID = 64, 296, 8
)

// totals is what the superblock says of all groups together.
type totals struct {
	free, inodes, freeInodes uint64
	lazy                     bool // only an unmount brings them up to date, and counts blocks of trees as free
}

// Faults says what the superblock and the headers of the allocation groups have
// that xfs_repair would complain of, and which of that makes a kernel refuse the
// file system, or the groups, besides. It reads some KiB of each of the first
// groups and, while they are small, of their trees of free space: none found
// doesn't mean that there are none.
// Before the log is replayed nothing can be said. An error is of reading.
func (f *FS) Faults() (faults, refused []string, err error) {
	if f.incompat&incompatNeedsRepair != 0 {
		refused = append(refused, "it is marked as needing xfs_repair")
	}
	if f.dirty {
		return nil, refused, nil
	}
	groups := (f.blocks-1)/f.agBlocks + 1
	var sum totals
	left := int64(maxTree)
	for n := range min(groups, maxGroups) {
		g, err := f.group(n)
		if err != nil {
			return nil, nil, fmt.Errorf("allocation group %d: %w", n, err)
		}
		bad := g.check()
		for _, err := range bad {
			refused = append(refused, fmt.Sprintf("allocation group %d: %v", n, err))
		}
		if len(bad) == 0 {
			what, err := g.tree(&left)
			if err != nil {
				return nil, nil, fmt.Errorf("allocation group %d: %w", n, err)
			}
			if what != "" {
				faults = append(faults, fmt.Sprintf("allocation group %d: %s", n, what))
			}
		}
		if what := g.spares(); what != "" {
			faults = append(faults, fmt.Sprintf("allocation group %d: %s", n, what))
		}
		g.addTo(&sum)
	}
	if len(refused) == 0 && groups <= maxGroups && f.incompat < incompatMetaDir {
		faults = append(faults, f.totals.against(sum)...)
	}
	return faults, refused, nil
}

// group is the headers of an allocation group.
type group struct {
	f                    *FS
	number, length       int64
	space, inodes, spare []byte // AGF, AGI, AGFL: a sector each
}

// group reads the headers of a group, the sectors behind its superblock.
func (f *FS) group(n int64) (*group, error) {
	b := make([]byte, 3*f.sectorSize)
	if err := readat.Full(f.r, b, n*f.agBlocks*f.blockSize+f.sectorSize); err != nil {
		return nil, err
	}
	s := f.sectorSize
	return &group{
		f: f, number: n, length: min(f.agBlocks, f.blocks-n*f.agBlocks),
		space: b[:s], inodes: b[s : 2*s], spare: b[2*s:],
	}, nil
}

// check is what the kernel checks in the headers when it reads them.
func (g *group) check() (bad []error) {
	be := binary.BigEndian
	for _, h := range []struct {
		name, magic     string
		b               []byte
		sum, uuid, seq  int
		length, version int // 0: it has none
	}{
		{"header of its free space (AGF)", "XAGF", g.space, spaceSum, spaceUUID, 8, 12, 4},
		{"header of its inodes (AGI)", "XAGI", g.inodes, inodeSum, inodeUUID, 8, 12, 4},
		{"list of spare blocks (AGFL)", "XAFL", g.spare, spareSum, spareUUID, 4, 0, 0},
	} {
		if h.version == 0 && g.f.version < 5 {
			continue // a bare list
		}
		err := g.stamped(h.b, h.magic, h.sum, h.uuid)
		switch {
		case err != nil:
		case be.Uint32(h.b[h.seq:]) != uint32(g.number): // at most maxGroups
			err = fmt.Errorf("it belongs to group %d", be.Uint32(h.b[h.seq:]))
		case h.version > 0 && be.Uint32(h.b[h.version:]) != 1:
			err = fmt.Errorf("version %d", be.Uint32(h.b[h.version:]))
		case h.length > 0 && int64(be.Uint32(h.b[h.length:])) != g.length:
			err = fmt.Errorf("%d blocks, but the group has %d", be.Uint32(h.b[h.length:]), g.length)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("the %s makes no sense: %w", h.name, err))
		}
	}
	if free, longest := g.free(), int64(be.Uint32(g.space[56:])); len(bad) == 0 && (free > g.length || longest > free) {
		bad = append(bad, fmt.Errorf("it counts %d free blocks of %d, and a run of %d", free, g.length, longest))
	}
	return bad
}

// stamped checks what all headers have.
func (g *group) stamped(b []byte, magic string, sum, uuid int) error {
	if string(b[:4]) != magic {
		return errors.New("its signature is wrong")
	}
	if g.f.version < 5 {
		return nil
	}
	if err := checkSum(b, sum); err != nil {
		return err
	}
	if !bytes.Equal(b[uuid:uuid+16], g.f.uuid[:]) {
		return errors.New("it belongs to another file system")
	}
	return nil
}

func (g *group) free() int64 { return int64(binary.BigEndian.Uint32(g.space[52:])) }

// spares says what is wrong with the ring of blocks that a group keeps for the
// trees of its free space, "" if nothing is. Kernels before 4.5 took it for one
// slot shorter than later ones do (struct xfs_agfl was padded), so that one that
// goes beyond the end has a hole for those: they give it up when they first
// allocate, and its blocks are lost until xfs_repair.
func (g *group) spares() string {
	size, first, last, count := g.ring()
	if first >= size || last >= size || count > size {
		return fmt.Sprintf("its %d spare blocks (AGFL) are in slots %d to %d of %d", count, first, last, size)
	}
	if count == 0 {
		return ""
	}
	has := last - first + 1
	if last < first {
		has += size
	}
	if has != count {
		what := fmt.Sprintf("it counts %d spare blocks (AGFL), but lists %d", count, has)
		if last < first && has == count+1 {
			what += ", as kernels before 4.5 did"
		}
		return what
	}
	for _, b := range g.spareBlocks() {
		if b == noBlock || int64(b) >= g.length {
			return fmt.Sprintf("its spare blocks (AGFL) include block %d of %d", b, g.length)
		}
	}
	return ""
}

// ring says of the spare blocks how many slots there are for them, which are the
// first and the last that are taken, and how many.
func (g *group) ring() (size, first, last, count int64) {
	be := binary.BigEndian
	return int64(len(g.slots()) / 4), int64(be.Uint32(g.space[40:])), int64(be.Uint32(g.space[44:])), int64(be.Uint32(g.space[48:]))
}

func (g *group) slots() []byte {
	if g.f.version == 5 {
		return g.spare[36:]
	}
	return g.spare
}

// spareBlocks lists the spare blocks, once their slots were found to make sense.
func (g *group) spareBlocks() []uint32 {
	size, first, _, count := g.ring()
	blocks := make([]uint32, count)
	for i := range blocks {
		blocks[i] = binary.BigEndian.Uint32(g.slots()[(first+int64(i))%size*4:])
	}
	return blocks
}

// addTo adds what the group counts.
func (g *group) addTo(t *totals) {
	be := binary.BigEndian
	t.free += uint64(be.Uint32(g.space[52:])) + uint64(be.Uint32(g.space[48:]))
	if g.f.totals.lazy {
		t.free += uint64(be.Uint32(g.space[60:]))
	}
	t.inodes += uint64(be.Uint32(g.inodes[16:]))
	t.freeInodes += uint64(be.Uint32(g.inodes[28:]))
}

// against compares the superblock's counts with those of the groups.
func (t totals) against(groups totals) (faults []string) {
	for _, c := range []struct {
		what    string
		of, all uint64
	}{{"free blocks", t.free, groups.free}, {"inodes", t.inodes, groups.inodes}, {"free inodes", t.freeInodes, groups.freeInodes}} {
		if c.of != c.all {
			faults = append(faults, fmt.Sprintf("it counts %d %s, but its allocation groups count %d", c.of, c.what, c.all))
		}
	}
	return faults
}

// tree says how the group's tree of free space differs from what its header says,
// "" if it doesn't. It reads at most left blocks, and leaves the rest of them.
func (g *group) tree(left *int64) (string, error) {
	enough := errors.New("enough")
	t := &freeTree{
		g:   g,
		run: func(int64, int64) error { return nil },
		before: func(blocks int64) error {
			if *left -= blocks; *left < 0 {
				return enough
			}
			return nil
		},
	}
	err := t.walk()
	var what wrong
	switch {
	case errors.As(err, &what):
		return string(what), nil
	case errors.Is(err, enough):
		return "", nil
	}
	return "", err
}
