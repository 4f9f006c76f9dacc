package main

import (
	"slices"
	"strings"
	"testing"

	"esxodus/convert/runs"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// TestOverSSH migrates a VM whose host serves no disk by HTTPS: its bytes come by the
// host's shell, over connections that break.
func TestOverSSH(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.host.Faults().Add(esxi.Fault{Kind: esxi.Status, Path: "[datastore1]", Code: 403, HEAD: true})
	if r := l.run(exitPreflight, l.convert("--no-proof")...); !strings.Contains(unwrapped(r.err), "`esxodus doctor ") {
		t.Errorf("convert from a host that serves no disk, and whose SSH isn't known, says\n%s", r.err)
	}
	if r := l.run(exitDone, l.plan(append(l.ssh(), l.vm)...)...); !strings.Contains(unwrapped(r.out), "its disks come by SSH, as HTTPS doesn't serve them: ") || !strings.Contains(unwrapped(r.out), "via SSH") {
		t.Errorf("the plan doesn't choose SSH by itself:\n%s", r.out)
	}
	ssh := append(l.ssh(), "--via", "ssh", "--no-proof")
	if r := l.run(exitDone, l.plan(append(slices.Clone(ssh), l.vm)...)...); !strings.Contains(unwrapped(r.out), "via SSH") {
		t.Errorf("the plan doesn't say so:\n%s", r.out)
	}
	l.host.Faults().Add(esxi.Fault{Kind: esxi.Cut, Path: "small-flat.vmdk", After: 300 << 10, Count: 3})
	l.run(exitDone, l.convert(ssh...)...)
	l.sameDisk(l.flat(), l.disk())
	if s := l.status(); s.Phase != runs.PhaseUnseen {
		t.Errorf("status = %+v", s)
	}
	l.verifiedSource(fixtures.SmallDisk, l.ssh()...)
	if n := l.served(); n > 0 {
		t.Errorf("%d bytes of the disk came by HTTPS", n)
	}
	if hits := l.host.Faults().Hits(esxi.Cut); hits != 3 {
		t.Errorf("the connection broke %d times", hits)
	}
	l.untouched()
	l.run(exitDone, l.again("rollback")...)
	l.checkGone()
}

// TestResumedOverSSH: a copy that was killed goes on where it was, by the way that it
// began with.
func TestResumedOverSSH(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.host.Faults().Add(esxi.Fault{Kind: esxi.Stall, Path: "small-flat.vmdk", From: 8 << 20, To: 9 << 20})
	p := l.start(l.convert(append(l.ssh(), "--via", "ssh", "--no-proof")...)...)
	p.until("a checkpoint", func() bool { return l.checkpointed() >= 5 }) // of six blocks
	p.kill()
	l.host.Faults().Clear()
	before := len(l.host.Stats().SSHCommands)
	l.run(exitDone, slices.Concat(l.again("resume"), l.ssh())...)
	l.sameDisk(l.flat(), l.disk())
	reads := 0
	for _, c := range l.host.Stats().SSHCommands[before:] {
		if strings.Contains(c, "flat.vmdk' 'bs=1048576' ") {
			reads++
		}
	}
	if n := l.served(); n > 0 || reads != 1 {
		t.Errorf("%d bytes of the disk came by HTTPS, and %d blocks again by SSH", n, reads)
	}
}
