package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/run"
)

// resolveTimeout is how long a name service may take to tell a host's addresses.
const resolveTimeout = 10 * time.Second

// refuseOther refuses a libvirt of another machine by its URI: the storage is
// always on this one, so that the volumes would be made here and the domain there.
func refuseOther(ctx context.Context, uri string) error {
	there, err := otherMachine(ctx, uri)
	if err != nil {
		return usagef("--libvirt %s: %w", uri, err)
	}
	return elsewhere(uri, there)
}

// onThisMachine refuses a libvirt that calls itself another machine's. One that
// doesn't answer is told of later.
func (e *effects) onThisMachine(ctx context.Context) error {
	return elsewhere(e.virt.uri, e.virt.otherHost(ctx))
}

// elsewhere is the error of a libvirt that is on the machine there, nil if that
// is "".
func elsewhere(uri, there string) error {
	if there == "" {
		return nil
	}
	return &exitError{
		code: exitUsage,
		err:  fmt.Errorf("--libvirt %s is the libvirt of %s, another machine: the disks would be made here, and the domain there", uri, there),
		hint: "run esxodus on " + there + " itself, where --libvirt qemu:///system is the default; or leave --libvirt out, for domains on this machine",
	}
}

// otherMachine is the host that a libvirt URI leads to, "" for this machine.
func otherMachine(ctx context.Context, uri string) (string, error) {
	if uri == "" {
		return "", nil // the system's own
	}
	scheme, _, ok := strings.Cut(uri, "://")
	if !ok {
		return "", errors.New("want a whole URI, such as qemu:///system: where an alias leads isn't known")
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "", errors.New("not a URI that libvirt would take")
	}
	if _, transport, _ := strings.Cut(scheme, "+"); transport == "ext" {
		return "", errors.New("where a command of its own leads isn't known: name the libvirt of this machine, such as qemu:///system")
	}
	if u.Hostname() == "" || thisMachine(ctx, u.Hostname()) {
		return "", nil
	}
	return u.Hostname(), nil
}

// thisMachine reports whether a name or address is this machine's own.
func thisMachine(ctx context.Context, host string) bool {
	if own, err := os.Hostname(); err == nil && strings.EqualFold(host, own) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	at, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(at) == 0 {
		return false
	}
	own := ownAddresses()
	for _, a := range at {
		if a = a.Unmap().WithZone(""); !a.IsLoopback() && !own[a] {
			return false
		}
	}
	return true
}

// ownAddresses are those of this machine's interfaces.
func ownAddresses() map[netip.Addr]bool {
	own := make(map[netip.Addr]bool)
	all, _ := net.InterfaceAddrs() // none: then nothing but loopback is known to be here
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap().WithZone("")] = true
		}
	}
	return own
}

// otherHost is what the machine of a libvirt calls itself, as that can be another
// behind a forwarded port or socket; "" for this one, or where it doesn't answer.
func (h *hypervisor) otherHost(ctx context.Context) string {
	conn, err := h.connect(ctx)
	if err != nil {
		return ""
	}
	name, err := conn.Hostname()
	own, ownErr := os.Hostname()
	if err != nil || ownErr != nil {
		return ""
	}
	label := func(s string) string { first, _, _ := strings.Cut(s, "."); return first }
	if strings.EqualFold(label(name), label(own)) || thisMachine(ctx, name) {
		return ""
	}
	return name
}

// resume goes on with a run whose domain is to be on this machine.
func (e *effects) resume(ctx context.Context, j *journal.Journal) error {
	err := refuseOther(ctx, e.virt.uri)
	if err == nil {
		err = e.onThisMachine(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", run.ErrStopped, err)
	}
	return run.Apply(ctx, j, e.Effects)
}
