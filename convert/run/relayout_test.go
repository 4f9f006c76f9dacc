package run

import (
	"errors"
	"slices"
	"testing"

	"esxodus/convert/converttest"
)

// worlds are those that a run is crashed and interrupted in.
func worlds() map[string]func(*testing.T) *converttest.World {
	return map[string]func(*testing.T) *converttest.World{"kept": converttest.New, "relaid": converttest.NewRelaid}
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
