package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/batch"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/planfile"
	"esxodus/convert/runs"
	"esxodus/inventory"
)

// TestFifty migrates a host of fifty VMs in one batch, puts a wave of them in their
// place, accepts those and undoes the others: each by one command.
func TestFifty(t *testing.T) {
	t.Parallel()
	var vms []string
	for i := range 50 {
		vms = append(vms, fmt.Sprintf("%s-%02d", uniqueName("f"), i))
	}
	l := newBatch(t, vms...)
	l.uplink()
	first := vms[:2]
	l.inWaves(plan.Wave{Name: "first", VMs: turns(first)}, plan.Wave{Name: "rest", VMs: turns(vms[2:])})
	got := results(t, l.run(exitDone, l.batch("--parallel", "8")...))
	for _, vm := range vms {
		if r := got[vm]; r.Did != batch.DidConvert || r.Phase != runs.PhaseUnseen || r.Error != "" {
			t.Errorf("%s: %+v", vm, r)
		}
	}
	l.untouched()

	r := l.run(exitFailed, l.several("commit", "--all")...)
	if !strings.Contains(unwrapped(r.err), "its domain isn't in the place of") || !strings.Contains(r.err, "nothing was changed") {
		t.Errorf("a commit of what serves nobody:\n%s", tail(r.err))
	}
	l.run(exitUsage, "cutover", "plan.yaml", "--wave", "second", "--yes")
	l.run(exitUsage, "cutover", vms[0], "--wave", "first")
	l.run(exitUsage, "cutover", vms[0], "--all")
	l.run(exitUsage, "rollback", vms[0], vms[0])

	got = results(t, l.run(exitDone, l.several("cutover", "plan.yaml", "--wave", "first", "--silent")...))
	if len(got) != len(first) || !got[first[0]].InPlace || !got[first[1]].InPlace {
		t.Errorf("cut over: %+v", got)
	}
	got = results(t, l.run(exitSome, l.several("rollback", "plan.yaml", "--wave", "first")...))
	for _, vm := range first {
		if !strings.Contains(got[vm].Error, "cutover --back") {
			t.Errorf("a rollback of what is in service: %+v", got[vm])
		}
	}
	l.ended(l.several("commit", "--all"), batch.DidCommit, journal.PhaseCommitted, first)
	l.ended(l.several("rollback", "--all"), batch.DidRollBack, journal.PhaseRolledBack, vms[2:])
	got = results(t, l.run(exitDone, l.several("commit", first...)...))
	if got[first[0]].Did != batch.DidPass {
		t.Errorf("a second commit: %+v", got)
	}
	l.untouched()
	if left, err := filepath.Glob(filepath.Join(l.storage(), "*")); err != nil || len(left) != len(first) {
		t.Errorf("%d volumes are left, %v; want those of %d", len(left), err, len(first))
	}
}

// TestHostDelay: a VM of the autostart without a delay of its own has its host's.
func TestHostDelay(t *testing.T) {
	t.Parallel()
	g := &selection{states: make(map[string]*runs.State), in: make(map[string]bool)}
	w := plan.Wave{VMs: []plan.Turn{{VM: "own", Chained: true, Delay: 5}, {VM: "none", Chained: true}, {VM: "off"}}}
	for name, a := range map[string]*inventory.AutoStart{"own": {StartDelay: 5}, "none": {StartDelay: -1}, "off": nil} {
		g.states[name] = &runs.State{Job: &plan.VMJob{VM: plan.VMPlan{Name: name, Source: inventory.VM{AutoStart: a}}}}
	}
	g.add(w)
	for _, name := range g.names() {
		g.delay(name, 120)
	}
	if got := g.waves[0].VMs; got[0].Delay != 5 || got[1].Delay != 120 || got[2].Delay != 0 {
		t.Errorf("%+v", got)
	}
}

func turns(vms []string) []plan.Turn {
	out := make([]plan.Turn, len(vms))
	for i, vm := range vms {
		out[i].VM = vm
	}
	return out
}

// inWaves puts the VMs of plan.yaml into waves.
func (l *lab) inWaves(waves ...plan.Wave) {
	l.t.Helper()
	file := filepath.Join(l.dir, "plan.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		l.t.Fatal(err)
	}
	var out bytes.Buffer
	p, err := planfile.Read(b)
	if err == nil {
		p.Order = &plan.Order{Waves: waves}
		err = planfile.WriteYAML(&out, p)
	}
	if err == nil {
		err = os.WriteFile(file, out.Bytes(), 0o600)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// several is a command for more than one migration.
func (l *lab) several(command string, args ...string) []string {
	return slices.Concat([]string{command}, args, []string{"--yes", "--output", "json"}, l.password(command))
}

// password is how a command that needs the source gets in.
func (l *lab) password(command string) []string {
	if command == "commit" {
		return nil
	}
	return []string{"--password-file", l.passwordFile()}
}

// ended runs a command that ends these runs, and no other.
func (l *lab) ended(args []string, did batch.Did, phase journal.Phase, vms []string) {
	l.t.Helper()
	got := results(l.t, l.run(exitDone, args...))
	if len(got) != len(vms) {
		l.t.Errorf("%q did something about %d, want %d", args, len(got), len(vms))
	}
	for _, vm := range vms {
		if r := got[vm]; r.Did != did || r.Phase != phase || r.Error != "" {
			l.t.Errorf("%q: %+v, want it %s", args, r, phase)
		}
	}
}
