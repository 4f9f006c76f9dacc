package lvm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"esxodus/disk"
)

// Located is a physical volume and the image that it was read of.
type Located struct {
	PV    PV
	Image disk.Image
}

// Groups returns the volume groups on a VM's physical volumes, each as its newest
// metadata has it, and the physical volumes' images by UUID. Of two that claim to
// be one the first counts; twice are the numbers of the others.
func Groups(pvs []Located) (groups []VG, images map[string]disk.Image, twice []int) {
	images = make(map[string]disk.Image, len(pvs))
	at := make(map[string]int) // of the groups, by UUID
	for i, p := range pvs {
		if _, ok := images[p.PV.UUID]; ok {
			twice = append(twice, i)
			continue
		}
		images[p.PV.UUID] = p.Image
		vg := p.PV.VG
		if vg.Name == "" {
			continue
		}
		n, ok := at[vg.UUID]
		switch {
		case !ok:
			at[vg.UUID] = len(groups)
			groups = append(groups, vg)
		case vg.Seqno > groups[n].Seqno:
			groups[n] = vg
		}
	}
	return groups, images, twice
}

// Free returns the extents that are in no logical volume, as ranges in bytes of the
// physical volumes, by their UUIDs. A [*disk.UntrustedError] says why that can't be
// told for the group.
func (vg VG) Free() (map[string][]disk.Range, error) {
	taken := make(map[string][]disk.Range, len(vg.PVs)) // extents, by the members' names
	for _, lv := range vg.LVs {
		if slices.Contains(lv.Status, "PVMOVE") || slices.Contains(lv.Status, "LOCKED") {
			return nil, &disk.UntrustedError{Why: fmt.Sprintf("extents of volume group %s were being moved", vg.Name)}
		}
		for _, s := range lv.Segments {
			if !s.placed() {
				return nil, &disk.UntrustedError{Why: fmt.Sprintf("where segments of the type %q lie isn't known to esxodus", s.Type)}
			}
			for _, a := range s.Stripes {
				taken[a.PV] = append(taken[a.PV], disk.Range{Offset: a.PE, Length: s.Count / int64(len(s.Stripes))})
			}
		}
	}
	free := make(map[string][]disk.Range, len(vg.PVs))
	for _, m := range vg.PVs {
		if _, ok := free[m.UUID]; ok {
			return nil, fmt.Errorf("%w: volume group %s: two physical volumes are %s", ErrFormat, vg.Name, m.UUID)
		}
		free[m.UUID] = nil
		gaps, err := m.gaps(taken[m.Name])
		if err != nil {
			return nil, fmt.Errorf("volume group %s: %w", vg.Name, err)
		}
		for _, g := range gaps {
			free[m.UUID] = append(free[m.UUID], disk.Range{Offset: m.PEStart + g.Offset*vg.ExtentSize, Length: g.Length * vg.ExtentSize})
		}
	}
	return free, nil
}

// placed reports whether all physical extents that the segment has are in its
// stripes. Those of other types lie on logical volumes of their own, which are in
// the metadata like any other. A type may have flags behind it that keep older LVM away
// ("cache-pool+METADATA_FORMAT"); of a striped one, whose stripes weren't read, they
// could mean anything.
func (s Segment) placed() bool {
	kind, _, _ := strings.Cut(s.Type, "+")
	switch kind {
	case "striped":
		return s.Type == kind
	case "snapshot", "thin", "thin-pool", "cache", "cache-pool", "writecache", "vdo", "vdo-pool", "error", "zero", "integrity":
		return true
	}
	return strings.HasPrefix(kind, "raid")
}

// gaps returns the runs of extents of a physical volume that none of the others has.
func (m *Member) gaps(taken []disk.Range) (free []disk.Range, err error) {
	slices.SortFunc(taken, func(a, b disk.Range) int { return cmp.Compare(a.Offset, b.Offset) })
	next := int64(0)
	for _, t := range append(taken, disk.Range{Offset: m.PECount}) {
		if t.Offset < next || t.Length > m.PECount-t.Offset {
			return nil, fmt.Errorf("%w: %d extents from %d of physical volume %s overlap others, or go beyond its %d", ErrFormat, t.Length, t.Offset, m.Name, m.PECount)
		}
		if t.Offset > next {
			free = append(free, disk.Range{Offset: next, Length: t.Offset - next})
		}
		next = t.Offset + t.Length
	}
	return free, nil
}

// Alone reports whether no other logical volume is made of this one, or of what it
// was: a snapshot needs blocks that its origin has freed.
func (vg VG) Alone(name string) bool {
	for _, lv := range vg.LVs {
		for _, s := range lv.Segments {
			if slices.Contains(s.Names, name) {
				return false
			}
		}
	}
	return true
}
