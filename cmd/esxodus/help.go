package main

import (
	"fmt"
	"io"
	"strings"

	"esxodus/convert/report"

	"github.com/urfave/cli/v2"
)

// commandHelp is the help of one command.
const commandHelp = `{{.HelpName}} - {{.Usage}}

Usage: {{.HelpName}} [flags]{{with trim .ArgsUsage}} {{.}}{{end}}
{{if .Description}}
{{text .Description}}{{end}}
Flags:
{{range .VisibleFlags}}{{flag .}}{{end}}`

// appHelp is the help of the program.
const appHelp = `{{.HelpName}} - {{.Usage}}

Usage: {{.HelpName}} COMMAND [flags] [arguments]

{{text .Description}}
Commands:
{{range .VisibleCommands}}{{command .}}{{end}}
Flags:
{{range .VisibleFlags}}{{flag .}}{{end}}`

// printHelp is the library's printer with the functions that the templates use.
// It lays out for the terminal that w is.
func printHelp(w io.Writer, template string, data any) {
	n := columns(w)
	if n == 0 {
		n = report.DefaultColumns
	}
	n = max(n, report.LeastColumns)
	cli.HelpPrinterCustom(w, template, data, map[string]any{
		"trim": strings.TrimSpace,
		"text": func(s string) string { return paragraphs(s, n) },
		"flag": func(f cli.Flag) string { return flagHelp(f, n) },
		"command": func(c *cli.Command) string {
			return report.Wrap(fmt.Sprintf("  %-10s ", c.Name), c.Usage, n)
		},
	})
}

// paragraphs lays a description out: its paragraphs anew, and lines that are
// indented, which are examples, as they are.
func paragraphs(text string, columns int) string {
	var b strings.Builder
	for i, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		if strings.HasPrefix(p, " ") {
			b.WriteString(p + "\n")
			continue
		}
		b.WriteString(report.Wrap("", strings.ReplaceAll(p, "\n", " "), columns))
	}
	return b.String()
}

// flagHelp is a flag with its value's name on a line, and what it does below.
func flagHelp(f cli.Flag, columns int) string {
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
	return head + "\n" + report.Wrap("      ", usage, columns)
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
