package adapt

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/guest/conf"
	"esxodus/convert/ledger"
)

// units edits the units of systemd that mount file systems, and tells of those
// that will not find theirs.
func (b *builder) units() {
	for _, name := range slices.Sorted(maps.Keys(b.c.Files)) {
		unit, ok := strings.CutPrefix(name, "/etc/systemd/system/")
		if !ok {
			continue
		}
		if dir := path.Dir(unit); dir != "." {
			unit = strings.TrimSuffix(dir, ".d") // a file that adds to it
		}
		kind := path.Ext(unit)
		text := rewriteWhat(b.c.Files[name].Text, func(spec string) string {
			if kind == ".swap" {
				return b.swapUnit(name, spec)
			}
			return b.mountUnit(name, unescapeUnit(strings.TrimSuffix(unit, kind)), spec)
		})
		b.change(name, text, "its file system has another name in the new layout")
	}
}

// mountUnit returns what a mount unit's What= becomes, "" where it stays.
func (b *builder) mountUnit(file, mount, spec string) string {
	if m, _ := b.places.find(spec); m != nil && m.To == "" && m.Reason != "" {
		b.concern(ConcernTable, ledger.Warning, mount, fmt.Sprintf("%s mounts %s, but that has no place in the new layout: %s", file, spec, m.Reason),
			"disable the unit in the guest before the migration (systemctl disable UNIT), or the guest waits for it 90 s at each start and may stop there")
		return ""
	}
	v := b.judge(tableLine{table: strings.TrimPrefix(file, "/etc/"), spec: spec, mount: mount})
	if uuid, ok := strings.CutPrefix(v.spec, "UUID="); ok {
		return "/dev/disk/by-uuid/" + uuid // older systemd waits for no device by a tag
	}
	return v.spec
}

// swapUnit tells of a swap unit whose device has another name: as its own name
// is made of the device's, an edit is not enough.
func (b *builder) swapUnit(file, spec string) string {
	m, vanishes := b.places.find(spec)
	if (m == nil || !vanishes) && conf.UnstableName(spec) == "" {
		return ""
	}
	b.concern(ConcernTable, ledger.Warning, "swap", fmt.Sprintf("%s names %s, which isn't on the target, and a swap unit is named after its device", file, spec),
		"in the guest, before the migration, put the swap into /etc/fstab by its UUID and disable the unit (systemctl disable UNIT)")
	return ""
}

// rewriteWhat changes What= in the sections [Mount] and [Swap] of a unit to what
// judge returns, unless that is "". All else stays byte for byte.
func rewriteWhat(text string, judge func(spec string) string) string {
	var out strings.Builder
	section := ""
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "[") {
			section = trimmed
		}
		key, value, ok := strings.Cut(line, "=")
		spec := strings.TrimSpace(value)
		to := ""
		if ok && strings.TrimSpace(key) == "What" && spec != "" && (section == "[Mount]" || section == "[Swap]") {
			to = judge(spec)
		}
		if to == "" {
			out.WriteString(line)
			continue
		}
		at := strings.Index(value, spec)
		out.WriteString(key + "=" + value[:at] + to + value[at+len(spec):])
	}
	return out.String()
}

// unescapeUnit is the path that a mount unit's name stands for (systemd.unit(5),
// "String Escaping for Inclusion in Unit Names").
func unescapeUnit(name string) string {
	if name == "-" {
		return "/"
	}
	name = strings.ReplaceAll(name, "-", "/")
	var out strings.Builder
	out.WriteByte('/')
	for i := 0; i < len(name); i++ {
		if strings.HasPrefix(name[i:], `\x`) && i+4 <= len(name) {
			if c, err := strconv.ParseUint(name[i+2:i+4], 16, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(name[i])
	}
	return out.String()
}
