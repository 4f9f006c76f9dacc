package batch

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/guest"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/plan/plantest"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/inventory"
)

// effects are the world's.
func effects(w *converttest.World) run.Effects {
	return run.Effects{
		Host: w, Storage: w.Store(), Virt: converttest.Virt{W: w}, Guests: converttest.Guests{W: w},
		Tool: converttest.Tool{W: w}, Progress: converttest.Quiet{},
	}
}

func TestBatch(t *testing.T) {
	w := converttest.New(t)
	second := plantest.VM()
	second.ID, second.Name = "8", "db"
	second.BIOSUUID, second.InstanceUUID = strings.Replace(second.BIOSUUID, "0001", "0002", 1), "520d0000-0000-0000-0000-000000000002"
	second.NICs[0].MAC = "00:50:56:01:02:04"
	on := plantest.VM()
	on.ID, on.Name, on.Power = "9", "on", inventory.PoweredOn
	on.BIOSUUID = strings.Replace(on.BIOSUUID, "0001", "0003", 1)
	on.NICs[0].MAC = "00:50:56:01:02:05"
	w.Own(&second)
	w.Own(&on)
	w.Host.VMs = append(w.Host.VMs, second, on)
	p := w.PlanAny()
	broken := true
	w.Tick = func(what string) error {
		if what == "define" && broken {
			broken = false // the first VM to come here fails
			return fmt.Errorf("libvirt is away")
		}
		return nil
	}
	got := Run(t.Context(), p, w.State(), effects(w), Options{Parallel: 2})
	failed := 0
	for _, r := range got[:2] {
		if r.Error != "" {
			failed++
		}
	}
	if failed != 1 || got[2].Did != DidRefuse || got[2].Advice == "" {
		t.Fatalf("Run = %+v; want one of two failed and the third refused with advice", got)
	}
	again := Run(t.Context(), p, w.State(), effects(w), Options{Parallel: 2})
	for i, r := range again[:2] {
		want := DidPass
		if got[i].Error != "" {
			want = DidResume
		}
		if r.Error != "" || r.Did != want || r.Phase != runs.PhaseReady {
			t.Errorf("second Batch of %s = %+v; want %s", r.VM, r, want)
		}
	}
}

// TestBatchOfOthers: a run on record that carries out anything but what the plan
// shows is not taken for the plan's; one that was committed is in nobody's way.
func TestBatchOfOthers(t *testing.T) {
	w := converttest.New(t)
	j := w.Create()
	if err := errors.Join(run.Apply(t.Context(), j, effects(w)), j.Close()); err != nil {
		t.Fatal(err)
	}
	other, changed := w.PlanAny(), w.PlanAny()
	other.Source.Host = "esx2"
	other.VMs[0].Source.InstanceUUID = "520d0000-0000-0000-0000-00000000000f"
	changed.Source, changed.VMs[0] = j.Job().Source, j.Job().VM
	changed.VMs[0].Domain.XML += "<!-- edited -->"
	for name, p := range map[string]*plan.Plan{"another VM": other, "an edited plan": changed} {
		got := Run(t.Context(), p, w.State(), effects(w), Options{Parallel: 1})
		if got[0].Did != DidRefuse || !strings.Contains(got[0].Error, "another plan") || !strings.Contains(got[0].Error, "`esxodus commit web` or `esxodus rollback web`") {
			t.Errorf("Batch with %s = %+v, want it refused", name, got)
		}
	}
	j = w.Open()
	if err := errors.Join(run.Commit(t.Context(), j, effects(w)), j.Close()); err != nil {
		t.Fatal(err)
	}
	if got := Run(t.Context(), changed, w.State(), effects(w), Options{Parallel: 1}); got[0].Did != DidPass || got[0].Error != "" {
		t.Errorf("Batch after the commit = %+v, want it passed over", got)
	}
	got := Run(t.Context(), other, w.State(), effects(w), Options{Parallel: 1})
	if got[0].Did == DidPass || strings.Contains(got[0].Error, "another plan") {
		t.Errorf("Batch of another VM after the commit = %+v, want a run of its own", got)
	}
}

// TestBegun: what was begun with edited addresses goes on as it began, and nothing else
// is taken for that.
func TestBegun(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	j := w.Create()
	fresh := func() *plan.Plan {
		p := w.PlanAny()
		p.Source, p.VMs[0].Sums.Proven = j.Job().Source, "of the run's guest"
		return p
	}
	for name, tt := range map[string]struct {
		edit func(p *plan.Plan)
		want bool
	}{
		"as it began":       {func(*plan.Plan) {}, true},
		"other addresses":   {func(p *plan.Plan) { p.VMs[0].Addresses = []guest.NewAddress{{Index: 1}} }, false},
		"another domain":    {func(p *plan.Plan) { p.VMs[0].Domain.AutoStart = true }, false},
		"another volume":    {func(p *plan.Plan) { p.VMs[0].Disks[0].Volume.Path = "/x" }, false},
		"another VM":        {func(p *plan.Plan) { p.VMs[0].Source.InstanceUUID = "x" }, false},
		"one without a run": {func(p *plan.Plan) { p.VMs[0].Name = "db" }, false},
	} {
		p := fresh()
		tt.edit(p)
		was := p.VMs[0].Sums
		if got := Begun(p, 0, w.State()); got != tt.want || (p.VMs[0].Sums == was) == tt.want {
			t.Errorf("%s: %v, sums %+v; want %v", name, got, p.VMs[0].Sums, tt.want)
		}
	}
	if err := errors.Join(run.Rollback(t.Context(), j, effects(w)), j.Close()); err != nil {
		t.Fatal(err)
	}
	if p := fresh(); Begun(p, 0, w.State()) {
		t.Error("a run that was rolled back is taken up")
	}
}

// TestUnseen: what wasn't seen to come up is never called ready, by whatever
// asks: a run's state, a batch, a batch that passes over it, old journals.
func TestUnseen(t *testing.T) {
	t.Parallel()
	const untried = "; not tried on a network: eth0 (no address of it is known)"
	for _, tt := range []struct {
		name    string
		saw     plan.Sight
		noProof bool // in the plan
		phase   journal.Phase
		proof   string
	}{
		{"login", plan.SawLogin, false, runs.PhaseReady, "as the test says" + untried},
		{"activity", plan.SawActivity, false, runs.PhaseUnseen, "as the test says" + untried},
		{"left out", plan.SawNothing, true, runs.PhaseUnseen, plan.ProofLeftOut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			w.Saw = tt.saw
			p := w.Plan()
			if tt.noProof {
				p.VMs[0].Steps = p.VMs[0].Steps[:len(p.VMs[0].Steps)-1]
			}
			for _, did := range []Did{DidConvert, DidPass} {
				r := Run(t.Context(), p, w.State(), effects(w), Options{Parallel: 1})[0]
				if r.Error != "" || r.Did != did || r.Phase != tt.phase {
					t.Errorf("Run = %+v; want %s, %s", r, did, tt.phase)
				}
				if unseen := tt.phase == runs.PhaseUnseen; unseen != (r.Proof == tt.proof) || unseen != strings.Contains(r.Advice, "see it boot before you accept it: `esxodus cutover web`") {
					t.Errorf("Run = %+v; want what was seen and what to do: %v", r, unseen)
				}
			}
			s, err := w.State().State("web")
			if err != nil || s.Phase != tt.phase || s.Seen != tt.saw || s.Proof != tt.proof {
				t.Errorf("State = %+v, %v; want %s, seen %s, %q", s, err, tt.phase, tt.saw, tt.proof)
			}
			if want := "`esxodus commit web` or `esxodus rollback web`"; s.Ways() != want {
				t.Errorf("Ways = %s; want %s", s.Ways(), want)
			}
			j := w.Open()
			if err := errors.Join(run.Commit(t.Context(), j, effects(w)), j.Close()); err != nil {
				t.Errorf("Commit = %v", err)
			}
			if s, err = w.State().State("web"); err != nil || s.Phase != journal.PhaseCommitted || s.Seen != tt.saw {
				t.Errorf("State after the commit = %+v, %v; want committed, seen %s", s, err, tt.saw)
			}
		})
	}
}
