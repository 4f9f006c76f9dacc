package adapt

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/layout"
	"esxodus/convert/ledger"
)

// stays reports whether all of the guest's file systems stay where they are.
func (b *builder) stays() bool {
	return b.in.Layout.Kind == layout.Keep || b.in.Layout.Kind == ""
}

// instead is what to do where the guest is not to be changed like this.
func (b *builder) instead() string {
	if b.stays() {
		return "leave the guest as it is with --no-edits"
	}
	return "migrate the disk as it is with --layout keep"
}

// Wants lists what a guest that keeps its layout is changed for, in words that go
// behind "so that"; none where it needs no change.
func Wants(in Input) []string {
	var names, out []string
	for _, n := range Names(in.Guest, in.NICs) {
		names = append(names, n.Name)
	}
	switch len(names) {
	case 0:
	case 1:
		out = append(out, "its NIC goes on being called "+names[0])
	default:
		out = append(out, "its NICs go on being called "+strings.Join(names, ", "))
	}
	if lacking := in.Guest.LacksVirtio(); lacking != nil && !in.SameDisks {
		out = append(out, "kernel "+lacking.Kernel+" finds its disks on virtio")
	}
	return out
}

// inPlace changes a guest that keeps its layout, and no more of it than its new
// machine calls for: see [Wants].
func (b *builder) inPlace() {
	b.concerns = append(b.concerns, NICDrivers(b.g)...)
	if b.in.Layout.Refused || len(Wants(b.in)) == 0 || !b.readable() || !b.oneRoot() {
		return
	}
	b.nicLinks()
	switch {
	case b.hasFamily():
		b.unfitKernels()
		b.family.initrds(b)
	case b.g.LacksVirtio() != nil && !b.in.SameDisks:
		b.knowsFamily()
		return
	}
	b.labels()
	b.records()
	b.mounts()
	b.fixed()
	b.out.OnlyDisks = OnlyDisks(b.g)
}

// oneRoot reports whether what was read is certainly the system that starts.
func (b *builder) oneRoot() bool {
	others := slices.Clone(b.g.OtherRoots)
	for _, c := range b.g.Claims {
		if !slices.Contains(others, c.Spec) {
			others = append(others, c.Spec)
		}
	}
	if len(others) > 0 {
		b.concern(ConcernUnread, ledger.Blocker, "/", fmt.Sprintf("the guest may start another root than %s (%s)", b.g.Root, strings.Join(others, ", ")), b.instead())
	}
	return len(others) == 0
}
