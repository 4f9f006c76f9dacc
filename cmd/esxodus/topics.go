package main

import (
	"embed"
	"fmt"
	"strings"

	"esxodus/cmd/esxodus/manual"
	"esxodus/convert/concerns"
)

// The topics are what help, manual pages and README refer to, each written once.
//
//go:embed topics/*.md
var topicFiles embed.FS

// topicNames lists the topics in the order of help.
func topicNames() []string {
	return []string{"start", "sources", "storage", "used-blocks", "layouts", "boot-proof", "network-proof", "cutover", "batch", "hooks", "report", "concerns", "safety", "back", "written", "network", "guest-network", "exit-codes", "json", "configuration", "environment", "words"}
}

// topic returns a topic's title and text.
func topic(name string) (title string, body []manual.Block, ok bool) {
	text, err := topicFiles.ReadFile("topics/" + name + ".md")
	if err != nil {
		return "", nil, false
	}
	blocks := manual.Parse(string(text))
	if name == "concerns" {
		blocks = append(blocks, concernTables()...)
	}
	return blocks[0].Lines[0], blocks[1:], true
}

// concernTables lists all kinds of concern, a table for each group.
func concernTables() (out []manual.Block) {
	for _, g := range concerns.Groups() {
		rows := [][]string{{"id", "means"}}
		for _, k := range g.Kinds {
			text := upper(string(k.Severities)) + ". " + k.Means
			if k.Do != "" {
				text += " **To do:** " + k.Do
			}
			rows = append(rows, []string{k.ID, text})
		}
		out = append(out, manual.Block{Kind: manual.Heading, Lines: []string{g.Title}}, manual.Block{Kind: manual.Table, Rows: rows})
	}
	return out
}

// concernPage is the help on one kind of concern.
func concernPage(id string) (title string, body []manual.Block, ok bool) {
	k, ok := concerns.Find(id)
	if !ok {
		return "", nil, false
	}
	text := upper(string(k.Severities)) + ".\n\n" + k.Means
	if k.Do != "" {
		text += "\n\n**To do:** " + k.Do
	}
	text += "\n\nThe plan says what was seen and what to do about that VM, and `esxodus help concerns` lists all concerns. "
	switch may, only := k.Blocks(); {
	case only:
		text += "A blocker must be gone before the VM is converted: it can't be acknowledged."
	case may:
		text += "A blocker must be gone before the VM is converted. Where it is none it can be acknowledged:"
	default:
		text += "Where it stops nothing, say so:"
	}
	if _, only := k.Blocks(); !only {
		text += "\n\n  esxodus plan … --acknowledge '" + k.ID + "=why it stops nothing'"
	}
	return k.ID, manual.Parse(text), true
}

// upper begins a text with a capital letter.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// topicHelp prints what `esxodus help TOPIC` or `esxodus help ID` asks for, if it is
// that.
func topicHelp(args []string, t terminal) bool {
	if len(args) != 3 || args[1] != "help" {
		return false
	}
	title, body, ok := topic(args[2])
	title = strings.ToUpper(title)
	if !ok {
		title, body, ok = concernPage(args[2])
	}
	if !ok {
		return false
	}
	fmt.Fprintf(t.out, "%s\n\n%s", title, manual.Text(body, t.form(t.out).Width()))
	return true
}
