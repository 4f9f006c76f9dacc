package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"esxodus/disk/vmdk"
	"esxodus/inventory/esxi"
)

// mountedFiles opens files where the host's datastores are mounted on this machine. Each
// is compared with what the host has under its name.
type mountedFiles struct {
	opener *esxi.Opener
	mounts map[string]string // by datastore
}

// Open implements vmdk.Opener.
func (m mountedFiles) Open(name string) (vmdk.File, error) {
	store, file, err := m.opener.Locate(name)
	if err != nil {
		return nil, err
	}
	root, ok := m.mounts[store]
	if !ok {
		return nil, fmt.Errorf("%s is on the datastore %q, which isn't among those that are mounted here", name, store)
	}
	local, err := openLocal(root, file, "["+store+"] "+file)
	if err != nil {
		return nil, err
	}
	if err := m.sameFile(local, name); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not the file that the host has: %w", filepath.Join(root, file), err), local.Close())
	}
	return local, nil
}

// Parent implements vmdk.Opener.
func (m mountedFiles) Parent(hint string) (vmdk.Opener, string, error) {
	opener, name, err := m.opener.Parent(hint)
	return mountedFiles{opener, m.mounts}, name, err
}

// compared is how many bytes are compared at a file's beginning and end: all of a
// descriptor, with the content ids in it; of data what the guest's partition table
// and file systems begin with.
const compared = 64 << 10

// sameFile compares a file with the host's of that name.
func (m mountedFiles) sameFile(local *localFile, name string) (err error) {
	remote, err := m.opener.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remote.Close()) }()
	if local.Size() != remote.Size() {
		return fmt.Errorf("it has %d bytes, the host's %d: is another datastore mounted there, or an older copy?", local.Size(), remote.Size())
	}
	for _, off := range []int64{0, max(0, local.Size()-compared)} {
		here, there := make([]byte, min(compared, local.Size()-off)), make([]byte, min(compared, local.Size()-off))
		if _, err := local.ReadAt(here, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := remote.ReadAt(there, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !bytes.Equal(here, there) {
			return fmt.Errorf("its bytes from %d on are others: is another datastore mounted there, or an older copy?", off)
		}
	}
	return nil
}
