package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestToolRun(t *testing.T) {
	defer goleak.VerifyNone(t)
	tests := []struct {
		name string
		argv []string
		out  string
		err  string
	}{
		{"output", []string{"printf", "%s", "a b"}, "a b", ""},
		{"no shell", []string{"printf", "%s", "$(id); `id` | x"}, "$(id); `id` | x", ""},
		{"locale", []string{"sh", "-c", "echo $LC_ALL"}, "C\n", ""},
		{"stdin is empty", []string{"cat"}, "", ""},
		{"exit status", []string{"sh", "-c", "echo first >&2; printf 'evil\\033[31m\\n' >&2; exit 5"}, "", "sh: exit status 5: first; evil\ufffd[31m"},
		{"quiet failure", []string{"false"}, "", "false: exit status 1"},
		{"signal", []string{"sh", "-c", "kill -9 $$"}, "", "sh: signal: killed"},
		{"not installed", []string{"frobnicate-x"}, "", "frobnicate-x is not installed on this host, or not in PATH"},
		{"no such path", []string{"/nonexistent/x"}, "", "/nonexistent/x: stat /nonexistent/x: no such file or directory"},
		{"nothing", nil, "", "no program to run"},
		{"too much", []string{"head", "-c", fmt.Sprint(maxStdout + 1), "/dev/zero"}, "", "head: more than 16777216 bytes of output"},
		{"as much as may be", []string{"sh", "-c", "head -c 16777216 /dev/zero | tr '\\0' x"}, strings.Repeat("x", maxStdout), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Tool{}.Run(t.Context(), tt.argv...)
			if string(got) != tt.out || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("Run = %.80q, %v; want %.80q, %q", got, err, tt.out, tt.err)
			}
		})
	}
}

func TestToolErrors(t *testing.T) {
	_, err := Tool{}.Run(t.Context(), "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 3")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || len(exit.Stderr) > maxStderr || !strings.HasSuffix(exit.Stderr, "xthe end") {
		t.Errorf("Run = %.200v; want status 3, the end of stderr", err)
	}
	t.Setenv("PATH", t.TempDir())
	_, err = Tool{}.Run(t.Context(), "qemu-img")
	var missing *MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "install the package qemu-utils") {
		t.Errorf("Run = %v; want the package", err)
	}
	if _, err := os.Stat("/usr/sbin/vgs"); err == nil { // not in that PATH
		if _, err := (Tool{}).Run(t.Context(), "vgs", "--version"); err != nil {
			t.Error(err)
		}
	}
}

func TestToolCancel(t *testing.T) {
	defer goleak.VerifyNone(t)
	stop := errors.New("the admin pressed Ctrl-C")
	tests := []struct {
		name, script string
	}{
		{"ends on SIGTERM", "echo $$ >started; exec sleep 600"},
		{"with a child", "echo $$ >started; sleep 600; echo not reached"},
		// The child says itself that it runs: before its exec it still has
		// its parent's trap, and a SIGTERM that comes then is lost.
		{"cleans up on SIGTERM", "trap 'touch cleaned; kill $!; exit 1' TERM; sh -c 'echo '$$' >started; exec sleep 600' & wait"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancelled := onceThere(t, filepath.Join(dir, "started"), stop)
			_, err := Tool{}.Run(ctx, "sh", "-c", "cd "+dir+"; "+tt.script)
			if took := time.Since(<-cancelled); !errors.Is(err, stop) || took >= grace {
				t.Errorf("Run = %v after %v; want %v at once, not by SIGKILL after %v", err, took, stop, grace)
			}
			if _, err := os.Stat(filepath.Join(dir, "cleaned")); (err == nil) != strings.Contains(tt.script, "cleaned") {
				t.Errorf("cleaned: %v", err)
			}
			gone(t, filepath.Join(dir, "started"))
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := (Tool{}).Run(ctx, "touch", filepath.Join(t.TempDir(), "x")); !errors.Is(err, stop) || !strings.Contains(err.Error(), "not started") {
		t.Errorf("Run with an ended context = %v", err)
	}
}

// onceThere makes a context that is cancelled once a file has content, and tells
// when that was.
func onceThere(t *testing.T, path string, cause error) (context.Context, <-chan time.Time) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	when := make(chan time.Time, 1)
	go func() {
		for range 15_000 { // five minutes
			if info, err := os.Stat(path); err == nil && info.Size() > 0 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		when <- time.Now()
		cancel(cause)
	}()
	return ctx, when
}

// TestToolStubborn has a program ignore SIGTERM.
func TestToolStubborn(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for SIGKILL")
	}
	stop := errors.New("the admin pressed Ctrl-C")
	pid := filepath.Join(t.TempDir(), "started")
	ctx, cancelled := onceThere(t, pid, stop)
	_, err := Tool{}.Run(ctx, "sh", "-c", "trap '' TERM; echo $$ >"+pid+"; while :; do sleep 1; done")
	if took := time.Since(<-cancelled); !errors.Is(err, stop) || took < grace || took > grace+5*time.Minute {
		t.Errorf("Run = %v after %v; want SIGKILL after %v", err, took, grace)
	}
	gone(t, pid)
}

// gone checks that no process is left in the group whose number is in a file.
func gone(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(b), &pid); err != nil {
		t.Fatal(err)
	}
	var left []string
	for range 3000 {
		if left = processGroup(t, pid); len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("processes of group %d are left: %q", pid, left)
}

// processGroup lists the processes of a group that still run.
func processGroup(t *testing.T, pid int) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var state string
		var parent, pgrp int
		_, rest, _ := strings.Cut(string(b), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent, &pgrp); err == nil && pgrp == pid && state != "Z" {
			left = append(left, string(b))
		}
	}
	return left
}

func FuzzPrintable(f *testing.F) {
	f.Add([]byte("a\x1b[31m\nb\r\n\xff\u009b"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got := printable(string(in))
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) || bytes.ContainsRune([]byte(got), '\n') {
			t.Errorf("printable(%q) = %q", in, got)
		}
	})
}
