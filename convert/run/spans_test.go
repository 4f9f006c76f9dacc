package run

import (
	"errors"
	"slices"
	"testing"

	"esxodus/convert/converttest"
)

// TestSpansOfResumed: a step that a resume did again has one span, in the plan's
// order, as all others have.
func TestSpansOfResumed(t *testing.T) {
	w := converttest.New(t)
	j := w.Create()
	w.Tick = func(what string) error {
		if what == "read" {
			return errRead
		}
		return nil
	}
	if err, _ := apply(t.Context(), w, j); !errors.Is(err, errRead) {
		t.Fatalf("Apply = %v, want %v", err, errRead)
	}
	w.Tick = func(string) error { return nil }
	if err, _ := apply(t.Context(), w, w.Open()); err != nil {
		t.Fatal(err)
	}
	s := state(t, w)
	var got, want []string
	for _, span := range spansOf(&s) {
		if span.Begin.IsZero() || span.Seconds < 0 {
			t.Errorf("%s: from %v, %v s", span.Text, span.Begin, span.Seconds)
		}
		got = append(got, span.Text)
	}
	for _, step := range s.Job.VM.Steps {
		want = append(want, step.Text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("spans of %q\nwant %q", got, want)
	}
}
