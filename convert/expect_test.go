package convert

import (
	"encoding/json"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
)

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
