// Package virt makes changes through libvirt: it defines and undefines
// domains and has transient copies of them boot as a proof. It is the only
// package with cgo.
//
// Calls into libvirt cannot be interrupted. Each is short, and ctx is looked
// at between them.
package virt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"libvirt.org/go/libvirt"

	"esxodus/inventory/fit"
)

// SystemURI is libvirt's instance for the whole host, which autostarts
// domains.
const SystemURI = "qemu:///system"

// Conn is a connection to libvirt. Several goroutines may use it.
type Conn struct {
	lv  *libvirt.Connect
	uri string
	// schema is held while libvirtd checks a document: two checks at a time, before it has
	// read its schemas, can fail (9.0: "'unsignedInt' is not exported by type library").
	schema sync.Mutex
}

// Connect connects to libvirt at uri, SystemURI if it is empty.
func Connect(ctx context.Context, uri string) (*Conn, error) {
	if uri == "" {
		uri = SystemURI
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	type result struct {
		lv  *libvirt.Connect
		err error
	}
	done := make(chan result, 1)
	go func() { // a daemon that is stuck takes the connection and is silent
		lv, err := libvirt.NewConnect(uri)
		done <- result{lv, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, explainConnect(uri, r.err)
		}
		return &Conn{lv: r.lv, uri: uri}, nil
	case <-ctx.Done():
		go func() { // ends when libvirt gives up or the process does
			if r := <-done; r.lv != nil {
				_, _ = r.lv.Close()
			}
		}()
		return nil, fmt.Errorf("libvirt at %s does not answer: %w", uri, context.Cause(ctx))
	}
}

// Close ends the connection, and with it every proof that still runs on it.
func (c *Conn) Close() error {
	_, err := c.lv.Close()
	return explain("closing the connection to "+c.uri, err)
}

// Hostname is what the machine with the hypervisor calls itself.
func (c *Conn) Hostname() (string, error) {
	name, err := c.lv.GetHostname()
	return name, explain("the name of libvirt's machine", err)
}

// explainConnect says what to do when there is no libvirt to talk to.
func explainConnect(uri string, err error) error {
	var hint string
	msg := err.Error()
	var lv libvirt.Error
	if errors.As(err, &lv) {
		msg = lv.Message
	}
	switch {
	case strings.Contains(msg, "libvirt.so"):
		hint = "libvirt is not installed on this host: install libvirt-daemon-system and qemu-system-x86 (Debian, Ubuntu)"
	case strings.Contains(msg, "Permission denied"), lv.Code == libvirt.ERR_AUTH_UNAVAILABLE, lv.Code == libvirt.ERR_AUTH_FAILED, lv.Code == libvirt.ERR_AUTH_CANCELLED:
		hint = "you may not manage domains: run esxodus as root, or as a member of the group libvirt"
	case strings.Contains(msg, "socket"), strings.Contains(msg, "refused"):
		hint = "libvirt does not run on this host: install libvirt-daemon-system if it is missing, then systemctl start libvirtd (or virtqemud.socket)"
	default:
		return fmt.Errorf("libvirt at %s: %s", uri, fit.Lines(msg))
	}
	return fmt.Errorf("libvirt at %s: %s: %s", uri, fit.Lines(msg), hint)
}

// explain adds what was done to a libvirt error and keeps of the error what
// people can use.
func explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if lv, ok := errors.AsType[libvirt.Error](err); ok {
		msg := fit.Lines(lv.Message)
		if h := hint(msg); h != "" {
			msg += ": " + h
		}
		return fmt.Errorf("%s: %w", what, &Error{Code: lv.Code, Message: msg})
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Error is what libvirt says of a failure.
type Error struct {
	Code    libvirt.ErrorNumber
	Message string // one line, without control characters, with advice where we have some
}

func (e *Error) Error() string { return e.Message }

// hint says what to do about what libvirt says where that isn't obvious.
func hint(msg string) string {
	for _, h := range []struct{ part, hint string }{
		{"virtlogd-sock", "virtlogd does not run: systemctl start virtlogd.socket"},
		{"virtlockd-sock", "virtlockd does not run: systemctl start virtlockd.socket"},
		{"domaintype=kvm", "this host has no KVM (is virtualisation enabled in its firmware?): without it --virt-type qemu works, but slowly"},
		{"Unable to find 'efi' firmware", "install ovmf"},
		{"Unable to find any firmware", "install ovmf"},
		{"Unable to find 'swtpm", "install swtpm and swtpm-tools"},
		{"Permission denied", "QEMU runs as its own user, which must be able to enter every directory on the way"},
	} {
		if strings.Contains(msg, h.part) {
			return h.hint
		}
	}
	return ""
}

// is tells a libvirt error by its number.
func is(err error, code libvirt.ErrorNumber) bool {
	var lv libvirt.Error
	return errors.As(err, &lv) && lv.Code == code
}
