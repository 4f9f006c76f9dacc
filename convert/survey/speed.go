package survey

import (
	"context"
	"time"

	"esxodus/convert/plan"
	"esxodus/disk"
	"esxodus/inventory"
)

const (
	// speedTime is how long a host's speed is measured, over as many connections as a copy
	// begins with.
	speedTime        = time.Second
	speedConnections = 4
	// leastMeasured is the size in bytes of the smallest disk that tells anything.
	leastMeasured = 256 << 20
)

// speed measures how fast the host serves the largest disk that could be looked into, in
// bytes a second; 0 where that can't be told. What a lease has brought says nothing of it.
func speed(ctx context.Context, h Host, f *plan.Facts, o *plan.Options, vms []*inventory.VM) int64 {
	var of *inventory.VM
	var largest *inventory.Disk
	for _, vm := range vms {
		if f.Unread[vm.ID] != nil || closed(&f.Source, o, vm) != nil {
			continue
		}
		for i := range vm.Disks {
			d := &vm.Disks[i]
			if way := f.Source.Origin(d, o.Way(vm)).Way; way != plan.WayNFC && d.Capacity >= leastMeasured && (largest == nil || d.Capacity > largest.Capacity) {
				of, largest = vm, d
			}
		}
	}
	if largest == nil {
		return 0
	}
	img, done, err := h.OpenDisk(ctx, f.Source.Origin(largest, o.Way(of)))
	if err != nil {
		return 0
	}
	defer func() { _ = done() }() // read only
	rate, err := disk.Measure(ctx, img, speedConnections, speedTime)
	if err != nil {
		return 0
	}
	return int64(rate)
}
