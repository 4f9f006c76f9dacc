package layout

import (
	"cmp"
	"slices"

	"esxodus/convert/guest"
)

// builder puts together a layout of kind lvm.
type builder struct {
	*planner
	l      Layout
	landed map[*guest.Partition]Move // with the target's fields only
}

// set lays out the disks of a set, or keeps them.
func (b *builder) set(s *set) {
	switch {
	case !slices.ContainsFunc(s.disks, b.partitioned):
		for _, i := range s.disks {
			b.l.Disks[i] = keptDisk(&b.Guest.Disks[i], "")
		}
	case len(s.reasons) > 0:
		b.l.Because(s.reasons...)
		for _, i := range s.disks {
			b.l.Disks[i] = keptDisk(&b.Guest.Disks[i], s.reasons[0].String())
		}
	case len(s.groups) == 0 && len(movable(&b.Guest.Disks[s.disks[0]])) == 0: // nothing to move
		b.l.Disks[s.disks[0]] = keptDisk(&b.Guest.Disks[s.disks[0]], "")
	case len(s.groups) == 0:
		b.newGroup(s.disks[0])
	default:
		for _, g := range s.groups {
			b.oldGroup(g)
		}
	}
}

// newGroup makes a disk of partitions the only physical volume of a new group.
func (b *builder) newGroup(i int) {
	d := &b.Guest.Disks[i]
	name := groupName(b.Guest.Hostname, b.Name, b.names)
	b.names[name] = true
	g := Group{Name: name, ExtentSize: newExtent}
	b.l.Groups = append(b.l.Groups, g)
	b.place(&b.l.Groups[len(b.l.Groups)-1], i, PV{UUID: pvUUID(b.Seed, d.Address), Disk: d.Address, Start: newStart, New: true}, nil)
}

// oldGroup moves the physical volumes of a group to the start of their disks.
func (b *builder) oldGroup(g *guest.Group) {
	b.l.Groups = append(b.l.Groups, Group{Name: g.Name, UUID: g.UUID, Seqno: g.Seqno, ExtentSize: g.ExtentSize})
	to := &b.l.Groups[len(b.l.Groups)-1]
	for _, lv := range g.LVs {
		if lv.Visible && lv.Linear() {
			to.Volumes = append(to.Volumes, oldVolume(lv))
		}
	}
	for i := range g.PVs {
		pv := &g.PVs[i]
		used := runsOn(g, pv.UUID)
		b.place(to, b.diskIndex(pv.Disk), PV{UUID: pv.UUID, Disk: pv.Disk, Start: pv.Start, Source: pv.Offset, Extents: pv.Extents}, used)
	}
}

func oldVolume(lv guest.GroupLV) Volume {
	v := Volume{Name: lv.Name, Extents: lv.Extents()}
	for _, s := range lv.Segments {
		v.Segments = append(v.Segments, Segment{PV: s.Areas[0].PV, PE: s.Areas[0].PE, Count: s.Count})
	}
	return v
}

// run is a run of physical extents: [from, to).
type run struct{ from, to int64 }

// runsOn lists, ascending, what a group's volumes take of a physical volume.
func runsOn(g *guest.Group, uuid string) []run {
	var out []run
	for _, lv := range g.LVs {
		for _, s := range lv.Segments {
			for _, a := range s.Areas {
				if n := s.Count / int64(len(s.Areas)); a.PV == uuid {
					out = append(out, run{a.PE, a.PE + n})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b run) int { return cmp.Compare(a.from, b.from) })
	return out
}

// place lays out one disk as a physical volume of a group: its data where it
// was, counted from the physical volume's start, and each of the disk's other
// partitions in a new volume on it.
func (b *builder) place(g *Group, i int, pv PV, used []run) {
	d := &b.Guest.Disks[i]
	disk := Disk{Address: d.Address, Kind: LVM, Size: d.Size, Head: pv.Start}
	var fresh []run
	end := pv.Extents
	for _, q := range b.inOrder(d) {
		pe, n := firstFit(used, (q.Length+g.ExtentSize-1)/g.ExtentSize)
		v := Volume{
			Name: volumeName(g.Name, q.Mount, q.Number, b.taken(g)), New: true, Extents: n,
			Segments: []Segment{{PV: pv.UUID, PE: pe, Count: n}},
		}
		g.Volumes = append(g.Volumes, v)
		used, fresh = addRun(used, run{pe, pe + n}), addRun(fresh, run{pe, pe + n})
		end = max(end, pe+n)
		r := Range{Source: q.Offset, Target: pv.Start + pe*g.ExtentSize, Length: q.Length}
		disk.Ranges = append(disk.Ranges, r)
		b.landed[q] = Move{To: g.Name + "/" + v.Name, ToDisk: d.Address, ToOffset: r.Target}
	}
	disk.Ranges = append(disk.Ranges, oldData(pv, g.ExtentSize, fresh)...)
	slices.SortFunc(disk.Ranges, func(a, b Range) int { return cmp.Compare(a.Target, b.Target) })
	if need := pv.Start + end*g.ExtentSize; need > disk.Size {
		disk.Size = (need + mib - 1) / mib * mib
		disk.Grown = disk.Size - d.Size
	}
	pv.Size = disk.Size
	pv.Extents = (disk.Size - pv.Start) / g.ExtentSize
	g.PVs = append(g.PVs, pv)
	b.l.Disks[i] = disk
}

// inOrder lists the partitions of a disk that become volumes, what holds /boot
// first: the loader reads low sectors by any BIOS.
func (b *builder) inOrder(d *guest.DiskLayout) []*guest.Partition {
	qs := movable(d)
	slices.SortStableFunc(qs, func(x, y *guest.Partition) int {
		rank := func(q *guest.Partition) int {
			if b.boot != nil && b.boot.part == q {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(x), rank(y))
	})
	return qs
}

// firstFit finds the first run of n free extents. Behind the last one there is
// always room.
func firstFit(used []run, n int64) (pe, count int64) {
	for _, r := range used {
		if r.from-pe >= n {
			break
		}
		pe = max(pe, r.to)
	}
	return pe, n
}

func addRun(runs []run, r run) []run {
	at, _ := slices.BinarySearchFunc(runs, r, func(a, b run) int { return cmp.Compare(a.from, b.from) })
	return slices.Insert(runs, at, r)
}

// oldData are the extents that a physical volume had on the source, all but
// those that new volumes take: also of what no volume has, so that nothing
// depends on knowing every kind of volume.
func oldData(pv PV, extent int64, fresh []run) []Range {
	var out []Range
	next := int64(0)
	add := func(to int64) {
		if to = min(to, pv.Extents); to > next {
			out = append(out, Range{Source: pv.Source + pv.Start + next*extent, Target: pv.Start + next*extent, Length: (to - next) * extent})
		}
	}
	for _, r := range fresh {
		add(r.from)
		next = r.to
	}
	add(pv.Extents)
	return out
}

// taken are the names of a group's volumes, the hidden ones included.
func (b *builder) taken(g *Group) map[string]bool {
	out := map[string]bool{}
	for _, v := range g.Volumes {
		out[v.Name] = true
	}
	for _, old := range b.Guest.Groups {
		if old.UUID == g.UUID && g.UUID != "" {
			for _, lv := range old.LVs {
				out[lv.Name] = true
			}
		}
	}
	return out
}

// finish adds the moves and what is known of the boot.
func (b *builder) finish() {
	for i := range b.sites {
		s := &b.sites[i]
		switch {
		case s.part != nil && b.l.Disks[s.disk].Kind == LVM:
			b.addPartition(s)
		case s.part != nil:
			b.l.addKept(b.planner, s)
		default:
			b.addVolume(s)
		}
	}
	b.addBoot()
}

// addPartition adds the move of a partition that changes.
func (b *builder) addPartition(s *site) {
	m, ok := b.move(s)
	if why := leftOut(s.part); why != "" {
		m.Content, m.Reason = cmp.Or(m.Content, s.part.TypeName), why
		b.l.Moves = append(b.l.Moves, m)
		return
	}
	if !ok {
		return
	}
	to := b.landed[s.part]
	m.To, m.ToDisk, m.ToOffset = to.To, to.ToDisk, to.ToOffset
	b.l.Moves = append(b.l.Moves, m)
}

// addVolume adds the move of a logical volume, in a group that changes or not.
func (b *builder) addVolume(s *site) {
	m, _ := b.move(s)
	m.To, m.ToDisk, m.ToOffset = m.From, m.FromDisk, m.FromOffset
	for _, g := range b.l.Groups {
		for _, pv := range g.PVs {
			if g.UUID == s.group.UUID && pv.Disk == m.FromDisk {
				m.ToOffset -= pv.Source
			}
		}
	}
	b.l.Moves = append(b.l.Moves, m)
}

// addBoot says where /boot came to lie. That it lies on one disk, in a linear
// volume, was a condition.
func (b *builder) addBoot() {
	to := b.boot.where
	if b.boot.part != nil {
		to = b.landed[b.boot.part].To
	}
	for _, g := range b.l.Groups {
		for _, v := range g.Volumes {
			if g.Name+"/"+v.Name == to {
				b.l.Boot = bootOf(&g, &v)
			}
		}
	}
	if b.l.Boot != nil {
		b.l.Boot.UEFI = b.UEFI
	}
}

func bootOf(g *Group, v *Volume) *Boot {
	boot := &Boot{PV: v.Segments[0].PV, Volume: g.Name + "/" + v.Name}
	for _, pv := range g.PVs {
		if pv.UUID != boot.PV {
			continue
		}
		boot.Disk = pv.Disk
		for _, s := range v.Segments {
			boot.End = max(boot.End, pv.Start+(s.PE+s.Count)*g.ExtentSize)
		}
	}
	return boot
}
