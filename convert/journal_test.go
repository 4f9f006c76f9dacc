package convert

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"esxodus/inventory"
)

func TestJournalTornLine(t *testing.T) {
	w := newWorld(t)
	j := w.create()
	if err := j.step(0, EventBegin, nil); err != nil {
		t.Fatal(err)
	}
	path := j.Path(journalName)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Cut anywhere: either nothing was planned, or a whole number of records
	// is read and the next one can be appended.
	first := strings.IndexByte(string(whole), '\n') + 1
	for _, cut := range []int{0, 1, first - 1, first, first + 1, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := w.state().Open("web")
		if cut < first {
			if !errors.Is(err, errEmpty) {
				t.Errorf("cut at %d: Open = %v, want %v", cut, err, errEmpty)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if len(j.records) != 1 {
			t.Errorf("cut at %d: %d records, want 1", cut, len(j.records))
		}
		if err := errors.Join(j.step(0, EventBegin, nil), j.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.state().State("web"); err != nil {
			t.Errorf("cut at %d, then appended: %v", cut, err)
		}
	}
}

func TestJournalEmptyIsReplaced(t *testing.T) {
	w := newWorld(t)
	dir := w.state().dir("web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, journalName), []byte(`{"event":"pl`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err, _ := w.apply(t.Context(), w.create()); err != nil {
		t.Fatal(err)
	}
	w.checkDone()
}

func TestJournalLock(t *testing.T) {
	w := newWorld(t)
	j := w.create()
	if _, err := w.state().Open("web"); !errors.Is(err, ErrBusy) {
		t.Errorf("second Open = %v, want %v", err, ErrBusy)
	}
	if s, err := w.state().State("web"); err != nil || !s.Running {
		t.Errorf("State = %+v, %v; want it running", s, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := w.state().State("web"); err != nil || s.Running {
		t.Errorf("State after Close = %+v, %v; want it not running", s, err)
	}
}

// TestEnded: a run that was rolled back can be neither resumed nor undone, and
// trying leaves its journal as it is.
func TestEnded(t *testing.T) {
	w := newWorld(t)
	j := w.create()
	if err := Rollback(t.Context(), j, w.effects()); err != nil {
		t.Fatal(err)
	}
	n := len(j.records)
	if err := Apply(t.Context(), j, w.effects()); err == nil || !strings.Contains(err.Error(), "nothing is left to resume") {
		t.Errorf("Apply of an ended run = %v", err)
	}
	if err := Rollback(t.Context(), j, w.effects()); err == nil {
		t.Error("Rollback of an ended run = nil")
	}
	if len(j.records) != n {
		t.Errorf("%d records were added to an ended journal", len(j.records)-n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	w.checkGone()
}

func TestCreateOverUnfinished(t *testing.T) {
	w := newWorld(t)
	j := w.create()
	if err := errors.Join(j.step(0, EventBegin, nil), j.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := w.state().Create(w.plan().Job(0), NewRun())
	if err == nil || !strings.Contains(err.Error(), "esxodus resume web") {
		t.Errorf("Create over an unfinished run = %v, want advice to resume", err)
	}
}

func TestFind(t *testing.T) {
	w := newWorld(t)
	w.host.VMs[0].Name = "web/ server ü"
	j := w.createAny()
	name := j.Job().VM.Name
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{name, "web/ server ü"} {
		if got, err := w.state().Find(key); err != nil || got != name {
			t.Errorf("Find(%q) = %q, %v; want %q", key, got, err, name)
		}
	}
	if _, err := w.state().Find("../../etc"); !errors.Is(err, ErrNoRun) {
		t.Errorf("Find of another = %v, want %v", err, ErrNoRun)
	}
}

func (w *world) createAny() *Journal {
	w.t.Helper()
	j, err := w.state().Create(w.plan().Job(0), NewRun())
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

func TestBatch(t *testing.T) {
	w := newWorld(t)
	second := w.vm()
	second.ID, second.Name = "8", "db"
	second.BIOSUUID, second.InstanceUUID = strings.Replace(second.BIOSUUID, "0001", "0002", 1), "520d0000-0000-0000-0000-000000000002"
	second.NICs[0].MAC = "00:50:56:01:02:04"
	on := w.vm()
	on.ID, on.Name, on.Power = "9", "on", inventory.PoweredOn
	on.BIOSUUID = strings.Replace(on.BIOSUUID, "0001", "0003", 1)
	on.NICs[0].MAC = "00:50:56:01:02:05"
	w.host.VMs = append(w.host.VMs, second, on)
	p := w.planAny()
	broken := true
	w.tick = func(what string) error {
		if what == "define" && broken {
			broken = false // the first VM to come here fails
			return fmt.Errorf("libvirt is away")
		}
		return nil
	}
	got := Batch(t.Context(), p, w.state(), w.effects(), 2)
	failed := 0
	for _, r := range got[:2] {
		if r.Error != "" {
			failed++
		}
	}
	if failed != 1 || got[2].Did != DidRefuse || got[2].Advice == "" {
		t.Fatalf("Batch = %+v; want one of two failed and the third refused with advice", got)
	}
	again := Batch(t.Context(), p, w.state(), w.effects(), 2)
	for i, r := range again[:2] {
		want := DidPass
		if got[i].Error != "" {
			want = DidResume
		}
		if r.Error != "" || r.Did != want || r.Phase != PhaseReady {
			t.Errorf("second Batch of %s = %+v; want %s", r.VM, r, want)
		}
	}
}

// TestBatchOfOthers: a run on record that carries out anything but what the plan
// shows is not taken for the plan's; one that was committed is in nobody's way.
func TestBatchOfOthers(t *testing.T) {
	w := newWorld(t)
	j := w.create()
	if err, _ := w.apply(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	other, changed := w.planAny(), w.planAny()
	other.Source.Host = "esx2"
	other.VMs[0].Source.InstanceUUID = "520d0000-0000-0000-0000-00000000000f"
	changed.Source, changed.VMs[0] = j.Job().Source, j.Job().VM
	changed.VMs[0].Domain.XML += "<!-- edited -->"
	for name, p := range map[string]*Plan{"another VM": other, "an edited plan": changed} {
		got := Batch(t.Context(), p, w.state(), w.effects(), 1)
		if got[0].Did != DidRefuse || !strings.Contains(got[0].Error, "another plan") || !strings.Contains(got[0].Error, "`esxodus commit web` or `esxodus rollback web`") {
			t.Errorf("Batch with %s = %+v, want it refused", name, got)
		}
	}
	j = w.open()
	if err := errors.Join(Commit(t.Context(), j, w.effects()), j.Close()); err != nil {
		t.Fatal(err)
	}
	if got := Batch(t.Context(), changed, w.state(), w.effects(), 1); got[0].Did != DidPass || got[0].Error != "" {
		t.Errorf("Batch after the commit = %+v, want it passed over", got)
	}
	got := Batch(t.Context(), other, w.state(), w.effects(), 1)
	if got[0].Did == DidPass || strings.Contains(got[0].Error, "another plan") {
		t.Errorf("Batch of another VM after the commit = %+v, want a run of its own", got)
	}
}

func (w *world) planAny() *Plan {
	w.t.Helper()
	o := w.options()
	facts, err := Gather(w.t.Context(), w.effects(), Source{}, o)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := New(facts, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// TestUmask: QEMU's user gets through to a run's overlays whatever the umask is.
func TestUmask(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	w := newWorld(t)
	j := w.create()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(j.Path(proofDirName)); dir != w.dir; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("%s: %v, %v; want mode 711", dir, info.Mode(), err)
		}
	}
}

// TestRepeated: a commit and a rollback that are repeated after they ended say
// so, and add nothing to the journal.
func TestRepeated(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(context.Context, *Journal, Effects) error{"commit": Commit, "rollback": Rollback} {
		w := newWorld(t)
		if err, _ := w.apply(t.Context(), w.create()); err != nil {
			t.Fatal(err)
		}
		j := w.open()
		if err := act(t.Context(), j, w.effects()); err != nil {
			t.Fatal(err)
		}
		n := len(j.records)
		for other, again := range map[string]func(context.Context, *Journal, Effects) error{"commit": Commit, "rollback": Rollback, "resume": Apply} {
			err := again(t.Context(), j, w.effects())
			if err == nil || errors.Is(err, ErrAlready) != (other == name) || len(j.records) != n {
				t.Errorf("%s after %s = %v, %d new records; want that it was done, or a refusal", other, name, err, len(j.records)-n)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
