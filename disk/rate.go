package disk

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rate limits a copy to some bytes per second. It may be shared by several
// copies and changed while they run. A nil *Rate, like the zero value, limits
// nothing.
type Rate struct {
	mu      sync.Mutex
	limiter *rate.Limiter // nil: none
	changed chan struct{} // closed when another limiter takes over
}

// Set changes the limit to n bytes per second; 0 or less lifts it. Copies that
// wait at this moment go on at the new pace.
func (r *Rate) Set(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limiter = nil
	if n > 0 {
		// A block is what is read at once. No more of a pause is made up for than
		// a tenth of a second.
		r.limiter = rate.NewLimiter(rate.Limit(n), int(max(BlockSize, n/10)))
	}
	if r.changed != nil {
		close(r.changed)
	}
	r.changed = make(chan struct{})
}

// wait returns when n bytes, BlockSize at the most, may pass.
func (r *Rate) wait(ctx context.Context, n int64) error {
	if r == nil {
		return nil
	}
	for {
		limiter, changed := r.now()
		if limiter == nil {
			return nil
		}
		// Limiter.Wait would hold on to the old pace.
		turn := limiter.ReserveN(time.Now(), int(n))
		t := time.NewTimer(turn.Delay())
		select {
		case <-t.C:
			return nil
		case <-changed:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			turn.Cancel()
			return ctx.Err()
		}
	}
}

func (r *Rate) now() (*rate.Limiter, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limiter, r.changed
}
