package esxi

import (
	"net/http"
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
		return `<objects><obj type="VirtualMachine">` + id + `</obj><propSet><name>name</name><val xsi:type="xsd:string">vm` + id + `</val></propSet>` +
			`<propSet><name>config</name><val xsi:type="VirtualMachineConfigInfo"><hardware><numCPU>` + cpus + `</numCPU><memoryMB>4</memoryMB></hardware></val></propSet></objects>`
	}
	name := func(id string) string {
		return `<objects><obj type="VirtualMachine">` + id + `</obj><propSet><name>name</name><val xsi:type="xsd:string">vm` + id + `</val></propSet></objects>`
	}
	const sick = "99999999999"
	cfg := liar(t, func(w http.ResponseWriter, method, body string) {
		switch {
		case method == "RetrieveServiceContent":
			envelope(w, serviceContent)
		case method == "Login":
			envelope(w, loginResponse)
		case method != "RetrievePropertiesEx":
			w.WriteHeader(http.StatusNotFound)
		case strings.Contains(body, "HostSystem</type>"), !strings.Contains(body, "VirtualMachine</type>"):
			envelope(w, page("", `<objects><obj type="HostSystem">ha-host</obj><propSet><name>name</name><val xsi:type="xsd:string">h</val></propSet></objects>`))
		case !strings.Contains(body, "<pathSet>config</pathSet>"):
			envelope(w, page("", name("1")+name("2")))
		case strings.Contains(body, ">1</obj>"):
			envelope(w, page("", vm("1", sick)))
		case strings.Contains(body, ">2</obj>"):
			envelope(w, page("", vm("2", "2")))
		default:
			envelope(w, page("", vm("1", sick)+vm("2", "2")))
		}
	})
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	h, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(h.VMs) != 2 || h.VMs[0].Name != "vm1" || len(h.VMs[0].Problems) != 1 || h.VMs[1].CPU.Count != 2 || len(h.VMs[1].Problems) > 0 {
		t.Errorf("VMs %+v; want one with a problem and one without", h.VMs)
	}
}
