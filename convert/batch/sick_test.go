package batch

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/domain"
	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/convert/plan/plantest"
	"esxodus/convert/runs"
	"esxodus/convert/survey"
	"esxodus/convert/volume"
	"esxodus/inventory"
)

// TestSickVM: a VM that can't be planned is listed with a blocker and its
// advice; the VM beside it is planned as if it were alone, saved, read back and
// migrated.
func TestSickVM(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		id, evidence, advice string
		change               func(vm *inventory.VM)
	}{
		"invalid": {plan.ConcernConfig, "no configuration", "vim-cmd vmsvc/reload 8", func(vm *inventory.VM) {
			*vm = inventory.VM{ID: "8", Name: "sick", Power: inventory.PowerUnknown, ConnectionState: "invalid"}
		}},
		"orphaned": {plan.ConcernConfig, "no configuration", "register the VM again", func(vm *inventory.VM) {
			*vm = inventory.VM{ID: "8", Name: "sick", Power: inventory.PoweredOff, ConnectionState: "orphaned"}
		}},
		"disconnected": {plan.ConcernConfig, "no configuration", "can't be reached", func(vm *inventory.VM) {
			*vm = inventory.VM{ID: "8", Name: "sick", Power: inventory.PoweredOn, ConnectionState: "disconnected"}
		}},
		"no config, connected": {plan.ConcernConfig, "no configuration", "get.config 8", func(vm *inventory.VM) {
			*vm = inventory.VM{ID: "8", Name: "sick", Power: inventory.PoweredOff, ConnectionState: "connected"}
		}},
		"no CPU":            {plan.ConcernConfig, "0 CPUs", "numvcpus", func(vm *inventory.VM) { vm.CPU.Count = 0 }},
		"fewer than no CPU": {plan.ConcernConfig, "-3 CPUs", "numvcpus", func(vm *inventory.VM) { vm.CPU.Count = -3 }},
		"no memory":         {plan.ConcernConfig, "0 MiB", "memSize", func(vm *inventory.VM) { vm.Memory.SizeMiB = 0 }},
		"absurd memory":     {plan.ConcernConfig, "9223372036854775807 MiB", "memSize", func(vm *inventory.VM) { vm.Memory.SizeMiB = 1<<63 - 1 }},
		"disk of 0":         {domain.ConcernCapacity, "0 bytes", "vmkfstools -q", func(vm *inventory.VM) { vm.Disks[1].Capacity = 0 }},
		"negative disk":     {domain.ConcernCapacity, "-512 bytes", "vmkfstools -q", func(vm *inventory.VM) { vm.Disks[1].Capacity = -512 }},
		"disk over 64 TiB":  {domain.ConcernCapacity, "70368744178176 bytes", "vmkfstools -q", func(vm *inventory.VM) { vm.Disks[1].Capacity = 64<<40 + 512 }},
		"half a sector":     {domain.ConcernCapacity, "1000 bytes", "vmkfstools -q", func(vm *inventory.VM) { vm.Disks[1].Capacity = 1000 }},
		"two disks, one place": {plan.ConcernUnplanned, "two disks at scsi0:0", "plan again", func(vm *inventory.VM) {
			vm.Disks[1].Unit = 0
			vm.Problems = []string{"two devices at scsi0:0"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			sick := plantest.VM()
			sick.ID, sick.Name, sick.BIOSUUID, sick.InstanceUUID = "8", "sick", "564d0000-0000-0000-0000-000000000008", "520d0000-0000-0000-0000-000000000008"
			w.Own(&sick)
			sick.NICs = slices.Clone(sick.NICs)
			sick.NICs[0].MAC = "00:50:56:01:02:99"
			tt.change(&sick)
			o := w.Options()
			alone := gathered(t, w, o)
			w.Host.VMs = []inventory.VM{sick, w.Host.VMs[0]}
			p := gathered(t, w, o)
			if len(p.VMs) != 2 || p.VMs[0].Source.ID != "8" {
				t.Fatalf("%d VMs in the plan, want the sick one and the other", len(p.VMs))
			}
			i := slices.IndexFunc(p.Blockers(0), func(c ledger.Concern) bool {
				return c.ID == tt.id && strings.Contains(c.Evidence, tt.evidence) && strings.Contains(c.Advice, tt.advice)
			})
			if i < 0 {
				t.Errorf("blockers %+v; want %s with %q and %q", p.Blockers(0), tt.id, tt.evidence, tt.advice)
			}
			if got, want := asJSON(t, p.VMs[1]), asJSON(t, alone.VMs[0]); got != want {
				t.Errorf("the other VM is planned as\n%s\nalone it is\n%s", got, want)
			}
			checkBatch(t, w, p)
		})
	}
}

// TestOddVMBlocksNoOther: what blocks one VM is its own, whatever its names are,
// and room that it won't take isn't missed.
func TestOddVMBlocksNoOther(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(vm *inventory.VM){
		"port group in quotes":       func(vm *inventory.VM) { vm.NICs[0].PortGroup = `VLAN "7"` },
		"port group with U+0092":     func(vm *inventory.VM) { vm.NICs[0].PortGroup = "Bob\u0092s" },
		"a LUN larger than the room": func(vm *inventory.VM) { vm.Disks[0].RDM, vm.Disks[0].Capacity = "vml.02", 60<<40 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			odd := plantest.VM()
			odd.ID, odd.Name, odd.BIOSUUID = "8", "odd", "564d0000-0000-0000-0000-000000000008"
			odd.NICs[0].MAC = "00:50:56:01:02:99"
			w.Own(&odd)
			change(&odd)
			w.Host.VMs = []inventory.VM{odd, w.Host.VMs[0]}
			p := converttest.Planned(t, plan.Facts{Host: &w.Host, Storage: volume.Facts{Free: 1 << 40}, Target: plan.TargetFacts{VirtTypes: []string{"qemu"}}}, w.Options())
			if len(p.Blockers(0)) == 0 || len(p.Blockers(1)) > 0 {
				t.Errorf("blockers of the odd one %+v, of the other %+v; want some, and none", p.Blockers(0), p.Blockers(1))
			}
		})
	}
}

func gathered(t *testing.T, w *converttest.World, o plan.Options) *plan.Plan {
	t.Helper()
	draft, err := survey.Gather(t.Context(), w.Sources(), plan.Source{}, o)
	if err != nil {
		t.Fatalf("Gather: %v", err)
	}
	return draft.Finish()
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkBatch saves and reads the plan, and migrates what can be.
func checkBatch(t *testing.T, w *converttest.World, p *plan.Plan) {
	t.Helper()
	var read plan.Plan
	if err := json.Unmarshal([]byte(asJSON(t, p)), &read); err != nil {
		t.Fatal(err)
	}
	if err := read.Check(); err != nil {
		t.Fatalf("Check: %v", err)
	}
	results := Run(t.Context(), &read, w.State(), effects(w), Options{Parallel: 1})
	if r := results[0]; r.Did != DidRefuse || r.Error == "" || r.Advice == "" || r.Phase != "" {
		t.Errorf("the sick VM: %+v; want it refused with advice", r)
	}
	if r := results[1]; r.Error != "" || r.Phase != runs.PhaseReady {
		t.Errorf("the other VM: %+v; want it ready", r)
	}
}

// unnamed is a storage that can't make one VM's volumes.
type unnamed struct {
	volume.Storage
	bad string
}

func (u unnamed) Volume(name string, size int64) (volume.Volume, error) {
	if strings.HasPrefix(name, u.bad) {
		return volume.Volume{}, errors.New("no room for such a name")
	}
	return u.Storage.Volume(name, size)
}

// TestUnnameableVolume: a volume that the storage can't even name is no end of
// gathering.
func TestUnnameableVolume(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	e := w.Sources()
	e.Storage = unnamed{e.Storage, "web"}
	if _, err := survey.Gather(t.Context(), e, plan.Source{}, w.Options()); err != nil {
		t.Errorf("Gather = %v; want no error", err)
	}
}
