package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"esxodus/convert/cutover"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/convert/virt"

	"github.com/urfave/cli/v2"
)

func convertCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "migrate one VM to a persistent libvirt domain",
		ArgsUsage: "VM",
		Description: `Plans, shows the whole plan, asks, and carries it out. It makes the volumes,
copies the disks into their new layout (--layout) and reads them
back. Where the layout changes it converts the guest in an isolated appliance.
It defines the domain, and boots a copy of it that changes nothing, to see it
come up. It doesn't start the domain: "esxodus cutover VM" does, in the VM's place, and
so does --cutover, at once. Then "esxodus commit VM" accepts it, or "esxodus rollback VM" removes it.

A VM that is powered on is refused: shut it down, or give --shutdown.
Ctrl-C undoes what was done. After a crash or a lost link: "esxodus resume VM".

  esxodus convert --esxi https://root@esx1 --storage lvm:vg0 --uplink vmnic0=eno1 web1`,
		Flags: slices.Concat(sourceFlags(), fromFlags(), wayFlags(), sshFlags(), targetFlags(), guestFlags(), libvirtFlags(), runFlags(), patienceFlags(), stateFlags(), networkFirstFlags(), cutoverFlags(), hookFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "cutover", Usage: "then put the domain in its VM's place, as `esxodus cutover` does"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask"},
		}, fullFlags(), outputFlags()),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1, "one VM, by name or id")
			if err != nil {
				return err
			}
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			return convertOne(c.Context, c, t, args, wantJSON)
		},
	}
}

func convertOne(ctx context.Context, c *cli.Context, t terminal, args []string, wantJSON bool) (err error) {
	if err := mayCutOver(c); err != nil {
		return err
	}
	p, e, err := makePlan(ctx, c, t, args)
	if err != nil {
		return err
	}
	defer e.Close(ctx)
	dir, err := stateDir(c)
	if err != nil {
		return err
	}
	if err := dir.Busy(p.VMs[0].Name); err != nil {
		return err // whose volumes would be taken for somebody else's
	}
	if err := printPlan(c, t, t.err, p, report.Ask{Named: true}); err != nil {
		return err
	}
	if err := savePlan(c, p); err != nil {
		return err
	}
	if err := refuse(p, 0); err != nil {
		return err
	}
	first, err := networkFirst(ctx, c, t, p, "")
	if err != nil {
		return err
	}
	if err := e.answers(ctx); err != nil {
		return err
	}
	if err := showNext(ctx, c, t, p.Job(0), e); err != nil {
		return err
	}
	if err := confirm(c, t, fmt.Sprintf("Convert %q now?", p.VMs[0].Source.Name)); err != nil {
		return err
	}
	if err := applyFirst(ctx, c, t, first); err != nil {
		return err
	}
	err = start(ctx, dir, p.Job(0), e)
	t.hooks.run(dir, p.VMs[0].Name, err)
	if err != nil {
		return err
	}
	if c.Bool("cutover") {
		err := cutNow(ctx, c, dir, p.VMs[0].Name, e)
		t.hooks.run(dir, p.VMs[0].Name, err)
		if err != nil {
			return err
		}
	}
	return printState(c, t, p.VMs[0].Name, wantJSON)
}

// showNext shows the cutover that is to follow a migration, if one is.
func showNext(ctx context.Context, c *cli.Context, t terminal, job *plan.VMJob, e *effects) error {
	if !c.Bool("cutover") {
		return nil
	}
	f, err := cutoverFacts(c)
	if err != nil {
		return err
	}
	f.Job, f.ShutDown = job, job.VM.ShutsDownBy()
	if job.Source.From == "" {
		if f.Host, err = e.Host.Inventory(ctx); err != nil {
			return err
		}
	}
	next, err := cutover.New(f)
	if err != nil {
		return err
	}
	return report.Cutover(t.err, t.form(t.err), next)
}

// start begins a run and carries it out.
func start(ctx context.Context, dir runs.StateDir, job *plan.VMJob, e *effects) (err error) {
	j, err := dir.Create(job, journal.NewRun())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	return waysOn(run.Apply(ctx, j, e.Effects), j)
}

// waysOn adds to the error of a run that stopped what can be done with it.
func waysOn(err error, j *runs.Journal) error {
	if !errors.Is(err, run.ErrStopped) {
		return err
	}
	hint := "use " + j.State().Ways()
	if failed, unproven := errors.AsType[*virt.ProofError](err); unproven && failed.Silent {
		hint += fmt.Sprintf("; for a guest that works but doesn't answer on the proof's network: `esxodus resume --proof boot %s`", j.State().Name)
	} else if unproven {
		hint += fmt.Sprintf("; for a guest that boots but can't show it: `esxodus resume --no-proof %s`", j.State().Name)
	}
	return withHint(err, hint)
}

// refuse turns a VM's blockers into the preflight error.
func refuse(p *plan.Plan, i int) error {
	blockers := p.Blockers(i)
	if len(blockers) == 0 {
		return nil
	}
	lines := make([]string, len(blockers))
	for k, b := range blockers {
		lines[k] = fmt.Sprintf("%s: %s", b.ID, b.Evidence)
	}
	return &exitError{
		code: exitPreflight,
		err:  fmt.Errorf("%q can't be converted as it is: %s", p.VMs[i].Source.Name, strings.Join(lines, "; ")),
		hint: blockers[0].Advice,
	}
}

// confirm asks a person, unless --yes is given.
func confirm(c *cli.Context, t terminal, question string) error {
	if c.Bool("yes") {
		return nil
	}
	if !t.interactive() {
		return &exitError{code: exitUsage, err: errors.New("can't ask: this is not a terminal"), hint: "give --yes to go on without being asked"}
	}
	fmt.Fprintf(t.err, "%s [y/N] ", question)
	answer, err := await(c.Context, func() (string, error) { return bufio.NewReader(t.in).ReadString('\n') })
	switch {
	case errors.Is(err, io.EOF):
		fmt.Fprintln(t.err)
		return &exitError{code: exitFailed, err: errors.New("no answer; nothing was changed")}
	case err != nil:
		fmt.Fprintln(t.err)
		return fmt.Errorf("no answer; nothing was changed: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return &exitError{code: exitFailed, err: errors.New("not confirmed; nothing was changed")}
	}
	return nil
}

// printState prints how a run stands after a command.
func printState(c *cli.Context, t terminal, name string, wantJSON bool) error {
	dir, err := stateDir(c)
	if err != nil {
		return err
	}
	s, err := dir.State(name)
	if err != nil {
		return err
	}
	return printOne(t, s, wantJSON)
}

func printOne(t terminal, s runs.State, wantJSON bool) error {
	if wantJSON {
		return printJSON(t.out, s)
	}
	return report.States(t.out, t.form(t.out), []runs.State{s})
}
