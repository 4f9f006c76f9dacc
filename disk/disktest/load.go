package disktest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	writers  = 4
	maxFiles = 60 // that a writer keeps
)

// load is writers at work in a mounted file system.
type load struct {
	left atomic.Int64 // steps, of all writers together
	now  chan struct{}
	cut  atomic.Bool // errors are as they should be from here on
	done atomic.Bool
}

// Load has several writers take so many steps in a mounted file system: they
// make, change, move and delete files, links and directories of all sizes, and
// keep fragmented files open that are deleted. Then it calls cut, if that isn't
// nil, while they go on; they stop when it has returned. The seed says what each
// writer does; what they do to one another is chance.
func Load(tb testing.TB, dir string, seed uint64, steps int, cut func()) {
	tb.Helper()
	l := &load{now: make(chan struct{})}
	l.left.Store(int64(steps))
	var wg sync.WaitGroup
	var errs [writers]error
	for n := range errs {
		wg.Go(func() { errs[n] = l.write(newWriter(dir, seed, n)) })
	}
	finished := make(chan struct{})
	go func() {
		wg.Wait()
		close(finished)
	}()
	select {
	case <-l.now:
		if cut != nil {
			cut()
		}
	case <-finished:
	}
	l.done.Store(true)
	<-finished
	if err := errors.Join(errs[:]...); err != nil {
		tb.Fatalf("load of seed %d: %v", seed, err)
	}
}

// write takes steps until the load is done.
func (l *load) write(w *writer) error {
	err := os.Mkdir(w.dir, 0o755)
	if tolerable(err) {
		err = nil
	}
	for err == nil && !l.done.Load() {
		if l.left.Add(-1) == 0 {
			l.cut.Store(true)
			close(l.now)
		}
		if err = w.step(); tolerable(err) {
			err = nil
		}
	}
	for _, f := range w.open {
		_ = f.Close() // it is gone
	}
	if l.cut.Load() {
		return nil
	}
	return err
}

// tolerable is an error of a full file system, of a file that went with its directory, and
// of what not every file system can do.
func tolerable(err error) bool {
	for _, of := range []error{unix.ENOSPC, os.ErrNotExist, os.ErrExist, unix.EOPNOTSUPP} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

// writer works in a directory of its own.
type writer struct {
	rng     *rand.Rand
	content *rand.ChaCha8
	dir     string
	next    int
	files   []string
	dirs    []string
	open    []*os.File // and unlinked
}

func newWriter(dir string, seed uint64, n int) *writer {
	return &writer{
		rng: rand.New(rand.NewPCG(seed, uint64(n))), content: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(n)}),
		dir: fmt.Sprintf("%s/%x-%d", dir, seed, n),
	}
}

// step does one thing to one file.
func (w *writer) step() error {
	if len(w.files) > maxFiles {
		return w.remove()
	}
	if len(w.files) < 3 {
		return w.create()
	}
	n := w.rng.IntN(100)
	for _, kind := range []struct {
		below int
		do    func() error
	}{
		{32, w.create},
		{47, w.change},
		{60, w.remove},
		{68, w.truncate},
		{75, w.rename},
		{80, w.link},
		{84, w.directory},
		{87, w.removeDirectory},
		{90, w.orphan},
		{95, w.attributes},
		{100, w.sync},
	} {
		if n < kind.below {
			return kind.do()
		}
	}
	return nil
}

// name is a new one, in the writer's directory or one below it.
func (w *writer) name() string {
	dir := w.dir
	if len(w.dirs) > 0 && w.rng.IntN(2) == 0 {
		dir = w.dirs[w.rng.IntN(len(w.dirs))]
	}
	w.next++
	return fmt.Sprintf("%s/%d%s", dir, w.next, strings.Repeat("x", w.rng.IntN(120)))
}

func (w *writer) some() string { return w.files[w.rng.IntN(len(w.files))] }

// size is one of 1 B to 512 KiB, small ones as often as large ones.
func (w *writer) size() int64 { return 1 + w.rng.Int64N(1<<(1+w.rng.IntN(19))) }

// write opens a file and writes n bytes at a place.
func (w *writer) write(path string, at, n int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.NewOffsetWriter(f, at), w.content, n)
	if err == nil && w.rng.IntN(8) == 0 {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (w *writer) create() error {
	path := w.name()
	w.files = append(w.files, path)
	return w.write(path, 0, w.size())
}

func (w *writer) change() error { return w.write(w.some(), w.rng.Int64N(1<<20), w.size()) }

func (w *writer) remove() error {
	i := w.rng.IntN(len(w.files))
	path := w.files[i]
	w.files = slices.Delete(w.files, i, i+1)
	return os.Remove(path)
}

func (w *writer) truncate() error { return os.Truncate(w.some(), w.rng.Int64N(1<<20)) }

// rename moves a file, onto another one as often as not.
func (w *writer) rename() error {
	i, to := w.rng.IntN(len(w.files)), w.name()
	if w.rng.IntN(2) == 0 {
		to = w.some()
	}
	from := w.files[i]
	w.files[i] = to
	return os.Rename(from, to)
}

func (w *writer) link() error {
	from, to := w.some(), w.name()
	if w.rng.IntN(2) == 0 {
		return os.Symlink(strings.Repeat("y", 1+w.rng.IntN(900)), to)
	}
	w.files = append(w.files, to)
	return os.Link(from, to)
}

// directory makes one with enough files to need an index, or few.
func (w *writer) directory() error {
	path := w.name()
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	w.dirs = append(w.dirs, path)
	for i := range 1 << w.rng.IntN(8) {
		name := fmt.Sprintf("%s/f%d%s", path, i, strings.Repeat("z", w.rng.IntN(100)))
		if err := w.write(name, 0, int64(w.rng.IntN(100))); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) removeDirectory() error {
	if len(w.dirs) == 0 {
		return nil
	}
	i := w.rng.IntN(len(w.dirs))
	path := w.dirs[i]
	w.dirs = slices.Delete(w.dirs, i, i+1)
	return os.RemoveAll(path) // and files that the writer believes it has
}

// orphan makes a file of many extents, deletes it and keeps it open: the kernel
// frees its blocks when it mounts the file system anew.
func (w *writer) orphan() error {
	path := w.name()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w.open = append(w.open, f)
	block := make([]byte, 4096)
	for i := range 1 + w.rng.Int64N(400) {
		if _, err = f.WriteAt(block, 2*i*int64(len(block))); err != nil {
			break
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, os.Remove(path))
}

func (w *writer) attributes() error {
	path := w.some()
	switch w.rng.IntN(3) {
	case 0:
		return os.Chmod(path, os.FileMode(w.rng.IntN(0o1000)))
	case 1:
		return os.Chown(path, w.rng.IntN(1<<16), w.rng.IntN(1<<16))
	}
	value := make([]byte, w.rng.IntN(700))
	_, _ = w.content.Read(value) // never fails
	return unix.Setxattr(path, "user.x", value, 0)
}

// sync has a file, or all of them, on stable storage.
func (w *writer) sync() error {
	f, err := os.Open(w.some())
	if err != nil {
		return err
	}
	if w.rng.IntN(4) == 0 {
		err = unix.Syncfs(int(f.Fd()))
	} else {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
