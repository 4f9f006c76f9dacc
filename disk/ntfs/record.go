package ntfs

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"

	"esxodus/disk/internal/readat"
)

// Records of the volume's own files.
const (
	recordMFT    = 0
	recordLog    = 2
	recordVolume = 3
	recordRoot   = 5
	recordBitmap = 6
)

// Types of attributes.
const (
	typeList       = 0x20
	typeVolume     = 0x70
	typeData       = 0x80
	typeIndexRoot  = 0x90
	typeIndexAlloc = 0xa0
	typeEnd        = 0xffffffff
)

const (
	block       = 512 // what one number of an update sequence protects, whatever a sector is
	recordInUse = 1   // a flag of a record
	numberMask  = 1<<48 - 1
)

// record is a record of the master file table, as [FS.record] has checked it.
type record struct {
	number, sequence uint64
	base             uint64 // the record that this one extends; itself if none
	attributes       []attribute
}

// attribute is an attribute's head and what it holds, or where that lies.
type attribute struct {
	typ      uint32
	name     string
	instance uint16
	flags    uint16
	resident bool
	b        []byte // all of it
}

// record reads a record.
func (f *FS) record(n uint64) (*record, error) {
	b := make([]byte, f.recordSize)
	var err error
	if n == recordMFT {
		err = readat.Full(f.r, b, f.table*f.cluster) // it says where all others are
	} else {
		err = f.mft.read(b, n*uint64(f.recordSize)) // not negative
	}
	if err != nil {
		return nil, fmt.Errorf("file record %d: %w", n, err)
	}
	r, err := parseRecord(b, n)
	if err != nil {
		return nil, fmt.Errorf("file record %d: %w", n, err)
	}
	return r, nil
}

// parseRecord decodes a record, which is changed.
func parseRecord(b []byte, n uint64) (*record, error) {
	le := binary.LittleEndian
	if err := fixUp(b, "FILE"); err != nil {
		return nil, err
	}
	at, end := int(le.Uint16(b[20:])), le.Uint32(b[24:])
	switch {
	case le.Uint16(b[22:])&recordInUse == 0:
		return nil, fmt.Errorf("%w: it is not in use", ErrFormat)
	case le.Uint16(b[4:]) >= 48 && le.Uint32(b[44:]) != uint32(n&0xffffffff):
		return nil, fmt.Errorf("%w: it is record %d", ErrFormat, le.Uint32(b[44:]))
	case end > uint32(len(b)) || at < 42 || at%8 != 0 || at > int(end): // len(b) is at most 4096
		return nil, fmt.Errorf("%w: attributes at %d in %d bytes", ErrFormat, at, end)
	}
	r := &record{number: n, sequence: uint64(le.Uint16(b[16:])), base: le.Uint64(b[32:]) & numberMask}
	if le.Uint64(b[32:]) == 0 {
		r.base = n
	}
	for b = b[at:end]; ; {
		if len(b) >= 4 && le.Uint32(b) == typeEnd {
			return r, nil
		}
		a, length, err := parseAttribute(b)
		if err != nil {
			return nil, err
		}
		r.attributes = append(r.attributes, a)
		b = b[length:]
	}
}

// parseAttribute decodes the head of the attribute that b begins with, and returns
// its length.
func parseAttribute(b []byte) (attribute, int, error) {
	le := binary.LittleEndian
	if len(b) < 24 || le.Uint32(b[4:]) < 24 || le.Uint32(b[4:]) > uint32(len(b)) || b[4]%8 != 0 { // at most 4096
		return attribute{}, 0, fmt.Errorf("%w: its attributes have no end", ErrFormat)
	}
	b = b[:le.Uint32(b[4:])]
	a := attribute{typ: le.Uint32(b), flags: le.Uint16(b[12:]), instance: le.Uint16(b[14:]), resident: b[8] == 0, b: b}
	at, n := int(le.Uint16(b[10:])), 2*int(b[9])
	if n > 0 {
		if at+n > len(b) {
			return attribute{}, 0, fmt.Errorf("%w: a name outside its attribute", ErrFormat)
		}
		a.name = text(b[at : at+n])
	}
	if b[8] > 1 || b[8] == 1 && len(b) < 64 {
		return attribute{}, 0, fmt.Errorf("%w: an attribute of %d bytes of kind %d", ErrFormat, len(b), b[8])
	}
	return a, len(b), nil
}

// text decodes a name.
func text(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// fixUp checks the signature of a structure that is written in several sectors, and
// that all of them were written together, and puts back the last bytes of each, in
// whose place there is a number that says so.
func fixUp(b []byte, magic string) error {
	le := binary.LittleEndian
	at, n := int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	switch {
	case string(b[:4]) != magic:
		return fmt.Errorf("%w: its signature is %q; want %q", ErrFormat, b[:4], magic)
	case n != len(b)/block+1 || at < 8 || at%2 != 0 || at+2*n > block-2:
		return fmt.Errorf("%w: an update sequence of %d at %d, for %d bytes", ErrFormat, n, at, len(b))
	}
	for i := range n - 1 {
		end := b[(i+1)*block-2:][:2]
		if le.Uint16(end) != le.Uint16(b[at:]) {
			return fmt.Errorf("%w: its sectors were not written together", ErrFormat)
		}
		copy(end, b[at+2+2*i:])
	}
	return nil
}
