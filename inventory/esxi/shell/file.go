package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"esxodus/inventory/esxi"
)

const (
	// readTries is how often a read is tried without progress.
	readTries = 6
	// pauseFirst is the wait after the first failure; it doubles from there.
	pauseFirst = time.Second
	// ddSector is what the ranges of dd are made of, ddBlock the most that it reads at
	// once.
	ddSector = 512
	ddBlock  = 1 << 20
)

// Reader reads files of a host by dd, a range at a time, over a connection that is made
// when it is needed and made again when it breaks. Its methods may be called from several
// goroutines.
type Reader struct {
	cfg   Config
	pause time.Duration

	mu     sync.Mutex
	client *Client
	// refused is a login that failed: tried again it would lock the account.
	refused error
	// reached says that there once was a connection: only then is one that can't be made
	// tried again. Before, SSH is off, or a firewall drops what is sent to it.
	reached bool
	closed  bool
}

// NewReader is a reader of a host's files. Nothing is connected yet.
func NewReader(cfg Config) *Reader { return &Reader{cfg: cfg, pause: pauseFirst} }

// Close ends the connection. Reads that are under way fail.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.client == nil {
		return nil
	}
	err := r.client.Close()
	r.client = nil
	return err
}

// connected is the connection.
func (r *Reader) connected(ctx context.Context) (*Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, errClosed
	case r.client != nil:
		return r.client, nil
	case r.refused != nil:
		return nil, r.refused
	}
	c, err := Dial(ctx, r.cfg)
	dial, ok := errors.AsType[*net.OpError](err)
	off := !r.reached && ok && dial.Op == "dial" && ctx.Err() == nil
	if off {
		err = fmt.Errorf("%w: %w", errOff, err)
	}
	if errors.Is(err, esxi.ErrLogin) || errors.Is(err, ErrHostKey) || off {
		r.refused = err
	}
	if err != nil {
		return nil, err
	}
	r.client, r.reached = c, true
	return c, nil
}

var (
	errClosed = errors.New("SSH: the reader is closed")
	errOff    = errors.New("SSH seems to be off, or out of reach")
)

// broken forgets a connection that failed, if it is still the one.
func (r *Reader) broken(c *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c != nil && r.client == c {
		_ = c.Close()
		r.client = nil
	}
}

// lasting reports whether an error would come again.
func lasting(err error) bool {
	for _, e := range []error{errClosed, errOff, ErrHostKey, esxi.ErrLogin, esxi.ErrLocked, esxi.ErrNotFound, esxi.ErrPermission, esxi.ErrChanged, esxi.ErrProtocol} {
		if errors.Is(err, e) {
			return true
		}
	}
	_, exit := errors.AsType[*ExitError](err)
	return exit
}

// try does something over the connection, and does it again where that breaks. do
// reports whether it made any progress.
func (r *Reader) try(ctx context.Context, do func(*Client) (progress bool, err error)) error {
	for tries := 1; ; tries++ {
		c, err := r.connected(ctx)
		if err == nil {
			var progress bool
			if progress, err = do(c); progress {
				tries = 1
			}
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case lasting(err):
			return err
		case tries >= readTries:
			return fmt.Errorf("%w after %d tries: %w", esxi.ErrGaveUp, tries, err)
		}
		r.broken(c)
		wait := r.pause << (tries - 1)
		select {
		case <-time.After(wait*3/4 + rand.N(wait/2+1)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// File is a file of the host, open for reading. ReadAt may be called from several
// goroutines; each call is a dd of its own.
type File struct {
	ctx     context.Context // bounds every read: io.ReaderAt has no place for it
	r       *Reader
	path    string
	size    int64
	version string // size, times of the last changes of data and of inode, and inode, as stat prints them
}

// Open opens a file of the host by its absolute path for reading. ctx bounds the file's
// life, not only the call. Errors wrap [esxi.ErrNotFound], [esxi.ErrPermission],
// [esxi.ErrLogin] or [ErrHostKey] where they are that.
func (r *Reader) Open(ctx context.Context, path string) (*File, error) {
	f := &File{ctx: ctx, r: r, path: path}
	err := r.try(ctx, func(c *Client) (bool, error) {
		out, err := c.Run(ctx, stat(path)...)
		if err != nil {
			return false, explainFile(err)
		}
		f.version = strings.TrimSpace(string(out))
		size, _, _ := strings.Cut(f.version, " ")
		if f.size, err = strconv.ParseInt(size, 10, 64); err != nil || f.size < 0 {
			return false, fmt.Errorf("%w: stat says %.100q", esxi.ErrProtocol, f.version)
		}
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: open %s: %w", r.cfg.Addr, path, err)
	}
	return f, nil
}

// stat is the command that prints what tells one state of a file from another.
func stat(path string) []string { return []string{"stat", "-c", "%s %Y %Z %i", path} }

// Size is the file's size in bytes when it was opened.
func (f *File) Size() int64 { return f.size }

// Name is the file's path on the host.
func (f *File) Name() string { return f.path }

// Version says in words which state of the file is read.
func (f *File) Version() string {
	var size, written, changed, inode int64
	if _, err := fmt.Sscan(f.version, &size, &written, &changed, &inode); err != nil {
		return f.version
	}
	at := func(s int64) string { return time.Unix(s, 0).UTC().Format(time.RFC3339) }
	return fmt.Sprintf("%d bytes, written %s, changed %s, inode %d", size, at(written), at(changed), inode)
}

// Close does nothing: the connection is the reader's.
func (f *File) Close() error { return nil }

// ReadAt implements io.ReaderAt. Where the connection breaks or stalls it goes on over
// another, from where it was. Errors wrap [esxi.ErrChanged] where the file isn't any more
// what was opened, [esxi.ErrLocked], [esxi.ErrNotFound] or [esxi.ErrStalled] where they
// are that.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: negative offset %d", f.path, off)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off >= f.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), f.size-off)]
	got := 0
	err := f.r.try(f.ctx, func(c *Client) (bool, error) {
		n, err := f.dd(c, want[got:], off+int64(got))
		got += n
		return n > 0, err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: read %s, bytes %d to %d: %w", f.r.cfg.Addr, f.path, off, off+int64(len(want))-1, err)
	}
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(p), nil
}

// dd fills p from off on and returns how many bytes came. The same command looks whether
// the file is still what it was: afterwards, so that nothing of a changed one counts.
func (f *File) dd(c *Client, p []byte, off int64) (int, error) {
	argv, skip, length := ddRange(f.path, off, int64(len(p)))
	length = min(length, f.size-(off-skip))
	line, err := quote(argv)
	if err != nil {
		return 0, err
	}
	look, err := quote(stat(f.path))
	if err != nil {
		return 0, err
	}
	release, err := c.slot(f.ctx) // a wait for others isn't the host's silence
	if err != nil {
		return 0, err
	}
	defer release()
	ctx, cancel := context.WithCancelCause(f.ctx)
	defer cancel(nil)
	to := &filling{p: p, skip: skip, stall: c.cfg.Stall}
	to.idle = time.AfterFunc(to.stall, func() { cancel(fmt.Errorf("%w: nothing arrived for %s", esxi.ErrStalled, to.stall)) })
	defer to.idle.Stop()
	stderr, err := c.pipe(ctx, argv, line+" && "+look+" >&2", to)
	if err != nil {
		return to.n, explainFile(err)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	switch now := strings.TrimSpace(lines[len(lines)-1]); {
	case now != f.version:
		return 0, fmt.Errorf("%w: it was %q (size, times, inode), and is %.100q", esxi.ErrChanged, f.version, now)
	case to.all != length: // more: the host prints a greeting before each command's output
		return 0, fmt.Errorf("%w: dd gave %d of %d bytes", esxi.ErrProtocol, to.all, length)
	}
	return to.n, nil
}

// ddRange is the dd of a range, in the largest blocks that both its ends allow, and how
// many bytes of its output come before the range, of how many. busybox's dd counts in
// blocks only.
func ddRange(path string, off, length int64) (argv []string, skip, all int64) {
	from := off / ddSector * ddSector
	to := (off + length + ddSector - 1) / ddSector * ddSector
	block := int64(ddBlock)
	for from%block != 0 || (to-from)%block != 0 {
		block /= 2
	}
	number := func(key string, n int64) string { return key + "=" + strconv.FormatInt(n, 10) }
	return []string{"dd", "if=" + path, number("bs", block), number("skip", from/block), number("count", (to-from)/block)}, off - from, to - from
}

// filling is a writer that fills p, without the first bytes and what goes beyond.
type filling struct {
	p     []byte
	n     int
	skip  int64
	all   int64 // bytes that came, wanted or not
	stall time.Duration
	idle  *time.Timer
}

// Write implements io.Writer.
func (f *filling) Write(b []byte) (int, error) {
	f.idle.Reset(f.stall)
	f.all += int64(len(b))
	k := min(f.skip, int64(len(b)))
	f.skip -= k
	f.n += copy(f.p[f.n:], b[k:])
	return len(b), nil
}

// explainFile says what a command that reads a file has failed of.
func explainFile(err error) error {
	exit, ok := errors.AsType[*ExitError](err)
	if !ok {
		return err
	}
	for text, sentinel := range map[string]error{
		"No such file": esxi.ErrNotFound, "Permission denied": esxi.ErrPermission, "Operation not permitted": esxi.ErrPermission,
		"resource busy": esxi.ErrLocked, "Resource temporarily unavailable": esxi.ErrLocked, "Failed to lock": esxi.ErrLocked,
	} {
		if strings.Contains(exit.Output, text) {
			return fmt.Errorf("%w: %s", sentinel, strings.TrimSpace(exit.Output[:min(len(exit.Output), 300)]))
		}
	}
	return err
}
