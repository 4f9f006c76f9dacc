package vmdk

import (
	"encoding/binary"
	"fmt"
	"math"
)

const (
	sparseMagic   = "KDMV"
	tableEntries  = 512 // of every grain table
	tableSectors  = tableEntries * 4 / sectorSize
	minGrain      = 8    // sectors
	maxGrain      = 2048 // sectors: 1 MiB
	directoryLast = math.MaxUint64

	flagNewline    = 1 << 0
	flagZeroGrains = 1 << 2
	flagCompressed = 1 << 16
	flagMarkers    = 1 << 17
	flagsMust      = 0xffff << 16 // a reader that doesn't know one of these must not go on
)

// Header is the header of a hosted sparse extent (Virtual Disk Format 5.0,
// "Hosted Sparse Extents"). Sizes and offsets are in sectors.
type Header struct {
	Version          uint32
	Flags            uint32
	Capacity         int64
	GrainSize        int64 // a power of 2
	DescriptorOffset int64 // 0: none embedded
	DescriptorSize   int64
	Directory        int64 // offset of the grain directory; -1: in the footer
	Overhead         int64 // where grains may begin
	Unclean          bool  // the file wasn't closed by who wrote it last
}

// Compressed reports whether the grains are compressed, with markers.
func (h *Header) Compressed() bool { return h.Flags&flagCompressed != 0 }

// zeroGrains reports whether an entry of 1 means a grain of zeros.
func (h *Header) zeroGrains() bool { return h.Flags&flagZeroGrains != 0 }

// tables is the number of grain tables.
func (h *Header) tables() int64 {
	per := h.GrainSize * tableEntries
	return (h.Capacity + per - 1) / per
}

// ParseHeader decodes the first 512 bytes of a sparse extent, or its footer. It
// returns an error wrapping [ErrFormat] when b is not a header or has impossible
// values, and one wrapping [ErrUnsupported] for what VMware doesn't write.
func ParseHeader(b []byte) (Header, error) {
	le := binary.LittleEndian
	if len(b) < sectorSize {
		return Header{}, fmt.Errorf("%w: header: %d of %d bytes", ErrFormat, len(b), sectorSize)
	}
	if string(b[:4]) != sparseMagic {
		return Header{}, fmt.Errorf("%w: header: no magic number %q", ErrFormat, sparseMagic)
	}
	h := Header{Version: le.Uint32(b[4:]), Flags: le.Uint32(b[8:]), Unclean: b[72] != 0}
	if h.Version < 1 || h.Version > 3 {
		return Header{}, fmt.Errorf("%w: header: version %d", ErrUnsupported, h.Version)
	}
	if h.Flags&flagNewline != 0 && [4]byte(b[73:]) != [4]byte{'\n', ' ', '\r', '\n'} {
		return Header{}, fmt.Errorf("%w: header offset 73: line ends were changed on the way: copy the file again in binary mode", ErrFormat)
	}
	if entries := le.Uint32(b[44:]); entries != tableEntries {
		return Header{}, fmt.Errorf("%w: header offset 44: %d entries per grain table, want %d", ErrFormat, entries, tableEntries)
	}
	if err := h.sizes(b); err != nil {
		return Header{}, err
	}
	return h, h.compression(le.Uint16(b[77:]))
}

// sizes decodes and checks the 64-bit fields.
func (h *Header) sizes(b []byte) error {
	fields := []struct {
		name     string
		offset   int
		min, max uint64
		to       *int64
	}{
		{"capacity", 12, 1, maxSectors, &h.Capacity},
		{"grain size", 20, minGrain, maxGrain, &h.GrainSize},
		{"descriptor offset", 28, 0, math.MaxUint32, &h.DescriptorOffset},
		{"descriptor size", 36, 0, math.MaxUint32, &h.DescriptorSize},
		{"overhead", 64, 0, math.MaxUint32, &h.Overhead},
	}
	for _, f := range fields {
		v := binary.LittleEndian.Uint64(b[f.offset:])
		if v < f.min || v > f.max {
			return fmt.Errorf("%w: header offset %d: %s of %d sectors, want %d to %d", ErrFormat, f.offset, f.name, v, f.min, f.max)
		}
		*f.to = int64(v)
	}
	if h.GrainSize&(h.GrainSize-1) != 0 {
		return fmt.Errorf("%w: header offset 20: grain size of %d sectors is not a power of 2", ErrFormat, h.GrainSize)
	}
	switch gd := binary.LittleEndian.Uint64(b[56:]); {
	case gd == directoryLast:
		h.Directory = -1
	case gd == 0 || gd > math.MaxUint32:
		return fmt.Errorf("%w: header offset 56: grain directory in sector %d", ErrFormat, gd)
	default:
		h.Directory = int64(gd)
	}
	return nil
}

// compression checks the flags that change how grains are stored.
func (h *Header) compression(algorithm uint16) error {
	if odd := h.Flags & flagsMust &^ (flagCompressed | flagMarkers); odd != 0 {
		return fmt.Errorf("%w: header offset 8: unknown flags %#x", ErrUnsupported, odd)
	}
	switch {
	case h.Compressed() && algorithm != 1:
		return fmt.Errorf("%w: header offset 77: compression %d, only 1 (deflate) is known", ErrUnsupported, algorithm)
	case h.Compressed() != (h.Flags&flagMarkers != 0):
		return fmt.Errorf("%w: header offset 8: compressed grains need markers, and markers need them; the flags are %#x", ErrUnsupported, h.Flags)
	case !h.Compressed() && h.Directory < 0:
		return fmt.Errorf("%w: header offset 56: a footer, but no compressed stream", ErrUnsupported)
	}
	return nil
}
