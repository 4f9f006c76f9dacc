package vmdk

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	"esxodus/disk"
)

// maxOverhead bounds what is no grain and no table, in bytes: what stands before the
// first grain, and what stands behind a marker that isn't known.
const maxOverhead = 1 << 20

// Stream is a streamOptimized disk that is read in one pass, as a lease of ESXi sends it
// (Virtual Disk Format 5.0, "Stream-Optimized Compressed Sparse Extents"). It is a
// [disk.Stream]. What the tables, the directory and the footer say at the end must be
// what came before, so that a stream which lacks anything is never taken for a whole one.
type Stream struct {
	in    *bufio.Reader
	at    int64 // bytes read
	desc  Descriptor
	h     Header
	run   disk.Run
	after int64 // the first grain that may come
	sum   tally
	// directory and footer are where those were found, in sectors; 0: not yet.
	directory, footer int64
	idle              int64 // markers that can yet come without a grain
	scratch           sync.Pool
}

// OpenStream reads what stands before the first grain. Its errors, and those of the
// stream's methods, are those of [Open].
func OpenStream(r io.Reader) (*Stream, error) {
	s := &Stream{in: bufio.NewReaderSize(r, 64<<10)}
	var b [sectorSize]byte
	if err := s.full(b[:], "header"); err != nil {
		return nil, err
	}
	var err error
	if s.h, err = ParseHeader(b[:]); err != nil {
		return nil, err
	}
	if !s.h.Compressed() || s.h.Directory >= 0 {
		return nil, fmt.Errorf("%w: not written to be read in one pass: it has no footer; read it as a file", ErrUnsupported)
	}
	if err := s.preamble(); err != nil {
		return nil, err
	}
	s.idle = 2*s.h.tables() + 16
	s.sum = tally{grains: sha256.New(), entries: sha256.New()}
	return s, nil
}

// preamble reads the descriptor and what else stands before the grains.
func (s *Stream) preamble() error {
	end := max(s.h.Overhead, 1) * sectorSize
	from, n := s.h.DescriptorOffset*sectorSize, s.h.DescriptorSize*sectorSize
	if end > maxOverhead || n > maxDescriptor || from < sectorSize || from+n > end {
		return fmt.Errorf("%w: header: descriptor of %d bytes at %d, before the first grain at %d", ErrFormat, n, from, end)
	}
	b := make([]byte, end-sectorSize)
	if err := s.full(b, "descriptor"); err != nil {
		return err
	}
	text, _, _ := bytes.Cut(b[from-sectorSize:][:n], []byte{0})
	var err error
	if s.desc, err = ParseDescriptor(text); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	if s.desc.HasParent() {
		return fmt.Errorf("%w: the stream has a snapshot's changes only", ErrUnsupported)
	}
	if len(s.desc.Extents) != 1 || s.desc.Extents[0].Sectors != s.h.Capacity {
		return fmt.Errorf("%w: embedded descriptor: want one extent of %d sectors, as the header has it", ErrFormat, s.h.Capacity)
	}
	return nil
}

// Size is the disk's size in bytes.
func (s *Stream) Size() int64 { return s.h.Capacity * sectorSize }

// Descriptor is the disk's description. It must not be changed.
func (s *Stream) Descriptor() Descriptor { return s.desc }

// Read is how many bytes have come.
func (s *Stream) Read() int64 { return s.at }

// Next implements [disk.Stream].
func (s *Stream) Next() (disk.Run, error) {
	for {
		at := s.at
		var b [sectorSize]byte
		if err := s.full(b[:grainMarker], "marker"); err != nil {
			return disk.Run{}, err
		}
		if m := parseMarker(b[:]); m.size != 0 {
			return s.grain(m, at)
		}
		if err := s.full(b[grainMarker:], "marker"); err != nil {
			return disk.Run{}, err
		}
		if err := s.meta(parseMarker(b[:]), at); err != nil {
			return disk.Run{}, err
		}
	}
}

// grain is the grain whose marker is at this offset.
func (s *Stream) grain(m marker, at int64) (disk.Run, error) {
	size := s.h.GrainSize * sectorSize
	number := int64(m.count) / s.h.GrainSize
	switch {
	case s.directory != 0:
		return disk.Run{}, fmt.Errorf("%w: offset %d: %v after the grain directory", ErrFormat, at, m)
	case m.count >= uint64(s.h.Capacity) || int64(m.count)%s.h.GrainSize != 0:
		return disk.Run{}, fmt.Errorf("%w: offset %d: %v of a disk of %d", ErrFormat, at, m, s.h.Capacity)
	case number < s.after:
		return disk.Run{}, fmt.Errorf("%w: offset %d: %v, but the one before was for sector %d", ErrFormat, at, m, (s.after-1)*s.h.GrainSize)
	case int64(m.size) > compressedLimit(size):
		return disk.Run{}, fmt.Errorf("%w: offset %d: compressed grain of %d bytes", ErrFormat, at+8, m.size)
	}
	s.after = number + 1
	s.sum.grain(number, at/sectorSize)
	s.run = disk.Run{Offset: number * size, Length: min(size, s.Size()-number*size), Packed: int64(m.size)}
	return s.run, nil
}

// Packed implements [disk.Stream].
func (s *Stream) Packed(buf []byte) ([]byte, error) {
	was, n := len(buf), int(s.run.Packed)
	padded := n + int(-(s.at+int64(n))&(sectorSize-1))
	buf = slices.Grow(buf, padded)[:was+padded]
	if err := s.full(buf[was:], "grain"); err != nil {
		return buf[:was], err
	}
	s.run = disk.Run{}
	return buf[:was+n], nil
}

// Unpack implements [disk.Stream].
func (s *Stream) Unpack(p, packed []byte) error {
	f, ok := s.scratch.Get().(*inflater)
	if !ok {
		f = new(inflater)
	}
	defer s.scratch.Put(f)
	if err := f.inflate(p, packed, s.h.GrainSize*sectorSize); err != nil {
		return fmt.Errorf("%w: compressed grain: %w", ErrFormat, err)
	}
	return nil
}

// meta reads what stands behind a metadata marker. At the stream's end it returns
// [io.EOF].
func (s *Stream) meta(m marker, at int64) error {
	if s.idle--; s.idle < 0 {
		return fmt.Errorf("%w: offset %d: %v: more of them than the disk can need", ErrFormat, at, m)
	}
	var err error
	switch {
	case m.kind > markerFooter && m.count <= maxOverhead/sectorSize: // VMware's open-vmdk has one of progress
		err = s.full(make([]byte, m.count*sectorSize), "what a marker announces")
	case m.kind == markerTable && s.directory == 0 && m.count == tableSectors:
		err = s.table()
	case m.kind == markerDirectory && s.directory == 0 && m.count == uint64(sectors(s.h.tables()*4)):
		s.directory = s.at / sectorSize
		err = s.readDirectory()
	case m.kind == markerFooter && s.directory != 0 && s.footer == 0 && m.count == 1:
		s.footer = s.at / sectorSize
		err = s.readFooter()
	case m == (marker{}) && s.footer != 0:
		return s.end()
	default:
		return fmt.Errorf("%w: offset %d: %v where none can be", ErrFormat, at, m)
	}
	return err
}

// table reads a grain table.
func (s *Stream) table() error {
	at := s.at / sectorSize
	var b [tableEntries * 4]byte
	if err := s.full(b[:], "grain table"); err != nil {
		return err
	}
	if s.sum.tables() >= s.h.tables() {
		return fmt.Errorf("%w: offset %d: a grain table more than the %d that the disk has", ErrFormat, at*sectorSize, s.h.tables())
	}
	s.sum.table(b[:], at, s.h.zeroGrains())
	return nil
}

// readDirectory holds the grain directory against what has come.
func (s *Stream) readDirectory() error {
	if !s.sum.agree() {
		return fmt.Errorf("%w: offset %d: the grain tables list other grains than have come", ErrFormat, s.directory*sectorSize)
	}
	slices.Sort(s.sum.empty)
	left := s.h.tables()
	var b [sectorSize]byte
	first := int64(0)
	for ; left > 0; left -= sectorSize / 4 {
		if err := s.full(b[:], "grain directory"); err != nil {
			return err
		}
		n := min(left, sectorSize/4)
		if !s.sum.directory(b[:n*4], first) {
			return fmt.Errorf("%w: offset %d: the grain directory lists other tables than have come", ErrFormat, s.at-sectorSize)
		}
		first += n
	}
	if len(s.sum.used) > 0 {
		return fmt.Errorf("%w: offset %d: the grain directory lacks %d tables that have come", ErrFormat, s.directory*sectorSize, len(s.sum.used))
	}
	return nil
}

func (s *Stream) readFooter() error {
	var b [sectorSize]byte
	if err := s.full(b[:], "footer"); err != nil {
		return err
	}
	f, err := ParseHeader(b[:])
	if err != nil {
		return fmt.Errorf("footer at %d: %w", s.footer*sectorSize, err)
	}
	if !footerOf(&s.h, f) || f.Directory != s.directory {
		return fmt.Errorf("%w: footer at %d differs from the header in more than the grain directory, which is in sector %d",
			ErrFormat, s.footer*sectorSize, s.directory)
	}
	return nil
}

// end makes sure that nothing follows.
func (s *Stream) end() error {
	switch _, err := s.in.ReadByte(); {
	case errors.Is(err, io.EOF):
		return io.EOF
	case err != nil:
		return fmt.Errorf("offset %d: %w", s.at, err)
	}
	return fmt.Errorf("%w: offset %d: more follows the end-of-stream marker", ErrFormat, s.at)
}

// full fills b with what comes next.
func (s *Stream) full(b []byte, what string) error {
	n, err := io.ReadFull(s.in, b)
	s.at += int64(n)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s: the stream ends at %d bytes, before its end-of-stream marker: it was cut short: %w", ErrFormat, what, s.at, io.ErrUnexpectedEOF)
	case err != nil:
		return fmt.Errorf("%s: offset %d: %w", what, s.at, err)
	}
	return nil
}

// tally holds what the tables and the directory say against what has come. Grains
// ascend, and so do the tables, so that it need not remember any grain. Sectors are 32
// bits wide in tables and directory: of a stream of over 2 TiB, whose reader doesn't need
// them, they are what is left of theirs.
type tally struct {
	grains, entries hash.Hash // of each grain's number in its table, and its sector
	owners          []int64   // numbers of the tables that grains have come for
	used, empty     []uint32  // sectors of tables, with entries and without
}

// grain counts the grain of this number, whose marker is in this sector.
func (t *tally) grain(number, sector int64) {
	t.grains.Write(pair(number%tableEntries, uint32(sector))) // never an error
	if owner := number / tableEntries; len(t.owners) == 0 || t.owners[len(t.owners)-1] != owner {
		t.owners = append(t.owners, owner)
	}
}

func pair(number int64, sector uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(nil, uint64(number)), sector)
}

// tables is how many have come.
func (t *tally) tables() int64 { return int64(len(t.used) + len(t.empty)) }

// table counts the table in this sector.
func (t *tally) table(b []byte, sector int64, zeroGrains bool) {
	used := false
	for i := range int64(tableEntries) {
		at := binary.LittleEndian.Uint32(b[i*4:])
		if at == 0 || at == 1 && zeroGrains {
			continue
		}
		used = true
		t.entries.Write(pair(i, at)) // never an error
	}
	if used {
		t.used = append(t.used, uint32(sector))
	} else {
		t.empty = append(t.empty, uint32(sector))
	}
}

// agree reports whether the tables list the grains.
func (t *tally) agree() bool {
	return len(t.owners) == len(t.used) && bytes.Equal(t.grains.Sum(nil), t.entries.Sum(nil))
}

// directory takes the tables off that the directory's entries from first on list. False:
// they list others.
func (t *tally) directory(b []byte, first int64) bool {
	for i := range int64(len(b) / 4) {
		at := binary.LittleEndian.Uint32(b[i*4:])
		owns := len(t.owners) > 0 && t.owners[0] == first+i
		switch {
		case owns && t.used[0] == at:
			t.owners, t.used = t.owners[1:], t.used[1:]
		case owns:
			return false
		case at == 0:
		default:
			if _, ok := slices.BinarySearch(t.empty, at); !ok {
				return false
			}
		}
	}
	return true
}
