package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/fixtures/esxi"
)

// TestLibvirtElsewhere: whatever would make the volumes here and the domain there
// is refused before anything is asked, and a run of old can still be rolled back.
func TestLibvirtElsewhere(t *testing.T) {
	t.Parallel()
	const uri = "qemu+ssh://other.invalid/system"
	l := newLab(t, esxi.Options{})
	refused := func(code int, args ...string) {
		t.Helper()
		r := l.run(code, args...)
		for _, want := range []string{uri + " is the libvirt of another machine, other.invalid", "run esxodus on other.invalid itself"} {
			if !strings.Contains(unwrapped(r.err), want) {
				t.Errorf("%q: stderr does not contain %q:\n%s", args, want, tail(r.err))
			}
		}
		if r.out != "" {
			t.Errorf("%q: stdout = %q, want none", args, r.out)
		}
		l.noDisks()
	}
	refused(exitUsage, l.convert("--libvirt", uri)...)
	refused(exitUsage, l.plan("--libvirt", uri)...)

	l.run(exitDone, l.plan(l.vm, "--no-proof", "-o", "plan.yaml")...)
	file := filepath.Join(l.dir, "plan.yaml")
	l.edit(file, "libvirt: qemu:///system", "libvirt: "+uri)
	refused(exitUsage, l.batch()...)

	l.edit(file, "libvirt: "+uri, "libvirt: qemu:///system")
	l.host.Faults().Slow(64 << 10)
	p := l.start(l.batch()...)
	p.until("the copy", func() bool { return slices.Contains(l.events(), "begin copy") })
	p.kill()
	l.host.Faults().Clear()
	r := l.run(exitUsage, "resume", l.vm)
	if !strings.Contains(unwrapped(r.err), "hint: give --password-file FILE") || !strings.Contains(r.err, "esxodus rollback "+l.vm) {
		t.Errorf("resume without a password: stderr\n%s\nwant what to give, and the ways on", tail(r.err))
	}
	l.edit(l.journal(), `"libvirt":"qemu:///system"`, `"libvirt":"`+uri+`"`)
	r = l.run(exitStopped, l.again("resume")...)
	if !strings.Contains(unwrapped(r.err), "is the libvirt of another machine, other.invalid") || !strings.Contains(r.err, "esxodus rollback "+l.vm) {
		t.Errorf("resume: stderr\n%s\nwant it refused, with the way back", tail(r.err))
	}
	l.run(exitDone, l.again("rollback")...)
	l.noDisks()
}

// edit replaces a text in a file.
func (l *lab) edit(file, old, text string) {
	l.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(b), old) {
		l.t.Fatalf("%s: no %q (%v)", file, old, err)
	}
	l.check(os.WriteFile(file, []byte(strings.Replace(string(b), old, text, 1)), 0o600))
}
