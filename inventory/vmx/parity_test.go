package vmx

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"esxodus/inventory"
	"esxodus/inventory/esxi"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	fixture "esxodus/fixtures/esxi"
)

// TestBothRoads reads every VM of a host through the API and from its .vmx:
// the models must be the same in all that a .vmx can tell.
func TestBothRoads(t *testing.T) {
	host, err := fixture.Start(t.Context(), fixture.Options{Builtin: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	u, _, err := esxi.ParseURL(host.User() + "@" + strings.TrimPrefix(host.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := esxi.Dial(t.Context(), esxi.Config{URL: u, Password: esxi.Secret(host.Password()), Thumbprint: host.Thumbprint(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) })
	h, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(h.VMs) < 12 {
		t.Fatalf("the fixture has %d VMs; want at least 12", len(h.VMs))
	}
	for _, api := range h.VMs {
		t.Run(api.Name, func(t *testing.T) {
			b, err := c.ReadFile(t.Context(), api.Path, maxSize)
			if err != nil {
				t.Fatal(err)
			}
			// The fixture writes a level "custom" before the number, which
			// ESXi does not.
			b = bytes.ReplaceAll(b, []byte("sched.cpu.shares = \"custom\"\n"), nil)
			b = bytes.ReplaceAll(b, []byte("sched.mem.shares = \"custom\"\n"), nil)
			f, err := Parse(b)
			if err != nil {
				t.Fatalf("%v in\n%s", err, b)
			}
			file, err := f.vm(api.Path)
			if err != nil {
				t.Fatal(err)
			}
			if f.Values["bios.bootorder"] == "" { // nor does it write bootOptions
				api.BootOrder = nil
			}
			mapStores(&file, h.Datastores)
			if diff := cmp.Diff(asFile(api), file, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("API and .vmx differ (-API +.vmx):\n%s\n%s", diff, b)
			}
		})
	}
}

// asFile takes out of a VM what only a host can know.
func asFile(vm inventory.VM) inventory.VM {
	vm.ID, vm.ChangeVersion, vm.GuestFullName, vm.ConnectionState, vm.Template = "", "", "", "", false
	vm.Power, vm.Tools, vm.AutoStart, vm.Snapshots, vm.ConsolidationNeeded = inventory.PowerUnknown, inventory.Tools{}, nil, nil, false
	vm.USBDevices = nil // the fixture's .vmx leaves them out
	vm.Passthrough = slices.Clone(vm.Passthrough)
	for i := range vm.Passthrough { // the API adds the device's name
		vm.Passthrough[i], _, _ = strings.Cut(vm.Passthrough[i], " ")
	}
	vm.Disks, vm.NICs = slices.Clone(vm.Disks), slices.Clone(vm.NICs)
	for i := range vm.Disks {
		d := &vm.Disks[i]
		d.Label, d.Capacity, d.UUID, d.ContentID, d.Format, d.Thin, d.EagerZeroed = "", 0, "", "", "flat", false, false
		d.Parents, d.Files, d.RDM = nil, nil, ""
	}
	for i := range vm.NICs {
		vm.NICs[i].Label, vm.NICs[i].Connected = "", false
	}
	return vm
}

// mapStores turns /vmfs/volumes/<uuid>/x into [datastore] x.
func mapStores(vm *inventory.VM, stores []inventory.Datastore) {
	fix := func(p *string) {
		for _, d := range stores {
			if rest, ok := strings.CutPrefix(*p, strings.TrimPrefix(d.URL, "ds://")); ok {
				*p = fmt.Sprintf("[%s] %s", d.Name, rest)
			}
		}
	}
	for i := range vm.Disks {
		fix(&vm.Disks[i].Path)
	}
	for i := range vm.CDROMs {
		fix(&vm.CDROMs[i].ISO)
	}
}
