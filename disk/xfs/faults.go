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
	left := maxTree
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
	be := binary.BigEndian
	ring := g.spare
	if g.f.version == 5 {
		ring = ring[36:]
	}
	size := int64(len(ring) / 4)
	first, last, count := int64(be.Uint32(g.space[40:])), int64(be.Uint32(g.space[44:])), int64(be.Uint32(g.space[48:]))
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
	for i := range count {
		if b := be.Uint32(ring[(first+i)%size*4:]); b == noBlock || int64(b) >= g.length {
			return fmt.Sprintf("its spare blocks (AGFL) include block %d of %d", b, g.length)
		}
	}
	return ""
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

// leads says what is wrong with a block that the tree leads to, "" for nothing, and
// takes it down as seen.
func (g *group) leads(at uint32, seen map[uint32]bool) string {
	if seen[at] {
		return fmt.Sprintf("its tree of free space leads back to block %d", at)
	}
	seen[at] = true
	if int64(at) >= g.length {
		return fmt.Sprintf("its tree of free space leads to block %d of %d", at, g.length)
	}
	return ""
}

// tree counts what the group's tree of free space has, by their places, and says
// how that differs from what its header says, "" if it doesn't. It reads at most
// left blocks, and leaves the rest of them.
func (g *group) tree(left *int) (string, error) {
	be := binary.BigEndian
	head, magic := 16, "ABTB"
	if g.f.version == 5 {
		head, magic = 56, "AB3B"
	}
	at, level, count := be.Uint32(g.space[16:]), be.Uint32(g.space[28:])-1, int64(0)
	seen := make(map[uint32]bool) // at most maxTree
	for ; at != noBlock; *left-- {
		if *left == 0 {
			return "", nil
		}
		if wrong := g.leads(at, seen); wrong != "" {
			return wrong, nil
		}
		b, err := g.f.bytes(g.number*g.f.agBlocks+int64(at), g.f.blockSize)
		if err != nil {
			return "", err
		}
		n, each := int(be.Uint16(b[6:])), 8
		if level > 0 {
			each = 12 // a key and a pointer; all keys come first
		}
		most := (len(b) - head) / each
		if string(b[:4]) != magic || uint32(be.Uint16(b[4:])) != level || n > most || g.f.version == 5 && checkSum(b, 52) != nil {
			return fmt.Sprintf("block %d of its tree of free space makes no sense", at), nil
		}
		if level > 0 {
			at, level = be.Uint32(b[head+most*8:]), level-1
			continue
		}
		for i := range n {
			count += int64(be.Uint32(b[head+i*8+4:]))
		}
		at = be.Uint32(b[12:]) // the next leaf
	}
	if count != g.free() {
		return fmt.Sprintf("it counts %d free blocks, but its tree of them has %d", g.free(), count), nil
	}
	return "", nil
}
