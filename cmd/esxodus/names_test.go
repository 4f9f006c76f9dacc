package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"esxodus/convert/batch"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
	"esxodus/inventory"
)

// awkward are names of VMs, and the names of their directories on the
// datastore, that have gone wrong in some tool before.
func awkward() map[string]string {
	return map[string]string{
		`-rf --yes $(reboot) 'x' "y"`:    `-dir; rm 'q' "d"`,
		"100% / %2F %41 \\ done":         "50% %41%2f + &=#?",
		"Zürich–東京\u202egnp.exe":         "ü 東京 é",
		"tab\tnew\nline <&> ]]> {{.}} @": "a@b:c,d|e~f",
		"  spaces  ":                     "[x] (y) {z}",
	}
}

// TestAwkwardNames migrates a whole host, the built-in VMs and others with
// worse names: those that can be converted are, bit for bit, and the rest is
// refused for what it is.
func TestAwkwardNames(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("migrates twenty VMs")
	}
	alone(t)
	dir := fixtures.OpenDir(t)
	for name, sub := range awkward() {
		if err := fixtures.SmallGuest(filepath.Join(dir, sub), name); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, esxi.Options{Dir: dir, Builtin: true})
	for _, vm := range []string{"db", "running-no-tools"} {
		l.host.SetPower(vm, false)
	}
	l.run(exitDone, l.plan("--no-proof", "-o", "plan.yaml", "--output", "json")...)
	p, err := loadPlan(t.Context(), filepath.Join(l.dir, "plan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var refusedVMs []string
	for i := range p.VMs {
		forgetLeftover(t, p.VMs[i].Name)
		t.Cleanup(func() { l.forget(p.VMs[i].Name) })
		if len(p.Blockers(i)) > 0 {
			refusedVMs = append(refusedVMs, p.VMs[i].Source.Name)
		}
	}
	slices.Sort(refusedVMs)
	if want := []string{"cluster-a", "cluster-b", "sleeper"}; !slices.Equal(refusedVMs, want) {
		for i := range p.VMs {
			for _, b := range p.Blockers(i) {
				t.Logf("%q: %s: %s", p.VMs[i].Source.Name, b.ID, b.Evidence)
			}
		}
		t.Fatalf("refused by the plan: %q, want %q", refusedVMs, want)
	}
	r := l.run(exitSome, "batch", "plan.yaml", "--yes", "--password-file", l.passwordFile(), "--output", "json")
	var results []batch.Result
	if err := json.Unmarshal([]byte(r.out), &results); err != nil {
		t.Fatalf("%v in %s", err, r.out)
	}
	if len(results) != len(p.VMs) {
		t.Fatalf("%d results for %d VMs", len(results), len(p.VMs))
	}
	for i, res := range results {
		l.checkResult(&p.VMs[i], res, slices.Contains(refusedVMs, res.VM))
	}
	l.untouched()
	for i := range p.VMs {
		if results[i].Error == "" {
			l.run(exitDone, "rollback", p.VMs[i].Name)
		}
	}
	l.noDisks()
}

// checkResult wants a VM's disks to be the source's, or the VM refused.
func (l *lab) checkResult(v *plan.VMPlan, res batch.Result, refused bool) {
	l.t.Helper()
	if refused {
		if res.Did != batch.DidRefuse || res.Advice == "" {
			l.t.Errorf("%q: %+v, want it refused, with advice", res.VM, res)
		}
		return
	}
	if res.Error != "" || res.Phase != runs.PhaseUnseen {
		l.t.Errorf("%q: %+v, want it converted, without a proof", res.VM, res)
		return
	}
	for _, d := range v.Disks {
		l.sameDisk(d.Path, d.Volume.Path)
	}
	xml, ok := virsh("dumpxml", v.Name)
	if !ok || !strings.Contains(xml, "<uuid>") {
		l.t.Errorf("%q: no domain %s", res.VM, v.Name)
	}
}

// alone keeps two runs of these tests from meeting in libvirt, where the
// built-in VMs have but one name.
func alone(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "esxodus-builtin.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
}

// forgetLeftover removes a domain that a killed test left: one of the
// program's whose disks were in a test's directory that is gone. Any other
// domain of that name is somebody's.
func forgetLeftover(t *testing.T, name string) {
	t.Helper()
	xml, ok := virsh("dumpxml", "--inactive", name)
	if !ok {
		return
	}
	_, rest, _ := strings.Cut(xml, "<source file='"+filepath.Join(os.TempDir(), "esx"))
	path, _, cut := strings.Cut(rest, "'")
	if _, err := os.Stat(filepath.Join(os.TempDir(), "esx"+path)); !cut || err == nil || !strings.Contains(xml, "esxodus") {
		if fixtures.Strict() {
			t.Fatalf("a domain %s exists here, which this test needs the name of", name)
		}
		t.Skipf("a domain %s exists here, which this test needs the name of", name)
	}
	_, _ = virsh("undefine", "--nvram", name)
}

// TestByNameOrID names VMs as people do.
func TestByNameOrID(t *testing.T) {
	t.Parallel()
	dir := fixtures.OpenDir(t)
	twin, odd := uniqueName("twin"), "-v "+uniqueName("odd")+" 50%"
	for sub, name := range map[string]string{"one": twin, "two": twin, "odd": odd} {
		if err := fixtures.SmallGuest(filepath.Join(dir, sub), name); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, esxi.Options{Dir: dir})
	h := l.inventory()
	ids := map[string]string{}
	for _, vm := range h.VMs {
		ids[strings.TrimPrefix(filepath.Dir(vm.Path), "[datastore1] ")] = vm.ID
	}
	t.Cleanup(func() { l.forget(twin) })

	r := l.run(exitFailed, l.plan(twin)...)
	for _, id := range []string{ids["one"], ids["two"]} {
		if !strings.Contains(r.err, id) {
			t.Errorf("the message about two VMs of one name does not name id %s:\n%s", id, r.err)
		}
	}
	r = l.run(exitFailed, l.plan("nosuch")...)
	if !strings.Contains(r.err, `"nosuch"`) && !strings.Contains(r.err, "nosuch") || !strings.Contains(r.err, "inventory") {
		t.Errorf("the message about a VM that isn't there:\n%s", r.err)
	}
	// Both at once come to one domain name.
	r = l.run(exitDone, l.plan(ids["one"], ids["two"])...)
	if !strings.Contains(r.out, "batch.name") {
		t.Error("the plan of two VMs of one name has no concern batch.name")
	}
	args := l.plan("--yes", "--no-proof", ids["two"])
	args[0] = "convert"
	l.run(exitDone, args...)
	l.sameDisk("[datastore1] two/small-flat.vmdk", filepath.Join(l.storage(), twin+"_scsi0-0"))

	args = l.plan("--yes", "--no-proof", "--", odd)
	args[0] = "convert"
	r = l.run(exitDone, append(args[:len(args)-2:len(args)-2], "--output", "json", "--", odd)...)
	var s runs.State
	if err := json.Unmarshal([]byte(r.out), &s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.forget(s.Name) })
	l.sameDisk("[datastore1] odd/small-flat.vmdk", filepath.Join(l.storage(), s.Name+"_scsi0-0"))
	// Later commands take the source's name, or the domain's.
	l.run(exitDone, "status", "--", odd)
	l.run(exitDone, "rollback", "--", odd)
	l.run(exitDone, "rollback", twin)
	l.noDisks()
}

// inventory reads the host through the program.
func (l *lab) inventory() *inventory.Host {
	l.t.Helper()
	r := l.run(exitDone, append([]string{"inventory", "--output", "json"}, l.login()...)...)
	var h inventory.Host
	if err := json.Unmarshal([]byte(r.out), &h); err != nil {
		l.t.Fatal(fmt.Errorf("inventory: %w", err))
	}
	return &h
}
