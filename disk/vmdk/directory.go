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

// load reads all of it once, to be checked.
func (d *deltaDirectory) load() ([]byte, error) {
	size := d.entries * d.width
	switch {
	case size > maxDeltaDirectory:
		return nil, fmt.Errorf("%w: %d grain tables: too many to check", ErrUnsupported, d.entries)
	case d.at > d.g.file.Size()-size:
		return nil, fmt.Errorf("%w: the grain directory of %d bytes at %d: the file has only %d; it may be cut short", ErrFormat, size, d.at, d.g.file.Size())
	}
	b := make([]byte, size)
	if err := readat.Full(d.g.file, b, d.at); err != nil {
		return nil, fmt.Errorf("grain directory at %d: %w", d.at, err)
	}
	return b, nil
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
	if b = b[i*d.width-from:]; d.width == 4 {
		return uint64(binary.LittleEndian.Uint32(b)), nil
	}
	return binary.LittleEndian.Uint64(b), nil
}
