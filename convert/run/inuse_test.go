package run

import (
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/plan"
)

// TestRollbackInUse: nothing is undone while a domain runs from the volumes.
func TestRollbackInUse(t *testing.T) {
	w := converttest.New(t)
	if err, _ := apply(t.Context(), w, w.Create()); err != nil {
		t.Fatal(err)
	}
	j := w.Open()
	path := j.Job().VM.Disks[1].Volume.Path
	w.Domains = []plan.KnownDomain{{Name: "renamed", Active: true, Disks: []string{path}}}
	err := Rollback(t.Context(), j, effects(w))
	if err == nil || !strings.Contains(err.Error(), "renamed is running from") {
		t.Errorf("Rollback under a running domain = %v", err)
	}
	if cerr := j.Close(); cerr != nil {
		t.Fatal(cerr)
	}
	w.CheckDone()
}
