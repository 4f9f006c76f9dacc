// Package report writes plans, inventories and states as text for a terminal
// of 80 columns. What a host or a guest named is printed with its control
// characters shown, so that no name can write to the terminal.
package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// width is the widest line, where words allow.
const width = 80

// Bytes is a size for people, in binary units: "1.5 GiB".
func Bytes(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, u := float64(n)/1024, 0
	for v >= 1023.95 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[u]
}

// Clean makes text safe to print in one line: control characters, also the
// C1 ones and those that turn text around, are shown as \u escapes, invalid
// UTF-8 as �.
func Clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Fit cuts s to n columns, marking the cut.
func Fit(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// page collects lines and the first error of writing them.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(format string, args ...any) {
	if p.err != nil {
		return
	}
	_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
}

// wrapped prints text after a label, broken at spaces and indented under
// where it began.
func (p *page) wrapped(label, text string) {
	indent := utf8.RuneCountInString(label)
	line := label
	empty := true
	for word := range strings.FieldsSeq(Clean(text)) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			p.line("%s", line)
			line, empty = strings.Repeat(" ", indent), true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	p.line("%s", strings.TrimRight(line, " "))
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
		p.line("    | %s", Clean(l))
	}
}

// table prints rows with their columns aligned. The last column is cut until a
// row fits the page, and then the widest.
func (p *page) table(rows [][]string) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	shrink(widths)
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			cell = Fit(cell, max(widths[i], 1))
			b.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		p.line("%s", strings.TrimRight(b.String(), " "))
	}
}

func shrink(widths []int) {
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	const least = 8 // of the last column, which is cut first
	last := len(widths) - 1
	for ; total > width && widths[last] > least; total-- {
		widths[last]--
	}
	for ; total > width; total-- {
		widest := 0
		for i := range widths {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		widths[widest]--
	}
}
