package esxi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// enough is how much a try must have read for the ones before it to be
// forgotten: a host that sends a byte per connection does not hold us for
// ever.
const enough = 64 << 10

// request is one GET or HEAD of a datastore file, or a GET of a lease's stream.
type request struct {
	url         string
	method      string
	ranged      bool
	first, last int64 // bytes, both included
}

// exchange is what try asks for, again for each try, and what takes the answer.
type exchange interface {
	request() request
	// take handles an answer. It reports whether the answer brought so much
	// that the tries before it no longer count.
	take(res *http.Response, w *watch) (progress bool, err error)
}

// try makes an exchange until the answer has been taken.
func (c *Client) try(ctx context.Context, p dsPath, x exchange) error {
	return c.again(ctx, p.String(), func(err error) error { return c.classify(ctx, p, err) },
		func() (bool, error) { return c.send(ctx, x.request(), x) })
}

// again asks for what until it is there. ask reports whether it brought so much
// that the tries before it no longer count; classify says what a refusal means.
func (c *Client) again(ctx context.Context, what string, classify func(error) error, ask func() (progress bool, err error)) error {
	renewed := false
	for tries := 1; ; tries++ {
		session := c.session.Load()
		progress, err := ask()
		if progress {
			tries, renewed = 1, false
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if statusOf(err) == http.StatusUnauthorized && !renewed {
			renewed = true
			if err := c.relogin(ctx, session); err != nil {
				return err
			}
			tries--
			continue
		}
		if err = classify(err); permanent(ctx, err) || final(err) {
			return err
		}
		if tries >= c.retry.tries {
			return fmt.Errorf("%w after %d tries: %w", ErrGaveUp, tries, err)
		}
		c.log.DebugContext(ctx, "read failed, trying again", "file", what, "try", tries, "error", err)
		if err := c.pause(ctx, tries-1, err); err != nil {
			return err
		}
	}
}

// pause waits before the next try, longer where the host asked for it.
func (c *Client) pause(ctx context.Context, try int, cause error) error {
	first := c.retry.first
	if s := asStatus(cause); s != nil && (s.code == http.StatusServiceUnavailable || s.code == http.StatusTooManyRequests) {
		first = max(c.retry.busy, min(s.after>>try, c.retry.most))
	}
	return c.retry.wait(ctx, try, first)
}

// send makes one request. It ends when nothing has arrived for Config.Stall,
// or next to nothing.
func (c *Client) send(ctx context.Context, r request, x exchange) (bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWatch(c.cfg.Stall, c.meter.trickle, cancel)
	defer w.stop()
	if r.ranged && r.last-r.first >= bulk-1 {
		w.meter = c.meter
		c.meter.begin()
		defer c.meter.end()
	}
	res, err := c.get(ctx, r)
	if err != nil {
		return false, err
	}
	// A body that is not read to its end costs its connection, which is what
	// a host that sends something else than asked for should cost.
	defer res.Body.Close() //nolint:errcheck // of no consequence after the last read
	w.answered()
	progress, err := x.take(res, w)
	if err != nil {
		err = stalledOr(ctx, named(res, err))
	}
	return progress, err
}

// get makes one request, and returns the answer if that isn't a refusal.
func (c *Client) get(ctx context.Context, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.soap.UserAgent)
	plain(req.Header)
	if r.ranged {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(r.first, 10)+"-"+strconv.FormatInt(r.last, 10))
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, stalledOr(ctx, broken(err))
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent {
		discard(res.Body)
		return nil, newStatusError(res)
	}
	return res, nil
}

// broken explains a request that got no answer, without the URL, of which the
// caller names the readable part.
func broken(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("connection broke before the answer: %w", err)
}
