// Package host starts programs on the KVM host. It is the only one that does.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"esxodus/inventory/fit"
	"esxodus/inventory/redact"
)

// Limits of what is kept of a program's output, in bytes.
const (
	maxStdout = 16 << 20 // more is an error: nothing that we ask for is so long
	maxStderr = 8 << 10  // the end is kept: that is where the reason stands
)

// grace is how long a program has to end after SIGTERM.
const grace = 10 * time.Second

// Runner runs a program to its end. [Tool] is the one that does.
type Runner interface {
	Run(ctx context.Context, argv ...string) ([]byte, error)
}

// Tool runs programs: without a shell, in the C locale, with nothing else on
// stdin, and with no more of the environment than they need. Secrets must not be in argv, which is logged and shown in errors.
type Tool struct {
	Log *slog.Logger // argv at level debug; nil for none
	Env []string     // NAME=value, added to what a program gets of this process's environment
	In  []byte       // what is on its stdin
}

// ExitError is a program's failure.
type ExitError struct {
	Argv   []string
	Code   int    // exit status; -1 if a signal ended it
	State  string // "exit status 5", "signal: killed"
	Stderr string // its end, at most 8 KiB, without control characters
	Stdout string // likewise; not in the error's text
}

// Error names the program and gives its last words.
func (e *ExitError) Error() string {
	msg := e.Argv[0] + ": " + e.State
	if e.Stderr != "" {
		msg += ": " + e.Stderr
	}
	return msg
}

// MissingError says that a program is not installed.
type MissingError struct{ Program string }

// Error says which package holds the program, where we know.
func (e *MissingError) Error() string {
	packages := map[string]string{"qemu-img": "qemu-utils", "lvs": "lvm2", "vgs": "lvm2", "lvcreate": "lvm2", "lvremove": "lvm2", "lvchange": "lvm2", "lvm": "lvm2"}
	if p, ok := packages[e.Program]; ok {
		return fmt.Sprintf("%s is not installed on this host: install the package %s (Debian, Ubuntu)", e.Program, p)
	}
	return e.Program + " is not installed on this host, or not in PATH"
}

// Run runs argv and returns its standard output. A program that fails gives
// an [*ExitError], one that isn't there a [*MissingError]. When ctx ends, the
// program gets SIGTERM, after ten seconds SIGKILL, and the error wraps
// context.Cause(ctx).
func (t Tool) Run(ctx context.Context, argv ...string) ([]byte, error) {
	if len(argv) == 0 {
		return nil, errors.New("no program to run")
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: not started: %w", argv[0], context.Cause(ctx))
	}
	path, err := lookPath(argv[0])
	if err != nil {
		return nil, err
	}
	stdout, stderr := buffer{max: maxStdout}, buffer{max: maxStderr, tail: true}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	// LVM complains on stderr of each descriptor that our parent left open.
	cmd.Env = append(append(environ(os.Environ(), argv), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1"), t.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(t.In), &stdout, &stderr
	// A group of its own: Ctrl-C in the terminal is for us to act on, and
	// must not end an lvcreate halfway.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	start := time.Now()
	err = cmd.Run()
	if t.Log != nil {
		t.Log.DebugContext(ctx, "program ran", "argv", argv, "took", time.Since(start), "error", err)
	}
	if ctx.Err() != nil && err != nil {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // children that outlived it
		}
		return nil, fmt.Errorf("%s: %w", argv[0], context.Cause(ctx))
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return nil, &ExitError{Argv: argv, Code: exit.ExitCode(), State: exit.String(), Stderr: printable(stderr.kept.String()), Stdout: printable(end(stdout.kept.String()))}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", argv[0], err)
	case stdout.lost:
		return nil, fmt.Errorf("%s: more than %d bytes of output", argv[0], maxStdout)
	}
	return stdout.kept.Bytes(), nil
}

// end is the last 8 KiB of s.
func end(s string) string { return s[max(0, len(s)-maxStderr):] }

// Has reports whether a program is installed.
func Has(name string) bool {
	_, err := lookPath(name)
	return err == nil
}

// lookPath finds a program, also in the system directories that an ordinary
// user's PATH, kept by sudo or su, lacks.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	if strings.Contains(name, "/") {
		return "", fmt.Errorf("%s: %w", name, errors.Unwrap(err))
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &MissingError{Program: name}
}

// buffer takes everything and keeps at most max bytes: the first, or, as a
// tail, the last. It must not have bytes.Buffer's ReadFrom, which has no limit.
type buffer struct {
	kept bytes.Buffer
	max  int
	tail bool
	lost bool
}

func (b *buffer) Write(p []byte) (int, error) {
	n := len(p)
	if !b.tail {
		room := b.max - b.kept.Len()
		b.lost = b.lost || n > room
		b.kept.Write(p[:min(n, room)])
		return n, nil
	}
	p = p[max(0, n-b.max):]
	if over := b.kept.Len() + len(p) - b.max; over > 0 {
		b.kept.Next(over)
	}
	b.kept.Write(p)
	return n, nil
}

// printable joins the lines of a program's last words into one, without
// anything that could act on a terminal, and without passwords of addresses.
func printable(s string) string {
	return redact.Text(fit.Lines(s)) // of a proxy, say
}

// Pause waits for d, or returns why ctx ended first.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
