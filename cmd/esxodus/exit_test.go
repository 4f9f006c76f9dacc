package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	"esxodus/convert/run"
)

// TestFullHint: what is full is named, and what to do fits.
func TestFullHint(t *testing.T) {
	t.Parallel()
	full := func(path string) error { return &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC} }
	tests := []struct {
		name string
		err  error
		want string
		not  string
	}{
		{"the target", fmt.Errorf("copy: %w; %w", full("/disks/web"), run.ErrUndone), "the file system of /disks/web is full: make room there, or choose another --storage", ""},
		{"the state", fmt.Errorf("%w: %w", run.ErrStopped, errors.Join(errors.New("x"), full("/var/lib/esxodus/vms/web/journal"))), "the file system of /var/lib/esxodus/vms/web/journal is full", "--storage"},
		{"nobody says", fmt.Errorf("clearing: %w", syscall.ENOSPC), "the target is full", ""},
		{"a quota", &fs.PathError{Path: "/disks/web", Err: syscall.EDQUOT}, "/disks/web is full", ""},
	}
	for _, tt := range tests {
		got := strings.Join(hints(tt.err), "\n")
		if !strings.Contains(got, tt.want) || tt.not != "" && strings.Contains(got, tt.not) {
			t.Errorf("%s: hints = %q; want %q", tt.name, got, tt.want)
		}
	}
}

// TestRootHint: who may not do something is told who may, once.
func TestRootHint(t *testing.T) {
	t.Parallel()
	denied := fmt.Errorf("state directory: %w", &fs.PathError{Op: "open", Path: "/var/lib/esxodus/vms", Err: syscall.EACCES})
	for _, tt := range []struct {
		err  error
		uid  int
		want string
	}{
		{denied, 1000, "run esxodus as root"},
		{denied, 0, ""},
		{fmt.Errorf("%w: run esxodus as root", denied), 1000, ""},
		{errors.New("no such file"), 1000, ""},
	} {
		if got := rootHint(tt.err, tt.uid); got != tt.want {
			t.Errorf("rootHint(%v, %d) = %q; want %q", tt.err, tt.uid, got, tt.want)
		}
	}
}

// TestNoSuchHost: a host's name that nobody knows has advice, as one that doesn't answer.
func TestNoSuchHost(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("login: %w", &net.DNSError{Err: "no such host", Name: "esx1x", IsNotFound: true})
	if got := hints(err); len(got) != 1 || !strings.Contains(got[0], `no host is called "esx1x" here`) {
		t.Errorf("hints = %q", got)
	}
}
