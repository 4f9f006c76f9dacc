package disktest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"esxodus/fixtures"
)

// Mounted is a file system that this machine's kernel has mounted from an image.
type Mounted struct {
	Dir  string // its root
	root int    // the mount, which is at no place in any namespace
	loop *os.File
}

// Mount mounts the image through a loop device, with options as mount takes
// them. No other process sees the mount, so that none keeps it from ending: the
// tests of other packages copy this machine's namespace of mounts for theirs. It
// ends with the process at the latest. The error is the kernel's.
func Mount(tb testing.TB, kind, image, options string) (*Mounted, error) {
	tb.Helper()
	if os.Geteuid() != 0 {
		fixtures.Missing(tb, "root, to mount file systems,")
	}
	loop, err := attach(image)
	if errors.Is(err, os.ErrNotExist) {
		fixtures.Missing(tb, "a loop device")
	}
	if err != nil {
		return nil, fmt.Errorf("loop device for %s: %w", image, err)
	}
	root, err := mount(kind, loop.Name(), options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", image, err), loop.Close())
	}
	m := &Mounted{Dir: fmt.Sprintf("/proc/self/fd/%d", root), root: root, loop: loop}
	tb.Cleanup(func() {
		if m.loop != nil { // the test failed
			_ = unix.Close(m.root)
			_ = m.loop.Close()
		}
	})
	return m, nil
}

// Unmount unmounts it, and returns when all of it is in the image. All its files
// must be closed.
func (m *Mounted) Unmount(tb testing.TB) {
	tb.Helper()
	syscall.ForkLock.Lock() // a child that isn't a program yet holds the mount
	err := unix.Close(m.root)
	syscall.ForkLock.Unlock()
	if err != nil {
		tb.Fatalf("unmounting: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		var fd int
		fd, err = unix.Open(m.loop.Name(), unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Close(fd)
			break
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			break
		}
	}
	if err = errors.Join(err, m.loop.Close()); err != nil {
		tb.Fatalf("%s is still mounted: %v", m.loop.Name(), err)
	}
	m.loop = nil
}

// attach gives an image a loop device, which is let go of when nobody has it open.
func attach(image string) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = control.Close() }()
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the device has its own
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(f.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		if err = unix.IoctlLoopConfigure(int(loop.Fd()), &config); err == nil {
			return loop, nil
		}
		_ = loop.Close()
		if !errors.Is(err, unix.EBUSY) { // another was quicker
			return nil, err
		}
	}
}

// mount mounts a device nowhere, and returns the descriptor that holds the mount.
func mount(kind, device, options string) (int, error) {
	config, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(config) }()
	if err := unix.FsconfigSetString(config, "source", device); err != nil {
		return 0, err
	}
	for option := range strings.SplitSeq(options, ",") {
		switch key, value, valued := strings.Cut(option, "="); {
		case option == "":
		case valued:
			err = unix.FsconfigSetString(config, key, value)
		default:
			err = unix.FsconfigSetFlag(config, key)
		}
		if err != nil {
			return 0, fmt.Errorf("option %s: %w", option, err)
		}
	}
	if err := unix.FsconfigCreate(config); err != nil {
		return 0, err
	}
	return unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOATIME)
}
