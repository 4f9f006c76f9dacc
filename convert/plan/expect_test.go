package plan_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/plan"
	"esxodus/convert/plan/plantest"
)

// TestExpectation: in every layout, a guest that runs a login on the console
// which is watched must show its prompt, and the dry run says so.
func TestExpectation(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	vm := &w.Host.VMs[0]
	for _, tt := range []struct {
		logins   []string
		kind     layout.Kind
		virtType string
		want     plan.Expect
		text     string
	}{
		{[]string{"ttyS0"}, layout.Keep, "kvm", plan.Expect{See: plan.SawLogin, Seconds: 600}, "within 10 minutes"},
		{[]string{"ttyS0", "ttyS1"}, layout.LVM, "qemu", plan.Expect{See: plan.SawLogin, Seconds: 1200}, "nothing less is a proof"},
		{[]string{"ttyS1"}, layout.Keep, "kvm", plan.Expect{See: plan.SawActivity, Seconds: 420}, "watch it for 7 minutes"},
		{nil, layout.LVM, "qemu", plan.Expect{See: plan.SawActivity, Seconds: 900}, "doesn't show that it came up"},
	} {
		g := plantest.Debian(vm)
		g.SerialLogin = tt.logins
		o := w.Options()
		o.Layout, o.VirtType = tt.kind, tt.virtType
		p := converttest.Planned(t, plan.Facts{Host: &w.Host, Guests: map[string]guest.Guest{vm.ID: g}, Target: plan.TargetFacts{VirtTypes: []string{"kvm", "qemu"}}}, o)
		if p.VMs[0].Layout.Kind != tt.kind {
			t.Fatalf("layout %s, want %s", p.VMs[0].Layout.Kind, tt.kind)
		}
		tt.want.Untried = []string{"eth0 (no address of it is known)"}
		if s := converttest.ProofOf(t, &p.VMs[0]); s.Expect == nil || !reflect.DeepEqual(*s.Expect, tt.want) || !strings.Contains(s.Text, tt.text) {
			t.Errorf("logins on %q, %s, layout %s: %+v %q; want %+v, %q", tt.logins, tt.virtType, tt.kind, s.Expect, s.Text, tt.want, tt.text)
		}
	}
}

// TestProofOfOldJournals: their proofs are a text.
func TestProofOfOldJournals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]plan.Proof{
		`"login prompt on the serial console after 1m34.8s: debian login:"`:                              {Saw: plan.SawLogin, Text: "login prompt on the serial console after 1m34.8s: debian login:"},
		`"activity only, nothing on the serial console, after 1m30s: silent serial console; read 1 KiB"`: {Saw: plan.SawActivity, Text: "activity only, nothing on the serial console, after 1m30s: silent serial console; read 1 KiB"},
		`{"saw":"nothing","text":"none"}`:                                                                {Saw: plan.SawNothing, Text: "none"},
	} {
		var got plan.Proof
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// TestCheckExpect: an edited plan can't make less a proof.
func TestCheckExpect(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	for _, tt := range []struct {
		logins []string
		expect plan.Expect
		err    string
	}{
		{nil, plan.Expect{See: plan.SawActivity, Seconds: 900}, ""},
		{nil, plan.Expect{See: plan.SawLogin, Seconds: 30}, ""},
		{nil, plan.Expect{See: plan.SawActivity, Seconds: 899}, "seconds 899: want 900"},
		{nil, plan.Expect{See: plan.SawLogin, Seconds: 0}, "seconds 0"},
		{nil, plan.Expect{See: plan.SawLogin, Seconds: 1 << 40}, "seconds 1099511627776"},
		{nil, plan.Expect{See: plan.SawNothing, Seconds: 900}, `see "nothing": want login or activity`},
		{[]string{"ttyS0"}, plan.Expect{See: plan.SawActivity, Seconds: 900}, "nothing less than its prompt is a proof"},
	} {
		p := w.Plan()
		p.VMs[0].Guest.SerialLogin = tt.logins
		tt.expect.Untried = converttest.ProofOf(t, &p.VMs[0]).Expect.Untried
		converttest.ProofOf(t, &p.VMs[0]).Expect = &tt.expect
		if err := p.Check(); (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("logins on %q, %+v: Check = %v; want %q", tt.logins, tt.expect, err, tt.err)
		}
	}
	p := w.Plan()
	p.VMs[0].Steps[0].Expect = &plan.Expect{See: plan.SawLogin, Seconds: 30}
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "only a step of kind prove") {
		t.Errorf("an expectation of another step: Check = %v", err)
	}
}
