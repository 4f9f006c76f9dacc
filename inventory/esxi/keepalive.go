package esxi

import (
	"context"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
)

// keepAliveEvery is well below the half hour after which hostd forgets a
// session; reading files does not count as use on every version.
const keepAliveEvery = 8 * time.Minute

// keepAlive notes one more open file and sees to it that the session is
// touched now and then while there is any.
func (c *Client) keepAlive(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files++
	if c.stop != nil {
		return
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.alive = make(chan struct{})
	go c.touch(ctx, c.alive)
}

// release is the end of one open file.
func (c *Client) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files--; c.files == 0 && c.stop != nil {
		c.stop()
		c.stop, c.alive = nil, nil
	}
}

func (c *Client) touch(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	t := time.NewTicker(keepAliveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if _, err := methods.GetCurrentTime(ctx, c.read()); err != nil && ctx.Err() == nil {
			// The next read will meet the same trouble and report it.
			c.log.WarnContext(ctx, "can't keep the session alive", "error", err)
		}
	}
}
