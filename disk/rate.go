package disk

import (
	"context"
	"sync"
	"time"
)

// Rate limits a copy to some bytes per second. It may be shared by several
// copies and changed while they run. A nil *Rate, like the zero value, limits
// nothing.
type Rate struct {
	mu      sync.Mutex
	limit   int64 // bytes per second; 0: none
	credit  float64
	at      time.Time     // when credit was right
	changed chan struct{} // closed when limit changes
}

// Set changes the limit to n bytes per second; 0 or less lifts it. Copies that
// wait at this moment go on at the new pace.
func (r *Rate) Set(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle()
	r.limit = max(n, 0)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Limit is the limit in bytes per second, 0 for none.
func (r *Rate) Limit() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limit
}

// settle adds the credit that has grown since the last call: a tenth of a
// second's worth at most, so that a pause is not made up for by a burst.
func (r *Rate) settle() {
	now := time.Now()
	limit := float64(r.limit)
	r.credit = min(r.credit+now.Sub(r.at).Seconds()*limit, limit/10)
	r.at = now
}

// wait returns when n bytes may pass. Who comes first may overdraw, and who
// comes next waits for the debt to be gone.
func (r *Rate) wait(ctx context.Context, n int64) error {
	if r == nil {
		return nil
	}
	for {
		pause, changed := r.take(n)
		if pause == 0 {
			return nil
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-changed:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// take takes n bytes of credit, or says how long to wait for some.
func (r *Rate) take(n int64) (time.Duration, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit == 0 {
		r.credit = 0
		return 0, nil
	}
	r.settle()
	if r.credit >= 0 {
		r.credit -= float64(n)
		return 0, nil
	}
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	pause := time.Duration(-r.credit / float64(r.limit) * float64(time.Second))
	return max(pause, time.Millisecond), r.changed
}
