package doctor

import (
	"fmt"

	"esxodus/convert/ledger"
	"esxodus/convert/volume"
	"esxodus/inventory/fit"
)

// pool tells of the thin pool that was named as storage.
func (v *stay) pool(f volume.Facts) {
	p := f.Pool
	v.ok("storage", fmt.Sprintf("thin pool %s: %s of %s free, in chunks of %s; its volumes have %s; %s free for its metadata",
		p.Name, fit.Bytes(f.Free), fit.Bytes(p.Size), fit.Bytes(p.Chunk), fit.Bytes(p.Virtual), fit.Bytes(p.Metadata)))
	if p.Virtual > p.Size {
		v.add("pool", ledger.Warning, fmt.Sprintf("the volumes of the thin pool %s may take more than it has", p.Name),
			"watch `lvs -o +data_percent`, or have it extended by itself: thin_pool_autoextend_threshold in lvm.conf, see `man lvmthin`")
	}
	if p.Waits {
		v.add("pool", ledger.Note, fmt.Sprintf("what is written to %s when it is full waits for a minute, and fails then", p.Name),
			"`lvchange --errorwhenfull y "+p.Name+"` has domains pause at once (`virsh resume` once there is space); leave it where the pool is extended by itself, which takes some of that minute")
	}
}
