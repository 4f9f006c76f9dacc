package target

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// resolveTimeout is how long a name service may take to tell a host's addresses.
const resolveTimeout = 10 * time.Second

// OtherMachine is the host that a libvirt URI leads to, "" for this machine.
func OtherMachine(ctx context.Context, uri string) (string, error) {
	if uri == "" {
		return "", nil // the system's own
	}
	scheme, _, ok := strings.Cut(uri, "://")
	if !ok {
		return "", errors.New("want a whole URI, such as qemu:///system: where an alias leads isn't known")
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "", errors.New("not a URI that libvirt accepts")
	}
	if _, transport, _ := strings.Cut(scheme, "+"); transport == "ext" {
		return "", errors.New("where a custom command leads isn't known: give the libvirt of this machine, such as qemu:///system")
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

// OtherHost is what the machine of a libvirt calls itself, as that can be another
// behind a forwarded port or socket; "" for this one, or where it doesn't answer.
func (h *Libvirt) OtherHost(ctx context.Context) string {
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
