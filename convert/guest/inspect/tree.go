package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"esxodus/convert/guest"
)

// fileSystem is what [extfs.Open] and [xfs.Open] open.
type fileSystem interface {
	fs.ReadLinkFS
	NeedsRecovery() bool
	// Faults says what a check would complain of, as far as a few reads show it,
	// and which of that makes a kernel refuse the file system.
	Faults() (faults, refused []string, err error)
}

// tree is a guest's file tree: file systems by the place they are mounted at.
// Names are relative to the guest's root, as in io/fs. Symbolic links,
// absolute ones too, lead nowhere but into the tree.
type tree struct {
	mounts map[string]fs.ReadLinkFS // "." is the root
	// unlisted gets a directory that is there but can't be listed; it may
	// be nil.
	unlisted func(error)
}

// free is what each file system has left, by its mount point. What wasn't
// unmounted doesn't know.
func (t tree) free() map[string]guest.Space {
	out := map[string]guest.Space{}
	for at, fsys := range t.mounts {
		f, ok := fsys.(interface {
			fileSystem
			Free() int64
			FreeFiles() int64
		})
		if ok && !f.NeedsRecovery() {
			out[path.Join("/", at)] = guest.Space{Bytes: f.Free(), Files: f.FreeFiles()}
		}
	}
	return out
}

// find returns the file system that holds a name, and the name in it. ok is
// false when no file system is mounted there.
func (t tree) find(name string) (fsys fs.ReadLinkFS, rel string, ok bool) {
	for at := name; at != "."; at = path.Dir(at) {
		if fsys, ok := t.mounts[at]; ok {
			if at == name {
				return fsys, ".", true
			}
			return fsys, name[len(at)+1:], true
		}
	}
	fsys, ok = t.mounts["."]
	return fsys, name, ok
}

// resolve follows all links of a name and says what it ends at.
func (t tree) resolve(name string) (real string, info fs.FileInfo, err error) {
	real, err = guest.Resolve(name, func(next string) (string, error) {
		info, err := t.lstat(next)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return "", err
		}
		target, err := t.readLink(next)
		if err == nil && target == "" {
			err = fmt.Errorf("/%s: a link without a target", next)
		}
		return target, err
	})
	if err != nil {
		return "", nil, err
	}
	info, err = t.lstat(real)
	return real, info, err
}

func (t tree) lstat(name string) (fs.FileInfo, error) {
	fsys, rel, ok := t.find(name)
	if !ok {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
	}
	return fsys.Lstat(rel)
}

func (t tree) readLink(name string) (string, error) {
	fsys, rel, ok := t.find(name)
	if !ok {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrNotExist}
	}
	return fsys.ReadLink(rel)
}

// exists reports whether a name, followed to its end, is there.
func (t tree) exists(name string) bool {
	_, _, err := t.resolve(name)
	return err == nil
}

// readFile reads a regular file of at most limit bytes.
func (t tree) readFile(name string, limit int64) ([]byte, error) {
	_, _, info, err := t.regular(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("/%s: %d bytes; the limit is %d", name, info.Size(), limit)
	}
	return t.head(name, limit)
}

// head reads the first n bytes of a regular file, or all that it has.
func (t tree) head(name string, n int64) ([]byte, error) {
	fsys, rel, info, err := t.regular(name)
	if err != nil {
		return nil, err
	}
	f, err := fsys.Open(rel)
	if err != nil {
		return nil, err
	}
	// In one piece: what lies together is one request.
	b := bytes.NewBuffer(make([]byte, 0, min(info.Size(), n)+bytes.MinRead))
	_, err = b.ReadFrom(io.LimitReader(f, n))
	return b.Bytes(), errors.Join(err, f.Close())
}

// regular finds a regular file: its file system, and its name there.
func (t tree) regular(name string) (fsys fs.ReadLinkFS, rel string, info fs.FileInfo, err error) {
	real, info, err := t.resolve(name)
	if err != nil {
		return nil, "", nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, "", nil, fmt.Errorf("/%s is not a regular file but %v", name, info.Mode().Type())
	}
	fsys, rel, _ = t.find(real)
	return fsys, rel, info, nil
}

// entries returns what is in a directory, sorted; nil when it can't be read. It is
// all or nothing: how large a directory may be the file system's reader says.
func (t tree) entries(name string) []fs.DirEntry {
	real, info, err := t.resolve(name)
	if err != nil || !info.IsDir() {
		return nil
	}
	fsys, rel, _ := t.find(real)
	es, err := fs.ReadDir(fsys, rel)
	if err != nil {
		if t.unlisted != nil {
			t.unlisted(fmt.Errorf("/%s: %w", real, err))
		}
		return nil
	}
	return es
}

// list returns the names in a directory, sorted; nil when it can't be read.
func (t tree) list(name string) []string {
	es := t.entries(name)
	if es == nil {
		return nil
	}
	names := []string{}
	for _, e := range es {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// glob returns dir/name for each name in dir that matches a pattern.
func (t tree) glob(dir, pattern string) []string {
	var out []string
	for _, n := range t.list(dir) {
		if ok, err := path.Match(pattern, n); err == nil && ok {
			out = append(out, path.Join(dir, n))
		}
	}
	return out
}
