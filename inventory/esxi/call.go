package esxi

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// callStalls bounds one call, in Config.Stall.
const callStalls = 4

// caller is a soap.RoundTripper that renews an expired session and tries
// again when a connection breaks.
type caller struct {
	c     *Client
	tries int
	renew bool // log in again when the host says NotAuthenticated
}

// read returns the caller for what changes nothing.
func (c *Client) read() soap.RoundTripper { return &caller{c: c, tries: 3, renew: true} }

// write returns the caller for what must not happen twice.
func (c *Client) write() soap.RoundTripper { return &caller{c: c, tries: 1, renew: true} }

// RoundTrip implements soap.RoundTripper.
func (r *caller) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	renewed := false
	for try := 0; ; try++ {
		session := r.c.session.Load()
		err := r.once(ctx, req, res)
		if _, expired := faultOf(err).(types.NotAuthenticated); expired && r.renew && !renewed {
			renewed = true
			if err := r.c.relogin(ctx, session); err != nil {
				return err
			}
			reset(res)
			continue
		}
		if err == nil || try+1 >= r.tries || permanent(ctx, err) {
			return err
		}
		r.c.log.DebugContext(ctx, "call failed, trying again", "error", err)
		if err := r.c.retry.wait(ctx, try, r.c.retry.first); err != nil {
			return err
		}
		reset(res)
	}
}

// once makes one call. What decodes the answer is not ours and panics on types
// that do not fit; a host that sends such gets an error.
func (r *caller) once(ctx context.Context, req, res soap.HasFault) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: answer does not decode: %v", ErrProtocol, p)
		}
	}()
	err = r.c.soap.RoundTrip(ctx, req, res)
	if e, ok := errors.AsType[*url.Error](err); ok && errors.Is(err, ErrStalled) {
		return e.Err // without the URL, which every call has
	}
	return err
}

// reset empties res for the next answer.
func reset(res soap.HasFault) {
	v := reflect.ValueOf(res).Elem()
	v.SetZero()
}

// negotiate lowers the version that calls announce to the host's own where
// the host is older than govmomi.
func (c *Client) negotiate(ctx context.Context) error {
	u := *c.cfg.URL
	u.User, u.Path = nil, "/sdk/vimServiceVersions.xml"
	var version string
	for try := 0; ; try++ {
		var err error
		if version, err = c.hostVersion(ctx, &u); err == nil {
			break
		}
		if try+1 >= 2 || permanent(ctx, err) {
			return err
		}
		if err := c.retry.wait(ctx, try, c.retry.first); err != nil {
			return err
		}
	}
	if version != "" && olderVersion(version, c.soap.Version) {
		c.soap.Version = version
	}
	return nil
}

// hostVersion returns the version of the vim25 API that the host speaks, or
// "" when it does not say.
func (c *Client) hostVersion(ctx context.Context, u *url.URL) (string, error) {
	const maxSize = 1 << 20
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Stall, ErrStalled)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	plain(req.Header)
	res, err := c.http.Do(req)
	if err != nil {
		err = stalledOr(ctx, err)
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, of which a person has asked nothing
		}
		return "", err
	}
	defer discard(res.Body)
	if res.StatusCode != http.StatusOK {
		return "", nil
	}
	if err := asStored(res); err != nil {
		return "", fmt.Errorf("%s: %w", u.Path, named(res, explain(err)))
	}
	var list struct {
		Namespace []struct {
			Name    string `xml:"name"`
			Version string `xml:"version"`
		} `xml:"namespace"`
	}
	if err := xml.NewDecoder(io.LimitReader(res.Body, maxSize)).Decode(&list); err != nil {
		return "", fmt.Errorf("%s: %w", u.Path, stalledOr(ctx, err))
	}
	for _, n := range list.Namespace {
		if n.Name == c.soap.Namespace {
			return strings.TrimSpace(n.Version), nil
		}
	}
	return "", nil
}

// olderVersion reports whether dotted version a is before b.
func olderVersion(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		if errX != nil || errY != nil {
			return false
		}
		if x != y {
			return x < y
		}
	}
	return len(as) < len(bs)
}

// stalledOr returns why ctx ended if it did, else err.
func stalledOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// discard reads the little that may be left of a body, so that its connection
// can be used again, and closes it. What goes wrong there only costs the
// connection.
func discard(body io.ReadCloser) {
	const little = 64 << 10
	_, _ = io.CopyN(io.Discard, body, little)
	_ = body.Close()
}
