package pvhead

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"esxodus/convert/host"

	"golang.org/x/sys/unix"
)

const (
	// loopTries is how often others, or udev's look at a new device, may be in
	// the way of a free loop device.
	loopTries = 200
	loopPause = 20 * time.Millisecond
)

// loop is a file as a block device. The kernel detaches it when its last user
// closes it or exits.
type loop struct {
	Path string // /dev/loop3
	dev  *os.File
	file *os.File
}

// openLoop makes a block device of a file, which it closes with the device.
// Until then the device is locked as systemd's "Locking Block Device Access"
// has it, so that udev does not look at what appears on it, and nothing on the
// host activates a guest's volumes.
func openLoop(ctx context.Context, file *os.File) (*loop, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("loop device: %w: the kernel's module loop, and root, are needed", err)
	}
	defer func() { _ = control.Close() }() // nothing was written to it
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("free loop device: %w", err)
		}
		l, err := attach(ctx, fmt.Sprintf("/dev/loop%d", n), file)
		if err == nil || !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EWOULDBLOCK) {
			return l, err
		}
		if err := host.Pause(ctx, loopPause); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("loop device: other programs took each free one, %d times", loopTries)
}

// attach locks a loop device before it has a content, and gives it the file.
func attach(ctx context.Context, path string, file *os.File) (l *loop, err error) {
	dev, err := openNode(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dev.Close())
		}
	}()
	if err := unix.Flock(int(dev.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: sector} // a file descriptor is small
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	copy(config.Info.File_name[:len(config.Info.File_name)-1], file.Name())
	if err := unix.IoctlLoopConfigure(int(dev.Fd()), &config); err != nil {
		return nil, fmt.Errorf("giving %s the file %s: %w", path, file.Name(), err)
	}
	return &loop{Path: path, dev: dev, file: file}, nil
}

const sector = 512

// loopTimeout is how long udev has to make the node of a loop device.
const loopTimeout = 10 * time.Second

// openNode opens a loop device, whose node udev may still have to make.
func openNode(ctx context.Context, path string) (*os.File, error) {
	deadline := time.Now().Add(loopTimeout)
	for {
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		if !errors.Is(err, os.ErrNotExist) || time.Now().After(deadline) {
			return dev, err
		}
		if err := host.Pause(ctx, loopPause); err != nil {
			return nil, fmt.Errorf("waiting for %s: %w", path, err)
		}
	}
}

// Close takes the device apart. What was on it is first made unrecognisable:
// udev may look at it in the instant in which the lock is gone and the device
// is not.
func (l *loop) Close() error {
	_, err := l.dev.WriteAt(make([]byte, 8*sector), 0)
	return errors.Join(err, l.dev.Sync(), l.dev.Close(), l.file.Close())
}
