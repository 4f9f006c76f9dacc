package pvhead

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/convert/volume"
)

// lvmTool runs LVM's commands without the device mapper.
type lvmTool struct{ tool host.Tool }

// Run runs one of them; see [host.Runner].
func (l lvmTool) Run(ctx context.Context, argv ...string) ([]byte, error) {
	return l.tool.Run(ctx, append([]string{"lvm", argv[0], "--quiet", "--driverloaded", "n"}, argv[1:]...)...)
}

// found compares what LVM sees of an existing group with what the layout was
// computed from.
func (t *templates) found(ctx context.Context, g layout.Group) error {
	rows, err := volume.Report(ctx, t.lvm, "vgs", "vg", "vg_name,vg_uuid,vg_seqno,vg_extent_size,pv_count", "--select", "vg_uuid="+g.UUID)
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return fmt.Errorf("LVM finds %d groups of the UUID %s on the source's physical volumes", len(rows), g.UUID)
	}
	n, err := volume.Numbers(rows[0], "vg_seqno", "vg_extent_size", "pv_count")
	if err != nil {
		return err
	}
	if n[0] != g.Seqno {
		return fmt.Errorf("its metadata is in state %d, but the plan was made for %d: volumes were changed in the guest since then; plan again", n[0], g.Seqno)
	}
	if rows[0]["vg_name"] != g.Name || n[1] != g.ExtentSize || n[2] != int64(len(g.PVs)) {
		return fmt.Errorf("LVM finds it as %q with extents of %d bytes and %d physical volumes; the plan has %q, %d and %d",
			rows[0]["vg_name"], n[1], n[2], g.Name, g.ExtentSize, len(g.PVs))
	}
	return t.segments(ctx, g, false)
}

// made compares what LVM made with the layout.
func (t *templates) made(ctx context.Context, g layout.Group) error {
	rows, err := volume.Report(ctx, t.lvm, "pvs", "pv", "pv_name,pv_uuid,vg_name,pe_start,pv_pe_count,vg_extent_size,dev_size")
	if err != nil {
		return err
	}
	for _, pv := range g.PVs {
		want := fmt.Sprintf("%s in %s, %d extents of %d bytes from byte %d, on %d bytes", pv.UUID, g.Name, pv.Extents, g.ExtentSize, pv.Start, pv.Size)
		got := "nothing"
		for _, r := range rows {
			if r["pv_name"] == t.loops[pv.Disk].Path {
				got = fmt.Sprintf("%s in %s, %s extents of %s bytes from byte %s, on %s bytes",
					r["pv_uuid"], r["vg_name"], r["pv_pe_count"], r["vg_extent_size"], r["pe_start"], r["dev_size"])
			}
		}
		if got != want {
			return fmt.Errorf("physical volume of %s: LVM made %s; the plan has %s", pv.Disk, got, want)
		}
	}
	return t.segments(ctx, g, true)
}

// segments compares where the volumes of a group lie, the new ones too or the
// others only.
func (t *templates) segments(ctx context.Context, g layout.Group, all bool) error {
	rows, err := volume.Report(ctx, t.lvm, "lvs", "seg", "lv_name,segtype,seg_start_pe,seg_pe_ranges,lv_size", "--segments", g.Name)
	if err != nil {
		return err
	}
	got := map[string][]string{}
	for _, r := range rows {
		got[r["lv_name"]] = append(got[r["lv_name"]], r["segtype"]+" at "+r["seg_start_pe"]+" on "+r["seg_pe_ranges"])
	}
	for _, v := range g.Volumes {
		if v.New && !all {
			if len(got[v.Name]) > 0 {
				return fmt.Errorf("it has a logical volume %s already", v.Name)
			}
			continue
		}
		if have, want := strings.Join(got[v.Name], ", "), strings.Join(t.wanted(g, v), ", "); have != want {
			return fmt.Errorf("logical volume %s lies %s; the plan has %s", v.Name, have, want)
		}
	}
	return nil
}

// wanted is how LVM reports a volume's segments.
func (t *templates) wanted(g layout.Group, v layout.Volume) []string {
	var out []string
	start := int64(0)
	for _, s := range v.Segments {
		path := "?"
		for _, pv := range g.PVs {
			if pv.UUID == s.PV {
				path = t.loops[pv.Disk].Path
			}
		}
		out = append(out, "linear at "+strconv.FormatInt(start, 10)+" on "+path+":"+strconv.FormatInt(s.PE, 10)+"-"+strconv.FormatInt(s.PE+s.Count-1, 10))
		start += s.Count
	}
	return out
}
