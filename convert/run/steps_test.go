package run

import (
	"testing"

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
		plan.StepPackages, plan.StepShutdown, plan.StepCreate, plan.StepTemplate, plan.StepCopy, plan.StepRecheck,
		plan.StepVerify, plan.StepGuest, plan.StepMerge, plan.StepDefine, plan.StepProve,
	} {
		if _, ok := deeds()[kind]; !ok {
			t.Errorf("%s can be planned, and nothing does it", kind)
		}
	}
}
