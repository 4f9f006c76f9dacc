package plan

import (
	"errors"
	"fmt"
	"slices"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
)

// checkLayout checks where the bytes of disk i land: inside the disk and its
// volume, and each byte that the guest keeps in one place.
func (v *VMPlan) checkLayout(i int) error {
	d, lay := &v.Disks[i], &v.Layout.Disks[i]
	if lay.Address != d.Address {
		return fmt.Errorf("missing: layout.disks[%d] is %q, but they must be in the order of the disks", i, lay.Address)
	}
	if lay.Size <= 0 || lay.Size > d.Volume.Size || lay.Size-lay.Grown != d.Size || lay.Head < 0 || lay.Head > lay.Size {
		return fmt.Errorf("%d bytes, of which %d are new, with a head of %d, don't fit the disk's %d and the volume's %d",
			lay.Size, lay.Grown, lay.Head, d.Size, d.Volume.Size)
	}
	next := lay.Head
	for k, r := range lay.Ranges {
		inSource := r.Source >= 0 && r.Length > 0 && r.Source <= d.Size-r.Length
		inTarget := r.Target >= next && r.Target <= lay.Size-r.Length
		if !inSource || !inTarget {
			return fmt.Errorf("ranges[%d]: %+v is not inside the disk's %d bytes and, after the range before it, the volume's %d", k, r, d.Size, lay.Size)
		}
		next = r.Target + r.Length
	}
	if lay.Kind != layout.Keep {
		return v.checkRelaid(lay, d)
	}
	if len(lay.Ranges) != 1 || lay.Ranges[0].Length != d.Size || lay.Grown != 0 {
		return fmt.Errorf("ranges: %+v, but a disk that is kept has one range of all its %d bytes", lay.Ranges, d.Size)
	}
	return nil
}

// checkKind wants that the layout is called after what becomes of the disks: what
// a guest that keeps its layout may be changed in depends on that.
func (v *VMPlan) checkKind() error {
	relaid := slices.ContainsFunc(v.Layout.Disks, func(d layout.Disk) bool { return d.Kind != layout.Keep })
	switch l := v.Layout; {
	case v.Relaid() && !relaid:
		return fmt.Errorf("layout.kind %q: but each of layout.disks is kept", l.Kind)
	case !v.Relaid() && len(l.Groups) > 0:
		return errors.New("layout.groups: a guest that keeps its layout gets no volume groups")
	case !v.Relaid() && l.Boot != nil:
		return errors.New("layout.boot: a guest that keeps its layout gets no boot map")
	}
	return nil
}

// checkRelaid compares the ranges of a disk that changes with what has a place on
// it. A disk changes only if the whole layout does.
func (v *VMPlan) checkRelaid(lay *layout.Disk, d *Disk) error {
	if !v.Relaid() || lay.Kind != v.Layout.Kind {
		return fmt.Errorf("kind %q in a layout of kind %q", lay.Kind, v.Layout.Kind)
	}
	if err := v.checkMoves(lay); err != nil {
		return err
	}
	switch lay.Kind {
	case layout.Plain:
		if len(lay.Ranges) != 1 || lay.Head != 0 || lay.Ranges[0].Target != 0 {
			return fmt.Errorf("ranges: %+v after a head of %d, but a plain disk has one range from its start", lay.Ranges, lay.Head)
		}
		return nil
	case layout.LVM:
		return v.checkGroups(lay, d)
	default:
		return fmt.Errorf("unknown kind %q: was the plan made by a newer esxodus?", lay.Kind)
	}
}

// checkMoves wants that each of the guest's partitions on a disk has a move, and
// that the bytes of each move have a range.
func (v *VMPlan) checkMoves(lay *layout.Disk) error {
	for _, m := range v.Layout.Moves {
		partition := m.FromDisk == lay.Address && slices.ContainsFunc(v.partitions(lay.Address), func(p guest.Partition) bool {
			return p.Offset == m.FromOffset && p.Length == m.Length
		})
		if !partition || m.To == "" {
			continue // a volume's extents are its group's; or it is left out, and the plan says why
		}
		if m.ToDisk != lay.Address || !covered(lay.Ranges, m.ToOffset, m.Length, m.FromOffset-m.ToOffset) {
			return fmt.Errorf("ranges: the %d bytes of %s have no place at %d of %s", m.Length, m.From, m.ToOffset, m.ToDisk)
		}
	}
	for _, p := range v.partitions(lay.Address) {
		if p.Container || p.Content == "" || p.Content == "lvm2" {
			continue
		}
		if !slices.ContainsFunc(v.Layout.Moves, func(m layout.Move) bool {
			return m.FromDisk == lay.Address && m.FromOffset == p.Offset && (m.To != "" || m.Reason != "")
		}) {
			return fmt.Errorf("moves: none for partition %d, %s", p.Number, p.Content)
		}
	}
	return nil
}

// partitions are those that the look found on a disk.
func (v *VMPlan) partitions(address string) []guest.Partition {
	for _, d := range v.Guest.Disks {
		if d.Address == address {
			return d.Partitions
		}
	}
	return nil
}

// checkGroups compares the ranges of a disk that becomes a physical volume with
// the extents that volumes have on it.
func (v *VMPlan) checkGroups(lay *layout.Disk, d *Disk) error {
	found := 0
	for _, g := range v.Layout.Groups {
		for _, pv := range g.PVs {
			if pv.Disk != lay.Address {
				continue
			}
			found++
			if err := checkPV(&g, &pv, lay, d); err != nil {
				return fmt.Errorf("group %s: %w", g.Name, err)
			}
		}
	}
	if found != 1 {
		return fmt.Errorf("groups: it is a physical volume of %d groups, not of one", found)
	}
	return nil
}

// checkPV compares one physical volume, and what its group's volumes have on it,
// with its disk.
func checkPV(g *layout.Group, pv *layout.PV, lay *layout.Disk, d *Disk) error {
	fits := pv.Start == lay.Head && pv.Start > 0 && pv.Size == lay.Size && pv.Source >= 0 && pv.Source < d.Size &&
		g.ExtentSize > 0 && pv.Extents >= 0 && pv.Extents <= (lay.Size-pv.Start)/g.ExtentSize
	if !fits {
		return fmt.Errorf("physical volume %s, %+v with extents of %d, doesn't fit the disk's %d bytes after a head of %d", pv.UUID, *pv, g.ExtentSize, lay.Size, lay.Head)
	}
	fresh := 0 // segments of new volumes
	for _, lv := range g.Volumes {
		for _, s := range lv.Segments {
			if s.PV != pv.UUID {
				continue
			}
			if s.PE < 0 || s.Count <= 0 || s.PE > pv.Extents-s.Count {
				return fmt.Errorf("volume %s: extents %d+%d of %d", lv.Name, s.PE, s.Count, pv.Extents)
			}
			if !filled(g, pv, lay.Ranges, s, lv.New) {
				return fmt.Errorf("ranges: none for the extents %d+%d of %s", s.PE, s.Count, lv.Name)
			}
			if lv.New {
				fresh++
			}
		}
	}
	return nobodys(pv, lay.Ranges, fresh)
}

// nobodys is an error if a physical volume has more ranges than its old extents
// and segments of new volumes account for.
func nobodys(pv *layout.PV, ranges []layout.Range, fresh int) error {
	for i, r := range ranges {
		if pv.New || r.Source-r.Target != pv.Source {
			fresh--
		}
		if fresh < 0 {
			return fmt.Errorf("ranges[%d]: %+v belongs to no volume", i, r)
		}
	}
	return nil
}

// filled reports whether ranges fill a segment of a volume: an old one from where
// its extents are on the source, a new one up to its last extent.
func filled(g *layout.Group, pv *layout.PV, ranges []layout.Range, s layout.Segment, fresh bool) bool {
	at, n := pv.Start+s.PE*g.ExtentSize, s.Count*g.ExtentSize
	if !fresh {
		return covered(ranges, at, n, pv.Source)
	}
	return slices.ContainsFunc(ranges, func(r layout.Range) bool { return r.Target == at && r.Length > n-g.ExtentSize && r.Length <= n })
}

// covered reports whether ranges, which ascend, take all of n bytes of the
// target from at on, from where shift says that they are on the source.
func covered(ranges []layout.Range, at, n, shift int64) bool {
	end := at + n
	for _, r := range ranges {
		if r.Source-r.Target == shift && r.Target <= at {
			at = max(at, r.Target+r.Length)
		}
	}
	return at >= end
}
