package disk

import (
	"context"
	"sync"
	"time"
)

// Connections limits how many blocks are read at a time by all copies that share it.
// Who waits longest is next, so that one disk doesn't starve another. It may be
// changed while they run.
type Connections struct {
	mu      sync.Mutex
	limit   int
	reading int
	waiting []chan struct{}
	probe   *probe // nil: the limit is the admin's
}

// NewConnections makes a limit of n, 1 to 8; with 0 what is best is found by trying.
func NewConnections(n int) *Connections {
	c := &Connections{}
	c.Set(n)
	return c
}

// Set changes the limit; 0 tries what is best.
func (c *Connections) Set(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit, c.probe = min(n, maxWorkers), nil; n <= 0 {
		c.probe = &probe{best: defaultWorkers}
		c.limit = defaultWorkers
	}
	c.admit()
}

// Limit is how many may read now.
func (c *Connections) Limit() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit
}

// admit lets in who may read. The lock is held.
func (c *Connections) admit() {
	for len(c.waiting) > 0 && c.reading < c.limit {
		close(c.waiting[0])
		c.waiting = c.waiting[1:]
		c.reading++
	}
}

// enter returns when another block may be read; [Connections.leave] must follow.
func (c *Connections) enter(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	turn := make(chan struct{})
	c.waiting = append(c.waiting, turn)
	c.admit()
	c.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		c.forgo(turn)
		return ctx.Err()
	}
}

// forgo gives up a turn that has come or not.
func (c *Connections) forgo(turn chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range c.waiting {
		if w == turn {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			return
		}
	}
	c.reading--
	c.admit()
}

// leave notes that a block of n bytes was read, or wasn't.
func (c *Connections) leave(n int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading--
	if c.probe != nil {
		c.limit = c.probe.read(time.Now(), n)
	}
	c.admit()
}

const (
	// probeTime is how long each number of connections is tried, and probeBlocks how
	// many blocks must have come in that time: what a few tell is chance.
	probeTime   = 3 * time.Second
	probeBlocks = 8
	// probeAgain is after how long the best is looked for anew: other things use the
	// host and the wire, too.
	probeAgain = 2 * time.Minute

	gain = 1.1  // times as fast: worth more connections
	same = 0.97 // times as fast: fewer will do
)

// probe looks for the number of connections that is fastest: it tries more while that
// gains, then fewer while that costs nothing.
type probe struct {
	best  int     // so far
	rate  float64 // bytes a second with it; 0 while it isn't known
	tried int     // at present, 0 for best
	down  bool    // fewer are tried
	until time.Time

	begun time.Time
	bytes int64
}

// read notes that n bytes have come, and returns how many connections to have now.
func (p *probe) read(now time.Time, n int64) int {
	if p.begun.IsZero() {
		p.begun = now
	}
	p.bytes += n
	took := now.Sub(p.begun)
	if took < probeTime || p.bytes < probeBlocks*BlockSize || now.Before(p.until) {
		return p.now()
	}
	p.judge(now, float64(p.bytes)/took.Seconds())
	p.begun, p.bytes = now, 0
	return p.now()
}

func (p *probe) now() int {
	if p.tried > 0 {
		return p.tried
	}
	return p.best
}

// judge takes the rate of what was tried, and chooses what is tried next.
func (p *probe) judge(now time.Time, rate float64) {
	switch {
	case p.tried == 0:
		p.rate, p.down, p.until = rate, false, time.Time{}
	case !p.down && rate >= p.rate*gain, p.down && rate >= p.rate*same:
		p.best, p.rate = p.tried, rate
	case p.down:
		p.tried, p.until = 0, now.Add(probeAgain)
		return
	default:
		p.down = true
	}
	switch step := p.next(); {
	case step > 0:
		p.tried = step
	case !p.down:
		p.down = true
		p.tried = p.next()
	default:
		p.tried, p.until = 0, now.Add(probeAgain)
	}
}

// next is the number to try after the best, 0 for none.
func (p *probe) next() int {
	if !p.down && p.best < maxWorkers {
		return min(p.best+2, maxWorkers)
	}
	if p.down && p.best > 1 {
		return p.best - 1
	}
	return 0
}
