package plan

import (
	"testing"

	"esxodus/convert/ledger"
	"esxodus/convert/volume"
)

// TestCoarsePool: where a pool's chunks hold far more than what is written into them, the
// disks' whole size may be taken, which is said.
func TestCoarsePool(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, tt := range []struct {
		chunk, size, data int64
		warned            bool
	}{
		{64 << 10, 200 * mib, 50 * mib, false},
		{512 * mib, 200 * mib, 50 * mib, true},
		{512 * mib, 90 * mib, 50 * mib, false},
		{512 * mib, 200 * mib, 150 * mib, false}, // which a blocker says
	} {
		s := &volume.Facts{Free: 100 * mib, Pool: &volume.Pool{Name: "vg0/pool", Size: 1 << 40, Chunk: tt.chunk, Metadata: 1 << 30}}
		warned := false
		for _, c := range poolConcerns(s, tt.size, tt.data, 1) {
			warned = warned || c.ID == ConcernSpace && c.Severity == ledger.Warning
		}
		if warned != tt.warned {
			t.Errorf("chunks of %d, %d of %d bytes written: warned %v", tt.chunk, tt.data, tt.size, warned)
		}
	}
}
