package inspect

import (
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"esxodus/disk"
)

// ranged is a disk behind HTTPS that is read by Range, as a datastore is.
type ranged struct {
	client          *http.Client
	url             string
	size            int64
	requests, bytes atomic.Int64
}

func (r *ranged) Size() int64 { return r.size }

func (r *ranged) Extents() iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) { yield(disk.Extent{Length: r.size}, nil) }
}

func (r *ranged) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.size {
		return 0, io.EOF
	}
	req, err := http.NewRequest(http.MethodGet, r.url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1))
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("status %s", resp.Status)
	}
	n, err := io.ReadFull(resp.Body, p)
	r.requests.Add(1)
	r.bytes.Add(int64(n))
	return n, err
}

// TestLookOverHTTPS measures what a look costs through a network. A real
// guest's flat VMDK in ESXODUS_TEST_DISK is looked at instead of a small one.
func TestLookOverHTTPS(t *testing.T) {
	path := os.Getenv("ESXODUS_TEST_DISK")
	if path == "" {
		path = debianDisk(t, nil)
	}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }))
	defer srv.Close()
	r := &ranged{client: srv.Client(), url: srv.URL, size: open(t, path).size}
	start := time.Now()
	g, err := Look(t.Context(), []Source{{"scsi0:0", r}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, %d kernels, notes %q: %d bytes of %d in %d requests, %v",
		g.PrettyName, len(g.Kernels), g.Notes, r.bytes.Load(), r.size, r.requests.Load(), time.Since(start).Round(time.Millisecond))
	if g.Distro == "" || r.bytes.Load() > 16*mib || r.requests.Load() > 300 {
		t.Errorf("distro %q, %d bytes in %d requests; want a distro, at most 16 MiB and 300", g.Distro, r.bytes.Load(), r.requests.Load())
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("%+v", g)
	}
}
