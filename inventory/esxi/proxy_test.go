package esxi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/disk"
	"esxodus/fixtures"
	fixture "esxodus/fixtures/esxi"
)

// proxied is a host behind a proxy that spoils answers, a client of it, and a
// file of which every byte is known.
type proxied struct {
	host  *fixture.Host
	proxy *fixture.Proxy
	c     *Client
	path  string
	data  []byte
}

func newProxied(t *testing.T) *proxied {
	t.Helper()
	dir := t.TempDir()
	if err := fixtures.SmallGuest(filepath.Join(dir, "g"), "g"); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, fixture.Options{Dir: dir})
	p, err := fixture.StartProxy(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	x := &proxied{host: h, proxy: p, path: "[datastore1] g/small-flat.vmdk", data: make([]byte, 2*disk.BlockSize+65536+512)}
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{1}), x.data); err != nil {
		t.Fatal(err)
	}
	clear(x.data[1<<20 : 2<<20]) // and something that compresses
	if err := h.Faults().ReplaceFile(x.path, x.data, int64(len(x.data))); err != nil {
		t.Fatal(err)
	}
	cfg := hostConfig(t, h)
	cfg.URL.Host, cfg.Thumbprint = strings.TrimPrefix(p.URL(), "https://"), p.Thumbprint()
	if x.c, err = Dial(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	x.c.retry = quick
	t.Cleanup(func() { _ = x.c.Close(context.WithoutCancel(t.Context())) })
	return x
}

func (x *proxied) open(t *testing.T) *File {
	t.Helper()
	f, err := x.c.Open(t.Context(), x.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func (x *proxied) clear() {
	x.proxy.Clear()
	x.host.Faults().Clear()
}

// errAny stands for an error that wraps nothing in particular.
var errAny = errors.New("any")

// spoilt are the ways in which an answer may be wrong.
var spoilt = []struct {
	kind  fixture.Kind
	want  error // if it is so every time; nil where it is right all the same
	final bool  // once is enough
	text  string
}{
	{kind: fixture.Chunked},
	{kind: fixture.UntilClose},
	{kind: fixture.Gzipped, want: ErrProtocol, text: `Content-Encoding is "gzip"`},
	{kind: fixture.GzippedChunked, want: ErrProtocol, text: `Content-Encoding is "gzip"`},
	{kind: fixture.GzippedUntold, want: errAny, text: "answer"},
	{kind: fixture.GzippedLength, want: ErrProtocol, text: "differ from the answer before"},
	{kind: fixture.GzippedLayer, want: errAny, text: "encoding"},
	{kind: fixture.Deflated, want: ErrProtocol, text: `Content-Encoding is "deflate"`},
	{kind: fixture.Prefixed, want: ErrProtocol, text: "goes on after"},
	{kind: fixture.PrefixedCut, want: io.ErrUnexpectedEOF, text: "answer ends after"},
	{kind: fixture.Suffixed, want: ErrProtocol, text: "goes on after"},
	{kind: fixture.Doubled, want: ErrProtocol, text: "goes on after"},
	{kind: fixture.DoubledLength, want: ErrProtocol, text: "Content-Length"},
	{kind: fixture.Truncated, want: io.ErrUnexpectedEOF, text: "answer ends after"},
	{kind: fixture.TruncatedClose, want: io.ErrUnexpectedEOF, text: "answer ends after"},
	{kind: fixture.TruncatedLen, want: ErrProtocol, text: "Content-Length"},
	{kind: fixture.RangeStart, want: ErrProtocol, text: "Content-Range"},
	{kind: fixture.RangeEnd, want: ErrProtocol, text: "Content-Range"},
	{kind: fixture.RangeTotal, want: ErrChanged, final: true, text: "a cache in between"},
	{kind: fixture.RangeUnknown, want: ErrProtocol, text: "Content-Range"},
	{kind: fixture.RangeTwice, want: ErrProtocol, text: "Content-Range"},
	{kind: fixture.RangeAbsent, want: ErrProtocol, text: "Content-Range"},
	{kind: fixture.Whole, want: ErrProtocol, text: "ignores Range"},
	{kind: fixture.Multipart, want: ErrProtocol, text: "multipart"},
	{kind: fixture.LoginPage, want: ErrProtocol, text: "text/html"},
	{kind: fixture.LoginPage206, want: io.ErrUnexpectedEOF, text: "answer ends after"},
	{kind: fixture.OtherETag, want: ErrChanged, final: true, text: `is "another"`},
	{kind: fixture.OtherTime, want: ErrChanged, final: true, text: "last modified"},
	{kind: fixture.WeakETag, want: ErrProtocol, text: "changes what is sent"},
	{kind: fixture.NoMarks, want: ErrProtocol, text: "it has no ETag"},
	{kind: fixture.OtherRange, want: ErrProtocol, text: "Content-Range"},
	{kind: fixture.Aged, want: ErrProtocol, text: "from a cache"},
	{kind: fixture.NonAuthority, want: errAny, final: true, text: "203"},
	{kind: fixture.BadGateway, want: errAny, text: "502"},
	{kind: fixture.LoginRedirect, want: errAny, final: true, text: "302"},
}

// TestSpoiltAnswers has a proxy spoil answers, once, on a retry, and for ever:
// a read gives the file's bytes or an error that says what came, of which file
// and range, and what may be the cause.
func TestSpoiltAnswers(t *testing.T) {
	t.Parallel()
	x := newProxied(t)
	const off, n = 65536, 2 << 20
	read := func(t *testing.T) (int, error) {
		t.Helper()
		f := x.open(t)
		if _, err := f.ReadAt(make([]byte, 512), 0); err != nil { // as the host is when all is well
			t.Fatal(err)
		}
		p := make([]byte, n)
		got, err := f.ReadAt(p, off)
		if !bytes.Equal(p[:got], x.data[off:off+got]) {
			t.Error("ReadAt gave wrong bytes")
		}
		return got, err
	}
	for _, tt := range spoilt {
		fault := fixture.Fault{Kind: tt.kind, Path: x.path, From: off, To: off + n}
		t.Run(string(tt.kind), func(t *testing.T) {
			for _, count := range []int{1, 0} {
				x.clear()
				fault.Count = count
				x.proxy.Add(fault)
				got, err := read(t)
				if x.proxy.Hits(tt.kind) == 0 {
					t.Error("the fault hit nothing")
				}
				if tt.want == nil || count == 1 && !tt.final {
					if got != n || err != nil {
						t.Errorf("ReadAt with %d spoilt answers of many = %d, %v; want all of it", count, got, err)
					}
					continue
				}
				x.wrong(t, err, tt.want, tt.text)
			}
			x.clear()
			x.host.Faults().Add(fixture.Fault{Kind: fixture.Cut, After: 200_000, Path: x.path, From: off, To: off + n, Count: 1})
			fault.Skip, fault.Count = 1, 1
			x.proxy.Add(fault)
			got, err := read(t)
			switch {
			case x.proxy.Hits(tt.kind) == 0:
				t.Error("the fault hit no retry")
			case tt.final:
				x.wrong(t, err, tt.want, tt.text)
			case got != n || err != nil:
				t.Errorf("ReadAt with a spoilt retry = %d, %v; want all of it", got, err)
			}
		})
	}
}

// wrong checks an error about bytes 65536 to 2162687.
func (x *proxied) wrong(t *testing.T, err, want error, text string) {
	t.Helper()
	if err == nil || !errors.Is(want, errAny) && !errors.Is(err, want) {
		t.Fatalf("ReadAt = %v; want %v", err, want)
	}
	for _, part := range []string{x.path, x.c.Host(), "bytes 65536 to 2162687", text} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("ReadAt = %q; want %q in it", err, part)
		}
	}
	if errors.Is(want, ErrProtocol) && !strings.Contains(err.Error(), "reach the host without it") {
		t.Errorf("ReadAt = %q; want advice about what is in between", err)
	}
}

// TestSpoiltCopy has a proxy spoil a block's answers in a first run, and
// another's in one that goes on with it: whatever was recorded as copied is
// right, and the last run, without the proxy's doing, makes the disk whole.
func TestSpoiltCopy(t *testing.T) {
	t.Parallel()
	x := newProxied(t)
	for _, tt := range spoilt {
		t.Run(string(tt.kind), func(t *testing.T) {
			dir := t.TempDir()
			target, err := disk.CreateRaw(filepath.Join(dir, "raw"), int64(len(x.data)))
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			for run, from := range []int64{disk.BlockSize, 0, -1} {
				x.clear()
				if from >= 0 {
					x.proxy.Add(fixture.Fault{Kind: tt.kind, Path: x.path, From: from + 65536, To: from + disk.BlockSize})
				}
				if run == 0 { // the block that the next run is to trip over isn't to be had
					x.host.Faults().Add(fixture.Fault{Kind: fixture.Status, Code: 404, Path: x.path, To: disk.BlockSize})
				}
				err := x.copy(t, target, filepath.Join(dir, "digests"))
				if from < 0 && err != nil {
					t.Fatalf("the last run: %v", err)
				}
				if from == 0 && (err != nil) != (tt.want != nil) {
					t.Errorf("run with spoilt answers = %v; want %v", err, tt.want)
				}
			}
			got := make([]byte, len(x.data))
			if _, err := target.ReadAt(got, 0); err != nil || !bytes.Equal(got, x.data) {
				t.Errorf("the copy differs (%v)", err)
			}
		})
	}
}

// copy copies the file, going on from what the digests say is there, and
// verifies it.
func (x *proxied) copy(t *testing.T, target *disk.Raw, digests string) error {
	t.Helper()
	f, err := x.c.Open(t.Context(), x.path)
	if err != nil {
		return err
	}
	defer f.Close()
	maps := disk.Whole(disk.FromReaderAt(f, f.Size()))
	d, err := disk.OpenDigests(digests, "x", target.Size(), maps)
	if err != nil {
		d, err = disk.CreateDigests(digests, "x", target.Size(), maps)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := disk.Copy(t.Context(), target, maps, disk.Options{Digests: d}); err != nil {
		return err
	}
	_, err = disk.Verify(t.Context(), target, maps, disk.Options{Digests: d})
	return err
}

// TestSpoiltHEAD: what a proxy makes of HEAD isn't taken for the file's size.
func TestSpoiltHEAD(t *testing.T) {
	t.Parallel()
	x := newProxied(t)
	for _, kind := range []fixture.Kind{fixture.Chunked, fixture.Gzipped, fixture.Deflated, fixture.Aged, fixture.Multipart} {
		x.clear()
		x.proxy.Add(fixture.Fault{Kind: kind, Path: x.path, HEAD: true, Count: 1})
		if f := x.open(t); f.Size() != int64(len(x.data)) || x.proxy.Hits(kind) != 1 {
			t.Errorf("%s: Size = %d; want %d", kind, f.Size(), len(x.data))
		}
	}
	x.clear()
	x.proxy.Add(fixture.Fault{Kind: fixture.LoginPage, Path: x.path, HEAD: true, Count: 1})
	f := x.open(t)
	if _, err := f.ReadAt(make([]byte, 100), 0); !errors.Is(err, ErrChanged) {
		t.Errorf("ReadAt of a file whose size a login page told = %v; want %v", err, ErrChanged)
	}
}
