package run

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
)

// TestDeeds: every kind that a plan can have is done in one way, and no other.
func TestDeeds(t *testing.T) {
	for kind, d := range deeds() {
		if _, known := kind.Traits(); !known {
			t.Errorf("%s is done, and no plan has it", kind)
		}
		if d.do == nil {
			t.Errorf("nothing does %s", kind)
		}
	}
	for _, kind := range []plan.Kind{
		plan.StepPackages, plan.StepShutdown, plan.StepUnused, plan.StepCreate, plan.StepTemplate, plan.StepCopy, plan.StepRecheck,
		plan.StepVerify, plan.StepGuest, plan.StepMerge, plan.StepDefine, plan.StepProve,
	} {
		if _, ok := deeds()[kind]; !ok {
			t.Errorf("%s can be planned, and nothing does it", kind)
		}
	}
}

// TestBeforeUnused: a run whose plan an older esxodus made, which copied all, goes on,
// is rolled back, and is compared.
func TestBeforeUnused(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	job := w.Plan().Job(0)
	job.VM.Steps = slices.DeleteFunc(job.VM.Steps, func(s plan.Step) bool { return s.Kind == plan.StepUnused })
	if err := job.Check(); err != nil {
		t.Fatal(err)
	}
	j, err := w.State().Create(job, journal.NewRun())
	if err != nil {
		t.Fatal(err)
	}
	if err, _ := apply(t.Context(), w, j); err != nil {
		t.Fatal(err)
	}
	for _, d := range job.VM.Disks {
		got, err := os.ReadFile(d.Volume.Path)
		if err != nil || !bytes.Equal(got, w.Content(d.Path)) {
			t.Errorf("%s isn't all of %s (%v)", d.Volume, d.Path, err)
		}
	}
	v, err := verified(t, w, true)
	if err != nil || v.Disks[1].Differs() || v.Disks[1].Error != "" || v.Disks[1].Source.Unused != 0 {
		t.Errorf("Verify = %+v, %v; want nothing left out", v, err)
	}
	j = w.Open()
	if err := errors.Join(Rollback(t.Context(), j, effects(w)), j.Close()); err != nil {
		t.Error(err)
	}
	w.CheckGone()
}
