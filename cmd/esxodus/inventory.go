package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"esxodus/convert/report"
	"esxodus/disk"
	"esxodus/inventory"
	"esxodus/inventory/vmx"

	"github.com/urfave/cli/v2"
)

func inventoryCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "inventory",
		Usage:     "list the VMs, datastores and networks of an ESXi host",
		ArgsUsage: " ",
		Description: `Reads the host in one pass and changes nothing. --output json prints everything
that the later steps use, in a stable form: "esxodus help json".

--from reads the VMs' files in a directory instead, --vmx one VM's .vmx file: for
hosts that no longer run. Files don't say everything: "esxodus help sources".

  esxodus inventory --esxi https://root@esx1
  esxodus inventory --esxi https://root@esx1 --output json > esx1.json
  esxodus inventory --from /mnt/datastore1
  esxodus inventory --vmx '/mnt/datastore1/web 1/web 1.vmx'`,
		Flags: slices.Concat(sourceFlags(), fromFlags(), []cli.Flag{
			&cli.StringSliceFlag{Name: "vmx", Usage: "read the VM in `FILE` instead of a host (repeatable)"},
		}, outputFlags()),
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
				return err
			}
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			h, err := readInventory(c, t)
			if h == nil {
				return err
			}
			if wantJSON {
				return errors.Join(printJSON(t.out, h), err)
			}
			return errors.Join(report.Inventory(t.out, t.form(t.out), h), err)
		},
	}
}

func readInventory(c *cli.Context, t terminal) (*inventory.Host, error) {
	files := c.StringSlice("vmx")
	if err := oneOf(c, "esxi", "from", "vmx"); err != nil {
		return nil, err
	}
	switch {
	case len(files) > 0:
		return readVMX(files)
	case c.IsSet("from"):
		_, from, err := chosenSource(c, t, c.String("esxi"))
		if err != nil {
			return nil, err
		}
		return from.Inventory(c.Context)
	}
	return readHost(c.Context, c, t)
}

func readHost(ctx context.Context, c *cli.Context, t terminal) (*inventory.Host, error) {
	client, cfg, err := dial(ctx, c, t)
	if err != nil {
		return nil, err
	}
	defer logout(ctx, cfg.Log, client)
	return client.Inventory(ctx)
}

// readVMX makes an inventory of .vmx files. Those that can't be read are in the
// error, and the others in the inventory all the same.
func readVMX(files []string) (*inventory.Host, error) {
	h := &inventory.Host{SchemaVersion: inventory.SchemaVersion, Name: "(vmx files)"}
	var failed []error
	for _, file := range files {
		vm, err := vmx.Read(disk.Files(filepath.Dir(file)), filepath.Base(file))
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", file, err))
			continue
		}
		h.VMs = append(h.VMs, vm)
	}
	slices.SortStableFunc(h.VMs, func(a, b inventory.VM) int { return strings.Compare(a.Name, b.Name) })
	switch err := errors.Join(failed...); {
	case err == nil:
		return h, nil
	case len(h.VMs) == 0:
		return nil, err
	default:
		return h, &exitError{code: exitSome, err: err, hint: fmt.Sprintf("only %d of %d files could be read", len(h.VMs), len(files))}
	}
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
