package adapt

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/convert/guest/inspect"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

// verdict is what becomes of a line of a table: its spec becomes another one,
// or the line a comment. The zero verdict leaves it as it is.
type verdict struct {
	spec string
	drop string // why
}

// rewrite changes lines of a table whose fields are separated by blanks, as
// fstab(5) and crypttab(5) are: field is the index of the spec. Whatever judge
// has no word about stays byte for byte.
func rewrite(text string, field int, judge func(fields []string) verdict) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		v := verdict{}
		at := split(line)
		if len(at) > field && line[at[0][0]] != '#' {
			fields := make([]string, len(at))
			for i, f := range at {
				fields[i] = line[f[0]:f[1]]
			}
			v = judge(fields)
		}
		switch {
		case v.drop != "":
			fmt.Fprintf(&out, "# esxodus: %s\n#%s", oneLine(v.drop), line)
		case v.spec != "":
			f := at[field]
			out.WriteString(line[:f[0]] + v.spec + line[f[1]:])
		default:
			out.WriteString(line)
		}
	}
	return out.String()
}

// split finds where a line's fields begin and end.
func split(line string) [][2]int {
	var at [][2]int
	start := -1
	for i := 0; i <= len(line); i++ {
		blank := i == len(line) || line[i] == ' ' || line[i] == '\t' || line[i] == '\n' || line[i] == '\r'
		switch {
		case !blank && start < 0:
			start = i
		case blank && start >= 0:
			at = append(at, [2]int{start, i})
			start = -1
		}
	}
	return at
}

// unquoted is a spec without the escapes and quotes of a table.
func unquoted(field string) string {
	spec := conf.Unescape(strings.Trim(field, `"`))
	if k, v, ok := strings.Cut(spec, "="); ok && !strings.Contains(k, "/") {
		return k + "=" + strings.Trim(v, `"`)
	}
	return spec
}

// tables edits fstab and crypttab.
func (b *builder) tables() {
	old := b.c.Files["/etc/fstab"].Text
	text := rewrite(old, 0, func(f []string) verdict {
		if len(f) < 2 {
			return verdict{}
		}
		mount := path.Clean("/" + conf.Unescape(f[1]))
		if len(f) > 2 && f[2] == "swap" {
			mount = "swap"
		}
		f = append(f, "", "") // kind and options may be left out
		return b.judge(tableLine{"fstab", unquoted(f[0]), mount, f[2], f[3]})
	})
	b.change("/etc/fstab", text, "file systems have other names in the new layout")
	if crypttab, ok := b.c.Files["/etc/crypttab"]; ok {
		text = rewrite(crypttab.Text, 1, func(f []string) verdict { return b.judge(tableLine{table: "crypttab", spec: unquoted(f[1])}) })
		b.change("/etc/crypttab", text, "volumes have other names in the new layout")
	}
}

// tableLine is what a line of a table, or a unit, says of a file system.
type tableLine struct {
	table, spec   string
	mount         string // where it is mounted, "swap", or "" where that isn't known
	kind, options string // of fstab
}

// judge decides about a line's spec.
func (b *builder) judge(l tableLine) verdict {
	spec, mount := l.spec, l.mount
	m, vanishes := b.places.find(spec)
	unstable := conf.UnstableName(spec) != ""
	if m == nil && unstable && mount == "/" {
		m, vanishes = b.rootMove(), true
	}
	property := fmt.Sprintf("guest.%s[%s]", l.table, mount)
	switch {
	case m != nil && m.To == "" && m.Reason != "":
		b.entry(property, spec, "", m.Reason)
		return verdict{drop: m.Reason}
	case m == nil && unstable && mount != "" && b.places.foretold(mount) != "":
		name := b.places.foretold(mount)
		b.entry(property, spec, name, "names of disks differ on another bus")
		return verdict{spec: name}
	case m == nil && (unstable || vanishes):
		b.unknownSpec(l)
		return verdict{}
	case m == nil || !vanishes:
		return verdict{}
	}
	name := b.places.stable(m)
	if name == "" {
		b.unknownSpec(l)
		return verdict{}
	}
	b.entry(property, spec, name, "the old name means nothing in the new layout")
	return verdict{spec: name}
}

// unknownSpec tells that a line will not find its file system. One that the
// guest doesn't come up without is a blocker, one that nothing mounts at boot
// hardly matters.
func (b *builder) unknownSpec(l tableLine) {
	severity, advice := ledger.Warning, "name it by its UUID in the guest (blkid shows it)"
	switch has := strings.Split(l.options, ","); {
	case guest.Idle(l.options):
		severity = ledger.Note
	case slices.Contains(has, "nofail"):
	case slices.Contains([]string{"/", "/boot", "/usr", "/var"}, l.mount), l.table == "fstab" && guest.Required(l.kind, l.options):
		severity = ledger.Blocker
		fallthrough
	default:
		advice += ", or give the line the option nofail if it may be absent"
	}
	b.concern(ConcernTable, severity, l.mount, fmt.Sprintf("/etc/%s names %s, but it isn't certain which file system that is", l.table, l.spec), advice)
}

// mounts lists the file systems that the tree is put together of, the root
// first, and those that are only checked. What nothing of the conversion lies
// on isn't mounted: a data file system that can't be must not end a conversion
// that has no use for it.
func (b *builder) mounts() {
	root := b.rootMove()
	if root == nil || applianceName(root.To) == "" {
		b.concern(ConcernUnread, ledger.Blocker, "/", "the layout has no place for the guest's root", b.instead())
		return
	}
	b.out.Mounts = []guest.Mount{{Device: applianceName(root.To), At: "/", Content: root.Content}}
	var more []guest.Mount
	listed := map[*layout.Move]bool{}
	needed := b.needed()
	for line := range strings.Lines(b.c.Files["/etc/fstab"].Text) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0][0] == '#' {
			continue
		}
		at := path.Clean("/" + conf.Unescape(f[1]))
		m, _ := b.places.find(unquoted(f[0]))
		if at == "/" {
			continue
		}
		holds := slices.ContainsFunc(needed, func(p string) bool { return p == at || strings.HasPrefix(p, at+"/") })
		switch noauto := len(f) > 3 && slices.Contains(strings.Split(f[3], ","), "noauto"); {
		case m == nil || applianceName(m.To) == "":
			if holds && f[2] != "swap" {
				b.unmounted(at)
			}
		case f[2] == "swap" || !holds:
			listed[m] = listed[m] || !noauto
		case !slices.ContainsFunc(more, func(o guest.Mount) bool { return o.At == at }):
			more = append(more, guest.Mount{Device: applianceName(m.To), At: at, Content: m.Content})
		}
	}
	slices.SortFunc(more, func(x, y guest.Mount) int { return strings.Compare(x.At, y.At) })
	b.out.Mounts = append(b.out.Mounts, more...)
	b.checks(listed)
}

// unmounted tells of a place that the conversion needs, and where a file system
// of the guest's disks is mounted that it has no name for.
func (b *builder) unmounted(at string) {
	known := slices.ContainsFunc(b.g.Volumes, func(v guest.Volume) bool { return v.Mount == at })
	for _, d := range b.g.Disks {
		known = known || slices.ContainsFunc(d.Partitions, func(p guest.Partition) bool { return p.Mount == at })
	}
	if known {
		b.concern(ConcernTable, ledger.Blocker, at, "the conversion changes files in "+at+", but it isn't certain which file system that is on the target",
			"name it in the guest's /etc/fstab by its UUID, which must be unique (blkid shows them), or "+b.instead())
	}
}

// checks lists the file systems that are checked without being mounted: those
// that fstab lists and those that have another place now; none where all stay.
func (b *builder) checks(listed map[*layout.Move]bool) {
	if b.stays() {
		return
	}
	for i := range b.places.moves {
		m := &b.places.moves[i]
		device := applianceName(m.To)
		mounted := slices.ContainsFunc(b.out.Mounts, func(o guest.Mount) bool { return o.Device == device })
		if _, kept := keptPartition(m.To); device != "" && !kept && m.Content != "" && !mounted && (listed[m] || m.To != m.From) {
			b.out.Checks = append(b.out.Checks, guest.Mount{Device: device, At: fit.Line(m.Mount), Content: m.Content})
		}
	}
}

// needed lists the paths that must be in the tree: the system's directories,
// and what the plan changes, runs or leaves to others to change.
func (b *builder) needed() []string {
	var out []string
	runs := !b.stays() || len(b.out.Commands) > 0 // else what goes into initrds is taken, and nothing written
	if runs || len(b.out.Overlays) > 0 {
		for _, dir := range inspect.SystemDirs() {
			if top, _, _ := strings.Cut(dir[1:], "/"); !runs && (top == "var" || top == "tmp") {
				continue
			}
			out = append(out, dir)
			if real := b.c.Dirs[dir]; real != "" {
				out = append(out, real)
			}
		}
	}
	for _, e := range b.out.Edits {
		out = append(out, e.Path)
	}
	for _, p := range b.out.Programs {
		out = append(out, p.Path)
	}
	for _, o := range b.out.Overlays {
		out = slices.Concat(out, []string{o.Initrd}, o.Files, o.Also)
	}
	for _, t := range b.out.Touches {
		out = append(out, fixed(t.Pattern))
	}
	for _, argv := range append(slices.Clone(b.out.Commands), b.out.Loader) {
		out = append(out, slices.DeleteFunc(slices.Clone(argv), func(a string) bool { return !path.IsAbs(a) })...)
	}
	return out
}

// fixed is the start of a pattern that holds for all that it matches: the path,
// or the directory above the first wildcard.
func fixed(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return path.Dir(pattern[:i] + "x")
	}
	return path.Clean(pattern)
}

// applianceName is the device of a place in the appliance: "vg0/root" is
// /dev/vg0/root, a disk's address a whole disk, "scsi0:1 partition 2" a partition
// of a disk that is kept.
func applianceName(place string) string {
	if name, ok := keptPartition(place); ok {
		return name
	}
	switch {
	case place == "" || strings.Contains(place, " "):
		return ""
	case strings.Contains(place, "/"):
		return "/dev/" + place
	}
	return "disk:" + place
}

// keptPartition names a partition of a disk that is kept.
func keptPartition(place string) (device string, ok bool) {
	disk, number, ok := strings.Cut(place, " partition ")
	return "disk:" + disk + "#" + number, ok
}
