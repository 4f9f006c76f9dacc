package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/convert/netrun"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/target"
	"esxodus/network"
	"esxodus/network/hostnet"

	"github.com/urfave/cli/v2"
)

func networkCmd(terminal) *cli.Command {
	return &cli.Command{
		Name:      "network",
		Usage:     "prepare this host's networking for the domains",
		ArgsUsage: "plan|apply|confirm|rollback|status|host|remove-default",
		Description: `Makes the devices that domains attach to, on a host whose sessions go on: BGP
routes, addresses and rules that systemd-networkd didn't make, TCP sessions.
networkd isn't restarted, and no link that is in use is configured anew.

  esxodus network plan --esxi https://root@esx1 --uplink vmnic0=eno1
  esxodus network apply --esxi https://root@esx1 --uplink vmnic0=eno1
  esxodus network rollback`,
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return usagef("network takes plan, apply, confirm, rollback, status, host or remove-default")
			}
			return unknownCommand(c.App, "network "+c.Args().First())
		},
	}
}

func networkPlanCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "network plan",
		Usage:     "show what this host's networking lacks",
		ArgsUsage: "[VM…]",
		Description: `Reads the ESXi host's networks and this host's, and shows where each port group
goes, which files of systemd-networkd are new or differ, and what is touched on
the wire. It plans for the networks of all VMs, or of those that you name;
--plan takes those of a saved plan.

  esxodus network plan --esxi https://root@esx1 --uplink vmnic0=eno1
  esxodus network plan --plan plan.yaml -o ./host-network`,
		Flags: slices.Concat(sourceFlags(), networkFlags(), savedFlags(), libvirtFlags(), []cli.Flag{
			&cli.StringFlag{Name: "o", Usage: "write the files to `DIR` too, to keep them in git"},
		}, outputFlags()),
		Action: func(c *cli.Context) error {
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			n, _, err := planNetwork(c.Context, c, t)
			if err != nil {
				return err
			}
			if err := saveFiles(c.String("o"), n.Changes.Files); err != nil {
				return err
			}
			if wantJSON {
				return printJSON(t.out, networkJSON(n))
			}
			return report.Changes(t.out, t.form(t.out), n)
		},
	}
}

// savedFlags take a plan that was saved instead of a host that is read.
func savedFlags() []cli.Flag {
	return []cli.Flag{&cli.StringFlag{Name: "plan", Usage: "take the networks from the saved plan in `FILE` instead of the ESXi host"}}
}

// networkJSON is what --output json prints.
func networkJSON(n report.Network) any {
	c := n.Changes
	c.Files, c.Steps, c.Wire = append([]network.FileChange{}, c.Files...), append([]network.Step{}, c.Steps...), append([]string{}, c.Wire...)
	return struct {
		Host        string               `json:"host"`
		Attachments []network.Attachment `json:"attachments"`
		network.Changes
		PlanConcerns []ledger.Concern `json:"planConcerns,omitempty"`
	}{n.Host, append([]network.Attachment{}, n.Attachments...), c, n.Concerns}
}

// planNetwork compares what the VMs need with what this host has.
func planNetwork(ctx context.Context, c *cli.Context, t terminal) (report.Network, network.Host, error) {
	here, err := hostnet.Machine{}.Read(ctx)
	if err != nil {
		return report.Network{}, here, err
	}
	p, err := neededNetwork(ctx, c, t, &here)
	if err != nil {
		return report.Network{}, here, err
	}
	here.Virtuals = lent(ctx, &target.Libvirt{URI: c.String("libvirt"), Log: logger(c, t)}, &p)
	changes, err := here.Changes(p)
	// Whether a file of the uplink's is known is seen from the host itself.
	p.Concerns = slices.DeleteFunc(p.Concerns, func(c ledger.Concern) bool { return c.ID == network.ConcernFile })
	return report.Network{Host: here.Name, Attachments: p.Attachments, Changes: changes, Concerns: p.Concerns}, here, err
}

// neededNetwork is the networking of a saved plan, or one for the ESXi host's VMs.
func neededNetwork(ctx context.Context, c *cli.Context, t terminal, here *network.Host) (network.Plan, error) {
	if file := c.String("plan"); file != "" {
		if err := onlySaved(c); err != nil {
			return network.Plan{}, err
		}
		p, err := loadPlan(ctx, file)
		if err != nil {
			return network.Plan{}, err
		}
		return p.Network, nil
	}
	o, err := networkOptions(c)
	if err != nil {
		return network.Plan{}, err
	}
	h, err := readHost(ctx, c, t)
	if err != nil {
		return network.Plan{}, err
	}
	vms, err := h.Select(c.Args().Slice())
	if err != nil {
		return network.Plan{}, err
	}
	return plan.Networking(h, vms, o, here)
}

// onlySaved refuses what a saved plan has decided already, and would be left unheard.
func onlySaved(c *cli.Context) error {
	for _, f := range networkFlags() {
		if name := f.Names()[0]; c.IsSet(name) {
			return usagef("--%s with --plan: the saved plan has its networks; leave one of the two out", name)
		}
	}
	if c.NArg() > 0 {
		return usagef("VMs with --plan: the saved plan has its networks; leave one of the two out")
	}
	return nil
}

// saveFiles writes the plan's files to a directory, as they are under /etc/systemd.
func saveFiles(dir string, files []network.FileChange) error {
	if dir == "" {
		return nil
	}
	for _, f := range files {
		name := strings.TrimPrefix(f.Path, filepath.Dir(network.Dir))
		if err := writeUnit(filepath.Join(dir, name), f.New); err != nil {
			return err
		}
	}
	return nil
}

// blockedNetwork is the error of changes that can't be made.
func blockedNetwork(n report.Network) error {
	for _, b := range append(n.Changes.Concerns, n.Concerns...) {
		if b.Severity == ledger.Blocker {
			return &exitError{code: exitPreflight, err: errors.New(b.ID + ": " + b.Evidence + "; nothing was changed"), hint: b.Advice}
		}
	}
	return nil
}

// printRuns prints the runs as JSON, the array of none too.
func printRuns(t terminal, dir netrun.Dir) error {
	states, err := dir.List()
	if err != nil {
		return err
	}
	return printJSON(t.out, append([]netrun.State{}, states...))
}

func networkStatusCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "network status",
		Usage:     "show what was changed of this host's networking",
		ArgsUsage: " ",
		Description: `Reads the journals and changes nothing. It says what was made, whether it waits
for your confirmation, and what may follow.`,
		Flags: slices.Concat(stateFlags(), outputFlags()),
		Action: func(c *cli.Context) error {
			_, wantJSON, dir, err := networkArguments(c)
			if err != nil {
				return err
			}
			if wantJSON {
				return printRuns(t, dir)
			}
			states, err := dir.List()
			if err != nil {
				return err
			}
			return report.NetworkRuns(t.out, t.form(t.out), states)
		},
	}
}

// networkArguments reads what the commands about what was done have in common.
func networkArguments(c *cli.Context) (args []string, wantJSON bool, dir netrun.Dir, err error) {
	if args, err = arguments(c, 0, 0, "no arguments"); err != nil {
		return nil, false, "", err
	}
	if wantJSON, err = asJSON(c); err != nil {
		return nil, false, "", err
	}
	state, err := stateDir(c)
	return args, wantJSON, netrun.Dir(state), err
}
