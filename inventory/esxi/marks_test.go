package esxi

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	fixture "esxodus/fixtures/esxi"
)

// TestSpoiltFirstAnswer has a proxy spoil a file's ranged answers from the
// first one on, as happens whenever the spoilt one of several connections is
// the quickest: no other answer has told yet what they look like when all is
// well.
func TestSpoiltFirstAnswer(t *testing.T) {
	t.Parallel()
	x := newProxied(t)
	const off, n = 65536, 2 << 20
	for _, tt := range spoilt {
		t.Run(string(tt.kind), func(t *testing.T) {
			x.clear()
			x.proxy.Add(fixture.Fault{Kind: tt.kind, Path: x.path})
			p := make([]byte, n)
			got, err := x.open(t).ReadAt(p, off)
			if !bytes.Equal(p[:got], x.data[off:off+got]) {
				t.Error("ReadAt gave wrong bytes")
			}
			if tt.want != nil {
				x.wrong(t, err, tt.want, tt.text)
				return
			}
			if got != n || err != nil {
				t.Errorf("ReadAt = %d, %v; want all of it", got, err)
			}
		})
	}
}

// TestMarks: whatever HEAD and the answers before told of a file's state, each
// answer tells it, and no more.
func TestMarks(t *testing.T) {
	t.Parallel()
	const mtime = "Tue, 14 Nov 2023 22:13:20 GMT"
	both := version{etag: `"a"`, mtime: mtime}
	for _, tt := range []struct {
		name  string
		head  version
		gets  []version // of ranged answers, in turn; the last one's for ever
		wrong int       // reads until one fails; 0: none does
		text  string
	}{
		{name: "none", gets: []version{{}}},
		{name: "all", head: both, gets: []version{both}},
		{name: "HEAD tells less", head: version{mtime: mtime}, gets: []version{both}},
		{name: "HEAD tells nothing", gets: []version{both}},
		{name: "first without ETag", head: both, gets: []version{{mtime: mtime}}, wrong: 1, text: "no ETag"},
		{name: "first without time", head: both, gets: []version{{etag: `"a"`}}, wrong: 1, text: "no Last-Modified"},
		{name: "HEAD tells nothing, later less", gets: []version{both, {}}, wrong: 1, text: "no ETag"},
		{name: "later more", head: version{mtime: mtime}, gets: []version{{mtime: mtime}, both}, wrong: 2, text: "earlier answers had none"},
		{name: "nothing at first", gets: []version{{}, {}, both}, wrong: 2, text: "earlier answers had none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data := content(4096)
			s := newSim(t, nil)
			c := dialSim(t, s)
			gets := tt.gets
			s.setFolder(func(w http.ResponseWriter, r *http.Request) {
				v := tt.head
				if r.Method != http.MethodHead {
					v = gets[0]
					gets = gets[min(1, len(gets)-1):]
				}
				for name, mark := range map[string]string{"ETag": v.etag, "Last-Modified": v.mtime} {
					if mark != "" {
						w.Header().Set(name, mark)
					}
				}
				if first, last := rangeOf(r); r.Method != http.MethodHead {
					partial(w, r, len(data), data[first:last+1], true)
					return
				}
				w.Header().Set("Content-Length", "4096")
			})
			f := openSim(t, s, c)
			p := make([]byte, 512)
			for i := 1; i <= 3; i++ {
				_, err := f.ReadAt(p, 512)
				if i == tt.wrong {
					if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), tt.text) {
						t.Errorf("read %d = %v; want %v and %q", i, err, ErrProtocol, tt.text)
					}
					return
				}
				if err != nil || !bytes.Equal(p, data[512:1024]) {
					t.Errorf("read %d = %v", i, err)
				}
			}
		})
	}
}
