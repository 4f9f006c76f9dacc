// Package manual reads the texts of help and manual pages, which are written once
// in a little Markdown, and renders them for terminals and for man(1).
//
// It knows headings, paragraphs, lists whose items begin with a hyphen, tables,
// and lines that are indented, which are examples and stay as they are; in a
// line, `code`, **words that stand out** and [links](to nowhere).
package manual

import (
	"regexp"
	"strings"
)

// Kind is what a block is.
type Kind int

// The kinds of block.
const (
	Paragraph Kind = iota
	Heading
	List
	Table
	Example
)

// Block is a piece of a text between empty lines.
type Block struct {
	Kind  Kind
	Lines []string   // a list's items; else one text, but an example's lines
	Rows  [][]string // a table's, its head first
}

// Parse reads a text.
func Parse(text string) []Block {
	var out []Block
	for chunk := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		chunk = strings.Trim(chunk, "\n")
		switch {
		case chunk == "":
		case strings.HasPrefix(chunk, "#"):
			out = append(out, Block{Kind: Heading, Lines: []string{strings.TrimLeft(chunk, "# ")}})
		case strings.HasPrefix(chunk, "- "):
			out = append(out, Block{Kind: List, Lines: items(chunk)})
		case strings.HasPrefix(chunk, "|"):
			out = append(out, Block{Kind: Table, Rows: rows(chunk)})
		case strings.HasPrefix(chunk, "  "):
			out = append(out, Block{Kind: Example, Lines: example(chunk)})
		default:
			out = append(out, Block{Kind: Paragraph, Lines: []string{flat(chunk)}})
		}
	}
	return out
}

// flat makes one line of several.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

func items(chunk string) []string {
	var out []string
	for item := range strings.SplitSeq("\n"+chunk, "\n- ") {
		if item != "" {
			out = append(out, flat(item))
		}
	}
	return out
}

// rows reads a table, without the line under its head.
func rows(chunk string) [][]string {
	var out [][]string
	for line := range strings.SplitSeq(chunk, "\n") {
		if strings.Trim(line, "|- ") == "" {
			continue
		}
		var row []string
		for cell := range strings.SplitSeq(strings.Trim(line, "| "), " | ") {
			row = append(row, strings.TrimSpace(cell))
		}
		out = append(out, row)
	}
	return out
}

// example reads lines without the indentation that they have in common.
func example(chunk string) []string {
	lines := strings.Split(chunk, "\n")
	indent := len(chunk)
	for _, l := range lines {
		indent = min(indent, len(l)-len(strings.TrimLeft(l, " ")))
	}
	for i := range lines {
		lines[i] = lines[i][indent:]
	}
	return lines
}

var (
	strong = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	link   = regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`)
)

// rest joins the cells of a row after the first, which their heads name where
// there are several.
func rest(head, row []string) string {
	if len(head) == 2 && len(row) == 2 {
		return row[1]
	}
	var cells []string
	for i := 1; i < min(len(head), len(row)); i++ {
		if row[i] != "" {
			cells = append(cells, head[i]+": "+row[i])
		}
	}
	return strings.Join(cells, ". ")
}
