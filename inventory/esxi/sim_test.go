package esxi

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	simUser     = "root"
	simPassword = `p@ss:w/o'rd %41`
)

// patience is a Stall that no host here exceeds. Handshakes and logins have to
// come within it as well: a test of stalls shortens it after them.
const patience = 5 * time.Minute

// sim is govmomi's simulator with a /folder of our own, for the faults that
// only a test inside this package can time.
type sim struct {
	model *simulator.Model
	cfg   Config
	url   *url.URL

	mu      sync.Mutex
	calls   map[string]int                     // SOAP methods
	faults  map[string][]types.BaseMethodFault // to answer next, by method
	folder  http.HandlerFunc
	folders int // requests to /folder
	conns   map[string]bool
}

func newSim(tb testing.TB, mutate func(*simulator.Model)) *sim {
	tb.Helper()
	return newSimOf(tb, simulator.ESX(), mutate)
}

func newSimOf(tb testing.TB, model *simulator.Model, mutate func(*simulator.Model)) *sim {
	tb.Helper()
	s := &sim{model: model, calls: make(map[string]int), faults: make(map[string][]types.BaseMethodFault), conns: make(map[string]bool)}
	s.model.Autostart = false
	if err := s.model.Create(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.model.Remove)
	if mutate != nil {
		mutate(s.model)
	}
	s.model.Service.TLS = new(tls.Config)
	s.model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(simUser, simPassword)}
	mux := http.NewServeMux()
	s.model.Service.ServeMux = mux
	mux.HandleFunc("GET /folder/", s.serveFolder)
	server := s.model.Service.NewServer()
	tb.Cleanup(server.Close)
	s.model.Map().Handler = func(_ *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls[m.Name]++
		if next := s.faults[m.Name]; len(next) > 0 {
			s.faults[m.Name] = next[1:]
			return nil, next[0]
		}
		return nil, nil
	}
	u, _, err := ParseURL(server.URL.Host)
	if err != nil {
		tb.Fatal(err)
	}
	u.User = url.User(simUser)
	s.url = u
	s.cfg = Config{URL: u, Password: simPassword, Insecure: true, Stall: patience}
	return s
}

func (s *sim) serveFolder(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.folders++
	s.conns[r.RemoteAddr] = true
	h := s.folder
	s.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

func (s *sim) setFolder(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.folder = h
}

func (s *sim) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.folders
}

func (s *sim) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// quick is the backoff of tests.
var quick = backoff{tries: 6, first: time.Millisecond, busy: 2 * time.Millisecond, most: 20 * time.Millisecond, poll: 10 * time.Millisecond}

func dialSim(tb testing.TB, s *sim) *Client {
	tb.Helper()
	c, err := Dial(tb.Context(), s.cfg)
	if err != nil {
		tb.Fatal(err)
	}
	c.retry = quick
	tb.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// content is a file whose every byte follows from its offset.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + i>>16)
	}
	return b
}

// simTime is when the files that serve serves were last changed.
var simTime = time.Unix(1700000000, 0)

// serve serves b under any name, after fault had a look at the request.
// fault returns true when it has answered.
func serve(b []byte, fault func(w http.ResponseWriter, r *http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("vmware_soap_session"); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if fault != nil && fault(w, r) {
			return
		}
		http.ServeContent(w, r, "", simTime, bytes.NewReader(b))
	}
}

// rangeOf returns the first and last byte that r asks for.
func rangeOf(r *http.Request) (first, last int) {
	spec, _ := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	a, b, _ := strings.Cut(spec, "-")
	first, _ = strconv.Atoi(a)
	last, _ = strconv.Atoi(b)
	return first, last
}

// partial answers 206 with the given body, whatever its length.
func partial(w http.ResponseWriter, r *http.Request, total int, body []byte, length bool) {
	first, last := rangeOf(r)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, total))
	if length {
		w.Header().Set("Content-Length", strconv.Itoa(last-first+1))
	}
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(body)
}

// abort drops the connection.
func abort(http.ResponseWriter) { panic(http.ErrAbortHandler) }

// power sets a VM's power state behind everybody's back.
func (s *sim) power(tb testing.TB, id string, state types.VirtualMachinePowerState) {
	tb.Helper()
	ctx := s.model.Service.Context
	ref := types.ManagedObjectReference{Type: "VirtualMachine", Value: id}
	ctx.WithLock(ref, func() {
		vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine)
		if !ok {
			tb.Fatalf("no VM %s", id)
		}
		vm.Runtime.PowerState = state
		vm.Summary.Runtime.PowerState = state
	})
}

// fault makes the next calls of a method fail.
func (s *sim) fault(method string, faults ...types.BaseMethodFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[method] = faults
}

// total is how many calls there were, logins and logouts aside.
func (s *sim) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for method, k := range s.calls {
		if method != "Login" && method != "Logout" {
			n += k
		}
	}
	return n
}
