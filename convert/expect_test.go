package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
)

// proofOf returns the step of a plan that is the boot proof.
func proofOf(t *testing.T, v *VMPlan) *Step {
	t.Helper()
	i := slices.IndexFunc(v.Steps, func(s Step) bool { return s.Kind == StepProve })
	if i < 0 {
		t.Fatalf("no boot proof in %+v", v.Steps)
	}
	return &v.Steps[i]
}

// TestExpectation: in every layout, a guest that runs a login on the console
// which is watched must show its prompt, and the dry run says so.
func TestExpectation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vm := &w.host.VMs[0]
	for _, tt := range []struct {
		logins   []string
		kind     layout.Kind
		virtType string
		want     Expect
		text     string
	}{
		{[]string{"ttyS0"}, layout.Keep, "kvm", Expect{SawLogin, 600}, "within 10 minutes"},
		{[]string{"ttyS0", "ttyS1"}, layout.LVM, "qemu", Expect{SawLogin, 1200}, "nothing less is a proof"},
		{[]string{"ttyS1"}, layout.Keep, "kvm", Expect{SawActivity, 420}, "watch it for 7 minutes"},
		{nil, layout.LVM, "qemu", Expect{SawActivity, 900}, "doesn't show that it came up"},
	} {
		g := debianOf(vm)
		g.SerialLogin = tt.logins
		o := w.options()
		o.Layout, o.VirtType = tt.kind, tt.virtType
		p, err := New(Facts{Host: &w.host, Guests: map[string]guest.Guest{vm.ID: g}, Target: TargetFacts{VirtTypes: []string{"kvm", "qemu"}}}, o)
		if err != nil {
			t.Fatal(err)
		}
		if p.VMs[0].Layout.Kind != tt.kind {
			t.Fatalf("layout %s, want %s", p.VMs[0].Layout.Kind, tt.kind)
		}
		if s := proofOf(t, &p.VMs[0]); s.Expect == nil || *s.Expect != tt.want || !strings.Contains(s.Text, tt.text) {
			t.Errorf("logins on %q, %s, layout %s: %+v %q; want %+v, %q", tt.logins, tt.virtType, tt.kind, s.Expect, s.Text, tt.want, tt.text)
		}
	}
}

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
			if err, crashed := w.apply(t.Context(), j); err != nil || crashed {
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

// TestUnseen: what wasn't seen to come up is never called ready, by whatever
// asks: a run's state, a batch, a batch that passes over it, old journals.
func TestUnseen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		saw     Sight
		noProof bool // in the plan
		phase   Phase
		proof   string
	}{
		{"login", SawLogin, false, PhaseReady, "as the test says"},
		{"activity", SawActivity, false, PhaseUnseen, "as the test says"},
		{"left out", SawNothing, true, PhaseUnseen, leftOut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.saw = tt.saw
			p := w.plan()
			if tt.noProof {
				p.VMs[0].Steps = p.VMs[0].Steps[:len(p.VMs[0].Steps)-1]
			}
			for _, did := range []Did{DidConvert, DidPass} {
				r := Batch(t.Context(), p, w.state(), w.effects(), 1)[0]
				if r.Error != "" || r.Did != did || r.Phase != tt.phase {
					t.Errorf("Batch = %+v; want %s, %s", r, did, tt.phase)
				}
				if unseen := tt.phase == PhaseUnseen; unseen != (r.Proof == tt.proof) || unseen != strings.Contains(r.Advice, "see it come up before you accept it: `virsh start web` (with the source off)") {
					t.Errorf("Batch = %+v; want what was seen and what to do: %v", r, unseen)
				}
			}
			s, err := w.state().State("web")
			if err != nil || s.Phase != tt.phase || s.Seen != tt.saw || s.Proof != tt.proof {
				t.Errorf("State = %+v, %v; want %s, seen %s, %q", s, err, tt.phase, tt.saw, tt.proof)
			}
			if want := "`esxodus commit web` or `esxodus rollback web`"; s.Ways() != want {
				t.Errorf("Ways = %s; want %s", s.Ways(), want)
			}
			j := w.open()
			if err := errors.Join(Commit(t.Context(), j, w.effects()), j.Close()); err != nil {
				t.Errorf("Commit = %v", err)
			}
			if s, err = w.state().State("web"); err != nil || s.Phase != PhaseCommitted || s.Seen != tt.saw {
				t.Errorf("State after the commit = %+v, %v; want committed, seen %s", s, err, tt.saw)
			}
		})
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
	if err, _ := w.apply(t.Context(), w.create()); !errors.Is(err, ErrStopped) {
		t.Fatalf("Apply = %v; want it stopped", err)
	}
	j, e := w.open(), w.effects()
	e.NoProof = true
	if err := errors.Join(Apply(t.Context(), j, e), j.Close()); err != nil {
		t.Fatalf("Apply without the proof = %v", err)
	}
	if s, err := w.state().State("web"); err != nil || s.Phase != PhaseUnseen || s.Seen != SawNothing || s.Proof != leftOut || w.proofs != 0 {
		t.Errorf("State = %+v, %v, %d proofs; want it not seen to boot", s, err, w.proofs)
	}
}

// TestProofOfOldJournals: their proofs are a text.
func TestProofOfOldJournals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Proof{
		`"login prompt on the serial console after 1m34.8s: debian login:"`:                              {SawLogin, "login prompt on the serial console after 1m34.8s: debian login:"},
		`"activity only, nothing on the serial console, after 1m30s: silent serial console; read 1 KiB"`: {SawActivity, "activity only, nothing on the serial console, after 1m30s: silent serial console; read 1 KiB"},
		`{"saw":"nothing","text":"none"}`:                                                                {SawNothing, "none"},
	} {
		var got Proof
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// TestCheckExpect: an edited plan can't make less a proof.
func TestCheckExpect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		logins []string
		expect Expect
		err    string
	}{
		{nil, Expect{SawActivity, 900}, ""},
		{nil, Expect{SawLogin, 30}, ""},
		{nil, Expect{SawActivity, 899}, "seconds 899: want 900"},
		{nil, Expect{SawLogin, 0}, "seconds 0"},
		{nil, Expect{SawLogin, 1 << 40}, "seconds 1099511627776"},
		{nil, Expect{SawNothing, 900}, `see "nothing": want login or activity`},
		{[]string{"ttyS0"}, Expect{SawActivity, 900}, "nothing less than its prompt is a proof"},
	} {
		p := w.plan()
		p.VMs[0].Guest.SerialLogin = tt.logins
		proofOf(t, &p.VMs[0]).Expect = &tt.expect
		if err := p.Check(); (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("logins on %q, %+v: Check = %v; want %q", tt.logins, tt.expect, err, tt.err)
		}
	}
	p := w.plan()
	p.VMs[0].Steps[0].Expect = &Expect{SawLogin, 30}
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "only a step of kind prove") {
		t.Errorf("an expectation of another step: Check = %v", err)
	}
}
