package esxi

import (
	"errors"
	"testing"

	fixture "esxodus/fixtures/esxi"
)

// TestExportable: whether the host says that a VM can be exported.
func TestExportable(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
	c := dialHost(t, h)
	h.Faults().Disable("web", "PowerOnVM_Task", "ExportVm")
	for vm, want := range map[string]bool{"web": false, "snapped": true} {
		if can, err := c.Exportable(t.Context(), h.ID(vm)); can != want || err != nil {
			t.Errorf("Exportable(%s) = %t, %v; want %t", vm, can, err, want)
		}
	}
	if can, err := c.Exportable(t.Context(), "4711"); can || !errors.Is(err, ErrNotFound) {
		t.Errorf("Exportable of no VM = %t, %v; want %v", can, err, ErrNotFound)
	}
	if _, err := c.Export(t.Context(), h.ID("web")); !errors.Is(err, ErrLocked) {
		t.Errorf("Export of a VM that has it disabled = %v; want %v", err, ErrLocked)
	}
}
