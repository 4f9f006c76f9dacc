package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Spec says how a [Process] is started.
type Spec struct {
	Argv []string
	Env  []string // added to what it gets of our own: "NAME=value"
	Dir  string   // private directory of the caller: stderr is kept in a file there
}

// Process is a program that runs beside us and is spoken to: lines go to its
// stdin, what it prints is read. Whoever starts one must Stop it, whatever
// happens. If we are killed, it sees the end of its stdin.
type Process struct {
	name string
	cmd  *exec.Cmd
	in   *os.File
	out  *os.File
	errs *os.File
	seen int64         // of errs, bytes
	done chan struct{} // closed when the program has ended
	err  error         // of Wait; valid once done is closed
	stop sync.Once
	end  error // of Stop
}

// maxNews bounds what one call of [Process.News] returns, in bytes: its end.
const maxNews = 64 << 10

// Start starts a program: without a shell, in the C locale, in a process
// group of its own. The end of ctx doesn't end it. A program that isn't there
// gives a [*MissingError].
func (t Tool) Start(ctx context.Context, s Spec) (p *Process, err error) {
	if len(s.Argv) == 0 {
		return nil, errors.New("no program to start")
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: not started: %w", s.Argv[0], context.Cause(ctx))
	}
	path, err := lookPath(s.Argv[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, s.Argv[1:]...)
	p = &Process{name: s.Argv[0], cmd: cmd, done: make(chan struct{})}
	p.cmd.Env = append(append(environ(os.Environ(), s.Argv), "LC_ALL=C"), s.Env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	theirs, err := p.pipes(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	err = p.cmd.Start()
	for _, f := range theirs {
		_ = f.Close() // the program has its own
	}
	if t.Log != nil {
		t.Log.DebugContext(ctx, "program started", "argv", s.Argv, "error", err)
	}
	if err != nil {
		p.closeFiles()
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// pipes sets the program's stdin, stdout and stderr, and returns those ends
// that are its own.
func (p *Process) pipes(dir string) (theirs []*os.File, err error) {
	defer func() {
		if err != nil {
			p.closeFiles()
			for _, f := range theirs {
				_ = f.Close()
			}
		}
	}()
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.in, theirs = in, append(theirs, stdin)
	out, stdout, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	p.out, theirs = out, append(theirs, stdout)
	// A file, not a pipe: what stands in it when an answer comes was all
	// written before the answer.
	name := filepath.Join(dir, "stderr")
	p.errs, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return theirs, err
	}
	if err := os.Remove(name); err != nil {
		return theirs, err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, stdout, p.errs
	return theirs, nil
}

func (p *Process) closeFiles() {
	for _, f := range []*os.File{p.in, p.out, p.errs} {
		if f != nil {
			_ = f.Close() // nothing of ours is in them
		}
	}
}

// Write writes to the program's stdin.
func (p *Process) Write(b []byte) (int, error) { return p.in.Write(b) }

// Read reads what the program prints. It fails with os.ErrDeadlineExceeded
// after the time of SetReadDeadline.
func (p *Process) Read(b []byte) (int, error) { return p.out.Read(b) }

// SetReadDeadline makes a Read, also one that waits, fail at t; never for the
// zero time.
func (p *Process) SetReadDeadline(t time.Time) error { return p.out.SetReadDeadline(t) }

// News returns what the program has written to stderr since the last call, at
// most the last 64 KiB of it.
func (p *Process) News() (string, error) {
	info, err := p.errs.Stat()
	if err != nil {
		return "", err
	}
	from := max(p.seen, info.Size()-maxNews)
	b := make([]byte, info.Size()-from)
	if _, err := p.errs.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	p.seen = info.Size()
	return string(b), nil
}

// Stop closes the program's stdin and waits for its end, for at most grace.
// One that doesn't end loses its children, so that it can clean up after
// them; at last it is killed, too. The error says how it ended, unless that
// was with status 0. All calls but the first return what the first did.
func (p *Process) Stop(grace time.Duration) error {
	p.stop.Do(func() { p.end = p.halt(grace) })
	return p.end
}

// Time that a program has to clean up once its children are dead.
const cleanup = 10 * time.Second

func (p *Process) halt(grace time.Duration) error {
	defer p.closeFiles()
	_ = p.in.Close()
	if p.ended(grace) {
		return p.failure("")
	}
	p.killChildren()
	if p.ended(cleanup) {
		return p.failure("its children were killed, as it did not end")
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
	return p.failure("it did not end")
}

func (p *Process) failure(why string) error {
	switch {
	case why != "" && p.err != nil:
		return fmt.Errorf("%s: %s: %w", p.name, why, p.err)
	case why != "":
		return fmt.Errorf("%s: %s", p.name, why)
	case p.err != nil:
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

// ended waits for the program's end, for at most d.
func (p *Process) ended(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// killChildren kills every process of the program's group but itself.
func (p *Process) killChildren() {
	for _, pid := range members(p.cmd.Process.Pid) {
		if pid != p.cmd.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
	}
}

// members returns the processes of a process group.
func members(pgid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	var pids []int
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// proc(5): pid (name) state ppid pgrp; the name may hold anything.
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && len(fields) > 2 && string(fields[2]) == strconv.Itoa(pgid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
