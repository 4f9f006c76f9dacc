package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/journal"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// TestUnproven has a guest that stops in emergency mode: the run is stopped, the
// disks stay, and whoever passes over the proof is not told that it is ready.
func TestUnproven(t *testing.T) {
	t.Parallel()
	dir := fixtures.OpenDir(t)
	vm := uniqueName("u")
	flat := filepath.Join(dir, vm, "small-flat.vmdk")
	if err := fixtures.SmallGuest(filepath.Join(dir, vm), vm); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(flat, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(fixtures.BootSector("[FAILED] Failed to mount /opt.\r\nYou are in emergency mode. After logging in\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, esxi.Options{Dir: dir})
	l.vm = vm
	t.Cleanup(func() { l.forget(vm) })

	r := l.run(exitStopped, l.convert()...)
	for _, want := range []string{"the guest stopped in emergency mode", "Failed to mount /opt", "esxodus resume --no-proof " + vm} {
		if !strings.Contains(unwrapped(r.err), want) {
			t.Errorf("stderr does not contain %q:\n%s", want, tail(r.err))
		}
	}
	if s := l.status(); s.Phase != journal.PhaseUnfinished || s.Seen != "" {
		t.Errorf("status = %+v, want it unfinished", s)
	}
	l.run(exitStopped, l.again("resume")...)
	r = l.run(exitDone, append(l.again("resume"), "--no-proof")...)
	if !strings.Contains(r.out, vm+": converted, not seen to boot") || strings.Contains(r.out, "ready") {
		t.Errorf("stdout = %q; want it converted, not seen to boot", r.out)
	}
	l.checkDone()
}
