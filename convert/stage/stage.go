// Package stage keeps disks that can be read once only: what a lease streams goes into a
// raw file of this machine, out of which a plan then looks into the guest and a run
// copies the disk.
//
// Beside each file are the digests of its blocks (see [disk.Digests]). They say of which
// disk, in which state, the file is, which of its blocks have come, and that a file is
// ours.
package stage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"esxodus/disk"
)

// Disk is a disk in one state.
type Disk struct {
	Host, VM      string // what tells them from others: their names or ids, and UUIDs
	Path          string // of the descriptor, "[datastore] web/web.vmdk"
	Size          int64  // bytes
	ChangeVersion string // of the VM's configuration
	ContentID     string
}

// String is one for each disk and state.
func (d Disk) String() string {
	return fmt.Sprintf("%q of VM %s on %s, change version %s, content ID %s", d.Path, d.VM, d.Host, d.ChangeVersion, d.ContentID)
}

// ErrAbsent is wrapped where a disk isn't there, or not all of it.
var ErrAbsent = errors.New("not brought here yet")

// Dir is a directory of this machine in which a host's disks are kept. Hosts that share
// one have datastores and VMs of the same names, and often even one name themselves.
type Dir struct {
	Path string
	Host string // its address
}

// File is where a disk is kept: a name that tells which it is, and is the same for no
// other one.
func (d Dir) File(datastorePath string) string {
	name := strings.TrimSuffix(path.Base(datastorePath), path.Ext(datastorePath))
	legible := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._", r) {
			return r
		}
		return '-'
	}, name[:min(len(name), 100)])
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %s", d.Host, datastorePath))
	return filepath.Join(d.Path, fmt.Sprintf("%s-%.6x.raw", strings.TrimLeft(legible, "."), sum))
}

// Image is a disk that is kept. It must be closed.
type Image struct {
	*disk.Raw
	versions []string
}

// Versions say which state it is of.
func (m *Image) Versions() []string { return m.versions }

// Open opens a disk that [Take] has brought. An error that wraps [ErrAbsent] says that
// this one, in this state, isn't there whole.
func Open(file string, of Disk) (_ *Image, err error) {
	digests, err := open(file, of)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, digests.Close()) }()
	known, total, err := digests.Blocks()
	if err != nil {
		return nil, err
	}
	if known < total {
		return nil, fmt.Errorf("%s: %d of %d blocks of %w", file, known, total, ErrAbsent)
	}
	raw, err := disk.OpenRaw(file, false)
	if err != nil {
		return nil, err
	}
	at, err := untouched(file)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return &Image{raw, []string{fmt.Sprintf("%s: %s, as it came %s", of.Path, of, at.UTC().Format(time.RFC3339Nano))}}, nil
}

// open opens the digests of a file that is of this disk in this state.
func open(file string, of Disk) (*disk.Digests, error) {
	digests, err := disk.OpenDigests(sums(file), of.String(), of.Size, mappings(of))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(file); err == nil {
			return nil, fmt.Errorf("%s is there, without its digests (%s): it may be somebody's; move it away", file, sums(file))
		}
		return nil, fmt.Errorf("%s: %w", of.Path, ErrAbsent)
	case errors.Is(err, disk.ErrOtherPlan):
		return nil, fmt.Errorf("%s is of another state of the disk, or of another disk: this one is %w", file, ErrAbsent)
	case err != nil:
		return nil, err
	}
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%s: %w", file, ErrAbsent)
	case err == nil && (!info.Mode().IsRegular() || info.Size() != of.Size):
		err = fmt.Errorf("%s: %s of %d bytes where a file of %d is to be: remove it and %s", file, info.Mode().Type(), info.Size(), of.Size, sums(file))
	}
	if err != nil {
		return nil, errors.Join(err, digests.Close())
	}
	return digests, nil
}

// untouched makes sure that nobody has written to a file since its last digest was
// recorded, and says when it was written last.
func untouched(file string) (time.Time, error) {
	data, err := os.Stat(file)
	if err != nil {
		return time.Time{}, err
	}
	recorded, err := os.Stat(sums(file))
	if err != nil {
		return time.Time{}, err
	}
	if data.ModTime().After(recorded.ModTime()) {
		return time.Time{}, fmt.Errorf("%s was written to after it came: remove it and %s, and have it brought again", file, sums(file))
	}
	return data.ModTime(), nil
}

// Take brings a disk into a file: what of it has come before, in the same state, is not
// written again. A file of ours that is of another state is replaced.
func Take(ctx context.Context, file string, of Disk, s disk.Stream, o disk.Options) (err error) {
	if s.Size() != of.Size {
		return fmt.Errorf("%s: the stream is of a disk of %d bytes, but the VM's configuration says %d", of.Path, s.Size(), of.Size)
	}
	digests, raw, err := begin(file, of)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close(), digests.Close()) }()
	o.Digests = digests
	if _, err := disk.CopyStream(ctx, raw, s, o); err != nil {
		if errors.Is(err, disk.ErrStreamChanged) {
			return errors.Join(err, Remove(file))
		}
		return fmt.Errorf("%s into %s: %w", of.Path, file, err)
	}
	return nil
}

// begin opens a file that has some of the disk, or makes a new one. The digests are made
// first: a file without them is nobody's of ours.
func begin(file string, of Disk) (_ *disk.Digests, _ *disk.Raw, err error) {
	digests, err := open(file, of)
	switch {
	case errors.Is(err, ErrAbsent):
		if err := Remove(file); err != nil {
			return nil, nil, err
		}
		if digests, err = disk.CreateDigests(sums(file), of.String(), of.Size, mappings(of)); err != nil {
			return nil, nil, err
		}
	case err != nil:
		return nil, nil, err
	}
	raw, err := disk.OpenRaw(file, true)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = disk.CreateRaw(file, of.Size)
	}
	if err != nil {
		return nil, nil, errors.Join(err, digests.Close())
	}
	return digests, raw, nil
}

// Remove removes a disk that is kept, if it is there. A file without digests stays.
func Remove(file string) error {
	if _, err := os.Lstat(sums(file)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return disk.RemoveDigests(sums(file))
}

func sums(file string) string { return file + ".digests" }

func mappings(of Disk) []disk.Mapping { return disk.Whole(disk.FromReaderAt(nil, of.Size)) }
