package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/netrun"
	"esxodus/convert/report"
	"esxodus/convert/target"
	"esxodus/inventory/fit"
	"esxodus/network"
	"esxodus/network/hostnet"

	"github.com/urfave/cli/v2"
)

func networkRemoveCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "network remove-default",
		Usage:     "remove libvirt's or LXD's bridge",
		ArgsUsage: "[NETWORK|lxd:BRIDGE]",
		Description: `Stops and undefines the network "default" that libvirt comes with, or another one
that you name. virbr0 and its dnsmasq go with it. The journal keeps its XML, whether it runs and whether it starts by
itself; "esxodus network rollback" brings all of that back. It refuses while a
domain is attached to it, running or not, and says which.

lxd:lxdbr0 is the bridge that LXD comes with, any other name after lxd: another one
that LXD manages. It is taken out of the profiles that have it and deleted, with its
dnsmasq. The journal keeps its configuration and the profiles' devices, for the
rollback. It refuses while an instance of LXD's has it, running or not, or a domain.

It asks for your word that this host can be reached, as "esxodus network apply" does.`,
		Flags: slices.Concat(libvirtFlags(), stateFlags(), confirmFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "begin without asking; the confirmation is asked for all the same"},
		}),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 0, 1, "the name of one network")
			if err != nil {
				return err
			}
			return removeVirtual(c.Context, c, t, append(args, "default")[0])
		},
	}
}

func removeVirtual(ctx context.Context, c *cli.Context, t terminal, name string) error {
	wait, err := within(c)
	if err != nil {
		return err
	}
	state, err := stateDir(c)
	if err == nil {
		err = unfinished(netrun.Dir(state))
	}
	if err == nil {
		err = refuseOther(ctx, c.String("libvirt"))
	}
	if err != nil {
		return err
	}
	job, err := withoutVirtual(ctx, c, t, name)
	if job == nil || err != nil {
		return err
	}
	if err := confirm(c, t, fmt.Sprintf("Remove %s now?", job.Changes.Steps[0].Virtual.Of())); err != nil {
		return err
	}
	job.Within = wait
	return startNetwork(ctx, c, t, netrun.Dir(state), job)
}

// withoutVirtual shows what a network's removal does; nil where there is none.
func withoutVirtual(ctx context.Context, c *cli.Context, t terminal, name string) (*netrun.Job, error) {
	virt := &target.Libvirt{URI: c.String("libvirt"), Log: logger(c, t)}
	defer func() { _ = virt.Close() }() // it was only asked
	here, err := hostnet.Machine{}.Read(ctx)
	if err != nil {
		return nil, err
	}
	var v network.Virtual
	var found bool
	bridge, ofLXD := strings.CutPrefix(name, network.LXDPrefix)
	if ofLXD {
		v, found, err = lxdOf(c, t).Virtual(ctx, bridge)
	} else {
		v, found, err = virt.Virtual(ctx, name)
	}
	if err == nil && !found {
		t.say("", noVirtual(name, &here))
	}
	if err != nil || !found {
		return nil, err
	}
	users, err := virt.Users(ctx)
	if err == nil && ofLXD {
		var more []string
		more, err = lxdOf(c, t).Users(ctx, bridge)
		users[bridge] = append(users[bridge], more...)
	}
	if err != nil {
		return nil, err
	}
	n := report.Network{Host: here.Name, Changes: here.Without(v, c.String("libvirt"), users)}
	if err := report.Changes(t.err, t.form(t.err), n); err != nil {
		return nil, err
	}
	if err := blockedNetwork(n); err != nil {
		return nil, err
	}
	return &netrun.Job{Host: here.Name, Changes: n.Changes, Before: netrun.See(&here, &n.Changes)}, nil
}

// noVirtual says that there is no such network, and which bridges LXD has: they must
// be named.
func noVirtual(name string, here *network.Host) string {
	if bridge, ofLXD := strings.CutPrefix(name, network.LXDPrefix); ofLXD {
		return "LXD has no network " + fit.Paste(bridge)
	}
	text := []string{"libvirt has no network " + fit.Paste(name)}
	for _, l := range here.Links {
		if l.LXD {
			text = append(text, "LXD's bridge goes by `esxodus network remove-default "+network.LXDPrefix+l.Name+"`")
		}
	}
	return strings.Join(text, "; ")
}
