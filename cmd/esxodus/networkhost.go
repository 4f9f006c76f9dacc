package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"esxodus/convert/target"
	"esxodus/network"
	"esxodus/network/hostnet"

	"github.com/urfave/cli/v2"
)

func networkHostCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "network host",
		Usage:     "say what this host has for SR-IOV",
		ArgsUsage: " ",
		Description: `Prints as JSON which adapters this host has, how many virtual functions each has and
can have, and whether an IOMMU is at work. Where domains may move between hosts, plan
with --peer FILE for each of the others: NICs get virtual functions only if all hosts
have some, and macvtap else.

  esxodus network host >kvm2.json
  esxodus plan --sriov eno1=8 --peer kvm2.json …`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
				return err
			}
			here, err := hostnet.Machine{}.Read(c.Context)
			if err != nil {
				return err
			}
			return printJSON(t.out, here.Functions())
		},
	}
}

// peers reads what other hosts say of themselves.
func peers(files []string) ([]network.HostFunctions, error) {
	var out []network.HostFunctions
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", network.PeerFlag, err)
		}
		var h network.HostFunctions
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&h); err != nil || h.Host == "" {
			return nil, usagef("%s %s: this isn't what `esxodus network host` prints: %v", network.PeerFlag, name, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// lent are those of libvirt's networks that lend a plan's virtual functions; nil where
// it has none.
func lent(ctx context.Context, lv *target.Libvirt, p *network.Plan) *network.Virtuals {
	if len(p.Pools) == 0 {
		return nil
	}
	defer func() { _ = lv.Close() }() // it was only asked
	out := &network.Virtuals{URI: lv.URI}
	for _, pool := range p.Pools {
		v, found, err := lv.Virtual(ctx, pool.Network)
		if err != nil {
			out.Unknown = err.Error()
			return out
		}
		if found {
			out.Networks = append(out.Networks, v)
		}
	}
	return out
}
