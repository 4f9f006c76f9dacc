package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"esxodus/convert/concerns"
	"esxodus/fixtures"
)

// TestManPages: mandoc finds nothing to say about any of them, and they have
// every flag of their command.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	app := newApp(terminal{})
	var files []string
	for _, p := range manPages(app, time.Unix(0, 0)) {
		if err := writePage(dir, p); err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(dir, fmt.Sprintf("man%d", p.Section), fmt.Sprintf("%s.%d", p.Name, p.Section)))
	}
	if want := 1 + len(app.VisibleCommands()) + len(topicNames()); len(files) != want {
		t.Errorf("%d pages; want %d", len(files), want)
	}
	mandoc := fixtures.Tool(t, "mandoc")
	out, err := exec.CommandContext(t.Context(), mandoc, append([]string{"-Tlint", "-Wall"}, files...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
	for _, cmd := range app.VisibleCommands() {
		page, err := exec.CommandContext(t.Context(), mandoc, "-Tutf8", "-Owidth=200", filepath.Join(dir, "man1", "esxodus-"+strings.ReplaceAll(cmd.Name, " ", "-")+".1")).Output()
		if err != nil {
			t.Fatal(err)
		}
		text := overstrike(string(page))
		for _, f := range append(slices.Clone(cmd.Flags), cli.HelpFlag) {
			if want := dashes(f.Names()[0]) + f.Names()[0]; !strings.Contains(text, want) {
				t.Errorf("esxodus-%s(1) has no %s", cmd.Name, want)
			}
		}
		if !strings.Contains(text, "another esxodus is at work") {
			t.Errorf("esxodus-%s(1) has no exit codes", cmd.Name)
		}
	}
}

// overstrike takes out the backspaces by which a page's bold letters are made.
func overstrike(page string) string {
	var out []rune
	for _, r := range page {
		if r == '\b' && len(out) > 0 {
			out = out[:len(out)-1]
			continue
		}
		out = append(out, r)
	}
	return string(out)
}

// TestExitCodesTold: the text has each exit code, and no other.
func TestExitCodesTold(t *testing.T) {
	t.Parallel()
	_, body, _ := topic("exit-codes")
	var got []string
	for _, b := range body {
		for i, row := range b.Rows {
			if i > 0 {
				got = append(got, row[0])
			}
		}
	}
	want := []string{}
	for _, code := range []int{exitDone, exitFailed, exitSome, exitPreflight, exitStopped, exitDiffers, exitUsage, exitBusy, exitInterrupted} {
		want = append(want, fmt.Sprint(code))
	}
	if !slices.Equal(got, want) {
		t.Errorf("exit codes in the text: %v; want %v", got, want)
	}
}

// TestCommandColumn: what a command does begins in one column, however long its name.
func TestCommandColumn(t *testing.T) {
	_, list, _ := strings.Cut(output(t, "--help"), "Commands:\n")
	list, _, _ = strings.Cut(list, "\nTopics")
	const long = "  network remove-default"
	if !strings.Contains(list, "\n"+long+"\n") {
		t.Errorf("the long name has no line of its own:\n%s", list)
	}
	for line := range strings.SplitSeq(list, "\n") {
		if line != "" && line != long && (line[18] != ' ' || line[19] == ' ') {
			t.Errorf("%q: its text begins elsewhere", line)
		}
	}
}

// TestTopics: each file is a topic, and help has it for any width.
func TestTopics(t *testing.T) {
	t.Parallel()
	files, err := topicFiles.ReadDir("topics")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(topicNames()) {
		t.Errorf("%d files, %d topics", len(files), len(topicNames()))
	}
	for _, name := range topicNames() {
		title, _, ok := topic(name)
		if got := output(t, "help", name); !ok || !strings.HasPrefix(got, strings.ToUpper(title)+"\n\n") || strings.Contains(got, "| ") {
			t.Errorf("help %s = %s", name, got)
		}
	}
	all := strings.Fields(output(t, "help", "concerns"))
	for _, id := range concerns.IDs() {
		if got := output(t, "help", id); !strings.HasPrefix(got, id+"\n\n") || !slices.Contains(all, id) {
			t.Errorf("help %s = %s", id, got)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range topicNames() {
		if !strings.Contains(string(readme), "(cmd/esxodus/topics/"+name+".md)") {
			t.Errorf("the README doesn't lead to the topic %s", name)
		}
	}
}
