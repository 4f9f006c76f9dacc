// Package ntfs reads as much of an NTFS volume as it takes to tell which of its
// clusters hold nothing; it never writes. Sources: what ntfs-3g and libfsntfs,
// libvshadow say of the format, and what mkntfs makes of it.
//
// Every number from the disk is checked before it is used, and memory is bounded
// whatever the volume says.
//
// Words: a cluster is the unit of allocation; the master file table (MFT) has a
// record for every file, of which the first ones are the volume's own; a record
// holds attributes, named or not, each resident in it or in runs of clusters; an
// attribute of too many runs is in pieces, in records that an attribute list
// names; a virtual cluster number (VCN) counts from the attribute's start, a logical
// one (LCN) from the volume's.
package ntfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"esxodus/disk/internal/readat"
)

// ErrFormat is wrapped by errors that say that the bytes make no sense or use
// a feature that is not read here. Other errors are of reading.
var ErrFormat = errors.New("malformed NTFS volume")

const (
	bootSize   = 512
	maxCluster = 2 << 20

	// bootBytes is what $Boot has at the volume's start, bytes.
	bootBytes = 8 << 10
)

// FS is an open volume. It keeps no cache; the reader under it should. Several
// goroutines may use it.
type FS struct {
	r           io.ReaderAt
	sector      int64 // bytes
	cluster     int64 // bytes
	clusters    int64 // that can be allocated
	recordSize  int64 // bytes
	table       int64 // LCN of the MFT's first record
	mirror      int64 // LCN of the copy of its first records
	encrypted   bool  // by BitLocker: nothing else is known
	mft         *stream
	mirrorBytes int64
}

// Open reads the boot sector of the volume in the first size bytes of r, and
// where its master file table lies. A volume that BitLocker has encrypted can be
// opened, but nothing is told of it.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	b := make([]byte, bootSize)
	if size < bootSize {
		return nil, fmt.Errorf("%w: %d bytes are too few", ErrFormat, size)
	}
	if err := readat.Full(r, b, 0); err != nil {
		return nil, fmt.Errorf("boot sector: %w", err)
	}
	if string(b[3:11]) == "-FVE-FS-" {
		return &FS{encrypted: true}, nil
	}
	f, err := parseBoot(b, size)
	if err != nil {
		return nil, err
	}
	f.r = r
	if _, err := f.open(recordMFT, typeData, ""); err != nil {
		return nil, fmt.Errorf("master file table: %w", err)
	}
	return f, nil
}

// parseBoot decodes the boot sector of a volume in size bytes.
func parseBoot(b []byte, size int64) (*FS, error) {
	le := binary.LittleEndian
	if string(b[3:11]) != "NTFS    " || b[510] != 0x55 || b[511] != 0xaa {
		return nil, fmt.Errorf("%w: no boot sector", ErrFormat)
	}
	sector, cluster := int64(le.Uint16(b[11:])), int64(b[13])
	if cluster > 0x80 {
		cluster = 1 << min(256-cluster, 62) // clusters of more than 64 KiB: a negative power of 2
	}
	switch {
	case sector < 512 || sector > 4096 || bits.OnesCount64(uint64(sector)) != 1:
		return nil, fmt.Errorf("%w: sectors of %d bytes", ErrFormat, sector)
	case cluster == 0 || bits.OnesCount64(uint64(cluster)) != 1 || cluster > maxCluster/sector:
		return nil, fmt.Errorf("%w: clusters of %d sectors", ErrFormat, cluster)
	case le.Uint16(b[14:]) != 0 || b[16] != 0 || le.Uint32(b[17:]) != 0 || le.Uint16(b[22:]) != 0 || le.Uint32(b[32:]) != 0:
		return nil, fmt.Errorf("%w: its boot sector has what only that of a FAT has", ErrFormat)
	}
	sectors := le.Uint64(b[40:])
	if sectors == 0 || sectors > uint64(size/sector) {
		return nil, fmt.Errorf("%w: it claims %d sectors of %d bytes in a space of %d bytes", ErrFormat, sectors, sector, size)
	}
	f := &FS{sector: sector, cluster: sector * cluster, clusters: int64(sectors) / cluster} // bounded
	n := int64(int8(b[64]))
	switch {
	case n > 0:
		f.recordSize = n * f.cluster
	case n > -62:
		f.recordSize = 1 << -n
	}
	if f.recordSize != 1024 && f.recordSize != 4096 {
		return nil, fmt.Errorf("%w: its file records have %d bytes", ErrFormat, f.recordSize)
	}
	table, mirror := le.Uint64(b[48:]), le.Uint64(b[56:])
	f.mirrorBytes = max(4*f.recordSize, f.cluster) // the first four records
	if limit := f.clusters - max(f.recordSize, f.mirrorBytes)/f.cluster; table == 0 || limit <= 0 || table >= uint64(limit) || mirror >= uint64(limit) {
		return nil, fmt.Errorf("%w: its master file table is at cluster %d and the copy at %d, of %d", ErrFormat, table, mirror, f.clusters)
	}
	f.table, f.mirror = int64(table), int64(mirror) // bounded
	return f, nil
}
