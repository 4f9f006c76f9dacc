package volume

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/host"
)

// Sharing is what a volume group is to other hosts. All but its name is zero for a
// group on disks that this host alone has.
type Sharing struct {
	Name string `json:"name,omitempty"` // the group's
	// Over is by what its disks are reached, where others may reach them too: a
	// network's name ("iscsi"), or "multipath".
	Over  string `json:"over,omitempty"`
	Locks string `json:"locks,omitempty"` // lvmlockd's lock manager: sanlock or dlm
	// Stopped says that this host's lvmlockd hasn't started the locks: nothing can be
	// made here until `vgchange --lockstart`.
	Stopped bool   `json:"stopped,omitempty"`
	Owner   string `json:"owner,omitempty"` // its system id: the one host that may use it
	// Others are the hosts, but for this one, that have volumes of unfinished
	// runs in it; see [LVM.changing].
	Others []Writer `json:"others,omitempty"`
}

// Text says what the group is in a few words, "" for one of this host's own disks.
func (s Sharing) Text() string {
	on := ""
	if s.Over != "" {
		on = "on " + s.Over + ", "
	}
	switch {
	case s.Locks != "":
		return on + "shared by hosts, with locks by " + s.Locks
	case s.Owner != "":
		return on + "of the host with the system id " + s.Owner + " alone"
	case s.unguarded():
		return on + "where other hosts may see it, without locks or an owner: one host writes at a time"
	}
	return ""
}

// unguarded reports whether nothing of LVM's keeps two hosts from changing the
// group at a time, and there may be two.
func (s Sharing) unguarded() bool {
	return s.Locks == "" && s.Owner == "" && (s.Over != "" || len(s.Others) > 0)
}

// Group is a volume group as LVM lists it.
type Group struct {
	Free int64 // bytes
	Sharing
	// Shut says that this host's LVM doesn't let us in: another host owns the
	// group, or its locks need an lvmlockd that isn't used here.
	Shut  bool
	Disks []string // paths of its physical volumes

	seq  int64    // counts the changes of its metadata
	tags []string // of the group itself
}

// groupFields are what [Groups] asks for.
const groupFields = "vg_name,vg_uuid,vg_free,vg_seqno,vg_tags,vg_lock_type,vg_systemid,pv_name"

// Groups lists the volume groups that this host sees, those it can't use too, or
// the one that is named. LVM reads them from the disks each time: of what other
// hosts write it keeps nothing but hints at the devices that hold a group, which
// aren't asked here.
func Groups(ctx context.Context, tool host.Runner, names ...string) ([]Group, error) {
	self, err := thisWriter()
	if err != nil {
		return nil, err
	}
	return groupsOf(ctx, tool, self, names...)
}

// groupsOf is Groups as a writer sees them.
func groupsOf(ctx context.Context, tool host.Runner, self Writer, names ...string) ([]Group, error) {
	rows, err := Report(ctx, tool, "vgs", "vg", groupFields, append([]string{"--nohints", "--foreign", "--shared"}, names...)...)
	if err != nil {
		return nil, err
	}
	groups, err := gather(rows)
	if err != nil {
		return nil, err
	}
	open, err := openGroups(ctx, tool, groups)
	for i := range groups {
		g := &groups[i]
		for _, tag := range g.tags {
			if w, ok := parseWriter(tag); ok && w.Tag != self.Tag {
				g.Others = append(g.Others, w)
			}
		}
		g.Shut = open != nil && !slices.Contains(open, g.Name)
		g.Stopped = g.Locks != "" && !g.Shut && !slices.Contains(started(ctx, tool), g.Name)
		if err == nil {
			g.Over, err = reached(ctx, tool, g.Disks)
		}
	}
	return groups, err
}

// gather makes groups of rows, of which there is one for each physical volume.
func gather(rows []map[string]string) ([]Group, error) {
	var groups []Group
	of := map[string]int{} // by UUID
	for _, r := range rows {
		i, ok := of[r["vg_uuid"]]
		if !ok {
			n, err := Numbers(r, "vg_free", "vg_seqno")
			if err != nil {
				return nil, fmt.Errorf("volume group %s: %w", r["vg_name"], err)
			}
			i, of[r["vg_uuid"]] = len(groups), len(groups)
			g := Group{Free: n[0], seq: n[1], tags: strings.Split(r["vg_tags"], ",")}
			g.Name, g.Owner, g.Locks = r["vg_name"], r["vg_systemid"], r["vg_lock_type"]
			if g.Locks == "none" {
				g.Locks = ""
			}
			groups = append(groups, g)
		}
		if path := r["pv_name"]; strings.HasPrefix(path, "/") { // else it is "[unknown]"
			groups[i].Disks = append(groups[i].Disks, path)
		}
	}
	return groups, nil
}

// openGroups returns the names of those that LVM lists unasked; nil stands for all.
func openGroups(ctx context.Context, tool host.Runner, groups []Group) ([]string, error) {
	if !slices.ContainsFunc(groups, func(g Group) bool { return g.Owner != "" || g.Locks != "" }) {
		return nil, nil
	}
	rows, err := Report(ctx, tool, "vgs", "vg", "vg_name")
	if err != nil {
		return nil, err
	}
	open := []string{}
	for _, r := range rows {
		open = append(open, r["vg_name"])
	}
	return open, nil
}

// networks are the transports, as lsblk names them, by which a disk can have
// several hosts.
func networks() []string {
	return []string{"iscsi", "fc", "fcoe", "nvme-tcp", "nvme-fc", "nvme-rdma", "rdma", "tcp", "srp", "aoe"}
}

// reached is by what several hosts may reach one of some block devices, "" where
// nothing says so.
func reached(ctx context.Context, tool host.Runner, devices []string) (string, error) {
	if len(devices) == 0 {
		return "", nil
	}
	out, err := tool.Run(ctx, append([]string{"lsblk", "--inverse", "--noheadings", "--output", "TRAN,TYPE,KNAME"}, devices...)...)
	if err != nil {
		return "", fmt.Errorf("how %s is reached: %w", strings.Join(devices, ", "), err)
	}
	over := ""
	for word := range strings.FieldsSeq(string(out)) {
		if slices.Contains(networks(), word) {
			return word, nil
		}
		for _, name := range []string{"rbd", "drbd", "nbd"} { // which have no transport
			if rest, ok := strings.CutPrefix(word, name); ok && strings.Trim(rest, "0123456789p") == "" {
				over = name
			}
		}
		if word == "mpath" && over == "" {
			over = "multipath"
		}
	}
	return over, nil
}
