package layout

import (
	"fmt"
	"slices"

	"esxodus/convert/guest"
)

const (
	sector = 512
	mib    = 1 << 20

	newStart  = 1 * mib // of a new physical volume up to extent 0, as LVM's default is
	newExtent = 4 * mib // LVM's default
	maxHead   = 64 * mib
)

// Request is what a layout is computed from.
type Request struct {
	Kind  Kind   // what is asked for; "" is Auto
	Name  string // the domain's
	Seed  string // the instance's UUID: new physical volumes' identifiers derive from it
	Guest guest.Guest
	// Unseen is why nothing is known of the disks, where that is so and known.
	Unseen Reason
	UEFI   bool // the VM boots through UEFI
	// SecureBoot and TPM: the VM has it, so that the guest may be bound to it.
	SecureBoot, TPM bool
	// Fixed are addresses of disks that must stay as they are, with the reason
	// ("another VM uses it too").
	Fixed map[string]string
}

// New computes where a guest's file systems go. It is pure: the same
// request gives the same layout. What rules a change out is among the
// layout's reasons; nothing is an error.
func New(r Request) Layout {
	p := &planner{Request: r}
	p.gather()
	var l Layout
	switch r.Kind {
	case Keep:
		return p.keep(nil)
	case Plain:
		l = p.plain()
	default:
		l = p.lvm()
	}
	if err := l.check(r.Guest.Disks); err != nil {
		return p.keep([]Reason{{Why: err.Error()}})
	}
	l.Notes = p.notes()
	return l
}

// planner is one New at work.
type planner struct {
	Request
	sites      []site
	root, boot *site           // boot is what holds /boot, the root's if it has no site of its own
	names      map[string]bool // of volume groups, those that are to be made included
	diskNames  [][]string      // what the guest's kernel calls its disks
	// members are the groups' physical volumes by UUID, the first of each.
	members map[*guest.Group]map[string]*guest.GroupPV
}

// site is where something lies on the source: a partition, a whole disk or a
// logical volume.
type site struct {
	where   string // "scsi0:0 partition 1", "vg0/root"
	content string
	mount   string
	label   string
	uuid    string
	dirty   bool
	cut     bool // the content says that it is larger than its space
	asleep  bool // swap that holds a hibernated system

	disk   int // index; -1 of a logical volume
	part   *guest.Partition
	group  *guest.Group
	lv     *guest.GroupLV
	length int64 // bytes
}

// gather lists the sites and finds root and /boot among them.
func (p *planner) gather() {
	g := &p.Guest
	p.diskNames = guest.DiskNames(g.Disks)
	for i := range g.Disks {
		for j := range g.Disks[i].Partitions {
			q := &g.Disks[i].Partitions[j]
			if q.Container {
				continue
			}
			p.sites = append(p.sites, site{
				where: partWhere(&g.Disks[i], q), content: q.Content, mount: q.Mount, label: q.Label, uuid: q.UUID,
				dirty: q.Dirty, cut: q.Cut, asleep: q.Suspended, disk: i, part: q, length: q.Length,
			})
		}
	}
	p.gatherGroups()
	for i := range p.sites {
		s := &p.sites[i]
		if s.where == g.Root && g.Root != "" && p.root == nil {
			p.root = s
		}
		if s.mount == "/boot" && p.boot == nil {
			p.boot = s
		}
	}
	if p.boot == nil {
		p.boot = p.root
	}
}

// gatherGroups lists the visible logical volumes.
func (p *planner) gatherGroups() {
	p.names, p.members = map[string]bool{}, map[*guest.Group]map[string]*guest.GroupPV{}
	held := map[string]*guest.Volume{} // what volumes hold
	for i := range p.Guest.Volumes {
		v := &p.Guest.Volumes[i]
		held[v.Group+"/"+v.Name] = v
	}
	for i := range p.Guest.Groups {
		g := &p.Guest.Groups[i]
		p.names[g.Name] = true
		p.members[g] = map[string]*guest.GroupPV{}
		for j := range g.PVs {
			if id := g.PVs[j].UUID; p.members[g][id] == nil {
				p.members[g][id] = &g.PVs[j]
			}
		}
		for j := range g.LVs {
			lv := &g.LVs[j]
			if !lv.Visible {
				continue
			}
			s := site{where: g.Name + "/" + lv.Name, disk: -1, group: g, lv: lv, length: lv.Extents() * g.ExtentSize}
			if v := held[s.where]; v != nil {
				s.content, s.mount, s.label, s.uuid, s.dirty, s.cut, s.asleep = v.Content, v.Mount, v.Label, v.UUID, v.Dirty, v.Cut, v.Suspended
			}
			p.sites = append(p.sites, s)
		}
	}
}

// partWhere names a partition as a look does.
func partWhere(d *guest.DiskLayout, q *guest.Partition) string {
	if q.Number == 0 {
		return d.Address
	}
	return fmt.Sprintf("%s partition %d", d.Address, q.Number)
}

// keep is the layout that changes nothing.
func (p *planner) keep(reasons []Reason) Layout {
	l := Layout{
		Kind: Keep, Notes: p.notes(),
		Refused: len(reasons) > 0 && (p.Kind == LVM || p.Kind == Plain),
	}
	l.Because(reasons...)
	for i := range p.Guest.Disks {
		l.Disks = append(l.Disks, keptDisk(&p.Guest.Disks[i], ""))
	}
	for i := range p.sites {
		l.addKept(p, &p.sites[i])
	}
	return l
}

func keptDisk(d *guest.DiskLayout, reason string) Disk {
	k := Disk{Address: d.Address, Kind: Keep, Size: d.Size, Reason: reason}
	if d.Size > 0 {
		k.Ranges = []Range{{Length: d.Size}}
	}
	return k
}

// addKept adds the move of what stays where it is.
func (l *Layout) addKept(p *planner, s *site) {
	m, ok := p.move(s)
	if !ok {
		return
	}
	m.To, m.ToDisk, m.ToOffset = m.From, m.FromDisk, m.FromOffset
	if s.part != nil {
		m.Names = p.kernelNames(s)
	}
	l.Moves = append(l.Moves, m)
}

// move is a site's move without its target, and false for what has none: a
// physical volume, or a partition that holds nothing known.
func (p *planner) move(s *site) (Move, bool) {
	m := Move{Content: s.content, Mount: s.mount, Label: s.label, UUID: s.uuid, From: s.where, Length: s.length}
	if s.part != nil {
		d := &p.Guest.Disks[s.disk]
		m.FromDisk, m.FromOffset = d.Address, s.part.Offset
		m.Names = append(p.kernelNames(s), guest.TableNames(d, s.part)...)
		return m, s.content != "lvm2" && s.content != ""
	}
	if len(s.lv.Segments) > 0 && len(s.lv.Segments[0].Areas) == 1 {
		a := s.lv.Segments[0].Areas[0]
		if pv := p.members[s.group][a.PV]; pv != nil && pv.Disk != "" {
			m.FromDisk, m.FromOffset = pv.Disk, pv.Offset+pv.Start+a.PE*s.group.ExtentSize
		}
	}
	return m, true
}

// kernelNames are the names that the guest's kernel gives a partition.
func (p *planner) kernelNames(s *site) []string {
	var names []string
	for _, d := range p.diskNames[s.disk] {
		names = append(names, guest.PartitionName(d, s.part.Number))
	}
	return names
}

// notes say what stops nothing and should be known.
func (p *planner) notes() []string {
	var out []string
	for _, s := range p.sites {
		if s.dirty && slices.Contains([]string{"ext3", "ext4", "xfs"}, s.content) {
			out = append(out, fmt.Sprintf("%s was not cleanly unmounted: its journal is replayed at the first mount, on the target", s.where))
		} else if s.dirty {
			out = append(out, fmt.Sprintf("%s was not cleanly unmounted: it is checked on the target", s.where))
		}
	}
	return out
}
