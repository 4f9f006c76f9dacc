package plan

import (
	"fmt"

	"esxodus/convert/ledger"
	"esxodus/convert/volume"
	"esxodus/inventory/fit"
)

// mappingSize is what a thin pool's metadata takes in bytes for each chunk that is
// given out, at most: an entry of 16 in nodes that may be half full, and the counts
// of its use. lvmthin(7) reckons with 64.
const mappingSize = 64

// coarseChunk is from which size on a pool's chunks may hold much that isn't written:
// guests' file systems scatter less than that.
const coarseChunk = 4 << 20

// Room is what the storage had free when the plan was made, and what the VMs that
// aren't blocked take of it, in bytes. It is of that moment: a saved plan has none.
type Room struct {
	Free    int64
	Written int64 // what is taken at once, as far as that is known
	Most    int64 // what all of the volumes may take
	// Of a thin pool, "" for other storage.
	Pool     string
	PoolSize int64
	Promised int64 // what its volumes have, with those of the plan
}

// room sums up what the VMs take of the storage.
func room(p *Plan, s *volume.Facts) *Room {
	r := &Room{Free: s.Free}
	for i := range p.VMs {
		v := &p.VMs[i]
		if v.blocked() { // it isn't copied, and mustn't keep others from it
			continue
		}
		r.Most += v.Sizes.Target
		r.Written += v.written()
	}
	switch {
	case s.Pool != nil:
		r.Pool, r.PoolSize, r.Promised = s.Pool.Name, s.Pool.Size, s.Pool.Virtual+r.Most
	case !s.Sparse:
		r.Written = r.Most // a logical volume has all its extents
	}
	return r
}

// spaceConcerns compares what the VMs need with the storage's room.
func spaceConcerns(p *Plan, s *volume.Facts) []ledger.Concern {
	r := p.Room
	if s.Pool == nil {
		return roomConcerns(p.Target.Storage, r.Most, s)
	}
	chunks := (r.Written + s.Pool.Chunk - 1) / s.Pool.Chunk
	return poolConcerns(s, r.Most, r.Written, chunks)
}

// written is how much is written to volumes that take no space for zeros, as far as
// that is known.
func (v *VMPlan) written() int64 {
	if v.AllBlocks {
		return v.Sizes.Provisioned - v.Sizes.Zero
	}
	return v.Sizes.Read()
}

// roomConcerns are those of files and of volumes that have all their extents.
func roomConcerns(storage string, size int64, s *volume.Facts) []ledger.Concern {
	if size <= s.Free {
		return nil
	}
	severity := ledger.Blocker // a volume group can't give more than it has
	if s.Sparse {
		severity = ledger.Warning // sparse files may well fit
	}
	return []ledger.Concern{{
		ID: ConcernSpace, Severity: severity, Subject: storage,
		Evidence: fmt.Sprintf("the disks need up to %s, %s more than is free", fit.Bytes(size), fit.Bytes(size-s.Free)),
		Advice:   "make room, choose another --storage, or plan fewer VMs at a time",
	}}
}

// poolConcerns are those of thin volumes of size bytes, of which data are written.
func poolConcerns(s *volume.Facts, size, data, chunks int64) []ledger.Concern {
	var out []ledger.Concern
	p := s.Pool
	if data > s.Free {
		out = append(out, ledger.Concern{
			ID: ConcernSpace, Severity: ledger.Blocker, Subject: p.Name,
			Evidence: fmt.Sprintf("up to %s are written to the thin pool %s, %s more than it has free", fit.Bytes(data), p.Name, fit.Bytes(data-s.Free)),
			Advice:   fmt.Sprintf("extend it (lvextend --size +%db %s), choose another --storage, or plan fewer VMs at a time", data-s.Free, p.Name),
		})
	}
	if p.Chunk >= coarseChunk && data <= s.Free && size > s.Free {
		out = append(out, ledger.Concern{
			ID: ConcernSpace, Severity: ledger.Warning, Subject: p.Name,
			Evidence: fmt.Sprintf("the thin pool %s gives its space out in chunks of %s: what is scattered over the disks may take up to %s, %s more than it has free", p.Name, fit.Bytes(p.Chunk), fit.Bytes(size), fit.Bytes(size-s.Free)),
			Advice:   "make room for the disks' whole size, choose a pool with smaller chunks, or plan fewer VMs at a time",
		})
	}
	if need := chunks * mappingSize; need > p.Metadata {
		out = append(out, ledger.Concern{
			ID: ConcernSpace, Severity: ledger.Blocker, Subject: p.Name,
			Evidence: fmt.Sprintf("the metadata of the thin pool %s may grow by %s, %s more than is free", p.Name, fit.Bytes(need), fit.Bytes(need-p.Metadata)),
			Advice:   fmt.Sprintf("extend it: lvextend --poolmetadatasize +%db %s", need-p.Metadata, p.Name),
		})
	}
	if promised := p.Virtual + size; promised > p.Size {
		full := "then the domains that write to it pause"
		if p.Waits {
			full = "then what its domains write waits, and after a minute they pause"
		}
		out = append(out, ledger.Concern{
			ID: ConcernOvercommit, Severity: ledger.Warning, Subject: p.Name,
			Evidence: fmt.Sprintf("the volumes of the thin pool %s have %s with those of this plan, %s more than the pool", p.Name, fit.Bytes(promised), fit.Bytes(promised-p.Size)),
			Advice:   "don't let it fill up: " + full + "; watch `lvs -o +data_percent`, or have it extended by itself (thin_pool_autoextend_threshold in lvm.conf)",
		})
	}
	return out
}
