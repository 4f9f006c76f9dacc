package plan

import (
	"fmt"
	"strings"

	"esxodus/convert/domain"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// maxDisk is in bytes: ESXi's largest disk has 62 TiB, a physical mapping 64.
const maxDisk = 64 << 40

// sick says why no domain can be planned for a VM: it is listed with these
// blockers and nothing else, and the others are planned all the same.
func sick(vm *inventory.VM, s Source) []ledger.Concern {
	var out []ledger.Concern
	add := func(id, subject, evidence, advice string) {
		out = append(out, ledger.Concern{ID: id, Severity: ledger.Blocker, Subject: subject, Evidence: evidence, Advice: advice})
	}
	if vm.CPU.Count == 0 && vm.Memory.SizeMiB == 0 && s.From != "" {
		add(ConcernConfig, "", "its .vmx can't be read", "mend "+vm.Path+", or leave the VM out: give the names of the others")
	} else if vm.CPU.Count == 0 && vm.Memory.SizeMiB == 0 {
		add(ConcernConfig, "", "ESXi shows no configuration of the VM", configAdvice(vm))
	} else {
		if n := vm.CPU.Count; n < 1 {
			add(ConcernConfig, "", fmt.Sprintf("the VM has %d CPUs", n), "give it at least one on ESXi: numvcpus in its .vmx")
		}
		if n := vm.Memory.SizeMiB; n < 1 || n > domain.MaxMemoryMiB {
			add(ConcernConfig, "", fmt.Sprintf("the VM has %d MiB of memory", n), "set its memory on ESXi: memSize in its .vmx")
		}
	}
	for _, d := range vm.Disks {
		if d.Capacity == 0 && s.From != "" {
			add(ConcernUnread, d.Address(), "its descriptor can't be read: "+d.Path, "copy or mount all that the VM is made of into "+s.From+", as it was on the datastores")
			continue
		}
		if d.Capacity <= 0 || d.Capacity%512 != 0 || d.Capacity > maxDisk {
			add(domain.ConcernCapacity, d.Address(), fmt.Sprintf("capacity of %d bytes: no disk has that size", d.Capacity),
				fmt.Sprintf("check %s on the host (vmkfstools -q, and its descriptor): fix it, or remove the disk from the VM", d.Path))
		}
	}
	return out
}

// configAdvice is what to do about a VM of which ESXi has nothing but a name.
func configAdvice(vm *inventory.VM) string {
	id := vm.ID
	switch strings.ToLower(vm.ConnectionState) {
	case "invalid":
		return "its .vmx can't be read: fix it, then on ESXi's shell run vim-cmd vmsvc/reload " + id + "; or unregister the VM"
	case "orphaned":
		return "its files are no longer where the host knows them: register the VM again, or unregister it"
	case "inaccessible", "disconnected":
		return "its datastore can't be reached: make it available again, then plan again; or unregister the VM"
	}
	return "check it on ESXi (vim-cmd vmsvc/get.config " + id + "): reload, register again or unregister it"
}

// unplanned is a VM's part of a plan where none can be made.
func unplanned(vm *inventory.VM, f *Facts, o Options, why []ledger.Concern) VMPlan {
	v := VMPlan{
		Name: domain.Name(vm.Name), Source: *vm, Guest: f.Guests[vm.ID], Layout: layout.Layout{Kind: layout.Keep},
		Disks: []Disk{}, Steps: []Step{}, Ledger: []ledger.Entry{}, Concerns: why,
	}
	v.Concerns = append(v.Concerns, stateConcerns(vm)...)
	v.Concerns = append(v.Concerns, powerConcerns(vm, *f, o)...)
	for _, p := range vm.Problems {
		v.Concerns = append(v.Concerns, ledger.Concern{
			ID: domain.ConcernProblem, Severity: ledger.Blocker, Evidence: p, Advice: "check the VM's settings on the host",
		})
	}
	return v
}

// failed is the blocker of a VM whose plan came to an error.
func failed(err error) []ledger.Concern {
	return []ledger.Concern{{
		ID: ConcernUnplanned, Severity: ledger.Blocker, Evidence: err.Error(),
		Advice: "fix on ESXi what is named here, and plan again; the other VMs of the plan are not affected",
	}}
}

// Plannable are the VMs that aren't sick.
func Plannable(vms []*inventory.VM) []*inventory.VM {
	var out []*inventory.VM
	for _, vm := range vms {
		if len(sick(vm, Source{})) == 0 {
			out = append(out, vm)
		}
	}
	return out
}
