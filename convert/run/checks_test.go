package run

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/appliance"
	"esxodus/convert/appliance/act"
	"esxodus/convert/converttest"
	"esxodus/convert/guest"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
)

// checkingGuests converts as the world's do, and has the file systems checked as a
// real conversion has.
type checkingGuests struct {
	converttest.Guests
	before, after map[string]appliance.Finding
}

func (g checkingGuests) Convert(ctx context.Context, job *plan.VMJob, got, dir string, overlays []string, report func(string)) (any, error) {
	if _, err := g.Guests.Convert(ctx, job, got, dir, overlays, report); err != nil {
		return nil, err
	}
	m := &checkedMachine{found: g.before, then: g.after}
	return act.Apply(ctx, m, fstest.MapFS{"run": {Mode: fs.ModeDir | 0o755}}, guest.Conversion{
		Mounts:   []guest.Mount{{Device: "/dev/vg/root", At: "/", Content: "ext4"}},
		Checks:   []guest.Mount{{Device: "/dev/vg/data", At: "/srv", Content: "xfs"}},
		Commands: [][]string{{"true"}},
	}, act.Input{})
}

// checkedMachine is an appliance in which only checks find something.
type checkedMachine struct {
	act.Machine
	found, then map[string]appliance.Finding
}

func (m *checkedMachine) FSCheck(_ context.Context, device, _ string) (appliance.Finding, error) {
	return m.found[device], nil
}
func (m *checkedMachine) Mount(context.Context, string, string) error { return nil }
func (m *checkedMachine) Unmount(context.Context) error               { return nil }
func (m *checkedMachine) MkdirAll(context.Context, string) error      { return nil }
func (m *checkedMachine) Cover(context.Context, string, string) error { return nil }
func (m *checkedMachine) Uncover(context.Context, string) error       { return nil }
func (m *checkedMachine) Remove(context.Context, string) error        { return nil }
func (m *checkedMachine) RealPath(_ context.Context, name string) (string, error) {
	return name, nil
}

func (m *checkedMachine) Command(context.Context, ...string) (string, error) {
	m.found = m.then
	return "", nil
}

// TestSourcesFaults: what was wrong at the source, and what can't be checked, is
// told and keeps no VM from its end; what is wrong since does, and nothing of the
// conversion gets into the volumes.
func TestSourcesFaults(t *testing.T) {
	const counted = "agf_freeblks 3741, counted 3742 in ag 1\n"
	old := appliance.Finding{Verdict: appliance.Damaged, Code: 1, Out: counted}
	not := appliance.Finding{Verdict: appliance.NotChecked, Code: 127, Out: "xfs_repair: not found"}
	for _, tt := range []struct {
		name          string
		before, after appliance.Finding
		want          guest.Verdict // of the data; "" where the run stops
		err           string
	}{
		{"sound", appliance.Finding{}, appliance.Finding{}, guest.CheckedSound, ""},
		{"damaged at the source", old, old, guest.CheckedDamaged, ""},
		{"not checked", not, not, guest.NotChecked, ""},
		{"damaged since", appliance.Finding{}, old, "", "xfs on /dev/vg/data has new damage after the conversion: (status 1) agf_freeblks 3741"},
		{"more damaged since", old, appliance.Finding{Verdict: appliance.Damaged, Code: 1, Out: counted + "bad magic in inode 7\n"}, "", "new damage after the conversion: (status 1) bad magic in inode 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := converttest.NewRelaid(t)
			j := w.Create()
			e := effects(w)
			e.Guests = checkingGuests{
				converttest.Guests{W: w},
				map[string]appliance.Finding{"/dev/vg/data": tt.before},
				map[string]appliance.Finding{"/dev/vg/data": tt.after},
			}
			err := errors.Join(Apply(t.Context(), j, e), j.Close())
			s := j.State()
			if tt.err != "" {
				if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), tt.err) || s.Phase != journal.PhaseUnfinished {
					t.Errorf("Apply = %v, %s; want it stopped by %q", err, s.Phase, tt.err)
				}
				untouched(t, j)
				return
			}
			if err != nil || !s.Complete() {
				t.Fatalf("Apply = %v, %s; want all done", err, s.Phase)
			}
			said := ""
			if tt.want != guest.CheckedSound {
				said = tt.before.Says()
			}
			want := []guest.Checked{
				{Mount: guest.Mount{Device: "/dev/vg/root", At: "/", Content: "ext4"}, Verdict: guest.CheckedSound},
				{Mount: guest.Mount{Device: "/dev/vg/data", At: "/srv", Content: "xfs"}, Verdict: tt.want, Said: said},
			}
			if diff := cmp.Diff(want, s.FileSystems); diff != "" {
				t.Errorf("file systems (-want +got):\n%s", diff)
			}
			if n := len(s.Unsound()); (n == 0) != (tt.want == guest.CheckedSound) {
				t.Errorf("%d file systems are told of", n)
			}
		})
	}
}

// untouched checks that the volumes are the copies that they were.
func untouched(t *testing.T, j *runs.Journal) {
	t.Helper()
	for _, d := range j.Job().VM.Disks {
		got, err := os.ReadFile(d.Volume.Path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(got), converttest.Converted) {
			t.Errorf("%s was written to by a conversion that failed", d.Volume)
		}
	}
}
