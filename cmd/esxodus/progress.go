package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"esxodus/inventory/fit"

	"esxodus/convert/report"
	"esxodus/convert/run"

	"github.com/schollz/progressbar/v3"
)

// newProgress draws bars on a terminal and writes plain lines otherwise, both
// to stderr.
func newProgress(t terminal) run.Progress {
	n := columns(t.err)
	if n > barColumns {
		return &bars{w: t.err, every: plainEvery, columns: n}
	}
	return &lines{w: t.err, every: plainEvery, columns: n}
}

// barColumns is what a bar takes beside its description, at most:
// " 99% |██| (100.5/200.5 GiB, 100.5 MiB/s) [59m9s:59m9s]".
const barColumns = 52

// plainEvery is how often plain progress reports one piece of work.
const plainEvery = 10 * time.Second

// bars draws one bar over all work that is under way: a terminal has but one
// last line.
type bars struct {
	w       io.Writer
	every   time.Duration // without progress after which that is shown
	columns int           // of the terminal
	mu      sync.Mutex
	bar     *progressbar.ProgressBar
	total   int64
	active  int
}

// describe names the work in what a bar leaves of the terminal's line: a bar that
// is broken can't be drawn over.
func (b *bars) describe(vm, what string) string {
	room := b.columns - barColumns - report.Width(": "+what)
	return report.Fit(vm, max(room, 1)) + ": " + what
}

// Begin implements convert.Progress.
func (b *bars) Begin(vm, what string, total int64) (func(int64), func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total += total
	b.active++
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(b.total,
			progressbar.OptionSetWriter(b.w), progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetWidth(20), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(),
		)
	} else {
		b.bar.ChangeMax64(b.total)
	}
	bar := b.bar
	bar.Describe(b.describe(vm, what))
	// A bar that can't be drawn stops nothing.
	p := newPulse(b.every, func(idle time.Duration) {
		bar.Describe(b.describe(vm, fmt.Sprintf("%s, idle %s", what, idle.Round(time.Second))))
		_ = bar.Add64(0) // the rate sinks
	})
	add := func(n int64) {
		if p.beat() {
			bar.Describe(b.describe(vm, what))
		}
		_ = bar.Add64(n)
	}
	return add, func() {
		p.end()
		b.end()
	}
}

func (b *bars) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active--
	if b.active == 0 {
		_ = b.bar.Exit()
		fmt.Fprintln(b.w)
		b.bar, b.total = nil, 0
	}
}

// Step implements convert.Progress.
func (b *bars) Step(vm, what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Clear()
	}
	fmt.Fprint(b.w, message(vm+": ", what, b.columns))
}

// lines reports progress in lines that a log can keep.
type lines struct {
	w       io.Writer
	every   time.Duration
	columns int // of the terminal, 0 where there is none
	mu      sync.Mutex
}

// Step implements convert.Progress.
func (l *lines) Step(vm, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprint(l.w, message(vm+": ", what, l.columns))
}

// Begin implements convert.Progress. A line comes also while nothing is done:
// who looks must see a source that has become slow.
func (l *lines) Begin(vm, what string, total int64) (func(int64), func()) {
	start := time.Now()
	last := start
	var done int64
	var mu sync.Mutex
	tell := func(at time.Time, more string) {
		last = at
		l.Step(vm, what+" "+measure(done, total, at.Sub(start))+more)
	}
	p := newPulse(l.every, func(idle time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		tell(time.Now(), fmt.Sprintf(", nothing new for %s", idle.Round(time.Second)))
	})
	add := func(n int64) {
		p.beat()
		mu.Lock()
		defer mu.Unlock()
		done += n
		if at := time.Now(); at.Sub(last) >= l.every {
			tell(at, "")
		}
	}
	return add, func() {
		p.end()
		mu.Lock()
		defer mu.Unlock()
		tell(time.Now(), "")
	}
}

// pulse reports that work makes no progress.
type pulse struct {
	mu    sync.Mutex
	last  time.Time
	quiet bool // it has been told since
	stop  chan struct{}
	ended chan struct{}
}

// newPulse calls idle every so often with how long there has been no beat, if
// that is at least as long.
func newPulse(every time.Duration, idle func(time.Duration)) *pulse {
	p := &pulse{last: time.Now(), stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-t.C:
			}
			p.mu.Lock()
			d := time.Since(p.last)
			p.quiet = p.quiet || d >= every
			p.mu.Unlock()
			if d >= every {
				idle(d)
			}
		}
	}()
	return p
}

// beat notes progress. It reports whether there was none for so long before
// that it was told.
func (p *pulse) beat() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.quiet
	p.last, p.quiet = time.Now(), false
	return was
}

// end returns when idle isn't called any more.
func (p *pulse) end() {
	close(p.stop)
	<-p.ended
}

// measure says how far work is: "1.5 GiB of 3.0 GiB (50%), 210 MiB/s, 8s left".
func measure(done, total int64, took time.Duration) string {
	s := fmt.Sprintf("%s of %s", fit.Bytes(done), fit.Bytes(total))
	if total > 0 {
		s += fmt.Sprintf(" (%d%%)", done*100/total)
	}
	if took < 100*time.Millisecond || done == 0 {
		return s
	}
	rate := float64(done) / took.Seconds()
	s += fmt.Sprintf(", %s/s", fit.Bytes(int64(rate)))
	if left := time.Duration(float64(total-done) / rate * float64(time.Second)); done < total {
		s += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return s
}
