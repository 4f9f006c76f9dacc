// Command esxodus moves virtual machines off VMware ESXi and onto KVM hosts.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	// A second SIGTERM says nothing new: timeout(1) sends it to the process and then
	// to its group, and a SIGINT likewise. A second Ctrl-C of a person's kills at once.
	term, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	ctx, stop := signal.NotifyContext(term, os.Interrupt)
	context.AfterFunc(ctx, func() {
		time.Sleep(time.Second)
		stop()
	})
	os.Exit(execute(ctx, os.Args, terminal{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}))
}
