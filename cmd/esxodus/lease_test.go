package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"esxodus/convert/runs"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// leaseLab is a lab on a licensed host whose small guest no file serves, and a directory
// for what leases bring.
func leaseLab(t *testing.T, o esxi.Options) (l *lab, scratch []string) {
	t.Helper()
	o.Licensed = true
	l = newLab(t, o)
	l.unserved()
	dir := filepath.Join(l.dir, "scratch")
	l.check(os.Mkdir(dir, 0o755))
	return l, []string{"--scratch", dir}
}

// unserved makes the host serve the small guest's data to nobody by HTTPS.
func (l *lab) unserved() {
	l.host.Faults().Add(esxi.Fault{Kind: esxi.Status, Path: l.flat(), Code: 403, HEAD: true})
}

// kept lists what leases have brought.
func (l *lab) kept() []string {
	l.t.Helper()
	files, err := filepath.Glob(filepath.Join(l.dir, "scratch", "*"))
	l.check(err)
	return files
}

// TestByLease migrates a VM that only a lease brings: once, for the plan, and out of
// what is kept of it for all that follows.
func TestByLease(t *testing.T) {
	t.Parallel()
	l, scratch := leaseLab(t, esxi.Options{})
	r := l.run(exitDone, l.plan(append(scratch, l.vm)...)...)
	for _, want := range []string{"its disks come by a lease, as no file serves them: ", "via a lease: ", "by a lease, through the file " + filepath.Join(l.dir, "scratch", "small-")} {
		if !strings.Contains(unwrapped(r.out), want) {
			t.Errorf("the plan doesn't say %q:\n%s", want, r.out)
		}
	}
	if !strings.Contains(r.err, "bring scsi0:0 by a lease") {
		t.Errorf("no progress is shown:\n%s", r.err)
	}
	l.run(exitDone, l.convert(append(scratch, "--no-proof")...)...)
	l.sameDisk(l.flat(), l.disk())
	l.verifiedSource(24 << 20)
	r = l.run(exitDone, append(l.again("verify"), "--source")...)
	if text := unwrapped(r.out); !strings.Contains(text, "what the lease has brought is what was copied") || !strings.Contains(text, "the source itself was not read again") || strings.Contains(text, "the source is") {
		t.Errorf("verify --source claims of a source that it doesn't read:\n%s", r.out)
	}
	if s := l.host.Stats(); s.NFCGET != 1 || s.Leases["completed"] != 1 || len(s.Leases) != 1 {
		t.Errorf("%d streams, leases %v; want one", s.NFCGET, s.Leases)
	}
	if s := l.status(); s.Phase != runs.PhaseUnseen {
		t.Errorf("status = %+v", s)
	}
	l.run(exitDone, l.again("rollback")...)
	if len(l.kept()) != 2 {
		t.Errorf("after the rollback %q is kept; want the disk and its digests, for the next try", l.kept())
	}
	l.run(exitDone, l.convert(append(scratch, "--no-proof", "--via", "nfc")...)...)
	l.run(exitDone, "commit", l.vm)
	if len(l.kept()) != 0 {
		t.Errorf("after the commit %q is kept", l.kept())
	}
	if s := l.host.Stats(); s.NFCGET != 1 {
		t.Errorf("%d streams; want one", s.NFCGET)
	}
}

// TestLeaseRefused: what a lease takes and isn't there is said before anything is done.
func TestLeaseRefused(t *testing.T) {
	t.Parallel()
	l := newLabWithout(t, esxi.Options{})
	dir := t.TempDir()
	for _, tt := range []struct {
		code int
		args []string
		want string
	}{
		{exitUsage, []string{"--scratch", dir, "--via", "lease"}, "want https, ssh, nfc or file"},
		{exitFailed, []string{"--via", "nfc"}, "give --scratch DIR"},
		{exitFailed, []string{"--scratch", filepath.Join(dir, "none"), "--via", "nfc"}, "--scratch: "},
		{exitDone, []string{"--scratch", dir, "--via", "nfc"}, "this host's licence allows no lease"},
	} {
		r := l.run(tt.code, l.plan(append(tt.args, l.vm)...)...)
		if !strings.Contains(unwrapped(r.out+r.err), tt.want) {
			t.Errorf("%q says %s%s; want %q", tt.args, r.out, r.err, tt.want)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%v is in the directory (%v)", files, err)
	}
}

// TestLeaseCut: a stream that ends too early is never taken for a whole disk; the next
// one brings what is missing, of the same run or another. A lease that a killed run has
// left is waited for.
func TestLeaseCut(t *testing.T) {
	t.Parallel()
	l, scratch := leaseLab(t, esxi.Options{LeaseTimeout: 15 * time.Second})
	args := l.convert(append(scratch, "--no-proof", "--via", "nfc")...)
	l.host.Faults().Add(esxi.Fault{Kind: esxi.Cut, Path: "/nfc/", After: 300 << 10, Count: 1})
	l.host.Faults().Add(esxi.Fault{Kind: esxi.Status, Path: "/nfc/", Code: 404, Count: 1})
	if r := l.run(exitPreflight, args...); !strings.Contains(unwrapped(r.err), "begin the stream of scsi0:0 again: ") {
		t.Errorf("a cut stream: %s", r.err)
	}
	l.host.Faults().Leases(esxi.LeaseFault{Manifest: strings.Repeat("0", 40)})
	if r := l.run(exitPreflight, args...); !strings.Contains(unwrapped(r.err), "isn't what the host sent") || len(l.kept()) > 0 {
		t.Errorf("against the manifest %q is kept: %s", l.kept(), r.err)
	}
	l.host.Faults().Leases(esxi.LeaseFault{})
	l.host.Faults().Clear()
	l.unserved()
	l.host.Faults().Add(esxi.Fault{Kind: esxi.NoEnd, Path: "/nfc/", Count: 1})
	l.host.Faults().Add(esxi.Fault{Kind: esxi.Stall, Path: "/nfc/", After: 300 << 10})
	p := l.start(args...)
	p.until("a stream", func() bool { return l.host.Stats().NFCGET >= 5 })
	p.kill()
	p.wait()
	l.host.Faults().Clear()
	l.unserved()
	l.run(exitDone, args...)
	l.sameDisk(l.flat(), l.disk())
	s := l.host.Stats()
	if s.Leases["completed"] != 2 || s.Leases["aborted"] != 1 || s.Leases["expired"] != 1 {
		t.Errorf("leases ended so: %v", s.Leases)
	}
}

// TestLeaseChanged: a VM that was written to since its disks were brought isn't converted
// out of what is kept.
func TestLeaseChanged(t *testing.T) {
	t.Parallel()
	l, scratch := leaseLab(t, esxi.Options{})
	l.run(exitDone, l.plan(slices.Concat(scratch, []string{"--no-proof", "-o", "plan.yaml", l.vm})...)...)
	l.check(l.host.Close())
	l.edit(filepath.Join(l.opts.Dir, l.vm, "small.vmdk"), "CID=fffffffe", "CID=12345678")
	l.startHost()
	l.unserved()
	if r := l.run(exitSome, l.batch("--thumbprint", l.host.Thumbprint())...); !strings.Contains(unwrapped(r.err+r.out), "has changed since the plan") {
		t.Errorf("batch says %s%s", r.out, r.err)
	}
	l.run(exitDone, append(l.again("rollback"), "--thumbprint", l.host.Thumbprint())...)
	l.run(exitDone, l.convert(append(scratch, "--no-proof")...)...)
	l.sameDisk(l.flat(), l.disk())
	if s := l.host.Stats(); s.NFCGET != 1 {
		t.Errorf("%d streams since it was changed; want one", s.NFCGET)
	}
}

// TestLeaseObjects: a running VM on vSAN can't be looked into, but that its disks are no
// files is known before it is shut down.
func TestLeaseObjects(t *testing.T) {
	t.Parallel()
	vm, dir := uniqueName("v"), fixtures.OpenDir(t)
	if err := fixtures.SmallGuest(filepath.Join(dir, vm), vm); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, esxi.Options{Dir: dir, Licensed: true})
	l.vm = vm
	t.Cleanup(func() { l.forget(vm) })
	l.check(l.host.Close())
	l.edit(filepath.Join(dir, vm, "vm.json"), `"memoryMiB"`, `"objects":"vsan","memoryMiB"`)
	l.startHost()
	l.host.SetPower(vm, true)
	r := l.run(exitDone, l.plan("--shutdown", "auto", vm)...)
	if text := unwrapped(r.out); !strings.Contains(text, "only a lease of the host serves it") || !strings.Contains(text, "give --scratch DIR") || !strings.Contains(text, "1 blocked") {
		t.Errorf("without --scratch the plan says\n%s", r.out)
	}
	scratch := []string{"--scratch", t.TempDir(), "--shutdown", "auto", "--no-proof"}
	if r = l.run(exitDone, l.plan(append(scratch, vm)...)...); !strings.Contains(unwrapped(r.out), "by a lease, through the file") || strings.Contains(r.out, "BLOCKER") {
		t.Errorf("the plan says\n%s", r.out)
	}
	l.run(exitDone, l.convert(scratch...)...)
	l.sameDisk("[vsanDatastore] "+vm+"/small.vmdk", l.disk())
	if s := l.host.Stats(); s.NFCGET != 1 || l.host.Power(vm) != "poweredOff" {
		t.Errorf("%d streams, and the VM is %s", s.NFCGET, l.host.Power(vm))
	}
}
