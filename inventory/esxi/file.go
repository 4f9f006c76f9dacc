package esxi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// File is a file on a datastore, open for reading. ReadAt may be called from
// several goroutines; each call is one ranged request on a connection of its
// own, so that several calls share the host's bandwidth better than one.
type File struct {
	// ctx bounds every read: io.ReaderAt has no place for it.
	ctx  context.Context
	c    *Client
	path dsPath
	url  string
	size int64
	once sync.Once

	mu      sync.Mutex
	version version // as first seen
	settled bool    // by a ranged answer: no other one has more marks, or fewer
}

// Open opens the file at a datastore path, "[datastore] dir/x.vmdk", for
// reading. ctx bounds the file's life, not only the call. While a file is
// open the session is kept alive. Errors wrap [ErrNotFound], [ErrLocked] or
// [ErrPermission] where they are that.
func (c *Client) Open(ctx context.Context, path string) (*File, error) {
	p, err := c.parse(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	f := &File{ctx: ctx, c: c, path: p, url: p.url(c.cfg.URL.Host)}
	if err := f.stat(); err != nil {
		return nil, fmt.Errorf("%s: open %s: %w", c.cfg.URL.Host, p, err)
	}
	c.keepAlive(ctx)
	return f, nil
}

// stat learns the file's size and version, by HEAD or, where that doesn't tell
// both, by a request for the first byte.
func (f *File) stat() error {
	head := &heading{f: f}
	err := f.c.try(f.ctx, f.path, head)
	code := statusOf(err)
	if err == nil && head.known && f.version.marked() || err != nil && code != http.StatusMethodNotAllowed && code != http.StatusNotImplemented {
		return err
	}
	err = f.c.try(f.ctx, f.path, &probing{f})
	if s := asStatus(err); s != nil && s.code == http.StatusRequestedRangeNotSatisfiable && s.size == 0 {
		return nil // it is empty: no byte to ask for
	}
	return explain(err)
}

// heading is a HEAD.
type heading struct {
	f     *File
	known bool // the answer told the size
}

func (h *heading) request() request { return request{url: h.f.url, method: http.MethodHead} }

// take implements exchange.
func (h *heading) take(res *http.Response, _ *watch) (bool, error) {
	if res.ContentLength < 0 || res.StatusCode != http.StatusOK || asStored(res) != nil {
		return true, nil // what compresses, or answers by itself, may leave a range alone
	}
	h.known = true
	h.f.opened(versionOf(res, res.ContentLength))
	return true, nil
}

// probing is a request for a file's first byte.
type probing struct{ f *File }

func (p *probing) request() request {
	return request{url: p.f.url, method: http.MethodGet, ranged: true}
}

// take implements exchange.
func (p *probing) take(res *http.Response, w *watch) (bool, error) {
	total, err := contentRange(res, 0, 0)
	if err == nil {
		err = asStored(res)
	}
	if err == nil {
		_, err = w.fill(res.Body, make([]byte, 1))
	}
	if err == nil {
		err = w.ends(res.Body)
	}
	if err == nil {
		p.f.opened(versionOf(res, total))
		p.f.settled = true
	}
	return err == nil, err
}

func (f *File) opened(v version) { f.size, f.version = v.size, v }

// Size returns the file's size in bytes when it was opened.
func (f *File) Size() int64 { return f.size }

// ETag returns the host's mark for the file's version, or "".
func (f *File) ETag() string { return f.seen().etag }

// Version says in words which state of the file is read: another one differs in
// them, as far as the host tells.
func (f *File) Version() string { return f.seen().String() }

func (f *File) seen() version {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version
}

// ModTime returns when the file was last changed, or the zero time where the
// host does not say.
func (f *File) ModTime() time.Time {
	t, err := http.ParseTime(f.seen().mtime)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Name returns the file's datastore path.
func (f *File) Name() string { return f.path.String() }

// Close lets the session lapse if no other file is open. It returns nil.
func (f *File) Close() error {
	f.once.Do(f.c.release)
	return nil
}

// ReadAt implements io.ReaderAt. A connection that breaks or stalls is made
// again, and the read continues where it was; after six times in a row without
// progress it is an error. Either all that was asked for is read and accounted
// for, or nothing counts. Errors wrap [ErrChanged], [ErrLocked],
// [ErrStalled], [ErrNotFound] or [ErrProtocol] where they are that.
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
	r := &reading{f: f, p: p[:min(int64(len(p)), f.size-off)], off: off}
	if err := f.c.try(f.ctx, f.path, r); err != nil {
		return 0, fmt.Errorf("%s: read %s, bytes %d to %d: %w", f.c.cfg.URL.Host, f.path, off, r.last(), explain(err))
	}
	if len(r.p) < len(p) {
		return len(r.p), io.EOF
	}
	return len(p), nil
}

// check compares the answer's headers with what was asked for, and with the
// file that was opened. A mark that the host sent with one answer, be it HEAD's,
// must be in all of them, from the first one on: of several connections any may
// be the first.
func (f *File) check(res *http.Response, first, last int64) error {
	if err := asStored(res); err != nil {
		return err
	}
	total, err := contentRange(res, first, last)
	if err != nil {
		return err
	}
	now := versionOf(res, total)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.version.same(now); err != nil {
		return err
	}
	if err := f.version.lacks(now); err != nil {
		return err
	}
	if f.settled {
		return now.exceeds(f.version)
	}
	f.version, f.settled = now, true
	return nil
}

// ReadFile returns the whole content of the file at a datastore path. A file
// of more than limit bytes is an error before anything is read: a name that
// should be a descriptor's may be a disk's.
func (c *Client) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	f, err := c.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // returns nil
	if f.size > limit {
		return nil, fmt.Errorf("%s: %s has %d bytes, want at most %d", c.cfg.URL.Host, f.path, f.size, limit)
	}
	b := make([]byte, f.size)
	if f.size == 0 {
		return b, nil
	}
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}
