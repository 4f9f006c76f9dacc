package vmdk

import (
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"esxodus/disk"
)

// File is an extent's or a descriptor's file. If it is an [io.Closer] too,
// closing the image closes it; if it is a [disk.Image], its zero extents are
// those of a flat disk.
type File interface {
	io.ReaderAt
	Size() int64 // bytes
}

// Opener opens the files of a disk.
type Opener interface {
	// Open opens a file beside the descriptor. The name is the one given to
	// [Open], or that of an extent as the descriptor has it, which by then is
	// known to be a base name: no separator, not "..".
	Open(name string) (File, error)
	// Parent returns what opens the files of the disk's parent, which may be in
	// another directory, and the name to open it by. hint is the descriptor's
	// parentFileNameHint.
	Parent(hint string) (Opener, string, error)
}

// DirOpener opens files of a directory, and parents in it or below it: a name
// or a symbolic link that leads out of it is an error, and so is what is no
// regular file.
func DirOpener(dir string) Opener { return dirOpener{root: dir, dir: "."} }

type dirOpener struct {
	root string
	dir  string // below root
}

// Parent implements [Opener].
func (d dirOpener) Parent(hint string) (Opener, string, error) {
	file := path.Join(d.dir, hint)
	if strings.HasPrefix(hint, "/") || strings.HasPrefix(hint, "[") || !filepath.IsLocal(file) || file == "." {
		return nil, "", fmt.Errorf("%w: parent %.200q lies outside %s; "+
			"put its files beside the descriptor, and only its name into parentFileNameHint", ErrUnsupported, hint, d.root)
	}
	return dirOpener{d.root, path.Dir(file)}, path.Base(file), nil
}

// Open implements [Opener].
func (d dirOpener) Open(name string) (File, error) {
	f, err := disk.OpenBelow(d.root, path.Join(d.dir, name))
	if err != nil {
		return nil, err
	}
	return disk.NewRaw(f)
}

// checkName reports whether an extent may have this name: that of a file beside
// the descriptor.
func checkName(name string) error {
	for scheme, store := range map[string]string{"vsan://": "vSAN", "vvol://": "a virtual volume"} {
		if strings.HasPrefix(name, scheme) {
			return fmt.Errorf("%w: %w on %s (%.200q), which no file has: only a lease of the host serves it", ErrUnsupported, ErrObject, store, name)
		}
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%w: extent %.200q lies outside the descriptor's directory; "+
			"put the file beside the descriptor, and only its name into the line", ErrUnsupported, name)
	}
	return nil
}
