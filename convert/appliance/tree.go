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
	"strings"
	"time"
)

// MaxFile bounds files that are read of a guest, in bytes.
const MaxFile = 256 << 20

// FS is the guest's tree as it is mounted, for reading. Names are relative to
// its root, as in io/fs; symbolic links, absolute ones too, lead nowhere but
// into it. Only regular files and directories can be opened.
type FS struct {
	ctx context.Context //nolint:containedctx // io/fs's methods take none; an FS lives as long as one act
	a   *Appliance
}

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

// Open implements [fs.FS]. A file of more than [MaxFile] bytes is refused.
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
	b, err := f.read(name, info, MaxFile)
	if err != nil {
		return nil, err
	}
	return &openFile{info: info, Reader: bytes.NewReader(b)}, nil
}

// ReadFile implements [fs.ReadFileFS], with Open's limit.
func (f FS) ReadFile(name string) ([]byte, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	return f.read(name, info, MaxFile)
}

// read reads a file by way of the host's private directory: what is printed
// can hold no NUL.
func (f FS) read(name string, info fs.FileInfo, limit int64) ([]byte, error) {
	bad := func(err error) error { return &fs.PathError{Op: "read", Path: name, Err: err} }
	if !info.Mode().IsRegular() {
		return nil, bad(fmt.Errorf("no regular file but %v", info.Mode().Type()))
	}
	if info.Size() > limit {
		return nil, bad(fmt.Errorf("%d bytes are more than is read, %d", info.Size(), limit))
	}
	local := filepath.Join(f.a.dir, "out")
	if _, err := f.a.call(f.ctx, copyLimit, "download", "/"+name, local); err != nil {
		return nil, bad(err)
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

// openFile is a file of the guest, as it was when it was opened.
type openFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

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

// RealPath follows all links of an absolute path of the guest, which must
// exist, below the guest's root.
func (a *Appliance) RealPath(ctx context.Context, name string) (string, error) {
	return a.call(ctx, quick, "realpath", name)
}

// WriteFile gives a file of the guest a new content, all or nothing, by a new
// file and a rename. A file that exists keeps its mode, owner and extended
// attributes; a new one gets mode and belongs to root. A symbolic link is
// followed: what it leads to is replaced. written is the path that was.
func (a *Appliance) WriteFile(ctx context.Context, name string, content []byte, mode fs.FileMode) (written string, err error) {
	real, old, err := a.target(ctx, name)
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	if old != nil {
		mode = old.Mode()
	}
	err = a.replace(ctx, real, old != nil, mode, func(temp string) error {
		return a.upload(ctx, content, temp, -1)
	})
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	return real, nil
}

// Append adds content to the end of a file of the guest that exists, which is
// filled up with zeros to a multiple of align before; by a new file and a
// rename, as WriteFile.
func (a *Appliance) Append(ctx context.Context, name string, content []byte, align int64) error {
	real, err := a.RealPath(ctx, name)
	if err != nil {
		return fmt.Errorf("appending to %s: %w", name, err)
	}
	st, err := a.FS(ctx).Lstat(rel(real))
	if err != nil {
		return fmt.Errorf("appending to %s: %w", name, err)
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("appending to %s: no regular file but %v", name, st.Mode().Type())
	}
	size := (st.Size() + align - 1) / align * align
	err = a.replace(ctx, real, true, st.Mode(), func(temp string) error {
		if _, err := a.call(ctx, copyLimit, "cp", real, temp); err != nil {
			return err
		}
		if _, err := a.call(ctx, quick, "truncate-size", temp, strconv.FormatInt(size, 10)); err != nil {
			return err
		}
		return a.upload(ctx, content, temp, size)
	})
	if err != nil {
		return fmt.Errorf("appending to %s: %w", name, err)
	}
	return nil
}

// target says which file a write to name makes, or which old one it replaces.
func (a *Appliance) target(ctx context.Context, name string) (real string, old fs.FileInfo, err error) {
	real, err = a.RealPath(ctx, name)
	if err == nil {
		st, err := a.FS(ctx).Lstat(rel(real))
		if err != nil {
			return "", nil, err
		}
		if !st.Mode().IsRegular() {
			return "", nil, fmt.Errorf("%s is no regular file but %v", real, st.Mode().Type())
		}
		return real, st, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	if st, err := a.FS(ctx).Lstat(rel(name)); err == nil {
		return "", nil, fmt.Errorf("it is a symbolic link that leads nowhere (%v)", st.Mode())
	}
	dir, err := a.RealPath(ctx, path.Dir(name))
	if err != nil {
		return "", nil, err
	}
	return path.Join(dir, path.Base(name)), nil, nil
}

// rel is an absolute path as a name of io/fs.
func rel(name string) string {
	name = strings.TrimPrefix(path.Clean(name), "/")
	if name == "" {
		return "."
	}
	return name
}

// replace has fill make a file under a name that nothing has, and gives it
// the place, the mode and, where there was one, all other attributes of real.
func (a *Appliance) replace(ctx context.Context, real string, exists bool, mode fs.FileMode, fill func(temp string) error) error {
	temp := path.Join(path.Dir(real), ".esxodus-"+nonce())
	err := fill(temp)
	if err == nil && exists {
		_, err = a.call(ctx, quick, "copy-attributes", real, temp, "mode:true", "ownership:true", "xattributes:true")
	}
	if err == nil && (!exists || mode&(fs.ModeSetuid|fs.ModeSetgid) != 0) { // a change of owner takes these away
		_, err = a.call(ctx, quick, "chmod", "0"+strconv.FormatInt(linuxMode(mode), 8), temp)
	}
	if err == nil {
		_, err = a.call(ctx, quick, "rename", temp, real)
	}
	if err == nil {
		return nil
	}
	if a.broken == nil {
		if _, rmErr := a.call(ctx, quick, "rm-f", temp); rmErr != nil {
			err = errors.Join(err, rmErr)
		}
	}
	return err
}

// upload writes content to a file of the guest: the whole of it, or from an
// offset on if that isn't negative.
func (a *Appliance) upload(ctx context.Context, content []byte, to string, offset int64) error {
	local := filepath.Join(a.dir, "in")
	if err := os.WriteFile(local, content, 0o600); err != nil {
		return err
	}
	args := []string{"upload", local, to}
	if offset >= 0 {
		args = []string{"upload-offset", local, to, strconv.FormatInt(offset, 10)}
	}
	_, err := a.call(ctx, copyLimit, args[0], args[1:]...)
	return errors.Join(err, os.Remove(local))
}

// Upload copies a file of the host to a path of the guest that nothing has.
func (a *Appliance) Upload(ctx context.Context, local, to string) error {
	if _, err := a.FS(ctx).Lstat(rel(to)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("copying %s to %s in the guest: %w", local, to, errors.Join(fs.ErrExist, err))
	}
	if _, err := a.call(ctx, copyLimit, "upload", local, to); err != nil {
		return fmt.Errorf("copying %s to %s in the guest: %w", local, to, err)
	}
	return nil
}

// Symlink makes a symbolic link in the guest; one that exists is replaced,
// anything else is an error.
func (a *Appliance) Symlink(ctx context.Context, target, name string) error {
	st, err := a.FS(ctx).Lstat(rel(name))
	switch {
	case err == nil && st.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("linking %s: %w", name, fs.ErrExist)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("linking %s: %w", name, err)
	}
	dir, err := a.RealPath(ctx, path.Dir(name))
	if err != nil {
		return fmt.Errorf("linking %s: %w", name, err)
	}
	temp := path.Join(dir, ".esxodus-"+nonce())
	if _, err := a.call(ctx, quick, "ln-s", target, temp); err != nil {
		return fmt.Errorf("linking %s: %w", name, err)
	}
	if _, err := a.call(ctx, quick, "rename", temp, path.Join(dir, path.Base(name))); err != nil {
		return fmt.Errorf("linking %s: %w", name, err)
	}
	return nil
}

// Remove removes a file or a symbolic link of the guest, not what the link
// leads to. It is an error if there is none.
func (a *Appliance) Remove(ctx context.Context, name string) error {
	if _, err := a.call(ctx, quick, "rm", name); err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	return nil
}

// MkdirAll makes a directory of the guest and those above it, where they are
// missing, with mode 0755.
func (a *Appliance) MkdirAll(ctx context.Context, name string) error {
	if _, err := a.call(ctx, quick, "mkdir-p", name); err != nil {
		return fmt.Errorf("making %s: %w", name, err)
	}
	return nil
}
