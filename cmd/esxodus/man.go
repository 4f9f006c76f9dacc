package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/cmd/esxodus/manual"

	"github.com/urfave/cli/v2"
)

func manCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "write the manual pages to a directory",
		ArgsUsage: "DIR",
		Description: `Writes a page for each command to DIR/man1 and one for each topic to DIR/man7.
They say what --help says. "make install" does this. SOURCE_DATE_EPOCH sets the
pages' date.

  esxodus man /usr/local/share/man`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1, "a directory")
			if err != nil {
				return err
			}
			date := time.Now()
			if s, err := strconv.ParseInt(t.getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
				date = time.Unix(s, 0)
			}
			for _, p := range manPages(c.App, date) {
				if err := writePage(args[0], p); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func writePage(dir string, p manual.Page) error {
	dir = filepath.Join(dir, fmt.Sprintf("man%d", p.Section))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.%d", p.Name, p.Section)), []byte(p.Roff()), 0o644)
}

// manPages are the pages of the program, its commands and the topics.
func manPages(app *cli.App, date time.Time) []manual.Page {
	exits, files := topicPart("exit-codes", "exit status"), topicPart("environment", "environment")
	pages := []manual.Page{{
		Name: app.Name, Section: 1, Brief: app.Usage, Date: date,
		Parts: []manual.Part{
			{Title: "synopsis", Body: manual.Parse("**" + app.Name + "** COMMAND [flags] [arguments]")},
			{Title: "description", Body: manual.Parse(app.Description)},
			{Title: "commands", Body: commandTable(app)},
			files, exits,
		},
	}}
	for _, cmd := range app.VisibleCommands() {
		pages = append(pages, manual.Page{
			Name: app.Name + "-" + strings.ReplaceAll(cmd.Name, " ", "-"), Section: 1, Brief: cmd.Usage, Date: date,
			Parts: []manual.Part{
				{Title: "synopsis", Body: manual.Parse(strings.TrimSpace("**" + app.Name + " " + cmd.Name + "** [flags] " + cmd.ArgsUsage))},
				{Title: "description", Body: manual.Parse(cmd.Description)},
				{Title: "options", Body: flagTable(cmd)},
				exits,
			},
		})
	}
	for _, name := range topicNames() {
		title, body, _ := topic(name)
		pages = append(pages, manual.Page{
			Name: app.Name + "-" + name, Section: 7, Brief: strings.ToLower(title[:1]) + title[1:], Date: date,
			Parts: []manual.Part{{Title: "description", Body: body}},
		})
	}
	for i := range pages {
		for k, other := range pages {
			if i == 0 && k != 0 || i != 0 && (k == 0 || other.Section == 7 && k != i) {
				pages[i].SeeAlso = append(pages[i].SeeAlso, fmt.Sprintf("**%s**(%d)", other.Name, other.Section))
			}
		}
	}
	return pages
}

func topicPart(name, title string) manual.Part {
	_, body, _ := topic(name)
	return manual.Part{Title: title, Body: body}
}

func commandTable(app *cli.App) []manual.Block {
	rows := [][]string{{"command", "does"}}
	for _, c := range app.VisibleCommands() {
		rows = append(rows, []string{c.Name, c.Usage})
	}
	return []manual.Block{{Kind: manual.Table, Rows: rows}}
}

func flagTable(cmd *cli.Command) []manual.Block {
	rows := [][]string{{"flag", "means"}}
	flags := cmd.Flags
	if !slices.Contains(flags, cli.HelpFlag) { // the library adds it when the command runs
		flags = append(slices.Clone(flags), cli.HelpFlag)
	}
	for _, f := range flags {
		if head, usage, ok := flagTexts(f); ok {
			rows = append(rows, []string{head, usage})
		}
	}
	return []manual.Block{{Kind: manual.Table, Rows: rows}}
}
