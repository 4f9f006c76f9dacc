package esxi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxText+1)
	half := long[:maxText/2+1]
	tests := []struct {
		name, in, want string // "" for an answer that may pass
	}{
		{"plain", `<?xml version="1.0"?><a b="c > d"><e/>text<f>` + half + `</f><g>` + half + "</g></a>\n", ""},
		{"byte order mark", "\xef\xbb\xbf<a/>", ""},
		{"as long as may be", "<a>" + long[:maxText] + "</a>", ""},
		{"long text", "<a><b>short</b><annotation>" + long + "</annotation></a>", "<annotation> is longer"},
		{"long attribute", `<a><b c="` + long + `"/></a>`, "<b> is longer"},
		{"long name", "<a><" + long + "/></a>", "is longer"},
		{"text parted by comments", "<a><b>" + half + "<!-- > -->" + half + "</b></a>", "<b> is longer"},
		{"text parted by instructions", "<a><b>" + half + `<?x '?>'/>` + half + "</b></a>", "<b> is longer"},
		{"text in CDATA", "<a><b><![CDATA[" + half + "<c>]]>" + half + "</b></a>", "<b> is longer"},
		{"long comment", "<a><!--" + long + "--></a>", "is longer"},
		{"control characters", "<a><\x1b[31mb>" + long, `<\x1b[31mb> is longer`},
		{"document type", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "document type"},
		{"prefix", "<!-- scanned -->x<a/>", "outside the document"},
		{"suffix", "<a></a>HTTP/1.1 200 OK", "outside the document"},
		{"deep", strings.Repeat("<a>", maxDepth+1), "deep"},
		{"many", "<a>" + strings.Repeat("<b/>", maxElements) + "</a>", "elements"},
		{"large", "<a>" + strings.Repeat("<b>"+long[:maxText]+"</b>", 64) + "</a>", "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1, 4096} { // where it is cut makes no difference
				if size == 1 && len(tt.in) > 8<<20 {
					continue
				}
				g := guard{left: maxAnswer}
				var err error
				for rest := tt.in; rest != "" && err == nil; {
					n := min(size, len(rest))
					err = g.scan([]byte(rest[:n]))
					rest = rest[n:]
				}
				if (err != nil) != (tt.want != "") || err != nil && (!errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("in pieces of %d bytes: scan = %.200v; want %q", size, err, tt.want)
				}
			}
		})
	}
}

// TestLongText has a host send a gigabyte as one value: the error names it, and
// next to nothing of it is kept. Not parallel: it counts what is allocated.
func TestLongText(t *testing.T) {
	sent := strings.Repeat("x", 1<<20)
	cfg := liar(t, func(w http.ResponseWriter, method, _ string) {
		switch method {
		case "RetrieveServiceContent":
			envelope(w, serviceContent)
		case "Login":
			envelope(w, loginResponse)
		case "RetrievePropertiesEx":
			_, _ = io.WriteString(w, `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><RetrievePropertiesExResponse xmlns="urn:vim25"><returnval><objects><obj type="HostSystem">`)
			for range 1024 {
				if _, err := io.WriteString(w, sent); err != nil {
					return // who reads has had enough
				}
			}
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(t.Context()))
	c.retry = quick
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = c.Inventory(t.Context())
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrProtocol) || errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), "<obj> is longer than 1048576 bytes") {
		t.Errorf("Inventory = %.300v; want the element that is too long", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d bytes were allocated on the way; want a few MiB", used)
	}
}

// TestSlowAnswer: an answer that comes, but not in time, is told from one that
// doesn't come. The clock is the bubble's own.
func TestSlowAnswer(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"slow": "isn't complete after 2m0s, only 1", "absent": "no answer within 2m0s"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := bounded{transportFunc(func(req *http.Request) (*http.Response, error) {
					if name == "absent" {
						<-req.Context().Done()
						return nil, req.Context().Err()
					}
					body := &dribble{ctx: req.Context(), n: 1, every: time.Second}
					return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(iotest.OneByteReader(body))}, nil
				}), func() time.Duration { return 2 * time.Minute }}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://esx1/sdk", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := b.RoundTrip(req)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				if !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), want) {
					t.Errorf("the answer = %v; want %q", err, want)
				}
			})
		})
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// dribble gives n bytes every so often, until ctx ends.
type dribble struct {
	ctx   context.Context
	n     int
	every time.Duration
}

func (d *dribble) Read(p []byte) (int, error) {
	select {
	case <-time.After(d.every):
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
	n := min(d.n, len(p))
	for i := range p[:n] {
		p[i] = ' '
	}
	return n, nil
}

// TestEncodedSOAP: what is asked for and compressed all the same is named.
func TestEncodedSOAP(t *testing.T) {
	t.Parallel()
	cfg := liar(t, func(w http.ResponseWriter, method, _ string) {
		if method == "" { // the versions, by GET
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Encoding", "br")
		w.Header().Set("Via", "1.1 gateway")
		envelope(w, serviceContent)
	})
	_, err := Dial(t.Context(), cfg)
	if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), `Content-Encoding is "br"`) || !strings.Contains(err.Error(), "1.1 gateway") {
		t.Errorf("Dial = %v; want the encoding and who did it", err)
	}
}
