package disk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// read reads blocks from a host that sends each connection so much, and all of them no
// more than a limit, both in bytes a second, for some time.
func (c *Connections) simulate(t *testing.T, each, all float64, long time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	done := make(chan struct{})
	for range maxWorkers {
		go func() {
			defer func() { done <- struct{}{} }()
			for c.enter(ctx) == nil {
				rate := min(each, all/float64(c.Limit()))
				time.Sleep(time.Duration(BlockSize / rate * float64(time.Second)))
				c.leave(BlockSize)
			}
		}()
	}
	for range maxWorkers {
		<-done
	}
}

// The number of connections that is found is the smallest that is as fast as any.
func TestProbe(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name      string
		each, all float64
		want      int
	}{
		{"each connection counts", 20 * mib, 1000 * mib, 8},
		{"the wire is full with six", 20 * mib, 120 * mib, 6},
		{"the wire is full with four", 30 * mib, 120 * mib, 4},
		{"one is enough", 200 * mib, 110 * mib, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := NewConnections(0)
			c.simulate(t, tt.each, tt.all, time.Minute)
			if got := c.Limit(); got != tt.want {
				t.Errorf("%s: %d connections; want %d", tt.name, got, tt.want)
			}
		})
	}
}

// A host that becomes slower, or faster, is tried again after a while.
func TestProbeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mib = 1 << 20
		c := NewConnections(0)
		c.simulate(t, 200*mib, 110*mib, time.Minute)
		c.simulate(t, 20*mib, 1000*mib, 4*time.Minute)
		if got := c.Limit(); got != maxWorkers {
			t.Errorf("%d connections to a host that limits each by now; want %d", got, maxWorkers)
		}
	})
}

// What an admin sets holds at once, for those that wait and for those that come.
func TestConnectionsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewConnections(1)
		in := make(chan struct{}, 10)
		for range 5 {
			go func() {
				if err := c.enter(t.Context()); err != nil {
					t.Error(err)
				}
				in <- struct{}{}
			}()
		}
		for _, step := range []struct{ limit, entered int }{{1, 1}, {3, 3}, {2, 3}, {20, 5}} {
			c.Set(step.limit)
			synctest.Wait()
			if len(in) != step.entered {
				t.Errorf("with a limit of %d %d have entered; want %d", step.limit, len(in), step.entered)
			}
		}
	})
}

// Who gives up waiting leaves nothing behind.
func TestConnectionsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewConnections(1)
		if err := c.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("enter = %v; want %v", err, context.DeadlineExceeded)
		}
		c.leave(0)
		if err := c.enter(t.Context()); err != nil || c.reading != 1 || len(c.waiting) != 0 {
			t.Errorf("enter = %v with %d reading and %d waiting; want one reading", err, c.reading, len(c.waiting))
		}
	})
}
