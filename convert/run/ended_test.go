package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/journal"
	"esxodus/convert/runs"
)

func TestJournalEmptyIsReplaced(t *testing.T) {
	w := converttest.New(t)
	dir := w.State().Dir("web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, journal.FileName), []byte(`{"event":"pl`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err, _ := apply(t.Context(), w, w.Create()); err != nil {
		t.Fatal(err)
	}
	w.CheckDone()
}

// TestEnded: a run that was rolled back can be neither resumed nor undone, and
// trying leaves its journal as it is.
func TestEnded(t *testing.T) {
	w := converttest.New(t)
	j := w.Create()
	if err := Rollback(t.Context(), j, effects(w)); err != nil {
		t.Fatal(err)
	}
	n := len(j.Records())
	if err := Apply(t.Context(), j, effects(w)); err == nil || !strings.Contains(err.Error(), "nothing is left to resume") {
		t.Errorf("Apply of an ended run = %v", err)
	}
	if err := Rollback(t.Context(), j, effects(w)); err == nil {
		t.Error("Rollback of an ended run = nil")
	}
	if len(j.Records()) != n {
		t.Errorf("%d records were added to an ended journal", len(j.Records())-n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	w.CheckGone()
}

// TestRepeated: a commit and a rollback that are repeated after they ended say
// so, and add nothing to the journal.
func TestRepeated(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(context.Context, *runs.Journal, Effects) error{"commit": Commit, "rollback": Rollback} {
		w := converttest.New(t)
		if err, _ := apply(t.Context(), w, w.Create()); err != nil {
			t.Fatal(err)
		}
		j := w.Open()
		if err := act(t.Context(), j, effects(w)); err != nil {
			t.Fatal(err)
		}
		n := len(j.Records())
		for other, again := range map[string]func(context.Context, *runs.Journal, Effects) error{"commit": Commit, "rollback": Rollback, "resume": Apply} {
			err := again(t.Context(), j, effects(w))
			if err == nil || errors.Is(err, runs.ErrAlready) != (other == name) || len(j.Records()) != n {
				t.Errorf("%s after %s = %v, %d new records; want that it was done, or a refusal", other, name, err, len(j.Records())-n)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
