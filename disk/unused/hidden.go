package unused

import (
	"cmp"
	"slices"

	"esxodus/disk"
)

const (
	// shortest is the shortest run in bytes that is hidden: wherever it lies, it has
	// one of the copy's steps of 64 KiB in it. To leave out less costs a request more
	// than it saves.
	shortest = 128 << 10
	// most is how many runs the masks of a VM's disks may have together: 8 MiB of them,
	// several times over while they are looked for, in a few VMs at a time.
	most = 1 << 19
)

// hidden gathers what is unused of a disk. Where that is in too many runs the shortest
// are given up: they are used, then.
type hidden struct {
	ranges   []disk.Range
	shortest int64
	most     int
}

// emptied is one for each of some disks, which share the room.
func emptied(disks int) []hidden {
	all := make([]hidden, disks)
	for i := range all {
		all[i] = hidden{shortest: shortest, most: most / disks}
	}
	return all
}

func (h *hidden) add(r disk.Range) {
	if n := len(h.ranges) - 1; n >= 0 && h.ranges[n].Offset+h.ranges[n].Length == r.Offset {
		h.ranges[n].Length += r.Length
		return
	}
	// What comes next may go on where this one ends.
	if n := len(h.ranges) - 1; n >= 0 && h.ranges[n].Length < h.shortest {
		h.ranges = h.ranges[:n]
	}
	if h.ranges = append(h.ranges, r); len(h.ranges) > h.most {
		h.shorten()
	}
}

// addAll adds what was found of one space.
func (h *hidden) addAll(of *hidden) {
	for _, r := range of.ranges {
		h.add(r)
	}
}

// shorten gives up the shortest runs, until half of the room is free again.
func (h *hidden) shorten() {
	for len(h.ranges) > h.most/2 {
		h.shortest *= 2
		h.ranges = slices.DeleteFunc(h.ranges, func(r disk.Range) bool { return r.Length < h.shortest })
	}
}

// mask is the mask of a disk of size bytes.
func (h *hidden) mask(size int64) (*disk.Mask, error) {
	slices.SortFunc(h.ranges, func(a, b disk.Range) int { return cmp.Compare(a.Offset, b.Offset) })
	var joined []disk.Range
	for _, r := range h.ranges {
		if n := len(joined) - 1; n >= 0 && joined[n].Offset+joined[n].Length == r.Offset {
			joined[n].Length += r.Length
			continue
		}
		joined = append(joined, r)
	}
	joined = slices.DeleteFunc(joined, func(r disk.Range) bool { return r.Length < h.shortest })
	return disk.NewMask(size, joined)
}
