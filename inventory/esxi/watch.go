package esxi

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// pace says what is too slow.
type pace struct {
	trickle int64 // bytes a second of one connection; less for Config.Stall ends it as a stall does
	floor   int64 // bytes a second of all connections; less for window is told
	window  time.Duration
	again   time.Duration // after which it is told again
}

// defaultPace: at 2 KiB/s a gigabyte takes six days, at 256 KiB/s an hour.
func defaultPace() pace {
	return pace{trickle: 2 << 10, floor: 256 << 10, window: time.Minute, again: 10 * time.Minute}
}

// bulk is the least bytes of a read that count for the floor: the others are
// all waiting for the host to answer.
const bulk = 256 << 10

// watch ends a request that stalls: nothing arrives for Config.Stall, or next
// to nothing.
type watch struct {
	stall  time.Duration
	least  int64 // bytes that must arrive in that time
	cancel context.CancelCauseFunc
	idle   *time.Timer
	meter  *meter // nil: the request doesn't count

	mu     sync.Mutex
	window *time.Timer // from the answer's headers on
	got    int64       // bytes since the window began
}

func newWatch(stall time.Duration, trickle int64, cancel context.CancelCauseFunc) *watch {
	w := &watch{stall: stall, least: int64(stall.Seconds() * float64(trickle)), cancel: cancel}
	w.idle = time.AfterFunc(stall, func() { cancel(fmt.Errorf("%w: nothing arrived for %s", ErrStalled, stall)) })
	return w
}

// answered begins to measure: the host has found the file.
func (w *watch) answered() {
	w.idle.Reset(w.stall)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.window = time.AfterFunc(w.stall, w.look)
}

// look is the end of a window.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.got < w.least {
		w.cancel(fmt.Errorf("%w: only %d bytes arrived within %s", ErrStalled, w.got, w.stall))
		return
	}
	w.got = 0
	w.window.Reset(w.stall)
}

// arrived notes n bytes.
func (w *watch) arrived(n int) {
	w.idle.Reset(w.stall)
	w.mu.Lock()
	w.got += int64(n)
	w.mu.Unlock()
	if w.meter != nil {
		w.meter.arrived(int64(n))
	}
}

// stop ends the watch.
func (w *watch) stop() {
	w.idle.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.window != nil {
		w.window.Stop()
	}
}

// fill fills p from body and returns how many bytes came.
func (w *watch) fill(body io.Reader, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := body.Read(p[n:])
		n += m
		if m > 0 {
			w.arrived(m)
		}
		if err != nil && n < len(p) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, fmt.Errorf("answer ends after %d of %d bytes: %w", n, len(p), err)
		}
	}
	return n, nil
}

// ends reads the end of a body that is to have no byte more.
func (w *watch) ends(body io.Reader) error {
	var more [1]byte
	for {
		n, err := body.Read(more[:])
		switch {
		case n > 0:
			return fmt.Errorf("%w: the answer goes on after the bytes that were asked for", ErrProtocol)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("end of the answer: %w", err)
		}
	}
}

// meter measures all bulk reads together, and tells when they are slow.
type meter struct {
	pace
	tell func(rate int64, over time.Duration)

	mu    sync.Mutex
	busy  int           // reads under way
	since time.Time     // of spent
	spent time.Duration // with reads under way
	got   int64
	told  time.Time
}

func (m *meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy == 0 {
		m.since = time.Now()
	}
	m.busy++
}

func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy--
	if m.busy == 0 {
		m.spent += time.Since(m.since)
	}
}

func (m *meter) arrived(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.spent += now.Sub(m.since)
	m.since = now
	m.got += n
	if m.spent < m.window {
		return
	}
	rate, over := int64(float64(m.got)/m.spent.Seconds()), m.spent
	m.got, m.spent = 0, 0
	if rate < m.floor && (m.told.IsZero() || now.Sub(m.told) >= m.again) {
		m.told = now
		m.tell(rate, over)
	}
}
