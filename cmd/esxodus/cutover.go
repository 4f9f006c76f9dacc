package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"esxodus/convert/cutover"
	"esxodus/convert/report"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/inventory"

	"github.com/urfave/cli/v2"
)

func cutoverCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "cutover",
		Usage:     "put a domain in its VM's place, and see it answer",
		ArgsUsage: "VM",
		Description: `Shows its steps, asks, and carries them out: it checks that the source is off and
unchanged since it was copied and that nobody has its addresses, takes the VM out
of its host's autostart, starts the domain, and asks on the real network whether
it is there. Where it isn't within --within, all of that is taken back: the domain
is stopped, and the source is as it was, powered on where the migration shut it
down. "esxodus help cutover" says what is asked, and how.

One that was killed is gone on with by the same command. "esxodus commit VM"
accepts it; "esxodus cutover --back VM" takes it back, "esxodus rollback VM" the
migration, too.

VM is the VM's name or id, or the domain's name.`,
		Flags: slices.Concat(sourceFlags(), sshFlags(), cutoverFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "back", Usage: "take a cutover back: stop the domain, and put the source as it was"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask"},
		}, stateFlags(), outputFlags()),
		Action: func(c *cli.Context) error {
			args, wantJSON, dir, err := runArguments(c, 1, "one VM or domain")
			if err != nil {
				return err
			}
			name, err := dir.Find(args[0])
			if err != nil {
				return err
			}
			err = onRun(c.Context, c, t, dir, name, func(ctx context.Context, j *runs.Journal, e *effects) error {
				if c.Bool("back") {
					return cutBack(ctx, c, t, dir, j, e)
				}
				return cutOver(ctx, c, dir, j, e, askCutover(c, t))
			})
			if errors.Is(err, runs.ErrAlready) {
				t.say("", err.Error())
				err = nil
			}
			if err != nil {
				return err
			}
			return printState(c, t, name, wantJSON)
		},
	}
}

// cutoverFlags say how a cutover goes.
func cutoverFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "within", DefaultText: "10m, without KVM 20m", Usage: "take all back where the guest isn't there within `DURATION`"},
		&cli.StringSliceFlag{Name: "port", DefaultText: "those of --proof-port", Usage: "want TCP port `N` to take a connection at each address, where this host reaches the guest (repeatable)"},
		&cli.StringFlag{Name: "autostart", Value: "auto", Usage: "change the source's autostart by `WAY` api, ssh or auto (what its licence allows)"},
	}
}

// cutOver begins the cutover of a finished migration, where ask lets it, or goes on with
// one that was begun.
func cutOver(ctx context.Context, c *cli.Context, dir runs.StateDir, j *runs.Journal, e *effects, ask func(*cutover.Job) error) error {
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
		own, err = newCutover(ctx, c, dir, j, e, ask)
	}
	if err != nil {
		return err
	}
	return errors.Join(run.CutOver(ctx, own, j, e.Effects), own.Close())
}

// newCutover plans a cutover and starts its journal.
func newCutover(ctx context.Context, c *cli.Context, dir runs.StateDir, j *runs.Journal, e *effects, ask func(*cutover.Job) error) (*cutover.Journal, error) {
	job, err := planCutover(ctx, c, j, e)
	if err != nil {
		return nil, err
	}
	if err := ask(job); err != nil {
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

// planCutover asks the source's host what it takes.
func planCutover(ctx context.Context, c *cli.Context, j *runs.Journal, e *effects) (*cutover.Job, error) {
	f := cutover.Facts{Job: j.Job(), Run: j.Run(), ShutDown: j.ShutDown(), Within: c.Duration("within"), Systemd: hasSystemd()}
	switch way := c.String("autostart"); way {
	case "auto", "":
	case string(inventory.ViaAPI), string(inventory.ViaSSH):
		f.Via = inventory.Via(way)
	default:
		return nil, usagef("--autostart %q: want api, ssh or auto", way)
	}
	if c.IsSet("within") && (f.Within < time.Second || f.Within > 24*time.Hour) {
		return nil, usagef("--within %v: want 1s to 24h", f.Within)
	}
	ports, err := tcpPorts(c, "port")
	if err != nil {
		return nil, err
	}
	f.Ports = ports
	if f.Job.Source.From == "" {
		if f.Host, err = e.Host.Inventory(ctx); err != nil {
			return nil, err
		}
	}
	return cutover.New(f)
}

// cutBack takes a cutover back. It asks where the domain is in service.
func cutBack(ctx context.Context, c *cli.Context, t terminal, dir runs.StateDir, j *runs.Journal, e *effects) error {
	s, err := dir.State(j.Job().VM.Name)
	if err != nil {
		return err
	}
	if !s.CutOver() {
		return fmt.Errorf("%s: there is no cutover to take back: %w", s.Name, runs.ErrAlready)
	}
	if s.Cutover.Phase == cutover.PhaseDone {
		if err := confirm(c, t, fmt.Sprintf("Stop %s, which is in the place of %q since %s?", s.Name, s.VM, s.Cutover.Started.Local().Format(time.DateTime))); err != nil {
			return err
		}
	}
	own, err := cutover.Open(dir.Dir(s.Name))
	if err != nil {
		return err
	}
	return errors.Join(run.CutBack(ctx, own, j, e.Effects), own.Close())
}

// hasSystemd reports whether systemd runs on this host (sd_booted(3)).
func hasSystemd() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}
