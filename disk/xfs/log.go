package xfs

import (
	"encoding/binary"
	"fmt"

	"esxodus/disk/internal/readat"
)

const (
	sector       = 512 // the log's unit, whatever the device's is
	recordMagic  = 0xfeedbabe
	recordMax    = 256 << 10 // bytes of a record, and the size its header has a share for
	headerShare  = 32 << 10  // bytes of a record per sector of header
	opUnmount    = 0x20
	recordWindow = recordMax/sector + recordMax/headerShare
)

// logDirty reports whether the log must be replayed. The superblock does not
// say so; as the kernel and xfs_repair do, it looks for the newest record: the
// log is clean if that is the one that an unmount writes. The log is a ring
// and each of its sectors starts with the number of the round that wrote it,
// so the newest record ends where that number drops. Whatever is not as
// expected counts as dirty.
func (f *FS) logDirty() (bool, error) {
	if f.logStart == 0 {
		return true, nil
	}
	at, err := f.linear(f.logStart, f.logBlocks)
	if err != nil {
		return false, err
	}
	l := &ring{f: f, start: at * f.blockSize, sectors: f.logBlocks * (f.blockSize / sector)}
	head, err := l.head()
	if err != nil || head == 0 {
		return false, err // 0: nothing was ever logged
	}
	clean, err := l.endsInUnmount(head)
	return !clean, err
}

// ring is a log.
type ring struct {
	f       *FS
	start   int64 // bytes
	sectors int64
}

// read reads sectors from the ring; at may be negative or past its end.
func (l *ring) read(at, n int64) ([]byte, error) {
	b := make([]byte, n*sector)
	for done := int64(0); done < n; {
		from := ((at+done)%l.sectors + l.sectors) % l.sectors
		part := min(n-done, l.sectors-from)
		if err := readat.Full(l.f.r, b[done*sector:(done+part)*sector], l.start+from*sector); err != nil {
			return nil, err
		}
		done += part
	}
	return b, nil
}

// round is the number of the round in which a sector was written, 0 for never.
func (l *ring) round(at int64) (uint32, error) {
	b, err := l.read(at, 1)
	if err != nil {
		return 0, err
	}
	if v := binary.BigEndian.Uint32(b); v != recordMagic {
		return v, nil
	}
	return binary.BigEndian.Uint32(b[4:]), nil
}

// head is the sector after the newest record, 1 to sectors; 0 when the log was
// never written to.
func (l *ring) head() (int64, error) {
	first, err := l.round(0)
	if err != nil || first == 0 {
		return 0, err
	}
	last, err := l.round(l.sectors - 1)
	if err != nil {
		return 0, err
	}
	if first == last {
		return l.sectors, nil
	}
	lo, hi := int64(0), l.sectors-1 // of the newest round; of the one before
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		r, err := l.round(mid)
		if err != nil {
			return 0, err
		}
		if r == last {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi, nil
}

// record is the newest record before some sector.
type record struct {
	start   int64 // sectors
	whole   bool  // it ends at that sector
	unmount bool  // it is what an unmount writes
}

// endsInUnmount reports whether the newest record before head says that the
// file system was unmounted. One that was not written as a whole doesn't
// count: then the one before it does.
func (l *ring) endsInUnmount(head int64) (bool, error) {
	r, err := l.before(head)
	if err == nil && !r.whole {
		r, err = l.before(r.start)
	}
	return r.whole && r.unmount, err
}

// before finds the newest record before a sector; it is not whole when there
// is none.
func (l *ring) before(head int64) (record, error) {
	window := min(recordWindow, l.sectors)
	b, err := l.read(head-window, window)
	if err != nil {
		return record{}, fmt.Errorf("sectors before %d: %w", head, err)
	}
	be := binary.BigEndian
	for at := window - 1; at >= 0; at-- {
		h := b[at*sector:]
		if be.Uint32(h) != recordMagic {
			continue
		}
		header := int64(1)
		if size := int64(be.Uint32(h[320:])); be.Uint32(h[8:])&2 != 0 && size > headerShare {
			header = (size + headerShare - 1) / headerShare
		}
		length, ops, data := int64(be.Uint32(h[12:])), be.Uint32(h[40:]), at+header
		return record{
			start:   head - window + at,
			whole:   data < window && data+(length+sector-1)/sector == window,
			unmount: ops == 1 && data < window && b[data*sector+9]&opUnmount != 0,
		}, nil
	}
	return record{start: head}, nil
}
