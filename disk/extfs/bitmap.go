package extfs

import (
	"encoding/binary"
	"math/bits"
)

// bitmap has a bit for each cluster of a group, set where it's used.
type bitmap []byte

// set marks the clusters from one to before another as used.
func (b bitmap) set(from, to int64) {
	for ; from < to && from%8 != 0; from++ {
		b[from/8] |= 1 << (from % 8)
	}
	for ; to-from >= 8; from += 8 {
		b[from/8] = 0xff
	}
	for ; from < to; from++ {
		b[from/8] |= 1 << (from % 8)
	}
}

// or marks as used what another has as used.
func (b bitmap) or(other bitmap) {
	for i := range min(len(b), len(other)) {
		b[i] |= other[i]
	}
}

// unused counts the clusters that aren't used, of the first n.
func (b bitmap) unused(n int64) int64 {
	used := 0
	for _, c := range b[:n/8] {
		used += bits.OnesCount8(c)
	}
	if n%8 > 0 {
		used += bits.OnesCount8(b[n/8] & (1<<(n%8) - 1))
	}
	return n - int64(used)
}

// next is the first cluster from one on that is used, or that isn't; n is behind
// the last one.
func (b bitmap) next(from, n int64, used bool) int64 {
	skip := byte(0xff)
	if used {
		skip = 0
	}
	for from < n {
		if from%64 == 0 && from+64 <= n && binary.LittleEndian.Uint64(b[from/8:]) == uint64(skip)*0x0101010101010101 {
			from += 64
			continue
		}
		if b[from/8]>>(from%8)&1 != skip&1 {
			return from
		}
		from++
	}
	return n
}
