package esxi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"

	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// What callers test for.
var (
	// ErrLogin is a user name or password that the host does not take.
	ErrLogin = errors.New("login refused")
	// ErrCertificate is a TLS certificate that no known authority vouches for.
	ErrCertificate = errors.New("certificate not trusted")
	// ErrThumbprint is a TLS certificate that is not the pinned one.
	ErrThumbprint = errors.New("certificate is not the pinned one")
	// ErrLegacyTLS is a host that offers only TLS versions or ciphers which
	// are off unless Config.LegacyTLS is set.
	ErrLegacyTLS = errors.New("host offers only outdated TLS")
	// ErrRestricted is a change that the host's licence does not allow
	// through the API, as the free one allows none.
	ErrRestricted = errors.New("the host's licence does not allow this through the API")
	// ErrPermission is something that the user may not do.
	ErrPermission = errors.New("permission denied")
	// ErrNoTools is a guest that cannot be asked to shut down.
	ErrNoTools = errors.New("VMware Tools aren't running in the guest")
	// ErrStillOn is a VM that did not power off in time.
	ErrStillOn = errors.New("still powered on")
	// ErrLocked is a file that the host holds locked, as it does a running
	// VM's disks, or a VM that can't be exported for such a reason.
	ErrLocked = errors.New("file is locked")
	// ErrNotOff is a VM that can't be exported as it isn't off.
	ErrNotOff = fmt.Errorf("%w: the VM isn't off", ErrLocked)
	// ErrNotFound is a file or VM that the host does not have.
	ErrNotFound = errors.New("not found")
	// ErrStalled is a connection that delivered nothing for Config.Stall, or next
	// to nothing.
	ErrStalled = errors.New("connection stalled")
	// ErrChanged is a file that changed while it was read.
	ErrChanged = errors.New("file changed while it was read")
	// ErrLease is an export that the host ended, or that couldn't be kept alive.
	ErrLease = errors.New("the lease on the VM is lost")
	// ErrGaveUp is what was tried several times, longer each time, in vain.
	ErrGaveUp = errors.New("gave up")
	// ErrProtocol is an answer that makes no sense.
	ErrProtocol = errors.New("unexpected answer")
	// ErrOutside is a file name that leads out of the VM's directory to where
	// this package does not follow.
	ErrOutside = errors.New("file name leads outside the datastores")
	// ErrNotESXi is an API that is not an ESXi host's, such as vCenter's.
	ErrNotESXi = errors.New("not an ESXi host")
)

// faultOf returns the vSphere fault inside err, or nil.
func faultOf(err error) any {
	if soap.IsSoapFault(err) {
		return soap.ToSoapFault(err).VimFault()
	}
	return nil
}

// wrapFault puts the sentinel for a fault of the API before its text.
func wrapFault(err error) error {
	switch faultOf(err).(type) {
	case types.RestrictedVersion:
		return fmt.Errorf("%w: %w", ErrRestricted, err)
	case types.InvalidLogin:
		return fmt.Errorf("%w: wrong user name or password (ESXi locks a user out for 15 minutes after 5 wrong ones)", ErrLogin)
	case types.NoPermission:
		return fmt.Errorf("%w: %w", ErrPermission, err)
	case types.ManagedObjectNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case types.ToolsUnavailable:
		return fmt.Errorf("%w: %w", ErrNoTools, err)
	}
	return err
}

// wrapDial explains a connection that could not be made.
func wrapDial(host string, err error) error {
	if outdatedTLS(err) {
		return fmt.Errorf("%s: %w: %w (allow legacy TLS for this host if you trust the network to it)", host, ErrLegacyTLS, err)
	}
	return fmt.Errorf("%s: %w", host, err)
}

func outdatedTLS(err error) bool {
	const handshakeFailure, protocolVersion = 40, 70
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return alert == handshakeFailure || alert == protocolVersion
	}
	return err != nil && errText(err, "protocol version not supported",
		"server selected unsupported protocol version", "server chose an unconfigured cipher suite", "remote error: tls: handshake failure")
}

// permanent reports whether trying again cannot help.
func permanent(ctx context.Context, err error) bool { return ctx.Err() != nil || refusal(err) }

// refusal reports whether an error is the host's own, or what it is.
func refusal(err error) bool {
	for _, target := range []error{
		ErrLogin, ErrCertificate, ErrThumbprint, ErrLegacyTLS, ErrRestricted, ErrPermission, ErrLocked, ErrNotFound, ErrChanged, ErrOutside,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return soap.IsSoapFault(err) || outdatedTLS(err)
}

// Away reports whether an error is that a host can't be reached, or doesn't answer: it may
// come back. What the host refuses, or has otherwise than expected, isn't that.
func Away(err error) bool {
	if err == nil || refusal(err) || errors.Is(err, ErrStillOn) {
		return false
	}
	for _, target := range []error{
		ErrStalled, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.ETIMEDOUT, syscall.EPIPE,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Temporary()
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	u, ok := errors.AsType[*url.Error](err)
	return ok && (errors.Is(u.Err, io.EOF) || errors.Is(u.Err, io.ErrUnexpectedEOF))
}
