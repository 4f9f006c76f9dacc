package plan

import (
	"slices"
	"strings"
	"testing"

	"esxodus/inventory"
)

// TestOrder: the source's autostart is the order, by its numbers and with its delays;
// what it doesn't start comes last.
func TestOrder(t *testing.T) {
	t.Parallel()
	d := &Draft{Facts: Facts{Host: &inventory.Host{AutoStart: inventory.AutoStartDefaults{StartDelay: 120}}}}
	p := &Plan{}
	for _, v := range []struct {
		name string
		auto *inventory.AutoStart
	}{
		{"none", nil},
		{"late", &inventory.AutoStart{Order: -1, StartDelay: 5, StartAction: "powerOn"}},
		{"off", &inventory.AutoStart{Order: 1, StartAction: "none"}},
		{"second", &inventory.AutoStart{Order: 2, StartDelay: -1, StartAction: "powerOn"}},
		{"first", &inventory.AutoStart{Order: 1, StartDelay: 10, StartAction: "PowerOn", WaitForHeartbeat: true}},
	} {
		p.VMs = append(p.VMs, VMPlan{Name: v.name, Source: inventory.VM{Name: v.name, AutoStart: v.auto}})
	}
	got := joinOrders([]*Draft{d}, p).Waves[0].VMs
	want := []Turn{
		{VM: "first", Chained: true, Delay: 10, Heartbeat: true},
		{VM: "second", Chained: true, Delay: 120},
		{VM: "late", Chained: true, Delay: 5},
		{VM: "none"},
		{VM: "off"},
	}
	if !slices.EqualFunc(got, want, func(a, b Turn) bool {
		return a.VM == b.VM && a.Chained == b.Chained && a.Delay == b.Delay && a.Heartbeat == b.Heartbeat
	}) {
		t.Errorf("order = %+v; want %+v", got, want)
	}
}

// TestCheckOrder: an edited order has each VM once, and nothing that can't be.
func TestCheckOrder(t *testing.T) {
	t.Parallel()
	wave := func(turns ...Turn) Wave { return Wave{VMs: turns} }
	for name, tt := range map[string]struct {
		waves []Wave
		want  string // "" for an order that is fine
	}{
		"split":              {[]Wave{wave(Turn{VM: "b"}), wave(Turn{VM: "a", After: []string{"b"}})}, ""},
		"after in its wave":  {[]Wave{wave(Turn{VM: "a", After: []string{"b"}}, Turn{VM: "b"})}, ""},
		"missing":            {[]Wave{wave(Turn{VM: "a"})}, "b is in none"},
		"twice":              {[]Wave{wave(Turn{VM: "a"}, Turn{VM: "b"}), wave(Turn{VM: "a"})}, "a is there twice"},
		"unknown":            {[]Wave{wave(Turn{VM: "a"}, Turn{VM: "b"}, Turn{VM: "c"})}, `no VM whose domain is called "c"`},
		"after a later wave": {[]Wave{wave(Turn{VM: "a", After: []string{"b"}}), wave(Turn{VM: "b"})}, `"b" is in no wave that comes before`},
		"after itself":       {[]Wave{wave(Turn{VM: "a", After: []string{"a"}}, Turn{VM: "b"})}, "a comes after itself"},
		"in a ring":          {[]Wave{wave(Turn{VM: "a", After: []string{"b"}}, Turn{VM: "b", After: []string{"a"}})}, "comes after itself"},
		"delay":              {[]Wave{wave(Turn{VM: "a", Delay: -1}, Turn{VM: "b"})}, "delay -1"},
	} {
		p := &Plan{VMs: []VMPlan{{Name: "a"}, {Name: "b"}}, Order: &Order{Waves: tt.waves}}
		err := p.checkOrder()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", name, err, tt.want)
		}
	}
}
