package adapt

import (
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
)

// places knows where each file system of a guest came to lie.
type places struct {
	moves []layout.Move
	disks []guest.DiskLayout
}

func newPlaces(in Input) places {
	return places{moves: in.Layout.Moves, disks: in.Guest.Disks}
}

// only returns the one move that matches; two that do are none.
func (p places) only(match func(*layout.Move) bool) *layout.Move {
	var found *layout.Move
	for i := range p.moves {
		if !match(&p.moves[i]) {
			continue
		}
		if found != nil {
			return nil
		}
		found = &p.moves[i]
	}
	return found
}

// find returns the file system that a spec means, nil where none is certain,
// and whether the spec vanishes.
func (p places) find(spec string) (m *layout.Move, vanishes bool) {
	want := canonical(spec)
	for i := range p.moves {
		if slices.ContainsFunc(p.moves[i].Names, func(n string) bool { return canonical(n) == want }) {
			return &p.moves[i], true
		}
	}
	return p.only(func(m *layout.Move) bool {
		return m.UUID != "" && want == canonical("UUID="+m.UUID) ||
			m.Label != "" && want == "LABEL="+m.Label ||
			m.Device() != "" && want == m.Device()
	}), false
}

// stable is the name that a file system has for good: that of its logical
// volume, else its UUID; "" where it has neither.
func stable(m *layout.Move) string {
	if d := m.Device(); d != "" {
		return d
	}
	return byUUID(m.UUID)
}

// byUUID is a spec by a file system's UUID; "" for what is none.
func byUUID(uuid string) string {
	if uuid == "" || strings.Trim(uuid, "0123456789abcdefABCDEF-") != "" {
		return ""
	}
	return "UUID=" + uuid
}

// foretold is the spec of a partition that no move is about, because its disk
// stays as it is, from where the guest mounts it; "" where that isn't certain.
func (p places) foretold(mount string) string {
	found := ""
	for _, d := range p.disks {
		for _, part := range d.Partitions {
			if part.Mount != mount || part.UUID == "" {
				continue
			}
			if found != "" {
				return ""
			}
			found = byUUID(part.UUID)
		}
	}
	return found
}

// canonical brings the ways to write one spec into one.
func canonical(spec string) string {
	for _, by := range [][2]string{
		{"/dev/disk/by-uuid/", "UUID="},
		{"/dev/disk/by-label/", "LABEL="},
		{"/dev/disk/by-partuuid/", "PARTUUID="},
		{"/dev/disk/by-partlabel/", "PARTLABEL="},
	} {
		if value, ok := strings.CutPrefix(spec, by[0]); ok {
			spec = by[1] + value
		}
	}
	if key, value, ok := strings.Cut(spec, "="); ok && !strings.Contains(key, "/") {
		value = strings.Trim(value, `"`)
		if key = strings.ToUpper(key); strings.HasSuffix(key, "UUID") {
			value = strings.ToLower(value)
		}
		return key + "=" + value
	}
	name, ok := strings.CutPrefix(spec, "/dev/")
	if group, lv, both := strings.Cut(name, "/"); ok && both && group != "mapper" && group != "disk" && !strings.Contains(lv, "/") {
		return layout.Move{To: name}.Device()
	}
	return spec
}
