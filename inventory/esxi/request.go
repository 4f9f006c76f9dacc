package esxi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// enough is how much a try must have read for the ones before it to be
// forgotten: a host that sends a byte per connection does not hold us for
// ever.
const enough = 64 << 10

// request is one GET or HEAD of a datastore file.
type request struct {
	url         string
	method      string
	ranged      bool
	first, last int64 // bytes, both included
}

// try sends r until handle has taken the answer. handle returns how many
// bytes it took; the next try asks for what follows them. It calls alive
// whenever something arrived.
func (c *Client) try(ctx context.Context, p dsPath, r request, handle func(res *http.Response, alive func()) (int64, error)) error {
	renewed := false
	for tries := 1; ; tries++ {
		session := c.session.Load()
		n, err := c.send(ctx, r, handle)
		r.first += n
		if n >= enough {
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
		if err = c.classify(ctx, p, err); permanent(ctx, err) || final(err) {
			return err
		}
		if tries >= c.retry.tries {
			return fmt.Errorf("gave up after %d tries: %w", tries, err)
		}
		c.log.DebugContext(ctx, "read failed, trying again", "file", p.String(), "offset", r.first, "try", tries, "error", err)
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

// send makes one request. It ends when nothing has arrived for Config.Stall.
func (c *Client) send(ctx context.Context, r request, handle func(*http.Response, func()) (int64, error)) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := c.cfg.Stall
	timer := time.AfterFunc(stall, func() { cancel(fmt.Errorf("%w: nothing arrived for %s", ErrStalled, stall)) })
	defer timer.Stop()
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", c.soap.UserAgent)
	if r.ranged {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(r.first, 10)+"-"+strconv.FormatInt(r.last, 10))
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, stalledOr(ctx, broken(err))
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent {
		discard(res.Body)
		return 0, newStatusError(res)
	}
	// A body that is not read to its end costs its connection, which is what
	// a host that sends something else than asked for should cost.
	defer res.Body.Close() //nolint:errcheck // of no consequence after the last read
	timer.Reset(stall)
	n, err := handle(res, func() { timer.Reset(stall) })
	if err != nil {
		err = stalledOr(ctx, err)
	}
	return n, err
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
