package report

import (
	"strings"
	"testing"

	"esxodus/convert/journal"
)

// TestStates has what the conversion of a guest said beyond its plan.
func TestStates(t *testing.T) {
	var out strings.Builder
	s := journal.State{Name: "web", Phase: journal.PhaseReady, Notes: []string{"open-vm-tools stays:\nremove it in the guest"}}
	if err := States(&out, Form{}, []journal.State{s}); err != nil {
		t.Fatal(err)
	}
	if want := "  note: open-vm-tools stays:"; !strings.Contains(out.String(), want) || strings.Contains(out.String(), "stays:\nremove") {
		t.Errorf("States printed\n%s\nwant %q, on one line with the rest", &out, want)
	}
}
