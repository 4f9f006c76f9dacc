package plan

import (
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/inventory"
)

// TestDivide: each host gets what is said of its VMs, and what names VMs of two hosts, or
// none, is refused.
func TestDivide(t *testing.T) {
	hosts := []*inventory.Host{
		{Name: "esx1", VMs: []inventory.VM{{ID: "1", Name: "web"}, {ID: "2", Name: "db"}}},
		{Name: "esx2", VMs: []inventory.VM{{ID: "1", Name: "mail"}, {ID: "3", Name: "web"}}},
	}
	o := Options{
		VMs: []string{"db", "mail", "3"}, Via: map[string]Way{"": WaySSH, "mail": WayHTTPS},
		Addresses: map[string][]guest.NewAddress{"db": nil},
	}
	got, err := o.Divide(hosts)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got[0].VMs, []string{"db"}) || !slices.Equal(got[1].VMs, []string{"mail", "3"}) {
		t.Errorf("VMs %q and %q", got[0].VMs, got[1].VMs)
	}
	if len(got[0].Via) != 1 || len(got[1].Via) != 2 || len(got[0].Addresses) != 1 || len(got[1].Addresses) != 0 || len(o.Via) != 2 {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"web", "1"} {
		if _, err := (Options{VMs: []string{name}}).Divide(hosts); err == nil || !strings.Contains(err.Error(), "esx1 and esx2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, o := range []Options{{VMs: []string{"nobody"}}, {Via: map[string]Way{"nobody": WaySSH}}, {Addresses: map[string][]guest.NewAddress{"nobody": nil}}} {
		if _, err := o.Divide(hosts); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if one, err := o.Divide(hosts[:1]); err != nil || len(one) != 1 || len(one[0].VMs) != 3 {
		t.Errorf("of one host: %+v, %v", one, err) // which says itself what it hasn't
	}
}

// TestJoinOrders: the VMs of several hosts take turns, each host's in its own order.
func TestJoinOrders(t *testing.T) {
	drafts := []*Draft{{Facts: Facts{Host: &inventory.Host{}}}, {Facts: Facts{Host: &inventory.Host{}}}}
	p := &Plan{VMs: []VMPlan{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "x", From: 1}, {Name: "y", From: 1}}}
	p.VMs[4].Source.AutoStart = &inventory.AutoStart{Order: 1, StartAction: "powerOn"}
	var got []string
	for _, turn := range joinOrders(drafts, p).Waves[0].VMs {
		got = append(got, turn.VM)
	}
	if want := []string{"a", "y", "b", "x", "c"}; !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}

// TestCheckFrom: a VM is of a source that the plan has.
func TestCheckFrom(t *testing.T) {
	for _, from := range []int{-1, 2} {
		p := &Plan{Schema: Schema, Target: Target{Storage: "dir:/srv"}, More: make([]Source, 1), VMs: []VMPlan{{Name: "a"}, {Name: "b", From: from}}}
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), "vms[1].from") {
			t.Errorf("from %d: %v", from, err)
		}
	}
}
