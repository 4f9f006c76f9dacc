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
	// old are the moves by the names that they had on the source, new by those
	// that last; both canonical. A name may have several.
	old, lasting map[string][]*layout.Move
	// bearers is how many of the source's partitions a table's name has, and
	// twins how many of its file systems a UUID.
	bearers, twins map[string]int
}

func newPlaces(in Input) places {
	p := places{
		moves: in.Layout.Moves, disks: in.Guest.Disks,
		old: map[string][]*layout.Move{}, lasting: map[string][]*layout.Move{}, bearers: map[string]int{}, twins: map[string]int{},
	}
	links := map[string]string{} // udev's of logical volumes
	for i := range in.Guest.Volumes {
		v := &in.Guest.Volumes[i]
		p.twins[strings.ToLower(v.UUID)]++
		if v.ID != "" {
			links[v.Group+"/"+v.Name] = v.Link()
		}
	}
	for i := range p.moves {
		m := &p.moves[i]
		addNames(p.old, m, m.Names...)
		addNames(p.lasting, m, m.Device(), links[m.From])
		if m.UUID != "" {
			addNames(p.lasting, m, "UUID="+m.UUID)
		}
		if m.Label != "" {
			addNames(p.lasting, m, "LABEL="+m.Label)
		}
	}
	for i := range p.disks {
		for j := range p.disks[i].Partitions {
			p.twins[strings.ToLower(p.disks[i].Partitions[j].UUID)]++
			names := map[string]bool{}
			for _, n := range guest.TableNames(&p.disks[i], &p.disks[i].Partitions[j]) {
				names[guest.Canonical(n)] = true
			}
			for n := range names {
				p.bearers[n]++
			}
		}
	}
	return p
}

// addNames adds a move under each of its names, once.
func addNames(to map[string][]*layout.Move, m *layout.Move, names ...string) {
	for _, n := range names {
		n = guest.Canonical(n)
		if n != "" && !slices.Contains(to[n], m) {
			to[n] = append(to[n], m)
		}
	}
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
// and whether the spec vanishes. A name shared by two identifies neither: a
// cloned disk has the partition table of the other.
func (p places) find(spec string) (m *layout.Move, vanishes bool) {
	want := guest.Canonical(spec)
	if old := p.old[want]; len(old) > 0 {
		if len(old) > 1 || p.bearers[want] > 1 {
			return nil, true
		}
		return old[0], true
	}
	if lasting := p.lasting[want]; len(lasting) == 1 {
		return lasting[0], false
	}
	return nil, false
}

// stable is the name that a file system has for good: that of its logical
// volume, else its UUID; "" where it has neither, or another one, a clone of it,
// has the same.
func (p places) stable(m *layout.Move) string {
	if d := m.Device(); d != "" {
		return d
	}
	return p.alone(m.UUID)
}

// alone is a spec by a UUID that no other file system has; "" for any other.
func (p places) alone(uuid string) string {
	if p.twins[strings.ToLower(uuid)] > 1 {
		return ""
	}
	return byUUID(uuid)
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
			found = p.alone(part.UUID)
		}
	}
	return found
}
