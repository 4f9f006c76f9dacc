package main

import (
	"fmt"
	"io"
	"strings"

	"esxodus/cmd/esxodus/manual"
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
Topics (esxodus help TOPIC):
{{topics}}
Flags:
{{range .VisibleFlags}}{{flag .}}{{end}}`

// printHelp is the library's printer with the functions that the templates use.
// It lays out for the terminal that w is.
func printHelp(w io.Writer, template string, data any) {
	n := report.Form{Columns: columns(w)}.Width()
	cli.HelpPrinterCustom(w, template, data, map[string]any{
		"trim": strings.TrimSpace,
		"text": func(s string) string { return manual.Text(manual.Parse(s), n) },
		"flag": func(f cli.Flag) string { return flagHelp(f, n) },
		"topics": func() string {
			return report.Wrap("  ", strings.Join(topicNames(), ", "), n)
		},
		"command": func(c *cli.Command) string {
			const wide = 16 // of names; a longer one has a line of its own
			head, name := "", c.Name
			if len(name) > wide {
				head, name = "  "+name+"\n", ""
			}
			return head + report.Wrap(fmt.Sprintf("  %-*s ", wide, name), c.Usage, n)
		},
	})
}

// flagHelp is a flag with its value's name on a line, and what it does below.
func flagHelp(f cli.Flag, columns int) string {
	head, usage, ok := flagTexts(f)
	if !ok {
		return ""
	}
	return "  " + head + "\n" + report.Wrap("      ", usage, columns)
}

// flagTexts returns a flag with its value's name, and what it does.
func flagTexts(f cli.Flag) (head, usage string, ok bool) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return "", "", false
	}
	value, usage := placeholder(doc.GetUsage())
	var names []string
	for _, n := range f.Names() {
		names = append(names, dashes(n)+n)
	}
	head = strings.Join(names, ", ")
	if doc.TakesValue() && value != "" {
		head += " " + value
	}
	if text := doc.GetDefaultText(); doc.TakesValue() && text != "" && text != `""` && text != "0" {
		usage += " (default: " + strings.Trim(text, `"`) + ")"
	}
	if env := doc.GetEnvVars(); len(env) > 0 {
		usage += " ($" + strings.Join(env, ", $") + ")"
	}
	return head, usage, true
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
