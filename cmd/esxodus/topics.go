package main

import (
	"embed"
	"fmt"
	"strings"

	"esxodus/cmd/esxodus/manual"
)

// The topics are what help, manual pages and README refer to, each written once.
//
//go:embed topics/*.md
var topicFiles embed.FS

// topicNames lists the topics in the order of help.
func topicNames() []string {
	return []string{"sources", "storage", "used-blocks", "layouts", "boot-proof", "network-proof", "cutover", "report", "safety", "network", "guest-network", "exit-codes", "json", "configuration", "environment", "words"}
}

// topic returns a topic's title and text.
func topic(name string) (title string, body []manual.Block, ok bool) {
	text, err := topicFiles.ReadFile("topics/" + name + ".md")
	if err != nil {
		return "", nil, false
	}
	blocks := manual.Parse(string(text))
	return blocks[0].Lines[0], blocks[1:], true
}

// topicHelp prints what `esxodus help TOPIC` asks for, if it is that.
func topicHelp(args []string, t terminal) bool {
	if len(args) != 3 || args[1] != "help" {
		return false
	}
	title, body, ok := topic(args[2])
	if !ok {
		return false
	}
	fmt.Fprintf(t.out, "%s\n\n%s", strings.ToUpper(title), manual.Text(body, t.form(t.out).Width()))
	return true
}
