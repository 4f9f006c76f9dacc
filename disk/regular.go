package disk

import (
	"errors"
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

// SyncDir makes names made, moved or removed in a directory last.
func SyncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
