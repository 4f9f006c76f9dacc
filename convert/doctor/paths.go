package doctor

import (
	"context"
	"fmt"
	"os"
	"strings"

	"esxodus/convert/host"
	"esxodus/convert/ledger"
	"esxodus/convert/volume"
)

// paths tells of volume groups on multipath maps, and of those that should be.
func (v *stay) paths(ctx context.Context) {
	if !host.Has("vgs") {
		return
	}
	rows, err := volume.Report(ctx, v.Tool, "vgs", "vg", "vg_name,pv_name")
	if err != nil {
		return // the look at the groups has said so
	}
	var names []string
	of := map[string]volume.Paths{}
	for _, r := range rows { // one for each physical volume
		name := r["vg_name"]
		p, ok := of[name]
		if !ok {
			names = append(names, name)
		}
		p.Join(volume.PathsOf(v.Root, r["pv_name"]))
		of[name] = p
	}
	for _, name := range names {
		v.onPaths(name, of[name])
	}
}

// onPaths tells of a group that is on a map, on one path of several, or perhaps so.
func (v *stay) onPaths(group string, p volume.Paths) {
	_, err := os.Stat(v.Root + "/run/multipathd.pid")
	switch {
	case p.Why() != "":
		v.add("multipath", ledger.Warning, fmt.Sprintf("volume group %s is on %s: it is refused as storage", group, p.Why()), volume.PathAdvice)
	case len(p.Remote) > 0 && err == nil:
		v.add("multipath", ledger.Note, fmt.Sprintf("volume group %s is on %s without multipath, although multipathd runs here", group, strings.Join(p.Remote, " and ")),
			"if there is one path, nothing; else `multipath -ll` must list the disk")
	case p.String() != "":
		v.ok("multipath", fmt.Sprintf("volume group %s: %s", group, p))
	}
}
