package main

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// commandHelp is the help of one command, in lines that fit 80 columns.
const commandHelp = `{{.HelpName}} - {{.Usage}}

Usage: {{.HelpName}} [flags]{{with trim .ArgsUsage}} {{.}}{{end}}
{{if .Description}}
{{.Description}}
{{end}}
Flags:
{{range .VisibleFlags}}{{flag .}}{{end}}`

// printHelp is the library's printer with the functions that commandHelp uses.
func printHelp(w io.Writer, template string, data any) {
	cli.HelpPrinterCustom(w, template, data, map[string]any{"flag": flagHelp, "trim": strings.TrimSpace})
}

// flagHelp is a flag with its value's name on a line, and what it does below.
func flagHelp(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	value, usage := placeholder(doc.GetUsage())
	var names []string
	for _, n := range f.Names() {
		names = append(names, dashes(n)+n)
	}
	head := "  " + strings.Join(names, ", ")
	if doc.TakesValue() && value != "" {
		head += " " + value
	}
	if text := doc.GetDefaultText(); doc.TakesValue() && text != "" && text != `""` && text != "0" {
		usage += " (default: " + strings.Trim(text, `"`) + ")"
	}
	if env := doc.GetEnvVars(); len(env) > 0 {
		usage += " ($" + strings.Join(env, ", $") + ")"
	}
	return head + "\n" + wrap(usage, 6, 79)
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-"
	}
	return "--"
}

// placeholder takes the value's name, between backquotes, out of a usage.
func placeholder(usage string) (value, rest string) {
	before, after, ok := strings.Cut(usage, "`")
	value, after, closed := strings.Cut(after, "`")
	if !ok || !closed {
		return "", usage
	}
	return value, before + value + after
}

// wrap breaks text at spaces into indented lines of at most width columns.
func wrap(text string, indent, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			b.WriteString(strings.Repeat(" ", indent))
			column = indent
		case column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String() + "\n"
}
