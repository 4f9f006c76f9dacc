package netrun

import (
	"context"
	"errors"
	"os"
	"time"

	"esxodus/convert/journal"
	"esxodus/network"
)

// confirmed is the file by which another session says yes.
const confirmed = "confirmed"

// ErrUnconfirmed means that nobody said in time that the host can be reached.
var ErrUnconfirmed = errors.New("nobody confirmed in time that this host can be reached")

// confirm waits for the admin's word: at this terminal, or by a file.
func (x *executor) confirm(ctx context.Context) error {
	if x.job.Within == 0 {
		return nil
	}
	const look = 200 * time.Millisecond
	ctx, cancel := context.WithDeadlineCause(ctx, confirming(&x.journal.History).Add(x.job.Within), ErrUnconfirmed)
	defer cancel()
	asked := make(chan error, 1)
	if x.Ask != nil {
		go func() { asked <- x.Ask(ctx) }()
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-asked:
			return err
		case <-time.After(look):
			if _, err := os.Stat(x.journal.Path(confirmed)); err == nil {
				return nil
			}
		}
	}
}

// confirming is when a run began to wait for the admin's word, the zero time if
// it doesn't.
func confirming(h *journal.History[*Job]) time.Time {
	for i, s := range h.Job().Changes.Steps {
		if state := h.Steps()[i]; s.Kind != network.StepConfirm || !state.Begun || state.Done {
			continue
		}
		for _, r := range h.Records() {
			if r.Event == journal.EventBegin && r.Step != nil && *r.Step == i {
				return r.Time
			}
		}
	}
	return time.Time{}
}
