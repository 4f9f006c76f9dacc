package inspect

import (
	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/disk/lvm"
)

// facts is what the metadata says of a group, with the places of its physical
// volumes.
func (l *look) facts(vg lvm.VG) guest.Group {
	g := guest.Group{
		Name: conf.Clean(vg.Name), UUID: conf.Clean(vg.UUID), Seqno: vg.Seqno, ExtentSize: vg.ExtentSize,
		Status: cleanAll(vg.Status), SystemID: conf.Clean(vg.SystemID), LockType: conf.Clean(vg.LockType), MaxLVs: vg.MaxLVs,
	}
	uuids := map[string]string{} // by the metadata's own name
	for _, m := range vg.PVs {
		uuids[m.Name] = conf.Clean(m.UUID)
		g.PVs = append(g.PVs, l.member(m))
	}
	for _, lv := range vg.LVs {
		v := guest.GroupLV{Name: conf.Clean(lv.Name), Visible: lv.Visible(), Types: cleanAll(lv.Types())}
		for _, s := range lv.Segments {
			seg := guest.LVSegment{Start: s.Start, Count: s.Count}
			for _, a := range s.Stripes {
				seg.Areas = append(seg.Areas, guest.LVArea{PV: uuids[a.PV], PE: a.PE})
			}
			if s.Origin != "" {
				v.Origin = conf.Clean(s.Origin)
			}
			v.Segments = append(v.Segments, seg)
		}
		g.LVs = append(g.LVs, v)
	}
	return g
}

// member is a physical volume of a group, with the place of the first of those
// that claim to be it.
func (l *look) member(m lvm.Member) guest.GroupPV {
	v := guest.GroupPV{UUID: conf.Clean(m.UUID), Start: m.PEStart, Extents: m.PECount, Status: cleanAll(m.Status), Flags: cleanAll(m.Flags)}
	for _, p := range l.pvs {
		if p.pv.UUID != m.UUID {
			continue
		}
		if v.Copies++; v.Copies > 1 {
			continue
		}
		v.Disk, v.Partition, v.Offset, v.Length, v.Label = p.disk, p.number, p.offset, p.img.Size(), p.pv.Label
		for _, a := range p.pv.Metadata {
			v.Metadata = append(v.Metadata, guest.Metadata{Offset: a.Offset, Length: a.Length})
		}
	}
	return v
}

func cleanAll(in []string) []string {
	var out []string
	for _, s := range in {
		out = append(out, conf.Clean(s))
	}
	return out
}
