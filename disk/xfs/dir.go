package xfs

import (
	"encoding/binary"
	"fmt"

	"esxodus/disk/internal/fsview"
)

// The two kinds of block that hold a directory's entries: a directory's only
// block, which ends in an index, and one of several, whose index is elsewhere:
// 32 GiB further on in the directory, past its size, and not needed here. In
// version 5 the blocks have a longer header and other magic numbers.
const (
	magicBlock4, magicData4 = 0x58443242, 0x58443244
	magicBlock5, magicData5 = 0x58444233, 0x58444433

	dirUnused = 0xffff
)

// Entries lists a directory, but for "." and "..".
func (in *inode) Entries() ([]fsview.Entry, error) {
	if !in.mode.IsDir() {
		return nil, fmt.Errorf("inode %d: %w", in.number, fsview.ErrNotDir)
	}
	if in.size > fsview.MaxDir {
		return nil, fmt.Errorf("%w: inode %d: a directory of %d bytes; the limit is %d", ErrFormat, in.number, in.size, fsview.MaxDir)
	}
	if in.format == formatLocal {
		es, err := in.shortEntries()
		if err != nil {
			return nil, fmt.Errorf("directory inode %d: %w", in.number, err)
		}
		return es, nil
	}
	var es []fsview.Entry
	f := in.fsys
	for off := int64(0); off < in.size; {
		s, err := in.find(off / f.blockSize)
		if err != nil {
			return nil, fmt.Errorf("directory inode %d: %w", in.number, err)
		}
		if s.empty { // entries were removed
			off = roundUp(off+min(s.run, in.size/f.blockSize+1)*f.blockSize, f.dirBlock)
			continue
		}
		b, err := in.dirData(off, s.block)
		if err != nil {
			return nil, fmt.Errorf("directory inode %d at %d: %w", in.number, off, err)
		}
		if es, err = f.appendEntries(es, b); err != nil {
			return nil, fmt.Errorf("directory inode %d at %d: %w", in.number, off, err)
		}
		off += f.dirBlock
	}
	return es, nil
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// shortEntries lists a directory that is kept in its inode.
func (in *inode) shortEntries() ([]fsview.Entry, error) {
	b := in.fork[:min(int64(len(in.fork)), in.size)]
	if len(b) < 6 {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(b))
	}
	count, numLen := int(b[0]), 4
	if b[1] > 0 { // some numbers need 8 bytes, so all have them
		numLen = 8
	}
	kindLen := 0
	if in.fsys.ftype {
		kindLen = 1
	}
	b = b[min(2+numLen, len(b)):] // past the parent
	var es []fsview.Entry
	for i := range count {
		if len(b) < 3 || len(b) < 3+int(b[0])+kindLen+numLen {
			return nil, fmt.Errorf("%w: entry %d of %d is cut short", ErrFormat, i, count)
		}
		end := 3 + int(b[0])
		e := fsview.Entry{Name: string(b[3:end])}
		if kindLen > 0 {
			e.Kind = fsview.Kind(b[end])
		}
		num := b[end+kindLen : end+kindLen+numLen]
		if numLen == 8 {
			e.Number = binary.BigEndian.Uint64(num)
		} else {
			e.Number = uint64(binary.BigEndian.Uint32(num))
		}
		b = b[end+kindLen+numLen:]
		if fsview.ValidName(e.Name) {
			es = append(es, e)
		}
	}
	return es, nil
}

// dirData reads the directory's block at off, whose first block is at, and
// returns the part of it that holds entries.
func (in *inode) dirData(off, at int64) ([]byte, error) {
	be, f := binary.BigEndian, in.fsys
	if off+f.dirBlock > in.size {
		return nil, fmt.Errorf("%w: %d bytes are not a whole number of directory blocks", ErrFormat, in.size)
	}
	b := make([]byte, f.dirBlock)
	if _, err := in.ReadAt(b, off); err != nil {
		return nil, err
	}
	single, several, header := uint32(magicBlock4), uint32(magicData4), 16
	if f.version == 5 {
		single, several, header = magicBlock5, magicData5, 64
	}
	magic := be.Uint32(b)
	if magic != single && magic != several {
		return nil, fmt.Errorf("%w: a directory block that starts with %#x", ErrFormat, magic)
	}
	if err := f.verify(b, stamp{sum: 4, place: 8, uuid: 24, owner: 40}, at, in.number); err != nil {
		return nil, err
	}
	if magic == several {
		return b[header:], nil
	}
	indexed := int64(be.Uint32(b[len(b)-8:]))
	end := int64(len(b)) - 8 - 8*indexed
	if end < int64(header) {
		return nil, fmt.Errorf("%w: an index of %d entries in a block of %d bytes", ErrFormat, indexed, len(b))
	}
	return b[header:end], nil
}

// appendEntries appends the entries of a directory's block. Each is the
// inode's number, the name's length, the name, its kind where the file system
// notes that, and 2 bytes of its own place, in whole 8 bytes.
func (f *FS) appendEntries(es []fsview.Entry, b []byte) ([]fsview.Entry, error) {
	be := binary.BigEndian
	kindLen := 0
	if f.ftype {
		kindLen = 1
	}
	for len(b) >= 8 {
		if be.Uint16(b) == dirUnused {
			n := int(be.Uint16(b[2:]))
			if n < 8 || n%8 != 0 || n > len(b) {
				return nil, fmt.Errorf("%w: %d unused bytes in %d", ErrFormat, n, len(b))
			}
			b = b[n:]
			continue
		}
		end, n := 9, 16 // of the shortest
		if len(b) >= n {
			end += int(b[8])
			n = (end + kindLen + 2 + 7) &^ 7
		}
		if n > len(b) {
			return nil, fmt.Errorf("%w: an entry of %d bytes in %d", ErrFormat, n, len(b))
		}
		e := fsview.Entry{Number: be.Uint64(b), Name: string(b[9:end])}
		if f.ftype {
			e.Kind = fsview.Kind(b[end])
		}
		if fsview.ValidName(e.Name) {
			es = append(es, e)
		}
		b = b[n:]
	}
	return es, nil
}
