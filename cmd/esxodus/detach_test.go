package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/journal"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// TestWithoutSystemd: where systemd isn't process 1 nothing is begun, and the error says
// what else works.
func TestWithoutSystemd(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("systemd runs here")
	}
	l := newLab(t, esxi.Options{})
	l.run(exitDone, append(l.plan("-o", "plan.yaml"), l.vm)...)
	r := l.run(exitUsage, "batch", "--detach", "--yes", "--password-file", l.passwordFile(), "plan.yaml")
	if !strings.Contains(r.err, "systemd doesn't run here; nothing was done") || !strings.Contains(r.err, "tmux") {
		t.Errorf("stderr = %s", r.err)
	}
	if _, err := os.Stat(l.journal()); err == nil {
		t.Error("a migration was begun")
	}
}

// TestHandedOver: a unit gets what programs need, and nothing that is secret.
func TestHandedOver(t *testing.T) {
	t.Parallel()
	got, err := handedOver([]string{"HOME=/root", "GOVC_PASSWORD=swordfish", "GOVC_URL=https://root:swordfish@h", "GOVC_INSECURE=1", "TOKEN=swordfish", "LIBGUESTFS_BACKEND=direct", "https_proxy=http://proxy:3128"})
	if want := []string{"HOME=/root", "GOVC_INSECURE=1", "LIBGUESTFS_BACKEND=direct", "https_proxy=http://proxy:3128"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("handedOver = %q, %v; want %q", got, err, want)
	}
	if got, err := handedOver([]string{"https_proxy=http://u:swordfish@proxy:3128"}); err == nil || strings.Contains(err.Error(), "swordfish") {
		t.Errorf("handedOver = %q, %v; want an error without the password", got, err)
	}
}

// TestDetached has a batch go on as a unit of a real systemd, confined, onto logical
// volumes, with its boot proof: it outlives what started it, is stopped in mid-copy
// without loss, and is gone on with. The password is nowhere to be read. It needs
// systemd and device-mapper:
//
//	scripts/lab test ./cmd/esxodus --memory 2048 --reboots -run 'TestDetached$' -v
func TestDetached(t *testing.T) {
	_, err := os.Stat("/lab/reboots")
	fixtures.Lab(t, err == nil, "has systemd as process 1 (--reboots)")
	fixtures.Run(t, "systemctl", "start", "libvirtd")
	newGroup(t)
	l := detachedLab{netLab{newLab(t, esxi.Options{})}}
	plan := filepath.Join(l.dir, `pl an $HOME ${PATH} 100% %n "x".yaml`)
	args := append(l.plan("-o", plan), l.vm)
	args[slices.Index(args, "--storage")+1] = "lvm:" + group
	l.run(exitDone, args...)

	l.host.Faults().Slow(96 << 10)
	d := l.detach(plan)
	l.await("it copies", func() bool {
		if !l.active(d) {
			t.Fatalf("the unit has ended:\n%s", l.said(d))
		}
		return slices.Contains(l.events(), "begin copy")
	})
	l.noSecret(d)
	group := fixtures.Run(t, "systemctl", "show", "--value", "-p", "ControlGroup", d.Unit)
	if mine, _ := os.ReadFile("/proc/self/cgroup"); !strings.Contains(group, d.Unit) || strings.Contains(string(mine), d.Unit) {
		t.Errorf("the unit is in %s, the test in %s", group, mine)
	}
	t.Logf("%s", fixtures.Run(t, "sh", "-c", "systemd-analyze security --no-pager "+d.Unit+" | tail -n 1"))
	t.Logf("stopping; %q", l.events())
	fixtures.Run(t, strings.Fields(d.Stop)...)
	if s := l.status(); s.Phase != journal.PhaseUnfinished || s.Done == 0 {
		t.Errorf("after the stop: %+v", s)
	}
	l.host.Faults().Clear()

	d = l.detach(plan)
	l.ended(d)
	if s := l.status(); s.Phase != "ready" {
		t.Errorf("the run is %s; want it ready\n%s", s.Phase, l.said(d))
	}
	l.noSecret(d)
	l.sameDisk(l.flat(), filepath.Join("/dev", "vg_lvm", l.vm+"_scsi0-0"))
	l.run(exitDone, l.again("rollback")...)
}

// detachedLab is a lab whose batches go on by themselves.
type detachedLab struct{ netLab }

// detach starts a batch, and wants that its command ends at once.
func (l detachedLab) detach(plan string) (d detached) {
	l.t.Helper()
	r := l.run(exitDone, "batch", "--detach", "--yes", "--output", "json", "--password-file", l.passwordFile(), plan)
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		l.t.Fatalf("%v in %s%s", err, r.out, r.err)
	}
	if left, _ := filepath.Glob("/run/esxodus-password-*"); len(left) > 0 {
		l.t.Errorf("the password is left in %q", left)
	}
	return d
}

// active reports whether the unit is at work.
func (l detachedLab) active(d detached) bool {
	l.t.Helper()
	state := strings.TrimSpace(fixtures.Run(l.t, "systemctl", "show", "--value", "-p", "ActiveState", d.Unit))
	return state != "inactive" && state != "failed"
}

// ended waits for the unit's end, and wants that it ended well.
func (l detachedLab) ended(d detached) {
	l.t.Helper()
	l.await("the batch ends", func() bool { return !l.active(d) })
	if status := fixtures.Run(l.t, "systemctl", "show", "-p", "Result,ExecMainStatus", d.Unit); !strings.Contains(status, "Result=success") || !strings.Contains(status, "ExecMainStatus=0") {
		l.t.Errorf("the unit: %s\n%s", status, l.said(d))
	}
}

// said is what the unit wrote.
func (l detachedLab) said(d detached) string {
	l.t.Helper()
	return fixtures.Run(l.t, "journalctl", "-o", "cat", "-u", d.Unit)
}

// noSecret wants the password nowhere where others could read it.
func (l detachedLab) noSecret(d detached) {
	l.t.Helper()
	all := fixtures.Run(l.t, "systemctl", "show", d.Unit) + l.said(d) +
		fixtures.Run(l.t, "sh", "-c", "cat /run/systemd/transient/"+d.Unit+".service 2>/dev/null; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; true")
	if strings.Contains(all, l.host.Password()) {
		l.t.Errorf("the password of %s can be read", d.Unit)
	}
}
