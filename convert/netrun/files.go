package netrun

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"esxodus/disk"
	"esxodus/network"

	"golang.org/x/sys/unix"
)

// was is what a step found where it writes a file.
type was struct {
	File *wasFile `json:"file,omitempty"` // nil if there was none
	Dirs []string `json:"dirs,omitempty"` // that the step makes, the outermost first, as the file's path has them
}

type wasFile struct {
	Text     string      `json:"text"`
	Mode     fs.FileMode `json:"mode"`
	UID, GID uint32
	Modified time.Time `json:"modified"`
}

// check wants what can have been where a file is: what its change was planned with,
// and directories that it is in.
func (w *was) check(f *network.FileChange) error {
	switch {
	case (w.File == nil) != (f.State == network.FileNew):
		return fmt.Errorf("what was there before doesn't fit %s, which is %s", f.Path, f.State)
	case w.File != nil && (w.File.Text != f.Old || w.File.Mode&^0o7777 != 0):
		return fmt.Errorf("what was there before isn't %s as it was planned with", f.Path)
	}
	for _, dir := range w.Dirs {
		if filepath.Clean(dir) != dir || dir == "/" || !strings.HasPrefix(f.Path, dir+"/") {
			return fmt.Errorf("%q is no directory of %s", dir, f.Path)
		}
	}
	return nil
}

func (x *executor) path(p string) string { return filepath.Join("/", x.Root, p) }

// look finds out what is where a file is to be. It must be what the changes were
// planned with.
func (x *executor) look(f *network.FileChange) (was, error) {
	var w was
	path := x.path(f.Path)
	for dir := filepath.Dir(f.Path); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(x.path(dir)); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		w.Dirs = append(w.Dirs, dir)
	}
	slices.Reverse(w.Dirs)
	text, err := disk.ReadRegular(path)
	if errors.Is(err, fs.ErrNotExist) && f.State == network.FileNew {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	if f.State == network.FileNew || string(text) != f.Old {
		return w, fmt.Errorf("%s isn't what it was when this was planned: plan again", f.Path)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return w, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	w.File = &wasFile{Text: f.Old, Mode: fs.FileMode(st.Mode & 0o7777), UID: st.Uid, GID: st.Gid, Modified: time.Unix(st.Mtim.Unix())}
	return w, nil
}

// write writes a file, whole or not at all.
func (x *executor) write(f *network.FileChange) error {
	path := x.path(f.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return replace(path, wasFile{Text: f.New, Mode: 0o644})
}

// temporary is what a file is called while it is written, always the same, so that
// what a crash leaves of it is found.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), ".esxodus-"+filepath.Base(path))
}

// replace puts a file in the place of another. networkd reads no hidden ones.
func replace(path string, f wasFile) (err error) {
	tmp, err := os.OpenFile(temporary(path), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.WriteString(f.Text)
	err = errors.Join(err, tmp.Chmod(f.Mode), tmp.Chown(int(f.UID), int(f.GID)), tmp.Sync(), tmp.Close())
	if err == nil && !f.Modified.IsZero() {
		err = os.Chtimes(tmp.Name(), time.Time{}, f.Modified)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return disk.SyncDir(filepath.Dir(path))
}

// restore puts back what was where a file is. One that somebody has changed since
// is theirs.
func (x *executor) restore(f *network.FileChange, w was) error {
	path := x.path(f.Path)
	// A crash may have left it half written.
	if err := os.Remove(temporary(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := disk.ReadRegular(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if w.File != nil {
			err = replace(path, *w.File)
		} else {
			err = nil
		}
	case err != nil:
	case w.File != nil && string(text) == w.File.Text:
	case string(text) != f.New:
		return fmt.Errorf("%s was changed after it was written: move it away, then run `esxodus network rollback` again", f.Path)
	case w.File != nil:
		err = replace(path, *w.File)
	default:
		if err = os.Remove(path); err == nil {
			err = disk.SyncDir(filepath.Dir(path))
		}
	}
	if err != nil {
		return err
	}
	return x.removeDirs(w.Dirs)
}

// removeDirs removes the directories that a step made, but those that somebody
// else has put something into.
func (x *executor) removeDirs(dirs []string) error {
	for _, dir := range slices.Backward(dirs) {
		err := unix.Rmdir(x.path(dir))
		if errors.Is(err, unix.ENOTEMPTY) {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	return nil
}
