package unused

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"esxodus/disk"
	"esxodus/disk/lvm"
	"esxodus/disk/part"
)

// What is kept at both ends of a gap between partitions: things that no table tells of
// lie there (boot code, the database of a dynamic disk, a RAID's superblock).
const margin = 1 << 20

// strange is an error that says why a table's own idea of what is free isn't relied on.
func strange(t part.Table, img disk.Image) error {
	cs, err := part.Signatures(img, img.Size())
	if err != nil {
		return err
	}
	var why string
	switch {
	case len(cs) > 0:
		why = fmt.Sprintf("beside its partition table the disk has the signature of %s: one of the two is out of date", cs[0].Type)
	case t.Hybrid:
		why = "its GPT has a second table beside it in the MBR"
	case t.Backup:
		why = "its first partition table is broken"
	case len(t.Entries) == 0:
		why = "its partition table is empty, so that it may be used without one"
	case slices.ContainsFunc(t.Entries, dynamic):
		why = "it is a dynamic disk of Windows"
	case slices.ContainsFunc(t.Entries, func(e part.Entry) bool { return e.Offset == 0 }):
		why = "a partition begins at the disk's first sector, where the table is: it may be one for show"
	case slices.ContainsFunc(t.Entries, labelled):
		why = "a partition of BSD has a label of its own, which may speak of all of the disk"
	default:
		return nil
	}
	return &disk.UntrustedError{Why: why, Asleep: slices.ContainsFunc(cs, suspended)}
}

// dynamic reports whether a partition's type says that Windows' Logical Disk Manager or
// its Storage Spaces divide the disk.
func dynamic(e part.Entry) bool {
	switch e.Type {
	case "42", "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3", "AF9B60A0-1431-4F62-BC68-3311714A69AD", "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D":
		return true
	}
	return false
}

// labelled reports whether a partition's type says that BSD divides the disk: where its
// label is, the bounds of what it divides are its own (OpenBSD's disklabel -E, command
// b), and counted from the disk's start.
func labelled(e part.Entry) bool {
	switch e.Type {
	case "a5", "a6", "a9", "824CC7A0-36A8-11E3-890A-952519AD3F61":
		return true
	}
	return false
}

// gaps hides what lies between the partitions and behind the last one, but for a MiB at
// both ends. What lies before the first one stays, and so does all of an extended
// partition: it has a table before each of its parts.
func (f *finder) gaps(i int, t part.Table) {
	var taken []disk.Range
	for _, e := range t.Entries {
		if !e.Logical {
			taken = append(taken, disk.Range{Offset: e.Offset, Length: e.Length})
		}
	}
	byPlace := func(a, b disk.Range) int { return cmp.Compare(a.Offset, b.Offset) }
	end := slices.MinFunc(taken, byPlace).Offset // nothing is hidden before the first
	size := f.disks[i].Image.Size()
	if t.Usable > 0 && t.Usable < size {
		// Behind it is the second table, also on a disk that was grown since.
		taken = append(taken, disk.Range{Offset: max(t.Usable, end)})
	}
	slices.SortFunc(taken, byPlace)
	s := space{Space: Space{Where: f.disks[i].Address + ", between partitions"}}
	for _, r := range append(taken, disk.Range{Offset: size}) {
		if gap := (disk.Range{Offset: end + margin, Length: r.Offset - end - 2*margin}); gap.Length > 0 {
			f.seen[i].add(gap)
			s.put(i, gap.Offset, gap.Length)
			s.Size += gap.Length
		}
		end = max(end, r.Offset+r.Length) // an extended partition may have another one inside it
	}
	if s.Size > 0 {
		f.spaces = append(f.spaces, s)
	}
}

// physical notes a physical volume; what is free of it the group tells.
func (f *finder) physical(s space, img disk.Image) error {
	pv, err := lvm.Read(img)
	if why, ok := doubt(err); ok {
		f.used(s, why)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Where, err)
	}
	f.pvs = append(f.pvs, physical{
		Located: lvm.Located{PV: pv, Image: img}, disk: s.place[0].disk, offset: s.place[0].offset, space: len(f.spaces),
	})
	f.spaces = append(f.spaces, s)
	return nil
}

// groups looks at the volume groups on the physical volumes that were found.
func (f *finder) groups(ctx context.Context) error {
	var on []lvm.Located
	for _, p := range f.pvs {
		on = append(on, p.Located)
	}
	groups, images, twice := lvm.Groups(on)
	f.vgs = groups
	for i, p := range f.pvs {
		switch s := &f.spaces[p.space]; {
		case !slices.ContainsFunc(groups, func(vg lvm.VG) bool { return member(vg, p) }):
			s.Why = "it is in no volume group"
		case claims(groups, p) > 1:
			s.Why = "two volume groups claim it"
		case slices.Contains(twice, i):
			s.Why = "another disk claims to be the same physical volume"
		}
	}
	for _, vg := range groups {
		if err := f.group(ctx, vg, images); err != nil {
			return err
		}
	}
	return nil
}

// claims is how many groups have the physical volume: one that keeps no metadata can't
// say which is right.
func claims(groups []lvm.VG, p physical) (n int) {
	for _, vg := range groups {
		if member(vg, p) {
			n++
		}
	}
	return n
}

// member reports whether a group has the physical volume.
func member(vg lvm.VG, p physical) bool {
	return slices.ContainsFunc(vg.PVs, func(m lvm.Member) bool { return m.UUID == p.PV.UUID })
}

// members are the physical volumes of a group, or why they can't be relied on.
func (f *finder) members(vg lvm.VG) (map[string]physical, error) {
	at := make(map[string]physical, len(vg.PVs))
	for _, p := range f.pvs {
		if !member(vg, p) {
			continue
		}
		if claims(f.vgs, p) > 1 {
			return nil, &disk.UntrustedError{Why: "another volume group claims a physical volume of " + vg.Name}
		}
		if _, ok := at[p.PV.UUID]; ok {
			return nil, &disk.UntrustedError{Why: "two disks claim to be one physical volume of " + vg.Name}
		}
		// Two that each went a step of their own have one number: all of it is compared.
		if own := p.PV.VG; own.UUID != "" && !reflect.DeepEqual(own, vg) {
			return nil, &disk.UntrustedError{Why: fmt.Sprintf("its metadata isn't what the other physical volumes of %s have", vg.Name)}
		}
		at[p.PV.UUID] = p
	}
	return at, nil
}

// group hides a group's free extents, and what its logical volumes don't use.
func (f *finder) group(ctx context.Context, vg lvm.VG, images map[string]disk.Image) error {
	at, err := f.members(vg)
	if err == nil {
		err = f.free(vg, at)
	}
	why, doubtful := doubt(err)
	if err != nil && !doubtful {
		return err
	}
	for _, p := range f.pvs {
		// The free extents and the volumes tell of its bytes, if they can.
		if s := &f.spaces[p.space]; member(vg, p) && s.Why == "" {
			s.Why, s.told = why, !doubtful
		}
	}
	if doubtful {
		return nil
	}
	for _, lv := range vg.LVs {
		if err := f.sleeper(vg, lv, at); err != nil {
			return err
		}
		if !lv.Visible() {
			continue
		}
		if err := f.logical(ctx, vg, lv, at, images); err != nil {
			return err
		}
	}
	return nil
}

// sleeper looks for a hibernated system in swap on a volume, also on one that isn't looked
// into: what tells it is in the first page, which stripes and mirrors have in one piece.
func (f *finder) sleeper(vg lvm.VG, lv lvm.LV, at map[string]physical) error {
	const first = 64 << 10
	if len(lv.Segments) == 0 || len(lv.Segments[0].Stripes) == 0 {
		return nil
	}
	start := lv.Segments[0].Stripes[0]
	i := slices.IndexFunc(vg.PVs, func(m lvm.Member) bool { return m.Name == start.PV })
	if i < 0 {
		return nil
	}
	p, ok := at[vg.PVs[i].UUID]
	offset := vg.PVs[i].PEStart + start.PE*vg.ExtentSize
	if !ok || offset < 0 || offset > p.Image.Size()-first {
		return nil
	}
	cs, err := part.Signatures(part.Section(p.Image, offset, first), first)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", vg.Name, lv.Name, err)
	}
	if slices.ContainsFunc(cs, suspended) {
		f.asleep = vg.Name + "/" + lv.Name
	}
	return nil
}

// free hides the extents of a group that are in no logical volume.
func (f *finder) free(vg lvm.VG, at map[string]physical) error {
	free, err := vg.Free()
	if err != nil {
		return err
	}
	s := space{Space: Space{Where: vg.Name + ", free extents", Content: "lvm2"}}
	for _, m := range vg.PVs {
		p, ok := at[m.UUID]
		if !ok {
			continue
		}
		for _, r := range free[m.UUID] {
			if size := p.Image.Size(); r.Offset > size || r.Length > size-r.Offset {
				return &disk.UntrustedError{Why: fmt.Sprintf("extents of %s go beyond its physical volume of %d bytes", vg.Name, size)}
			}
			s.put(p.disk, p.offset+r.Offset, r.Length)
			s.Size += r.Length
		}
	}
	for _, r := range s.place {
		f.seen[r.disk].add(disk.Range{Offset: r.offset, Length: r.length})
	}
	if s.Size > 0 {
		f.spaces = append(f.spaces, s)
	}
	return nil
}

// logical hides what a logical volume doesn't use of its extents.
func (f *finder) logical(ctx context.Context, vg lvm.VG, lv lvm.LV, at map[string]physical, images map[string]disk.Image) error {
	s := space{Space: Space{Where: vg.Name + "/" + lv.Name, Size: lv.Extents() * vg.ExtentSize}, logical: true}
	switch {
	case !lv.Linear():
		f.used(s, "what isn't a linear volume isn't looked into")
		return nil
	case !vg.Alone(lv.Name):
		f.used(s, "another volume, a snapshot perhaps, is made of it")
		return nil
	}
	img, err := vg.Image(lv.Name, images)
	if err != nil {
		f.used(s, err.Error())
		return nil
	}
	pieces, err := vg.Pieces(lv.Name)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		on := at[p.PV]
		s.put(on.disk, on.offset+p.Offset, p.Length)
	}
	return f.content(ctx, s, img)
}
