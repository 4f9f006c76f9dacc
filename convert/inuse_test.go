package convert

import (
	"strings"
	"testing"
)

// TestRollbackInUse: nothing is undone while a domain runs from the volumes.
func TestRollbackInUse(t *testing.T) {
	w := newWorld(t)
	if err, _ := apply(t.Context(), w, w.create()); err != nil {
		t.Fatal(err)
	}
	j := w.open()
	path := j.Job().VM.Disks[1].Volume.Path
	w.domains = []KnownDomain{{Name: "renamed", Active: true, Disks: []string{path}}}
	err := Rollback(t.Context(), j, effects(w))
	if err == nil || !strings.Contains(err.Error(), "renamed is running from") {
		t.Errorf("Rollback under a running domain = %v", err)
	}
	if cerr := j.Close(); cerr != nil {
		t.Fatal(cerr)
	}
	w.checkDone()
}
