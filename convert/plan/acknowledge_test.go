package plan

import (
	"strings"
	"testing"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

func TestParseAcknowledgements(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Acknowledgement{
		"guest.left=we know":             {ID: "guest.left", Reason: "we know"},
		"web 1/guest.left = a=b":         {}, // a blank isn't part of an id
		"web=1/guest.left=a=b":           {VM: "web=1", ID: "guest.left", Reason: "a=b"},
		"a/b/cpu.emulated=no KVM: a lab": {VM: "a/b", ID: "cpu.emulated", Reason: "no KVM: a lab"},
		"guest.left=":                    {},
		"guest.left":                     {},
		"left=why":                       {},
	} {
		got, err := ParseAcknowledgements([]string{text})
		if want == (Acknowledgement{}) {
			if err == nil {
				t.Errorf("%q = %+v; want an error", text, got)
			}
			continue
		}
		if err != nil || got[0] != want {
			t.Errorf("%q = %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// TestAcknowledge: a word reaches the concerns that it is about, of one VM or of all, and
// no blocker; one that reaches nothing is said.
func TestAcknowledge(t *testing.T) {
	t.Parallel()
	concerns := func() []ledger.Concern {
		return []ledger.Concern{{ID: "a.b", Severity: ledger.Blocker}, {ID: "a.b", Severity: ledger.Warning}, {ID: "c.d", Severity: ledger.Warning}, {ID: "e.f", Severity: ledger.Note}}
	}
	p := &Plan{
		VMs:      []VMPlan{{Name: "web", Source: inventory.VM{Name: "Web", ID: "7"}, Concerns: concerns()}, {Name: "db", Source: inventory.VM{Name: "db", ID: "8"}, Concerns: concerns()}},
		Concerns: concerns(),
	}
	missed := p.acknowledge([]Acknowledgement{{ID: "a.b", Reason: "all"}, {VM: "7", ID: "c.d", Reason: "one"}, {VM: "db", ID: "x.y", Reason: "none"}})
	if len(missed) != 1 || missed[0].ID != "x.y" || len(missedConcerns(missed)) != 1 {
		t.Errorf("missed %+v; want x.y", missed)
	}
	for i, cs := range [][]ledger.Concern{p.VMs[0].Concerns, p.VMs[1].Concerns, p.Concerns} {
		one := ""
		if i == 0 {
			one = "one"
		}
		if cs[0].Acknowledged != "" || cs[1].Acknowledged != "all" || cs[2].Acknowledged != one || cs[3].Acknowledged != "" {
			t.Errorf("concerns of %d: %+v", i, cs)
		}
	}
	if open := p.Open(ledger.Warning); len(open) != 5 || open[0].Subject != "Web" {
		t.Errorf("open: %+v; want three blockers and two warnings", open)
	}
	if open := p.Open(ledger.Blocker); len(open) != 3 {
		t.Errorf("open blockers: %+v", open)
	}
	if err := p.checkAcknowledged(); err != nil {
		t.Error(err)
	}
	p.VMs[1].Concerns[0].Acknowledged = "I dare"
	if err := p.checkAcknowledged(); err == nil || !strings.Contains(err.Error(), "vms[1].concerns[0]") {
		t.Errorf("an acknowledged blocker: %v", err)
	}
}
