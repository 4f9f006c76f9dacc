package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"esxodus/convert/batch"
	"esxodus/convert/cutover"
	"esxodus/convert/host"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/convert/source"
	"esxodus/convert/volume"
	"esxodus/inventory/esxi"

	"github.com/urfave/cli/v2"
)

func statusCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show the state of each migration, and what to do next",
		ArgsUsage: "[VM]",
		Description: `Reads the journals and changes nothing. It says which step each migration
reached, what went wrong, whether the volumes are there, and which commands may
follow.

With --source it asks the source's host, too, whether a VM runs there whose domain is
in its place. That is the worst that can happen: it is said first, and the exit code
is 6.`,
		Flags: slices.Concat(sourceFlags(), stateFlags(), hookFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "source", Usage: "ask the source's host whether a VM runs beside its domain"},
		}, outputFlags()),
		Action: func(c *cli.Context) error {
			args, wantJSON, dir, err := runArguments(c, 0, "at most one VM")
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return printStates(c, t, dir, wantJSON)
			}
			name, err := dir.Find(args[0])
			if err != nil {
				return err
			}
			s, err := dir.State(name)
			if err != nil {
				return err
			}
			p := newPool(c, t)
			defer p.close(c.Context)
			twice := beside(p, &s)
			return errors.Join(look(c, t, &s), printOne(t, s, wantJSON), twice)
		},
	}
}

func printStates(c *cli.Context, t terminal, dir runs.StateDir, wantJSON bool) error {
	states, err := dir.List()
	t.several = c.Bool("source") && hostsOf(states) > 1
	if err := t.mayBeSeveral(c, "esxi"); err != nil {
		return err
	}
	p := newPool(c, t)
	defer p.close(c.Context)
	for i := range states {
		err = errors.Join(err, look(c, t, &states[i]), beside(p, &states[i]))
	}
	if wantJSON {
		if states == nil {
			states = []runs.State{}
		}
		return errors.Join(printJSON(t.out, states), err)
	}
	if len(states) == 0 && err != nil { // there are some, and they can't be read
		return err
	}
	return errors.Join(report.States(t.out, t.form(t.out), states), err)
}

// beside says whether a VM runs beside its domain, which is in its place, where that is
// asked for.
func beside(p *pool, s *runs.State) error {
	if !p.c.Bool("source") || !asksSource(s) {
		return nil
	}
	e, err := p.of(s.Job)
	if err != nil {
		return err
	}
	if s.Twice, err = run.Twice(p.c.Context, e.Host, s.Job); err != nil || s.Twice == "" {
		return err
	}
	p.t.hooks.state(s, errors.New(s.Twice))
	return &exitError{
		code: exitDiffers, err: errors.New(s.Twice),
		hint: fmt.Sprintf("shut the VM down on %s (what it wrote since is lost to the domain), and see that its autostart is off there; or `esxodus cutover --back %s`", s.Host, s.Name),
	}
}

// asksSource reports whether a VM could run beside its domain.
func asksSource(s *runs.State) bool { return s.InPlace() && s.Job.Source.From == "" }

// hostsOf counts the hosts on which VMs could run beside their domains.
func hostsOf(states []runs.State) int {
	seen := make(map[string]bool)
	for i := range states {
		if asksSource(&states[i]) {
			seen[states[i].Job.Source.URL] = true
		}
	}
	return len(seen)
}

// look has a state say whether its volumes are there.
func look(c *cli.Context, t terminal, s *runs.State) error {
	return s.Look(c.Context, func(storage string) (volume.Storage, error) {
		return volume.ParseStorage(storage, host.Tool{Log: logger(c, t)})
	})
}

func resumeCmd(t terminal) *cli.Command {
	return runCmd(t, &cli.Command{
		Name:  "resume",
		Usage: "continue a migration that was killed or stopped",
		Description: `Continues at the first step that isn't done, and copies only what isn't known to
be on stable storage. The source's address is in the journal; the password isn't.
It repeats a proof that failed, with --proof boot without the network, or skips it
with --no-proof.`,
		Flags: slices.Concat(sourceFlags(), sshFlags(), liloFlags(), runFlags(), patienceFlags(), stateFlags(), hookFlags(), []cli.Flag{
			&cli.StringFlag{Name: "proof", DefaultText: "as planned", Usage: "prove only `KIND` boot, for a guest that works but doesn't answer on the proof's network"},
			&cli.BoolFlag{Name: "no-proof", Usage: "skip the boot proof, for a guest that boots but can't show it"},
		}, outputFlags()),
	}, func(ctx context.Context, j *runs.Journal, e *effects) error { return e.resume(ctx, j) })
}

func rollbackCmd(t terminal) *cli.Command {
	return severalCmd(t, &cli.Command{
		Name:  "rollback",
		Usage: "undo migrations that aren't committed",
		Description: `Undoes every step, last first: the domain is undefined, the volumes are removed,
and a VM that esxodus shut down is powered on again. Only what this migration
made is touched. It works until the commit. A rollback that was interrupted can
only be run again: the migration can't be resumed any more.

It stops if it can't look for volumes, because their file system isn't mounted or
their volume group isn't there. Bring that back and run it again; if it is gone
for good, --lost continues without them.`,
		Flags: slices.Concat(sourceFlags(), sshFlags(), severalFlags(), stateFlags(), hookFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "lost", Usage: "continue without volumes whose file system or volume group isn't there"},
		}, outputFlags()),
	}, &verb{
		name: "Roll back", did: batch.DidRollBack, bare: mayRollBack,
		act: func(ctx context.Context, j *runs.Journal, e *effects) error {
			if err := mayEnd(j, false); err != nil {
				return err
			}
			return run.Rollback(ctx, j, e.Effects)
		},
	})
}

func commitCmd(t terminal) *cli.Command {
	return severalCmd(t, &cli.Command{
		Name:  "commit",
		Usage: "accept finished migrations; no rollback after that",
		Description: `Drops what a rollback would need. The domain and its volumes stay as they are.
A commit that was interrupted can only be run again, not rolled back.
The source is not touched: remove the VM there when you no longer want it, and
remove it from ESXi's autostart before that host reboots.

Of a plan, or of --all, only those are committed whose domain is in its VM's place
("esxodus cutover").`,
		Flags: slices.Concat(severalFlags(), stateFlags(), hookFlags(), outputFlags()),
	}, &verb{
		name: "Commit", did: batch.DidCommit, bare: mayCommit, ripe: served,
		act: func(ctx context.Context, j *runs.Journal, e *effects) error {
			if err := mayEnd(j, true); err != nil {
				return err
			}
			return run.Commit(ctx, j, e.Effects)
		},
	})
}

// mayEnd says why a migration can't be committed or rolled back yet: its cutover isn't
// done, or the domain in service.
func mayEnd(j *runs.Journal, commit bool) error {
	s := j.State()
	var err error
	if s.Cutover, err = cutover.Read(j.Path("")); err != nil {
		return err
	}
	return s.NoEnd(commit)
}

// runArguments reads what the commands about runs have in common: at most one
// argument, the form of the results, and where the journals are.
func runArguments(c *cli.Context, least int, what string) (args []string, wantJSON bool, dir runs.StateDir, err error) {
	if args, err = arguments(c, least, 1, what); err != nil {
		return nil, false, "", err
	}
	if wantJSON, err = asJSON(c); err != nil {
		return nil, false, "", err
	}
	dir, err = stateDir(c)
	return args, wantJSON, dir, err
}

// runCmd completes a command that acts on the run of one VM.
func runCmd(t terminal, cmd *cli.Command, act func(context.Context, *runs.Journal, *effects) error) *cli.Command {
	cmd.ArgsUsage = "VM"
	cmd.Description += "\n\nVM is the VM's name or id, or the domain's name."
	cmd.Action = func(c *cli.Context) error {
		args, wantJSON, dir, err := runArguments(c, 1, "one VM or domain")
		if err != nil {
			return err
		}
		return actOn(c, t, dir, args[0], act, wantJSON)
	}
	return cmd
}

// actOn acts on the run of one VM, and prints how it stands then.
func actOn(c *cli.Context, t terminal, dir runs.StateDir, vm string, act func(context.Context, *runs.Journal, *effects) error, wantJSON bool) error {
	name, err := dir.Find(vm)
	if err != nil {
		return err
	}
	p := newPool(c, t)
	defer p.close(c.Context)
	err = onRun(c.Context, p, dir, name, act)
	t.hooks.run(dir, name, err)
	if errors.Is(err, runs.ErrAlready) {
		t.say("", err.Error())
		err = nil
	}
	if err != nil {
		return err
	}
	return printState(c, t, name, wantJSON)
}

// runEffects wires the effects of a run that is on record. The source, and
// with it the password, is asked for only when a step needs it.
func runEffects(c *cli.Context, t terminal, job *plan.VMJob) (*effects, error) {
	return newEffects(c, t, []origin{recordedOrigin(c, t, job.Source)}, job.Target.Storage, job.Target.Libvirt)
}

// recordedOrigin is where the VMs of a plan or journal are.
func recordedOrigin(c *cli.Context, t terminal, src plan.Source) origin {
	if src.From != "" {
		return source.Of(src.From)
	}
	return esxiOrigin(c, t, src, sync.OnceValues(func() (esxi.Config, error) { return recordedSource(c, t, src) }))
}

// recordedSource is how to reach the host of a plan or journal. The certificate
// that it was made with counts before one of govc's known hosts.
func recordedSource(c *cli.Context, t terminal, src plan.Source) (esxi.Config, error) {
	cfg, err := sourceConfig(c, t, src.URL)
	if given := c.String("thumbprint") != "" && !t.settings.fromFile("thumbprint"); !given && src.Thumbprint != "" {
		cfg.Thumbprint = src.Thumbprint
	}
	return cfg, err
}
