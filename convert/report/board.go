package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"esxodus/convert/runs"
	"esxodus/inventory/fit"
)

// Row is one VM on a [Board].
type Row struct {
	Name string
	// Done says that nothing more is done about it, Failed that it needs somebody.
	Done, Failed bool
	What         string     // what is being done, or what came of it
	Pace         *runs.Pace // nil where nothing is measured
	Copied       int64      // bytes of its disks that are copied
	Total        int64      // bytes of its disks
}

// Board is how all VMs of a batch are: a line for each, and one for all.
type Board struct {
	Rows []Row
	// Most is how many lines there is room for; 0 for all. VMs that wait, and then those
	// that are done, are left out first.
	Most int
}

const leastName = 8

// Lines draws the board. No line is wider than the columns.
func (b *Board) Lines(columns int) []string {
	columns = max(columns, LeastColumns)
	rows, hidden := b.shown()
	name := leastName
	for _, r := range rows {
		name = max(name, Width(fit.TerminalLine(r.Name)))
	}
	name = min(name, columns/3)
	var out []string
	for _, r := range rows {
		out = append(out, r.line(name, columns))
	}
	if hidden > 0 {
		out = append(out, Fit(fmt.Sprintf("… and %d more", hidden), columns))
	}
	return append(out, Fit(b.all(columns), columns))
}

// shown is as many rows as there is room for, in their order.
func (b *Board) shown() (rows []Row, hidden int) {
	const ownLines = 2 // for those that are left out, and for all
	room := b.Most - ownLines
	if b.Most == 0 || len(b.Rows) <= b.Most-1 {
		return b.Rows, 0
	}
	weight := func(r Row) int {
		switch {
		case r.Failed:
			return 1
		case r.Done:
			return 2
		case r.What == "":
			return 3
		}
		return 0
	}
	take := make([]bool, len(b.Rows))
	for w := 0; w <= 3; w++ {
		for i, r := range b.Rows {
			if weight(r) == w && room > 0 {
				take[i] = true
				room--
			}
		}
	}
	for i, r := range b.Rows {
		if take[i] {
			rows = append(rows, r)
		}
	}
	return rows, len(b.Rows) - len(rows)
}

func (r *Row) line(name, columns int) string {
	label := Fit(fit.TerminalLine(r.Name), name)
	label += strings.Repeat(" ", max(0, name-Width(label))+1)
	figures := ""
	if p := r.Pace; p != nil && p.Total > 0 && !r.Done {
		figures = fmt.Sprintf(" %d%% %s/s", p.Done*100/p.Total, fit.Bytes(p.Rate))
		if left := p.Left(); left > 0 {
			figures += " " + left.String()
		}
	}
	what := cmp.Or(r.What, "waits")
	if r.Failed {
		what = "FAILED: " + what
	}
	return label + Fit(fit.TerminalLine(what), max(columns-Width(label)-Width(figures), 1)) + figures
}

// all sums the board up.
func (b *Board) all(columns int) string {
	var done, total, rate int64
	count := make(map[string]int)
	for _, r := range b.Rows {
		total += r.Total
		switch {
		case r.Failed:
			count["failed"]++
			total -= r.Total // nobody is at it
		case r.Done:
			count["done"]++
			done += r.Total
		case r.What == "":
			count["to come"]++
		default:
			count["at work"]++
			done += min(r.Copied, r.Total)
		}
		if r.Pace != nil && !r.Done {
			rate += r.Pace.Rate
		}
	}
	var parts []string
	for _, what := range []string{"done", "at work", "to come", "failed"} {
		if count[what] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[what], what))
		}
	}
	text := strings.Join(parts, ", ")
	if total > 0 {
		const most = 20
		width := min(most, columns/8)
		full := int(done * int64(width) / total)
		text = fmt.Sprintf("[%s%s] %d%% of %s; %s", strings.Repeat("#", full), strings.Repeat(".", width-full), done*100/total, fit.Bytes(total), text)
	}
	if rate > 0 {
		left := time.Duration(float64(total-done) / float64(rate) * float64(time.Second)).Round(time.Second)
		text += fmt.Sprintf("; %s/s, %v left", fit.Bytes(rate), left)
	}
	return text
}

// BoardOf is the board of runs on record.
func BoardOf(states []runs.State) *Board {
	b := &Board{}
	for _, s := range states {
		r := Row{Name: s.Name, Pace: s.Pace}
		for _, d := range s.Job.VM.Disks {
			r.Total += d.Size
		}
		switch {
		case s.Running:
			r.What = cmp.Or(s.Step, "at work")
			if s.Pace != nil {
				r.What = s.Pace.What
			}
		case s.Error != "" && !s.Ended():
			r.Done, r.Failed, r.What = true, true, s.Error
		default:
			r.Done, r.What = true, string(s.Phase)
			if s.CutOver() {
				r.What = s.Cutover.Words()
			}
		}
		if s.Pace != nil && strings.HasPrefix(s.Pace.What, "copy ") {
			r.Copied = s.Pace.Done
		}
		b.Rows = append(b.Rows, r)
	}
	return b
}
