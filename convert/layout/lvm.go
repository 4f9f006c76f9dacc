package layout

import (
	"cmp"
	"fmt"
	"slices"

	"esxodus/convert/guest"
)

// set are disks that change together or not at all: those that a volume group
// ties to each other.
type set struct {
	disks   []int // indices, ascending
	groups  []*guest.Group
	system  bool     // it holds the root or /boot
	reasons []Reason // against a change
}

// lvm is the layout that makes each partitioned disk one physical volume.
func (p *planner) lvm() Layout {
	reasons := p.system()
	sets := p.sets()
	for i := range sets {
		s := &sets[i]
		s.reasons = p.ofSet(s)
		if s.system {
			reasons = append(reasons, s.reasons...)
		}
	}
	if len(reasons) == 0 && !p.partitioned(p.bootDisk()) {
		reasons = []Reason{{Why: fmt.Sprintf("%s, which holds /boot, already has no partitions", p.Guest.Disks[p.bootDisk()].Address)}}
	}
	if len(reasons) > 0 {
		return p.keep(reasons)
	}
	b := &builder{planner: p, l: Layout{Kind: LVM}, landed: map[*guest.Partition]Move{}}
	b.l.Disks = make([]Disk, len(p.Guest.Disks))
	slices.SortStableFunc(sets, func(x, y set) int { return cmp.Compare(rank(p, x), rank(p, y)) })
	for i := range sets {
		b.set(&sets[i])
	}
	b.finish()
	return b.l
}

// rank puts the set with /boot first, so that its group gets the first name.
func rank(p *planner, s set) int {
	if slices.Contains(s.disks, p.bootDisk()) {
		return 0
	}
	return 1
}

// disksOf lists the indices of the disks that a site lies on.
func (p *planner) disksOf(s *site) []int {
	if s == nil {
		return nil
	}
	if s.part != nil {
		return []int{s.disk}
	}
	var out []int
	seen := map[string]bool{}
	for _, seg := range s.lv.Segments {
		for _, a := range seg.Areas {
			pv := p.members[s.group][a.PV]
			if pv == nil || seen[a.PV] {
				continue
			}
			seen[a.PV] = true
			if i := p.diskIndex(pv.Disk); i >= 0 && !slices.Contains(out, i) {
				out = append(out, i)
			}
		}
	}
	return out
}

func (p *planner) diskIndex(address string) int {
	return slices.IndexFunc(p.Guest.Disks, func(d guest.DiskLayout) bool { return d.Address == address })
}

// bootDisk is the index of the first disk that holds /boot, -1 for none.
func (p *planner) bootDisk() int {
	if ds := p.disksOf(p.boot); len(ds) > 0 {
		return ds[0]
	}
	return -1
}

// partitioned reports whether a disk has partitions.
func (p *planner) partitioned(i int) bool {
	return i >= 0 && slices.ContainsFunc(p.Guest.Disks[i].Partitions, func(q guest.Partition) bool { return q.Number > 0 })
}

// sets finds which disks belong together.
func (p *planner) sets() []set {
	of := make([]int, len(p.Guest.Disks)) // by disk: the lowest disk of its set
	for i := range of {
		of[i] = i
	}
	join := func(a, b int) {
		from, to := max(of[a], of[b]), min(of[a], of[b])
		for i := range of {
			if of[i] == from {
				of[i] = to
			}
		}
	}
	for _, g := range p.Guest.Groups {
		first := -1
		for _, pv := range g.PVs {
			i := p.diskIndex(pv.Disk)
			if i >= 0 && first >= 0 {
				join(first, i)
			}
			if first < 0 {
				first = i
			}
		}
	}
	var out []set
	for i := range of {
		if of[i] == i {
			out = append(out, p.makeSet(of, i))
		}
	}
	return out
}

func (p *planner) makeSet(of []int, id int) set {
	var s set
	for i := range of {
		if of[i] == id {
			s.disks = append(s.disks, i)
		}
	}
	for i := range p.Guest.Groups {
		g := &p.Guest.Groups[i]
		if slices.ContainsFunc(g.PVs, func(pv guest.GroupPV) bool { return slices.Contains(s.disks, p.diskIndex(pv.Disk)) }) {
			s.groups = append(s.groups, g)
		}
	}
	for _, v := range []*site{p.root, p.boot} {
		s.system = s.system || slices.ContainsFunc(p.disksOf(v), func(i int) bool { return slices.Contains(s.disks, i) })
	}
	return s
}

// ofSet lists what rules out a change of a set. Disks without partitions,
// and groups that lie only on such disks, don't matter to it.
func (p *planner) ofSet(s *set) []Reason {
	if !slices.ContainsFunc(s.disks, p.partitioned) {
		return nil
	}
	var out []Reason
	for _, i := range s.disks {
		out = append(out, p.ofDisk(i)...)
	}
	for _, g := range s.groups {
		out = append(out, p.ofGroup(g)...)
		out = append(out, p.ofNewVolumes(s, g)...)
	}
	return out
}

// ofNewVolumes lists what keeps a group from taking in the partitions beside
// its physical volumes.
func (p *planner) ofNewVolumes(s *set, g *guest.Group) []Reason {
	var out []Reason
	visible, added := int64(0), int64(0)
	for _, lv := range g.LVs {
		if lv.Visible {
			visible++
		}
	}
	for _, i := range s.disks {
		d := &p.Guest.Disks[i]
		n := int64(len(movable(d)))
		at := slices.IndexFunc(g.PVs, func(pv guest.GroupPV) bool { return pv.Disk == d.Address })
		if n == 0 || at < 0 {
			continue
		}
		added += n
		if pv := &g.PVs[at]; !slices.Contains(pv.Status, "ALLOCATABLE") {
			out = append(out, Reason{
				Why:  fmt.Sprintf("volume group %s: physical volume %s isn't allocatable, but %s's other partitions need room there", g.Name, pv.UUID, d.Address),
				Cure: "pvchange --allocatable y in the guest",
			})
		}
	}
	if added > 0 && len(device(g.Name+"/part100")) > maxDevice {
		out = append(out, Reason{fmt.Sprintf("volume group %s: its name is too long to name new volumes in it", g.Name), "vgrename in the guest"})
	}
	if added > 0 && g.MaxLVs > 0 && visible+added > g.MaxLVs {
		out = append(out, Reason{
			fmt.Sprintf("volume group %s may have %d logical volumes, but needs %d", g.Name, g.MaxLVs, visible+added),
			"vgchange --maxlogicalvolumes 0 in the guest",
		})
	}
	return out
}

// movable lists the partitions of a disk that become logical volumes.
func movable(d *guest.DiskLayout) []*guest.Partition {
	var out []*guest.Partition
	for i := range d.Partitions {
		if q := &d.Partitions[i]; q.Number > 0 && !q.Container && q.Content != "lvm2" && leftOut(q) == "" {
			out = append(out, q)
		}
	}
	return out
}
