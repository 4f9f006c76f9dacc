package report

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"esxodus/fixtures"
)

// chromium is a headless browser, spoken to in its DevTools protocol over a pipe:
// messages in JSON, each ended by a NUL. Nothing runs beside the test: events are
// kept as they come while it waits for something.
type chromium struct {
	to   *os.File
	from *bufio.Reader
	last int // id of a message
	seen []message
}

// message is one to or from the browser.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// browse starts the browser, for at most so long as it could take anywhere.
func browse(t *testing.T) *chromium {
	t.Helper()
	program := fixtures.Tool(t, "chromium")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	theirs, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+t.TempDir())
	cmd.ExtraFiles = []*os.File{theirs, answers} // 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	answers.Close()
	b := &chromium{to: to, from: bufio.NewReader(from)}
	t.Cleanup(func() {
		to.Close() // ends it
		_ = cmd.Wait()
		from.Close()
		cancel()
	})
	return b
}

// receive reads the next message.
func (b *chromium) receive() (m message, err error) {
	line, err := b.from.ReadBytes(0)
	if err != nil {
		return m, fmt.Errorf("the browser is gone: %w", err)
	}
	return m, json.Unmarshal(line[:len(line)-1], &m)
}

// call has a session do something, and waits for the answer.
func (b *chromium) call(session, method string, params any) (json.RawMessage, error) {
	b.last++
	p, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(message{ID: b.last, Session: session, Method: method, Params: p})
	if err != nil {
		return nil, err
	}
	if _, err := b.to.Write(append(line, 0)); err != nil {
		return nil, err
	}
	for {
		switch m, err := b.receive(); {
		case err != nil:
			return nil, err
		case m.ID == 0:
			b.seen = append(b.seen, m)
		case m.ID == b.last && m.Error != nil:
			return nil, errors.New(method + ": " + m.Error.Message)
		case m.ID == b.last:
			return m.Result, nil
		}
	}
}

// tab is one page of a browser.
type tab struct {
	t       *testing.T
	b       *chromium
	session string
	file    string
	opened  int // how many events had been seen before
}

// do has the tab do something, and puts what it answers into out, unless that is nil.
func (p *tab) do(method string, params map[string]any, out any) {
	p.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	result, err := p.b.call(p.session, method, params)
	if err == nil && out != nil {
		err = json.Unmarshal(result, out)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// await waits for an event of the tab that comes after the first n.
func (p *tab) await(method string, n int) {
	p.t.Helper()
	for !slices.ContainsFunc(p.b.seen[n:], func(m message) bool { return m.Method == method && m.Session == p.session }) {
		m, err := p.b.receive()
		if err != nil {
			p.t.Fatal(err)
		}
		p.b.seen = append(p.b.seen, m)
	}
}

// open opens a file in a new tab, and waits until it is loaded. Script says whether the
// page's own may run.
func (b *chromium) open(t *testing.T, file string, script bool) *tab {
	t.Helper()
	p := &tab{t: t, b: b, file: file, opened: len(b.seen)}
	var target struct {
		ID      string `json:"targetId"`
		Session string `json:"sessionId"`
	}
	p.do("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	p.do("Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &target)
	p.session = target.Session
	for _, domain := range []string{"Page", "Runtime", "Network", "Log", "DOM"} {
		p.do(domain+".enable", nil, nil)
	}
	p.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": !script}, nil)
	before := len(b.seen)
	p.do("Page.navigate", map[string]any{"url": "file://" + file}, nil)
	p.await("Page.loadEventFired", before)
	return p
}

// look sets the width of the window in pixels, and whether it is a dark one.
func (p *tab) look(width int, dark bool) {
	p.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// eval evaluates an expression, also one that comes to a value later.
func eval[T any](p *tab, expression string) (out T) {
	p.t.Helper()
	var result struct {
		Result struct {
			Value T `json:"value"`
		} `json:"result"`
		Thrown *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	p.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &result)
	if result.Thrown != nil {
		p.t.Fatalf("%.200s: %s %s", expression, result.Thrown.Text, result.Thrown.Exception.Description)
	}
	return result.Result.Value
}

// press presses keys by their names: "Tab", "Enter", " ".
func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		code := map[string]int{"Tab": 9, "Enter": 13, " ": 32}[key]
		text := map[string]string{"Enter": "\r", " ": " "}[key]
		down := map[string]any{"type": "keyDown", "key": key, "windowsVirtualKeyCode": code, "text": text}
		p.do("Input.dispatchKeyEvent", down, nil)
		p.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}, nil)
	}
}

// tabTo presses Tab until what an expression says of `at`, the focused element, is true.
func (p *tab) tabTo(is string) {
	p.t.Helper()
	for range 60 {
		p.press("Tab")
		if eval[bool](p, "(at => "+is+")(document.activeElement)") {
			return
		}
	}
	p.t.Fatalf("the Tab key never comes to where %s", is)
}
