// Lilo installs the boot loader of guests without a partition table: see
// lilo(8), which package guestfiles has.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
)

func main() {
	// Nobody reading what is said is no reason to stop halfway.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run does all of it and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseArgs(args)
	if err == nil {
		c := &command{opts: o, out: stdout, err: stderr}
		err = c.run(ctx)
	}
	if err != nil {
		fmt.Fprintf(stderr, "Fatal: %v\n", err)
		return exitError
	}
	return exitOK
}
