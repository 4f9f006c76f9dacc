package lvm

import (
	"fmt"
	"slices"
	"strings"
)

// VG is a volume group, as its metadata describes it.
type VG struct {
	Name, UUID string
	Seqno      int64
	Status     []string // RESIZEABLE, READ, WRITE, EXPORTED …
	ExtentSize int64    // bytes
	SystemID   string   // the host that owns it, usually ""
	LockType   string   // of a shared group: sanlock, dlm; usually ""
	MaxLVs     int64    // how many logical volumes it may have, 0 for any number
	PVs        []Member
	LVs        []LV // in the order of the text
}

// Member is a physical volume in its group.
type Member struct {
	Name    string // "pv0": what segments call it
	UUID    string // in LVM's groups
	Device  string // where it was last seen, a hint only
	Status  []string
	Flags   []string // MISSING, …
	PEStart int64    // bytes, where extent 0 begins
	PECount int64
}

// LV is a logical volume.
type LV struct {
	Name, UUID string
	Status     []string // READ, WRITE, VISIBLE …
	Segments   []Segment
}

// Segment is a run of logical extents.
type Segment struct {
	Start, Count int64    // logical extents, not bytes
	Type         string   // striped (a linear one has one stripe), thin, raid1 …
	Stripes      []Stripe // of a striped one
	Origin       string   // of type snapshot: the LV that it is of
	// Names are all the words in one that isn't striped, but for its type: the logical
	// volumes that it is made of are among them.
	Names []string
}

// Stripe is where a segment's extents lie.
type Stripe struct {
	PV string // Member.Name
	PE int64  // first physical extent
}

// Linear reports whether the segment lies in one piece on one PV.
func (s Segment) Linear() bool { return s.Type == "striped" && len(s.Stripes) == 1 }

// Linear reports whether all of the volume's segments are linear.
func (l LV) Linear() bool {
	return len(l.Segments) > 0 && !slices.ContainsFunc(l.Segments, func(s Segment) bool { return !s.Linear() })
}

// Extents is the volume's size in logical extents.
func (l LV) Extents() int64 {
	var n int64
	for _, s := range l.Segments {
		n += s.Count
	}
	return n
}

// Visible reports whether it is a volume for users and no part of another.
func (l LV) Visible() bool { return slices.Contains(l.Status, "VISIBLE") }

// Types lists the segment types of the volume, each once, linear ones as
// "linear".
func (l LV) Types() []string {
	var ts []string
	seen := map[string]bool{}
	for _, s := range l.Segments {
		t := s.Type
		if s.Linear() {
			t = "linear"
		}
		if !seen[t] {
			seen[t] = true
			ts = append(ts, t)
		}
	}
	return ts
}

// Limits on what metadata may describe.
const (
	maxExtentSize = 1 << 40
	maxExtents    = 1 << 32
	maxBytes      = 1 << 62
	// What a group may have: far more than the VM has disks, or an admin makes
	// volumes, and few enough for work that grows with the product of both.
	maxPVs = 1024
	maxLVs = 4096
)

// ParseMetadata reads the text of a volume group, as in a metadata area or a
// backup file of vgcfgbackup.
func ParseMetadata(text []byte) (VG, error) {
	root, err := parseText(text)
	if err != nil {
		return VG{}, err
	}
	for _, k := range root.order {
		if g := root.group(k); g != nil {
			return readVG(k, g)
		}
	}
	return VG{}, fmt.Errorf("%w: it describes no volume group", ErrFormat)
}

func readVG(name string, g *node) (VG, error) {
	vg := VG{
		Name: name, UUID: g.text("id"), Seqno: g.number("seqno"), Status: g.texts("status"), SystemID: g.text("system_id"),
		LockType: g.text("lock_type"), MaxLVs: g.number("max_lv"),
	}
	sectors := g.number("extent_size")
	if sectors <= 0 || sectors > maxExtentSize/sector {
		return VG{}, fmt.Errorf("%w: vg %s: extent_size %d sectors", ErrFormat, name, sectors)
	}
	vg.ExtentSize = sectors * sector
	pvs, lvs := g.section("physical_volumes"), g.section("logical_volumes")
	if n := len(pvs.order); n > maxPVs {
		return VG{}, fmt.Errorf("%w: vg %s: %d physical volumes; the limit is %d", ErrFormat, name, n, maxPVs)
	}
	if n := len(lvs.order); n > maxLVs {
		return VG{}, fmt.Errorf("%w: vg %s: %d logical volumes; the limit is %d", ErrFormat, name, n, maxLVs)
	}
	for _, k := range pvs.order {
		m, err := readMember(k, pvs.group(k))
		if err != nil {
			return VG{}, fmt.Errorf("vg %s: %w", name, err)
		}
		vg.PVs = append(vg.PVs, m)
	}
	members := vg.members()
	for _, k := range lvs.order {
		lv, err := readLV(k, lvs.group(k), members, vg.ExtentSize)
		if err != nil {
			return VG{}, fmt.Errorf("vg %s: %w", name, err)
		}
		vg.LVs = append(vg.LVs, lv)
	}
	return vg, nil
}

// members are the group's physical volumes by the names that segments call
// them.
func (vg VG) members() map[string]*Member {
	out := make(map[string]*Member, len(vg.PVs))
	for i := range vg.PVs {
		out[vg.PVs[i].Name] = &vg.PVs[i]
	}
	return out
}

func readMember(name string, g *node) (Member, error) {
	if g == nil {
		return Member{}, fmt.Errorf("%w: physical volume %s is not a section", ErrFormat, name)
	}
	start, count := g.number("pe_start"), g.number("pe_count")
	if start < 0 || start > maxBytes/sector || count < 0 || count > maxExtents {
		return Member{}, fmt.Errorf("%w: physical volume %s: %d extents from sector %d", ErrFormat, name, count, start)
	}
	return Member{
		Name: name, UUID: g.text("id"), Device: g.text("device"), Status: g.texts("status"), Flags: g.texts("flags"),
		PEStart: start * sector, PECount: count,
	}, nil
}

// readLV reads a logical volume of a group with these members and extents of
// that many bytes.
func readLV(name string, g *node, members map[string]*Member, extentSize int64) (LV, error) {
	if g == nil {
		return LV{}, fmt.Errorf("%w: logical volume %s is not a section", ErrFormat, name)
	}
	lv := LV{Name: name, UUID: g.text("id"), Status: g.texts("status")}
	for _, k := range g.order {
		s := g.group(k)
		if s == nil || !strings.HasPrefix(k, "segment") {
			continue
		}
		seg, err := readSegment(s, members)
		if err != nil {
			return LV{}, fmt.Errorf("logical volume %s, %s: %w", name, k, err)
		}
		lv.Segments = append(lv.Segments, seg)
	}
	slices.SortStableFunc(lv.Segments, func(a, b Segment) int { return int(a.Start - b.Start) })
	next := int64(0)
	for _, s := range lv.Segments {
		if s.Start != next {
			return LV{}, fmt.Errorf("%w: logical volume %s: a segment starts at extent %d, the one before ends at %d", ErrFormat, name, s.Start, next)
		}
		next += s.Count
	}
	if next > maxBytes/extentSize {
		return LV{}, fmt.Errorf("%w: logical volume %s: %d extents of %d bytes", ErrFormat, name, next, extentSize)
	}
	return lv, nil
}

func readSegment(g *node, members map[string]*Member) (Segment, error) {
	s := Segment{Start: g.number("start_extent"), Count: g.number("extent_count"), Type: g.text("type")}
	if s.Start < 0 || s.Start > maxExtents || s.Count <= 0 || s.Count > maxExtents {
		return Segment{}, fmt.Errorf("%w: %d extents from %d", ErrFormat, s.Count, s.Start)
	}
	list := g.list("stripes")
	if s.Type == "snapshot" {
		s.Origin = g.text("origin")
	}
	if s.Type != "striped" {
		s.Names = g.words("type")
		return s, nil
	}
	for i := 0; i+1 < len(list); i += 2 {
		pv, ok1 := list[i].(string)
		pe, ok2 := list[i+1].(int64)
		m := members[pv]
		if !ok1 || !ok2 || m == nil {
			return Segment{}, fmt.Errorf("%w: stripe on %v at %v", ErrFormat, list[i], list[i+1])
		}
		each := s.Count / int64(max(len(list)/2, 1))
		if pe < 0 || pe >= m.PECount || each > m.PECount-pe || each*int64(len(list)/2) != s.Count {
			return Segment{}, fmt.Errorf("%w: %d extents from %d on %s, which has %d", ErrFormat, each, pe, pv, m.PECount)
		}
		s.Stripes = append(s.Stripes, Stripe{PV: pv, PE: pe})
	}
	if len(s.Stripes) == 0 {
		return Segment{}, fmt.Errorf("%w: striped without stripes", ErrFormat)
	}
	return s, nil
}
