package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"esxodus/convert/batch"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/inventory/fit"
)

// teller passes on what it is told, and has it known to who looks on from elsewhere.
type teller struct {
	run.Progress
	dir runs.StateDir
}

func newTeller(p run.Progress, dir runs.StateDir) *teller { return &teller{p, dir} }

// tellEvery is how often a VM's pace is told.
const tellEvery = time.Second

// Step implements run.Progress.
func (t *teller) Step(vm, what string) {
	t.Progress.Step(vm, what)
	t.tell(vm, runs.Pace{At: time.Now(), What: what})
	t.log(vm, what)
}

// tell writes a pace down. Who looks on misses it otherwise, and nobody else does.
func (t *teller) tell(vm string, p runs.Pace) { _ = t.dir.Tell(vm, p) }

// log adds a line to a VM's log. Without it nothing else is wrong.
func (t *teller) log(vm, text string) { _ = t.dir.Log(vm, text) }

// Begin implements run.Progress.
func (t *teller) Begin(vm, what string, total int64) (func(int64), func()) {
	add, end := t.Progress.Begin(vm, what, total)
	m := &meter{what: what, total: total, begun: time.Now()}
	t.tell(vm, m.pace(m.begun))
	t.log(vm, fmt.Sprintf("%s: %s", what, fit.Bytes(total)))
	return func(n int64) {
			add(n)
			if p, due := m.add(n, time.Now()); due {
				t.tell(vm, p)
			}
		}, func() {
			t.tell(vm, m.pace(time.Now()))
			t.log(vm, m.text(time.Now()))
			end()
		}
}

// meter measures one piece of work.
type meter struct {
	what  string
	total int64
	begun time.Time
	mu    sync.Mutex
	done  int64
	told  time.Time
	// from is where the rate is measured from: some seconds ago.
	from     time.Time
	fromDone int64
	rate     int64
}

// rateOver is how long a rate is measured over.
const rateOver = 5 * time.Second

// add takes in what was done, and reports whether the pace is to be told again.
func (m *meter) add(n int64, now time.Time) (runs.Pace, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	if now.Sub(m.told) < tellEvery {
		return runs.Pace{}, false
	}
	m.told = now
	return m.at(now), true
}

// text is what has come of the work, in words.
func (m *meter) text(now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	took := now.Sub(m.begun)
	return fmt.Sprintf("%s: %s of %s in %v, %s/s", m.what, fit.Bytes(min(m.done, m.total)), fit.Bytes(m.total), took.Round(time.Second/10), fit.Bytes(int64(float64(m.done)/max(took.Seconds(), 1e-3))))
}

func (m *meter) pace(now time.Time) runs.Pace {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at(now)
}

func (m *meter) at(now time.Time) runs.Pace {
	if m.from.IsZero() {
		m.from = m.begun
	}
	if took := now.Sub(m.from); took >= rateOver || m.rate == 0 && took > 0 {
		m.rate = int64(float64(m.done-m.fromDone) / took.Seconds())
		if took >= rateOver {
			m.from, m.fromDone = now, m.done
		}
	}
	return runs.Pace{At: now, What: m.what, Done: min(m.done, m.total), Total: m.total, Rate: m.rate}
}

// boardView shows all VMs of a batch on a terminal, and draws it again and again.
type boardView struct {
	w       io.Writer
	columns func() int
	rows    func() int
	mu      sync.Mutex
	board   report.Board
	byName  map[string]*viewed
	drawn   int // lines
	stop    chan struct{}
	ended   chan struct{}
}

// viewed is one VM on the board.
type viewed struct {
	row    int
	meter  *meter
	copied int64 // by copies that have ended
}

// drawEvery is how often the board is drawn.
const drawEvery = 500 * time.Millisecond

// newBoardView begins to draw. It is ended by end.
func newBoardView(w io.Writer, columns, rows func() int, p *plan.Plan) *boardView {
	v := &boardView{w: w, columns: columns, rows: rows, byName: make(map[string]*viewed), stop: make(chan struct{}), ended: make(chan struct{})}
	for _, wave := range p.Ordered() {
		for _, t := range wave.VMs {
			v.add(p, t.VM)
		}
	}
	go v.run()
	return v
}

func (v *boardView) add(p *plan.Plan, name string) {
	row := report.Row{Name: name}
	for i := range p.VMs {
		if p.VMs[i].Name == name {
			row.Total = p.VMs[i].Sizes.Provisioned
		}
	}
	v.byName[name] = &viewed{row: len(v.board.Rows)}
	v.board.Rows = append(v.board.Rows, row)
}

func (v *boardView) run() {
	defer close(v.ended)
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case <-v.stop:
			return
		case <-tick.C:
			v.mu.Lock()
			v.draw()
			v.mu.Unlock()
		}
	}
}

// end draws the board a last time, and leaves it.
func (v *boardView) end() {
	close(v.stop)
	<-v.ended
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draw()
	v.drawn = 0
}

// draw draws over what was drawn before.
func (v *boardView) draw() {
	now := time.Now()
	for _, one := range v.byName {
		r := &v.board.Rows[one.row]
		if one.meter == nil || r.Done {
			continue
		}
		p := one.meter.pace(now)
		r.Pace = &p
		if copies(p.What) {
			r.Copied = one.copied + p.Done
		}
	}
	v.board.Most = max(v.rows()-1, 0)
	lines := v.board.Lines(v.columns())
	var b strings.Builder
	b.WriteString(v.over())
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	v.drawn = len(lines)
	_, _ = io.WriteString(v.w, b.String()) // what can't be drawn stops nothing
}

// over is what takes the cursor to the board's first line, and what is below away.
func (v *boardView) over() string {
	if v.drawn == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", v.drawn)
}

func copies(what string) bool { return strings.HasPrefix(what, "copy ") }

// Step implements run.Progress.
func (v *boardView) Step(vm, what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if one := v.byName[vm]; one != nil {
		one.meter = nil
		r := &v.board.Rows[one.row]
		r.What, r.Pace, r.Done, r.Failed = what, nil, false, false
	}
}

// Begin implements run.Progress.
func (v *boardView) Begin(vm, what string, total int64) (func(int64), func()) {
	v.Step(vm, what)
	m := &meter{what: what, total: total, begun: time.Now()}
	v.mu.Lock()
	defer v.mu.Unlock()
	one := v.byName[vm]
	if one == nil {
		return func(int64) {}, func() {}
	}
	one.meter = m
	return func(n int64) { m.add(n, time.Now()) }, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if copies(what) {
			one.copied += total
			v.board.Rows[one.row].Copied = one.copied
		}
		if one.meter == m {
			one.meter, v.board.Rows[one.row].Pace = nil, nil
		}
	}
}

// told takes in what became of a VM.
func (v *boardView) told(r batch.Result) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := v.byName[r.Name]
	if one == nil {
		return
	}
	row := &v.board.Rows[one.row]
	row.Done, row.Failed, row.Pace = true, r.Error != "", nil
	switch {
	case r.Error != "":
		row.What = r.Error
	case r.InPlace:
		row.What = "in its VM's place"
	default:
		row.What = string(r.Phase)
	}
}

// Write has a message appear above the board.
func (v *boardView) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = io.WriteString(v.w, v.over())
	v.drawn = 0
	n, err := v.w.Write(p)
	v.draw()
	return n, err
}

// boards shows the board of a batch, where there is a terminal for it: in place of the
// progress of each, and with what is logged above it.
func (t terminal) boards(p *plan.Plan, e *effects) board {
	told, ok := e.Progress.(*teller)
	if columns(t.err) == 0 || !ok || len(p.VMs) < 2 {
		return noBoard{}
	}
	v := newBoardView(t.err, func() int { return columns(t.err) }, func() int { _, n := terminalSize(t.err); return n }, p)
	told.Progress = v
	t.board.Store(v)
	return shownBoard{v, t}
}

// board is told what becomes of VMs.
type board interface {
	told(r batch.Result)
	end()
}

// shownBoard takes the board off the terminal at its end.
type shownBoard struct {
	*boardView
	t terminal
}

func (b shownBoard) end() {
	b.t.board.Store(nil)
	b.boardView.end()
}

// noBoard is where there is no terminal.
type noBoard struct{}

func (noBoard) told(batch.Result) {}
func (noBoard) end()              {}

// eventLine is a row for programs.
type eventLine struct {
	At   time.Time  `json:"at"`
	Name string     `json:"name"`
	What string     `json:"what"`
	Done bool       `json:"done"`
	Fail bool       `json:"failed,omitempty"`
	Pace *runs.Pace `json:"pace,omitempty"`
}

// plainLine is a row for logs.
func plainLine(r report.Row) string {
	text := r.Name + ": " + r.What
	if r.Failed {
		text = r.Name + ": FAILED: " + r.What
	}
	if p := r.Pace; p != nil && p.Total > 0 {
		text += fmt.Sprintf(" %d%% of %s, %s/s", p.Done*100/p.Total, fit.Bytes(p.Total), fit.Bytes(p.Rate))
	}
	return fit.TerminalLine(text)
}
