package inventory

import "testing"

// TestSlotName has the names that were seen on ESXi 6.7 and 7.
func TestSlotName(t *testing.T) {
	t.Parallel()
	for slot, want := range map[int]string{
		0: "", -1: "", 160: "ens160", 192: "ens192", 224: "ens224", 256: "ens256",
		1184: "ens161", 1216: "ens193", 1248: "ens225", 1280: "ens257", 2208: "ens162",
	} {
		if got := (NIC{PCISlot: slot}).SlotName(); got != want {
			t.Errorf("slot %d is %q; want %q", slot, got, want)
		}
	}
}
