package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

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

// Append adds content to the end of a file of the guest that exists, by a new
// file and a rename, as WriteFile.
func (a *Appliance) Append(ctx context.Context, name string, content []byte) error {
	real, err := a.RealPath(ctx, name)
	if err != nil {
		return fmt.Errorf("appending to %s: %w", name, err)
	}
	st, err := a.FS(ctx).Lstat(rel(real))
	if err != nil {
		return fmt.Errorf("appending to %s: %w", name, err)
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("appending to %s: not a regular file but %v", name, st.Mode().Type())
	}
	err = a.replace(ctx, real, true, st.Mode(), func(temp string) error {
		if _, err := a.call(ctx, copyLimit, "cp", real, temp); err != nil {
			return err
		}
		return a.upload(ctx, content, temp, st.Size())
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
			return "", nil, fmt.Errorf("%s is not a regular file but %v", real, st.Mode().Type())
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
