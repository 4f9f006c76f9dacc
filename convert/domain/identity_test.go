package domain

import (
	"strings"
	"testing"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

func TestUUID(t *testing.T) {
	tests := []struct {
		name, bios string
		hw         int
		guestID    string
		want       string
	}{
		{"new Linux", "421f245c-7fa8-60fa-6af6-a46351ced0eb", 13, "debian10_64Guest", "5c241f42-a87f-fa60-6af6-a46351ced0eb"},
		{"old Linux", "421f245c-7fa8-60fa-6af6-a46351ced0eb", 11, "debian10_64Guest", "421f245c-7fa8-60fa-6af6-a46351ced0eb"},
		{"old Windows", "421f245c-7fa8-60fa-6af6-a46351ced0eb", 11, "windows7Guest", "5c241f42-a87f-fa60-6af6-a46351ced0eb"},
		{"unknown version", "421f245c-7fa8-60fa-6af6-a46351ced0eb", 0, "debian10_64Guest", "5c241f42-a87f-fa60-6af6-a46351ced0eb"},
	}
	for _, tt := range tests {
		r := must(t, func(vm *inventory.VM, _ *Options) {
			vm.BIOSUUID, vm.HardwareVersion, vm.GuestID = tt.bios, tt.hw, tt.guestID
		})
		if r.Domain.UUID != tt.want {
			t.Errorf("%s: uuid = %s; want %s", tt.name, r.Domain.UUID, tt.want)
		}
	}
	for _, bad := range []string{"", "x", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"} {
		r := must(t, func(vm *inventory.VM, _ *Options) { vm.BIOSUUID = bad })
		if !has(r, ConcernUUID, ledger.Warning) || len(r.Domain.UUID) != 36 || r.Domain.UUID == bad {
			t.Errorf("UUID %q: %s, %v", bad, r.Domain.UUID, r.Concerns)
		}
	}
}

// TestBlankSMBIOS: texts that come to nothing leave no empty element, which
// libvirt refuses, after all has been copied.
func TestBlankSMBIOS(t *testing.T) {
	t.Parallel()
	for _, id := range []string{web().BIOSUUID, ""} { // with "" the domain has no serial of its own
		r := must(t, func(vm *inventory.VM, _ *Options) {
			vm.BIOSUUID, vm.SMBIOS = id, inventory.SMBIOS{Serial: " ", Model: "\t", Board: " ", AssetTag: "\n"}
		})
		for _, element := range []string{"<baseBoard", "<chassis", "<system></system>"} {
			if strings.Contains(r.XML, element) {
				t.Errorf("UUID %q: %s in %s", id, element, r.XML)
			}
		}
	}
}
