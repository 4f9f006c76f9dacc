package netrun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"esxodus/convert/host"
	"esxodus/convert/journal"
)

// Times of the guard.
const (
	guardLook = 200 * time.Millisecond
	// stepsTime is what the steps before the question may take.
	stepsTime = 2 * time.Minute
	// grace is what the program at work has to undo a run itself once its time is up.
	grace = 10 * time.Second
)

// Guard watches over a run that another process carries out. If that ends before
// the run does, killed or with the session that it was started from, it puts
// everything back; or, where only the admin's word is missing, waits for that for
// the rest of its time. One that hangs is killed by its process.
func (d Dir) Guard(ctx context.Context, run string, worker *os.Process, e Effects) (err error) {
	if err := os.MkdirAll(d.post(run), 0o700); err != nil {
		return fmt.Errorf("the guard's directory: %w", err)
	}
	lock, err := journal.Lock(d.post(run)) // by which others see that there is a guard
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	for begun := time.Now(); ; {
		if err := d.watch(ctx, run, worker, begun); err != nil {
			return err
		}
		j, err := d.Open(run)
		if errors.Is(err, journal.ErrBusy) {
			worker = nil // somebody else is at it, who rolls it back, say
			continue
		}
		if err != nil {
			return err
		}
		return errors.Join(finish(ctx, j, e), j.Close())
	}
}

// watch waits until nobody works on a run. A worker whose time is up is killed.
func (d Dir) watch(ctx context.Context, run string, worker *os.Process, begun time.Time) error {
	for journal.Locked(d.path(run)) {
		if worker != nil && time.Now().After(d.latest(run, begun)) {
			if err := worker.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			worker = nil
		}
		if err := host.Pause(ctx, guardLook); err != nil {
			return err
		}
	}
	return nil
}

// latest is when a run's worker must have ended.
func (d Dir) latest(run string, begun time.Time) time.Time {
	h, err := journal.Read[*Job](d.path(run))
	if err != nil {
		return begun.Add(stepsTime)
	}
	s := d.state(h)
	switch {
	case s.Phase == PhaseWaiting:
		return s.Deadline.Add(grace)
	case s.Phase == PhaseApplied || s.Phase.Ended():
		return time.Now().Add(time.Hour)
	}
	return begun.Add(stepsTime + h.Job().Within)
}

// finish ends a run that its worker has left.
func finish(ctx context.Context, j *Journal, e Effects) error {
	p := j.Progress()
	switch {
	case p.Phase.Ended() || p.Done == p.Steps:
		return nil
	case p.Phase == journal.PhaseUnfinished && !confirming(&j.History).IsZero():
		return Apply(ctx, j, e) // waits on
	}
	return Rollback(ctx, j, e)
}
