package esxi

import (
	"strings"
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

// TestFutureDevice: a device of a type that this program's library has no name
// for is told.
func TestFutureDevice(t *testing.T) {
	t.Parallel()
	const in = `<ObjectContent xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><obj type="VirtualMachine">1</obj><propSet><name>config</name>` +
		`<val xsi:type="VirtualMachineConfigInfo"><hardware><numCPU>2</numCPU><memoryMB>4</memoryMB><device xsi:type="VirtualFluxCapacitor"><key>77</key></device></hardware></val></propSet></ObjectContent>`
	var content types.ObjectContent
	if err := decodeObject([]byte(in), &content); err != nil {
		t.Fatal(err)
	}
	vm := mapVM(object{ref: content.Obj, props: map[string]any{"config": content.PropSet[0].Val}})
	if len(vm.Other) != 1 || !strings.Contains(vm.Other[0], "kind that this version") {
		t.Errorf("other devices %q; want it told", vm.Other)
	}
}

// TestUnreadableAnswer: numbers that are none, of one VM, end the inventory of
// no other, and are told of that one.
func TestUnreadableAnswer(t *testing.T) {
	t.Parallel()
	vm := func(id, cpus string) string {
		return nameOnly(id, "vm"+id, `<propSet><name>config</name><val xsi:type="VirtualMachineConfigInfo"><hardware><numCPU>`+cpus+`</numCPU><memoryMB>4</memoryMB></hardware></val></propSet>`)
	}
	sick, well := vm("1", "99999999999"), vm("2", "2")
	h := inventoryOf(t, func(question string) string {
		switch {
		case !strings.Contains(question, "<pathSet>config</pathSet>"):
			return nameOnly("1", "vm1", "") + nameOnly("2", "vm2", "")
		case strings.Contains(question, ">1</obj>"):
			return sick
		case strings.Contains(question, ">2</obj>"):
			return well
		}
		return sick + well
	})
	if len(h.VMs) != 2 || h.VMs[0].Name != "vm1" || len(h.VMs[0].Problems) != 1 || h.VMs[1].CPU.Count != 2 || len(h.VMs[1].Problems) > 0 {
		t.Errorf("VMs %+v; want one with a problem and one without", h.VMs)
	}
}
