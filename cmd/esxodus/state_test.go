package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/runs"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"

	"sigs.k8s.io/yaml"
)

// mounted mounts something on a directory of the lab's, until the test ends or
// it is unmounted.
func (l *lab) mounted(dir string, args ...string) {
	l.t.Helper()
	if os.Getuid() != 0 {
		fixtures.Missing(l.t, "the right to mount")
	}
	l.check(os.MkdirAll(dir, 0o755))
	must(l.t, "mount", append(args, dir)...)
}

// TestUnmountedTarget rolls back, commits, resumes and asks while the target's
// file system isn't mounted: nothing is said to be gone that is elsewhere.
func TestUnmountedTarget(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	real := filepath.Join(l.dir, "file system")
	l.mounted(real, "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs")
	t.Cleanup(func() { must(t, "umount", real) })
	l.mounted(l.storage(), "--bind", real)
	unmounted := false
	t.Cleanup(func() {
		if !unmounted {
			must(t, "umount", l.storage())
		}
	})
	l.run(exitDone, l.convert("--no-proof")...)
	must(t, "umount", l.storage())
	unmounted = true
	for _, args := range [][]string{l.again("rollback"), {"commit", l.vm}, l.again("resume")} {
		r := l.run(exitStopped, args...)
		for _, want := range []string{"it isn't known whether", l.storage() + " is not the directory", "mount again", "hint: use `esxodus commit " + l.vm} {
			if !strings.Contains(r.err, want) {
				t.Errorf("%s does not say %q:\n%s", args[0], want, r.err)
			}
		}
	}
	if r := l.run(exitDone, "status", l.vm); !strings.Contains(unwrapped(r.out), "volumes: it isn't known whether "+l.disk()+" still exists") {
		t.Errorf("status says:\n%s", r.out)
	}
	if s := l.statusCommand(); s.Phase != runs.PhaseUnseen || len(s.Volumes) != 1 {
		t.Errorf("status = %+v; want all steps done, and the volume in doubt", s)
	}
	must(t, "mount", "--bind", real, l.storage())
	unmounted = false
	l.run(exitDone, l.again("rollback")...)
	l.checkGone()
}

// TestFullState fills the file system of --state in mid-copy: the copy stays, the
// full file system is named, and with room again the run goes on.
func TestFullState(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.mounted(l.state(), "-t", "tmpfs", "-o", "size=1m,mode=711", "tmpfs")
	t.Cleanup(func() { must(t, "umount", l.state()) })
	l.hold(l.vm)
	p := l.start(l.convert("--no-proof")...)
	p.until("the copy", func() bool { return l.lines() >= records("begin copy") })
	filler := filepath.Join(l.state(), "filler")
	f, err := os.Create(filler)
	l.check(err)
	for size := 64 << 10; size >= 1<<10; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(bytes.Repeat([]byte{1}, size))
		}
	}
	l.check(f.Close())
	l.host.Faults().Clear()
	r := p.want(exitStopped)
	for _, want := range []string{"no space left on device", "hint: the file system of " + l.state(), "esxodus resume " + l.vm, " --state " + l.state() + "`"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("stderr does not contain %q:\n%s", want, tail(r.err))
		}
	}
	if strings.Contains(r.err, "target is full") || strings.Contains(r.err, "was removed") {
		t.Errorf("stderr:\n%s", tail(r.err))
	}
	if _, err := os.Stat(l.disk()); err != nil {
		t.Errorf("what was copied: %v", err)
	}
	l.check(os.Remove(filler))
	l.run(exitDone, l.again("resume")...)
	l.checkDone()
}

// TestDamagedRun: each command on a run whose journal is damaged, or digests, says
// where and what to do, with exit code 5, and touches nothing.
func TestDamagedRun(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.killAfter(records("done copy")+1, "begin recheck")
	whole, err := os.ReadFile(l.journal())
	l.check(err)
	digests := filepath.Join(filepath.Dir(l.journal()), "scsi0:0.digests")
	l.check(os.Truncate(digests, 100))
	r := l.run(exitStopped, l.again("resume")...)
	for _, want := range []string{digests, "remove it to copy from the start", "esxodus resume " + l.vm} {
		if !strings.Contains(r.err, want) {
			t.Errorf("resume with damaged digests does not say %q:\n%s", want, tail(r.err))
		}
	}
	if _, err := os.Stat(l.disk()); err != nil {
		t.Errorf("what was copied: %v", err)
	}
	l.check(os.Remove(digests))
	for _, line := range []string{`{"event":"begin","step":99}`, `{"event":"begin","step":-1}`, "\x00\x00\x00"} {
		l.write(l.journal(), string(whole)+line+"\n")
		for _, args := range [][]string{l.again("resume"), l.again("rollback"), {"commit", l.vm}, {"status", l.vm}, {"status"}} {
			r := l.run(exitStopped, args...)
			if !strings.Contains(r.err, l.journal()+", line ") || !strings.Contains(r.err, "hint: ") || strings.Contains(r.err, "no migration recorded") || strings.Contains(r.err, "goroutine") {
				t.Errorf("%s with %q at the end says:\n%s", args[0], line, tail(r.err))
			}
		}
	}
	l.write(l.journal(), string(whole))
	l.run(exitDone, l.again("resume")...)
	l.checkDone()
	l.run(exitDone, "commit", l.vm)
	if r := l.run(exitDone, "commit", l.vm); !strings.Contains(r.err, "that was done already") || !strings.Contains(r.out, "committed") {
		t.Errorf("a second commit says:\n%s%s", r.out, r.err)
	}
}

// TestPlanThatLies has a saved plan that lacks what it must have: it is refused
// by name before anything is shown or made, not "converted, ready".
func TestPlanThatLies(t *testing.T) {
	t.Parallel()
	vm := uniqueName("p")
	l := newBatch(t, vm)
	text, err := os.ReadFile(filepath.Join(l.dir, "plan.yaml"))
	l.check(err)
	without := func(kind string) func(map[string]any) {
		return func(v map[string]any) {
			steps, ok := v["steps"].([]any)
			if !ok {
				t.Fatalf("steps are %T", v["steps"])
			}
			v["steps"] = slices.DeleteFunc(steps, func(s any) bool { return s.(map[string]any)["kind"] == kind })
		}
	}
	for name, tt := range map[string]struct {
		change func(vm map[string]any)
		want   string
	}{
		"no steps":  {func(v map[string]any) { v["steps"] = []any{} }, "steps: 0, but the plan"},
		"no copy":   {without("copy"), "but the plan needs copy scsi0:0"},
		"no verify": {without("verify"), "but the plan needs verify scsi0:0"},
		"no ranges": {func(v map[string]any) {
			v["layout"].(map[string]any)["disks"].([]any)[0].(map[string]any)["ranges"] = []any{}
		}, "layout of scsi0:0: ranges"},
		"no disks":                     {func(v map[string]any) { v["disks"] = []any{} }, "disks: 0, but the source"},
		"a proof that nobody declined": {func(v map[string]any) { delete(v, "noProof") }, "the plan needs prove next"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var plan map[string]any
			if err := yaml.Unmarshal(text, &plan); err != nil {
				t.Fatal(err)
			}
			tt.change(plan["vms"].([]any)[0].(map[string]any))
			edited, err := yaml.Marshal(plan)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "plan.yaml")
			if err := os.WriteFile(file, edited, 0o600); err != nil {
				t.Fatal(err)
			}
			r := l.start("batch", file, "--yes", "--password-file", l.passwordFile()).wait()
			if r.code != exitFailed || !strings.Contains(r.err, tt.want) || r.out != "" || strings.Contains(r.err, "plan: 1 VM") {
				t.Errorf("exit code %d; want it refused with %q; stdout:\n%s\nstderr:\n%s", r.code, tt.want, r.out, tail(r.err))
			}
			l.noDisks()
		})
	}
}
