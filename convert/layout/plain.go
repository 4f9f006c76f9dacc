package layout

import (
	"fmt"

	"esxodus/convert/guest"
)

// plain is the layout that makes the guest's one partition the whole disk.
func (p *planner) plain() Layout {
	reasons := p.system()
	if p.root == nil {
		return p.keep(reasons)
	}
	if p.root.part == nil || p.root.part.Number == 0 {
		return p.keep(append(reasons, Reason{Why: fmt.Sprintf("its root is on %s: plain is for a root in a partition", p.root.where)}))
	}
	i := p.root.disk
	d := &p.Guest.Disks[i]
	reasons = append(reasons, p.ofDisk(i)...)
	if p.root.content != "ext4" {
		reasons = append(reasons, Reason{Why: fmt.Sprintf("its root on %s holds %s: plain is for ext4", p.root.where, content(p.root))})
	}
	for j := range d.Partitions {
		if q := &d.Partitions[j]; q != p.root.part && notPlain(q) == "" {
			reasons = append(reasons, Reason{Why: fmt.Sprintf("%s has no place beside the root: plain is for a root that holds everything", partWhere(d, q))})
		}
	}
	if p.boot != p.root && p.boot.disk != i {
		reasons = append(reasons, Reason{Why: fmt.Sprintf("its /boot is on %s: plain is for a root that holds everything", p.boot.where)})
	}
	if len(reasons) > 0 {
		return p.keep(reasons)
	}
	l := Layout{Kind: Plain, Boot: &Boot{Disk: d.Address, End: p.root.length, UEFI: p.UEFI}}
	for k := range p.Guest.Disks {
		l.Disks = append(l.Disks, keptDisk(&p.Guest.Disks[k], ""))
	}
	l.Disks[i] = Disk{Address: d.Address, Kind: Plain, Size: d.Size, Ranges: []Range{{Source: p.root.part.Offset, Length: p.root.length}}}
	for k := range p.sites {
		l.addPlain(p, &p.sites[k], i)
	}
	return l
}

// notPlain says why a partition is left out of a plain layout, "" if it may not
// be.
func notPlain(q *guest.Partition) string {
	switch why := leftOut(q); {
	case why != "":
		return why
	case q.Container:
		return "it is a container"
	case q.Content == "swap":
		return "a disk that is one file system has no place for swap: a swap file can replace it"
	}
	return ""
}

func (l *Layout) addPlain(p *planner, s *site, disk int) {
	if s.part == nil || s.disk != disk {
		l.addKept(p, s)
		return
	}
	m, ok := p.move(s)
	if s == p.root {
		m.To, m.ToDisk, m.ToOffset = m.FromDisk, m.FromDisk, 0
	} else if m.Reason = notPlain(s.part); m.Content == "" {
		m.Content, ok = s.part.TypeName, true
	}
	if ok {
		l.Moves = append(l.Moves, m)
	}
}
