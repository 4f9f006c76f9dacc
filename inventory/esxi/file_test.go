package esxi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

func openSim(t *testing.T, s *sim, c *Client) *File {
	t.Helper()
	f, err := c.Open(t.Context(), "[LocalDS_0] dir/x-flat.vmdk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestReadAtFaults reads a file through one fault after the other; want is
// nil where the read must come through all the same.
func TestReadAtFaults(t *testing.T) {
	const size = 1 << 20
	data := content(size)
	s := newSim(t, nil)
	c := dialSim(t, s)
	c.cfg.Stall = time.Second
	only := func(n int32, fault http.HandlerFunc) func(w http.ResponseWriter, r *http.Request) bool {
		var count atomic.Int32
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead || count.Add(1) > n {
				return false
			}
			w.Header().Set("Last-Modified", simTime.UTC().Format(http.TimeFormat)) // as HEAD has it
			fault(w, r)
			return true
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	half := func(w http.ResponseWriter, r *http.Request) []byte {
		first, last := rangeOf(r)
		return data[first : first+(last-first)/2]
	}
	tests := []struct {
		name  string
		fault func(w http.ResponseWriter, r *http.Request) bool
		want  error
		text  string
	}{
		{name: "none"},
		{name: "connection dropped before the answer", fault: only(2, func(w http.ResponseWriter, _ *http.Request) { abort(w) })},
		{name: "connection dropped half-way", fault: only(3, func(w http.ResponseWriter, r *http.Request) {
			partial(w, r, size, half(w, r), true)
			abort(w)
		})},
		{name: "body shorter than said", fault: only(2, func(w http.ResponseWriter, r *http.Request) { partial(w, r, size, half(w, r), false) })},
		{name: "stall half-way", fault: only(1, func(w http.ResponseWriter, r *http.Request) {
			partial(w, r, size, half(w, r), true)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})},
		{name: "stall for ever", fault: only(99, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), want: ErrStalled, text: "gave up after 6 tries"},
		{name: "a byte per connection", fault: only(99, func(w http.ResponseWriter, r *http.Request) {
			first, _ := rangeOf(r)
			partial(w, r, size, data[first:first+1], true)
			_ = http.NewResponseController(w).Flush()
			abort(w)
		}), want: io.ErrUnexpectedEOF, text: "gave up after 6 tries"},
		{name: "503 twice", fault: only(2, status(http.StatusServiceUnavailable))},
		{name: "503 for ever", fault: only(99, status(http.StatusServiceUnavailable)), text: "503 Service Unavailable"},
		{name: "500 once, nobody uses it", fault: only(1, status(http.StatusInternalServerError))},
		{name: "500 for ever", fault: only(99, status(http.StatusInternalServerError)), text: "a backup, an export"},
		{name: "404", fault: only(1, status(http.StatusNotFound)), want: ErrNotFound, text: "no such file"},
		{name: "403", fault: only(1, status(http.StatusForbidden)), want: ErrPermission, text: "user root needs"},
		{name: "416", fault: only(1, status(http.StatusRequestedRangeNotSatisfiable)), want: ErrChanged},
		{name: "401 once", fault: only(1, status(http.StatusUnauthorized))},
		{name: "401 for ever", fault: only(99, status(http.StatusUnauthorized)), want: ErrLogin},
		{name: "200 instead of 206", fault: only(1, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })},
		{name: "always 200", fault: only(99, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }), want: ErrProtocol, text: "ignores Range"},
		{name: "wrong range", fault: only(99, func(w http.ResponseWriter, r *http.Request) {
			first, last := rangeOf(r)
			r.Header.Set("Range", "bytes=0-"+strings.Split(r.Header.Get("Range"), "-")[1])
			partial(w, r, size, data[first:last+1], false)
		}), want: ErrProtocol, text: "Content-Range"},
		{name: "wrong Content-Length", fault: only(99, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			partial(w, r, size, data[:5], false)
		}), want: ErrProtocol, text: "Content-Length 5"},
		{name: "redirect", fault: only(1, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		}), text: "302 Found"},
		{name: "grown", fault: only(1, func(w http.ResponseWriter, r *http.Request) {
			first, last := rangeOf(r)
			partial(w, r, size+512, data[first:last+1], true)
		}), want: ErrChanged, text: "had 1048576 bytes and has 1049088"},
		{name: "modified", fault: only(1, func(w http.ResponseWriter, r *http.Request) {
			first, last := rangeOf(r)
			w.Header().Set("Last-Modified", time.Unix(1800000000, 0).UTC().Format(http.TimeFormat))
			partial(w, r, size, data[first:last+1], true)
		}), want: ErrChanged, text: "last modified"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.setFolder(serve(data, tt.fault))
			f := openSim(t, s, c)
			const off = 4096
			p := make([]byte, size/2)
			n, err := f.ReadAt(p, off)
			failed := tt.want != nil || tt.text != ""
			if failed != (err != nil) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("ReadAt = %d, %v; want error %v", n, err, tt.want)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "x-flat.vmdk")) {
				t.Errorf("ReadAt error = %q; want %q and the file's name in it", err, tt.text)
			}
			if !bytes.Equal(p[:n], data[off:off+n]) || err == nil && n != len(p) {
				t.Errorf("ReadAt gave %d bytes, or wrong ones", n)
			}
		})
	}
}

func TestReaderAt(t *testing.T) {
	data := content(700)
	s := newSim(t, nil)
	c := dialSim(t, s)
	s.setFolder(serve(data, nil))
	f := openSim(t, s, c)
	if f.Size() != int64(len(data)) || !f.ModTime().Equal(time.Unix(1700000000, 0)) {
		t.Errorf("Size, ModTime = %d, %v", f.Size(), f.ModTime())
	}
	if err := iotest.TestReader(io.NewSectionReader(f, 0, f.Size()), data); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		off  int64
		n    int
		want int
		err  error
	}{{700, 1, 0, io.EOF}, {1 << 40, 1, 0, io.EOF}, {690, 20, 10, io.EOF}, {690, 10, 10, nil}, {0, 0, 0, nil}} {
		p := make([]byte, tt.n)
		if n, err := f.ReadAt(p, tt.off); n != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("ReadAt(%d bytes, %d) = %d, %v; want %d, %v", tt.n, tt.off, n, err, tt.want, tt.err)
		}
	}
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("ReadAt at -1 gives no error")
	}
}

// TestConnectionsAreReused holds one request of each reader until all have
// come, so that there is a connection for each. From then on a reader that
// asks always finds an idle one, however slow the machine is.
func TestConnectionsAreReused(t *testing.T) {
	const readers = 4
	data := content(1 << 20)
	s := newSim(t, nil)
	c := dialSim(t, s)
	var together sync.WaitGroup
	hold := func(http.ResponseWriter, *http.Request) bool {
		together.Done()
		together.Wait()
		return false
	}
	s.setFolder(serve(data, nil))
	f := openSim(t, s, c)
	read := func(times int) (connections int) {
		var wg sync.WaitGroup
		for r := range readers {
			wg.Go(func() {
				p := make([]byte, 64<<10)
				for i := range times {
					off := int64((r*times + i) % 16 * len(p))
					if n, err := f.ReadAt(p, off); err != nil || !bytes.Equal(p, data[off:off+int64(n)]) {
						t.Errorf("ReadAt(%d) = %d, %v", off, n, err)
					}
				}
			})
		}
		wg.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns)
	}
	together.Add(readers)
	s.setFolder(serve(data, hold))
	opened := read(1)
	s.setFolder(serve(data, nil))
	if after := read(16); after != opened {
		t.Errorf("%d requests took %d connections more; want none", 16*readers, after-opened)
	}
}

// TestSessionLapse ends the session on the host's side while several readers
// are at work: one new login, and nobody notices.
func TestSessionLapse(t *testing.T) {
	data := content(1 << 20)
	s := newSim(t, nil)
	c := dialSim(t, s)
	var lapsed atomic.Pointer[string]
	s.setFolder(serve(data, func(w http.ResponseWriter, r *http.Request) bool {
		cookie, err := r.Cookie("vmware_soap_session")
		if old := lapsed.Load(); err != nil || old != nil && cookie.Value == *old {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}))
	f := openSim(t, s, c)
	before := s.count("Login")
	old := c.soap.SessionCookie().Value
	lapsed.Store(&old)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			p := make([]byte, len(data))
			if _, err := f.ReadAt(p, 0); err != nil || !bytes.Equal(p, data) {
				t.Errorf("ReadAt after the session lapsed: %v", err)
			}
		})
	}
	wg.Wait()
	if got := s.count("Login") - before; got != 1 {
		t.Errorf("%d logins after the session lapsed; want 1", got)
	}
}

// TestSessionLapseSOAP ends the session in the middle of an inventory.
func TestSessionLapseSOAP(t *testing.T) {
	s := newSim(t, nil)
	c := dialSim(t, s)
	s.fault("RetrievePropertiesEx", new(types.NotAuthenticated))
	if _, err := c.Inventory(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.count("Login"); got != 2 {
		t.Errorf("%d logins; want 2", got)
	}
	s.fault("RetrievePropertiesEx", new(types.NotAuthenticated), new(types.NotAuthenticated))
	if _, err := c.Inventory(t.Context()); err == nil {
		t.Error("Inventory gives no error though the host forgets every session")
	}
}

// TestPasswordChanged: a password that is refused is not offered again, since
// the host locks the user out after five.
func TestPasswordChanged(t *testing.T) {
	s := newSim(t, nil)
	c := dialSim(t, s)
	s.setFolder(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	c.cfg.Password = "changed"
	for range 3 {
		if _, err := c.Open(t.Context(), "[LocalDS_0] x"); !errors.Is(err, ErrLogin) {
			t.Errorf("Open = %v; want %v", err, ErrLogin)
		}
	}
	if got := s.count("Login"); got != 2 {
		t.Errorf("%d logins; want 2, the good one and one refused", got)
	}
	c.cfg.Password, c.refused = simPassword, nil
	if err := c.relogin(t.Context(), c.session.Load()); err != nil {
		t.Fatal(err)
	}
}

func TestReadAtCancel(t *testing.T) {
	s := newSim(t, nil)
	c := dialSim(t, s)
	started := make(chan struct{}, 1)
	s.setFolder(serve(content(4096), func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			return false
		}
		started <- struct{}{}
		<-r.Context().Done()
		return true
	}))
	why := errors.New("enough of this")
	ctx, cancel := context.WithCancelCause(t.Context())
	f, err := c.Open(ctx, "[LocalDS_0] x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	go func() {
		<-started
		cancel(why)
	}()
	if _, err := f.ReadAt(make([]byte, 4096), 0); !errors.Is(err, why) {
		t.Errorf("ReadAt = %v; want %v", err, why)
	}
}

func TestHEADRefused(t *testing.T) {
	data := content(5000)
	s := newSim(t, nil)
	c := dialSim(t, s)
	s.setFolder(serve(data, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
		return r.Method == http.MethodHead
	}))
	if f := openSim(t, s, c); f.Size() != 5000 {
		t.Errorf("Size = %d; want 5000", f.Size())
	}
}

func TestReadFile(t *testing.T) {
	s := newSim(t, nil)
	c := dialSim(t, s)
	for _, size := range []int{0, 1, 4096} {
		data := content(size)
		s.setFolder(serve(data, nil))
		if b, err := c.ReadFile(t.Context(), "[LocalDS_0] d", 4096); err != nil || !bytes.Equal(b, data) {
			t.Errorf("ReadFile of %d bytes = %d bytes, %v", size, len(b), err)
		}
	}
	s.setFolder(serve(content(4097), nil))
	if _, err := c.ReadFile(t.Context(), "[LocalDS_0] d", 4096); err == nil || !strings.Contains(err.Error(), "has 4097 bytes, want at most 4096") {
		t.Errorf("ReadFile of a file too large: %v", err)
	}
}

// TestLocked: whatever the status, a disk of a running VM is a locked one.
func TestLocked(t *testing.T) {
	s := newSim(t, nil)
	c := dialSim(t, s)
	h, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	vm := h.VMs[0]
	for _, code := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError} {
		s.setFolder(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		before := s.requests()
		s.power(t, vm.ID, types.VirtualMachinePowerStatePoweredOn)
		_, err = c.Open(t.Context(), vm.Disks[0].Path)
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), vm.Name) {
			t.Errorf("%d on a running VM's disk: %v; want %v and the VM's name", code, err, ErrLocked)
		}
		if got := s.requests() - before; got != 1 {
			t.Errorf("%d on a running VM's disk took %d requests; want 1", code, got)
		}
		s.power(t, vm.ID, types.VirtualMachinePowerStatePoweredOff)
		if _, err = c.Open(t.Context(), vm.Disks[0].Path); err == nil || errors.Is(err, ErrLocked) {
			t.Errorf("%d on a stopped VM's disk: %v; want another error than %v", code, err, ErrLocked)
		}
	}
}
