package appliance

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// MaxFile bounds files that are read whole, in bytes.
const MaxFile = 256 << 20

// FS is the guest's tree as it is mounted, for reading. Names are relative to
// its root, as in io/fs; symbolic links, absolute ones too, lead nowhere but
// into it. Only regular files and directories can be opened.
type FS struct {
	ctx context.Context // io/fs's methods take none; an FS lives as long as one act
	a   *Appliance
}

var _ fs.ReadLinkFS = FS{}

// FS returns the guest's tree. Its methods end with ctx.
func (a *Appliance) FS(ctx context.Context) FS { return FS{ctx: ctx, a: a} }

// Lstat implements [fs.ReadLinkFS].
func (f FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstatns", name) }

// Stat implements [fs.StatFS].
func (f FS) Stat(name string) (fs.FileInfo, error) { return f.stat("statns", name) }

func (f FS) stat(call, name string) (fs.FileInfo, error) {
	if err := valid(call, name); err != nil {
		return nil, err
	}
	return f.info(call, name)
}

// info is stat for names that a directory holds, which may be no UTF-8.
func (f FS) info(call, name string) (fs.FileInfo, error) {
	out, err := f.a.call(f.ctx, quick, call, "/"+rooted(name))
	if err != nil {
		return nil, &fs.PathError{Op: call, Path: name, Err: err}
	}
	st, err := fields(out, "st_mode", "st_size", "st_mtime_sec", "st_mtime_nsec", "st_uid", "st_gid", "st_nlink")
	if err != nil {
		return nil, &fs.PathError{Op: call, Path: name, Err: err}
	}
	return Info{
		name: path.Base(name), size: st["st_size"], mode: fileMode(st["st_mode"]),
		time: time.Unix(st["st_mtime_sec"], st["st_mtime_nsec"]),
		UID:  st["st_uid"], GID: st["st_gid"], links: st["st_nlink"],
	}, nil
}

func valid(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

// rooted is a name without io/fs's "." for the root.
func rooted(name string) string {
	if name == "." {
		return ""
	}
	return name
}

// ReadLink implements [fs.ReadLinkFS].
func (f FS) ReadLink(name string) (string, error) {
	if err := valid("readlink", name); err != nil {
		return "", err
	}
	out, err := f.a.call(f.ctx, quick, "readlink", "/"+rooted(name))
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return out, nil
}

// ReadDir implements [fs.ReadDirFS]: sorted, all at once.
func (f FS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := valid("readdir", name); err != nil {
		return nil, err
	}
	local := filepath.Join(f.a.dir, "names")
	if _, err := f.a.call(f.ctx, quick, "ls0", "/"+rooted(name), local); err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	b, err := os.ReadFile(local)
	if err != nil {
		return nil, err
	}
	var entries []fs.DirEntry
	for elem := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		if len(elem) == 0 {
			continue // of an empty directory
		}
		info, err := f.info("lstatns", path.Join(name, string(elem)))
		if err != nil {
			return nil, err
		}
		entries = append(entries, fs.FileInfoToDirEntry(info))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// Open implements [fs.FS]. Of a file what is asked for is read; it is an
// [io.ReaderAt], too.
func (f FS) Open(name string) (fs.File, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		entries, err := f.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &openDir{info: info, entries: entries}, nil
	}
	if !info.Mode().IsRegular() {
		return nil, unreadable(name, fmt.Errorf("not a regular file but %v", info.Mode().Type()))
	}
	o := &openFile{fsys: f, name: name, info: info}
	o.SectionReader = io.NewSectionReader(&o.pieces, 0, info.Size())
	o.pieces = pieces{size: info.Size(), fetch: o.fetch}
	return o, nil
}

func unreadable(name string, err error) error {
	return &fs.PathError{Op: "read", Path: name, Err: err}
}

// ReadFile implements [fs.ReadFileFS]. A file of more than [MaxFile] bytes is
// refused.
func (f FS) ReadFile(name string) ([]byte, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, unreadable(name, fmt.Errorf("not a regular file but %v", info.Mode().Type()))
	}
	if info.Size() > MaxFile {
		return nil, unreadable(name, fmt.Errorf("%d bytes; the limit is %d", info.Size(), MaxFile))
	}
	b, err := f.download("download", name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	return b, nil
}

// download reads a file, or a part of it, by way of the host's private
// directory: what is printed can hold no NUL.
func (f FS) download(call, name string, more ...string) ([]byte, error) {
	local := filepath.Join(f.a.dir, "out")
	if _, err := f.a.call(f.ctx, copyLimit, call, append([]string{"/" + name, local}, more...)...); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(local)
	return b, errors.Join(err, os.Remove(local))
}

// Info describes a file of the guest.
type Info struct {
	name     string
	size     int64
	mode     fs.FileMode
	time     time.Time
	links    int64
	UID, GID int64 // owner
}

// Name implements [fs.FileInfo].
func (i Info) Name() string { return i.name }

// Size implements [fs.FileInfo]: bytes.
func (i Info) Size() int64 { return i.size }

// Mode implements [fs.FileInfo].
func (i Info) Mode() fs.FileMode { return i.mode }

// ModTime implements [fs.FileInfo].
func (i Info) ModTime() time.Time { return i.time }

// IsDir implements [fs.FileInfo].
func (i Info) IsDir() bool { return i.mode.IsDir() }

// Names is the number of a file's names: hard links.
func (i Info) Names() int64 { return i.links }

// Sys implements [fs.FileInfo]: there is nothing behind it.
func (i Info) Sys() any { return nil }

// fileMode translates Linux's st_mode (inode(7)).
func fileMode(m int64) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	for _, s := range special {
		if m&s.bit != 0 {
			mode |= s.flag
		}
	}
	switch m & 0o170000 {
	case 0o100000:
		return mode
	case 0o040000:
		return mode | fs.ModeDir
	case 0o120000:
		return mode | fs.ModeSymlink
	case 0o020000:
		return mode | fs.ModeDevice | fs.ModeCharDevice
	case 0o060000:
		return mode | fs.ModeDevice
	case 0o010000:
		return mode | fs.ModeNamedPipe
	case 0o140000:
		return mode | fs.ModeSocket
	}
	return mode | fs.ModeIrregular
}

// special are the bits of a mode beside the permissions.
var special = []struct { //nolint:gochecknoglobals // a constant table
	bit  int64
	flag fs.FileMode
}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}

// linuxMode is the reverse of fileMode, without the type.
func linuxMode(mode fs.FileMode) int64 {
	m := int64(mode.Perm())
	for _, s := range special {
		if mode&s.flag != 0 {
			m |= s.bit
		}
	}
	return m
}

// openFile is a regular file of the guest. What it is read from must not change
// meanwhile.
type openFile struct {
	*io.SectionReader
	pieces pieces
	fsys   FS
	name   string
	info   fs.FileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

// fetch reads a part of the file.
func (f *openFile) fetch(off, length int64) ([]byte, error) {
	b, err := f.fsys.download("download-offset", f.name, strconv.FormatInt(off, 10), strconv.FormatInt(length, 10))
	if err != nil {
		return nil, unreadable(f.name, err)
	}
	return b, nil
}

// openDir is a directory of the guest, as it was when it was opened.
type openDir struct {
	info    fs.FileInfo
	entries []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.Name(), Err: errors.New("is a directory")}
}

// ReadDir implements [fs.ReadDirFile].
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.entries)
	} else if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	out := d.entries[:n]
	d.entries = d.entries[n:]
	return out, nil
}
