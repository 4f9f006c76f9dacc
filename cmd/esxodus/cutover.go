package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"esxodus/convert/batch"
	"esxodus/convert/cutover"
	"esxodus/convert/journal"
	"esxodus/convert/report"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/inventory"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
)

func cutoverCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "cutover",
		Usage:     "put domains in their VMs' place, and see them answer",
		ArgsUsage: severalUsage,
		Description: `Shows its steps, asks, and carries them out: it checks that the source is off and
unchanged since it was copied and that nobody has its addresses, takes the VM out
of its host's autostart, starts the domain, and asks on the real network whether
it is there. Where it isn't within --within, all of that is taken back: the domain
is stopped, and the source is as it was, powered on where the migration shut it
down. "esxodus help cutover" says what is asked, and how.

One that was killed is gone on with by the same command. "esxodus commit VM"
accepts it; "esxodus cutover --back VM" takes it back, "esxodus rollback VM" the
migration, too.

Several take their place in the order of the plan, or of each source's autostart, and
with its delays; those that wait for no other start --parallel at a time. With --back
the last stops first.` + severalHelp,
		Flags: slices.Concat(sourceFlags(), sshFlags(), cutoverFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "back", Usage: "take a cutover back: stop the domain, and put the source as it was"},
			&cli.IntFlag{Name: "parallel", Value: 2, Usage: "of those that wait for no other, start `N` domains at a time"},
		}, severalFlags(), fullFlags(), stateFlags(), hookFlags(), outputFlags()),
		Action: func(c *cli.Context) error {
			args, wantJSON, dir, err := severalArguments(c)
			if err != nil {
				return err
			}
			if err := errors.Join(mayRunAtOnce(c), mayCutOver(c)); err != nil {
				return err
			}
			if isSeveral(c, args) {
				return cutSeveral(c, t, dir, args, wantJSON)
			}
			return actOn(c, t, dir, args[0], func(ctx context.Context, j *runs.Journal, e *effects) error {
				if c.Bool("back") {
					return cutBack(ctx, dir, j, e, askBack(c, t))
				}
				return cutOver(ctx, c, dir, j, e, askCutover(c, t))
			}, wantJSON)
		},
	}
}

// cutSeveral puts the domains of several migrations in their VMs' place, or takes that
// back.
func cutSeveral(c *cli.Context, t terminal, dir runs.StateDir, args []string, wantJSON bool) error {
	g, err := gather(c, dir, args)
	if err != nil {
		return err
	}
	if c.Bool("back") {
		return severally(c, t, dir, g, &verb{
			name: "Take back the cutover of", did: batch.DidCutBack, last: true, asks: true, bare: mayCutBack,
			act: func(ctx context.Context, j *runs.Journal, e *effects) error {
				return cutBack(ctx, dir, j, e, func(*runs.State) error { return nil })
			},
		}, wantJSON)
	}
	t.several = g.hosts() > 1
	if err := t.mayBeSeveral(c, "esxi"); err != nil {
		return err
	}
	p := newPool(c, t)
	defer p.close(c.Context)
	jobs, err := g.cutovers(c, p)
	if err != nil {
		return err
	}
	g.leaveAwaiting(dir)
	v := &verb{name: "Start the domain in the VM's place of", asks: true}
	if err := g.showCutovers(c, t, jobs); err != nil {
		return err
	}
	if err := g.ask(c, t, v); err != nil {
		return err
	}
	o := batch.Options{Parallel: c.Int("parallel"), Stop: t.interrupts.gently(func() {
		t.say("esxodus: ", "asked to stop: no cutover is begun any more, those at work are finished; Ctrl-C again takes back what is half done")
	})}
	o.Told = func(r batch.Result) { t.hooks.result(dir, r) }
	o.Cutover = func(ctx context.Context, name string) error {
		return onRun(ctx, p, dir, name, func(ctx context.Context, j *runs.Journal, e *effects) error {
			return carryOver(ctx, dir, j, e, func(*runs.State) (*cutover.Job, error) { return jobs[name], nil })
		})
	}
	return g.told(c, t, batch.CutOver(c.Context, g.plan(), dir, o), wantJSON)
}

// mayCutBack says why there is no cutover to take back.
func mayCutBack(s *runs.State) error {
	switch {
	case s.Ended() || s.Phase == journal.PhaseCommitting:
		return fmt.Errorf("%s is %s: nothing is left to take back", s.Name, s.Phase)
	case !s.CutOver():
		return runs.ErrAlready
	}
	return nil
}

// cutovers plans the cutover of each run that has none yet, and leaves out those that
// can't have one.
func (g *selection) cutovers(c *cli.Context, p *pool) (map[string]*cutover.Job, error) {
	g.sift(&verb{bare: func(s *runs.State) error { return s.NoCutover() }})
	jobs := make(map[string]*cutover.Job)
	for _, name := range g.names() {
		s := g.states[name]
		if s.CutOver() {
			continue // it is gone on with
		}
		e, err := p.of(s.Job)
		if err == nil {
			jobs[name], err = planCutover(c.Context, c, s, p.facts(e))
			if h := p.hosts[e]; h != nil && c.Bool("all") {
				g.delay(name, h.AutoStart.StartDelay)
			}
		}
		var usage *exitError
		switch {
		case errors.As(err, &usage) && usage.code == exitUsage:
			return nil, err
		case err != nil:
			g.leave(name, batch.Result{Name: name, VM: s.VM, Did: batch.DidLeave, Phase: s.Phase, Error: redact.Text(err.Error())})
		}
	}
	return jobs, nil
}

// showCutovers shows what each cutover takes: the steps of a few, and a line of each of
// many.
func (g *selection) showCutovers(c *cli.Context, t terminal, jobs map[string]*cutover.Job) error {
	const few = 3
	if len(jobs) > few && !c.Bool("full") {
		return report.Cutovers(t.err, t.form(t.err), g.waves, jobs)
	}
	for _, name := range g.names() {
		if jobs[name] == nil {
			continue
		}
		if err := report.Cutover(t.err, t.form(t.err), jobs[name]); err != nil {
			return err
		}
	}
	return nil
}

// cutoverFlags say how a cutover goes.
func cutoverFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "within", DefaultText: "10m, without KVM 20m", Usage: "take all back where the guest isn't there within `DURATION`"},
		&cli.StringSliceFlag{Name: "port", DefaultText: "those of --proof-port", Usage: "want TCP port `N` to take a connection at each address, where this host reaches the guest (repeatable)"},
		&cli.BoolFlag{Name: "silent", Usage: "don't want to hear NICs of which no address is known"},
		&cli.StringFlag{Name: "autostart", Value: "auto", Usage: "change the source's autostart by `WAY` api, ssh or auto (what its licence allows)"},
	}
}

// cutOver plans the cutover of a finished migration and begins it, where ask lets it, or
// goes on with one that was begun.
func cutOver(ctx context.Context, c *cli.Context, dir runs.StateDir, j *runs.Journal, e *effects, ask func(*cutover.Job) error) error {
	return carryOver(ctx, dir, j, e, func(s *runs.State) (*cutover.Job, error) {
		job, err := planCutover(ctx, c, s, e.Host.Inventory)
		if err != nil {
			return nil, err
		}
		return job, ask(job)
	})
}

// carryOver begins a cutover that is planned by then, or goes on with one that was begun.
func carryOver(ctx context.Context, dir runs.StateDir, j *runs.Journal, e *effects, planned func(*runs.State) (*cutover.Job, error)) error {
	s, err := dir.State(j.Job().VM.Name)
	if err == nil {
		err = s.NoCutover()
	}
	if err != nil {
		return err
	}
	var own *cutover.Journal
	if s.CutOver() {
		own, err = cutover.Open(dir.Dir(s.Name))
	} else {
		own, err = newCutover(dir, &s, planned)
	}
	if err != nil {
		return err
	}
	return errors.Join(run.CutOver(ctx, own, j, e.Effects), own.Close())
}

// newCutover starts the journal of a cutover.
func newCutover(dir runs.StateDir, s *runs.State, planned func(*runs.State) (*cutover.Job, error)) (*cutover.Journal, error) {
	job, err := planned(s)
	if err != nil {
		return nil, err
	}
	return cutover.Create(dir.Dir(job.Name), job)
}

// askCutover shows a cutover's steps and asks.
func askCutover(c *cli.Context, t terminal) func(*cutover.Job) error {
	return func(job *cutover.Job) error {
		if err := report.Cutover(t.err, t.form(t.err), job); err != nil {
			return err
		}
		return confirm(c, t, fmt.Sprintf("Start %s in the place of %q now?", job.Name, job.VM))
	}
}

// cutoverFacts is what the command line says of a cutover.
func cutoverFacts(c *cli.Context) (cutover.Facts, error) {
	f := cutover.Facts{Within: c.Duration("within"), Silent: c.Bool("silent"), Systemd: hasSystemd()}
	switch way := c.String("autostart"); way {
	case "auto", "":
	case string(inventory.ViaAPI), string(inventory.ViaSSH):
		f.Via = inventory.Via(way)
	default:
		return f, usagef("--autostart %q: want api, ssh or auto", way)
	}
	if c.IsSet("within") && (f.Within < time.Second || f.Within > 24*time.Hour) {
		return f, usagef("--within %v: want 1s to 24h", f.Within)
	}
	var err error
	f.Ports, err = tcpPorts(c, "port")
	return f, err
}

// mayCutOver says what is wrong with the flags of a cutover.
func mayCutOver(c *cli.Context) error {
	_, err := cutoverFacts(c)
	return err
}

// planCutover plans the cutover of a run; host says how its source's host is now.
func planCutover(ctx context.Context, c *cli.Context, s *runs.State, host func(context.Context) (*inventory.Host, error)) (*cutover.Job, error) {
	f, err := cutoverFacts(c)
	if err != nil {
		return nil, err
	}
	f.Job, f.Run, f.ShutDown = s.Job, s.Run, s.ShutDown()
	if f.Job.Source.From == "" {
		if f.Host, err = host(ctx); err != nil {
			return nil, err
		}
	}
	return cutover.New(f)
}

// cutBack takes a cutover back. It asks where the domain is in service.
func cutBack(ctx context.Context, dir runs.StateDir, j *runs.Journal, e *effects, ask func(*runs.State) error) error {
	s, err := dir.State(j.Job().VM.Name)
	if err != nil {
		return err
	}
	if !s.CutOver() {
		return fmt.Errorf("%s: there is no cutover to take back: %w", s.Name, runs.ErrAlready)
	}
	if err := ask(&s); err != nil {
		return err
	}
	own, err := cutover.Open(dir.Dir(s.Name))
	if err != nil {
		return err
	}
	return errors.Join(run.CutBack(ctx, own, j, e.Effects), own.Close())
}

// askBack asks before a domain is stopped that is in service.
func askBack(c *cli.Context, t terminal) func(*runs.State) error {
	return func(s *runs.State) error {
		if !s.InPlace() {
			return nil
		}
		return confirm(c, t, fmt.Sprintf("Stop %s, which is in the place of %q since %s?", s.Name, s.VM, s.Cutover.Started.Local().Format(time.DateTime)))
	}
}

// hasSystemd reports whether systemd runs on this host (sd_booted(3)).
func hasSystemd() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}
