package convert

import (
	"context"
	"fmt"
	"slices"

	"esxodus/inventory"
)

// recheck reads the host anew and compares the VM with the plan's.
func (a *act) recheck(ctx context.Context) error {
	a.Progress.Step(a.job.VM.Name, "check that the source is off and unchanged")
	h, err := a.Host.Inventory(ctx)
	if err != nil {
		return keep(err)
	}
	planned := &a.job.VM.Source
	i := slices.IndexFunc(h.VMs, func(vm inventory.VM) bool { return vm.ID == planned.ID })
	if i < 0 {
		return fmt.Errorf("%q (id %s) is no longer on %s; plan anew", planned.Name, planned.ID, h.Name)
	}
	return unchanged(planned, &h.VMs[i])
}

// unchanged tells what of a VM is no longer as planned, so that a plan made
// on Monday doesn't copy Tuesday's other disk. A VM that the plan itself shut
// down has a newer change version and content ID; its disks must still be the
// same files of the same size.
func unchanged(planned, now *inventory.VM) error {
	if now.Power != inventory.PoweredOff {
		return fmt.Errorf("%q is %s: its disks change under the copy; shut it down (or plan with --shutdown)", now.Name, now.Power)
	}
	differs := func(what string, was, is any) error {
		return fmt.Errorf("%q has changed since the plan: %s was %v and is %v; plan anew", now.Name, what, was, is)
	}
	wasOff := planned.Power == inventory.PoweredOff
	switch {
	case now.InstanceUUID != planned.InstanceUUID:
		return differs("instance UUID", planned.InstanceUUID, now.InstanceUUID)
	case wasOff && now.ChangeVersion != planned.ChangeVersion:
		return differs("change version", planned.ChangeVersion, now.ChangeVersion)
	case len(now.Disks) != len(planned.Disks):
		return differs("the number of disks", len(planned.Disks), len(now.Disks))
	case len(now.Snapshots) != len(planned.Snapshots):
		return differs("the number of snapshots", len(planned.Snapshots), len(now.Snapshots))
	}
	for i, d := range planned.Disks {
		n := now.Disks[i]
		switch {
		case n.Path != d.Path:
			return differs("the file of "+d.Address(), d.Path, n.Path)
		case n.Capacity != d.Capacity:
			return differs("the size of "+d.Address(), d.Capacity, n.Capacity)
		case wasOff && n.ContentID != d.ContentID:
			return differs("the content ID of "+d.Address(), d.ContentID, n.ContentID)
		}
	}
	return nil
}
