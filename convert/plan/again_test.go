package plan

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/plan/plantest"

	"github.com/google/go-cmp/cmp"
)

// readdressable is the plan of a guest whose NIC can get another address, with the
// addresses of these values of --ip.
func readdressable(t *testing.T, o Options, values ...string) (*Plan, Facts) {
	t.Helper()
	var err error
	if o.Addresses, err = ParseAddresses(values); err != nil {
		t.Fatal(err)
	}
	h := plantest.Host()
	vm := &h.VMs[0]
	vm.NICs[0].PCISlot = 192
	g := plantest.Debian(vm)
	g.SerialLogin = []string{"ttyS0"}
	plantest.SlotNames(&g, "ens192")
	plantest.Interfaces(&g, "auto ens192\niface ens192 inet static\n address 10.0.0.9/8\n gateway 10.0.0.1\n")
	f := Facts{Source: Source{URL: "https://esx1", Host: "esx1"}, Host: &h, Guests: map[string]guest.Guest{vm.ID: g}, Target: TargetFacts{VirtTypes: []string{"qemu"}}}
	return finished(t, f, o), f
}

func finished(t *testing.T, f Facts, o Options) *Plan {
	t.Helper()
	d, err := NewDraft(f, o)
	if err != nil {
		t.Fatal(err)
	}
	d.Answer(func(Need) GuestFacts { return GuestFacts{} })
	return d.Finish()
}

// asRead is a plan as it is read from a file.
func asRead(t *testing.T, p *Plan) *Plan {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var out Plan
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

func textOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReaddressed: a plan whose addresses were edited becomes what --ip would have
// made of it, and nothing is done of it before.
func TestReaddressed(t *testing.T) {
	t.Parallel()
	const first, second = "web/ethernet0=192.0.2.20/24,gw=192.0.2.1,dns=192.0.2.53", "web/ethernet0=198.51.100.7/25,gw=198.51.100.1"
	for _, tt := range []struct {
		name     string
		kind     layout.Kind
		from, to []string
	}{
		{"none before", layout.Keep, nil, []string{first}},
		{"another", layout.Keep, []string{first}, []string{second}},
		{"another gateway", layout.Keep, []string{first}, []string{strings.Replace(first, "gw=192.0.2.1", "gw=192.0.2.2", 1)}},
		{"none any more", layout.Keep, []string{first}, nil},
		{"a new layout", "", nil, []string{first}},
		{"a new layout that was asked for", layout.LVM, []string{first}, []string{second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(t)
			o.Layout, o.Ports = tt.kind, []uint16{22}
			made, f := readdressable(t, o, tt.from...)
			want, _ := readdressable(t, o, tt.to...)
			p := asRead(t, made)
			if again := p.Readdressed(); len(again) != 0 {
				t.Fatalf("unedited, %v are to be planned anew", again)
			}
			p.VMs[0].Addresses = want.VMs[0].Addresses
			if err := p.Check(); err != nil {
				t.Fatalf("Check = %v", err)
			}
			if again := p.Readdressed(); !slices.Equal(again, []int{0}) {
				t.Fatalf("Readdressed = %v; want the VM", again)
			}
			if err := p.Job(0).Check(); err == nil || !strings.Contains(err.Error(), "addresses were edited") {
				t.Errorf("a job of it before it is planned anew: %v; want it refused", err)
			}
			if err := p.Replace(0, finished(t, f, p.Again(0))); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(textOf(t, want), textOf(t, p)); diff != "" {
				t.Errorf("planned anew (-with --ip +edited):\n%s", diff)
			}
			if err := p.Job(0).Check(); err != nil || len(p.Readdressed()) != 0 {
				t.Errorf("Check = %v, %v are to be planned anew; want none", err, p.Readdressed())
			}
		})
	}
}

// TestReaddressedKeeps: what else was edited stays, and what was declined.
func TestReaddressedKeeps(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.Layout, o.BootOnly, o.Shutdown = layout.Keep, true, ShutdownSSH
	made, f := readdressable(t, o)
	p := asRead(t, made)
	v := &p.VMs[0]
	was := v.Disks[0].Volume.Path
	v.Disks[0].Volume.Path += ".new"
	v.Domain.XML = strings.ReplaceAll(v.Domain.XML, was, was+".new")
	v.Domain.AutoStart = true
	v.Concerns = append(v.Concerns, ledger.Concern{ID: "network.unmapped", Severity: ledger.Blocker, Evidence: "of the whole plan"})
	edited := *v
	v.Addresses = []guest.NewAddress{{Prefix: netip.MustParsePrefix("10.0.0.10/8")}}
	if err := p.Replace(0, finished(t, f, p.Again(0))); err != nil {
		t.Fatal(err)
	}
	v = &p.VMs[0]
	if diff := cmp.Diff(textOf(t, edited.Disks)+textOf(t, edited.Domain), textOf(t, v.Disks)+textOf(t, v.Domain)); diff != "" || !v.BootOnly {
		t.Errorf("disks and domain (-edited +planned anew), boot only %v:\n%s", v.BootOnly, diff)
	}
	if !slices.ContainsFunc(v.Concerns, func(c ledger.Concern) bool { return c.Evidence == "of the whole plan" }) {
		t.Error("a concern of the whole plan is gone")
	}
	o.BootOnly, o.NoEdits = false, true
	made, f = readdressable(t, o)
	p = asRead(t, made)
	p.VMs[0].Addresses = v.Addresses
	if err := p.Replace(0, finished(t, f, p.Again(0))); err != nil {
		t.Fatal(err)
	}
	if p.VMs[0].Conversion != nil || !ledger.Blocked(p.VMs[0].Concerns) {
		t.Errorf("--no-edits: %+v; want a blocker and no edit", p.VMs[0].Concerns)
	}
	o.NoEdits, o.Layout = false, ""
	made, f = readdressable(t, o)
	p = asRead(t, made)
	p.VMs[0].Addresses = v.Addresses
	d, err := NewDraft(f, p.Again(0))
	if err != nil {
		t.Fatal(err)
	}
	d.Answer(func(Need) GuestFacts { return GuestFacts{Missing: "no packages"} })
	if err := p.Replace(0, d.Finish()); err == nil || !strings.Contains(err.Error(), `the layout of "web" would not be the planned one, but keep (`) || !strings.Contains(err.Error(), "no packages") {
		t.Errorf("of another layout: %v; want it refused", err)
	}
	f.Host.VMs[0].ChangeVersion = "v9"
	if err := p.Replace(0, finished(t, f, p.Again(0))); err == nil || !strings.Contains(err.Error(), "has changed since the plan") {
		t.Errorf("of a VM that changed: %v; want it refused", err)
	}
}

// TestEditedLies: a plan whose proof would show less is refused, also where all places
// that say so were edited alike.
func TestEditedLies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lie  func(v *VMPlan, e *Expect)
		err  string
	}{
		{"another address", func(v *VMPlan, e *Expect) {
			v.NICs[0].Addresses[0].Prefix = netip.MustParsePrefix("192.0.2.99/24")
			e.Network.NICs = v.NICs
		}, "nics, their startConnected"},
		{"no address", func(v *VMPlan, e *Expect) { v.NICs[0].Addresses, e.Network = nil, nil }, "nics, their startConnected"},
		{"no name", func(v *VMPlan, e *Expect) {
			v.NICs[0].Name, v.NICs[0].Kept = "", ""
			e.Network.NICs = v.NICs
		}, "nics, their startConnected"},
		{"no NICs", func(v *VMPlan, e *Expect) { v.NICs, e.Network = nil, nil }, "nics, their startConnected"},
		{"unplugged", func(v *VMPlan, e *Expect) { v.Source.NICs[0].StartConnected, e.Network = false, nil }, "nics, their startConnected"},
		{"no login", func(v *VMPlan, e *Expect) { v.Guest.SerialLogin, e.See = nil, SawActivity }, "guest.serialLogin"},
		{"said to be tried", func(_ *VMPlan, e *Expect) { e.Untried = []string{"ens224 (x)"} }, "expect.untried: "},
		{"no sums", func(v *VMPlan, _ *Expect) { v.Sums = Sums{} }, "sums: missing"},
		{"a sum of another", func(v *VMPlan, _ *Expect) { v.Sums.Proven = "x" }, "nics, their startConnected"},
		{"an address of no NIC", func(v *VMPlan, _ *Expect) {
			v.Addresses = []guest.NewAddress{{Index: 3, Prefix: netip.MustParsePrefix("192.0.2.20/24")}}
		}, "addresses[0]: the VM has no ethernet3"},
		{"an address of no machine", func(v *VMPlan, _ *Expect) {
			v.Addresses = []guest.NewAddress{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}
		}, "addresses[0]: 192.0.2.0/24 is no address of a machine"},
		{"an address twice", func(v *VMPlan, _ *Expect) {
			a := guest.NewAddress{Prefix: netip.MustParsePrefix("192.0.2.20/24")}
			v.Addresses = []guest.NewAddress{a, a}
		}, "addresses[1]: ethernet0 has another address of that family"},
		{"no address at all", func(v *VMPlan, _ *Expect) { v.Addresses = []guest.NewAddress{{}} }, "addresses[0]: "},
		{"an address of no NIC where all is blocked", func(v *VMPlan, _ *Expect) {
			v.Concerns = append(v.Concerns, ledger.Concern{Severity: ledger.Blocker})
			v.Addresses = []guest.NewAddress{{Index: 3, Prefix: netip.MustParsePrefix("192.0.2.20/24")}}
		}, "addresses[0]: the VM has no ethernet3"},
		{"the network declined", func(v *VMPlan, e *Expect) {
			v.BootOnly, e.Network, e.Untried = true, nil, []string{"ens192 (left out with --proof boot)"}
		}, ""},
		{"the proof declined", func(v *VMPlan, _ *Expect) { v.NoProof, v.Steps = true, v.Steps[:len(v.Steps)-1] }, ""},
		{"ports", func(_ *VMPlan, e *Expect) { e.Network.Ports = []uint16{443} }, ""},
	} {
		o := testOptions(t)
		o.Layout = layout.Keep
		made, _ := readdressable(t, o)
		p := asRead(t, made)
		v := &p.VMs[0]
		tt.lie(v, v.Steps[len(v.Steps)-1].Expect)
		if err := p.Check(); (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: Check = %v; want %q", tt.name, err, tt.err)
		}
	}
}
