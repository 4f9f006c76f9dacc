package esxi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// Wire is how a host speaks TLS.
type Wire struct {
	Version string    // "TLS 1.2"
	Expires time.Time // its certificate
}

// Wire asks for the host's start page to see how it speaks TLS.
func (c *Client) Wire(ctx context.Context) (Wire, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Stall, ErrStalled)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.root().String(), nil)
	if err != nil {
		return Wire{}, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return Wire{}, broken(err)
	}
	discard(res.Body)
	if res.TLS == nil || len(res.TLS.PeerCertificates) == 0 {
		return Wire{}, fmt.Errorf("%w: no certificate", ErrProtocol)
	}
	return Wire{Version: tls.VersionName(res.TLS.Version), Expires: res.TLS.PeerCertificates[0].NotAfter}, nil
}

// Now is the time by the host's clock.
func (c *Client) Now(ctx context.Context) (time.Time, error) {
	t, err := methods.GetCurrentTime(ctx, c.read())
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: its clock: %w", c.cfg.URL.Host, err)
	}
	return *t, nil
}

// ErrUnknown is what the host doesn't tell.
var ErrUnknown = errors.New("the host doesn't tell")

// Lacks lists those of the privileges that the user doesn't have on the host. The error
// wraps [ErrUnknown] where that can't be asked.
func (c *Client) Lacks(ctx context.Context, privileges ...string) ([]string, error) {
	if c.content.AuthorizationManager == nil {
		return nil, ErrUnknown
	}
	var session string
	err := c.retrieve(ctx, of(*c.content.SessionManager, "currentSession"), func(o object) {
		session = prop[types.UserSession](o, "currentSession").Key
	})
	if err != nil || session == "" {
		return nil, errors.Join(ErrUnknown, err)
	}
	res, err := methods.HasPrivilegeOnEntities(ctx, c.read(), &types.HasPrivilegeOnEntities{
		This: *c.content.AuthorizationManager, Entity: []types.ManagedObjectReference{c.content.RootFolder}, SessionId: session, PrivId: privileges,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	var lacks []string
	for _, e := range res.Returnval {
		for _, p := range e.PrivAvailability {
			if !p.IsGranted {
				lacks = append(lacks, p.PrivId)
			}
		}
	}
	return lacks, nil
}

// Exportable reports whether the host would give a lease on a VM, as far as it
// says without giving one: whether it has the method disabled for the VM, as it
// is now.
func (c *Client) Exportable(ctx context.Context, vmID string) (bool, error) {
	disabled := false
	err := c.retrieve(ctx, of(vmRef(vmID), "disabledMethod"), func(o object) {
		disabled = slices.Contains(prop[types.ArrayOfString](o, "disabledMethod").String, "ExportVm")
	})
	if err != nil {
		return false, fmt.Errorf("%s: disabled methods of VM %s: %w", c.cfg.URL.Host, vmID, err)
	}
	return !disabled, nil
}
