package install

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LVM writes the first 128 KiB of a physical volume back as it read them, with
// sector 0 in it. It reads and writes them under its lock of the volume group, a
// file V_group with flock(2) on it, which keeps others out of the way meanwhile.
// What it read before it had the lock it reads again.
//
// A lock is taken as LVM itself does: through a second file named :aux, so that
// it comes to who writes; with a look whether the file is still there once it is
// locked; and the last one removes it.

// Where LVM's locks are, below /run and in full.
const (
	lockDirectory = "lock/lvm"
	lvmConfig     = "/etc/lvm/lvm.conf"
)

// lockPoll is how often a taken lock is tried again.
const lockPoll = 50 * time.Millisecond

// groupLock is LVM's lock of a volume group, as held by us.
type groupLock struct {
	root *os.Root
	top  string // root's path
	name string
	file *os.File // nil until it is ours
	made []string // directories that weren't there
}

// lockGroup takes the lock of a volume group; waiting is told what it waits
// for. The caller releases it.
func (s *System) lockGroup(ctx context.Context, group string, waiting func(string)) (*groupLock, error) {
	text, err := os.ReadFile(lvmConfig)
	if err != nil {
		text = nil // LVM's own defaults
	}
	l, dir, err := s.lockPlace(text)
	if err != nil {
		return nil, err
	}
	if err := l.mkdir(dir); err != nil {
		return nil, errors.Join(err, l.release())
	}
	w := waiter{sys: s, root: l.root, what: "LVM's lock of " + group, waiting: waiting}
	l.name = path.Join(dir, "V_"+group)
	if l.file, err = w.exclusive(ctx, l.name); err != nil {
		return nil, errors.Join(fmt.Errorf("LVM's lock of %s, %s: %w", group, path.Join(l.top, l.name), err), l.release())
	}
	return l, nil
}

// lockPlace returns a lock that isn't taken yet, and the directory below its
// root where LVM keeps its locks, as the text of its configuration says.
func (s *System) lockPlace(config []byte) (*groupLock, string, error) {
	dir := settled(cmp.Or(lockingDir(config), "/run/"+lockDirectory), os.Readlink)
	below, ok := strings.CutPrefix(dir, "/run/")
	switch {
	case ok && s.Run != nil:
		root, err := s.Run.OpenRoot(".")
		return &groupLock{root: root, top: "/run"}, below, err
	case ok: // a system from before 2012
		dir = "/var/lock/lvm"
	}
	root, err := os.OpenRoot("/")
	return &groupLock{root: root, top: "/"}, strings.TrimPrefix(dir, "/"), err
}

// settled resolves the links to /run that /var/lock and /var/run are: an os.Root
// doesn't follow them where they are absolute, as in Debian, and the /run that
// they mean is that of before any chroot.
func settled(dir string, readlink func(string) (string, error)) string {
	dir = path.Clean(dir)
	for _, name := range []string{"/var/lock", "/var/run"} {
		below, ok := strings.CutPrefix(dir+"/", name+"/")
		if !ok {
			continue
		}
		to, err := readlink(name)
		if err != nil {
			continue // a directory
		}
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(name), to)
		}
		dir = path.Join(to, below)
	}
	return dir
}

// lockingDir finds locking_dir in an lvm.conf, "" where it isn't set.
func lockingDir(text []byte) string {
	scan := bufio.NewScanner(bytes.NewReader(text))
	for scan.Scan() {
		name, val, ok := strings.Cut(scan.Text(), "=")
		if !ok || strings.TrimSpace(name) != "locking_dir" {
			continue
		}
		val = strings.TrimSpace(val)
		if parts := strings.Split(val, `"`); len(parts) >= 3 && strings.HasPrefix(parts[1], "/") {
			return parts[1]
		}
	}
	return ""
}

// mkdir makes the directory where it is missing, as in a system without LVM's
// commands, and remembers what it made.
func (l *groupLock) mkdir(dir string) error {
	parts := strings.Split(dir, "/")
	for i := range parts {
		p := strings.Join(parts[:i+1], "/")
		err := l.root.Mkdir(p, 0o700)
		if err == nil {
			l.made = append(l.made, p)
		} else if !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("directory for LVM's locks: %w", err)
		}
	}
	return nil
}

// release gives the lock back, and leaves nothing behind.
func (l *groupLock) release() error {
	var errs []error
	if l.file != nil {
		dropLock(l.root, l.name, l.file)
		errs = append(errs, l.file.Close())
	}
	for _, dir := range slices.Backward(l.made) {
		_ = l.root.Remove(dir) // someone else may use it by now
	}
	return errors.Join(append(errs, l.root.Close())...)
}

// dropLock removes a lock's file if nobody else waits for it. The flock ends
// with its descriptor.
func dropLock(root *os.Root, name string, f *os.File) {
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && sameFile(root, name, f) {
		_ = root.Remove(name)
	}
}

func sameFile(root *os.Root, name string, f *os.File) bool {
	a, err1 := root.Stat(name)
	b, err2 := f.Stat()
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// waiter takes single locks.
type waiter struct {
	sys     *System
	root    *os.Root // that the files are below
	what    string   // for people
	waiting func(string)
	said    bool
}

// exclusive takes a lock through its :aux file.
func (w *waiter) exclusive(ctx context.Context, name string) (*os.File, error) {
	aux, err := w.flock(ctx, name+":aux")
	if err != nil {
		return nil, err
	}
	f, err := w.flock(ctx, name)
	dropLock(w.root, name+":aux", aux)
	return f, errors.Join(err, aux.Close())
}

// flock opens a file and locks it, until the file that is locked is the one
// that has the name.
func (w *waiter) flock(ctx context.Context, name string) (*os.File, error) {
	for {
		f, err := w.root.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o777)
		if err != nil {
			return nil, err
		}
		if err := w.wait(ctx, f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if sameFile(w.root, name, f) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// wait tries until the lock is ours or ctx ends.
func (w *waiter) wait(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		holder := w.sys.holder(f)
		if !w.said && w.waiting != nil {
			w.said = true
			w.waiting(fmt.Sprintf("waiting for %s%s", w.what, holder))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is taken%s: %w; run lilo again when that has ended", holder, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}

// holder says who has a file's lock: ", held by process 12 (vgchange)". It is
// "" where that can't be known.
func (s *System) holder(f *os.File) string {
	var st unix.Stat_t
	if s.Proc == nil || unix.Fstat(int(f.Fd()), &st) != nil {
		return ""
	}
	text, err := s.Proc.ReadFile("locks")
	if err != nil {
		return ""
	}
	// "1: FLOCK  ADVISORY  WRITE 12 00:19:34 0 EOF"
	id := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != id {
			continue
		}
		pid, err := strconv.Atoi(fields[4])
		if err != nil || pid <= 0 {
			continue
		}
		name, err := s.Proc.ReadFile(fields[4] + "/comm")
		if err != nil {
			return ", held by process " + fields[4]
		}
		return fmt.Sprintf(", held by process %d (%s)", pid, strings.TrimSpace(string(name)))
	}
	return ""
}
