package main

import (
	"context"
	"errors"
	"os"
	"slices"

	"esxodus/convert/doctor"
	"esxodus/convert/host"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/target"
	"esxodus/convert/volume"
	"esxodus/inventory/esxi"
	"esxodus/network/hostnet"

	"github.com/urfave/cli/v2"
)

func doctorCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "look what an ESXi host allows and this host lacks",
		ArgsUsage: " ",
		Description: `Changes nothing. Of the ESXi host (--esxi) it tells the licence, what the API allows,
whether disks can be read by HTTPS and over how many connections fastest, whether SSH
can be used, TLS and clock. Of this host: KVM, libvirt, programs and the packages that
have them, volume groups and who shares them, and what configures the network.

It exits with 4 if there is something without which nothing can be converted.

  esxodus doctor
  esxodus doctor --esxi https://root@esx1 --storage lvm:vg0`,
		Flags: slices.Concat(sourceFlags(), sshFlags(), []cli.Flag{
			&cli.StringFlag{Name: "storage", Usage: "look at the storage `WHERE`: dir:PATH, lvm:VG or lvm:VG/POOL"},
			&cli.BoolFlag{Name: "no-speed", Usage: "don't measure how fast disks can be read, which takes eight seconds"},
		}, libvirtFlags(), outputFlags()),
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
				return err
			}
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			r, err := diagnose(c, t)
			if err != nil {
				return err
			}
			if wantJSON {
				err = printJSON(t.out, r)
			} else {
				err = report.Doctor(t.out, t.form(t.out), r)
			}
			if err == nil && r.Blocked() {
				err = &exitError{code: exitPreflight, err: errors.New("nothing can be converted before the blockers above are gone")}
			}
			return err
		},
	}
}

func diagnose(c *cli.Context, t terminal) (doctor.Report, error) {
	var r doctor.Report
	tool := host.Tool{Log: logger(c, t)}
	var store volume.Storage
	if c.IsSet("storage") {
		where, err := storage(c)
		if err == nil {
			store, err = volume.ParseStorage(where, tool)
		}
		if err != nil {
			return r, usageErr(err)
		}
	}
	if c.IsSet("esxi") || t.getenv("GOVC_URL") != "" {
		if err := diagnoseSource(c, t, &r); err != nil {
			return r, err
		}
	}
	return r, diagnoseHost(c.Context, &r, c.String("libvirt"), store, tool)
}

// diagnoseHost looks at this host, and at a storage if that isn't nil.
func diagnoseHost(ctx context.Context, r *doctor.Report, libvirt string, store volume.Storage, tool host.Tool) (err error) {
	virt := &target.Libvirt{URI: libvirt, Log: tool.Log}
	defer func() { _ = virt.Close() }()
	if r.Host, err = os.Hostname(); err != nil {
		return err
	}
	r.OfHost = doctor.OfHost(ctx, doctor.Host{
		Tool: tool, UID: os.Geteuid(), Storage: store, Network: hostnet.Machine{}.Read,
		Facts: func(ctx context.Context) (plan.TargetFacts, error) { return virt.Facts(ctx) },
	})
	return nil
}

func diagnoseSource(c *cli.Context, t terminal, r *doctor.Report) error {
	cfg, err := sourceConfig(c, t, "")
	if err != nil {
		return err
	}
	src := esxiOrigin(c, t, plan.Source{}, func() (esxi.Config, error) { return cfg, nil })
	defer logout(c.Context, cfg.Log, src)
	client, err := src.Client(c.Context)
	if err != nil {
		return err
	}
	r.Source = client.Host()
	r.OfSource, err = doctor.OfSource(c.Context, doctor.Source{Client: client, Shell: shellConfig(c, cfg), Measure: !c.Bool("no-speed"), Open: src.OpenDisk})
	return err
}
