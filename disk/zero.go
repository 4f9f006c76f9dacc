package disk

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"esxodus/disk/internal/readat"
)

const (
	blkZeroOut = 0x127f // BLKZEROOUT of linux/fs.h
	pageSize   = 4096   // devices clear whole pages only, whatever their sector
	zeroBuffer = 64 << 10
)

// Zero makes [off, off+n) read as zeros. A file gets a hole, a block device is
// told to clear the range (and gives back the space, if that reads as zeros
// for certain); zeros are written where neither works. What is a hole already
// isn't touched, nor what is zero on a disk that has a blank end.
func (r *Raw) Zero(off, n int64) error {
	if off < 0 || n < 0 || off > r.size || n > r.size-off {
		return fmt.Errorf("clearing %d bytes at %d: %s has %d bytes", n, off, r.f.Name(), r.size)
	}
	if n == 0 {
		return nil
	}
	if r.thin {
		return r.zeroThin(off, n)
	}
	if r.device {
		return r.zeroDevice(off, n)
	}
	data, err := r.nextData(off)
	if err != nil {
		return err
	}
	if data >= off+n {
		return nil
	}
	return r.zeroRange(off, n, r.punch)
}

// zeroThin writes zeros over what isn't zero before the disk's blank end.
func (r *Raw) zeroThin(off, n int64) error {
	buf := make([]byte, min(n, zeroBuffer))
	for end := min(off+n, r.blank); off < end; {
		piece := buf[:min(end-off, zeroBuffer)]
		if err := readat.Full(r, piece, off); err != nil {
			return fmt.Errorf("%s: looking for zeros: %w", r.f.Name(), err)
		}
		if !isZero(piece) {
			if err := r.writeZeros(off, int64(len(piece))); err != nil {
				return err
			}
		}
		off += int64(len(piece))
	}
	return nil
}

// zeroDevice clears the whole pages of the range by the device's own means and
// writes the rest.
func (r *Raw) zeroDevice(off, n int64) error {
	from, to := (off+pageSize-1)&^(pageSize-1), (off+n)&^(pageSize-1)
	if from >= to {
		return r.writeZeros(off, n)
	}
	if err := r.writeZeros(off, from-off); err != nil {
		return err
	}
	if err := r.zeroRange(from, to-from, r.punch, r.zeroOut); err != nil {
		return err
	}
	return r.writeZeros(to, off+n-to)
}

// zeroRange tries the ways in turn; writing zeros is the last.
func (r *Raw) zeroRange(off, n int64, ways ...func(off, n int64) error) error {
	for _, way := range ways {
		err := way(off, n)
		if err == nil || !unsupported(err) {
			return err
		}
	}
	return r.writeZeros(off, n)
}

func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS)
}

// punch makes a hole. A block device that isn't sure to read zeros afterwards
// refuses, which BLKDISCARD doesn't.
func (r *Raw) punch(off, n int64) error {
	err := ignoringEINTR(func() error {
		return unix.Fallocate(int(r.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	if err != nil {
		return fmt.Errorf("%s: punching a hole of %d bytes at %d: %w", r.f.Name(), n, off, err)
	}
	return nil
}

// zeroOut has the kernel clear a range of a block device.
func (r *Raw) zeroOut(off, n int64) error {
	span := [2]uint64{uint64(off), uint64(n)}
	err := ignoringEINTR(func() error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, r.f.Fd(), blkZeroOut, uintptr(unsafe.Pointer(&span)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: BLKZEROOUT of %d bytes at %d: %w", r.f.Name(), n, off, err)
	}
	return nil
}

func (r *Raw) writeZeros(off, n int64) error {
	if n == 0 {
		return nil
	}
	buf := make([]byte, min(n, zeroBuffer))
	for n > 0 {
		k, err := r.WriteAt(buf[:min(n, zeroBuffer)], off)
		if err != nil {
			return err
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
