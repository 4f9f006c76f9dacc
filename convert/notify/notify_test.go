package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// heard is what came of a test's events.
type heard struct {
	mu      sync.Mutex
	bodies  []string
	headers []http.Header
}

// server answers each post by the next status, and by 204 after those.
func (h *heard) server(t *testing.T, statuses ...int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s, %v", r.Method, err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.bodies, h.headers = append(h.bodies, string(b)), append(h.headers, r.Header)
		status := http.StatusNoContent
		if len(statuses) > 0 {
			status, statuses = statuses[0], statuses[1:]
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// told tells events, and returns what was logged meanwhile.
func told(t *testing.T, o Options, events ...Event) string {
	t.Helper()
	var log strings.Builder
	o.Log, o.Pause = slog.New(slog.NewTextHandler(&log, nil)), time.Nanosecond
	n := New(t.Context(), o)
	for _, e := range events {
		n.Tell(e)
	}
	n.Close()
	return log.String()
}

// TestWebhook: each event is posted once, in order, with the headers that were asked for;
// what may pass is tried again, what won't isn't.
func TestWebhook(t *testing.T) {
	for _, tt := range []struct {
		statuses []int
		posts    int
		log      string
	}{
		{posts: 2},
		{statuses: []int{500, 503}, posts: 4},
		{statuses: []int{429, 500, 502}, posts: 4, log: "502"},
		{statuses: []int{401}, posts: 2, log: "refused"},
		{statuses: []int{302}, posts: 2, log: "refused"},
	} {
		t.Run(fmt.Sprint(tt.statuses), func(t *testing.T) {
			var h heard
			to := Target{URL: h.server(t, tt.statuses...) + "/secret", Header: http.Header{"Authorization": {"Bearer x"}}}
			log := told(t, Options{Webhooks: []Target{to}}, Event{Kind: Migrated, VM: "wéb \"1\""}, Event{Kind: Twice, VM: "db"})
			if len(h.bodies) != tt.posts || !strings.Contains(log, tt.log) || (tt.log == "") != (log == "") || strings.Contains(log, "secret") {
				t.Fatalf("%d posts, log %q; want %d and %q", len(h.bodies), log, tt.posts, tt.log)
			}
			var first, last Event
			for text, e := range map[string]*Event{h.bodies[0]: &first, h.bodies[len(h.bodies)-1]: &last} {
				if err := json.Unmarshal([]byte(text), e); err != nil {
					t.Fatal(err)
				}
			}
			if first.Kind != Migrated || first.VM != "wéb \"1\"" || last.Kind != Twice || first.Time.IsZero() {
				t.Errorf("%+v, then %+v", first, last)
			}
			if got := h.headers[0]; got.Get("Authorization") != "Bearer x" || got.Get("Content-Type") != "application/json" {
				t.Errorf("headers %v", got)
			}
		})
	}
}

// TestWebhookAway: one that isn't there is told of without its address, whose path may be
// a secret.
func TestWebhookAway(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	log := told(t, Options{Webhooks: []Target{{URL: s.URL + "/token"}}}, Event{Kind: Failed, VM: "db"})
	if !strings.Contains(log, "a webhook failed") || strings.Contains(log, "token") {
		t.Errorf("log: %s", log)
	}
}

// hook writes a program for the shell.
func hook(t *testing.T, script string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestHook: a hook gets the event on its input and in its environment, whatever is in a
// name, and nothing of what esxodus logs in with.
func TestHook(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("GOVC_PASSWORD", "secret")
	const name = "a'b\"c $(touch /x) %s\n\x00ü"
	log := told(t, Options{Hook: hook(t, `{ cat; echo; printf '%s\n' "$ESXODUS_EVENT|$ESXODUS_VM|$GOVC_PASSWORD"; } >>`+out)},
		Event{Kind: InPlace, VM: name}, Event{Kind: Failed, VM: "db"})
	b, err := os.ReadFile(out)
	if err != nil || log != "" {
		t.Fatal(err, log)
	}
	var e Event
	if err := json.NewDecoder(strings.NewReader(string(b))).Decode(&e); err != nil || e.VM != name {
		t.Errorf("%v: %+v", err, e)
	}
	for _, want := range []string{"in-place|" + strings.ReplaceAll(name, "\x00", "") + "|\n", "failed|db|\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q lacks %q", b, want)
		}
	}
}

// TestHookFails: what a hook says when it fails is in the log, a bounded part of it; the
// events after it are told all the same.
func TestHookFails(t *testing.T) {
	var h heard
	log := told(t, Options{
		Hook: hook(t, `head -c 100000 /dev/zero | tr '\0' x >&2; echo " https://u:hunter2@h/ the end" >&2; exit 3`), Webhooks: []Target{{URL: h.server(t)}},
	}, Event{Kind: Failed, VM: "db"})
	if !strings.Contains(log, "the end") || !strings.Contains(log, "exit status 3") || strings.Contains(log, "hunter2") || len(log) > 10<<10 {
		t.Errorf("log: %.300s", log)
	}
	if len(h.bodies) != 1 {
		t.Errorf("%d posts", len(h.bodies))
	}
	if log := told(t, Options{Hook: "/nonexistent/hook"}, Event{Kind: Failed}); !strings.Contains(log, "no such file") {
		t.Errorf("log: %s", log)
	}
}

// TestNobody: without anybody to tell there is nothing to do.
func TestNobody(t *testing.T) {
	n := New(t.Context(), Options{})
	n.Tell(Event{})
	n.Close()
	if n != nil {
		t.Error("a notifier for nobody")
	}
}

// TestReadTarget reads addresses, and files with headers.
func TestReadTarget(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hook")
	for text, want := range map[string]string{
		"https://h/x\nAuthorization: Bearer a:b\n\n# not this\nX-Y: 1\n": "",
		"https://h/x\nno header\n":                                       "line 2",
		"ftp://h/x\n":                                                    "want an address",
		"":                                                               "want an address",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadTarget(file)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", text, err, want)
			}
			continue
		}
		if err != nil || got.URL != "https://h/x" || got.Header.Get("Authorization") != "Bearer a:b" || !slices.Equal(got.Header.Values("X-Y"), []string{"1"}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if got, err := ReadTarget("http://h:1/p"); err != nil || got.URL != "http://h:1/p" {
		t.Errorf("%+v, %v", got, err)
	}
}
