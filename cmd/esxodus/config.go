package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"esxodus/convert/report"
	"esxodus/inventory/fit"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
)

func configCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "config",
		Usage:     "show which value each flag has, and where it comes from",
		ArgsUsage: "[COMMAND]",
		Description: `Reads the configuration file, says what is wrong in it, and shows what commands take
from it, from the environment and by default: "esxodus help configuration". Without
a COMMAND it shows each flag once, with the commands where they differ.

  esxodus config
  esxodus config --profile site-a convert`,
		Flags: outputFlags(),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 0, 2, "at most one command")
			if err != nil {
				return err
			}
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			commands := slices.DeleteFunc(slices.Clone(c.App.VisibleCommands()), func(cmd *cli.Command) bool { return !configurable(cmd) })
			if name := strings.Join(args, " "); name != "" {
				cmd := c.App.Command(name)
				if cmd == nil || !configurable(cmd) {
					return unknownCommand(c.App, name)
				}
				commands = []*cli.Command{cmd}
			}
			file, err := openConfig(c)
			if err != nil {
				return err
			}
			shown := showConfig(file, commands, t.getenv)
			if wantJSON {
				return printJSON(t.out, shown)
			}
			return printConfig(t.out, t.form(t.out), shown)
		},
	}
}

// shownConfig is what `esxodus config` prints.
type shownConfig struct {
	File     string         `json:"file,omitempty"`
	Profile  string         `json:"profile,omitempty"`
	Settings []shownSetting `json:"settings"`
}

// shownSetting is a flag's value, and where it is from.
type shownSetting struct {
	Flag     string   `json:"flag"`
	Commands []string `json:"commands"`
	Values   []string `json:"values"`
	From     string   `json:"from"`
	Variable string   `json:"variable,omitempty"`
	Line     int      `json:"line,omitempty"`
}

// same tells whether two commands have a flag's value from one place.
func (s shownSetting) same(o shownSetting) bool {
	return s.Flag == o.Flag && s.From == o.From && s.Variable == o.Variable && s.Line == o.Line && slices.Equal(s.Values, o.Values)
}

// showConfig says of commands' flags what they are where the command line says nothing.
func showConfig(file *configFile, commands []*cli.Command, getenv func(string) string) shownConfig {
	var out shownConfig
	if file != nil {
		out.File, out.Profile = file.path, file.profile
	}
	for _, cmd := range commands {
		found := settle(cmd, file, getenv, func(string) bool { return false })
		for _, name := range fileFlags(cmd) {
			s := shown(fileFlag(cmd, name), found[name], getenv)
			s.Commands = []string{cmd.Name}
			if i := slices.IndexFunc(out.Settings, s.same); i >= 0 {
				out.Settings[i].Commands = append(out.Settings[i].Commands, cmd.Name)
				continue
			}
			out.Settings = append(out.Settings, s)
		}
	}
	slices.SortStableFunc(out.Settings, func(a, b shownSetting) int { return cmp.Compare(a.Flag, b.Flag) })
	return out
}

// shown is one flag of a command. What a variable has of a password isn't shown.
func shown(f cli.Flag, from settled, getenv func(string) string) shownSetting {
	s := shownSetting{Flag: f.Names()[0], Values: []string{}, From: from.from, Variable: from.variable, Line: from.line}
	for _, word := range from.words {
		s.Values = append(s.Values, redact.Text(word))
	}
	switch {
	case from.variable != "" && s.Flag == "password-file":
		s.Values = []string{"***"}
	case from.variable != "":
		v := getenv(from.variable)
		s.Values = []string{redact.Text(v, redact.Known(v)...)}
	case from.from == "":
		s.From = fromDefault
		if isSwitch(f) {
			s.Values = []string{"false"}
		}
		if doc, ok := f.(cli.DocGenerationFlag); ok {
			if text := strings.Trim(doc.GetDefaultText(), `"`); text != "" && doc.TakesValue() {
				s.Values = []string{text}
			}
		}
	}
	return s
}

// printConfig prints the values as a table: those that somebody chose first.
func printConfig(w io.Writer, f report.Form, c shownConfig) error {
	head := "no configuration file: " + configPath + " isn't there"
	if c.File != "" {
		head = "configuration file " + c.File
	}
	if c.Profile != "" {
		head += ", profile " + c.Profile
	}
	if _, err := fmt.Fprintln(w, fit.TerminalLine(head)); err != nil {
		return err
	}
	count := make(map[string]int)
	for _, s := range c.Settings {
		count[s.Flag]++
	}
	wide := 0
	for name := range maps.Keys(count) {
		wide = max(wide, len(name))
	}
	for _, s := range c.Settings {
		text := strings.Join(s.Values, ", ")
		if len(s.Values) == 0 {
			text = "-"
		}
		text += "  (" + s.where(c) + ")"
		if count[s.Flag] > 1 {
			text += " " + strings.Join(s.Commands, ", ")
		}
		if _, err := io.WriteString(w, report.Wrap(fmt.Sprintf("  %-*s  ", wide, s.Flag), text, f.Width())); err != nil {
			return err
		}
	}
	return nil
}

// where says where a value is from.
func (s shownSetting) where(c shownConfig) string {
	switch s.From {
	case fromEnvironment:
		return "$" + s.Variable
	case fromProfile:
		return fmt.Sprintf("profile %s, line %d", c.Profile, s.Line)
	case fromFile:
		return fmt.Sprintf("file, line %d", s.Line)
	}
	return s.From
}
