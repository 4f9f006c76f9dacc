package domain

import (
	"testing"

	"esxodus/inventory"
)

func TestTopology(t *testing.T) {
	tests := []struct{ count, cores, sockets, wantCores int }{
		{4, 2, 2, 2}, {4, 4, 1, 4}, {4, 1, 4, 1}, {1, 1, 1, 1}, {3, 2, 3, 1}, {2, 4, 2, 1}, {8, 0, 8, 1}, {6, -1, 6, 1},
	}
	for _, tt := range tests {
		r := must(t, func(vm *inventory.VM, _ *Options) { vm.CPU.Count, vm.CPU.CoresPerSocket = tt.count, tt.cores })
		top := r.Domain.CPU.Topology
		if top.Sockets != tt.sockets || top.Cores != tt.wantCores || int(r.Domain.VCPU.Value) != tt.count || top.Sockets*top.Cores != tt.count {
			t.Errorf("%d CPUs @ %d = %d sockets x %d cores, %d CPUs; want %d x %d", tt.count, tt.cores, top.Sockets, top.Cores, r.Domain.VCPU.Value, tt.sockets, tt.wantCores)
		}
	}
}
