package esxi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// readyStalls bounds, in Config.Stall, how long a lease may take to get ready.
	readyStalls = 10
	// silentStalls is how long, in Config.Stall, a stream may be silent: a host
	// that reads a disk's zeros sends nothing meanwhile, or a marker at times.
	silentStalls = 10
	// giveBack bounds the end of a lease.
	giveBack = 30 * time.Second
	// usualLease is what hosts have for a lease's time-out; longestLease bounds
	// what is believed.
	usualLease, longestLease = 5 * time.Minute, time.Hour
)

// Export is a lease on a VM that is off (HttpNfcLease in the vSphere Web
// Services SDK). As long as it is held the host streams the VM's disks, and
// refuses to switch the VM on. It is kept alive until Close is called, or the
// context that it was asked for with ends, or the host ends it; with it end its
// streams. Its methods may be called from several goroutines.
type Export struct {
	c     *Client
	ref   types.ManagedObjectReference
	vm    string
	items []*leaseItem

	ctx     context.Context // ends with the lease; its cause says why
	cancel  context.CancelCauseFunc
	timeout time.Duration // of the lease, when the host hears nothing
	silence time.Duration // longest, of a stream
	percent int32         // last reported

	kept  chan struct{} // closed when the lease is no longer kept alive
	ended error         // of giving it back, once kept is closed
	gone  bool          // it was given back, or lost; the same
	once  sync.Once
}

// errClosed is the cause of a lease's end that was asked for.
var errClosed = errors.New("the export is closed")

// Export asks the host for a lease on the VM with the given id, which must be
// off, and waits until it is ready. ctx bounds the lease's life, not only the
// call; the caller must close what it gets all the same. Errors wrap
// [ErrRestricted] (the free licence exports nothing), [ErrPermission],
// [ErrLocked] (something else has the VM; [ErrNotOff]: it isn't off), [ErrNotFound],
// [ErrStalled], [ErrLease] or [ErrProtocol] where they are that.
func (c *Client) Export(ctx context.Context, vmID string) (*Export, error) {
	x, err := c.lease(ctx, vmID)
	if err != nil {
		return nil, fmt.Errorf("%s: export of VM %s: %w", c.cfg.URL.Host, vmID, err)
	}
	return x, nil
}

func (c *Client) lease(ctx context.Context, vmID string) (_ *Export, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	// A lease that is granted must be known to be given back.
	asking, cancel := outlive(ctx, giveBack)
	defer cancel()
	res, err := methods.ExportVm(asking, c.write(), &types.ExportVm{This: vmRef(vmID)})
	if err != nil {
		return nil, c.refusal(err)
	}
	x := &Export{c: c, ref: res.Returnval, vm: vmID, silence: silentStalls * c.cfg.Stall, timeout: usualLease, kept: make(chan struct{})}
	ctx, x.cancel = context.WithCancelCause(ctx)
	x.ctx = ctx
	kept := false
	defer func() { // after a panic, too
		if !kept {
			err = errors.Join(err, x.abort(ctx))
			x.cancel(errClosed)
		}
	}()
	info, err := x.ready(ctx)
	if err != nil {
		return nil, err
	}
	if x.items, err = x.list(ctx, info.DeviceUrl); err != nil {
		return nil, err
	}
	if t := time.Duration(info.LeaseTimeout) * time.Second; t > 0 {
		x.timeout = min(t, longestLease)
	}
	c.hold(x)
	kept = true
	go x.keep(ctx)
	return x, nil
}

// outlive returns a context that ends so long after ctx.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(by, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(out, func() { t.Stop() })
	})
	return out, func() {
		stop()
		cancel(nil)
	}
}

// refusal explains why there is no lease.
func (c *Client) refusal(err error) error {
	switch f := faultOf(err).(type) {
	case types.RestrictedVersion:
		return fmt.Errorf("%w: the free licence exports no VM: read its disks by HTTPS or SSH, or give the host another licence, be it for evaluation: %w", ErrRestricted, err)
	case types.NoPermission:
		return fmt.Errorf("%w: user %s needs the privilege %s: %w", ErrPermission, c.cfg.user(), PrivilegeExport, err)
	case types.InvalidPowerState:
		return fmt.Errorf("%w: it is %s: shut it down first: %w", ErrNotOff, powerWords(f.ExistingState), err)
	case types.TaskInProgress, types.InvalidState, types.FileLocked, types.MethodDisabled:
		return fmt.Errorf("%w: something else on the host has the VM, such as another export, a backup or a task: wait for its end: %w", ErrLocked, err)
	}
	return wrapFault(err)
}

// PrivilegeExport is what ExportVm needs.
const PrivilegeExport = "VApp.Export"

func powerWords(s types.VirtualMachinePowerState) string {
	switch s {
	case types.VirtualMachinePowerStatePoweredOn:
		return "powered on"
	case types.VirtualMachinePowerStateSuspended:
		return "suspended"
	}
	return "not powered off"
}

// leaseState is a lease as the host describes it.
type leaseState struct {
	state types.HttpNfcLeaseState
	info  types.HttpNfcLeaseInfo
	fault types.LocalizedMethodFault
}

func (x *Export) look(ctx context.Context) (leaseState, error) {
	var s leaseState
	err := x.c.retrieve(ctx, of(x.ref, "state", "info", "error"), func(o object) {
		s.state = prop[types.HttpNfcLeaseState](o, "state")
		s.info = prop[types.HttpNfcLeaseInfo](o, "info")
		s.fault = prop[types.LocalizedMethodFault](o, "error")
	})
	return s, err
}

// lost says why a lease isn't one any more.
func (s leaseState) lost() error {
	switch {
	case s.state == types.HttpNfcLeaseStateError && s.fault.Fault != nil:
		return fmt.Errorf("%w: the host ended it: %.200q (%s)", ErrLease, s.fault.LocalizedMessage, typeName(s.fault.Fault))
	case s.state == types.HttpNfcLeaseStateError || s.state == types.HttpNfcLeaseStateDone:
		return fmt.Errorf("%w: the host ended it", ErrLease)
	}
	return fmt.Errorf("%w: the lease's state is %.40q", ErrProtocol, s.state)
}

// ready waits until the host has made the lease.
func (x *Export) ready(ctx context.Context) (types.HttpNfcLeaseInfo, error) {
	limit := readyStalls * x.c.cfg.Stall
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: the lease isn't ready after %s", ErrStalled, limit))
	defer cancel()
	for {
		s, err := x.look(ctx)
		if err == nil && s.state == types.HttpNfcLeaseStateInitializing {
			err = x.c.retry.wait(ctx, 0, x.c.retry.poll)
			if err == nil {
				continue
			}
		}
		if err == nil && s.state != types.HttpNfcLeaseStateReady {
			err = s.lost()
		}
		if err != nil {
			err = stalledOr(ctx, err)
		}
		return s.info, err
	}
}

// Disks are the VM's disks that the host streams: not independent ones that are
// reset at power-on on some releases, nor raw LUNs. What the model has beside
// their places and sizes may be missing.
func (x *Export) Disks() []inventory.Disk {
	out := make([]inventory.Disk, 0, len(x.items))
	for _, i := range x.items {
		out = append(out, i.disk)
	}
	return out
}

// Has reports whether the host streams a disk of the VM, which goes by its address. Its
// errors are those of [Export.Open].
func (x *Export) Has(d inventory.Disk) error {
	if _, err := x.item(d); err != nil {
		return x.about(d, err)
	}
	return nil
}

// Close gives the lease back, and ends what is read of it: as completed if each
// disk of the list was read to the end of its stream, else as aborted. A lease
// that was lost before is no error. ctx may have ended: to give back what the host
// holds takes no longer than half a minute.
func (x *Export) Close(ctx context.Context) error {
	x.once.Do(func() {
		whole := x.whole()
		x.cancel(errClosed)
		<-x.kept
		x.c.drop(x)
		switch {
		case x.gone:
		case whole:
			x.ended = x.complete(ctx)
		default:
			x.ended = x.abort(ctx)
		}
	})
	return x.ended
}

func (x *Export) complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer cancel()
	_, err := methods.HttpNfcLeaseComplete(ctx, x.c.read(), &types.HttpNfcLeaseComplete{This: x.ref})
	return x.given(err)
}

func (x *Export) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer cancel()
	_, err := methods.HttpNfcLeaseAbort(ctx, x.c.read(), &types.HttpNfcLeaseAbort{This: x.ref})
	return x.given(err)
}

// over returns why the lease has ended, or nil.
func (x *Export) over() error { return context.Cause(x.ctx) }

// whenOver cancels when the lease has ended, unless stop is called before.
func (x *Export) whenOver(cancel context.CancelCauseFunc) (stop func() bool) {
	return context.AfterFunc(x.ctx, func() { cancel(x.over()) })
}

// given says whether a lease was given back.
func (x *Export) given(err error) error {
	switch faultOf(err).(type) {
	case types.Timedout, types.ManagedObjectNotFound, types.InvalidState:
		return nil // there is none
	}
	if err != nil {
		return fmt.Errorf("%s: end of the export of VM %s: %w; the host lets nobody switch the VM on until it notices, within %s",
			x.c.cfg.URL.Host, x.vm, wrapFault(err), x.timeout)
	}
	return nil
}

// hold notes a lease that Close is to give back.
func (c *Client) hold(x *Export) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exports == nil {
		c.exports = make(map[*Export]struct{})
	}
	c.exports[x] = struct{}{}
}

func (c *Client) drop(x *Export) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.exports, x)
}

// closeExports gives all leases back.
func (c *Client) closeExports(ctx context.Context) error {
	c.mu.Lock()
	var all []*Export
	for x := range c.exports {
		all = append(all, x)
	}
	c.mu.Unlock()
	var errs []error
	for _, x := range all {
		errs = append(errs, x.Close(ctx))
	}
	return errors.Join(errs...)
}
