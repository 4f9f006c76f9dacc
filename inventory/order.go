package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

func address(class string, bus, unit int) string {
	return fmt.Sprintf("%s%d:%d", class, bus, unit)
}

// classRank is the order in which VMware's BIOS offers disks when neither
// bios.bootOrder nor bios.hddOrder says otherwise.
func classRank(class string) int {
	return slices.Index([]string{"sata", "ide", "scsi", "nvme"}, class)
}

// Sort brings disks, NICs and controllers into the documented order: numbers
// as numbers, so that scsi0:2 stands before scsi0:10. What reads a source
// calls it once when the VM is complete.
func (vm *VM) Sort() {
	slices.SortStableFunc(vm.Disks, func(a, b Disk) int {
		return cmp.Or(classRank(a.Class)-classRank(b.Class), a.Bus-b.Bus, a.Unit-b.Unit)
	})
	slices.SortStableFunc(vm.NICs, func(a, b NIC) int { return a.Index - b.Index })
	slices.SortStableFunc(vm.Controllers, func(a, b Controller) int {
		return cmp.Or(classRank(a.Class)-classRank(b.Class), a.Bus-b.Bus)
	})
	slices.SortStableFunc(vm.CDROMs, func(a, b CDROM) int {
		return cmp.Or(classRank(a.Class)-classRank(b.Class), a.Bus-b.Bus, a.Unit-b.Unit)
	})
}

// Find returns the VM whose ID or name is key. Two VMs may have one name;
// then the error lists their IDs.
func (h *Host) Find(key string) (*VM, error) {
	var found []*VM
	for i := range h.VMs {
		if h.VMs[i].ID == key {
			return &h.VMs[i], nil
		}
		if h.VMs[i].Name == key {
			found = append(found, &h.VMs[i])
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("no VM on %s has the name or id %q%s", h.Name, key, h.like(key))
	}
	ids := make([]string, len(found))
	for i, vm := range found {
		ids[i] = vm.ID
	}
	return nil, fmt.Errorf("%d VMs are called %q: give the id of one: %v", len(found), key, ids)
}

// like says which VM may have been meant by what none is called.
func (h *Host) like(key string) string {
	for i := range h.VMs {
		if strings.EqualFold(h.VMs[i].Name, strings.TrimSpace(key)) {
			return fmt.Sprintf(", but one is called %q", h.VMs[i].Name)
		}
	}
	return ""
}

// Select returns the VMs that the keys name, in their order; with no keys, all
// that aren't templates.
func (h *Host) Select(keys []string) ([]*VM, error) {
	var vms []*VM
	if len(keys) == 0 {
		for i := range h.VMs {
			if !h.VMs[i].Template {
				vms = append(vms, &h.VMs[i])
			}
		}
		return vms, nil
	}
	seen := make(map[string]bool)
	for _, key := range keys {
		vm, err := h.Find(key)
		if err != nil {
			return nil, err
		}
		if !seen[vm.ID] {
			vms = append(vms, vm)
		}
		seen[vm.ID] = true
	}
	return vms, nil
}
