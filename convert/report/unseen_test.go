package report

import (
	"strings"
	"testing"

	"esxodus/convert/batch"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
)

// TestUnseen: "ready" is not printed beside a proof that wasn't had.
func TestUnseen(t *testing.T) {
	t.Parallel()
	const proof = "activity only, no login prompt, after 7m0s: silent serial console"
	var out strings.Builder
	s := runs.State{Name: "web", Progress: journal.Progress{Phase: runs.PhaseUnseen, Done: 9, Steps: 9}, Seen: plan.SawActivity, Proof: proof}
	if err := States(&out, Form{}, []runs.State{s}); err != nil {
		t.Fatal(err)
	}
	for _, did := range []batch.Did{batch.DidConvert, batch.DidResume, batch.DidPass} {
		r := batch.Result{Name: "web", Did: did, Phase: s.Phase, Proof: proof, Advice: s.Seeing()}
		if err := Results(&out, Form{}, []batch.Result{r}); err != nil {
			t.Fatal(err)
		}
	}
	got := out.String()
	for _, want := range []string{
		"web: converted, not seen to boot, 9 of 9 steps", "  proof: " + proof[:30], "  next: see it boot before you accept it",
		"web: converted, not seen to boot\n", "web: resumed, converted, not seen to boot\n", "web: was done already, converted, not seen to boot\n", "  do: see it boot",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, ": ready") || strings.Contains(got, ", ready") {
		t.Errorf("ready stands in\n%s", got)
	}
}
