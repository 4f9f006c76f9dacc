package volume

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Paths is how the disks under a physical volume are reached.
type Paths struct {
	Maps    []Map    `json:"maps,omitempty"`    // multipath maps that it lies on
	Singles []Single `json:"singles,omitempty"` // disks that it uses by one path, though there are others
	Remote  []string `json:"remote,omitempty"`  // disks on iSCSI or Fibre Channel of which one path is seen
}

// Map is a map of several paths to one disk.
type Map struct {
	Name  string `json:"name"` // in /dev/mapper
	Paths int    `json:"paths"`
}

// Single is a path that is used in its map's stead.
type Single struct {
	Disk   string   `json:"disk"`             // "sda"
	Map    string   `json:"map,omitempty"`    // that has the path; "" if none has
	Others []string `json:"others,omitempty"` // other paths to the same disk
}

// String says what is wrong.
func (s Single) String() string {
	if s.Map != "" {
		return fmt.Sprintf("%s, one path of the multipath map %s", s.Disk, s.Map)
	}
	return fmt.Sprintf("%s, one path to a disk that is %s as well, without multipath", s.Disk, strings.Join(s.Others, " and "))
}

// Why says what is wrong with a way to the disks, "" if nothing is.
func (p Paths) Why() string {
	var all []string
	for _, s := range p.Singles {
		all = append(all, s.String())
	}
	return strings.Join(all, "; ")
}

// PathAdvice is what to do about a [Single].
const PathAdvice = "with that path its domains lose their disks, and the group can be changed by two ways at once: make multipathd map the disk (`multipath -ll` must list it), " +
	"keep LVM off its paths (multipath_component_detection or global_filter in lvm.conf, or `lvmdevices`), and activate the group again"

// PathsOf follows a device down to its disks in sysfs, root being "" for this
// machine's. What sysfs doesn't say isn't there.
func PathsOf(root, device string) Paths {
	if real, err := filepath.EvalSymlinks(device); err == nil {
		device = real
	}
	w := &pathWalk{blocks: filepath.Join(root, "/sys/class/block"), seen: map[string]bool{}}
	w.follow(filepath.Base(device))
	return w.Paths
}

// pathWalk is a walk from a device to the disks under it.
type pathWalk struct {
	blocks string // /sys/class/block
	seen   map[string]bool
	Paths
}

// text is what a file of a device's says.
func (w *pathWalk) text(name, file string) string {
	b, _ := os.ReadFile(filepath.Join(w.blocks, name, file)) // not there: nothing
	return strings.TrimSpace(string(b))
}

// list lists a directory of a device's.
func (w *pathWalk) list(name, dir string) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(w.blocks, name, dir)) // not there: nothing
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// multipath says whether a device is a map of paths, by its UUID in device-mapper.
func (w *pathWalk) multipath(name string) bool {
	return strings.HasPrefix(w.text(name, "dm/uuid"), "mpath-")
}

func (w *pathWalk) follow(name string) {
	if w.seen[name] {
		return
	}
	w.seen[name] = true
	below := w.list(name, "slaves")
	switch {
	case w.text(name, "partition") != "":
		if real, err := filepath.EvalSymlinks(filepath.Join(w.blocks, name)); err == nil {
			w.follow(filepath.Base(filepath.Dir(real)))
		}
	case w.multipath(name):
		w.Maps = append(w.Maps, Map{Name: w.text(name, "dm/name"), Paths: len(below)})
	case len(below) > 0:
		for _, n := range below {
			w.follow(n)
		}
	default:
		w.disk(name)
	}
}

// disk looks for other paths to a disk: its holder, and disks of the same size with
// the same WWID, of SCSI. NVMe's paths are one disk to the kernel.
func (w *pathWalk) disk(name string) {
	s := Single{Disk: name}
	for _, h := range w.list(name, "holders") {
		if w.multipath(h) {
			s.Map = w.text(h, "dm/name")
		}
	}
	if id := w.text(name, "device/wwid"); id != "" {
		for _, other := range w.list("", "") {
			if other != name && w.text(other, "device/wwid") == id && w.text(other, "size") == w.text(name, "size") {
				s.Others = append(s.Others, other)
			}
		}
	}
	if s.Map != "" || len(s.Others) > 0 {
		w.Singles = append(w.Singles, s)
	} else if w.remote(name) {
		w.Remote = append(w.Remote, name)
	}
}

// remote says whether a disk is reached by a session of iSCSI or a remote port of Fibre
// Channel: its place in sysfs has them.
func (w *pathWalk) remote(name string) bool {
	real, err := filepath.EvalSymlinks(filepath.Join(w.blocks, name))
	return err == nil && (strings.Contains(real, "/session") || strings.Contains(real, "/rport-"))
}

// Join adds another physical volume's.
func (p *Paths) Join(o Paths) {
	p.Maps, p.Singles, p.Remote = append(p.Maps, o.Maps...), append(p.Singles, o.Singles...), append(p.Remote, o.Remote...)
}

// String says how many paths there are, "" where nothing is mapped.
func (p Paths) String() string {
	if len(p.Maps) == 0 {
		return ""
	}
	least := slices.MinFunc(p.Maps, func(a, b Map) int { return a.Paths - b.Paths }).Paths
	if least == 1 {
		return "multipath, 1 path"
	}
	return "multipath, " + strconv.Itoa(least) + " paths"
}

// paths is how the group's physical volumes are reached.
func (l LVM) paths(ctx context.Context) (Paths, error) {
	rows, err := l.rows(ctx, "vgs", "vg", "vg_name,pv_name")
	if err != nil {
		return Paths{}, fmt.Errorf("physical volumes of %s: %w", l.VG, err)
	}
	var all Paths
	for _, row := range rows {
		if row["pv_name"] != "" {
			all.Join(PathsOf("", row["pv_name"]))
		}
	}
	return all, nil
}
