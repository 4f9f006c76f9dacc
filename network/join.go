package network

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Of returns the plan with the attachments of one of its sources' port groups only.
func (p *Plan) Of(source int) Plan {
	one := *p
	one.Attachments = slices.DeleteFunc(slices.Clone(p.Attachments), func(a Attachment) bool { return a.Source != source })
	return one
}

// Join makes one plan of those of several sources, whose port groups keep the number of
// theirs: two hosts may have different ones of the same name. What makes the same device
// or pool here is there once. The error says which unit, device or pool two of them
// would make differently.
func Join(plans ...Plan) (Plan, error) {
	var out Plan
	units, optional, devices, pools := newUnion("the unit", unitName), newUnion("the unit", unitName),
		newUnion("the device", func(d Device) string { return d.Name }), newUnion("the virtual functions of", func(p Pool) string { return p.Device })
	for i, p := range plans {
		for _, a := range p.Attachments {
			a.Source = i
			out.Attachments = append(out.Attachments, a)
		}
		if err := cmp.Or(units.add(p.Units), optional.add(p.Optional), devices.add(p.Devices), pools.add(p.Pools)); err != nil {
			return Plan{}, err
		}
		out.Ledger = append(out.Ledger, p.Ledger...)
		out.Concerns = append(out.Concerns, p.Concerns...)
	}
	out.Units, out.Optional, out.Devices, out.Pools = units.sorted(), optional.sorted(), devices.sorted(), pools.sorted()
	return out, nil
}

func unitName(u Unit) string { return u.Name }

// union is the things of several plans, each once by its name.
type union[T comparable] struct {
	kind string
	name func(T) string
	have map[string]T
}

func newUnion[T comparable](kind string, name func(T) string) *union[T] {
	return &union[T]{kind: kind, name: name, have: make(map[string]T)}
}

func (u *union[T]) add(things []T) error {
	for _, t := range things {
		name := u.name(t)
		if other, ok := u.have[name]; ok && other != t {
			return fmt.Errorf("%s %s would have to be different for the networks of two hosts: plan these hosts apart, or map their port groups to other interfaces with %s", u.kind, name, MapFlag)
		}
		u.have[name] = t
	}
	return nil
}

func (u *union[T]) sorted() []T {
	var out []T
	for _, name := range slices.Sorted(maps.Keys(u.have)) {
		out = append(out, u.have[name])
	}
	return out
}
