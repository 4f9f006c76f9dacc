package convert

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestExpectationHolds: what the plan shows is what apply wants to see; a plan
// from before there was an expectation wants a login prompt.
func TestExpectationHolds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(s *Step)
		want Expect
	}{
		{"as planned", func(*Step) {}, Expect{SawActivity, 900}},
		{"a longer watch", func(s *Step) { s.Expect.Seconds = 1000 }, Expect{SawActivity, 1000}},
		{"a plan of an older esxodus", func(s *Step) { s.Expect = nil }, Expect{SawLogin, 1200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.plan()
			tt.edit(proofOf(t, &p.VMs[0]))
			if err := p.Check(); err != nil {
				t.Fatal(err)
			}
			j, err := w.state().Create(p.Job(0), NewRun())
			if err != nil {
				t.Fatal(err)
			}
			if err, crashed := apply(t.Context(), w, j); err != nil || crashed {
				t.Fatalf("Apply = %v, crashed %v", err, crashed)
			}
			if w.wanted != tt.want {
				t.Errorf("the proof was to see %+v; want %+v", w.wanted, tt.want)
			}
		})
	}
	j := VMJob{Target: Target{VirtType: "kvm"}}
	if e, text := j.expect(Step{Text: "boot a copy"}); e != (Expect{SawLogin, 600}) || !strings.Contains(text, "boot a copy (an older esxodus made the plan") {
		t.Errorf("expect of an old step = %+v, %q; want the strict one, said so", e, text)
	}
}

// TestProofPassedOver: a proof that fails leaves the run, and the admin may pass
// over it, who is told so.
func TestProofPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tick = func(what string) error {
		if what == "prove" {
			return fmt.Errorf("no login prompt")
		}
		return nil
	}
	if err, _ := apply(t.Context(), w, w.create()); !errors.Is(err, ErrStopped) {
		t.Fatalf("Apply = %v; want it stopped", err)
	}
	j, e := w.open(), effects(w)
	e.NoProof = true
	if err := errors.Join(Apply(t.Context(), j, e), j.Close()); err != nil {
		t.Fatalf("Apply without the proof = %v", err)
	}
	if s, err := w.state().State("web"); err != nil || s.Phase != PhaseUnseen || s.Seen != SawNothing || s.Proof != leftOut || w.proofs != 0 {
		t.Errorf("State = %+v, %v, %d proofs; want it not seen to boot", s, err, w.proofs)
	}
}
