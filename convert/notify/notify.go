// Package notify tells an admin's own programs what becomes of migrations: a hook, which
// is run, and webhooks, which are posted to. What comes of that changes no migration.
package notify

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"esxodus/convert/host"
)

// Kind is what has happened.
type Kind string

// What can happen.
const (
	Began      Kind = "began"       // a batch
	Ended      Kind = "ended"       // a batch
	Migrated   Kind = "migrated"    // the domain is defined, and all steps are done
	InPlace    Kind = "in-place"    // the domain has taken its VM's place
	TakenBack  Kind = "taken-back"  // a cutover
	Committed  Kind = "committed"   //
	RolledBack Kind = "rolled-back" //
	Failed     Kind = "failed"      // Event.Error says why, Event.Next what can be done
	// Twice is the worst: a VM runs beside its domain.
	Twice Kind = "runs-twice"
)

// Event is something that happened to a VM, or to a batch.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"event"`
	Command string    `json:"command"` // of esxodus
	Text    string    `json:"text"`    // all of it in a sentence
	Target  string    `json:"target"`  // this host
	// The rest is of one VM.
	VM       string   `json:"vm,omitempty"`
	Domain   string   `json:"domain,omitempty"`
	Source   string   `json:"source,omitempty"` // the VM's host
	Phase    string   `json:"phase,omitempty"`
	Error    string   `json:"error,omitempty"`
	Next     []string `json:"next,omitempty"`     // commands
	Downtime float64  `json:"downtime,omitempty"` // seconds
}

// Bounds on what the outside may take.
const (
	hookTime  = 30 * time.Second
	postTime  = 10 * time.Second
	flushTime = time.Minute
	tries     = 3
	waiting   = 1024 // events; more are dropped, with a warning
	mostSaid  = 4 << 10
)

// Target is a webhook.
type Target struct {
	URL    string
	Header http.Header
}

// Options say who is told.
type Options struct {
	Hook     string // a program, "" for none
	Webhooks []Target
	Log      *slog.Logger
	// Pause is how long to wait between tries of a webhook, 1 s where it is 0.
	Pause time.Duration
}

// Notifier tells events, one after the other, beside what goes on. The nil Notifier tells
// nobody.
type Notifier struct {
	o      Options
	client *http.Client
	events chan Event
	done   chan struct{}
	close  sync.Once
	cancel context.CancelFunc
}

// New begins to tell. It returns nil where nobody is to be told. Close ends it.
func New(ctx context.Context, o Options) *Notifier {
	if o.Hook == "" && len(o.Webhooks) == 0 {
		return nil
	}
	if o.Pause == 0 {
		o.Pause = time.Second
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // that it was interrupted is told, too
	n := &Notifier{o: o, events: make(chan Event, waiting), done: make(chan struct{}), cancel: cancel, client: &http.Client{
		Timeout: postTime,
		// A header with a secret is for the host that it was given for.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	go func() {
		defer close(n.done)
		for e := range n.events {
			n.tell(ctx, &e)
		}
	}()
	return n
}

// Tell has an event told. It never waits.
func (n *Notifier) Tell(e Event) {
	if n == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	select {
	case n.events <- e:
	default:
		n.o.Log.Warn("an event isn't told: hook or webhooks are far behind", "event", e.Kind, "vm", e.VM)
	}
}

// Close waits until all has been told, for a minute at most. No event may be told after.
func (n *Notifier) Close() {
	if n == nil {
		return
	}
	n.close.Do(func() {
		close(n.events)
		end := time.AfterFunc(flushTime, func() {
			n.o.Log.Warn("events are left that weren't told: hook or webhooks take too long", "events", len(n.events))
			n.cancel()
		})
		defer end.Stop()
		<-n.done
		n.cancel()
	})
}

func (n *Notifier) tell(ctx context.Context, e *Event) {
	body, err := json.Marshal(e)
	if err == nil && n.o.Hook != "" {
		err = n.run(ctx, e, body)
	}
	if err != nil {
		n.o.Log.Warn("the hook failed; the migration goes on", "hook", n.o.Hook, "event", e.Kind, "vm", e.VM, "error", err)
	}
	for _, t := range n.o.Webhooks {
		if err := n.post(ctx, t, body); err != nil {
			n.o.Log.Warn("a webhook failed; the migration goes on", "host", hostOf(t.URL), "event", e.Kind, "vm", e.VM, "error", err)
		}
	}
}

// run runs the hook: the event is on its standard input as JSON, and the most important of
// it in its environment.
func (n *Notifier) run(ctx context.Context, e *Event, body []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, hookTime, fmt.Errorf("it took more than %v, and was ended", hookTime))
	defer cancel()
	_, err := host.Tool{Log: n.o.Log, In: body, Env: []string{
		"ESXODUS_EVENT=" + string(e.Kind), "ESXODUS_COMMAND=" + e.Command, "ESXODUS_TEXT=" + variable(e.Text), "ESXODUS_VM=" + variable(e.VM),
		"ESXODUS_DOMAIN=" + e.Domain, "ESXODUS_SOURCE=" + variable(e.Source), "ESXODUS_ERROR=" + variable(e.Error),
	}}.Run(ctx, n.o.Hook)
	return err
}

// variable is a text that an environment can hold.
func variable(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// errRefused is an answer that another try wouldn't change.
var errRefused = errors.New("it was refused")

// post posts to a webhook, up to three times where that may help.
func (n *Notifier) post(ctx context.Context, t Target, body []byte) (err error) {
	for try := range tries {
		if try > 0 {
			select {
			case <-time.After(n.o.Pause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err = n.postOnce(ctx, t, body); err == nil || errors.Is(err, errRefused) {
			return err
		}
	}
	return err
}

func (n *Notifier) postOnce(ctx context.Context, t Target, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: its address can't be used", errRefused) // which may hold a secret
	}
	maps.Copy(r.Header, t.Header)
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("User-Agent", "esxodus")
	res, err := n.client.Do(r)
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err // without the address
	}
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, res.Body, mostSaid) // so that the connection can be used again
	_ = res.Body.Close()                            // read only
	switch {
	case res.StatusCode < http.StatusMultipleChoices:
		return nil
	case res.StatusCode >= http.StatusInternalServerError || res.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("it answered %s", res.Status)
	}
	return fmt.Errorf("%w: it answered %s", errRefused, res.Status)
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// maxTarget bounds a webhook's file.
const maxTarget = 64 << 10

// ReadTarget reads a webhook: an address, or a file, that nobody but its owner need be able
// to read, with the address in its first line and a header in each that follows.
func ReadTarget(text string) (Target, error) {
	t := Target{URL: text, Header: make(http.Header)}
	if !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") {
		if err := t.read(text); err != nil {
			return t, err
		}
	}
	u, err := url.Parse(t.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return t, fmt.Errorf("want an address as https://host/path, or a file that has one in its first line")
	}
	return t, nil
}

func (t *Target) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	lines := bufio.NewScanner(io.LimitReader(f, maxTarget))
	if t.URL = ""; lines.Scan() {
		t.URL = strings.TrimSpace(lines.Text())
	}
	for number := 2; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return fmt.Errorf("%s: line %d: want a header, as Authorization: Bearer …", file, number)
		}
		t.Header.Add(name, strings.TrimSpace(value))
	}
	return lines.Err()
}
