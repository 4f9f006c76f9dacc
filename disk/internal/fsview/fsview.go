// Package fsview makes an [io/fs.FS] of a file system that can find an inode
// by its number and list its entries. The readers of disk formats share it, so
// that paths, links and open files behave alike in all of them.
package fsview

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of what is read of one.
const (
	MaxDir  = 8 << 20  // bytes of a directory
	MaxFile = 64 << 20 // bytes of a file that are read through Read
)

// What a path may be refused for, beside [fs.ErrNotExist] and [fs.ErrInvalid].
var (
	ErrNotDir  = errors.New("not a directory")
	ErrIsDir   = errors.New("is a directory")
	ErrNotFile = errors.New("neither a regular file nor a directory")
)

var (
	_ fs.ReadDirFS  = View{}
	_ fs.StatFS     = View{}
	_ fs.ReadLinkFS = View{}
)

// Source is a file system that can find its inodes.
type Source interface {
	// Node reads an inode. It is asked for the root's number and for those
	// that directories name, which may be nonsense.
	Node(number uint64) (Node, error)
}

// Node is an inode that was read.
type Node interface {
	Mode() fs.FileMode
	Size() int64
	ModTime() time.Time
	// Immutable and AppendOnly are the attributes i and a of chattr(1), which
	// root doesn't get past either.
	Immutable() bool
	AppendOnly() bool
	// Entries lists a directory, but for "." and "..".
	Entries() ([]Entry, error)
	// ReadAt reads a regular file's bytes; it may stop early without an error,
	// and says io.EOF at the end.
	ReadAt(p []byte, off int64) (int, error)
	// Link is a symbolic link's target.
	Link() (string, error)
}

// Entry is an entry of a directory.
type Entry struct {
	Number uint64 // of the inode
	Name   string
	Kind   Kind
}

// Kind is a file's type as directories of ext2 and XFS note it.
type Kind byte

// mode is the kind as [fs.FileMode]; ok is false for one not noted.
func (k Kind) mode() (m fs.FileMode, ok bool) {
	switch k {
	case 1:
		return 0, true
	case 2:
		return fs.ModeDir, true
	case 3:
		return fs.ModeDevice | fs.ModeCharDevice, true
	case 4:
		return fs.ModeDevice, true
	case 5:
		return fs.ModeNamedPipe, true
	case 6:
		return fs.ModeSocket, true
	case 7:
		return fs.ModeSymlink, true
	}
	return 0, false
}

// Mode is a Unix mode, as inodes keep it, as [fs.FileMode].
func Mode(unix uint16) fs.FileMode {
	m := fs.FileMode(unix & 0o777)
	if kind, ok := kindOf(unix).mode(); ok {
		m |= kind
	} else {
		m |= fs.ModeIrregular
	}
	for i, mode := range [...]fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if unix>>(9+i)&1 != 0 {
			m |= mode
		}
	}
	return m
}

func kindOf(unix uint16) Kind {
	return [16]Kind{0x8: 1, 0x4: 2, 0x2: 3, 0x6: 4, 0x1: 5, 0xc: 6, 0xa: 7}[unix>>12]
}

// ValidName reports whether a directory may hold a name, and a path name it.
func ValidName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// View is a file system as an [fs.FS]. Symbolic links are the caller's to
// follow: a path that leads through one is an error.
type View struct {
	src  Source
	root uint64
	dirs *dirs
}

// New makes a view of a file system, given its root's inode.
func New(src Source, root uint64) View {
	return View{src: src, root: root, dirs: &dirs{known: make(map[uint64][]Entry)}}
}

// maxKnown is how many entries of directories a view remembers, about 2 MiB.
const maxKnown = 1 << 15

// dirs are the directories of a file system that were listed, by inode: those at the
// top are on the path of every file. A larger one than all may have isn't kept.
type dirs struct {
	mu    sync.Mutex
	known map[uint64][]Entry // sorted by name
	held  int                // entries in all of them
}

func (d *dirs) find(number uint64) ([]Entry, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	es, ok := d.known[number]
	return es, ok
}

func (d *dirs) keep(number uint64, es []Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.known[number]; ok || len(es) >= maxKnown {
		return
	}
	if d.held += 1 + len(es); d.held > maxKnown {
		clear(d.known)
		d.held = 1 + len(es)
	}
	d.known[number] = es
}

// entries lists the directory of an inode, sorted by name: not to be changed. Whoever
// has read the inode gives it as n.
func (v View) entries(number uint64, n Node) (es []Entry, err error) {
	if es, ok := v.dirs.find(number); ok {
		return es, nil
	}
	if n == nil {
		if n, err = v.src.Node(number); err != nil {
			return nil, err
		}
	}
	if es, err = n.Entries(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(es, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	v.dirs.keep(number, es)
	return es, nil
}

// walk finds the inode of a path, whose directories must be real ones, and its number.
func (v View) walk(op, name string) (Node, uint64, error) {
	if !fs.ValidPath(name) {
		return nil, 0, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	number := v.root
	if name != "." {
		for elem := range strings.SplitSeq(name, "/") {
			es, err := v.entries(number, nil)
			if err != nil {
				return nil, 0, wrap(op, name, err)
			}
			i, ok := slices.BinarySearchFunc(es, elem, func(e Entry, name string) int { return strings.Compare(e.Name, name) })
			if !ok {
				return nil, 0, wrap(op, name, fs.ErrNotExist)
			}
			number = es[i].Number
		}
	}
	n, err := v.src.Node(number)
	return n, number, wrap(op, name, err)
}

func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open opens a regular file or a directory; a symbolic link, or a path that
// leads through one, is an error. Reading stops at a limit, with an error.
func (v View) Open(name string) (fs.File, error) {
	n, number, err := v.walk("open", name)
	if err != nil {
		return nil, err
	}
	info := info{name: path.Base(name), Node: n}
	switch {
	case n.Mode().IsDir():
		es, err := v.list("open", name, number, n)
		if err != nil {
			return nil, err
		}
		return &dir{info: info, entries: es}, nil
	case n.Mode().IsRegular():
		return &file{info: info}, nil
	default:
		return nil, wrap("open", name, ErrNotFile)
	}
}

// ReadDir lists a directory, sorted by name. Entries take their type from the
// directory where it notes that; Info reads the inode.
func (v View) ReadDir(name string) ([]fs.DirEntry, error) {
	n, number, err := v.walk("readdir", name)
	if err != nil {
		return nil, err
	}
	return v.list("readdir", name, number, n)
}

func (v View) list(op, name string, number uint64, n Node) ([]fs.DirEntry, error) {
	es, err := v.entries(number, n)
	if err != nil {
		return nil, wrap(op, name, err)
	}
	out := make([]fs.DirEntry, len(es))
	for i, e := range es {
		out[i] = entry{src: v.src, e: e}
	}
	return out, nil
}

// Stat is Lstat: links are the caller's to follow.
func (v View) Stat(name string) (fs.FileInfo, error) { return v.Lstat(name) }

// Lstat describes the file itself, be it a link.
func (v View) Lstat(name string) (fs.FileInfo, error) {
	n, _, err := v.walk("lstat", name)
	if err != nil {
		return nil, err
	}
	return info{name: path.Base(name), Node: n}, nil
}

// ReadLink returns a symbolic link's target as it stands.
func (v View) ReadLink(name string) (string, error) {
	n, _, err := v.walk("readlink", name)
	if err != nil {
		return "", err
	}
	if n.Mode().Type() != fs.ModeSymlink {
		return "", wrap("readlink", name, fs.ErrInvalid)
	}
	target, err := n.Link()
	return target, wrap("readlink", name, err)
}

// info is a fs.FileInfo.
type info struct {
	name string
	Node
}

func (i info) Name() string { return i.name }
func (i info) IsDir() bool  { return i.Mode().IsDir() }
func (i info) Sys() any     { return i.Node }

// entry is a fs.DirEntry.
type entry struct {
	src Source
	e   Entry
}

func (e entry) Name() string { return e.e.Name }
func (e entry) IsDir() bool  { return e.Type().IsDir() }

func (e entry) Type() fs.FileMode {
	if m, ok := e.e.Kind.mode(); ok {
		return m
	}
	i, err := e.Info() // a file system that notes no types
	if err != nil {
		return fs.ModeIrregular
	}
	return i.Mode().Type()
}

func (e entry) Info() (fs.FileInfo, error) {
	n, err := e.src.Node(e.e.Number)
	if err != nil {
		return nil, wrap("stat", e.e.Name, err)
	}
	return info{name: e.e.Name, Node: n}, nil
}

// file is an open regular file.
type file struct {
	info info
	off  int64
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

func (f *file) Read(p []byte) (int, error) {
	if f.off >= MaxFile && f.off < f.info.Size() {
		return 0, fmt.Errorf("%s: larger than the limit of %d bytes", f.info.name, MaxFile)
	}
	n, err := f.info.ReadAt(p, f.off)
	f.off += int64(n)
	return n, err
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	n, err := f.info.ReadAt(p, off)
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
func (d *dir) Read([]byte) (int, error)   { return 0, ErrIsDir }

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
