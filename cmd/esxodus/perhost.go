package main

import (
	"flag"
	"fmt"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"
)

// ofOneHost are the flags that say something of one host only: of several, each needs its
// own. A password that is meant for one must not be shown to another.
func ofOneHost() []string {
	return []string{"password-file", "thumbprint", "ssh", "ssh-fingerprint", "datastore"}
}

// hostFlags are those that the configuration file may hold for one host.
func hostFlags() []string {
	return append(ofOneHost(), "insecure", "legacy-tls", "stall", "ssh-key", "scratch")
}

// hostName is how the configuration file has a host: as its address has it, with the port
// or without.
func hostName(name string) string { return strings.ToLower(name) }

// own is what the configuration file has for a host alone.
func (t terminal) own(host *url.URL) map[string]setting {
	if t.settings == nil || t.settings.file == nil {
		return nil
	}
	if own, ok := t.settings.file.hosts[hostName(host.Host)]; ok {
		return own
	}
	return t.settings.file.hosts[hostName(host.Hostname())]
}

// mayBeSeveral refuses what is said of one host where several are read, and other flags
// that can't be of several.
func (t terminal) mayBeSeveral(c *cli.Context, other ...string) error {
	if !t.several {
		return nil
	}
	for _, name := range append(ofOneHost(), other...) {
		if c.IsSet(name) && !t.settings.fromFile(name) {
			return &exitError{
				code: exitUsage, err: fmt.Errorf("--%s with several hosts: each has its own", name),
				hint: "the configuration file has it for each, under hosts: `esxodus help configuration`; passwords are asked for one by one else",
			}
		}
	}
	return nil
}

// at is the command line as it holds for one host: what the configuration file has for
// that host counts before what it has for all, and after flags. Where several hosts are
// read, what belongs to one is none of another's.
func (t terminal) at(c *cli.Context, host *url.URL) *cli.Context {
	own := t.own(host)
	if own == nil && !t.several {
		return c
	}
	set := flag.NewFlagSet(host.Host, flag.ContinueOnError)
	hides := make(map[string]bool)
	for _, name := range ofOneHost() {
		hides[name] = t.several
	}
	for _, name := range hostFlags() {
		s, ok := own[name]
		if f := fileFlag(c.Command, name); f == nil || !ok && !hides[name] || c.IsSet(name) && !t.settings.fromFile(name) {
			continue
		} else {
			define(set, f)
		}
		for _, word := range s.words {
			_ = set.Set(name, word) // it fits: the parser has seen to that
		}
	}
	one := cli.NewContext(c.App, set, c)
	one.Command = c.Command
	return one
}

// define makes a flag of the same kind, without a value.
func define(set *flag.FlagSet, f cli.Flag) {
	name := f.Names()[0]
	switch f.(type) {
	case *cli.BoolFlag:
		set.Bool(name, false, "")
	case *cli.DurationFlag:
		set.Duration(name, 0, "")
	case *cli.StringSliceFlag:
		set.Var(cli.NewStringSlice(), name, "")
	default:
		set.String(name, "", "")
	}
}

// getenvAt is the environment as it holds for one host: of several, none gets a password
// that isn't in its own address.
func (t terminal) getenvAt(name string) string {
	if t.several && (name == "GOVC_PASSWORD" || name == "GOVC_URL") {
		return ""
	}
	return t.getenv(name)
}
