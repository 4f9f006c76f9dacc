package inventory

import (
	"slices"
	"testing"
)

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

// TestBusOrder: function 1 of a bridge comes right after its function 0; an unknown
// place leaves all as they are.
func TestBusOrder(t *testing.T) {
	for _, tt := range []struct{ slots, want []int }{
		{nil, []int{}},
		{[]int{192, 224, 256, 1184}, []int{3, 0, 1, 2}},
		{[]int{1184, 160, 33, 32}, []int{3, 2, 1, 0}},
		{[]int{224, 192, 0}, []int{0, 1, 2}},
	} {
		var nics []NIC
		for _, s := range tt.slots {
			nics = append(nics, NIC{PCISlot: s})
		}
		if got := BusOrder(nics); !slices.Equal(got, tt.want) {
			t.Errorf("BusOrder(%v) = %v, want %v", tt.slots, got, tt.want)
		}
	}
}
