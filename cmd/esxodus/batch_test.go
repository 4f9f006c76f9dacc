package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"esxodus/convert/batch"
	"esxodus/convert/journal"
	"esxodus/convert/runs"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// newBatch is a lab with the small guests of these names, and a plan of them.
func newBatch(t *testing.T, names ...string) *lab {
	t.Helper()
	dir := fixtures.OpenDir(t)
	for _, name := range names {
		if err := fixtures.SmallGuest(filepath.Join(dir, name), name); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, esxi.Options{Dir: dir})
	for _, name := range names {
		t.Cleanup(func() { l.forget(name) })
	}
	l.run(exitDone, l.plan("--no-proof", "-o", "plan.yaml")...)
	return l
}

func (l *lab) batch(args ...string) []string {
	return append([]string{"batch", "plan.yaml", "--yes", "--password-file", l.passwordFile(), "--output", "json"}, args...)
}

// results reads what a batch printed: how each VM fared, by name.
func results(t *testing.T, r result) map[string]batch.Result {
	t.Helper()
	var list []batch.Result
	if err := json.Unmarshal([]byte(r.out), &list); err != nil {
		t.Fatalf("%v in %s", err, r.out)
	}
	out := make(map[string]batch.Result)
	for _, res := range list {
		out[res.VM] = res
	}
	return out
}

// TestBatch migrates four VMs, two at a time: the first two are held until both are
// in their copies. One stops half-way: the others are done all the same, and a
// second run does only what is left.
func TestBatch(t *testing.T) {
	t.Parallel()
	var vms []string
	for range 4 {
		vms = append(vms, uniqueName("b"))
	}
	slices.Sort(vms)
	bad := vms[1]
	l := newBatch(t, vms...)
	spoiled := esxi.Fault{Kind: esxi.Changed, Path: bad + "/small-flat.vmdk", From: 16 << 20, To: 24 << 20}
	for _, vm := range vms[:2] {
		l.hold(vm)
	}
	p := l.start(l.batch(shortStall()...)...)
	p.until("two copies", func() bool {
		return len(l.states()) == 2 && !slices.ContainsFunc(l.states(), func(s runs.State) bool { return s.Done < 2 })
	})
	l.host.Faults().Clear()
	l.host.Faults().Add(spoiled)
	r := p.want(exitSome)
	if most := l.atOnce(vms); most != 2 {
		t.Errorf("%d VMs were under way at a time, want 2", most)
	}
	if !strings.Contains(r.err, "1 of 4 VMs failed") || !strings.Contains(r.err, "run the same command again") {
		t.Errorf("stderr:\n%s", tail(r.err))
	}
	for vm, res := range results(t, r) {
		if failed := res.Error != ""; failed != (vm == bad) {
			t.Errorf("%s: %+v", vm, res)
		}
	}

	l.host.Faults().Clear()
	before := maps.Clone(l.host.Stats().FileBytes)
	for vm, res := range results(t, l.run(exitDone, l.batch()...)) {
		want, file := batch.DidPass, "[datastore1] "+vm+"/small-flat.vmdk"
		if vm == bad {
			want = batch.DidResume
		}
		if res.Did != want || res.Error != "" {
			t.Errorf("second run: %+v, want %s", res, want)
		}
		if again := l.host.Stats().FileBytes[file] - before[file]; vm != bad && again > 0 {
			t.Errorf("second run: %d bytes of %s were read again", again, file)
		}
		l.sameDisk(file, filepath.Join(l.storage(), vm+"_scsi0-0"))
	}
	l.untouched()
}

// atOnce is how many of the runs were under way at a time, by their journals.
func (l *lab) atOnce(vms []string) (most int) {
	l.t.Helper()
	var all [][]journal.Record
	for _, vm := range vms {
		all = append(all, l.records(vm))
	}
	for _, one := range all {
		n := 0
		for _, other := range all {
			if begin, end := other[0].Time, other[len(other)-1].Time; !one[0].Time.Before(begin) && one[0].Time.Before(end) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func (l *lab) states() []runs.State {
	l.t.Helper()
	states, err := runs.StateDir(l.state()).List()
	if err != nil && !strings.Contains(err.Error(), "no migration recorded") && !strings.Contains(err.Error(), "no plan") {
		l.t.Error(err)
	}
	return states
}

// TestInterruptedBatch: SIGTERM undoes what runs, Ctrl-C leaves it to be gone on with;
// both keep what is done, and say what was not begun.
func TestInterruptedBatch(t *testing.T) {
	t.Parallel()
	for sig, tt := range map[syscall.Signal]struct {
		code  int
		phase journal.Phase
		again batch.Did
	}{
		syscall.SIGTERM: {exitInterrupted, journal.PhaseRolledBack, batch.DidConvert},
		syscall.SIGINT:  {exitSome, journal.PhaseUnfinished, batch.DidResume},
	} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			interruptBatch(t, sig, tt.code, tt.phase, tt.again)
		})
	}
}

func interruptBatch(t *testing.T, sig syscall.Signal, code int, phase journal.Phase, again batch.Did) {
	t.Helper()
	vms := []string{uniqueName("b1"), uniqueName("b2"), uniqueName("b3")}
	l := newBatch(t, vms...)
	l.hold(vms[1])
	p := l.start(l.batch("--parallel", "1")...)
	p.until("the second VM", func() bool {
		s, err := runs.StateDir(l.state()).State(vms[1])
		return err == nil && s.Done >= 2
	})
	p.signal(sig)
	r := p.want(code)
	got := results(t, r)
	if got[vms[0]].Phase != runs.PhaseUnseen || got[vms[1]].Phase != phase || !strings.Contains(got[vms[2]].Error, "not started") {
		t.Errorf("results = %+v", got)
	}
	l.host.Faults().Clear()
	got = results(t, l.run(exitDone, l.batch()...))
	if got[vms[0]].Did != batch.DidPass || got[vms[1]].Did != again || got[vms[2]].Did != batch.DidConvert {
		t.Errorf("second run: %+v", got)
	}
}

// TestEditedPlan refuses plans that were edited into something else, in words
// that lead to the place, before anything is made.
func TestEditedPlan(t *testing.T) {
	t.Parallel()
	vm := uniqueName("p")
	l := newBatch(t, vm)
	text, err := os.ReadFile(filepath.Join(l.dir, "plan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(l.storage(), vm+"_scsi0-0")
	tests := []struct {
		name     string
		old, new string
		want     string
	}{
		{"a volume elsewhere", "path: " + disk, "path: /etc/passwd", "not in dir:"},
		{"a volume that leads out", "path: " + disk, "path: " + l.storage() + "/../x", "not in dir:"},
		{"a volume that the domain does not use", "path: " + disk, "path: " + l.storage() + "/other", "domain.xml does not use the volume"},
		{"a name that leads out", "name: " + vm + "\n", "name: ../../" + vm + "\n", "not a name for a domain"},
		{"an unknown field", "schema: 1", "schema: 1\nshema: 2", `unknown field "shema"`},
		{"a newer schema", "schema: 1", "schema: 2", "schema 2: this esxodus reads 1"},
		{"a range beyond the disk", "length: 25165824", "length: 25165825", "is not inside the disk"},
		{"a step for no disk", "kind: copy\n    disk: scsi0:0", "kind: copy\n    disk: scsi0:9", `no disk "scsi0:9"`},
		{"no YAML", "schema:", "{schema:", "plan.yaml"},
		{"a domain of another name", "<name>" + vm + "</name>", "<name>other</name>", "name"},
		{"a domain that isn't XML", "<name>" + vm + "</name>", "<name>" + vm, "domain.xml"},
		{"a step of an unknown kind", "kind: verify", "kind: conjure", "conjure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edited := strings.Replace(string(text), tt.old, tt.new, 1)
			if edited == string(text) {
				t.Fatalf("%q is not in the plan", tt.old)
			}
			if strings.HasPrefix(tt.name, "a name that") {
				edited = strings.ReplaceAll(string(text), tt.old, tt.new)
			}
			file := filepath.Join(t.TempDir(), "plan.yaml")
			l.write(file, edited)
			r := l.start("batch", file, "--yes", "--password-file", l.passwordFile()).wait()
			if r.code == exitDone || r.code == exitSome || !strings.Contains(r.err, tt.want) {
				t.Errorf("exit code %d, want it refused with %q; stdout:\n%s\nstderr:\n%s", r.code, tt.want, r.out, tail(r.err))
			}
			if strings.Contains(r.err, "plan: 1 VM") {
				t.Error("the plan was shown before it was checked")
			}
			l.noDisks()
		})
	}
}

// TestPlanOfYesterday is applied after the source has changed.
func TestPlanOfYesterday(t *testing.T) {
	t.Parallel()
	vm := uniqueName("p")
	l := newBatch(t, vm)
	web := l.host.URL()
	if err := l.host.Close(); err != nil {
		t.Fatal(err)
	}
	// The same VM with a disk of another size, on the same address.
	dir := filepath.Join(l.opts.Dir, vm)
	for _, f := range []string{"small.vmdk", "vm.json"} {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		l.write(filepath.Join(dir, f), strings.Replace(string(b), "CID=fffffffe", "CID=12345678", 1))
	}
	l.startHost()
	if web != l.host.URL() {
		t.Fatalf("the host moved to %s", l.host.URL())
	}
	r := l.run(exitSome, l.batch("--thumbprint", l.host.Thumbprint())...)
	if res := results(t, r)[vm]; !strings.Contains(res.Error, "has changed since the plan: the content ID of scsi0:0 was fffffffe and is 12345678; plan again") {
		t.Errorf("result = %+v", res)
	}
	l.noDisks()
}
