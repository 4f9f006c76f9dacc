package runs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/journal"
	"esxodus/convert/runs"

	"golang.org/x/sys/unix"
)

func TestJournalTornLine(t *testing.T) {
	w := converttest.New(t)
	j := w.Create()
	if err := j.Step(0, journal.EventBegin, nil); err != nil {
		t.Fatal(err)
	}
	path := j.Path(journal.FileName)
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
		j, err := w.State().Open("web")
		if cut < first {
			if !errors.Is(err, journal.ErrEmpty) {
				t.Errorf("cut at %d: Open = %v, want %v", cut, err, journal.ErrEmpty)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if len(j.Records()) != 1 {
			t.Errorf("cut at %d: %d records, want 1", cut, len(j.Records()))
		}
		if err := errors.Join(j.Step(0, journal.EventBegin, nil), j.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.State().State("web"); err != nil {
			t.Errorf("cut at %d, then appended: %v", cut, err)
		}
	}
}

func TestJournalLock(t *testing.T) {
	w := converttest.New(t)
	j := w.Create()
	if _, err := w.State().Open("web"); !errors.Is(err, journal.ErrBusy) {
		t.Errorf("second Open = %v, want %v", err, journal.ErrBusy)
	}
	if s, err := w.State().State("web"); err != nil || !s.Running {
		t.Errorf("State = %+v, %v; want it running", s, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := w.State().State("web"); err != nil || s.Running {
		t.Errorf("State after Close = %+v, %v; want it not running", s, err)
	}
}

func TestCreateOverUnfinished(t *testing.T) {
	w := converttest.New(t)
	j := w.Create()
	if err := errors.Join(j.Step(0, journal.EventBegin, nil), j.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := w.State().Create(w.Plan().Job(0), journal.NewRun())
	if err == nil || !strings.Contains(err.Error(), "esxodus resume web") {
		t.Errorf("Create over an unfinished run = %v, want advice to resume", err)
	}
}

func TestFind(t *testing.T) {
	w := converttest.New(t)
	w.Host.VMs[0].Name = "web/ server ü"
	j := w.Create()
	name := j.Job().VM.Name
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{name, "web/ server ü", "7"} {
		if got, err := w.State().Find(key); err != nil || got != name {
			t.Errorf("Find(%q) = %q, %v; want %q", key, got, err, name)
		}
	}
	w.Host.VMs[0].Name = "7" // the other's id
	p := w.Plan()
	p.VMs[0].Name = "seven"
	j, err := w.State().Create(p.Job(0), journal.NewRun())
	if err := errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := w.State().Find("7"); err == nil || !strings.Contains(err.Error(), name+` ("web/ server ü", id 7, from esx1), `) && !strings.Contains(err.Error(), `seven ("7", id 7, from esx1)`) {
		t.Errorf("Find(7) = %q, %v; want it refused, with both domains", got, err)
	}
	if got, err := w.State().Find("seven"); err != nil || got != "seven" {
		t.Errorf("Find of the domain = %q, %v", got, err)
	}
	if _, err := w.State().Find("../../etc"); !errors.Is(err, runs.ErrNoRun) {
		t.Errorf("Find of another = %v, want %v", err, runs.ErrNoRun)
	}
}

// TestUmask: QEMU's user gets through to a run's overlays whatever the umask is.
func TestUmask(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	w := converttest.New(t)
	j := w.Create()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(j.Path(runs.ProofDir)); dir != w.Dir; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("%s: %v, %v; want mode 711", dir, info.Mode(), err)
		}
	}
}

// TestAfterRollback: nothing that does something follows a rollback in a journal.
func TestAfterRollback(t *testing.T) {
	t.Parallel()
	for event, bad := range map[journal.Event]bool{journal.EventBegin: true, journal.EventDone: true, journal.EventCommit: true, journal.EventUndone: false, journal.EventStopped: false, journal.EventRollback: false} {
		w := converttest.New(t)
		j := w.Create()
		err := errors.Join(j.Step(0, journal.EventBegin, nil), j.Add(journal.Record{Event: journal.EventRollback}))
		if event == journal.EventCommit || event == journal.EventStopped || event == journal.EventRollback {
			err = errors.Join(err, j.Add(journal.Record{Event: event}))
		} else {
			err = errors.Join(err, j.Step(0, event, nil))
		}
		if err := errors.Join(err, j.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = w.State().State("web")
		if (err != nil) != bad || err != nil && !strings.Contains(err.Error(), "it can't follow a rollback") {
			t.Errorf("%s after a rollback: State = %v; want an error: %v", event, err, bad)
		}
	}
}
