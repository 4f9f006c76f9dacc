package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"esxodus/convert/netrun"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/target"
	"esxodus/convert/virt"
	"esxodus/inventory/fit"
	"esxodus/network"
	"esxodus/network/hostnet"

	"github.com/urfave/cli/v2"
)

// networkFirstFlags have a migration make its devices before anything else.
func networkFirstFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.BoolFlag{Name: "apply-network", Usage: "first make the devices that the domains attach to, as `esxodus network apply` does"},
	}, confirmFlags()...)
}

// confirmFlags say how long a change of this host's networking waits for a word.
func confirmFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "confirm-within", Value: time.Minute, Usage: "put this host's networking back unless you confirm within `DURATION` (60s, 5m); 0 doesn't ask"},
	}
}

// within is what confirmFlags say.
func within(c *cli.Context) (time.Duration, error) {
	d := c.Duration("confirm-within")
	if d < 0 || d > netrun.LongestWithin {
		return 0, usagef("--confirm-within %v: want a time such as 60s, at most 24h, or 0", d)
	}
	return d, nil
}

// lackOf returns the devices of a plan that won't be there after the next boot, and
// what makes them. It returns none where this host doesn't say what it makes.
func lackOf(ctx context.Context, c *cli.Context, t terminal, p *plan.Plan) ([]string, report.Network, network.Host, error) {
	here, err := hostnet.Machine{}.Read(ctx)
	if err != nil {
		return nil, report.Network{}, here, nil //nolint:nilerr // as said
	}
	here.Virtuals = lent(ctx, &target.Libvirt{URI: p.Target.Libvirt, Log: logger(c, t)}, &p.Network)
	gone := here.Fleeting(&p.Network)
	if len(gone) == 0 {
		return nil, report.Network{}, here, nil
	}
	changes, err := here.Changes(p.Network)
	return gone, report.Network{Host: here.Name, Attachments: p.Network.Attachments, Changes: changes}, here, err
}

// showNetworkFirst is the dry run's part about this host's networking.
func showNetworkFirst(ctx context.Context, c *cli.Context, t terminal, w io.Writer, p *plan.Plan) error {
	if !c.Bool("apply-network") {
		return nil
	}
	gone, n, _, err := lackOf(ctx, c, t, p)
	if err != nil || len(gone) == 0 {
		return err
	}
	return printNetworkFirst(t, w, n)
}

func printNetworkFirst(t terminal, w io.Writer, n report.Network) error {
	if _, err := fmt.Fprint(w, "\nBefore anything else, this host's networking:\n\n"); err != nil {
		return err
	}
	return report.Changes(w, t.form(w), n)
}

// networkFirst shows what is to be done of this host's networking before a plan's
// domains can be defined: nil for nothing. Without --apply-network it refuses a
// plan with devices that won't be there after the next boot: its domains wouldn't
// start then. saved is the plan's file, "" for none.
func networkFirst(ctx context.Context, c *cli.Context, t terminal, p *plan.Plan, saved string) (*netrun.Job, error) {
	gone, n, here, err := lackOf(ctx, c, t, p)
	if err != nil || len(gone) == 0 {
		return nil, err
	}
	if !c.Bool("apply-network") {
		return nil, lacking(gone, saved)
	}
	wait, err := within(c)
	if err != nil {
		return nil, err
	}
	dir, err := stateDir(c)
	if err == nil {
		err = unfinished(netrun.Dir(dir))
	}
	if err != nil {
		return nil, err
	}
	if err := printNetworkFirst(t, t.err, n); err != nil {
		return nil, err
	}
	if err := blockedNetwork(n); err != nil {
		return nil, err
	}
	return &netrun.Job{Host: here.Name, Changes: n.Changes, Before: netrun.See(&here, &n.Changes), Within: wait}, nil
}

// lacking is the error of a plan with devices that nothing makes.
func lacking(gone []string, saved string) error {
	command := "`esxodus network apply`"
	if saved != "" {
		command = "`esxodus network apply --plan " + fit.Paste(saved) + "`"
	}
	return &exitError{
		code: exitPreflight,
		err:  fmt.Errorf("%s: nothing makes %s when this host boots, so that the domains wouldn't start; nothing was changed", plan.ConcernFleeting, strings.Join(gone, ", ")),
		hint: "make what is missing with " + command + ", then repeat this command; or give --apply-network, which does that first",
	}
}

// applyFirst does what [networkFirst] found.
func applyFirst(ctx context.Context, c *cli.Context, t terminal, job *netrun.Job) error {
	if job == nil {
		return nil
	}
	dir, err := stateDir(c)
	if err != nil {
		return err
	}
	if err := startNetwork(ctx, c, t, netrun.Dir(dir), job); err != nil {
		return withHint(err, "no VM was touched")
	}
	return nil
}

// unneeded refuses to take devices away that domains have, also those that don't run:
// they wouldn't start again.
func unneeded(ctx context.Context, lv *target.Libvirt, job *netrun.Job, t terminal) error {
	users, err := lv.Users(ctx)
	if err != nil {
		t.say("note: ", fmt.Sprintf("whether a domain that is shut off needs the devices isn't known: %v", err))
		return nil
	}
	var all []string
	for _, s := range job.Changes.Steps {
		switch {
		case s.Device != nil && len(users[s.Device.Name]) > 0:
			all = append(all, s.Device.Name+" is used by "+strings.Join(users[s.Device.Name], ", "))
		case s.Virtual != nil && s.Virtual.New != nil:
			if by := users[virt.NetworkKey(s.Virtual.New.Name)]; len(by) > 0 {
				all = append(all, "libvirt's network "+s.Virtual.New.Name+" is used by "+strings.Join(by, ", "))
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &exitError{
		code: exitFailed, err: errors.New("domains need what would be taken away: " + strings.Join(all, "; ") + "; nothing was changed"),
		hint: "take those domains away first, `esxodus rollback VM` those that esxodus made, or attach them elsewhere",
	}
}
