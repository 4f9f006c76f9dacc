package main

import (
	"slices"
	"testing"

	"esxodus/convert/plan"
	"esxodus/convert/runs"
)

// TestUnitPlaces: a batch that goes on by itself may write where its disks and journals
// are, and where units are only if it puts domains in their VMs' place.
func TestUnitPlaces(t *testing.T) {
	t.Parallel()
	p := &plan.Plan{Target: plan.Target{Storage: "dir:/srv/v m"}, Source: plan.Source{Scratch: "/scratch"}}
	for _, cutover := range []bool{false, true} {
		got := unitProperties(runs.StateDir("/var/lib/x"), p, cutover)
		for place, want := range map[string]bool{`"/var/lib/x"`: true, `"/srv/v m"`: true, `"/scratch"`: true, `"-/etc/systemd/system"`: cutover, `"/"`: false} {
			if is := slices.Contains(got, "ReadWritePaths="+place); is != want {
				t.Errorf("cutover %v: may write to %s: %v", cutover, place, is)
			}
		}
	}
}
