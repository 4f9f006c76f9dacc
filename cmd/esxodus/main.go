// Command esxodus moves virtual machines off VMware ESXi and onto KVM hosts.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	// A second SIGTERM says nothing new: timeout(1) sends it to the process and then
	// to its group, and a SIGINT likewise. A second Ctrl-C of a person's kills at once,
	// but for a command that takes the first for a wish ([interrupts.gently]).
	term, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	ctx, cancel := context.WithCancelCause(term)
	i := &interrupts{stop: make(chan struct{})}
	pressed := make(chan os.Signal, 1)
	signal.Notify(pressed, os.Interrupt)
	go i.heed(pressed, func() { cancel(errInterrupt) }, func() { signal.Reset(os.Interrupt) })
	context.AfterFunc(term, func() {
		time.Sleep(time.Second)
		signal.Reset(os.Interrupt)
	})
	os.Exit(execute(ctx, os.Args, terminal{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, interrupts: i}))
}

// errInterrupt is a Ctrl-C that interrupts, in the words of signal.NotifyContext.
var errInterrupt = fmt.Errorf("interrupt signal received (%w)", context.Canceled)

// interrupts is what a person's Ctrl-C does.
type interrupts struct {
	stop   chan struct{}
	gentle atomic.Pointer[func()]
}

// gently has the first Ctrl-C close the channel that it returns, and call told, and only
// the next one interrupt.
func (i *interrupts) gently(told func()) <-chan struct{} {
	if i == nil {
		return nil
	}
	i.gentle.Store(&told)
	return i.stop
}

// heed acts on each Ctrl-C: it is a wish where that was asked for, then it interrupts,
// and after a second the next one kills.
func (i *interrupts) heed(pressed <-chan os.Signal, interrupt, kill func()) {
	const again = time.Second // timeout(1) sends a signal twice
	<-pressed
	if told := i.gentle.Load(); told != nil {
		(*told)()
		close(i.stop)
		time.Sleep(again)
		for len(pressed) > 0 {
			<-pressed
		}
		<-pressed
	}
	interrupt()
	time.Sleep(again)
	kill()
}
