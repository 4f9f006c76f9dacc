package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"esxodus/convert/batch"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/runs"
)

// TestBoardView: the board is drawn over itself, what is said comes above it, and at the
// end it stands there whole.
func TestBoardView(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &plan.Plan{VMs: []plan.VMPlan{{Name: "db"}, {Name: "web"}}}
		p.VMs[0].Sizes.Provisioned, p.VMs[1].Sizes.Provisioned = 40<<20, 60<<20
		v := newBoardView(&out, func() int { return 60 }, func() int { return 24 }, p)
		add, end := v.Begin("db", "copy scsi0:0", 40<<20)
		add(10 << 20)
		time.Sleep(10 * time.Second)
		add(10 << 20)
		time.Sleep(time.Second)
		synctest.Wait()
		if screen := last(out.String()); !strings.Contains(screen, "db       copy scsi0:0") || !strings.Contains(screen, "50% 2 MiB/s") && !strings.Contains(screen, "50% ") || !strings.Contains(screen, "20% of 100 MiB; 1 at work, 1 to come") {
			t.Errorf("the board:\n%s", screen)
		}
		if _, err := v.Write([]byte("something odd\n")); err != nil {
			t.Fatal(err)
		}
		end()
		v.told(batch.Result{Name: "db", Phase: runs.PhaseReady})
		v.told(batch.Result{Name: "web", Error: "ESXi is away"})
		v.end()
		screen := terminalOf(out.String())
		if !strings.HasPrefix(screen, "something odd\n") || strings.Count(screen, "\n") != 4 || !strings.Contains(screen, "db       ready") || !strings.Contains(screen, "FAILED: ESXi is away") {
			t.Errorf("at the end:\n%s", screen)
		}
	})
}

// last is what was drawn last.
func last(out string) string {
	return out[strings.LastIndex(out, "\x1b[J")+3:]
}

// terminalOf is what a terminal shows of an output with the board's sequences.
func terminalOf(out string) string {
	var lines []string
	for out != "" {
		if rest, ok := strings.CutPrefix(out, "\x1b["); ok {
			n := 0
			for rest[0] >= '0' && rest[0] <= '9' {
				n, rest = n*10+int(rest[0]-'0'), rest[1:]
			}
			if rest[0] == 'A' {
				lines = lines[:len(lines)-n]
			}
			out = rest[1:]
			continue
		}
		line, rest, _ := strings.Cut(out, "\n")
		lines, out = append(lines, line), rest
	}
	return strings.Join(lines, "\n") + "\n"
}

// TestMeter: the rate is that of the last seconds, not of all.
func TestMeter(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	m := &meter{what: "copy", total: 1000 << 20, begun: now}
	for range 10 {
		now = now.Add(time.Second)
		m.add(10<<20, now)
	}
	if p := m.pace(now); p.Rate != 10<<20 || p.Done != 100<<20 || p.Left() != 90*time.Second {
		t.Errorf("%+v, %v left; want 10 MiB/s and 90 s", p, p.Left())
	}
	for range 12 {
		now = now.Add(time.Second)
		m.add(50<<20, now)
	}
	if p := m.pace(now); p.Rate != 50<<20 {
		t.Errorf("rate %d; want that of the last seconds", p.Rate)
	}
}

// TestWatchChanges: where there is no terminal, a line comes when something has changed.
func TestWatchChanges(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := watcher{terminal: terminal{out: &out}, last: make(map[string]string)}
	for _, done := range []int64{0, 1, 9, 10, 11, 55} {
		b := &report.Board{Rows: []report.Row{{Name: "web", What: "copy", Pace: &runs.Pace{Done: done, Total: 100, Rate: 1}}}}
		if err := w.changes(b); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Split(strings.TrimSpace(out.String()), "\n"); len(got) != 3 || got[2] != "web: copy 55% of 100 B, 1 B/s" {
		t.Errorf("%q; want three lines", got)
	}
}
