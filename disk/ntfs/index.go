package ntfs

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// maxIndex is how many blocks of a directory are read at most, of 4 KiB mostly: the
// directories that are looked into have one or none.
const maxIndex = 2048

const (
	indexName = "$I30" // directories are indexed by name
	nodeEntry = 1      // a flag of an entry: entries of a block come before it
	lastEntry = 2      // a flag of an entry: it is the last, and has no name
)

// directory is a walk through a directory.
type directory struct {
	f         *FS
	number    uint64
	blockSize int64   // bytes
	unit      int64   // bytes that the numbers of its blocks count
	blocks    *stream // nil until one is needed
	seen      map[uint64]bool
	visit     func(name string, file uint64)
}

// entries visits the names in a directory, and the numbers of the files' records.
func (f *FS) entries(number uint64, visit func(name string, file uint64)) error {
	s, err := f.open(number, typeIndexRoot, indexName)
	if err != nil {
		return err
	}
	if s.resident == nil || s.size < 32 {
		return fmt.Errorf("%w: file record %d: an index root of %d bytes", ErrFormat, number, s.size)
	}
	le, b := binary.LittleEndian, s.resident
	d := &directory{f: f, number: number, blockSize: int64(le.Uint32(b[8:])), unit: block, seen: map[uint64]bool{}, visit: visit}
	if n := d.blockSize; n < block || n > 64<<10 || n&(n-1) != 0 {
		return fmt.Errorf("%w: file record %d: index blocks of %d bytes", ErrFormat, number, n)
	}
	if d.blockSize >= f.cluster {
		d.unit = f.cluster
	}
	if err := d.node(b[16:]); err != nil {
		return fmt.Errorf("index of file record %d: %w", number, err)
	}
	return nil
}

// node goes through the entries of a node, which begins with its header, and those
// of the nodes below it.
func (d *directory) node(b []byte) error {
	le := binary.LittleEndian
	at, end := le.Uint32(b), le.Uint32(b[4:])
	if at < 16 || at > end || end > uint32(len(b)) { // at most 64 KiB
		return fmt.Errorf("%w: entries at %d to %d of %d", ErrFormat, at, end, len(b))
	}
	for b = b[at:end]; ; {
		if len(b) < 16 || int(le.Uint16(b[8:])) < 16 || int(le.Uint16(b[8:])) > len(b) {
			return fmt.Errorf("%w: entries without an end", ErrFormat)
		}
		e := b[:le.Uint16(b[8:])]
		b = b[len(e):]
		flags := le.Uint16(e[12:])
		if flags&nodeEntry != 0 {
			if len(e) < 24 {
				return fmt.Errorf("%w: an entry of %d bytes", ErrFormat, len(e))
			}
			if err := d.below(le.Uint64(e[len(e)-8:])); err != nil {
				return err
			}
		}
		if flags&lastEntry != 0 {
			return nil
		}
		if len(e) < 82 || 82+2*int(e[80]) > len(e) || le.Uint64(e[16:])&numberMask != d.number {
			return fmt.Errorf("%w: an entry of %d bytes that is no name in it", ErrFormat, len(e))
		}
		d.visit(text(e[82:][:2*int(e[80])]), le.Uint64(e)&numberMask)
	}
}

// below goes through a node in a block of its own.
func (d *directory) below(number uint64) (err error) {
	if d.seen[number] || len(d.seen) == maxIndex {
		return fmt.Errorf("%w: it leads to block %d again, or to more than %d", ErrFormat, number, maxIndex)
	}
	d.seen[number] = true
	if d.blocks == nil {
		if d.blocks, err = d.f.open(d.number, typeIndexAlloc, indexName); err != nil {
			return err
		}
	}
	if number > d.blocks.size/uint64(d.unit) {
		return fmt.Errorf("%w: it leads to block %d", ErrFormat, number)
	}
	b := make([]byte, d.blockSize)
	if err := d.blocks.read(b, number*uint64(d.unit)); err != nil {
		return fmt.Errorf("block %d: %w", number, err)
	}
	if err := fixUp(b, "INDX"); err != nil {
		return fmt.Errorf("block %d: %w", number, err)
	}
	if at := binary.LittleEndian.Uint64(b[16:]); at != number {
		return fmt.Errorf("%w: block %d is block %d", ErrFormat, number, at)
	}
	if err := d.node(b[24:]); err != nil {
		return fmt.Errorf("block %d: %w", number, err)
	}
	return nil
}

// find is the record of a name in a directory; letters' case makes no difference.
func (f *FS) find(directory uint64, name string) (file uint64, ok bool, err error) {
	err = f.entries(directory, func(n string, number uint64) {
		if strings.EqualFold(n, name) {
			file, ok = number, true
		}
	})
	return file, ok, err
}
