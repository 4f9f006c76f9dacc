package run

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/converttest"
)

// worlds are those that a run is crashed and interrupted in.
func worlds() map[string]func(*testing.T) *converttest.World {
	return map[string]func(*testing.T) *converttest.World{"kept": converttest.New, "relaid": converttest.NewRelaid, "edited": converttest.NewEdited}
}

// TestNotes: what a conversion says beyond the plan is told.
func TestNotes(t *testing.T) {
	w := converttest.NewRelaid(t)
	j := w.Create()
	if err, _ := apply(t.Context(), w, j); err != nil {
		t.Fatal(err)
	}
	if s := j.State(); !slices.Equal(s.Notes, []string{"vda1 is not checked"}) {
		t.Errorf("notes = %q, want the conversion's", s.Notes)
	}
}

// TestLeaveIt: where the guest of disks that are kept can't be changed, the message
// says how to do without.
func TestLeaveIt(t *testing.T) {
	for _, tt := range []struct {
		world func(*testing.T) *converttest.World
		told  bool
	}{{converttest.NewEdited, true}, {converttest.NewRelaid, false}} {
		w := tt.world(t)
		j := w.Create()
		w.Tick = func(what string) error {
			if what == "convert" {
				return errors.New("mounting: an unknown feature")
			}
			return nil
		}
		err, _ := apply(t.Context(), w, j)
		if err == nil || strings.Contains(err.Error(), "an unknown feature. The volumes are exact copies still: roll back, and plan with --no-edits") != tt.told {
			t.Errorf("Apply = %v; want --no-edits in it: %v", err, tt.told)
		}
	}
}

// TestUntouched: until the guest's conversion is complete, the volumes are the
// copies that they were.
func TestUntouched(t *testing.T) {
	w := converttest.NewRelaid(t)
	j := w.Create()
	w.Tick = func(what string) error {
		if what == "converted" {
			return errors.New("no kernel can be booted")
		}
		return nil
	}
	if err, _ := apply(t.Context(), w, j); !errors.Is(err, ErrStopped) {
		t.Fatalf("Apply = %v, want it stopped", err)
	}
	untouched(t, j)
	w.CheckTidy()
}
