package esxi

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff says how often and how patiently something is tried again.
type backoff struct {
	tries int           // in all
	first time.Duration // the wait after the first try; it doubles from there
	busy  time.Duration // the same where the host says that it has too much to do
	most  time.Duration // the longest wait
	poll  time.Duration // between two looks at something that takes its time
}

// defaultBackoff is six tries over a minute, or two where the host limits the
// rate.
func defaultBackoff() backoff {
	return backoff{tries: 6, first: 2 * time.Second, busy: 5 * time.Second, most: 45 * time.Second, poll: 2 * time.Second}
}

// wait sleeps before the try that follows number try (from 0).
func (b backoff) wait(ctx context.Context, try int, first time.Duration) error {
	d := b.most
	if try < 16 {
		d = min(b.most, first<<try)
	}
	d = d*3/4 + rand.N(d/2+1) // a quarter more or less, so that parallel readers part
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
