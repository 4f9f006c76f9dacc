package extfs

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"esxodus/disk/internal/readat"
)

// maxDescriptors is how many group descriptors [FS.Faults] reads: those of 2 TiB.
const maxDescriptors = 1 << 14

const (
	stateErrors = 0x2

	roDescSums     = 0x10
	roMetadataSums = 0x400

	incompatSeed = 0x2000

	superSum = 1020
	descSum  = 30
)

// sums is what the checksums of a file system are made with.
type sums struct {
	metadata, desc bool // CRC-32C of all metadata; else CRC-16 of group descriptors
	uuid           []byte
	seed           uint32
	super          bool // the superblock's is not what it says
}

func parseSums(b []byte, incompat uint32) sums {
	le := binary.LittleEndian
	if le.Uint32(b[76:]) == 0 { // revision
		return sums{}
	}
	features := le.Uint32(b[100:])
	s := sums{metadata: features&roMetadataSums != 0, desc: features&roDescSums != 0, uuid: b[104:120]}
	if s.seed = crc32c(1<<32-1, s.uuid); incompat&incompatSeed != 0 {
		s.seed = le.Uint32(b[624:])
	}
	s.super = s.metadata && crc32c(1<<32-1, b[:superSum]) != le.Uint32(b[superSum:])
	return s
}

// Faults says what the superblock and the group descriptors have that e2fsck
// would go after, and which of that makes a kernel refuse the file system.
// It reads nothing else: none found doesn't mean that there are none. An error is
// of reading.
func (f *FS) Faults() (faults, refused []string, err error) {
	if f.errors != "" {
		faults = append(faults, f.errors)
	}
	if f.sums.super {
		refused = append(refused, "the checksum of its superblock is wrong")
	}
	if f.NeedsRecovery() || !f.sums.metadata && !f.sums.desc {
		return faults, refused, nil
	}
	for n := range min(f.groups(), maxDescriptors) {
		b := make([]byte, f.descSize)
		if err := readat.Full(f.r, b, f.descriptorAt(n)); err != nil {
			return nil, nil, fmt.Errorf("descriptor of group %d: %w", n, err)
		}
		if f.sums.ofDescriptor(n, b) != binary.LittleEndian.Uint16(b[descSum:]) {
			refused = append(refused, fmt.Sprintf("the checksum of the descriptor of group %d is wrong", n))
		}
	}
	return faults, refused, nil
}

// ofDescriptor is the checksum that a group's descriptor ought to have.
func (s sums) ofDescriptor(group int64, b []byte) uint16 {
	number := binary.LittleEndian.AppendUint32(nil, uint32(group)) // at most maxDescriptors
	if s.metadata {
		sum := crc32c(crc32c(s.seed, number), b[:descSum])
		return uint16(crc32c(crc32c(sum, []byte{0, 0}), b[descSum+2:]) & 0xffff)
	}
	return crc16(crc16(crc16(crc16(1<<16-1, s.uuid), number), b[:descSum]), b[descSum+2:])
}

// crc32c goes on with a CRC-32C that is not inverted at its ends.
func crc32c(sum uint32, b []byte) uint32 {
	return ^crc32.Update(^sum, crc32.MakeTable(crc32.Castagnoli), b)
}

// crc16 goes on with a CRC-16 of the polynomial 0x8005, reflected.
func crc16(sum uint16, b []byte) uint16 {
	for _, c := range b {
		sum ^= uint16(c)
		for range 8 {
			low := sum & 1
			if sum >>= 1; low != 0 {
				sum ^= 0xa001
			}
		}
	}
	return sum
}
