package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"esxodus/convert"
	"esxodus/convert/report"

	"github.com/schollz/progressbar/v3"
)

// newProgress draws bars on a terminal and writes plain lines otherwise, both
// to stderr.
func newProgress(t terminal) convert.Progress {
	if t.draws() {
		return &bars{w: t.err}
	}
	return &lines{w: t.err, every: plainEvery, now: time.Now}
}

// plainEvery is how often plain progress tells of one piece of work.
const plainEvery = 10 * time.Second

// bars draws one bar over all work that is under way: a terminal has but one
// last line.
type bars struct {
	w      io.Writer
	mu     sync.Mutex
	bar    *progressbar.ProgressBar
	total  int64
	active int
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
	bar.Describe(vm + ": " + what)
	return func(n int64) { _ = bar.Add64(n) }, b.end // a bar that can't be drawn stops nothing
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
	fmt.Fprintf(b.w, "%s: %s\n", vm, what)
}

// lines tells of progress in lines that a log can keep.
type lines struct {
	w     io.Writer
	every time.Duration
	now   func() time.Time
	mu    sync.Mutex
}

// Step implements convert.Progress.
func (l *lines) Step(vm, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%s: %s\n", vm, what)
}

// Begin implements convert.Progress.
func (l *lines) Begin(vm, what string, total int64) (func(int64), func()) {
	start := l.now()
	last := start
	var done int64
	tell := func(at time.Time) { l.Step(vm, what+" "+measure(done, total, at.Sub(start))) }
	var mu sync.Mutex
	add := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		done += n
		if at := l.now(); at.Sub(last) >= l.every {
			last = at
			tell(at)
		}
	}
	return add, func() {
		mu.Lock()
		defer mu.Unlock()
		tell(l.now())
	}
}

// measure says how far work is: "1.5 GiB of 3.0 GiB (50%), 210 MiB/s, 8s left".
func measure(done, total int64, took time.Duration) string {
	s := fmt.Sprintf("%s of %s", report.Bytes(done), report.Bytes(total))
	if total > 0 {
		s += fmt.Sprintf(" (%d%%)", done*100/total)
	}
	if took < 100*time.Millisecond || done == 0 {
		return s
	}
	rate := float64(done) / took.Seconds()
	s += fmt.Sprintf(", %s/s", report.Bytes(int64(rate)))
	if left := time.Duration(float64(total-done) / rate * float64(time.Second)); done < total {
		s += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return s
}
