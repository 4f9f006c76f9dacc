package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"esxodus/inventory/fit"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
)

// advice completes the commands that messages name. Packages write them in
// backquotes and without flags, `esxodus resume web`; which flags of the command
// at work the next one needs is known only here.
type advice struct {
	app   *cli.App
	given map[string]string // by flag, as it is given: "--state /srv/esxodus"
	run   []string          // the flags that the run's journal holds
}

// carried are the flags that the next command needs as this one did. Journals
// and plans hold the rest.
func carried() []string {
	return []string{
		"config", "profile", "state", "password-file", "insecure", "legacy-tls", "stall", "ssh", "ssh-key", "ssh-fingerprint", "lilo", "connections", "rate", "patience",
	}
}

// planning are the flags that planning again, or what a plan leads to, needs.
func planning() []string {
	return []string{
		"storage", "uplink", "network", "network-file", "sriov", "peer", "layout", "virt-type", "shutdown", "power-off", "proof", "proof-port", "no-proof", "no-edits", "all-blocks", "no-speed", "ip", "acknowledge", "apply-network", "datastore", "via", "scratch", "off", "libvirt", "packages",
	}
}

// note keeps the flags that a command was given.
func (a *advice) note(c *cli.Context) error {
	a.app, a.given = c.App, make(map[string]string)
	names := append(carried(), "esxi", "from", "thumbprint")
	if c.Command.Name == "convert" {
		names = append(names, "uplink", "network", "network-file", "sriov", "peer")
		a.run = []string{"esxi", "from", "thumbprint"}
	}
	if c.Command.Name == "plan" || c.Command.Name == "network plan" {
		names = append(names, planning()...)
	}
	for _, f := range c.Command.Flags {
		if name := f.Names()[0]; slices.Contains(names, name) && c.IsSet(name) {
			a.given[name] = asGiven(c, f)
		}
	}
	// A path is said so that it is the same from anywhere.
	for name, absolute := range map[string]func(*cli.Context) (string, error){
		"state":   func(c *cli.Context) (string, error) { dir, err := stateDir(c); return string(dir), err },
		"storage": storage,
		"config": func(c *cli.Context) (string, error) {
			if c.String("config") == "" {
				return os.DevNull, nil // as much as no file
			}
			return filepath.Abs(c.String("config"))
		},
		"scratch": func(c *cli.Context) (string, error) { return filepath.Abs(c.String("scratch")) },
		"from":    func(c *cli.Context) (string, error) { return filepath.Abs(c.String("from")) },
	} {
		if _, ok := a.given[name]; !ok {
			continue
		}
		where, err := absolute(c)
		if err != nil {
			return err
		}
		a.given[name] = "--" + name + " " + fit.Paste(redact.Text(where))
	}
	return nil
}

// asGiven is a flag with its values, for a shell. A password in an address isn't
// repeated.
func asGiven(c *cli.Context, f cli.Flag) string {
	name := f.Names()[0]
	flag := "--" + name
	switch f.(type) {
	case *cli.BoolFlag:
		return flag
	case *cli.StringSliceFlag:
		var words []string
		for _, v := range c.StringSlice(name) {
			words = append(words, flag+" "+fit.Paste(redact.Text(v)))
		}
		return strings.Join(words, " ")
	}
	return flag + " " + fit.Paste(redact.Text(fmt.Sprint(c.Value(name))))
}

// commandPattern is a command in backquotes, with or without a domain's or file's
// name and flags of its own.
var commandPattern = regexp.MustCompile("`esxodus ([a-z]+)(?: [A-Za-z0-9._/'+=-]+)*`")

// complete gives the commands in a text the flags that they take and this
// command was given.
func (a *advice) complete(text string) string {
	if a.app == nil {
		return text
	}
	return commandPattern.ReplaceAllStringFunc(text, func(found string) string {
		name := joined(a.app, strings.Fields(strings.Trim(found, "`")))[1]
		cmd := a.app.Command(name)
		if cmd == nil || strings.HasSuffix(found, " --help`") {
			return found
		}
		words := []string{strings.TrimSuffix(found, "`")}
		ofRun := slices.Contains([]string{"resume", "rollback", "verify"}, cmd.Name)
		for _, f := range cmd.Flags {
			name := f.Names()[0]
			if flag, ok := a.given[name]; ok && (!ofRun || !slices.Contains(a.run, name)) {
				words = append(words, flag)
			}
		}
		return strings.Join(words, " ") + "`"
	})
}
