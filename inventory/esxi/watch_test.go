package esxi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vmware/govmomi/vim25/soap"
)

// dribbling is a client of a host whose answers come n bytes every so often.
// There is no network, so that the clock can be a bubble's.
func dribbling(size int64, n int, every time.Duration, log io.Writer) *Client {
	u := &url.URL{Scheme: "https", Host: "esx1", Path: "/sdk"}
	c := &Client{
		cfg: Config{URL: u, Stall: defaultStall}, log: slog.New(slog.NewTextHandler(log, nil)),
		soap: soap.NewClient(u, true), retry: defaultBackoff(), stores: []store{{name: "ds"}},
	}
	c.meter = &meter{pace: defaultPace(), tell: c.tellSlow}
	c.http = &http.Client{Transport: transportFunc(func(req *http.Request) (*http.Response, error) {
		res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: size, Body: http.NoBody}
		if req.Method == http.MethodHead {
			return res, nil
		}
		var first, last int64
		if _, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
			return nil, err
		}
		res.StatusCode, res.ContentLength = http.StatusPartialContent, last-first+1
		res.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
		res.Body = io.NopCloser(io.LimitReader(&dribble{ctx: req.Context(), n: n, every: every}, res.ContentLength))
		return res, nil
	})}
	return c
}

// TestDribble reads from hosts that send little by little. What is next to
// nothing ends as a stall does, and in an error at last; what is slow is read to
// its end, and told of once in ten minutes.
func TestDribble(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	tests := []struct {
		name  string
		n     int // bytes every tenth of a second
		want  error
		text  string
		told  int // warnings
		least time.Duration
	}{
		{name: "1 KiB/s", n: 102, want: ErrStalled, text: "gave up after 6 tries: connection stalled: only 30", told: 1, least: 3 * time.Minute},
		{name: "a byte at a time", n: 1, want: ErrStalled, text: "gave up after 6 tries", told: 1, least: 3 * time.Minute},
		{name: "3 KiB/s", n: 307, told: 3, least: 20 * time.Minute},
		{name: "30 KiB/s", n: 3072, told: 1, least: 2 * time.Minute},
		{name: "400 KiB/s", n: 40960, told: 0, least: 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				c := dribbling(size, tt.n, 100*time.Millisecond, &log)
				f := &File{ctx: t.Context(), c: c, path: dsPath{"ds", "web/web-flat.vmdk"}, url: "https://esx1/folder/x"}
				if err := f.stat(); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				n, err := f.ReadAt(make([]byte, size), 0)
				if took := time.Since(begin); took < tt.least {
					t.Errorf("ReadAt took %v of the bubble's time; want at least %v", took, tt.least)
				}
				switch {
				case tt.want == nil && (n != size || err != nil):
					t.Errorf("ReadAt = %d, %v; want all of it", n, err)
				case tt.want != nil && (!errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "web-flat.vmdk")):
					t.Errorf("ReadAt = %v; want %v with %q", err, tt.want, tt.text)
				}
				if told := strings.Count(log.String(), "level=WARN"); told != tt.told {
					t.Errorf("%d warnings; want %d:\n%s", told, tt.told, log.String())
				}
				for _, part := range []string{"the source is slow", "rate=", "KiB/s", "floor=\"256 KiB/s\"", "advice="} {
					if tt.told > 0 && !strings.Contains(log.String(), part) {
						t.Errorf("the warning has no %q:\n%s", part, log.String())
					}
				}
			})
		})
	}
}
