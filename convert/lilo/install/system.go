package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// System is what the kernel shows of devices. It is opened before any chroot
// (lilo -r), so that a tree without /dev, /proc and /sys in it will do.
type System struct {
	Sys  *os.Root // sysfs
	Dev  *os.Root // device nodes
	Proc *os.Root // nil where there is none
	Run  *os.Root // nil where there is none: nobody to share locks with
}

// OpenSystem opens what the kernel shows of devices.
func OpenSystem() (*System, error) {
	s := &System{}
	var err error
	if s.Sys, err = os.OpenRoot("/sys"); err != nil {
		return nil, fmt.Errorf("/sys: %w", err)
	}
	if s.Dev, err = os.OpenRoot("/dev"); err != nil {
		return nil, errors.Join(fmt.Errorf("/dev: %w", err), s.Close())
	}
	if _, err := s.Sys.Stat("dev/block"); err != nil {
		return nil, errors.Join(errors.New("/sys is not mounted: mount -t sysfs sysfs /sys"), s.Close())
	}
	// Without these two, locks and names of their holders are lost, no more.
	s.Proc, _ = os.OpenRoot("/proc")
	s.Run, _ = os.OpenRoot("/run")
	return s, nil
}

// Close closes all of it.
func (s *System) Close() error {
	var errs []error
	for _, r := range []*os.Root{s.Sys, s.Dev, s.Proc, s.Run} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}

// BootedLabel is the image that the loader says it booted, "" where it wasn't it.
func (s *System) BootedLabel() string {
	if s.Proc == nil {
		return ""
	}
	text, err := s.Proc.ReadFile("cmdline")
	if err != nil {
		return ""
	}
	for word := range strings.FieldsSeq(string(text)) {
		if label, ok := strings.CutPrefix(word, "BOOT_IMAGE="); ok {
			return label // the loader's own comes first
		}
	}
	return ""
}

// ReadFile returns at most limit bytes of a regular file, from its start.
// Whatever else has the name isn't waited for: a FIFO or a terminal might have
// nothing to say for ever.
func ReadFile(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is not a regular file: %s", name, fi.Mode().Type())
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// device is a block device's number.
type device struct{ major, minor uint32 }

func (d device) String() string { return fmt.Sprintf("%d:%d", d.major, d.minor) }

func deviceOf(dev uint64) device { return device{unix.Major(dev), unix.Minor(dev)} }

func parseDevice(text string) (device, error) {
	major, minor, ok := strings.Cut(strings.TrimSpace(text), ":")
	a, err1 := strconv.ParseUint(major, 10, 32)
	b, err2 := strconv.ParseUint(minor, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return device{}, fmt.Errorf("%.40q is not a device number", text)
	}
	return device{uint32(a), uint32(b)}, nil
}

// dir returns a block device's directory in sysfs.
func (s *System) dir(d device) (string, error) {
	link, err := s.Sys.Readlink("dev/block/" + d.String())
	if err != nil {
		return "", fmt.Errorf("block device %s in /sys/dev/block: %w", d, err)
	}
	return path.Join("dev/block", link), nil
}

// attribute reads a file of sysfs, "" if it isn't there.
func (s *System) attribute(name string) (string, error) {
	b, err := s.Sys.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("/sys/%s: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// number reads a file of sysfs that holds a number.
func (s *System) number(name string) (uint64, error) {
	text, err := s.attribute(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/sys/%s: %.40q is not a number", name, text)
	}
	return n, nil
}

func (s *System) exists(name string) bool {
	_, err := s.Sys.Stat(name)
	return err == nil
}

// node returns the name that the kernel gives a device below /dev.
func (s *System) node(dir string) (string, error) {
	text, err := s.attribute(dir + "/uevent")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			return name, nil
		}
	}
	return path.Base(dir), nil
}

// open opens the node of a device, and makes sure that it is this device's.
func (s *System) open(d *Disk, flag int) (*os.File, error) {
	f, err := s.Dev.OpenFile(d.node, flag|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", d, err), f.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || deviceOf(uint64(st.Rdev)) != d.dev {
		return nil, errors.Join(fmt.Errorf("%s is not the device %s that the kernel means by it", d, d.dev), f.Close())
	}
	return f, nil
}
