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
	ctx   context.Context
	c     *Client
	path  dsPath
	url   string
	size  int64
	etag  string
	mtime string // Last-Modified as sent
	once  sync.Once
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

// stat learns the file's size and version, by HEAD or, where the host does
// not answer that, by a request for the first byte.
func (f *File) stat() error {
	r := request{url: f.url, method: http.MethodHead}
	err := f.c.try(f.ctx, f.path, r, func(res *http.Response, _ func()) (int64, error) {
		if res.ContentLength < 0 {
			return 0, fmt.Errorf("%w: no Content-Length", ErrProtocol)
		}
		f.size, f.etag, f.mtime = res.ContentLength, res.Header.Get("ETag"), res.Header.Get("Last-Modified")
		return 0, nil
	})
	var status *statusError
	if !errors.As(err, &status) || status.code != http.StatusMethodNotAllowed && status.code != http.StatusNotImplemented {
		return err
	}
	r = request{url: f.url, method: http.MethodGet, first: 0, last: 0, ranged: true}
	return f.c.try(f.ctx, f.path, r, func(res *http.Response, _ func()) (int64, error) {
		total, err := contentRange(res, 0, 0)
		f.size, f.etag, f.mtime = total, res.Header.Get("ETag"), res.Header.Get("Last-Modified")
		return 0, err
	})
}

// Size returns the file's size in bytes when it was opened.
func (f *File) Size() int64 { return f.size }

// ETag returns the host's mark for the file's version, or "".
func (f *File) ETag() string { return f.etag }

// ModTime returns when the file was last changed, or the zero time where the
// host does not say.
func (f *File) ModTime() time.Time {
	t, err := http.ParseTime(f.mtime)
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
// anew, and the read goes on where it was; after six times in a row without
// progress it is an error. Errors wrap [ErrChanged], [ErrLocked],
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
	want := p[:min(int64(len(p)), f.size-off)]
	got := 0
	r := request{url: f.url, method: http.MethodGet, ranged: true, first: off, last: off + int64(len(want)) - 1}
	err := f.c.try(f.ctx, f.path, r, func(res *http.Response, alive func()) (int64, error) {
		if err := f.check(res, off+int64(got), r.last); err != nil {
			return 0, err
		}
		n, err := readBody(res.Body, want[got:], alive)
		got += n
		return int64(n), err
	})
	if err != nil {
		return got, fmt.Errorf("%s: read %s at %d: %w", f.c.cfg.URL.Host, f.path, off+int64(got), err)
	}
	if len(want) < len(p) {
		return got, io.EOF
	}
	return got, nil
}

// check compares the answer's headers with what was asked for, and with the
// file that was opened.
func (f *File) check(res *http.Response, first, last int64) error {
	total, err := contentRange(res, first, last)
	if err != nil {
		return err
	}
	etag, mtime := res.Header.Get("ETag"), res.Header.Get("Last-Modified")
	switch {
	case total != f.size:
		return fmt.Errorf("%w: it had %d bytes and has %d", ErrChanged, f.size, total)
	case f.etag != "" && etag != "" && etag != f.etag:
		return fmt.Errorf("%w: its ETag was %s and is %s", ErrChanged, f.etag, etag)
	case f.mtime != "" && mtime != "" && mtime != f.mtime:
		return fmt.Errorf("%w: last modified %s, and before %s", ErrChanged, mtime, f.mtime)
	case res.ContentLength >= 0 && res.ContentLength != last-first+1:
		return fmt.Errorf("%w: Content-Length %d for bytes %d to %d", ErrProtocol, res.ContentLength, first, last)
	}
	return nil
}

// contentRange checks that res is exactly the bytes first to last, and
// returns the file's size.
func contentRange(res *http.Response, first, last int64) (int64, error) {
	if res.StatusCode == http.StatusOK {
		return 0, fmt.Errorf("%w: the host (or a proxy) ignores Range and sends the whole file", ErrProtocol)
	}
	header := res.Header.Get("Content-Range")
	var a, b, total int64
	if n, err := fmt.Sscanf(header, "bytes %d-%d/%d", &a, &b, &total); err != nil || n != 3 {
		return 0, fmt.Errorf("%w: Content-Range %.60q", ErrProtocol, header)
	}
	if a != first || b != last || total <= last {
		return 0, fmt.Errorf("%w: Content-Range %.60q, asked for bytes %d to %d", ErrProtocol, header, first, last)
	}
	return total, nil
}

// readBody fills p from body, calling alive whenever something arrived.
func readBody(body io.Reader, p []byte, alive func()) (int, error) {
	n := 0
	for n < len(p) {
		m, err := body.Read(p[n:])
		n += m
		if m > 0 {
			alive()
		}
		if err != nil && n < len(p) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, fmt.Errorf("answer ends after %d of %d bytes: %w", n, len(p), err)
		}
	}
	return n, nil
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
