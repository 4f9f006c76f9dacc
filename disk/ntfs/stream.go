package ntfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"esxodus/disk/internal/readat"
)

const (
	maxRuns  = 1 << 15   // of an attribute: 768 KiB
	maxCount = 1 << 40   // clusters of an attribute, more than Windows can have: so that bytes fit in 64 bits
	maxList  = 256 << 10 // bytes of an attribute list, as Windows has it

	// Flags of an attribute whose bytes aren't as they lie on disk.
	flagsCoded = 0x40ff // compressed, encrypted
)

// stream is the bytes of an attribute.
type stream struct {
	f        *FS
	resident []byte // all of it, if it has no runs
	runs     []run
	clusters int64  // in all runs
	size     uint64 // bytes
	valid    uint64 // bytes that were ever written; zeros follow
}

// run is clusters of an attribute that lie together.
type run struct {
	vcn, lcn, count int64 // lcn is -1 where nothing is allocated, which reads as zeros
}

// open finds an attribute of a file. It must be there, and not be compressed or
// encrypted.
func (f *FS) open(n uint64, typ uint32, name string) (*stream, error) {
	base, err := f.record(n)
	if err != nil {
		return nil, err
	}
	s := &stream{f: f}
	if n == recordMFT && typ == typeData {
		f.mft = s // further pieces of it lie in what is known of it by then
	}
	for _, a := range base.attributes {
		if a.typ == typeList {
			return s, s.gather(base, a, typ, name)
		}
	}
	for _, a := range base.attributes {
		if a.typ == typ && a.name == name {
			if err := s.add(a); err != nil {
				return nil, fmt.Errorf("file record %d: %w", n, err)
			}
			return s, s.whole()
		}
	}
	return nil, fmt.Errorf("file record %d: %w: no attribute %#x %q", n, ErrFormat, typ, name)
}

// gather adds the pieces of an attribute that an attribute list names, which are in
// order.
func (s *stream) gather(base *record, list attribute, typ uint32, name string) error {
	le := binary.LittleEndian
	l := &stream{f: s.f}
	if err := errors.Join(l.add(list), l.whole()); err != nil {
		return fmt.Errorf("file record %d: attribute list: %w", base.number, err)
	}
	if l.size > maxList {
		return fmt.Errorf("file record %d: %w: an attribute list of %d bytes", base.number, ErrFormat, l.size)
	}
	b := make([]byte, l.size)
	if err := l.read(b, 0); err != nil {
		return fmt.Errorf("file record %d: attribute list: %w", base.number, err)
	}
	r, found := base, false
	for len(b) > 0 {
		n := 0
		if len(b) >= 26 {
			n = int(le.Uint16(b[4:]))
		}
		if n < 26 || n > len(b) || int(b[7])+2*int(b[6]) > n {
			return fmt.Errorf("file record %d: %w: its attribute list makes no sense", base.number, ErrFormat)
		}
		if le.Uint32(b) == typ && text(b[b[7]:][:2*int(b[6])]) == name {
			var err error
			if r, err = s.piece(base, r, typ, name, b); err != nil {
				return err
			}
			found = true
		}
		b = b[n:]
	}
	if !found {
		return fmt.Errorf("file record %d: %w: no attribute %#x %q", base.number, ErrFormat, typ, name)
	}
	return s.whole()
}

// piece adds the piece of an attribute that an entry of the base record's attribute list
// names. It returns the record that the piece is in, to be given as the last one with the
// next entry.
func (s *stream) piece(base, last *record, typ uint32, name string, entry []byte) (r *record, err error) {
	le := binary.LittleEndian
	vcn, where := le.Uint64(entry[8:]), le.Uint64(entry[16:])
	if r = last; where&numberMask != r.number {
		if r, err = s.f.record(where & numberMask); err != nil {
			return nil, err
		}
	}
	switch {
	case r.sequence != where>>48 || r.base != base.number:
		return nil, fmt.Errorf("file record %d: %w: its attribute list names record %d, which isn't its", base.number, ErrFormat, r.number)
	case vcn != uint64(s.clusters): // not negative
		return nil, fmt.Errorf("file record %d: %w: attribute %#x goes on at VCN %d, want %d", r.number, ErrFormat, typ, vcn, s.clusters)
	}
	for _, a := range r.attributes {
		if a.typ == typ && a.name == name && a.instance == le.Uint16(entry[24:]) {
			if err := s.add(a); err != nil {
				return nil, fmt.Errorf("file record %d: %w", r.number, err)
			}
			return r, nil
		}
	}
	return nil, fmt.Errorf("file record %d: %w: attribute %#x is not where its list says", r.number, ErrFormat, typ)
}

// add adds an attribute, or the next piece of one.
func (s *stream) add(a attribute) error {
	le := binary.LittleEndian
	if a.flags&flagsCoded != 0 {
		return fmt.Errorf("%w: attribute %#x is compressed or encrypted", ErrFormat, a.typ)
	}
	if a.resident {
		n, at := uint64(le.Uint32(a.b[16:])), uint64(le.Uint16(a.b[20:]))
		if at+n > uint64(len(a.b)) || s.clusters > 0 {
			return fmt.Errorf("%w: attribute %#x has %d bytes at %d in %d", ErrFormat, a.typ, n, at, len(a.b))
		}
		s.resident, s.size, s.valid = a.b[at:at+n], n, n
		return nil
	}
	first, last, at := le.Uint64(a.b[16:]), le.Uint64(a.b[24:]), int(le.Uint16(a.b[32:]))
	if first != uint64(s.clusters) || at > len(a.b) { // not negative
		return fmt.Errorf("%w: attribute %#x has clusters from VCN %d on, want %d", ErrFormat, a.typ, first, s.clusters)
	}
	if first == 0 {
		s.size, s.valid = le.Uint64(a.b[48:]), le.Uint64(a.b[56:])
	}
	if err := s.addRuns(a.b[at:]); err != nil {
		return fmt.Errorf("attribute %#x: %w", a.typ, err)
	}
	if last+1 != uint64(s.clusters) {
		return fmt.Errorf("%w: attribute %#x has %d clusters, want %d", ErrFormat, a.typ, s.clusters, last+1)
	}
	return nil
}

// addRuns decodes mapping pairs: each a byte with the lengths of two numbers, a
// count of clusters, and how far their LCN is from the one before.
func (s *stream) addRuns(b []byte) error {
	lcn := int64(0)
	for len(b) > 0 && b[0] != 0 {
		n, m := int(b[0]&0xf), int(b[0]>>4)
		if n == 0 || n > 8 || m > 8 || 1+n+m > len(b) {
			return fmt.Errorf("%w: runs of clusters without an end", ErrFormat)
		}
		r := run{vcn: s.clusters, lcn: -1, count: signed(b[1 : 1+n])}
		if m > 0 {
			lcn += signed(b[1+n : 1+n+m]) // overflow is found below
			r.lcn = lcn
		}
		if r.count <= 0 || r.count > maxCount || s.clusters > maxCount || m > 0 && (lcn < 0 || r.count > s.f.clusters || lcn > s.f.clusters-r.count) {
			return fmt.Errorf("%w: a run of %d clusters at %d of %d", ErrFormat, r.count, lcn, s.f.clusters)
		}
		if len(s.runs) == maxRuns {
			return fmt.Errorf("%w: more than %d runs of clusters", ErrFormat, maxRuns)
		}
		s.runs, s.clusters = append(s.runs, r), s.clusters+r.count
		b = b[1+n+m:]
	}
	if len(b) == 0 {
		return fmt.Errorf("%w: runs of clusters without an end", ErrFormat)
	}
	return nil
}

// signed decodes a number of 1 to 8 bytes.
func signed(b []byte) int64 {
	var v [8]byte
	copy(v[:], b)
	shift := 64 - 8*len(b)
	return int64(binary.LittleEndian.Uint64(v[:])<<shift) >> shift
}

// whole checks that an attribute has all of its bytes, once it has all its pieces.
func (s *stream) whole() error {
	if s.resident == nil && s.size > uint64(s.clusters*s.f.cluster) || s.valid > s.size { // at most 2^41 times 2^21
		return fmt.Errorf("%w: an attribute of %d bytes in %d clusters", ErrFormat, s.size, s.clusters)
	}
	return nil
}

// read fills b from the attribute, from off on, which must have that much.
func (s *stream) read(b []byte, off uint64) error {
	if n := uint64(len(b)); n > s.size || off > s.size-n {
		return fmt.Errorf("%w: it ends at byte %d, before %d", ErrFormat, s.size, off+n)
	}
	if s.resident != nil {
		copy(b, s.resident[off:])
		return nil
	}
	cluster := uint64(s.f.cluster)
	for len(b) > 0 {
		vcn := int64(off / cluster) // the size is bounded
		i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].vcn+s.runs[i].count > vcn })
		if i == len(s.runs) {
			return fmt.Errorf("%w: nothing says where byte %d is", ErrFormat, off)
		}
		r := s.runs[i]
		in := off - uint64(r.vcn)*cluster
		n := min(uint64(len(b)), uint64(r.count)*cluster-in)
		switch {
		case off >= s.valid || r.lcn < 0:
			if off < s.valid {
				n = min(n, s.valid-off)
			}
			clear(b[:n])
		default:
			n = min(n, s.valid-off)
			if err := readat.Full(s.f.r, b[:n], r.lcn*s.f.cluster+int64(in)); err != nil { // inside the volume
				return err
			}
		}
		b, off = b[n:], off+n
	}
	return nil
}
