package vmdk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"esxodus/disk"
)

// File is an extent's or a descriptor's file. If it is an [io.Closer] too,
// closing the image closes it; if it is a [disk.Image], its zero extents are
// those of a flat disk.
type File interface {
	io.ReaderAt
	Size() int64 // bytes
}

// Opener opens the files of a disk. The name is the one given to [Open], or
// that of an extent as the descriptor has it, which by then is known to be a
// base name: no separator, not "..".
type Opener interface {
	Open(name string) (File, error)
}

// DirOpener opens files of a directory, and no others: a name or a symbolic
// link that leads out of it is an error, and so is what is no regular file.
func DirOpener(dir string) Opener { return dirOpener(dir) }

type dirOpener string

func (d dirOpener) Open(name string) (_ File, err error) {
	if fi, err := os.Stat(string(d)); err == nil && !fi.IsDir() { // OpenRoot would wait for a pipe
		return nil, fmt.Errorf("%s: not a directory", string(d))
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	// O_NONBLOCK: a pipe shall not keep us waiting.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return disk.NewRaw(f)
}

// checkName tells whether an extent may have this name: that of a file beside
// the descriptor.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%w: extent %.200q lies outside the descriptor's directory; "+
			"put the file beside the descriptor and its bare name into the line", ErrUnsupported, name)
	}
	return nil
}
