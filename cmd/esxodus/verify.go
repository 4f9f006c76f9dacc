package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/report"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/inventory/fit"

	"github.com/urfave/cli/v2"
)

func verifyCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "compare a migration's volumes again with what was copied",
		ArgsUsage: "VM",
		Description: `Compares every block of the volumes with the digest that the copy kept of it, or,
where the guest's conversion wrote to it, with one of what that left there. With
--source it reads the source's disks again, too, by the way that the plan says. Of a
disk that came by a lease it reads what that has brought, and the result says so. A
difference is named by disk and offset, and the exit code is 6. It changes nothing, and
can be interrupted and repeated.

It works from the end of the copy until the commit, while neither the domain nor,
with --source, the source VM is running. A domain that ran on the volumes has written
to them: that is a difference, too.

VM is the VM's name or id, or the domain's name.`,
		Flags: slices.Concat(sourceFlags(), sshFlags(), runFlags(), stateFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "source", Usage: "read the source's disks again, too"},
		}, outputFlags()),
		Action: func(c *cli.Context) error {
			args, wantJSON, dir, err := runArguments(c, 1, "one VM or domain")
			if err != nil {
				return err
			}
			name, err := dir.Find(args[0])
			if err != nil {
				return err
			}
			var found *run.Verification
			pool := newPool(c, t)
			defer pool.close(c.Context)
			err = onRun(c.Context, pool, dir, name, func(ctx context.Context, j *runs.Journal, e *effects) (err error) {
				found, err = run.Verify(ctx, j, e.Effects, c.Bool("source"))
				return err
			})
			if err != nil {
				return err
			}
			return printVerification(t, found, wantJSON)
		},
	}
}

// printVerification prints what was found, and makes of it the error that gives the
// exit code.
func printVerification(t terminal, v *run.Verification, wantJSON bool) error {
	var err error
	if wantJSON {
		for i := range v.Disks {
			v.Disks[i].Error = t.advice.complete(v.Disks[i].Error)
		}
		err = printJSON(t.out, v)
	} else {
		err = report.Verification(t.out, t.form(t.out), v)
	}
	if err != nil {
		return err
	}
	return verificationError(v)
}

// verificationError is the error of disks that differ, or weren't compared.
func verificationError(v *run.Verification) error {
	var differ, failed []string
	var volume, source bool
	for i := range v.Disks {
		d := &v.Disks[i]
		if d.Error != "" {
			failed = append(failed, d.Address)
		}
		if d.Differs() {
			differ = append(differ, d.Address)
			digest := d.OnlyDigest()
			volume = volume || d.Volume != nil && d.Volume.Differ > 0 && !digest
			source = source || d.Source != nil && d.Source.Differ > 0 && !digest
		}
	}
	of := fit.Count(len(v.Disks), "disk")
	if len(differ) > 0 {
		return &exitError{
			code: exitDiffers, err: fmt.Errorf("%s: %s differs from what was copied (%d of %s)", v.Name, strings.Join(differ, ", "), len(differ), of),
			hint: differHint(v.Name, volume, source),
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%s: %s could not be compared (%d of %s)", v.Name, strings.Join(failed, ", "), len(failed), of)
	}
	return nil
}

// differHint says what to do about sides that differ.
func differHint(name string, volume, source bool) string {
	switch {
	case volume:
		return fmt.Sprintf("if the domain was never started, and nobody wrote there, don't trust that storage: `esxodus rollback %s`, and convert again to another one", name)
	case source:
		return fmt.Sprintf("the source isn't what was copied any more: to have it as it is now, `esxodus rollback %s`, and convert again", name)
	}
	return "volume and source are alike: nothing is wrong with either, but the record of what was copied is damaged; look after the disk of --state"
}
