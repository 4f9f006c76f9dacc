// Package lvm reads LVM2: the label and metadata of a physical volume, and a
// logical volume as an image over the images of its physical volumes, without
// the device mapper and without LVM's tools. It never writes.
//
// Words: a physical volume (PV) is a disk or partition with a label; a volume
// group (VG) is a set of them with metadata in text; a logical volume (LV) is
// a list of segments, each a run of logical extents that lies, when it is
// linear, on a run of physical extents of one PV.
package lvm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"esxodus/disk"
	"esxodus/disk/internal/readat"
	"esxodus/disk/part"
)

// ErrFormat is wrapped by errors that say that the bytes make no sense. Other
// errors are of reading.
var ErrFormat = errors.New("malformed lvm metadata")

const (
	sector      = 512
	mdaHeader   = 512
	maxMetadata = 16 << 20 // bytes of text; LVM's default area is 1 MiB
	maxAreas    = 16
)

// Area is a range of a physical volume, in bytes.
type Area struct {
	Offset, Length int64
}

// PV is a physical volume as its own label describes it.
type PV struct {
	UUID     string // in LVM's groups
	Size     int64  // bytes
	Label    int    // the sector that holds the label, 0 to 3
	Metadata []Area // none where metadata is kept on other PVs only
	// Text is the metadata of the volume group in its newest readable form,
	// VG what it says. Both are empty for a PV without a group or without a
	// metadata area.
	Text []byte
	VG   VG
}

// Read reads the label and metadata of the physical volume in img.
func Read(img disk.Image) (PV, error) {
	pv, err := readLabel(img)
	if err != nil {
		return PV{}, err
	}
	var errs []error
	for _, a := range pv.Metadata {
		text, err := readArea(img, a)
		if err != nil && !errors.Is(err, ErrFormat) {
			return PV{}, err
		}
		if err != nil || text == nil {
			errs = append(errs, err)
			continue
		}
		vg, err := ParseMetadata(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if pv.Text == nil || vg.Seqno > pv.VG.Seqno {
			pv.Text, pv.VG = text, vg
		}
	}
	if pv.Text == nil {
		return pv, errors.Join(errs...)
	}
	return pv, nil
}

// readLabel looks for the label in the first four sectors.
func readLabel(img disk.Image) (PV, error) {
	head := make([]byte, 4*sector)
	if img.Size() < int64(len(head)) {
		return PV{}, fmt.Errorf("%w: no label in %d bytes", ErrFormat, img.Size())
	}
	if err := readat.Full(img, head, 0); err != nil {
		return PV{}, fmt.Errorf("lvm label: %w", err)
	}
	for s := range 4 {
		b := head[s*sector : (s+1)*sector]
		if bytes.HasPrefix(b, []byte("LABELONE")) && bytes.HasPrefix(b[24:], []byte("LVM2 001")) {
			return parseLabel(b, s)
		}
	}
	return PV{}, fmt.Errorf("%w: no label in sectors 0 to 3", ErrFormat)
}

// parseLabel decodes the label sector: label header, PV header, and lists of
// data and metadata areas that each end with zeros. Where data begins the
// group's metadata says, and the extension behind the lists is of no use here.
func parseLabel(b []byte, number int) (PV, error) {
	le := binary.LittleEndian
	if crc(b[20:]) != le.Uint32(b[16:]) {
		return PV{}, fmt.Errorf("%w: the label's checksum in sector %d is wrong", ErrFormat, number)
	}
	at := le.Uint32(b[20:])
	if at < 32 || at > sector-40 {
		return PV{}, fmt.Errorf("%w: label in sector %d: header at %d", ErrFormat, number, at)
	}
	h := b[at:]
	pv := PV{UUID: part.LVMUUID(h[:32]), Size: clamp(le.Uint64(h[32:])), Label: number}
	_, h, err := parseAreas(h[40:])
	if err != nil {
		return PV{}, fmt.Errorf("label in sector %d: data areas: %w", number, err)
	}
	if pv.Metadata, _, err = parseAreas(h); err != nil {
		return PV{}, fmt.Errorf("label in sector %d: metadata areas: %w", number, err)
	}
	return pv, nil
}

func parseAreas(b []byte) (as []Area, rest []byte, err error) {
	le := binary.LittleEndian
	for len(b) >= 16 {
		off, n := le.Uint64(b), le.Uint64(b[8:])
		b = b[16:]
		if off == 0 {
			return as, b, nil
		}
		if off > 1<<60 || n > 1<<60 || len(as) == maxAreas {
			return nil, nil, fmt.Errorf("%w: area of %d bytes at %d", ErrFormat, n, off)
		}
		as = append(as, Area{Offset: int64(off), Length: int64(n)})
	}
	return nil, nil, fmt.Errorf("%w: list without end", ErrFormat)
}

// readArea reads the committed metadata text of one area, nil if it holds
// none. The text lies in a ring behind the area's header.
func readArea(img disk.Image, a Area) ([]byte, error) {
	le := binary.LittleEndian
	if a.Length < mdaHeader || a.Offset > img.Size()-a.Length {
		return nil, fmt.Errorf("%w: metadata area of %d bytes at %d goes beyond the volume of %d", ErrFormat, a.Length, a.Offset, img.Size())
	}
	h := make([]byte, mdaHeader)
	if err := readat.Full(img, h, a.Offset); err != nil {
		return nil, fmt.Errorf("metadata area at %d: %w", a.Offset, err)
	}
	if string(h[4:20]) != " LVM2 x[5A%r0N*>" || crc(h[4:]) != le.Uint32(h) {
		return nil, fmt.Errorf("%w: no valid header of a metadata area at %d", ErrFormat, a.Offset)
	}
	off, size, sum, flags := le.Uint64(h[40:]), le.Uint64(h[48:]), le.Uint32(h[56:]), le.Uint32(h[60:])
	const ignored = 1
	if off == 0 || flags&ignored != 0 {
		return nil, nil // documented: no text, no error
	}
	length := uint64(a.Length) // positive, checked above
	if size == 0 || size > maxMetadata || size > length-mdaHeader || off < mdaHeader || off >= length {
		return nil, fmt.Errorf("%w: metadata area at %d: text of %d bytes at %d of %d", ErrFormat, a.Offset, size, off, length)
	}
	text := make([]byte, size)
	first := min(size, length-off)
	if err := readat.Full(img, text[:first], a.Offset+int64(off)); err != nil {
		return nil, fmt.Errorf("metadata text: %w", err)
	}
	if err := readat.Full(img, text[first:], a.Offset+mdaHeader); err != nil {
		return nil, fmt.Errorf("metadata text, wrapped: %w", err)
	}
	if crc(text) != sum {
		return nil, fmt.Errorf("%w: metadata area at %d: the checksum of its text is wrong", ErrFormat, a.Offset)
	}
	return text, nil
}

// crc is LVM's: the usual polynomial with a start of its own and no inversion.
func crc(b []byte) uint32 {
	const start = 0xf597a6cf
	return ^crc32.Update(^uint32(start), crc32.IEEETable, b)
}

func clamp(n uint64) int64 { return int64(min(n, 1<<62)) }
