package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
)

// TestExpectationHolds: what the plan shows is what apply wants to see; a plan
// from before there was an expectation wants a login prompt.
func TestExpectationHolds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(s *plan.Step)
		want plan.Expect
	}{
		{"as planned", func(*plan.Step) {}, plan.Expect{See: plan.SawActivity, Seconds: 900}},
		{"a longer watch", func(s *plan.Step) { s.Expect.Seconds = 1000 }, plan.Expect{See: plan.SawActivity, Seconds: 1000}},
		{"a plan of an older esxodus", func(s *plan.Step) { s.Expect = nil }, plan.Expect{See: plan.SawLogin, Seconds: 1200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			p := w.Plan()
			tt.edit(converttest.ProofOf(t, &p.VMs[0]))
			if err := p.Check(); err != nil {
				t.Fatal(err)
			}
			j, err := w.State().Create(p.Job(0), journal.NewRun())
			if err != nil {
				t.Fatal(err)
			}
			if err, crashed := apply(t.Context(), w, j); err != nil || crashed {
				t.Fatalf("Apply = %v, crashed %v", err, crashed)
			}
			if len(w.Wanted.Untried) != 1 && tt.want.See == plan.SawActivity {
				t.Errorf("untried: %q; want the NIC, of which nothing is known", w.Wanted.Untried)
			}
			w.Wanted.Untried = nil
			if !reflect.DeepEqual(w.Wanted, tt.want) {
				t.Errorf("the proof was to see %+v; want %+v", w.Wanted, tt.want)
			}
		})
	}
	j := plan.VMJob{Target: plan.Target{VirtType: "kvm"}}
	if e, text := j.Expect(plan.Step{Text: "boot a copy"}); !reflect.DeepEqual(e, plan.Expect{See: plan.SawLogin, Seconds: 600}) || !strings.Contains(text, "boot a copy (an older esxodus made the plan") {
		t.Errorf("expect of an old step = %+v, %q; want the strict one, said so", e, text)
	}
}

// TestProofPassedOver: a proof that fails leaves the run, and the admin may pass
// over it, who is told so.
func TestProofPassedOver(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	w.Tick = func(what string) error {
		if what == "prove" {
			return fmt.Errorf("no login prompt")
		}
		return nil
	}
	if err, _ := apply(t.Context(), w, w.Create()); !errors.Is(err, ErrStopped) {
		t.Fatalf("Apply = %v; want it stopped", err)
	}
	j, e := w.Open(), effects(w)
	e.NoProof = true
	if err := errors.Join(Apply(t.Context(), j, e), j.Close()); err != nil {
		t.Fatalf("Apply without the proof = %v", err)
	}
	if s, err := w.State().State("web"); err != nil || s.Phase != runs.PhaseUnseen || s.Seen != plan.SawNothing || s.Proof != plan.ProofLeftOut || w.Proofs != 0 {
		t.Errorf("State = %+v, %v, %d proofs; want it not seen to boot", s, err, w.Proofs)
	}
}

// What the guest writes to its console is kept until the run is over, a hostile
// guest's up to a limit.
func TestConsoleKept(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	j := w.Create()
	if err, _ := apply(t.Context(), w, j); err != nil {
		t.Fatal(err)
	}
	s, err := w.State().State("web")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(s.Console); err != nil || string(b) != "web login:\n" {
		t.Errorf("%s holds %q, %v; want what the guest wrote", s.Console, b, err)
	}
	c, err := openConsole(filepath.Join(t.TempDir(), "console"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 << 10 {
		c.line(strings.Repeat("x", 2<<10))
	}
	info, err := c.Stat()
	if err := errors.Join(err, c.Close()); err != nil || info.Size() > maxConsole || info.Size() < maxConsole/2 {
		t.Errorf("%d bytes are kept, %v; want at most %d", info.Size(), err, maxConsole)
	}
}
