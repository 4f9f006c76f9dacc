package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"esxodus/convert/plan"
)

const (
	// firstPause and mostPause are how long a host that is away is left alone before it is
	// asked again.
	firstPause, mostPause = 15 * time.Second, 2 * time.Minute
	// remind is how often it is said that it is still away.
	remind = 10 * time.Minute
	// sameOutage is how soon after it was back a host that is away again counts as not
	// having been back.
	sameOutage = 10 * time.Minute
	// justBack is how long a host that answers must have been back for a failure of its
	// disks to be tried once more.
	justBack = 2 * time.Minute
)

// outage is the time in which the source's host can't be reached.
type outage struct {
	began, back time.Time
}

// outlast waits where an error says that the host is away, and reports whether it is back.
// The run is then gone on with as by a resume: what is done stays so, and the source is
// looked at again before the next byte is read. Else the error is what ended the waiting,
// or the one that was given.
func (x *executor) outlast(ctx context.Context, o *outage, err error) (bool, error) {
	if _, target := errors.AsType[*targetError](err); target || x.Patience == 0 || ctx.Err() != nil || !readsSource(x.at) || !x.Host.Away(err) {
		return false, err
	}
	_, gone := x.Host.Inventory(ctx)
	now := time.Now()
	if gone == nil { // a short outage, or one of its files alone
		again := now.Sub(o.back) > justBack
		o.back = now
		return again, err
	}
	if !x.Host.Away(gone) {
		return false, err
	}
	if o.began.IsZero() || now.Sub(o.back) > sameOutage {
		o.began = now
	}
	until := o.began.Add(x.Patience)
	if !now.Before(until) {
		return false, err
	}
	x.Progress.Step(x.job.VM.Name, fmt.Sprintf("%s can't be reached: waiting for it until %s; Ctrl-C ends that (%v)", x.job.Source.Label(), until.Format("15:04"), err))
	said := now
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		if stop := x.rest(ctx, pause); stop != nil {
			return false, stop
		}
		_, gone := x.Host.Inventory(ctx)
		switch now = time.Now(); {
		case gone == nil:
			o.back = now
			x.Progress.Step(x.job.VM.Name, fmt.Sprintf("%s can be reached again, after %v", x.job.Source.Label(), now.Sub(o.began).Round(time.Second)))
			return true, nil
		case ctx.Err() == nil && !x.Host.Away(gone):
			return false, gone
		case !now.Before(until):
			return false, fmt.Errorf("%s was away for %v: %w", x.job.Source.Label(), now.Sub(o.began).Round(time.Second), err)
		case now.Sub(said) >= remind:
			said = now
			x.Progress.Step(x.job.VM.Name, fmt.Sprintf("%s has been away for %v: waiting for it until %s", x.job.Source.Label(), now.Sub(o.began).Round(time.Second), until.Format("15:04")))
		}
	}
}

// readsSource reports whether a step asks the source's host for something.
func readsSource(k plan.Kind) bool {
	return k == plan.StepShutdown || k == plan.StepUnused || k == plan.StepRecheck || k == plan.StepCopy
}

// rest waits, unless somebody ends the run: then it returns why.
func (x *executor) rest(ctx context.Context, pause time.Duration) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-x.Stop:
		return keep(errAsked)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
