package esxi

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/soap"
)

// TestLyingHeaders has whoever answers write what headers it likes, byte for byte,
// with a body that isn't the file's wherever they give that away.
func TestLyingHeaders(t *testing.T) {
	t.Parallel()
	const good = "ETag: \"a\"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
	for _, tt := range []struct {
		name  string
		lines string // %d of the first byte, the last, and how many they are
		right bool   // the body is the file's
		want  error  // nil where right
	}{
		{name: "plain", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\n" + good, right: true},
		{name: "odd case and blanks", lines: "content-RANGE:   Bytes %[1]d-%[2]d/8192  \r\nCONTENT-length:%[3]d\r\n" + good, right: true},
		{name: "length twice, alike", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nContent-Length: %[3]d\r\n" + good, right: true},
		{name: "length twice", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nContent-Length: 1\r\n" + good, want: errAny},
		{name: "length and chunks", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nTransfer-Encoding: chunked\r\n" + good, want: errAny},
		{name: "age twice", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nAge: 0\r\nAge: 86400\r\n" + good, want: ErrProtocol},
		{name: "stale", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nWarning: 110 squid \"Response is stale\"\r\n" + good, want: ErrProtocol},
		{name: "transformed", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nWarning: 199 a \"x\", 214 b \"Transformation applied\"\r\n" + good, want: ErrProtocol},
		{name: "another warning", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nWarning: 299 a \"110 x\"\r\n" + good, right: true},
		{name: "two ETags", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nETag: \"a\"\r\netag: \"b\"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n", want: ErrChanged},
		{name: "two times", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nLast-Modified: Tue, 01 Jan 2030 00:00:00 GMT\r\n" + good, want: ErrChanged},
		{name: "second type is multipart", lines: "Content-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\nContent-Type: a/b\r\nContent-Type: multipart/byteranges; boundary=x\r\n" + good, want: ErrProtocol},
		{name: "folded range", lines: "Content-Range: bytes\r\n %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\n" + good, right: true},
		{name: "gigantic", lines: "X: " + strings.Repeat("x", 16<<20) + "\r\nContent-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\n" + good, want: errAny},
		{name: "early hints", lines: "\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 206 Partial Content\r\nContent-Range: bytes %[1]d-%[2]d/8192\r\nContent-Length: %[3]d\r\n" + good, right: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data := content(8192)
			c := lie(t, func(first, last int) []byte {
				body := bytes.Clone(data[first : last+1])
				if !tt.right {
					for i := range body {
						body[i] = ^body[i]
					}
				}
				status := "HTTP/1.1 206 Partial Content\r\n"
				if strings.HasPrefix(tt.lines, "\r\n") {
					status = "HTTP/1.1 100 Continue\r\n"
				}
				return append(fmt.Appendf([]byte(status), tt.lines+"\r\n", first, last, last-first+1), body...)
			}, good)
			f := &File{ctx: t.Context(), c: c, path: dsPath{"ds", "x"}, url: c.cfg.URL.String() + "/folder/x", size: 8192}
			if err := f.stat(); err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 4096)
			n, err := f.ReadAt(p, 1024)
			if tt.right {
				if err != nil || !bytes.Equal(p, data[1024:5120]) {
					t.Errorf("ReadAt = %d, %v; want the file's bytes", n, err)
				}
				return
			}
			if err == nil || tt.want != errAny && !errors.Is(err, tt.want) { //nolint:errorlint // it stands for any
				t.Errorf("ReadAt = %d, %.300v; want %v", n, err, tt.want)
			}
		})
	}
}

// lie starts a server that answers HEAD with the marks given, and a ranged
// request with what get says, to the byte; and returns a client of it.
func lie(t *testing.T, get func(first, last int) []byte, marks string) *Client {
	t.Helper()
	s := newSim(t, nil)
	c := dialSim(t, s)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn, get, marks)
		}
	}()
	u, err := soap.ParseURL("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	u.Path, u.User = "", nil
	liar := &Client{cfg: c.cfg, http: &http.Client{Transport: c.http.Transport}, retry: c.retry, meter: c.meter, log: c.log, soap: c.soap}
	liar.cfg.URL = u
	liar.session.Store(1)
	return liar
}

func answer(conn net.Conn, get func(first, last int) []byte, marks string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 8192)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		out := []byte("HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n" + marks + "\r\n")
		if _, spec, ok := strings.Cut(string(buf[:n]), "Range: bytes="); ok {
			spec, _, _ = strings.Cut(spec, "\r\n")
			a, b, _ := strings.Cut(spec, "-")
			first, _ := strconv.Atoi(a)
			last, _ := strconv.Atoi(b)
			out = get(first, last)
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}
