package plan

import (
	"slices"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/volume"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// part and lv are short for what guests are made of.
func part(number int, offset, length int64, content, mount string) guest.Partition {
	return guest.Partition{Number: number, Offset: offset, Length: length, Type: "83", Content: content, UUID: content + mount, Mount: mount}
}

func lv(name string, runs ...guest.LVArea) guest.GroupLV {
	v := guest.GroupLV{Name: name, Visible: true, Types: []string{"linear"}}
	for i, r := range runs {
		v.Segments = append(v.Segments, guest.LVSegment{Start: int64(100 * i), Count: 100, Areas: []guest.LVArea{r}})
	}
	return v
}

func pv(id, disk string, number int, offset int64) guest.GroupPV {
	return guest.GroupPV{
		UUID: id, Disk: disk, Partition: number, Offset: offset, Length: gib, Start: mib, Extents: 255, Status: []string{"ALLOCATABLE"},
		Label: 1, Metadata: []guest.Metadata{{Offset: 4096, Length: mib - 4096}}, Copies: 1,
	}
}

// laidOut are guests on partitions, on groups in partitions, and on both.
func laidOut() map[string]guest.Guest {
	const one, two, vg = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg", "222222-bbbb-cccc-dddd-eeee-ffff-gggggg", "gggggg-bbbb-cccc-dddd-eeee-ffff-gggggg"
	linux := func(root string, parts ...guest.Partition) guest.Guest {
		return guest.Guest{
			OS: "linux", Distro: "debian", Hostname: "web", Kernels: []string{"6.1"}, Root: root,
			Disks: []guest.DiskLayout{
				{Address: "scsi0:0", Size: 10 * gib, Table: "mbr", TableID: "deb1a512", BootCode: true, Partitions: parts},
				{Address: "scsi0:1", Size: 2*gib + 512, Table: "none"},
			},
		}
	}
	group := func(g guest.Guest, pvs []guest.GroupPV, lvs ...guest.GroupLV) guest.Guest {
		g.Groups = []guest.Group{{Name: "g-vg", UUID: vg, Seqno: 3, ExtentSize: 4 * mib, Status: []string{"RESIZEABLE", "READ", "WRITE"}, PVs: pvs, LVs: lvs}}
		g.Volumes = []guest.Volume{{Group: "g-vg", Name: "root", Length: 400 * mib, Kind: "linear", Content: "ext4", UUID: "r", Mount: "/"}}
		return g
	}
	boot, in := part(1, mib, 487*mib, "ext2", "/boot"), part(5, 489*mib, gib, "lvm2", "")
	spread := linux("g-vg/root", boot, in)
	spread.Disks[1].Table, spread.Disks[1].Partitions = "gpt", []guest.Partition{part(1, 5*mib, gib, "lvm2", ""), part(2, 6*mib+gib, 100*mib, "xfs", "/srv")}
	full := pv(one, "scsi0:0", 5, 489*mib)
	full.Extents = 200
	return map[string]guest.Guest{
		"a full group": group(linux("g-vg/root", boot, in), []guest.GroupPV{full}, lv("root", guest.LVArea{PV: one}), lv("swap", guest.LVArea{PV: one, PE: 100})),
		"partitions":   linux("scsi0:0 partition 1", part(1, mib, 9*gib, "ext4", "/"), part(2, mib+9*gib, gib-mib, "swap", "swap")),
		"a group":      group(linux("g-vg/root", boot, in), []guest.GroupPV{pv(one, "scsi0:0", 5, 489*mib)}, lv("root", guest.LVArea{PV: one}), lv("swap", guest.LVArea{PV: one, PE: 155})),
		"a volume in pieces": group(linux("g-vg/root", boot, in), []guest.GroupPV{pv(one, "scsi0:0", 5, 489*mib)},
			lv("root", guest.LVArea{PV: one, PE: 150}, guest.LVArea{PV: one, PE: 20})),
		"a group on two disks": group(spread, []guest.GroupPV{pv(one, "scsi0:0", 5, 489*mib), pv(two, "scsi0:1", 1, 5*mib)},
			lv("root", guest.LVArea{PV: one}), lv("data", guest.LVArea{PV: two, PE: 7}, guest.LVArea{PV: one, PE: 110})),
	}
}

// TestCheckLayouts: what package layout makes passes, and not if any byte of it
// has no place, or one of somebody else's.
func TestCheckLayouts(t *testing.T) {
	t.Parallel()
	for name, g := range laidOut() {
		for _, kind := range []layout.Kind{layout.LVM, layout.Keep, layout.Plain} {
			l := layout.New(layout.Request{Kind: kind, Name: "web", Seed: "seed", Guest: g})
			if l.Kind != kind {
				if kind != layout.Plain {
					t.Errorf("%s: %s because %q; want %s", name, l.Kind, l.Reasons, kind)
				}
				continue
			}
			v := VMPlan{Guest: g, Layout: l}
			for _, d := range l.Disks {
				v.Disks = append(v.Disks, Disk{Address: d.Address, Size: d.Size - d.Grown, Volume: volume.Volume{Size: d.Size}})
			}
			for i := range v.Disks {
				checkRanges(t, name+", "+string(kind), &v, i)
			}
		}
	}
}

// checkRanges checks disk i, and then with each of its ranges changed in turn.
func checkRanges(t *testing.T, name string, v *VMPlan, i int) {
	t.Helper()
	if err := v.checkLayout(i); err != nil {
		t.Errorf("%s: disk %d: %v", name, i, err)
	}
	d := &v.Layout.Disks[i]
	whole := d.Ranges
	for k := range whole {
		for what, change := range map[string]func(*layout.Range) bool{
			"is gone": func(*layout.Range) bool { return false },
			"is half": func(r *layout.Range) bool { r.Length /= 2; return true },
			"is a sector less": func(r *layout.Range) bool {
				r.Length -= 512
				return d.Kind != layout.LVM || len(v.Layout.Groups[0].UUID) > 0
			},
			"comes from elsewhere": func(r *layout.Range) bool {
				r.Source += 512
				r.Length -= 512
				return true
			},
			"goes elsewhere": func(r *layout.Range) bool {
				r.Target += 512
				r.Length -= 512
				return true
			},
		} {
			r := whole[k]
			d.Ranges = slices.Clone(whole)
			if change(&r) {
				d.Ranges[k] = r
			} else {
				d.Ranges = slices.Delete(d.Ranges, k, k+1)
			}
			if err := v.checkLayout(i); err == nil && unused(v, i, whole[k]) == 0 {
				t.Errorf("%s: disk %d: range %d, %+v, %s, and nobody minds", name, i, k, whole[k], what)
			}
		}
	}
	d.Ranges = whole
}

// unused counts the bytes of a range that no volume or partition of the guest
// has: free extents of a group, which are copied because they may be of volumes
// that nobody knows.
func unused(v *VMPlan, i int, r layout.Range) int64 {
	if v.Layout.Disks[i].Kind != layout.LVM {
		return 0
	}
	left := r.Length
	for _, g := range v.Layout.Groups {
		for _, p := range g.PVs {
			for _, vol := range g.Volumes {
				for _, s := range vol.Segments {
					from, to := p.Start+s.PE*g.ExtentSize, p.Start+(s.PE+s.Count)*g.ExtentSize
					if s.PV == p.UUID && p.Disk == v.Layout.Disks[i].Address {
						left -= max(0, min(to, r.Target+r.Length)-max(from, r.Target))
					}
				}
			}
		}
	}
	return left
}
