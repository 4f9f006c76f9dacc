package lilo

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// streamSeed is what the sums of streams and of stage 2 start from.
const streamSeed = 0x4f4c494c // "LILO"

// sum is the loader's checksum: of 32-bit words, a short last one filled with
// zeros. Every change of a single word changes it, and so does the order. It is
// no defence against malice: who can change the kernel can change the map.
func sum(seed uint32, b []byte) uint32 {
	for ; len(b) >= 4; b = b[4:] {
		seed = step(seed, binary.LittleEndian.Uint32(b))
	}
	if len(b) > 0 {
		var last [4]byte
		copy(last[:], b)
		seed = step(seed, binary.LittleEndian.Uint32(last[:]))
	}
	return seed
}

func step(h, word uint32) uint32 {
	return bits.RotateLeft32(h^word, 13)*5 + 0xe6546b64
}

// sumReader sums n bytes of r.
func sumReader(r io.Reader, n int64) (uint32, error) {
	h := uint32(streamSeed)
	buf := make([]byte, min(n, 64<<10)&^3+4)
	for n > 0 {
		part := buf[:min(n, int64(len(buf)))]
		if _, err := io.ReadFull(r, part); err != nil {
			return 0, fmt.Errorf("%d bytes before the end: %w", n, err)
		}
		h = sum(h, part)
		n -= int64(len(part))
	}
	return h, nil
}

// sealed reports whether a sector of the map is whole and of this map.
func sealed(sector []byte, id uint32) bool {
	return sum(id, sector[:sealAt]) == binary.LittleEndian.Uint32(sector[sealAt:])
}

func seal(sector []byte, id uint32) {
	binary.LittleEndian.PutUint32(sector[sealAt:], sum(id, sector[:sealAt]))
}

// sealAt is the offset of a sector's sum.
const sealAt = SectorSize - 4
