package manual

import (
	"strings"

	"esxodus/convert/report"
)

// Text renders blocks for a terminal of so many columns.
func Text(blocks []Block, columns int) string {
	var b strings.Builder
	for i, block := range blocks {
		if i > 0 {
			b.WriteByte('\n')
		}
		switch block.Kind {
		case Heading:
			b.WriteString(report.Wrap("", strings.ToUpper(plain(block.Lines[0])), columns))
		case List:
			for _, item := range block.Lines {
				b.WriteString(report.Wrap("- ", plain(item), columns))
			}
		case Table:
			textTable(&b, block.Rows, columns)
		case Example:
			for _, l := range block.Lines {
				b.WriteString(strings.TrimRight("  "+l, " ") + "\n")
			}
		default:
			b.WriteString(report.Wrap("", plain(block.Lines[0]), columns))
		}
	}
	return b.String()
}

// textTable prints a row beside what it is about, or below where that is long.
func textTable(b *strings.Builder, rows [][]string, columns int) {
	const most = 14
	widest := 0
	for _, row := range rows[1:] {
		widest = max(widest, report.Width(plain(row[0])))
	}
	for _, row := range rows[1:] {
		first, text := plain(row[0]), plain(rest(rows[0], row))
		if widest <= most {
			b.WriteString(report.Wrap("  "+first+strings.Repeat(" ", widest-report.Width(first)+2), text, columns))
			continue
		}
		b.WriteString(report.Wrap("  ", first, columns) + report.Wrap("      ", text, columns))
	}
}

// plain takes the marks out of a text. Backquotes stay where they keep a command
// together.
func plain(text string) string {
	text = link.ReplaceAllString(strong.ReplaceAllString(text, "$1"), "$1")
	parts := strings.Split(text, "`")
	for i := 1; i < len(parts); i += 2 {
		if strings.Contains(parts[i], " ") {
			parts[i] = "`" + parts[i] + "`"
		}
	}
	return strings.Join(parts, "")
}
