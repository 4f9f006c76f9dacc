package esxi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// maxRetryAfter bounds what a host may ask for in Retry-After.
const maxRetryAfter = time.Minute

// statusError is an answer other than success.
type statusError struct {
	code  int
	after time.Duration // Retry-After
	size  int64         // of the file, as a 416 says; -1 if it doesn't
}

// Error implements error.
func (e *statusError) Error() string {
	text := fmt.Sprintf("the host answers %d %s", e.code, http.StatusText(e.code))
	switch e.code {
	case http.StatusRequestedRangeNotSatisfiable:
		if e.size >= 0 {
			text += fmt.Sprintf(", the file has %d bytes", e.size)
		}
	case http.StatusNonAuthoritativeInfo, http.StatusProxyAuthRequired, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusNetworkAuthenticationRequired,
		http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		text += ", which ESXi never does: " + inBetween
	}
	return text
}

func newStatusError(res *http.Response) error {
	e := &statusError{code: res.StatusCode, size: -1}
	if total, ok := strings.CutPrefix(res.Header.Get("Content-Range"), "bytes */"); ok {
		if n, err := strconv.ParseInt(total, 10, 64); err == nil && n >= 0 {
			e.size = n
		}
	}
	if s, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 16); err == nil {
		e.after = min(time.Duration(s)*time.Second, maxRetryAfter)
	}
	return e
}

func asStatus(err error) *statusError {
	e, _ := errors.AsType[*statusError](err)
	return e
}

// statusOf returns the status code inside err, or 0.
func statusOf(err error) int {
	if e := asStatus(err); e != nil {
		return e.code
	}
	return 0
}

// final reports whether an answer will be the same next time.
func final(err error) bool {
	code := statusOf(err)
	return code != 0 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout ||
		code == http.StatusNotImplemented
}

// classify says what a refusal means. Of a running VM's disk hostd says 403,
// 404 or 500 as the version goes, so the VM's power state decides, not the
// status.
func (c *Client) classify(ctx context.Context, p dsPath, err error) error {
	code := statusOf(err)
	switch code {
	case http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError:
	case http.StatusUnauthorized:
		return fmt.Errorf("%w: the host refuses the session that it just gave: %w", ErrLogin, err)
	case http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: it is shorter than it was: %w", ErrChanged, err)
	default:
		return err
	}
	name, askErr := c.user(ctx, p)
	switch {
	case askErr != nil:
		return fmt.Errorf("%w (and whether a running VM uses it isn't known: %w)", err, askErr)
	case name != "":
		return fmt.Errorf("%w: %w: VM %q is powered on or suspended and uses it; shut the VM down first", ErrLocked, err, name)
	case code == http.StatusForbidden:
		return fmt.Errorf("%w: %w: user %s needs Datastore.Browse and low-level file access, or something else on the host holds the file",
			ErrPermission, err, c.cfg.user())
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %w: no such file (disks on vSAN or vVols have no flat file to read)", ErrNotFound, err)
	}
	return fmt.Errorf("%w; no running VM uses the file: a backup, an export or another host may have it open", err)
}

// user returns the name of a VM that is not powered off and has p among its
// files or in its directory, or "".
func (c *Client) user(ctx context.Context, p dsPath) (string, error) {
	var found string
	stores, err := c.datastores(ctx)
	if err != nil {
		return "", err
	}
	paths := []string{"name", "runtime.powerState", "config.files.vmPathName", "layoutEx.file"}
	err = c.retrieve(ctx, c.under(map[string][]string{"VirtualMachine": paths}), func(o object) {
		if prop[types.VirtualMachinePowerState](o, "runtime.powerState") == types.VirtualMachinePowerStatePoweredOff {
			return
		}
		vmx, err := parsePath(prop[string](o, "config.files.vmPathName"), stores)
		inDir := err == nil && vmx.store == p.store && path.Dir(vmx.file) == path.Dir(p.file)
		files := prop[types.ArrayOfVirtualMachineFileLayoutExFileInfo](o, "layoutEx.file").VirtualMachineFileLayoutExFileInfo
		listed := slices.ContainsFunc(files, func(f types.VirtualMachineFileLayoutExFileInfo) bool { return f.Name == p.String() })
		if inDir || listed {
			found = unescapeName(prop[string](o, "name"))
		}
	})
	return found, err
}
