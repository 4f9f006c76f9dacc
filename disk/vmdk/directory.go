package vmdk

import (
	"encoding/binary"
	"fmt"

	"esxodus/disk/internal/readat"
)

const (
	directoryPage = 16 << 10 // bytes of a directory that are kept together
	// maxDeltaDirectory is what 64 TiB in seSparse's tables of 16 MiB need.
	maxDeltaDirectory = 32 << 20 // bytes
)

// deltaDirectory is the grain directory of a snapshot. It stays in the file: that of
// a whole chain of large disks wouldn't fit into memory.
type deltaDirectory struct {
	g           *grid
	at, entries int64
	width       int64 // bytes of an entry
}

// each reads all of it once, to be checked.
func (d *deltaDirectory) each(check func(i int64, entry uint64) error) error {
	size := d.entries * d.width
	switch {
	case size > maxDeltaDirectory:
		return fmt.Errorf("%w: %d grain tables: too many to check", ErrUnsupported, d.entries)
	case d.at > d.g.file.Size()-size:
		return fmt.Errorf("%w: the grain directory of %d bytes at %d: the file has only %d; it may be cut short", ErrFormat, size, d.at, d.g.file.Size())
	}
	b := make([]byte, min(size, 1<<20))
	for from := int64(0); from < size; from += int64(len(b)) {
		b = b[:min(int64(len(b)), size-from)]
		if err := readat.Full(d.g.file, b, d.at+from); err != nil {
			return fmt.Errorf("grain directory at %d: %w", d.at+from, err)
		}
		for i := int64(0); i < int64(len(b)); i += d.width {
			if err := check((from+i)/d.width, d.decode(b[i:])); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *deltaDirectory) decode(b []byte) uint64 {
	if d.width == 4 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// entry is an entry of it.
func (d *deltaDirectory) entry(i int64) (uint64, error) {
	from := i * d.width / directoryPage * directoryPage
	key := page{d.g, -1 - from}
	b := d.g.tables.get(key)
	if b == nil {
		b = make([]byte, min(directoryPage, d.entries*d.width-from))
		if err := readat.Full(d.g.file, b, d.at+from); err != nil {
			return 0, fmt.Errorf("%s: grain directory at %d: %w", d.g.name, d.at+from, err)
		}
		d.g.tables.put(key, b)
	}
	return d.decode(b[i*d.width-from:]), nil
}
