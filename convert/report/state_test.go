package report

import (
	"strings"
	"testing"

	"esxodus/convert/batch"
	"esxodus/convert/guest"
	"esxodus/convert/journal"
	"esxodus/convert/runs"
)

// TestStates has what the conversion of a guest said beyond its plan.
func TestStates(t *testing.T) {
	var out strings.Builder
	s := runs.State{Name: "web", Progress: journal.Progress{Phase: runs.PhaseReady}, Notes: []string{"open-vm-tools stays:\nremove it in the guest"}}
	if err := States(&out, Form{}, []runs.State{s}); err != nil {
		t.Fatal(err)
	}
	if want := "  note: open-vm-tools stays:"; !strings.Contains(out.String(), want) || strings.Contains(out.String(), "stays:\nremove") {
		t.Errorf("States printed\n%s\nwant %q, on one line with the rest", &out, want)
	}
}

// TestFileSystems: damage from before is named where a run is told of, and what
// wasn't checked; what is sound isn't.
func TestFileSystems(t *testing.T) {
	s := runs.State{Name: "web", Progress: journal.Progress{Phase: runs.PhaseReady}, FileSystems: []guest.Checked{
		{Mount: guest.Mount{Device: "/dev/vg/root", At: "/", Content: "ext4"}, Verdict: guest.CheckedSound},
		{Mount: guest.Mount{Device: "/dev/vg/data", At: "/srv", Content: "xfs"}, Verdict: guest.CheckedDamaged, Said: "bad"},
		{Mount: guest.Mount{Device: "/dev/vg/b", At: "/b", Content: "btrfs"}, Verdict: guest.NotChecked, Said: "none"},
	}}
	var states, results strings.Builder
	if err := States(&states, Form{Columns: 300}, []runs.State{s}); err != nil {
		t.Fatal(err)
	}
	if err := Results(&results, Form{Columns: 300}, []batch.Result{{Name: "web", Did: batch.DidConvert, Phase: s.Phase, FileSystems: s.Unsound()}}); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{states.String(), results.String()} {
		for _, want := range []string{"  file system: xfs at /srv (/dev/vg/data): damaged at the source: bad. ", "  file system: btrfs at /b (/dev/vg/b): not checked: none\n"} {
			if !strings.Contains(out, want) || strings.Contains(out, "/dev/vg/root") {
				t.Errorf("printed\n%s\nwant %q, and nothing of the root", out, want)
			}
		}
	}
}

// TestRolledBack: no steps are left of a run that is undone. "0 of 7 steps" reads
// as if none had been undone.
func TestRolledBack(t *testing.T) {
	s := runs.State{Name: "web", Progress: journal.Progress{Phase: journal.PhaseRolledBack, Steps: 7}}
	var b strings.Builder
	if err := States(&b, Form{}, []runs.State{s}); err != nil || !strings.HasPrefix(b.String(), "web: rolled back, 0001") {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// TestEnded: what was done about a VM and how it stands are said once where they are the
// same.
func TestEnded(t *testing.T) {
	var b strings.Builder
	err := Results(&b, Form{}, []batch.Result{{Name: "web", Did: batch.DidCommit, Phase: journal.PhaseCommitted}, {Name: "db", Did: batch.DidRollBack, Phase: journal.PhaseRolledBack}})
	if want := "web: committed\ndb: rolled back\n"; err != nil || b.String() != want {
		t.Errorf("%q, %v; want %q", b.String(), err, want)
	}
}
