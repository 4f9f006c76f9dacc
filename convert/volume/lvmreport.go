package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"esxodus/convert/host"
)

// group is what we ask of a volume group. Sizes are in bytes.
type group struct {
	Extent int64
	Free   int64 // where LVM may allocate
	LVs    int64 // how many logical volumes it has
	Max    int64 // how many it may have; 0 for any number
}

// extents returns how many extents hold size bytes.
func (g group) extents(size int64) int64 { return (size + g.Extent - 1) / g.Extent }

// logical is what we ask of a logical volume.
type logical struct {
	Size int64 // bytes
	Tags []string
}

// report is LVM's JSON: a list of reports, of which ours has one, each with a
// list of rows by section ("vg", "lv").
type report struct {
	Report []map[string][]map[string]string `json:"report"`
}

// reportConfig has LVM report as it does unless lvm.conf(5) says otherwise: yes and no
// as words, the tags of a list with commas, and JSON with neither a shell's prefixes nor
// something before each line.
const reportConfig = `report{binary_values_as_numeric=0 list_item_separator="," prefixes=0} log{command_names=0 prefix=""}`

// Report runs one of LVM's reporting commands, and returns the rows of a section
// (lvmreport(7)). Sizes are in bytes.
func Report(ctx context.Context, tool host.Runner, command, section, fields string, more ...string) ([]map[string]string, error) {
	argv := []string{command, "--config", reportConfig, "--reportformat", "json", "--units", "b", "--nosuffix", "--options", fields}
	out, err := tool.Run(ctx, append(argv, more...)...)
	if err != nil {
		return nil, err
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("%s: report: %w", command, err)
	}
	if len(r.Report) == 0 {
		return nil, fmt.Errorf("%s: empty report", command)
	}
	return r.Report[0][section], nil
}

// rows is what is reported of the group.
func (l LVM) rows(ctx context.Context, command, section, fields string) ([]map[string]string, error) {
	return Report(ctx, hostRunner{l}, command, section, fields, l.VG)
}

// group reads the volume group and refuses one that no volume can be made in.
func (l LVM) group(ctx context.Context) (group, error) {
	if err := CheckVG(l.VG); err != nil {
		return group{}, err
	}
	rows, err := l.rows(ctx, "vgs", "vg", "vg_name,vg_uuid,vg_extent_size,vg_extent_count,max_lv,lv_count,vg_permissions,vg_exported,vg_partial,vg_clustered,pv_allocatable,pv_pe_count,pv_pe_alloc_count")
	if err != nil {
		return group{}, l.unread(err)
	}
	groups := map[string]bool{} // UUIDs; each physical volume has a row
	for _, row := range rows {
		groups[row["vg_uuid"]] = true
	}
	if len(groups) != 1 || rows[0]["vg_name"] != l.VG {
		return group{}, l.twice(len(groups))
	}
	if err := usable(l.VG, rows[0]); err != nil {
		return group{}, err
	}
	g, err := readGroup(rows)
	if err != nil {
		return group{}, fmt.Errorf("volume group %s: %w", l.VG, err)
	}
	return g, nil
}

// readGroup takes the numbers of a group from its rows, one for each physical volume. Of
// one that mayn't be allocated from (pvchange --allocatable n) vg_free counts the extents.
func readGroup(rows []map[string]string) (group, error) {
	n, err := Numbers(rows[0], "vg_extent_size", "vg_extent_count", "lv_count", "max_lv")
	if err != nil {
		return group{}, err
	}
	const most = 1 << 62
	if n[0] <= 0 || n[1] < 0 || n[1] > most/n[0] {
		return group{}, fmt.Errorf("vgs reports %d extents of %d bytes", n[1], n[0])
	}
	free := int64(0)
	for _, row := range rows {
		pv, err := Numbers(row, "pv_pe_count", "pv_pe_alloc_count")
		if err != nil {
			return group{}, err
		}
		if pv[1] < 0 || pv[0] < pv[1] || pv[0]-pv[1] > n[1]-free {
			return group{}, fmt.Errorf("vgs reports a physical volume with %d of %d extents allocated, in a group of %d", pv[1], pv[0], n[1])
		}
		if row["pv_allocatable"] != "" {
			free += pv[0] - pv[1]
		}
	}
	return group{Extent: n[0], Free: free * n[0], LVs: n[2], Max: n[3]}, nil
}

// unread says that vgs doesn't list the group.
func (l LVM) unread(err error) error {
	if unseen(err) {
		return fmt.Errorf("this host has no volume group %s: vgs lists those it has; a thin pool is given as lvm:VG/POOL (%w)", l.VG, err)
	}
	return fmt.Errorf("volume group %s: %w", l.VG, err)
}

// twice says that there are several groups of that name.
func (l LVM) twice(n int) error {
	return fmt.Errorf("volume group %s: vgs reports %d groups of that name: give each its own (vgrename UUID NAME)", l.VG, n)
}

// unseen reports whether LVM says that there is no such volume group.
func unseen(err error) bool {
	exit, ok := errors.AsType[*host.ExitError](err)
	return ok && strings.Contains(exit.Stderr, "not found")
}

// usable says why no logical volume can be made in a group.
func usable(vg string, row map[string]string) error {
	switch {
	case row["vg_exported"] != "":
		return fmt.Errorf("volume group %s is exported: vgimport %s makes it usable here", vg, vg)
	case row["vg_partial"] != "":
		return fmt.Errorf("volume group %s lacks a physical volume: bring it back, or remove it (vgreduce --removemissing)", vg)
	case row["vg_clustered"] != "":
		return fmt.Errorf("volume group %s is clustered (clvmd), which this host's LVM cannot lock: see lvmlockd(8)", vg)
	case row["vg_permissions"] != "writeable":
		return fmt.Errorf("volume group %s is read-only here (%q): see read_only_volume_list in lvm.conf", vg, row["vg_permissions"])
	}
	return nil
}

// volumes lists the group's logical volumes by name.
func (l LVM) volumes(ctx context.Context) (map[string]logical, error) {
	rows, err := l.rows(ctx, "lvs", "lv", "lv_name,lv_size,lv_tags")
	if err != nil {
		return nil, fmt.Errorf("volume group %s: %w", l.VG, err)
	}
	lvs := make(map[string]logical, len(rows))
	for _, row := range rows {
		n, err := Numbers(row, "lv_size")
		if err != nil {
			return nil, fmt.Errorf("logical volume %s/%s: %w", l.VG, row["lv_name"], err)
		}
		lvs[row["lv_name"]] = logical{Size: n[0], Tags: strings.Split(row["lv_tags"], ",")}
	}
	return lvs, nil
}

// Numbers returns fields of a row that hold whole numbers.
func Numbers(row map[string]string, fields ...string) ([]int64, error) {
	out := make([]int64, len(fields))
	for i, f := range fields {
		n, err := strconv.ParseInt(row[f], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is %q, want a number", f, row[f])
		}
		out[i] = n
	}
	return out, nil
}
