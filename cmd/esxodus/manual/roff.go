package manual

import (
	"fmt"
	"strings"
	"time"
)

// Page is a manual page.
type Page struct {
	Name    string // "esxodus-plan"
	Section int
	Brief   string // what follows the name, in one line
	Date    time.Time
	Parts   []Part
	SeeAlso []string // "esxodus-plan(1)"
}

// Part is what stands under a heading of a page.
type Part struct {
	Title string
	Body  []Block
}

// Roff renders a page in the language of man(7).
func (p Page) Roff() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s %d %s esxodus\n", escape(strings.ToUpper(p.Name)), p.Section, p.Date.UTC().Format(time.DateOnly))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escape(p.Name), escape(p.Brief))
	for _, part := range p.Parts {
		if len(part.Body) > 0 {
			fmt.Fprintf(&b, ".SH %s\n", escape(strings.ToUpper(part.Title)))
			roff(&b, part.Body)
		}
	}
	if len(p.SeeAlso) > 0 {
		b.WriteString(".SH SEE ALSO\n" + filled(strings.Join(p.SeeAlso, ", ")))
	}
	return b.String()
}

func roff(b *strings.Builder, blocks []Block) {
	for i, block := range blocks {
		first := i == 0 || blocks[i-1].Kind == Heading
		switch block.Kind {
		case Heading:
			fmt.Fprintf(b, ".SS %s\n", inline(block.Lines[0]))
		case List:
			for _, item := range block.Lines {
				b.WriteString(".IP \\(bu 2\n" + filled(item))
			}
		case Table:
			for _, row := range block.Rows[1:] {
				b.WriteString(".TP\n.B " + escape(plain(row[0])) + "\n" + filled(rest(block.Rows[0], row)))
			}
		case Example:
			if !first {
				b.WriteString(".PP\n")
			}
			b.WriteString(".nf\n.RS 2\n")
			for _, l := range block.Lines {
				b.WriteString(guard(escape(l)) + "\n")
			}
			b.WriteString(".RE\n.fi\n")
		default:
			if !first {
				b.WriteString(".PP\n")
			}
			b.WriteString(filled(block.Lines[0]))
		}
	}
}

// filled is a text in lines of the source, which man fills.
func filled(text string) string {
	const columns = 76
	var b strings.Builder
	at := 0
	for word := range strings.FieldsSeq(inline(text)) {
		switch {
		case at > 0 && at+1+len(word) > columns:
			b.WriteByte('\n')
			at = 0
		case at > 0:
			b.WriteByte(' ')
			at++
		}
		if at == 0 {
			word = guard(word)
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String() + "\n"
}

// guard keeps a line from being read as a request.
func guard(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

func escape(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "…", "...").Replace(text)
}

// inline renders the marks in a text as fonts.
func inline(text string) string {
	text = link.ReplaceAllString(text, "$1")
	text = escape(text)
	text = strong.ReplaceAllString(text, `\fB$1\fP`)
	parts := strings.Split(text, "`")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = `\fB` + parts[i] + `\fP`
	}
	return strings.Join(parts, "")
}
