package report

import (
	"strings"
	"testing"

	"esxodus/convert/journal"
	"esxodus/convert/runs"
)

// TestStates has what the conversion of a guest said beyond its plan.
func TestStates(t *testing.T) {
	var out strings.Builder
	s := runs.State{Name: "web", Progress: journal.Progress{Phase: runs.PhaseReady}, Notes: []string{"open-vm-tools stays:\nremove it in the guest"}}
	if err := States(&out, Form{}, []runs.State{s}); err != nil {
		t.Fatal(err)
	}
	if want := "  note: open-vm-tools stays:"; !strings.Contains(out.String(), want) || strings.Contains(out.String(), "stays:\nremove") {
		t.Errorf("States printed\n%s\nwant %q, on one line with the rest", &out, want)
	}
}
