package main

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestInterrupts: the first Ctrl-C is a wish where a command takes it so, a second one
// interrupts, a third one kills; without such a command the first one interrupts. What
// timeout(1) sends twice at once counts once.
func TestInterrupts(t *testing.T) {
	for _, gentle := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			i := &interrupts{stop: make(chan struct{})}
			told, interrupted, killed := false, false, false
			var stop <-chan struct{}
			if gentle {
				stop = i.gently(func() { told = true })
			}
			pressed := make(chan os.Signal, 1)
			go i.heed(pressed, func() { interrupted = true }, func() { killed = true })
			pressed <- os.Interrupt
			synctest.Wait()
			if gentle {
				pressed <- os.Interrupt // at once: the same one
				time.Sleep(2 * time.Second)
				select {
				case <-stop:
				default:
					t.Error("nobody was asked to stop")
				}
				if !told || interrupted {
					t.Errorf("told %v, interrupted %v", told, interrupted)
				}
				pressed <- os.Interrupt
				synctest.Wait()
			}
			if !interrupted || killed {
				t.Errorf("gentle %v: interrupted %v, killed %v", gentle, interrupted, killed)
			}
			time.Sleep(2 * time.Second)
			if !killed {
				t.Error("a next one doesn't kill")
			}
		})
	}
	if (*interrupts)(nil).gently(nil) != nil {
		t.Error("nobody's Ctrl-C stops something")
	}
}
