package report

import (
	"testing"
	"time"

	"esxodus/convert/ledger"
	"esxodus/convert/plan"
)

// TestTimeline: some VMs at a time, in their waves and after those that they come after;
// one that is blocked takes no time.
func TestTimeline(t *testing.T) {
	t.Parallel()
	p := &plan.Plan{Target: plan.Target{VirtType: "kvm"}, Order: &plan.Order{Waves: []plan.Wave{
		{Name: "1", VMs: []plan.Turn{{VM: "a"}, {VM: "b"}, {VM: "c"}, {VM: "stuck"}}},
		{Name: "2", VMs: []plan.Turn{{VM: "d"}, {VM: "e", After: []string{"d"}}}},
	}}}
	minute := int64(plan.Rate) * 60
	for _, v := range []struct {
		name    string
		minutes int64
	}{{"a", 10}, {"b", 2}, {"c", 1}, {"d", 1}, {"e", 1}, {"stuck", 60}} {
		p.VMs = append(p.VMs, plan.VMPlan{Name: v.name, Sizes: plan.Sizes{Provisioned: v.minutes * minute}})
	}
	p.VMs[5].Concerns = []ledger.Concern{{Severity: ledger.Blocker}}
	waves, all := timeline(p)
	if len(waves) != 2 || len(waves[0].Turns) != 3 || len(waves[1].Turns) != 2 || all != 21*time.Minute {
		t.Fatalf("%v in all: %+v", all, waves)
	}
	for i, want := range []time.Duration{0, 0, 5} {
		if got := waves[0].Turns[i].Begin; got != want*time.Minute {
			t.Errorf("turn %d begins after %v, want %v min", i, got, want)
		}
	}
	if d, e := waves[1].Turns[0], waves[1].Turns[1]; d.Begin != 13*time.Minute || e.Begin != 17*time.Minute || e.From != 809 || e.Wide != 190 {
		t.Errorf("second wave: %+v", waves[1].Turns)
	}
}
