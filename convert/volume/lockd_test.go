package volume

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/host"
)

// TestLockRefusals: whatever lock is lacking, the error says what helps.
func TestLockRefusals(t *testing.T) {
	for says, want := range map[string]string{
		"LV locked by other host: vg0/new; Failed to lock logical volume vg0/new.":            "`lvchange --activate n` there",
		"VG vg0 lock failed: held by other host.; Cannot access VG vg0 due to failed lock.":   "another host is changing it",
		"VG vg0 lock failed: lock start in progress":                                          "are still being started",
		"VG vg0 lock failed: storage errors for sanlock leases":                               "doesn't reach the leases",
		"Cannot access VG vg0 due to failed lock.":                                            "`vgchange --lockstart vg0` starts them",
		"WARNING: lvmlockd process is not running.; Cannot access VG vg0 due to failed lock.": "lvmlockd isn't running here",
	} {
		s := &script{
			answers: map[string]string{"vgs": vgJSON, "lvs": lvJSON},
			fail:    map[string]error{"lvcreate": &host.ExitError{Argv: []string{"lvcreate"}, Code: 5, Stderr: says}},
		}
		l := LVM{VG: "vg0", Tool: s}
		err := l.Create(t.Context(), lvmVolume(t, l, "new", 1), "r1", noClaim)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), says) {
			t.Errorf("after %q Create = %v, want %q", says, err, want)
		}
	}
}

// TestLocksNotNeeded: a host that is told to use lvmlockd, which doesn't run: a group
// without locks fails for reasons of its own.
func TestLocksNotNeeded(t *testing.T) {
	for _, says := range []string{"lvmlockd process is not running.", "lvmlockd connect failed."} {
		says = "WARNING: " + says + `; Volume group "vg0" not found`
		l := LVM{VG: "vg0", Tool: &script{fail: map[string]error{"vgs": &host.ExitError{Argv: []string{"vgs"}, Code: 5, Stderr: says}}}}
		if _, err := l.Check(t.Context(), nil); err == nil || strings.Contains(err.Error(), "lockstart") || !strings.Contains(err.Error(), "this host has no volume group vg0") {
			t.Errorf("after %q Check = %v; want nothing of locks", says, err)
		}
	}
}

// TestLocksUnused: a group with locks, on a host whose LVM has no use for lvmlockd.
func TestLocksUnused(t *testing.T) {
	n := newLUN(t)
	l := n.host("kvm1")
	v := n.volume(l, "web")
	file := filepath.Join(t.TempDir(), "vg")
	n.lvm("vgcfgbackup", "--file", file, n.vg)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "max_lv = 0", "max_lv = 0\nlock_type = \"sanlock\"\nlock_args = \"1.0.0:lvmlock\"", 1)
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	n.lvm("vgcfgrestore", "--file", file, n.vg)
	groups, err := Groups(t.Context(), l.Tool)
	if err != nil || len(groups) != 1 || !groups[0].Shut {
		t.Fatalf("Groups = %+v, %v; want one that is shut", groups, err)
	}
	if diff := cmp.Diff(groups[0].Sharing, Sharing{Name: n.vg, Over: "iscsi", Locks: "sanlock"}); diff != "" {
		t.Errorf("Groups (-got +want):\n%s", diff)
	}
	for name, do := range map[string]func() error{
		"Check":  func() error { _, err := l.Check(t.Context(), nil); return err },
		"Create": func() error { return l.Create(t.Context(), v, "r1", noClaim) },
		"State":  func() error { _, err := l.State(t.Context(), v, "r1", Identity{}); return err },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "set use_lvmlockd=1 in lvm.conf") {
			t.Errorf("%s = %v, want what to set", name, err)
		}
	}
}
