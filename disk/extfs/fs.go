package extfs

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"esxodus/disk/internal/fsview"
)

// node is an inode and the file system that it is in.
type node struct {
	fsys *FS
	in   inode
}

// Node reads an inode, for [fsview.View].
func (f *FS) Node(number uint64) (fsview.Node, error) {
	in, err := f.inode(int64(min(number, 1<<62)))
	if err != nil {
		return nil, err
	}
	return node{fsys: f, in: in}, nil
}

func (n node) Mode() fs.FileMode                       { return fsview.Mode(n.in.mode) }
func (n node) Size() int64                             { return n.in.size }
func (n node) ModTime() time.Time                      { return n.in.mtime }
func (n node) Immutable() bool                         { return n.in.flags&flagImmutable != 0 }
func (n node) AppendOnly() bool                        { return n.in.flags&flagAppend != 0 }
func (n node) Entries() ([]fsview.Entry, error)        { return n.fsys.entries(n.in) }
func (n node) ReadAt(p []byte, off int64) (int, error) { return n.fsys.readAt(n.in, p, off) }
func (n node) Link() (string, error)                   { return n.fsys.link(n.in) }

// dirRead is how many bytes of a directory are read at a time: whole blocks of any size.
const dirRead = 64 << 10

// entries lists a directory, but for . and "..". An indexed directory is read
// like any other: its index hides in entries that look unused.
func (f *FS) entries(in inode) ([]fsview.Entry, error) {
	if in.mode&modeMask != modeDir {
		return nil, fmt.Errorf("inode %d: %w", in.number, fsview.ErrNotDir)
	}
	if in.size > fsview.MaxDir {
		return nil, fmt.Errorf("%w: inode %d: a directory of %d bytes; the limit is %d", ErrFormat, in.number, in.size, fsview.MaxDir)
	}
	if in.flags&flagInline != 0 {
		return f.inlineEntries(in)
	}
	var es []fsview.Entry
	b := make([]byte, min(max(dirRead, f.blockSize), in.size))
	for off := int64(0); off < in.size; {
		n, err := f.readAt(in, b, off)
		if err != nil {
			return nil, err
		}
		for block := range slices.Chunk(b[:n], int(f.blockSize)) {
			if es, err = parseDir(es, block); err != nil {
				return nil, fmt.Errorf("directory inode %d at %d: %w", in.number, off, err)
			}
			off += int64(len(block))
		}
	}
	return es, nil
}

// inlineEntries lists a directory kept in its inode: 4 bytes of parent, then
// entries; the rest follows in the attribute.
func (f *FS) inlineEntries(in inode) ([]fsview.Entry, error) {
	es, err := parseDir(nil, in.block[4:])
	if err != nil {
		return nil, fmt.Errorf("inline directory inode %d: %w", in.number, err)
	}
	if rest := inlineRest(in.raw); len(rest) > 0 {
		es, err = parseDir(es, rest)
	}
	return es, err
}

// parseDir appends the entries of one block.
func parseDir(es []fsview.Entry, b []byte) ([]fsview.Entry, error) {
	le := binary.LittleEndian
	for len(b) >= 8 {
		length, nameLen := int(le.Uint16(b[4:])), int(b[6])
		if length == 0 && len(b) == 1<<16 { // a whole block of 64 KiB
			length = len(b)
		}
		if length < 8 || length > len(b) || 8+nameLen > length {
			return nil, fmt.Errorf("%w: entry of %d bytes with a name of %d", ErrFormat, length, nameLen)
		}
		e := fsview.Entry{Number: uint64(le.Uint32(b)), Name: string(b[8 : 8+nameLen]), Kind: fsview.Kind(b[7])}
		if e.Number != 0 && fsview.ValidName(e.Name) {
			es = append(es, e)
		}
		b = b[length:]
	}
	return es, nil
}
