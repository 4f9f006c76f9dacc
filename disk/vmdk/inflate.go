package vmdk

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"esxodus/disk/internal/readat"
)

// window is how much of a compressed extent is read at once, in bytes.
const windowSize = 1 << 20

// compressedLimit bounds the compressed size of a grain. zlib at its worst adds
// five bytes per 16 KiB and a few more, other compressors may do worse.
func compressedLimit(grain int64) int64 { return grain + grain/8 + 1024 }

func (s *sparse) maxCompressed() int64 { return compressedLimit(s.grain) }

// inflater is what one goroutine needs to read compressed grains.
type inflater struct {
	window []byte // bytes of the file
	at     int64  // where they are from
	raw    bytes.Reader
	z      io.ReadCloser
	rest   [512]byte // what lies behind the disk's end
	grain  []byte    // the last grain that wasn't wanted whole
	index  int64     // its number, -1: none
}

func (s *sparse) inflater() *inflater {
	if f, ok := s.scratch.Get().(*inflater); ok {
		return f
	}
	return &inflater{window: make([]byte, 0, max(windowSize, grainMarker+s.maxCompressed())), index: -1}
}

// readCompressed fills p from off of an extent with compressed grains, as read does.
func (s *sparse) readCompressed(p []byte, off int64) (gaps []piece, err error) {
	f := s.inflater()
	defer s.scratch.Put(f)
	c := cursor{g: &s.grid}
	for len(p) > 0 {
		grain, skip := off/s.grain, off%s.grain
		n := min(int64(len(p)), s.length(grain)-skip)
		at, err := c.at(grain)
		switch {
		case err != nil:
			return nil, err
		case at.is == absent:
			gaps = append(gaps, piece{p[:n], off})
		case at.is == zero:
			clear(p[:n])
		default:
			if err := s.readGrain(f, &c, p[:n], at, grain, skip, off+int64(len(p))); err != nil {
				return nil, err
			}
		}
		p, off = p[n:], off+n
	}
	return gaps, nil
}

// readGrain fills p with bytes of the grain from skip on, which is in the file. end is
// where on the disk the caller will have read enough.
func (s *sparse) readGrain(f *inflater, c *cursor, p []byte, g place, grain, skip, end int64) error {
	length := s.length(grain)
	if int64(len(p)) == length {
		return s.inflate(f, c, p, grain, g.at, end)
	}
	if f.index != grain {
		if f.grain == nil {
			f.grain = make([]byte, s.grain)
		}
		f.index = -1
		if err := s.inflate(f, c, f.grain[:length], grain, g.at, end); err != nil {
			return err
		}
		f.index = grain
	}
	copy(p, f.grain[skip:])
	return nil
}

// inflate fills p with the whole grain, whose marker is at this offset of the
// file.
func (s *sparse) inflate(f *inflater, c *cursor, p []byte, grain, at, end int64) error {
	head, err := s.bytes(f, c, grain, at, grainMarker, end)
	if err != nil {
		return err
	}
	lba, size := binary.LittleEndian.Uint64(head), int64(binary.LittleEndian.Uint32(head[8:]))
	if lba != uint64(grain*s.h.GrainSize) {
		return fmt.Errorf("%w: %s: offset %d: marker of sector %d instead of %d", ErrFormat, s.name, at, lba, grain*s.h.GrainSize)
	}
	if size == 0 || size > s.maxCompressed() {
		return fmt.Errorf("%w: %s: offset %d: compressed grain of %d bytes", ErrFormat, s.name, at+8, size)
	}
	if at+grainMarker+size > s.file.Size() {
		return fmt.Errorf("%w: %s: offset %d: compressed grain of %d bytes goes beyond the file's end at %d; it may be cut short",
			ErrFormat, s.name, at+8, size, s.file.Size())
	}
	all, err := s.bytes(f, c, grain, at, grainMarker+size, end)
	if err != nil {
		return err
	}
	if err := f.inflate(p, all[grainMarker:], s.grain); err != nil {
		return fmt.Errorf("%w: %s: grain %d at offset %d: %w", ErrFormat, s.name, grain, at+grainMarker, err)
	}
	return nil
}

var errTooLong = errors.New("inflates to more than a grain")

// inflate fills p with what data inflates to. That may be longer, up to most
// bytes, if p is the disk's end. The checksum is verified.
func (f *inflater) inflate(p, data []byte, most int64) error {
	f.raw.Reset(data)
	if f.z == nil {
		z, err := zlib.NewReader(&f.raw)
		if err != nil {
			return err
		}
		f.z = z
	} else if err := f.z.(zlib.Resetter).Reset(&f.raw, nil); err != nil { //nolint:errcheck // zlib's readers all are Resetters
		return err
	}
	if _, err := io.ReadFull(f.z, p); err != nil {
		return err
	}
	// Reading on to the end is what makes zlib check the sum.
	for rest := most - int64(len(p)); ; {
		n, err := f.z.Read(f.rest[:])
		if rest -= int64(n); rest < 0 {
			return errTooLong
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// bytes gives n bytes of the file, from the window or by refilling it.
func (s *sparse) bytes(f *inflater, c *cursor, grain, at, n, end int64) ([]byte, error) {
	if from := at - f.at; from >= 0 && from+n <= int64(len(f.window)) {
		return f.window[from : from+n], nil
	}
	want := max(n, min(s.ahead(c, grain, at, end), int64(cap(f.window)), s.file.Size()-at))
	f.window, f.at = f.window[:want], at
	if err := readat.Full(s.file, f.window, at); err != nil {
		f.window = f.window[:0]
		return nil, fmt.Errorf("%s: grain %d at offset %d: %w", s.name, grain, at, err)
	}
	return f.window[:n], nil
}

// ahead is how many bytes from at on are worth reading for a caller who will
// go on to end: as far as the grains lie in ascending order.
func (s *sparse) ahead(c *cursor, grain, at, end int64) int64 {
	last := at
	for g := grain + 1; last-at < windowSize; g++ {
		beyond := g*s.grain >= end
		if g*s.grain >= s.size {
			break
		}
		next, err := c.at(g)
		if err != nil || next.is == data && next.at <= last {
			break
		}
		if next.is != data && !beyond {
			continue
		}
		if next.is != data {
			break
		}
		last = next.at
		if beyond {
			return last - at
		}
	}
	return last - at + grainMarker + s.maxCompressed()
}
