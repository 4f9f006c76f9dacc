package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"esxodus/convert/batch"
	"esxodus/convert/cutover"
	"esxodus/convert/journal"
	"esxodus/convert/notify"
	"esxodus/convert/runs"
	"esxodus/inventory/fit"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
)

// hookFlags say who is told what becomes of migrations.
func hookFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "hook", Usage: "run `PROGRAM` when something becomes of a migration, with the event on its standard input (`esxodus help hooks`)"},
		&cli.StringSliceFlag{Name: "webhook", Usage: "post the same to `WHERE`: an address, or a file with one in its first line and a header in each that follows (repeatable)"},
	}
}

// hooks tells what becomes of migrations to whom the command line says.
type hooks struct {
	*notify.Notifier
	command string
	here    string
}

// open reads a command line's hooks, before anything is done.
func (h *hooks) open(ctx context.Context, c *cli.Context, t terminal) error {
	if !has(c.Command, "hook") {
		return nil
	}
	o := notify.Options{Hook: c.String("hook"), Log: logger(c, t)}
	if o.Hook != "" {
		if err := mayRun(o.Hook); err != nil {
			return usagef("--hook %s: %w", o.Hook, err)
		}
		o.Hook, _ = filepath.Abs(o.Hook) // it was found
	}
	for _, text := range c.StringSlice("webhook") {
		to, err := notify.ReadTarget(text)
		if err != nil {
			return usagef("--webhook: %w", err) // whose address may be a secret
		}
		o.Webhooks = append(o.Webhooks, to)
	}
	h.command = c.Command.Name
	h.here, _ = os.Hostname() // "" where it has none
	h.Notifier = notify.New(ctx, o)
	return nil
}

// close waits until all has been told.
func (h *hooks) close() { h.Close() }

func has(cmd *cli.Command, flag string) bool {
	for _, f := range cmd.Flags {
		if f.Names()[0] == flag {
			return true
		}
	}
	return false
}

// mayRun says why a file can't be run.
func mayRun(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return errors.New("not a program: it can't be executed")
	}
	return nil
}

// state tells what became of a run that a command acted on.
func (h *hooks) state(s *runs.State, err error) {
	kind, text := became(s, err)
	if kind == "" {
		return
	}
	e := notify.Event{
		Kind: kind, Command: h.command, Text: fmt.Sprintf("%s: %s", s.Name, text), Target: h.here, VM: s.VM, Domain: s.Name,
		Source: s.Host, Phase: string(s.Phase), Next: s.Commands(), Downtime: s.Downtime,
	}
	if err != nil {
		e.Error = redact.Text(err.Error())
	}
	h.Tell(e)
}

// became says what became of a run, "" where that is nothing to tell of.
func became(s *runs.State, err error) (notify.Kind, string) {
	switch {
	case s.Twice != "":
		return notify.Twice, s.Twice
	case err != nil && !errors.Is(err, runs.ErrAlready):
		return notify.Failed, fmt.Sprintf("failed (%s): %s", s.Phase, redact.Text(err.Error()))
	case err != nil:
		return "", ""
	case s.Phase == journal.PhaseCommitted:
		return notify.Committed, "committed"
	case s.Phase == journal.PhaseRolledBack:
		return notify.RolledBack, "rolled back"
	case s.InPlace():
		return notify.InPlace, fmt.Sprintf("in the place of %q", s.VM)
	case s.Cutover != nil && s.Cutover.Phase == cutover.PhaseBack:
		return notify.TakenBack, "its cutover was taken back"
	case s.Complete():
		return notify.Migrated, fmt.Sprintf("%s, from %q", s.Phase, s.VM)
	}
	return "", ""
}

// run tells what became of the run of a name, and has it in that run's log.
func (h *hooks) run(dir runs.StateDir, name string, err error) {
	s, lost := dir.State(name)
	if lost != nil {
		s = runs.State{Name: name}
	}
	if kind, text := became(&s, err); kind != "" {
		_ = dir.Log(name, h.command+": "+text) // without it nothing else is wrong
	}
	h.state(&s, err)
}

// result tells what a batch did about a VM.
func (h *hooks) result(dir runs.StateDir, r batch.Result) {
	switch {
	case r.Error != "":
		h.run(dir, r.Name, errors.New(r.Error))
	case r.Did != batch.DidPass || r.InPlace:
		h.run(dir, r.Name, nil)
	}
}

// batch tells that one begins, or has ended.
func (h *hooks) batch(results []batch.Result, of int) {
	if h.Notifier == nil {
		return
	}
	if results == nil {
		h.Tell(notify.Event{Kind: notify.Began, Command: h.command, Target: h.here, Text: fit.Count(of, "VM") + ", a batch begins"})
		return
	}
	failed := 0
	for _, r := range results {
		if r.Error != "" {
			failed++
		}
	}
	h.Tell(notify.Event{Kind: notify.Ended, Command: h.command, Target: h.here, Text: fmt.Sprintf("a batch of %s has ended, %d failed", fit.Count(of, "VM"), failed)})
}
