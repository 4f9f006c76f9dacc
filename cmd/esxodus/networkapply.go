package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/convert/host"
	"esxodus/convert/journal"
	"esxodus/convert/lxd"
	"esxodus/convert/netrun"
	"esxodus/convert/report"
	"esxodus/convert/target"
	"esxodus/inventory/fit"
	"esxodus/network/hostnet"

	"github.com/urfave/cli/v2"
)

func networkApplyCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "network apply",
		Usage:     "make the devices that the domains attach to",
		ArgsUsage: "[VM…]",
		Description: `Shows what "esxodus network plan" shows, asks, and does it: files of
systemd-networkd, devices by netlink, and, last, the drop-ins by which networkd
attaches the devices at the next boot. It looks whether every address, route and
rule is still there, and puts all back if one isn't.

Then it asks whether you can still reach this host. Log in once more to see. If
you don't say yes within --confirm-within, there or by "esxodus network confirm"
from another session, all is put back, also if this session has died.

Where an earlier apply was cut off, by a power cut say, what it did is put back
first, and all is planned anew: this command goes on from wherever that one was.`,
		Flags: slices.Concat(sourceFlags(), networkFlags(), savedFlags(), stateFlags(), libvirtFlags(), confirmFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "begin without asking; the confirmation is asked for all the same"},
		}, outputFlags()),
		Action: func(c *cli.Context) error {
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			return applyNetwork(c.Context, c, t, wantJSON)
		},
	}
}

func applyNetwork(ctx context.Context, c *cli.Context, t terminal, wantJSON bool) error {
	state, err := stateDir(c)
	if err != nil {
		return err
	}
	wait, err := within(c)
	if err != nil {
		return err
	}
	dir := netrun.Dir(state)
	if err := putBackFirst(ctx, c, t, dir); err != nil {
		return err
	}
	n, here, err := planNetwork(ctx, c, t)
	if err != nil {
		return err
	}
	if err := report.Changes(t.err, t.form(t.err), n); err != nil {
		return err
	}
	if err := blockedNetwork(n); err != nil {
		return err
	}
	if !n.Changes.Empty() {
		if err := confirm(c, t, "Change this host's networking now?"); err != nil {
			return err
		}
		job := &netrun.Job{Host: here.Name, Changes: n.Changes, Before: netrun.See(&here, &n.Changes), Within: wait}
		if err := startNetwork(ctx, c, t, dir, job); err != nil {
			return err
		}
	}
	if wantJSON {
		return printJSON(t.out, networkJSON(n))
	}
	return nil
}

// putBackFirst undoes what is left of a run that was cut off, or whose rollback was:
// what that run was planned with may have changed since, and a boot leaves none of
// the devices that it made. So it isn't gone on with: this one begins from what was
// there before it.
func putBackFirst(ctx context.Context, c *cli.Context, t terminal, dir netrun.Dir) error {
	s, ok, err := dir.Last()
	if err != nil || !ok || s.Running || s.Phase != netrun.PhaseCutOff && s.Phase != journal.PhaseUndoing {
		return errors.Join(err, unfinished(dir))
	}
	t.say("note: ", fmt.Sprintf("an earlier change of this host's networking was cut off after %d of %s (it is %s): what it did is put back first, then all is planned anew: %s", s.Done, fit.Count(s.Steps, "step"), s.Phase, s.Leavings))
	if err := confirm(c, t, "Put that back now?"); err != nil {
		return err
	}
	return takeBackRun(ctx, c, t, dir, s)
}

// takeBackRun undoes a run, and says so.
func takeBackRun(ctx context.Context, c *cli.Context, t terminal, dir netrun.Dir, s netrun.State) error {
	j, err := dir.Open(s.Run)
	if err != nil {
		return err
	}
	if err := errors.Join(takeBack(ctx, c, t, j), j.Close()); err != nil {
		return err
	}
	t.say("", "undone: "+s.Leavings)
	return nil
}

// unfinished refuses a run while another isn't done.
func unfinished(dir netrun.Dir) error {
	s, ok, err := dir.Last()
	switch {
	case err != nil:
		return err
	case ok && s.Running:
		return fmt.Errorf("this host's networking: %w", journal.ErrBusy)
	case ok && s.Phase == netrun.PhaseCutOff:
		err := fmt.Errorf("an earlier change of this host's networking was cut off after %d of %s: its process is gone, killed or with the power", s.Done, fit.Count(s.Steps, "step"))
		return &exitError{code: exitStopped, err: err, hint: "put back what it did with `esxodus network rollback`, then apply again"}
	case ok && s.Phase != netrun.PhaseApplied:
		return &exitError{code: exitStopped, err: fmt.Errorf("an earlier change of this host's networking is %s", s.Phase), hint: "take it away first with `esxodus network rollback`"}
	}
	return nil
}

// startNetwork carries changes out, watched over by a guard.
func startNetwork(ctx context.Context, c *cli.Context, t terminal, dir netrun.Dir, job *netrun.Job) (err error) {
	j, err := dir.Create(job)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if job.Within > 0 {
		err := host.Detach(j.Path("guard.log"), os.Args[0], "network", "guard", "--state", string(dir), j.Run(), strconv.Itoa(os.Getpid()))
		if err != nil {
			return fmt.Errorf("the guard that would put all back: %w", err)
		}
	}
	e := networkEffects(c, t)
	if t.interactive() {
		e.Ask = func(ctx context.Context) error { return askReached(ctx, t, job.Within) }
	} else if job.Within > 0 {
		t.say("note: ", fmt.Sprintf("log in once more when the devices are there, and say so with `esxodus network confirm` within %v; else all is put back", job.Within))
	}
	if err := netrun.Apply(ctx, j, e); err != nil {
		return networkError(err)
	}
	t.say("", "done: "+fit.Count(len(job.Changes.Steps), "step")+"; `esxodus network rollback` takes it away again")
	return nil
}

func networkEffects(c *cli.Context, t terminal) netrun.Effects {
	return netrun.Effects{
		Machine: hostnet.Machine{}, Libvirt: func(uri string) netrun.Virtuals { return &target.Libvirt{URI: uri, Log: logger(c, t)} }, Tool: host.Tool{Log: logger(c, t)},
		LXD:  lxdOf(c, t),
		Step: func(text string) { t.say("", text) }, Note: func(text string) { t.say("note: ", text) },
	}
}

func lxdOf(c *cli.Context, t terminal) lxd.Client {
	there := func(link string) bool {
		_, err := net.InterfaceByName(link)
		return err == nil
	}
	return lxd.Client{Tool: host.Tool{Log: logger(c, t)}, There: there}
}

// networkError gives what couldn't be undone its exit code.
func networkError(err error) error {
	switch {
	case errors.Is(err, netrun.ErrStopped):
		return &exitError{code: exitStopped, err: err}
	case errors.Is(err, netrun.ErrUnconfirmed):
		return &exitError{code: exitFailed, err: err}
	}
	return err
}

// askReached asks a person whether the host can be reached. One who has gone away
// may still say so from elsewhere.
func askReached(ctx context.Context, t terminal, within time.Duration) error {
	fmt.Fprintf(t.err, "Log in once more: can this host be reached? Without a yes within %v all is put back. [y/N] ", within)
	answer, err := await(ctx, func() (string, error) { return bufio.NewReader(t.in).ReadString('\n') })
	if errors.Is(err, io.EOF) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("the answer was not yes")
	}
	return nil
}

func networkConfirmCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "network confirm",
		Usage:     "say that this host can be reached",
		ArgsUsage: " ",
		Description: `Ends the time within which "esxodus network apply" would put everything back. Run
it from a session that began after the change.`,
		Flags: slices.Concat(stateFlags(), outputFlags()),
		Action: func(c *cli.Context) error {
			_, wantJSON, dir, err := networkArguments(c)
			if err != nil {
				return err
			}
			s, ok, err := dir.Last()
			if err == nil && (!ok || s.Phase != netrun.PhaseWaiting) {
				err = errors.New("no change of this host's networking waits for a confirmation: `esxodus network status` shows them")
			}
			if err != nil {
				return err
			}
			if err := dir.Confirm(s.Run); err != nil || !wantJSON {
				return err
			}
			return printRuns(t, dir)
		},
	}
}

func networkRollbackCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "network rollback",
		Usage:     "undo the last network apply",
		ArgsUsage: " ",
		Description: `Puts every file back as it was, byte for byte, and removes the devices that were
made, also after a reboot. It refuses while a domain has such a device, running or
not, and where somebody has changed a file since: it then says what to do. Run it again to undo
what was applied before that.

systemd-networkd isn't told: it forgets the devices at the next boot.`,
		Flags: slices.Concat(libvirtFlags(), stateFlags(), outputFlags()),
		Action: func(c *cli.Context) (err error) {
			_, wantJSON, dir, err := networkArguments(c)
			if err != nil {
				return err
			}
			s, ok, err := dir.Last()
			if err == nil && !ok {
				t.say("", "esxodus has changed nothing of this host's networking, or undone it")
			}
			if err == nil && ok {
				err = takeBackRun(c.Context, c, t, dir, s)
			}
			if err != nil || !wantJSON {
				return err
			}
			return printRuns(t, dir)
		},
	}
}

// takeBack undoes a run, unless domains need what it made.
func takeBack(ctx context.Context, c *cli.Context, t terminal, j *netrun.Journal) error {
	virt := &target.Libvirt{URI: c.String("libvirt"), Log: logger(c, t)}
	defer func() { _ = virt.Close() }() // it was only asked
	if err := unneeded(ctx, virt, j.Job(), t); err != nil {
		return err
	}
	if err := netrun.Rollback(ctx, j, networkEffects(c, t)); err != nil {
		return &exitError{code: exitStopped, err: err}
	}
	return nil
}

// networkGuardCmd is what apply starts for itself.
func networkGuardCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "network guard",
		Hidden:    true,
		Usage:     "watch over a network apply; it starts this itself",
		ArgsUsage: "RUN PID",
		Flags:     stateFlags(),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 2, 2, "a run and a process")
			if err != nil {
				return err
			}
			pid, err := strconv.Atoi(args[1])
			if err != nil {
				return usageErr(err)
			}
			var worker *os.Process
			if pid == os.Getppid() {
				if worker, err = os.FindProcess(pid); err != nil {
					return err
				}
			}
			dir, err := stateDir(c)
			if err != nil {
				return err
			}
			return netrun.Dir(dir).Guard(c.Context, args[0], worker, networkEffects(c, t))
		},
	}
}
