package vmdk

import (
	"encoding/binary"
	"fmt"

	"esxodus/disk/internal/readat"
)

// The kinds of metadata marker in a streamOptimized extent.
const (
	markerEnd       = 0
	markerTable     = 1
	markerDirectory = 2
	markerFooter    = 3
)

// marker is the head of a sector in a streamOptimized extent: of a grain if
// size isn't 0, then count is the grain's first sector on the disk; else of
// count sectors of metadata.
type marker struct {
	count uint64
	size  uint32 // bytes of compressed data
	kind  uint32
}

const grainMarker = 12 // bytes before a grain's compressed data

// parseMarker decodes the first 16 bytes of b.
func parseMarker(b []byte) marker {
	le := binary.LittleEndian
	return marker{count: le.Uint64(b), size: le.Uint32(b[8:]), kind: le.Uint32(b[12:])}
}

func (m marker) String() string {
	if m.size != 0 {
		return fmt.Sprintf("a grain of %d bytes for sector %d", m.size, m.count)
	}
	return fmt.Sprintf("a marker of type %d for %d sectors", m.kind, m.count)
}

// readFooter replaces the header, which says only that there is a footer, by
// the footer. A stream that was cut short has none.
func (s *sparse) readFooter() error {
	const length = 3 * sectorSize // footer marker, footer, end-of-stream marker
	at := s.file.Size() - length
	if at < sectorSize || at%sectorSize != 0 {
		return s.cutShort()
	}
	var b [length]byte
	if err := readat.Full(s.file, b[:], at); err != nil {
		return fmt.Errorf("footer at %d: %w", at, err)
	}
	if parseMarker(b[:]) != (marker{count: 1, kind: markerFooter}) || parseMarker(b[2*sectorSize:]) != (marker{}) {
		return s.cutShort()
	}
	f, err := ParseHeader(b[sectorSize:])
	if err != nil {
		return fmt.Errorf("footer at %d: %w", at+sectorSize, err)
	}
	if !footerOf(&s.h, f) {
		return fmt.Errorf("%w: footer at %d differs from the header in more than the grain directory", ErrFormat, at+sectorSize)
	}
	s.h, s.marked = f, true
	return s.checkDirectoryMarker()
}

// footerOf reports whether f can be the footer of a stream with the header h: what only
// the end knows may differ.
func footerOf(h *Header, f Header) bool {
	want := *h
	want.Directory, want.Version, want.Unclean = f.Directory, f.Version, f.Unclean
	return f == want && f.Directory >= 0
}

func (s *sparse) cutShort() error {
	return fmt.Errorf("%w: no footer and end-of-stream marker at the file's end (%d bytes): the stream is cut short; copy or export it again",
		ErrFormat, s.file.Size())
}

func (s *sparse) checkDirectoryMarker() error {
	at := (s.h.Directory - 1) * sectorSize
	if at < sectorSize || at > s.file.Size()-sectorSize {
		return fmt.Errorf("%w: footer: grain directory in sector %d of a file of %d bytes", ErrFormat, s.h.Directory, s.file.Size())
	}
	var b [16]byte
	if err := readat.Full(s.file, b[:], at); err != nil {
		return fmt.Errorf("marker of the grain directory at %d: %w", at, err)
	}
	if m := parseMarker(b[:]); m.size != 0 || m.kind != markerDirectory || m.count != uint64(sectors(s.h.tables()*4)) {
		return fmt.Errorf("%w: offset %d: want the marker of the grain directory, found %v", ErrFormat, at, m)
	}
	return nil
}
