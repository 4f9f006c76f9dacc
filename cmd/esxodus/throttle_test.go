package main

import (
	"strings"
	"testing"

	"esxodus/fixtures/esxi"
)

// TestThrottle: a copy that would take hours is told to go on at full speed, and over
// another number of connections; where nothing runs it is said.
func TestThrottle(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	throttle := func(args ...string) []string { return append([]string{"throttle", "--state", l.state()}, args...) }
	if r := l.run(exitFailed, throttle("--rate", "none")...); !strings.Contains(r.err, "no migration is running") {
		t.Errorf("stderr:\n%s", r.err)
	}
	p := l.start(l.convert("--no-proof", "--rate", "1K")...)
	p.until("the copy", func() bool { return l.lines() >= records("begin copy") })
	for _, wrong := range [][]string{{}, {"--rate", "fast"}, {"--connections", "9"}, {"--connections", "some"}, {"--rate", "none", l.vm}} {
		l.run(exitUsage, throttle(wrong...)...)
	}
	if r := l.run(exitDone, throttle("--rate", "none", "--connections", "2")...); !strings.Contains(r.out, l.vm) {
		t.Errorf("stdout:\n%s", r.out)
	}
	p.want(exitDone)
	l.checkDone()
}
