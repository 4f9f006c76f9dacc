package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// behind is how long a write in bytes must be for its way to the storage to begin at
// once, rather than when the kernel sees fit.
const behind = 1 << 20

// Raw is a disk without a format: a regular file or a block device. It is an
// [Image] and a [Target]; several goroutines may use it.
type Raw struct {
	f      *os.File
	size   int64
	device bool
	thin   bool  // takes no space for what was never written
	blank  int64 // where that begins, of one that is thin
	// data is the run of data that was found last. Many extents of a snapshot's parent
	// are asked for one by one, and to find the end of a run costs some file systems a
	// walk of all its pages.
	data atomic.Pointer[Extent]
}

// OpenRaw opens a regular file or block device that exists. A block device is
// opened for writing only if nothing else uses it: no mount, volume group,
// RAID or swap.
func OpenRaw(path string, write bool) (*Raw, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR
	}
	switch kind := fi.Mode() & fs.ModeType; {
	case kind == fs.ModeDevice && write:
		flags |= os.O_EXCL
	case kind != 0 && kind != fs.ModeDevice:
		return nil, fmt.Errorf("%s: neither a regular file nor a block device", path)
	}
	// O_NONBLOCK: what was a file a moment ago may be a pipe by now.
	f, err := os.OpenFile(path, flags|syscall.O_NONBLOCK, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s is in use (mounted, swap, or part of a volume group or RAID); free it first: %w", path, unix.EBUSY)
	}
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && !os.SameFile(fi, now) {
		err = fmt.Errorf("%s: replaced while it was being opened", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r, err := NewRaw(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// CreateRaw makes a sparse file of size bytes that only its owner can read.
// It is an error wrapping [fs.ErrExist] if path exists.
func CreateRaw(path string, size int64) (*Raw, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(size)
	if err == nil {
		err = SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return &Raw{f: f, size: size}, nil
}

// NewRaw makes a disk of an open regular file or block device. Its size is the
// one that f has now. Closing the Raw closes f.
func NewRaw(f *os.File) (*Raw, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch fi.Mode() & fs.ModeType {
	case 0:
		return &Raw{f: f, size: fi.Size()}, nil
	case fs.ModeDevice:
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return nil, fmt.Errorf("size of %s: %w", f.Name(), err)
		}
		return &Raw{f: f, size: size, device: true}, nil
	default:
		return nil, fmt.Errorf("%s: neither a regular file nor a block device", f.Name())
	}
}

// Size is the size in bytes that the disk had when it was opened.
func (r *Raw) Size() int64 { return r.size }

// Device reports whether the disk is a block device.
func (r *Raw) Device() bool { return r.device }

// Blank says that the disk takes no space for what was never written and reads as
// zeros there, and that nothing was from a byte on. Zero then writes only over what
// isn't zero: zeros would take space as anything else.
func (r *Raw) Blank(from int64) { r.thin, r.blank = true, from }

// ReadAt reads as [io.ReaderAt] says.
func (r *Raw) ReadAt(p []byte, off int64) (int, error) { return r.f.ReadAt(p, off) }

// WriteAt writes as [io.WriterAt] says, but never beyond the disk's end.
func (r *Raw) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > r.size || int64(len(p)) > r.size-off {
		return 0, fmt.Errorf("write of %d bytes at %d: %s has %d bytes", len(p), off, r.f.Name(), r.size)
	}
	n, err := r.f.WriteAt(p, off)
	if n >= behind {
		// Only begun, and a failure shows in Sync: what waits there is little.
		_ = unix.SyncFileRange(int(r.f.Fd()), off, int64(n), unix.SYNC_FILE_RANGE_WRITE)
	}
	return n, err
}

// Sync returns once everything written is on stable storage.
func (r *Raw) Sync() error { return r.f.Sync() }

// Forget drops from memory what is on stable storage: a disk of terabytes would push
// out all else that the host keeps there, its other domains' files among it.
func (r *Raw) Forget() {
	_ = unix.Fadvise(int(r.f.Fd()), 0, 0, unix.FADV_DONTNEED) // a file system that can't keeps it
}

// Close closes the file.
func (r *Raw) Close() error { return r.f.Close() }

// Uncache makes the reads that follow come from the device where that is
// possible: it syncs, and drops what memory holds of the disk.
func (r *Raw) Uncache() error {
	if err := r.f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(r.f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// Extents yields a file's data and holes; a block device is all data. What was data
// once may stay so when a hole is punched there; of holes nothing is remembered.
func (r *Raw) Extents() iter.Seq2[Extent, error] { return r.ExtentsFrom(0) }

// ExtentsFrom is Extents without what lies before off.
func (r *Raw) ExtentsFrom(off int64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		for off < r.size {
			e, err := r.extent(off)
			if !yield(e, err) || err != nil {
				return
			}
			off += e.Length
		}
	}
}

// extent is the run of data or hole that begins at off.
func (r *Raw) extent(off int64) (Extent, error) {
	if r.device {
		return Extent{Offset: off, Length: r.size - off}, nil
	}
	if e := r.data.Load(); e != nil && off >= e.Offset && off < e.Offset+e.Length {
		return Extent{Offset: off, Length: e.Offset + e.Length - off}, nil
	}
	data, err := r.nextData(off)
	if err != nil {
		return Extent{}, err
	}
	if data > off {
		return Extent{Offset: off, Length: data - off, Kind: Zero}, nil
	}
	hole, err := unix.Seek(int(r.f.Fd()), off, unix.SEEK_HOLE)
	if err != nil {
		return Extent{}, fmt.Errorf("%s: finding a hole after %d: %w", r.f.Name(), off, err)
	}
	e := Extent{Offset: off, Length: min(max(hole, off+1), r.size) - off}
	r.data.Store(&e)
	return e, nil
}

// nextData is the offset of the first data at or after off, the size if there
// is none. Where the file system doesn't tell, all is data.
func (r *Raw) nextData(off int64) (int64, error) {
	data, err := unix.Seek(int(r.f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return r.size, nil
	case errors.Is(err, unix.EINVAL):
		return off, nil
	case err != nil:
		return 0, fmt.Errorf("%s: finding data after %d: %w", r.f.Name(), off, err)
	}
	return min(data, r.size), nil
}
