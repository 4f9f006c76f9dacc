package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/journal"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// TestFullTarget runs out of room in mid-copy: what was made is removed, and
// the message says so.
func TestFullTarget(t *testing.T) {
	t.Parallel()
	mounts := map[string]func(*testing.T, *lab) []string{
		"tmpfs": func(*testing.T, *lab) []string { return []string{"-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs"} },
		"ext4": func(t *testing.T, l *lab) []string {
			t.Helper()
			img := filepath.Join(l.dir, "small.ext4")
			if err := os.WriteFile(img, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(img, 3<<20); err != nil {
				t.Fatal(err)
			}
			must(t, fixtures.Tool(t, "mkfs.ext4"), "-q", "-O", "^has_journal", "-m", "0", img)
			return []string{"-o", "loop", img}
		},
	}
	for name, source := range mounts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if os.Getuid() != 0 {
				fixtures.Missing(t, "the right to mount")
			}
			l := newLab(t, esxi.Options{})
			must(t, "mount", append(source(t, l), l.storage())...)
			t.Cleanup(func() { must(t, "umount", l.storage()) })
			r := l.run(exitFailed, l.convert("--no-proof")...)
			for _, want := range []string{"no space left on device", l.disk(), "was removed", "hint: "} {
				if !strings.Contains(r.err, want) {
					t.Errorf("stderr does not contain %q:\n%s", want, tail(r.err))
				}
			}
			l.checkGone()
		})
	}
}

// unwrapped is a text whose lines were wrapped, in one line.
func unwrapped(s string) string { return strings.Join(strings.Fields(s), " ") }

// tail is the end of a text, where the errors are.
func tail(s string) string { return s[max(0, len(s)-1500):] }

func must(tb testing.TB, name string, args ...string) {
	tb.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		tb.Errorf("%s %q: %v: %s", name, args, err, out)
	}
}

// TestClash finds what exists on the target: before anything is made, where a
// plan is made, and at the last moment where it came after the plan. What
// exists is left as it is.
func TestClash(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		make    func(*lab)
		concern string // that a plan has
		late    string // what a run says that began before
		keeps   func(*lab) bool
	}{
		{
			name:    "file",
			make:    func(l *lab) { l.write(l.disk(), "mine") },
			concern: "target.volume", late: "exists and esxodus did not make it",
			keeps: func(l *lab) bool { b, err := os.ReadFile(l.disk()); return err == nil && string(b) == "mine" },
		},
		{
			name:    "symbolic link",
			make:    func(l *lab) { l.check(os.Symlink("/nowhere", l.disk())) },
			concern: "target.volume", late: "exists and esxodus did not make it",
			keeps: func(l *lab) bool { to, err := os.Readlink(l.disk()); return err == nil && to == "/nowhere" },
		},
		{
			name:    "domain's name",
			make:    func(l *lab) { l.define(l.vm, "") },
			concern: "target.domain", late: "exists",
			keeps: func(l *lab) bool {
				xml, ok := virsh("dumpxml", l.vm)
				return ok && strings.Contains(xml, "of somebody else")
			},
		},
		{
			name:    "domain's UUID",
			make:    func(l *lab) { l.define(l.vm+"-other", l.uuid()) },
			concern: "target.domain", late: "has the UUID",
			keeps: func(l *lab) bool {
				xml, ok := virsh("dumpxml", l.vm+"-other")
				return ok && strings.Contains(xml, "of somebody else") && len(l.domains(l.vm)) == 1
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name+", before the plan", func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{})
			t.Cleanup(func() { l.forget(l.vm + "-other") })
			tt.make(l)
			r := l.run(exitPreflight, l.convert()...)
			if !strings.Contains(r.err, tt.concern) {
				t.Errorf("stderr does not name %s:\n%s", tt.concern, tail(r.err))
			}
			if !tt.keeps(l) {
				t.Error("what existed is not as it was")
			}
		})
		t.Run(tt.name+", after the plan", func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{})
			t.Cleanup(func() { l.forget(l.vm + "-other") })
			l.run(exitDone, l.plan(l.vm, "-o", "plan.yaml")...)
			tt.make(l)
			r := l.run(exitSome, "batch", "plan.yaml", "--yes", "--password-file", l.passwordFile())
			if !strings.Contains(unwrapped(r.out), tt.late) {
				t.Errorf("stdout does not contain %q:\n%s", tt.late, r.out)
			}
			if !tt.keeps(l) {
				t.Error("what existed is not as it was")
			}
			// A volume's name is found before anything is copied; a domain's
			// after, and then the copy stays until the admin decides.
			want := journal.PhaseUnfinished
			if tt.concern == "target.volume" {
				want = journal.PhaseRolledBack
			}
			if s := l.status(); s.Phase != want {
				t.Errorf("status = %+v, want phase %s", s, want)
			}
			if want == journal.PhaseUnfinished {
				l.run(exitDone, l.again("rollback")...)
			}
			if tt.concern != "target.volume" {
				l.noDisks()
			}
		})
	}
}

func (l *lab) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) write(path, text string) {
	l.t.Helper()
	l.check(os.WriteFile(path, []byte(text), 0o644))
}

// uuid is the UUID that the small guest's domain will have.
func (l *lab) uuid() string {
	l.t.Helper()
	r := l.run(exitDone, l.plan(l.vm, "--output", "json")...)
	_, rest, ok := strings.Cut(r.out, "<uuid>")
	if !ok || len(rest) < 36 {
		l.t.Fatalf("no UUID in %s", r.out)
	}
	return rest[:36]
}

// define defines a domain that isn't the program's.
func (l *lab) define(name, uuid string) {
	l.t.Helper()
	if uuid != "" {
		uuid = "<uuid>" + uuid + "</uuid>"
	}
	xml := fmt.Sprintf(`<domain type='qemu'><name>%s</name>%s<description>of somebody else</description>`+
		`<memory>65536</memory><os><type arch='x86_64'>hvm</type></os></domain>`, name, uuid)
	file := filepath.Join(l.dir, "other.xml")
	l.write(file, xml)
	if _, ok := virsh("define", file); !ok {
		l.t.Fatal("virsh define: refused")
	}
}

// TestBusy keeps a second run of the same VM out while the first one is at
// work.
func TestBusy(t *testing.T) {
	t.Parallel()
	lab := newLab(t, esxi.Options{})
	lab.hold(lab.vm)
	p := lab.start(lab.convert(append(shortStall(), "--no-proof")...)...)
	p.until("the copy", func() bool { return lab.lines() >= records("begin copy") })
	for _, command := range []string{"resume", "rollback"} {
		r := lab.run(exitBusy, lab.again(command)...)
		if !strings.Contains(r.err, "another esxodus is at work here") {
			t.Errorf("%s says:\n%s", command, r.err)
		}
	}
	if r := lab.run(exitBusy, "commit", lab.vm); !strings.Contains(r.err, "another esxodus is at work") {
		t.Errorf("commit says:\n%s", r.err)
	}
	if s := lab.status(); !s.Running {
		t.Errorf("status = %+v, want running", s)
	}
	if r := lab.start(lab.convert("--no-proof")...).wait(); r.code == exitDone {
		t.Errorf("a second convert ended well:\n%s", r.err)
	}
	lab.host.Faults().Clear()
	p.want(exitDone)
	lab.checkDone()
}
