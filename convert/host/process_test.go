package host

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// start starts a shell's script as a Process.
func start(t *testing.T, script string, env ...string) *Process {
	t.Helper()
	p, err := Tool{}.Start(t.Context(), Spec{Argv: []string{"sh", "-c", script}, Env: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(0) })
	return p
}

// line reads one line of what p prints.
func line(t *testing.T, p *Process) string {
	t.Helper()
	s, err := bufio.NewReader(p).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(s, "\n")
}

func TestProcess(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := start(t, `while read -r x; do echo "bad $x" >&2; echo "$LC_ALL $A $x"; done`, "A=b c")
	for _, word := range []string{"one", "two"} {
		if _, err := p.Write([]byte(word + "\n")); err != nil {
			t.Fatal(err)
		}
		if got, want := line(t, p), "C b c "+word; got != want {
			t.Errorf("answer %q; want %q", got, want)
		}
		news, err := p.News()
		if want := "bad " + word + "\n"; news != want || err != nil {
			t.Errorf("News = %q, %v; want %q", news, err, want)
		}
	}
	for range 2 {
		if err := p.Stop(time.Minute); err != nil {
			t.Errorf("Stop = %v; want none", err)
		}
	}
}

func TestProcessNewsIsBounded(t *testing.T) {
	p := start(t, `head -c 200000 /dev/zero | tr '\0' x >&2; echo end >&2; echo done; read x`)
	line(t, p)
	news, err := p.News()
	if err != nil || len(news) != maxNews || !strings.HasSuffix(news, "xend\n") {
		t.Errorf("News = %d bytes, %v; want the last %d", len(news), err, maxNews)
	}
}

func TestProcessDeadline(t *testing.T) {
	p := start(t, "sleep 100")
	time.AfterFunc(20*time.Millisecond, func() { _ = p.SetReadDeadline(time.Unix(1, 0)) })
	if _, err := p.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %v; want a deadline", err)
	}
}

func TestProcessStop(t *testing.T) {
	tests := []struct {
		name, script, err string
		grace             time.Duration
	}{
		{"ends with its input", "echo; cat", "", time.Minute},
		{"fails", "echo; read x; exit 3", "sh: exit status 3", time.Minute},
		{"waits for a child", "sleep 1000 & echo; wait; echo clean >$A; exit 0", "sh: its children were killed, as it did not end", 300 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			clean := filepath.Join(t.TempDir(), "clean")
			p := start(t, tt.script, "A="+clean)
			line(t, p)
			time.Sleep(100 * time.Millisecond) // it is where it waits
			err := p.Stop(tt.grace)
			if got := message(err); got != tt.err {
				t.Errorf("Stop = %q; want %q", got, tt.err)
			}
			if _, err := os.Stat(clean); strings.Contains(tt.script, "clean") && err != nil {
				t.Errorf("the program could not clean up: %v", err)
			}
			if left := members(p.cmd.Process.Pid); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
		})
	}
}

// A program that hangs itself is killed with all that it started.
func TestProcessStopKills(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for what a program has to clean up")
	}
	p := start(t, "sleep 1000 & echo $!; kill -STOP $$")
	child, err := strconv.Atoi(line(t, p))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(0); message(err) != "sh: it did not end: signal: killed" {
		t.Errorf("Stop = %v", err)
	}
	if b, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat"); err == nil && !strings.Contains(string(b), ") Z ") {
		t.Errorf("its child is left: %s", b)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestProcessStartErrors(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context // of a test case
		spec Spec
		err  string
	}{
		{"nothing", t.Context(), Spec{}, "no program to start"},
		{"not installed", t.Context(), Spec{Argv: []string{"frobnicate-x"}}, "frobnicate-x is not installed on this host, or not in PATH"},
		{"cancelled", ended, Spec{Argv: []string{"true"}}, "true: not started: context canceled"},
		{"no directory", t.Context(), Spec{Argv: []string{"true"}, Dir: "/nonexistent"}, "true: open /nonexistent/stderr: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			_, err := Tool{}.Start(tt.ctx, tt.spec)
			if message(err) != tt.err {
				t.Errorf("Start = %v; want %s", err, tt.err)
			}
		})
	}
}
