package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"esxodus/inventory/fit"

	"github.com/mattn/go-runewidth"
)

// The columns that text is laid out for: where it isn't known how many there are,
// and at the least.
const (
	DefaultColumns = 80
	LeastColumns   = 40
)

// Form is how results are laid out.
type Form struct {
	Columns  int                 // of the terminal; 0 where there is none
	Complete func(string) string // gives the commands in a text, which are in backquotes, their flags; may be nil
}

// Width is for how many columns text is laid out.
func (f Form) Width() int {
	if f.Columns == 0 {
		return DefaultColumns
	}
	return max(f.Columns, LeastColumns)
}

// page begins a page of this form.
func (f Form) page(w io.Writer) *page {
	p := &page{w: w, columns: f.Width(), complete: f.Complete}
	if p.complete == nil {
		p.complete = strings.Clone
	}
	return p
}

// widths measures text as terminals of any locale draw it: two columns for what
// is wide, none for what combines with the letter before it.
func widths() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

// Width is how many columns of a terminal s takes.
func Width(s string) int { return widths().StringWidth(s) }

// Fit cuts s to n columns, marking the cut.
func Fit(s string, n int) string { return widths().Truncate(s, n, "…") }

// Wrap lays text out after a label, in lines that each end with a newline. They
// break at spaces and are indented under where the text began. Words wider than a
// line, and commands in backquotes, which somebody may paste, stay whole.
func Wrap(label, text string, columns int) string {
	var b strings.Builder
	indent := Width(label)
	line, at, empty := label, indent, true
	for _, word := range words(fit.TerminalLine(text)) {
		n := Width(word)
		if !empty && at+1+n > columns {
			b.WriteString(line + "\n")
			line, at, empty = strings.Repeat(" ", indent), indent, true
		}
		if !empty {
			line, at = line+" ", at+1
		}
		line, at, empty = line+word, at+n, false
	}
	return b.String() + strings.TrimRight(line, " ") + "\n"
}

// words splits text at its spaces, but for those between backquotes.
func words(text string) []string {
	var out []string
	open := -1 // where in out a pair of backquotes begins
	for word := range strings.FieldsSeq(text) {
		if strings.Count(word, "`")%2 == 1 {
			if open >= 0 {
				out = append(out[:open], strings.Join(append(out[open:], word), " "))
				open = -1
				continue
			}
			open = len(out)
		}
		out = append(out, word)
	}
	return out
}

// page collects lines and the first error of writing them.
type page struct {
	w        io.Writer
	columns  int
	complete func(string) string
	err      error
}

func (p *page) line(format string, args ...any) {
	if p.err != nil {
		return
	}
	_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
}

// wrapped prints text after a label.
func (p *page) wrapped(label, text string) {
	if p.err != nil {
		return
	}
	_, p.err = io.WriteString(p.w, Wrap(label, text, p.columns))
}

// each prints texts, every one after the same label.
func (p *page) each(label string, texts []string) {
	for _, t := range texts {
		p.wrapped(label, t)
	}
}

// verbatim prints the lines of a file, which no wrapping may change.
func (p *page) verbatim(lines []string) {
	for _, l := range lines {
		p.line("    | %s", fit.TerminalLine(l))
	}
}

// column is one of a table's.
type column struct {
	head string
	cut  bool // its cells may be cut so that a row fits; those of the others never are
}

// gap is what lies between two columns, and leastCut what remains of a cut one.
const (
	gap      = 2
	leastCut = 8
)

// table prints rows with their columns aligned. Where they don't fit, even cut,
// each row becomes a paragraph.
func (p *page) table(cols []column, rows [][]string) {
	sizes := make([]int, len(cols))
	for i, c := range cols {
		sizes[i] = Width(c.head)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = fit.TerminalLine(row[i])
			sizes[i] = max(sizes[i], Width(row[i]))
		}
	}
	if !shrink(sizes, cols, p.columns) {
		p.paragraphs(cols, rows)
		return
	}
	head := make([]string, len(cols))
	for i, c := range cols {
		head[i] = c.head
	}
	for _, row := range slices.Concat([][]string{head}, rows) {
		var b strings.Builder
		for i, cell := range row {
			cell = Fit(cell, sizes[i])
			b.WriteString(cell + strings.Repeat(" ", sizes[i]-Width(cell)+gap))
		}
		p.line("%s", strings.TrimRight(b.String(), " "))
	}
}

// shrink cuts the widest columns that may be cut until a row fits, and reports
// whether it then does.
func shrink(sizes []int, cols []column, columns int) bool {
	total := gap * (len(sizes) - 1)
	for _, n := range sizes {
		total += n
	}
	for ; total > columns; total-- {
		widest := -1
		for i := range sizes {
			if cols[i].cut && sizes[i] > leastCut && (widest < 0 || sizes[i] > sizes[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return false
		}
		sizes[widest]--
	}
	return true
}

// paragraphs prints a table's rows one below the other.
func (p *page) paragraphs(cols []column, rows [][]string) {
	for _, row := range rows {
		var cells []string
		for i, cell := range row[1:] {
			if cell != "" {
				cells = append(cells, strings.ToLower(cols[i+1].head)+" "+cell)
			}
		}
		p.wrapped("", row[0])
		p.wrapped("  ", strings.Join(cells, ", "))
	}
}
