package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"esxodus/convert/journal"
	"esxodus/convert/report"
	"esxodus/convert/run"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"
	"esxodus/inventory/fit"
	"esxodus/inventory/redact"
)

// The exit codes are an API: scripts rely on them. 2 is left to Go's panics.
const (
	exitDone        = 0
	exitFailed      = 1   // failed; changes undone
	exitSome        = 3   // some of several VMs failed
	exitPreflight   = 4   // a VM can't be converted as it is
	exitStopped     = 5   // stopped half-way, nothing lost: resume or rollback
	exitDiffers     = 6   // verify found a difference; nothing was changed
	exitUsage       = 64  // the command line is wrong
	exitBusy        = 75  // another esxodus is at work on the VM; nothing was changed (sysexits' EX_TEMPFAIL)
	exitInterrupted = 130 // interrupted; changes undone
)

// exitError carries the code for an error, and what to do about it.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// withHint adds advice to an error.
func withHint(err error, hint string) error {
	return &exitError{code: exitCode(err), err: err, hint: hint}
}

func exitCode(err error) int {
	var e *exitError
	var d *journal.DamagedError
	var p *passwordError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, journal.ErrBusy):
		return exitBusy
	case errors.As(err, &p) && exitCode(p.err) == exitUsage:
		return exitUsage
	case errors.Is(err, run.ErrStopped), errors.As(err, &d):
		return exitStopped
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

// complain prints an error and its hints once, on stderr.
func complain(t terminal, err error) {
	t.say("esxodus: ", err.Error())
	for _, h := range hints(err) {
		t.say("hint: ", h)
	}
}

// say prints a message on stderr: wrapped on a terminal, else as it is, so that a
// log keeps it in a line and a script finds it. Names in it are anybody's.
func (t terminal) say(label, text string) {
	text = redact.Text(t.advice.complete(text), t.secrets...) // before it is broken into lines
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprint(aside{t}, message(label, line, columns(t.err)))
		label = ""
	}
}

// message is one line of a message, wrapped where it is wider than the terminal.
func message(label, text string, columns int) string {
	line := label + fit.TerminalLine(text)
	if columns == 0 || report.Width(line) <= columns {
		return line + "\n"
	}
	return report.Wrap(label, text, max(columns, report.LeastColumns))
}

// hints collects the advice that goes with an error.
func hints(err error) []string {
	var out []string
	var e *exitError
	for inner := err; errors.As(inner, &e); inner = e.err {
		if e.hint != "" && !slices.Contains(out, e.hint) {
			out = append(out, e.hint)
		}
	}
	if d, ok := errors.AsType[*journal.DamagedError](err); ok {
		out = append(out, d.Advice())
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		out = append(out, fullHint(err))
	}
	for _, h := range []struct {
		is   error
		text string
	}{
		{esxi.ErrLogin, "give the right one with --password-file, GOVC_PASSWORD, or at the prompt"},
		{syscall.ECONNREFUSED, "nothing listens there: check the host and the port (443 for ESXi's API, 22 for its SSH)"},
		{esxi.ErrCertificate, "compare the thumbprint with the one that the host's own console shows (Support Information; where that has only SHA-1, on its shell: `openssl x509 -noout -fingerprint -sha256 -in /etc/vmware/ssl/rui.crt`), then give it with --thumbprint"},
		{esxi.ErrThumbprint, "give --thumbprint with the host's new one only if you know that its certificate was replaced"},
		{shell.ErrHostKey, "compare the key with the one that the host's own console shows, then give it with --ssh-fingerprint"},
		{esxi.ErrRestricted, "the free licence makes ESXi's API read-only: VMs are shut down by SSH (--shutdown ssh; autostart at a cutover: --autostart ssh), disks come over HTTPS or by SSH"},
		{esxi.ErrNoTools, "shut the guest down by hand and convert again, or plan with --power-off, which cuts its power: without VMware Tools ESXi can't ask it to"},
		{journal.ErrBusy, "`esxodus status` shows how far it is; repeat the command when it has ended"},
	} {
		if errors.Is(err, h.is) {
			out = append(out, h.text)
		}
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok && d.IsNotFound {
		out = append(out, fmt.Sprintf("no host is called %q here: check the spelling, or give its address", d.Name))
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		out = append(out, "what answers there doesn't speak HTTPS: check the host and the port (443 for ESXi's API)")
	}
	if h := rootHint(err, os.Getuid()); h != "" {
		out = append(out, h)
	}
	return out
}

// rootHint is for an ordinary user whom the system keeps from something, unless
// the message says it already.
func rootHint(err error, uid int) string {
	if uid == 0 || !errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "as root") {
		return ""
	}
	return "run esxodus as root"
}

// fullHint names the file system that is full: it may be the target's, that of
// --state, or the one that a plan is saved to.
func fullHint(err error) string {
	where := "the target"
	if path := fullPath(err); path != "" {
		where = "the file system of " + path
	}
	if errors.Is(err, run.ErrUndone) {
		return where + " is full: make room there, or choose another --storage, and start again"
	}
	return where + " is full: make room there first"
}

// fullPath finds the file, anywhere in an error, that there was no room for.
func fullPath(err error) string {
	if p, ok := err.(*fs.PathError); ok && (errors.Is(p.Err, syscall.ENOSPC) || errors.Is(p.Err, syscall.EDQUOT)) { //nolint:errorlint // the tree is walked here
		return p.Path
	}
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		return fullPath(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if path := fullPath(inner); path != "" {
				return path
			}
		}
	}
	return ""
}
