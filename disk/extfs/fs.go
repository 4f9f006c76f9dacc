package extfs

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// dirent is an entry of a directory.
type dirent struct {
	inode int64
	name  string
	kind  byte // 0 unknown, else the file's type
}

// entries lists a directory, but for . and "..". An indexed directory is read
// like any other: its index hides in entries that look unused.
func (f *FS) entries(in inode) ([]dirent, error) {
	if in.mode&modeMask != modeDir {
		return nil, fmt.Errorf("inode %d: %w", in.number, errNotDir)
	}
	if in.size > MaxDir {
		return nil, fmt.Errorf("%w: inode %d: a directory of %d bytes is more than is read, %d", ErrFormat, in.number, in.size, MaxDir)
	}
	if in.flags&flagInline != 0 {
		return f.inlineEntries(in)
	}
	var es []dirent
	b := make([]byte, f.blockSize)
	for off := int64(0); off < in.size; off += f.blockSize {
		n, err := f.readAt(in, b, off)
		if err != nil {
			return nil, err
		}
		if es, err = parseDir(es, b[:n]); err != nil {
			return nil, fmt.Errorf("directory inode %d at %d: %w", in.number, off, err)
		}
	}
	return es, nil
}

// inlineEntries lists a directory kept in its inode: 4 bytes of parent, then
// entries; the rest follows in the attribute.
func (f *FS) inlineEntries(in inode) ([]dirent, error) {
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
func parseDir(es []dirent, b []byte) ([]dirent, error) {
	le := binary.LittleEndian
	for len(b) >= 8 {
		length, nameLen := int(le.Uint16(b[4:])), int(b[6])
		if length == 0 && len(b) == 1<<16 { // a whole block of 64 KiB
			length = len(b)
		}
		if length < 8 || length > len(b) || 8+nameLen > length {
			return nil, fmt.Errorf("%w: entry of %d bytes with a name of %d", ErrFormat, length, nameLen)
		}
		e := dirent{inode: int64(le.Uint32(b)), name: string(b[8 : 8+nameLen]), kind: b[7]}
		if e.inode != 0 && e.name != "." && e.name != ".." && e.name != "" && !strings.Contains(e.name, "/") {
			es = append(es, e)
		}
		b = b[length:]
	}
	return es, nil
}

// walk finds the inode of a path, whose directories must be real ones:
// symbolic links are the caller's to follow.
func (f *FS) walk(op, name string) (inode, error) {
	if !fs.ValidPath(name) {
		return inode{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	in, err := f.inode(rootInode)
	if err != nil || name == "." {
		return in, wrap(op, name, err)
	}
	for elem := range strings.SplitSeq(name, "/") {
		es, err := f.entries(in)
		if err != nil {
			return inode{}, wrap(op, name, err)
		}
		i := slices.IndexFunc(es, func(e dirent) bool { return e.name == elem })
		if i < 0 {
			return inode{}, wrap(op, name, fs.ErrNotExist)
		}
		if in, err = f.inode(es[i].inode); err != nil {
			return inode{}, wrap(op, name, err)
		}
	}
	return in, nil
}

func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open opens a regular file or a directory; a symbolic link, or a path that
// leads through one, is an error. Reading stops at [MaxFile].
func (f *FS) Open(name string) (fs.File, error) {
	in, err := f.walk("open", name)
	if err != nil {
		return nil, err
	}
	info := info{name: path.Base(name), in: in}
	switch in.mode & modeMask {
	case modeDir:
		es, err := f.ReadDir(name)
		return &dir{info: info, entries: es}, err
	case modeFile:
		return &file{fsys: f, info: info}, nil
	default:
		return nil, wrap("open", name, errNotFile)
	}
}

// ReadDir lists a directory, sorted by name. Entries take their type from the
// directory, so that listing reads no inodes; Info reads one.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	in, err := f.walk("readdir", name)
	if err != nil {
		return nil, err
	}
	es, err := f.entries(in)
	if err != nil {
		return nil, wrap("readdir", name, err)
	}
	slices.SortFunc(es, func(a, b dirent) int { return strings.Compare(a.name, b.name) })
	out := make([]fs.DirEntry, len(es))
	for i, e := range es {
		out[i] = entry{fsys: f, d: e}
	}
	return out, nil
}

// Stat is Lstat: links are the caller's to follow.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.Lstat(name) }

// Lstat describes the file itself, be it a link.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	in, err := f.walk("lstat", name)
	if err != nil {
		return nil, err
	}
	return info{name: path.Base(name), in: in}, nil
}

// ReadLink returns a symbolic link's target as it stands.
func (f *FS) ReadLink(name string) (string, error) {
	in, err := f.walk("readlink", name)
	if err != nil {
		return "", err
	}
	if in.mode&modeMask != modeLink {
		return "", wrap("readlink", name, fs.ErrInvalid)
	}
	target, err := f.link(in)
	return target, wrap("readlink", name, err)
}

// info is a fs.FileInfo.
type info struct {
	name string
	in   inode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.in.size }
func (i info) Mode() fs.FileMode  { return i.in.fileMode() }
func (i info) ModTime() time.Time { return i.in.mtime }
func (i info) IsDir() bool        { return i.Mode().IsDir() }
func (i info) Sys() any           { return nil }

// entry is a fs.DirEntry.
type entry struct {
	fsys *FS
	d    dirent
}

func (e entry) Name() string { return e.d.name }
func (e entry) IsDir() bool  { return e.Type().IsDir() }

func (e entry) Type() fs.FileMode {
	switch e.d.kind {
	case 1:
		return 0
	case 2:
		return fs.ModeDir
	case 3:
		return fs.ModeDevice | fs.ModeCharDevice
	case 4:
		return fs.ModeDevice
	case 5:
		return fs.ModeNamedPipe
	case 6:
		return fs.ModeSocket
	case 7:
		return fs.ModeSymlink
	}
	i, err := e.Info() // a file system without the feature filetype
	if err != nil {
		return fs.ModeIrregular
	}
	return i.Mode().Type()
}

func (e entry) Info() (fs.FileInfo, error) {
	in, err := e.fsys.inode(e.d.inode)
	return info{name: e.d.name, in: in}, err
}

// file is an open regular file.
type file struct {
	fsys *FS
	info info
	off  int64
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

func (f *file) Read(p []byte) (int, error) {
	if f.off >= MaxFile && f.off < f.info.in.size {
		return 0, fmt.Errorf("%s: larger than what is read, %d bytes", f.info.name, MaxFile)
	}
	n, err := f.fsys.readAt(f.info.in, p, f.off)
	f.off += int64(n)
	return n, err
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	n, err := f.fsys.readAt(f.info.in, p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// dir is an open directory.
type dir struct {
	info    info
	entries []fs.DirEntry
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dir) Close() error               { return nil }
func (d *dir) Read([]byte) (int, error)   { return 0, errIsDir }

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.entries) {
		if n > 0 && len(d.entries) == 0 {
			return nil, io.EOF
		}
		n = len(d.entries)
	}
	es := d.entries[:n]
	d.entries = d.entries[n:]
	return es, nil
}
