package domain

import (
	"slices"
	"testing"

	"esxodus/inventory"
)

// TestNICOrder places NICs where a guest counts them as it did on VMware.
func TestNICOrder(t *testing.T) {
	tests := []struct {
		name  string
		slots []int
		want  []string
	}{
		{"by index", []int{160, 192, 224}, []string{"01:00.0", "02:00.0", "03:00.0"}},
		{"the fourth is first", []int{192, 224, 256, 1184}, []string{"02:00.0", "03:00.0", "04:00.0", "01:00.0"}},
		{"second functions", []int{160, 192, 1184, 1216, 2208}, []string{"01:00.0", "04:00.0", "02:00.0", "05:00.0", "03:00.0"}},
		{"unknown slots", []int{192, 0, 160}, []string{"01:00.0", "02:00.0", "03:00.0"}},
	}
	for _, tt := range tests {
		r := must(t, func(vm *inventory.VM, _ *Options) {
			n := vm.NICs[0]
			vm.NICs = nil
			for i, slot := range tt.slots {
				n.Index, n.PCISlot = i, slot
				vm.NICs = append(vm.NICs, n)
			}
		})
		var got []string
		for _, i := range r.Domain.Devices.Interfaces {
			got = append(got, showPCI(i.Address))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}

func TestLetters(t *testing.T) {
	for n, want := range map[int]string{0: "a", 25: "z", 26: "aa", 27: "ab", 51: "az", 52: "ba", 701: "zz", 702: "aaa"} {
		if got := letters(n); got != want {
			t.Errorf("letters(%d) = %s; want %s", n, got, want)
		}
	}
}
