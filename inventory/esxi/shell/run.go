package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"esxodus/inventory/esxi"

	"golang.org/x/crypto/ssh"
)

const (
	// maxOutput bounds what a command may print: vim-cmd prints a host's
	// whole configuration in less.
	maxOutput = 16 << 20
	maxStderr = 64 << 10
)

// ExitError is a command that ended with another code than 0.
type ExitError struct {
	Argv   []string
	Code   int // -1 when a signal ended it
	Output string
}

// Error implements error.
func (e *ExitError) Error() string {
	text := strings.TrimSpace(e.Output)
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return fmt.Sprintf("%s: exit code %d: %s", strings.Join(e.Argv, " "), e.Code, text)
}

// Run runs a command on the host and returns what it printed to standard
// output. Another exit code than 0 gives an *[ExitError], with the output as
// well. ctx ends the command; a host that stops answering for Config.Stall
// ends the connection.
func (c *Client) Run(ctx context.Context, argv ...string) ([]byte, error) {
	line, err := quote(argv)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tooMuch := func() { cancel(fmt.Errorf("%w: more than %d bytes of output", esxi.ErrProtocol, maxOutput)) }
	release, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	var out bytes.Buffer
	errs, err := c.pipe(ctx, argv, line, &limited{w: &out, left: maxOutput, full: tooMuch})
	if exit, ok := errors.AsType[*ExitError](err); ok {
		exit.Output = errs + out.String()
	}
	return out.Bytes(), err
}

// slot waits until one more command may run, and returns what ends its turn.
func (c *Client) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// pipe runs a line of the shell, which argv names in errors, with its output going
// to a writer, and returns what it printed to standard error. It needs a slot. Its
// errors are those of Run.
func (c *Client) pipe(ctx context.Context, argv []string, line string, to io.Writer) (stderr string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() { c.watch(ctx, cancel) })
	c.log.DebugContext(ctx, "run", "argv", argv)
	stderr, err = c.run(ctx, line, to)
	if err == nil {
		return stderr, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return stderr, fmt.Errorf("%s: %s: %w", c.cfg.Addr, argv[0], cause)
	}
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		code := exit.ExitStatus()
		if exit.Signal() != "" {
			code = -1
		}
		return stderr, &ExitError{Argv: argv, Code: code, Output: stderr}
	}
	return stderr, fmt.Errorf("%s: %s: %w", c.cfg.Addr, argv[0], err)
}

func (c *Client) run(ctx context.Context, line string, to io.Writer) (string, error) {
	session, err := c.session(ctx)
	if err != nil {
		return "", err
	}
	defer session.Close() //nolint:errcheck // io.EOF after a command that ended, and nothing to be done otherwise
	var stderr bytes.Buffer
	session.Stdout = to
	session.Stderr = &limited{w: &stderr, left: maxStderr}
	done := make(chan error, 1)
	go func() { // also for Start, which waits for the host's answer
		err := session.Start(line)
		if err == nil {
			err = session.Wait()
		}
		done <- err
	}()
	select {
	case err := <-done:
		return stderr.String(), err
	case <-ctx.Done():
		// The buffers are not ours before Wait has returned.
		hangUp := time.AfterFunc(c.cfg.Stall, func() { _ = c.ssh.Close() })
		defer hangUp.Stop()
		_ = session.Signal(ssh.SIGTERM) // sshd before 7.9 ignores it; the hang-up that follows does not
		_ = session.Close()
		<-done //nolint:errcheck // ctx tells why
		return stderr.String(), context.Cause(ctx)
	}
}

// session opens a channel, or gives up when ctx ends.
func (c *Client) session(ctx context.Context) (*ssh.Session, error) {
	type result struct {
		s   *ssh.Session
		err error
	}
	opened := make(chan result, 1)
	go func() {
		s, err := c.ssh.NewSession()
		opened <- result{s, err}
	}()
	select {
	case r := <-opened:
		return r.s, r.err
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.err == nil {
				_ = r.s.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// watch asks the host for a sign of life now and then until ctx ends. Without
// one for Config.Stall it closes the connection.
func (c *Client) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	stall := c.cfg.Stall
	tick := time.NewTicker(stall / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		answered := make(chan error, 1)
		go func() {
			_, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil)
			answered <- err
		}()
		select {
		case <-ctx.Done():
			return
		case err := <-answered:
			if err != nil {
				cancel(fmt.Errorf("connection lost: %w", err))
				return
			}
		case <-time.After(stall):
			cancel(fmt.Errorf("%w: no sign of life for %s", esxi.ErrStalled, stall))
			_ = c.ssh.Close()
			return
		}
	}
}

// limited keeps the first left bytes and drops the rest, calling full once.
type limited struct {
	w    *bytes.Buffer
	left int
	full func()
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.w.Write(p[:n])
	l.left -= n
	if n < len(p) && l.full != nil {
		l.full()
		l.full = nil
	}
	return len(p), nil
}
