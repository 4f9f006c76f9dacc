package esxi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// keep tells the host that the lease is in use, four times in the time after
// which it would end. A call that fails is made again until then. govmomi's own
// updater stops at the first error, and in silence.
func (x *Export) keep(ctx context.Context) {
	defer close(x.kept)
	every := x.timeout / 4
	heard, wait := time.Now(), every
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			if !errors.Is(x.over(), errClosed) { // whoever asked for it may not come back
				x.ended, x.gone = x.abort(ctx), true
			}
			return
		case <-t.C:
		}
		begun := time.Now()
		err := x.renew(ctx, every)
		switch {
		case err == nil:
			heard, wait = begun, every-time.Since(begun)
			continue
		case ctx.Err() != nil:
			continue
		case !hopeless(ctx, err) && time.Since(heard) < x.timeout:
			wait = every / 4
			x.c.log.DebugContext(ctx, "can't renew the lease, trying again", "vm", x.vm, "error", err)
			continue
		}
		x.lose(ctx, err)
		return
	}
}

// hopeless reports whether an error says that there is no lease to renew. Other
// faults may pass.
func hopeless(ctx context.Context, err error) bool {
	switch faultOf(err).(type) {
	case nil:
		return errors.Is(err, ErrLease) || permanent(ctx, err)
	case types.Timedout, types.ManagedObjectNotFound, types.InvalidState:
		return true
	}
	return false
}

// noMore is why a lease may be unknown to its host.
const noMore = "the host has it no more, as after a restart of its services or at the end of the session"

// renew reports progress, and asks whether the lease is still one.
func (x *Export) renew(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: no answer within %s", ErrStalled, limit))
	defer cancel()
	x.percent = max(x.percent, x.progress())
	_, err := methods.HttpNfcLeaseProgress(ctx, x.c.read(), &types.HttpNfcLeaseProgress{This: x.ref, Percent: x.percent})
	if err != nil {
		return stalledOr(ctx, err)
	}
	s, err := x.look(ctx)
	if err != nil {
		return stalledOr(ctx, err)
	}
	if s.state != types.HttpNfcLeaseStateReady {
		return s.lost()
	}
	return nil
}

// lose ends all streams of a lease that can't be kept. Where the host still has
// it, it gets it back.
func (x *Export) lose(ctx context.Context, err error) {
	_, late := faultOf(err).(types.Timedout)
	err = wrapFault(err)
	switch {
	case errors.Is(err, ErrLease):
	case late:
		err = fmt.Errorf("%w: the host heard nothing of it in time: %w", ErrLease, err)
	case errors.Is(err, ErrNotFound):
		err = fmt.Errorf("%w: %s: %w", ErrLease, noMore, err)
	default:
		err = fmt.Errorf("%w: it couldn't be renewed: %w", ErrLease, err)
	}
	x.c.log.WarnContext(ctx, "the lease is lost", "vm", x.vm, "error", err)
	x.cancel(err)
	x.gone = true
	if err := x.abort(ctx); err != nil {
		x.c.log.WarnContext(ctx, "can't give the lease back", "vm", x.vm, "error", err)
	}
}

// why returns the reason why a stream broke: the lease's end, if that is it.
func (x *Export) why(ctx context.Context, err error) error {
	if cause := cmp.Or(x.over(), context.Cause(ctx)); cause != nil {
		return cause
	}
	limited, cancel := context.WithTimeout(ctx, x.timeout) // after it there is none
	defer cancel()
	s, askErr := x.look(limited)
	switch {
	case errors.Is(askErr, ErrNotFound):
		return fmt.Errorf("%w: %s: %w", ErrLease, noMore, err)
	case askErr == nil && s.state != types.HttpNfcLeaseStateReady:
		return fmt.Errorf("%w: %w", s.lost(), err)
	}
	return cmp.Or(x.over(), err) // it may have been lost meanwhile
}
