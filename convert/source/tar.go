package source

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// maxMembers is how many files an OVA may have: one for each disk, and a few more.
const maxMembers = 4096

// errTar is wrapped by errors about an OVA that is no tar, or one that isn't read.
var errTar = errors.New("OVA")

// member is a file in a tar: a run of the tar's own bytes.
type member struct {
	offset, size int64
}

// members lists the files in a tar by their names. It reads the headers alone. What
// can't be used in place, or could be read in two ways, is an error.
func members(r io.ReaderAt, size int64) (map[string]member, error) {
	head := make([]byte, min(4, size))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if strings.HasPrefix(string(head), "\x1f\x8b") {
		return nil, fmt.Errorf("%w: it is compressed as a whole, and can't be read in place: gunzip it", errTar)
	}
	section := io.NewSectionReader(r, 0, size)
	t, out := tar.NewReader(section), make(map[string]member)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) && n > 0 {
			return out, nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, fmt.Errorf("%w: member %d: %w", errTar, n+1, err)
		}
		at, err := section.Seek(0, io.SeekCurrent) // the headers end there
		if err != nil {
			return nil, err
		}
		if n >= maxMembers {
			return nil, fmt.Errorf("%w: more than %d members", errTar, maxMembers)
		}
		if h.Typeflag != tar.TypeReg {
			if h.Typeflag == tar.TypeGNUSparse {
				return nil, sparseMember(h.Name)
			}
			continue // a directory, a link: nothing that is read
		}
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return nil, sparseMember(h.Name)
			}
		}
		name := path.Clean(h.Name)
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%w: two members are called %.200q", errTar, name)
		}
		if h.Size < 0 || h.Size > size-at {
			return nil, fmt.Errorf("%w: %.200q has %d bytes, and the file ends before: it is cut short", errTar, name, h.Size)
		}
		out[name] = member{at, h.Size}
	}
}

func sparseMember(name string) error {
	return fmt.Errorf("%w: %.200q is a sparse member, whose bytes don't stand in one piece: make the OVA anew without --sparse", errTar, name)
}
