package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"esxodus/convert/batch"
	"esxodus/convert/cutover"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/runs"
	"esxodus/inventory/fit"

	"github.com/urfave/cli/v2"
)

func batchCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "batch",
		Usage:     "migrate the VMs of a saved plan, two at a time",
		ArgsUsage: "PLAN",
		Description: `Carries out a plan that "esxodus plan -o" saved. It asks once, after it has
shown a line for each VM and what stands in its way; --full shows every VM in
detail.

Each VM has its own journal. One that fails doesn't stop the others, and the
exit code is then 3. A second run does only what is left: it skips what is
finished, resumes what was stopped, and retries what failed.

VMs are begun in the plan's order, wave by wave; with --cutover each domain takes its
VM's place when it is ready, in the order and with the delays of the source's
autostart. Ctrl-C begins nothing more, stops copies where they are and finishes other
steps; a second one undoes what is half done.

With --detach it goes on as a unit of systemd once you have confirmed, and says how to
follow and stop it; the end of this session, or of the link, ends nothing then.

Where addresses were edited in the plan, the VM's disks are read again, its part is
planned anew with those (--packages as for plan), and shown in full before it asks.`,
		Flags: slices.Concat(sourceFlags(), sshFlags(), guestFlags(), runFlags(), patienceFlags(), stateFlags(), networkFirstFlags(), cutoverFlags(), hookFlags(), []cli.Flag{
			&cli.IntFlag{Name: "parallel", Value: 2, Usage: "migrate `N` VMs at a time"},
			&cli.IntFlag{Name: "per-host", Usage: "migrate at most `N` VMs of one ESXi host at a time (default: no other limit than --parallel)"},
			&cli.BoolFlag{Name: "cutover", Usage: "put each domain in its VM's place as soon as it is migrated and its turn has come, as `esxodus cutover` does"},
			failOnFlag(),
			&cli.StringFlag{Name: "until", Usage: "begin no VM that wouldn't be done by `TIME`: 06:00, or 2026-12-24T06:00"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask"},
		}, detachFlags(), fullFlags(), outputFlags()),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1, "one plan file")
			if err != nil {
				return err
			}
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			p, err := loadPlan(c.Context, args[0])
			if err != nil {
				return err
			}
			return runBatch(c.Context, c, t, p, args[0], wantJSON)
		},
	}
}

func runBatch(ctx context.Context, c *cli.Context, t terminal, p *plan.Plan, file string, wantJSON bool) (err error) {
	if err := mayBatch(ctx, c, p); err != nil {
		return err
	}
	dir, err := stateDir(c)
	if err != nil {
		return err
	}
	t.several = len(p.More) > 0
	if err := t.mayBeSeveral(c, "esxi"); err != nil {
		return err
	}
	var from []origin
	for _, s := range p.Sources() {
		from = append(from, recordedOrigin(c, t, s))
	}
	e, err := newEffects(c, t, from, p.Target.Storage, p.Target.Libvirt)
	if err != nil {
		return err
	}
	defer e.Close(ctx)
	if err := readdress(ctx, c, t, p, dir, e); err != nil {
		return err
	}
	if err := printPlan(c, t, t.err, p, report.Ask{}); err != nil {
		return err
	}
	first, err := networkFirst(ctx, c, t, p, file)
	if err != nil {
		return err
	}
	if err := confirm(c, t, "Convert "+fit.Count(len(p.VMs), "VM")+" now?"); err != nil {
		return err
	}
	if err := e.ready(); err != nil { // the password is asked for before anything is done
		return err
	}
	if err := errors.Join(e.onThisMachine(ctx), e.answers(ctx)); err != nil {
		return err
	}
	if err := applyFirst(ctx, c, t, first); err != nil {
		return err
	}
	if c.Bool("detach") {
		return detachBatch(ctx, c, t, p, dir, e, wantJSON)
	}
	results, err := carryOut(ctx, c, t, p, dir, e)
	if err != nil {
		return err
	}
	if wantJSON {
		for i := range results {
			results[i].Error, results[i].Advice = t.advice.complete(results[i].Error), t.advice.complete(results[i].Advice)
		}
		err = printJSON(t.out, results)
	} else {
		err = report.Results(t.out, t.form(t.out), results)
	}
	return errors.Join(err, batchError(ctx, results))
}

// carryOut runs a batch, and shows and tells how it goes.
func carryOut(ctx context.Context, c *cli.Context, t terminal, p *plan.Plan, dir runs.StateDir, e *effects) ([]batch.Result, error) {
	o, err := batchOptions(c, t, p, dir, e)
	if err != nil {
		return nil, err
	}
	show := t.boards(p, e)
	o.Told = func(r batch.Result) {
		show.told(r)
		t.hooks.result(dir, r)
	}
	t.hooks.batch(nil, len(p.VMs))
	results := batch.Run(ctx, p, dir, e.Effects, o)
	show.end()
	t.hooks.batch(results, len(p.VMs))
	return results, nil
}

// mayBatch says what of the command line or the plan keeps a batch from being begun.
func mayBatch(ctx context.Context, c *cli.Context, p *plan.Plan) error {
	if err := errors.Join(mayRunAtOnce(c), mayCutOver(c), chosen(c, "fail-on"), failOn(c, p), canDetach(c)); err != nil {
		return err
	}
	return refuseOther(ctx, p.Target.Libvirt)
}

// mayRunAtOnce says what is wrong with --parallel.
func mayRunAtOnce(c *cli.Context) error {
	if n := c.Int("parallel"); n < 1 || n > 16 {
		return usagef("--parallel %d: want 1 to 16", n)
	}
	if n := c.Int("per-host"); c.IsSet("per-host") && (n < 1 || n > 16) {
		return usagef("--per-host %d: want 1 to 16", n)
	}
	return nil
}

// batchError is the error that gives a batch its exit code.
func batchError(ctx context.Context, results []batch.Result) error {
	failed, left := 0, false
	for _, r := range results {
		if r.Error != "" {
			failed++
		}
		left = left || r.Phase == journal.PhaseUnfinished || r.Phase == journal.PhaseUndoing
	}
	switch {
	case ctx.Err() != nil && !left: // changes are undone
		return context.Cause(ctx)
	case failed > 0:
		return &exitError{
			code: exitSome, err: fmt.Errorf("%d of %s failed", failed, fit.Count(len(results), "VM")),
			hint: "run the same command again for what is left (with a new plan where an error says to plan again); `esxodus status` shows the state of each",
		}
	}
	return nil
}

// batchOptions reads how the batch is to go about its plan.
func batchOptions(c *cli.Context, t terminal, p *plan.Plan, dir runs.StateDir, e *effects) (batch.Options, error) {
	o := batch.Options{Parallel: c.Int("parallel"), PerHost: c.Int("per-host"), Hosts: e.hosts(), Stop: t.interrupts.gently(func() {
		t.say("esxodus: ", "asked to stop: no VM is begun any more, copies stop where they are, other steps are finished; Ctrl-C again undoes what is half done")
	})}
	e.Stop = o.Stop
	var err error
	if o.Until, err = until(c.String("until"), time.Now()); err != nil {
		return o, err
	}
	if c.Bool("cutover") {
		o.Cutover = func(ctx context.Context, name string) error { return cutNow(ctx, c, dir, name, e.of(fromOf(p, name))) }
	}
	return o, nil
}

// fromOf is the number of the source of the VM that is to be the domain of a name.
func fromOf(p *plan.Plan, name string) int {
	i := slices.IndexFunc(p.VMs, func(v plan.VMPlan) bool { return v.Name == name })
	return p.VMs[max(i, 0)].From
}

// cutNow puts a domain in its VM's place, if it isn't there yet, and asks nobody.
func cutNow(ctx context.Context, c *cli.Context, dir runs.StateDir, name string, e *effects) (err error) {
	j, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	err = cutOver(ctx, c, dir, j, e, func(*cutover.Job) error { return nil })
	if errors.Is(err, runs.ErrAlready) {
		return nil
	}
	return err
}

// until reads a time of day, which is the next one of that name, or a date with one.
func until(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.ParseInLocation("15:04", text, now.Location()); err == nil {
		at = time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), 0, 0, now.Location())
		if !at.After(now) {
			at = at.AddDate(0, 0, 1)
		}
		return at, nil
	}
	at, err := time.ParseInLocation("2006-01-02T15:04", text, now.Location())
	if err != nil {
		return at, usagef("--until %s: want a time of day, 06:00, or one with a date, 2026-12-24T06:00", text)
	}
	if !at.After(now) {
		return at, usagef("--until %s: that has passed", text)
	}
	return at, nil
}
