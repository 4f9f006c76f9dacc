package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"esxodus/convert/report"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/inventory/fit"

	"github.com/urfave/cli/v2"
)

func reportCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "report",
		Usage:     "set what was planned beside what came of it",
		ArgsUsage: "[VM | PLAN]",
		Description: `For each migration on record, or that of one VM, or those of a saved plan: the sizes
and times that were predicted and that were measured, and what was made (volumes, the
domain, of a plan the networkd units, too), each compared with the plan. What differs is
named, and the exit code is 6. The concerns that were acknowledged are listed with their
reasons. It changes nothing. --html saves all of it, with the times of each step, as a
page to be shown around.`,
		Flags: slices.Concat(stateFlags(), outputFlags(), []cli.Flag{
			&cli.StringFlag{Name: "html", Usage: "save it as a page for a browser to a new `FILE`, too, which needs no network (esxodus help report)"},
		}),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 0, 1, "at most one VM or plan")
			if err != nil {
				return err
			}
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			dir, err := stateDir(c)
			if err != nil {
				return err
			}
			if err := unsaved("--html", c.String("html")); err != nil {
				return err
			}
			o, err := outcomes(c, t, dir, args)
			if err != nil {
				return err
			}
			v := report.OutcomeOf(o, time.Now())
			if err := saveOutcome(c, t, v); err != nil {
				return err
			}
			if wantJSON {
				err = printJSON(t.out, o)
			} else {
				err = report.Outcomes(t.out, t.form(t.out), v)
			}
			return errors.Join(err, differing(o))
		},
	}
}

// saveOutcome writes what --html asks for.
func saveOutcome(c *cli.Context, t terminal, v report.OutcomeView) error {
	file := c.String("html")
	if file == "" {
		return nil
	}
	return writeNew(c.Context, "--html", file, func(w io.Writer) error {
		buffered := bufio.NewWriter(w)
		return errors.Join(report.OutcomeHTML(buffered, t.form(w), v), buffered.Flush())
	})
}

// outcomes gathers what was asked for.
func outcomes(c *cli.Context, t terminal, dir runs.StateDir, args []string) (*report.Outcome, error) {
	o := &report.Outcome{}
	switch {
	case len(args) == 0:
		states, err := dir.List()
		if err != nil {
			return nil, err
		}
		return o, addOutcomes(c, t, o, states)
	case isPlan(args[0]):
		return o, planOutcome(c, t, dir, args[0], o)
	}
	name, err := dir.Find(args[0])
	if err != nil {
		return nil, err
	}
	s, err := dir.State(name)
	if err != nil {
		return nil, err
	}
	return o, addOutcomes(c, t, o, []runs.State{s})
}

// isPlan tells a plan's file from a VM's name.
func isPlan(arg string) bool {
	info, err := os.Stat(arg)
	return err == nil && info.Mode().IsRegular() && (strings.HasSuffix(arg, ".yaml") || strings.HasSuffix(arg, ".yml") || strings.HasSuffix(arg, ".json"))
}

// planOutcome gathers what became of a plan's VMs, and of its units.
func planOutcome(c *cli.Context, t terminal, dir runs.StateDir, file string, o *report.Outcome) error {
	p, err := loadPlan(c.Context, file)
	if err != nil {
		return err
	}
	var states []runs.State
	for i := range p.VMs {
		s, err := dir.State(p.VMs[i].Name)
		switch {
		case errors.Is(err, runs.ErrNoRun):
			o.NotBegun = append(o.NotBegun, p.VMs[i].Source.Name)
		case err != nil:
			return err
		default:
			states = append(states, s)
		}
	}
	o.Units = run.UnitsMade("", p.Network.Units)
	return addOutcomes(c, t, o, states)
}

// addOutcomes compares runs with their plans.
func addOutcomes(c *cli.Context, t terminal, o *report.Outcome, states []runs.State) error {
	for i := range states {
		one, err := outcome(c.Context, c, t, &states[i])
		if err != nil {
			return err
		}
		o.VMs = append(o.VMs, one)
	}
	return nil
}

func outcome(ctx context.Context, c *cli.Context, t terminal, s *runs.State) (*run.Outcome, error) {
	e, err := runEffects(c, t, s.Job)
	if err != nil {
		return nil, err
	}
	defer e.Close(ctx)
	return run.OutcomeOf(ctx, s, e.Effects)
}

// differing is the error for artefacts that aren't as planned.
func differing(o *report.Outcome) error {
	n := 0
	for _, a := range o.Artefacts() {
		if len(a.Differs) > 0 {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return &exitError{
		code: exitDiffers, err: fmt.Errorf("%s isn't as planned", fit.Count(n, "artefact")),
		hint: "nothing was changed; each is named above, with what differs",
	}
}
