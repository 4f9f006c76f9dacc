package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// errIrregular is what OpenRegular says of a pipe, a device, a socket or a
// directory.
var errIrregular = errors.New("not a regular file")

// OpenRegular opens a regular file, or what a symbolic link to one leads to,
// for reading. Anything else is an error at once: opening a pipe would wait for
// who writes into it, and reading some devices does more than read.
func OpenRegular(name string) (*os.File, error) {
	// O_NONBLOCK: what Stat saw may be another thing by now.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket
		err = &fs.PathError{Op: "open", Path: name, Err: errIrregular}
	}
	if err != nil {
		return nil, err
	}
	return regular(f, name)
}

// regular is a file that was opened, if it is a regular one.
func regular(f *os.File, name string) (*os.File, error) {
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errIrregular}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Files are the regular files below a directory, as [OpenRegular] opens them.
type Files string

// Open implements [fs.FS].
func (d Files) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return OpenRegular(filepath.Join(string(d), filepath.FromSlash(name)))
}

// OpenBelow opens a regular file below a directory for reading: what a name or a
// symbolic link leads to outside of it is an error, and so is what is no regular file.
func OpenBelow(dir, name string) (*os.File, error) {
	f, err := openBelow(dir, name)
	if err != nil {
		return nil, err
	}
	return regular(f, name)
}

func openBelow(dir, name string) (_ *os.File, err error) {
	if fi, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !fi.IsDir() { // OpenRoot would wait for a pipe
		return nil, fmt.Errorf("%s: not a directory", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	// O_NONBLOCK: a pipe must not keep us waiting.
	return root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
}

// Below are the files and directories below a directory, as [OpenBelow] opens them.
type Below string

// Open implements [fs.FS].
func (d Below) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return openBelow(string(d), name)
}

// ReadRegular is os.ReadFile for files of a directory that others may have made:
// it waits for no pipe.
func ReadRegular(name string) (_ []byte, err error) {
	f, err := OpenRegular(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

// WriteFile makes a file that only its owner can read, or puts it in the place of one:
// it is whole on stable storage, or as it was. A kill may leave one whose name ends in
// ".new".
func WriteFile(path string, b []byte) error {
	f, err := os.OpenFile(path+unfinished, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes names made, moved or removed in a directory last.
func SyncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
