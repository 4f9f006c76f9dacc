package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/convert/planfile"
	"esxodus/convert/report"
	"esxodus/convert/survey"
	"esxodus/convert/volume"
	"esxodus/disk"
	"esxodus/inventory"
	"esxodus/inventory/fit"
	"esxodus/inventory/redact"
	"esxodus/network"

	"github.com/urfave/cli/v2"
)

func planCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "plan",
		Usage:     "show what a migration would do, and change nothing",
		ArgsUsage: "[VM…]",
		Description: `The dry run. It reads the host, several hosts, or files ("esxodus help sources"), looks inside
the VMs' disks in place, and asks the target's storage and libvirt what is
there. Without names it prints a line for each VM but templates (ready, needs
attention or blocked), what stands in the way, and what to do next. For a VM
that you give by name or id it prints all: where each disk goes, every step, every change inside the guest, how the
domain differs from the VM, and what to know before cutover. --full adds what
stays the same and what is only ESXi's bookkeeping; --output json and -o have
all of it, and the domain's XML.

  esxodus plan --esxi https://root@esx1 --storage lvm:vg0 --uplink vmnic0=eno1
  esxodus plan --esxi https://root@esx1 --storage lvm:vg0 --uplink vmnic0=eno1 web1
  esxodus plan … --units ./units -o plan.yaml     # for esxodus batch
  esxodus plan … --html plan.html                 # to be shown around
  esxodus plan --esxi https://root@esx1 --esxi https://root@esx2 --storage lvm:vg0 --uplink eno1
  esxodus plan --from /mnt/datastore1 --storage lvm:vg0 --network 'VM Network=macvtap:eno1'

The file may be edited: disks[].volume, domain.xml and domain.autoStart, a VM's
addresses (as --ip gives them), the network's units, which VMs are in it, their order
(waves, after) and why a warning is acknowledged (concerns[].acknowledged).`,
		Flags: slices.Concat(sourcesFlags(), fromFlags(), wayFlags(), sshFlags(), targetFlags(), guestFlags(), libvirtFlags(), []cli.Flag{
			&cli.StringFlag{Name: "o", Usage: "save the plan to a new `FILE` as YAML, for esxodus batch"},
			failOnFlag(),
			&cli.StringFlag{Name: "html", Usage: "save the whole plan as a page for a browser to a new `FILE`, which needs no network (esxodus help report)"},
			&cli.BoolFlag{Name: "apply-network", Usage: "show too what convert and batch do with --apply-network"},
		}, fullFlags(), outputFlags()),
		Action: func(c *cli.Context) error {
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			if err := cmp.Or(unsaved("-o", c.String("o")), unsaved("--html", c.String("html"))); err != nil {
				return err
			}
			p, e, err := makePlan(c.Context, c, t, c.Args().Slice())
			if err != nil {
				return err
			}
			e.Close(c.Context)
			if err := errors.Join(savePlan(c, p), saveHTML(c, t, p)); err != nil {
				return err
			}
			if wantJSON {
				return errors.Join(planfile.WriteJSON(t.out, p), failOn(c, p))
			}
			err = printPlan(c, t, t.out, p, report.Ask{Named: c.NArg() > 0, Next: true, Saved: c.String("o")})
			return errors.Join(err, showNetworkFirst(c.Context, c, t, t.out, p), failOn(c, p))
		},
	}
}

func failOnFlag() cli.Flag {
	return &cli.StringFlag{Name: "fail-on", Usage: "end with exit code 4 where a concern of at least `SEVERITY` blocker, warning or note isn't acknowledged"}
}

// failOn is the error for concerns that nobody has acknowledged, of the severity that was
// asked for.
func failOn(c *cli.Context, p *plan.Plan) error {
	least := ledger.Severity(c.String("fail-on"))
	if least == "" {
		return nil
	}
	open := p.Open(least)
	if len(open) == 0 {
		return nil
	}
	ids := make(map[string]bool)
	for _, one := range open {
		ids[one.ID] = true
	}
	return &exitError{
		code: exitPreflight, err: fmt.Errorf("--fail-on %s: %s not acknowledged: %s", least, fit.Count(len(open), "concern"), strings.Join(slices.Sorted(maps.Keys(ids)), ", ")),
		hint: "mend them, or acknowledge them with --acknowledge, or in the saved plan (concerns[].acknowledged); blockers can't be",
	}
}

// printPlan prints what is asked for of a plan, and all of it with --full.
func printPlan(c *cli.Context, t terminal, w io.Writer, p *plan.Plan, ask report.Ask) error {
	ask.Full = c.Bool("full")
	if ask.Saved != "" {
		ask.Saved = fit.Paste(ask.Saved)
	}
	return report.Plan(w, t.form(w), report.ViewOf(p, ask))
}

// makePlan reads everything and makes the plan. The effects that it read
// through are returned for those who go on to apply it.
func makePlan(ctx context.Context, c *cli.Context, t terminal, vms []string) (*plan.Plan, *effects, error) {
	o, err := planOptions(c, vms)
	if err != nil {
		return nil, nil, err
	}
	from, origins, err := chosenSources(c, t)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range from {
		for _, dir := range slices.Concat([]string{f.Source.From}, slices.Collect(maps.Values(f.Source.Datastores))) {
			if err := outsideOf(dir, o.Storage); err != nil {
				return nil, nil, err
			}
		}
	}
	e, err := newEffects(c, t, origins, o.Storage, o.Libvirt)
	if err != nil {
		return nil, nil, err
	}
	if err := e.onThisMachine(ctx); err != nil {
		e.Close(ctx)
		return nil, nil, err
	}
	p, err := surveyed(ctx, t, e, from, o)
	if err != nil {
		e.Close(ctx)
		return nil, nil, err
	}
	return p, e, nil
}

// surveyed reads the hosts and makes the plan.
func surveyed(ctx context.Context, t terminal, e *effects, from []survey.From, o plan.Options) (*plan.Plan, error) {
	drafts, err := survey.GatherAll(ctx, e.sources(), from, o)
	if err != nil {
		return nil, err
	}
	for _, d := range drafts {
		leftOut(t, d.Facts.Host, o.VMs)
	}
	return plan.Finish(drafts)
}

// leftOut names the templates, which a plan of all VMs doesn't have.
func leftOut(t terminal, h *inventory.Host, named []string) {
	var names []string
	for i := range h.VMs {
		if h.VMs[i].Template {
			names = append(names, h.VMs[i].Name)
		}
	}
	if len(named) == 0 && len(names) > 0 {
		t.say("note: ", "templates are planned only by name: "+strings.Join(names, ", "))
	}
}

func planOptions(c *cli.Context, vms []string) (plan.Options, error) {
	where, err := storage(c)
	if err != nil {
		return plan.Options{}, err
	}
	o := plan.Options{
		VMs: vms, Storage: where, VirtType: c.String("virt-type"), Libvirt: c.String("libvirt"),
		Shutdown: plan.ShutdownMode(c.String("shutdown")), PowerOff: c.Duration("power-off"), NoEdits: c.Bool("no-edits"), AllBlocks: c.Bool("all-blocks"), NoSpeed: c.Bool("no-speed"), Off: c.StringSlice("off"), Layout: layout.Kind(c.String("layout")),
	}
	if redact.Text(o.Libvirt) != o.Libvirt { // plans and journals keep it
		return o, usagef("--libvirt %s: a password doesn't belong in the address: put it into libvirt's auth.conf, or use SSH keys", redact.Text(o.Libvirt))
	}
	if o.Storage == "" {
		return o, &exitError{
			code: exitUsage, err: errors.New("where should the disks go?"),
			hint: "give --storage dir:/var/lib/libvirt/images (raw files) or --storage lvm:VG (logical volumes; lvm:VG/POOL for thin ones)",
		}
	}
	if _, err := volume.ParseStorage(o.Storage, host.Tool{}); err != nil {
		return o, usageErr(err)
	}
	if o.Acknowledged, err = plan.ParseAcknowledgements(c.StringSlice("acknowledge")); err != nil {
		return o, usageErr(err)
	}
	for _, flag := range []string{"virt-type", "layout", "shutdown", "fail-on"} {
		if err := chosen(c, flag); err != nil {
			return o, err
		}
	}
	if err := plan.CheckPowerOff(o.PowerOff); err != nil || c.IsSet("power-off") && o.PowerOff == 0 {
		return o, usagef("--power-off %v: want whole seconds, from 10s to 24h", o.PowerOff)
	}
	if o.PowerOff > 0 && o.Shutdown == plan.ShutdownNever {
		return o, usagef("--power-off goes with --shutdown: a VM is asked before its power is cut")
	}
	if err := proofOptions(c, &o); err != nil {
		return o, err
	}
	if err := refuseOther(c.Context, o.Libvirt); err != nil {
		return o, err
	}
	if o.Via, err = ways(c); err != nil {
		return o, err
	}
	if o.Addresses, err = plan.ParseAddresses(c.StringSlice("ip")); err != nil {
		return o, usageErr(err)
	}
	o.Network, err = networkOptions(c)
	return o, err
}

// networkOptions reads networkFlags.
func networkOptions(c *cli.Context) (o network.Options, err error) {
	if o.Uplinks, err = network.ParseUplinks(c.StringSlice("uplink")); err != nil {
		return o, usageErr(err)
	}
	if o.Map, err = network.ParseMap(c.StringSlice("network")); err != nil {
		return o, usageErr(err)
	}
	if o.Functions, err = network.ParseFunctions(c.StringSlice("sriov")); err != nil {
		return o, usageErr(err)
	}
	if o.Hosts, err = peers(c.StringSlice("peer")); err != nil {
		return o, err
	}
	if o.Files, err = network.ParseFiles(c.StringSlice("network-file")); err != nil {
		return o, usageErr(err)
	}
	return o, nil
}

// savePlan writes what -o and --units ask for.
func savePlan(c *cli.Context, p *plan.Plan) error {
	if dir := c.String("units"); dir != "" {
		if err := writeUnits(dir, p.Network.Units); err != nil {
			return err
		}
		if err := writeUnits(filepath.Join(dir, "optional"), p.Network.Optional); err != nil {
			return err
		}
	}
	file := c.String("o")
	if file == "" {
		return nil
	}
	return writeNew(c.Context, "-o", file, func(w io.Writer) error { return planfile.WriteYAML(w, p) })
}

// saveHTML writes what --html asks for. Of very many VMs a browser could not show
// what stays as it is, too.
func saveHTML(c *cli.Context, t terminal, p *plan.Plan) error {
	file := c.String("html")
	if file == "" {
		return nil
	}
	ask := report.Ask{Full: c.Bool("full") || len(p.VMs) <= report.MostFull, Next: true, Saved: c.String("o"), Now: time.Now()}
	if ask.Saved != "" {
		ask.Saved = fit.Paste(ask.Saved)
	}
	return writeNew(c.Context, "--html", file, func(w io.Writer) error {
		buffered := bufio.NewWriter(w)
		return errors.Join(report.HTML(buffered, t.form(w), report.ViewOf(p, ask)), buffered.Flush())
	})
}

// writeNew has what a flag asks for written to a new file, whole or not at all, or
// to a pipe or terminal that is there.
func writeNew(ctx context.Context, flag, file string, write func(io.Writer) error) (err error) {
	if err := unsaved(flag, file); err != nil {
		return err
	}
	flags, fresh := os.O_WRONLY, false
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		flags, fresh = os.O_WRONLY|os.O_CREATE|os.O_EXCL, true
	}
	f, err := await(ctx, func() (*os.File, error) { return os.OpenFile(file, flags, 0o600) }) // a pipe waits for its reader
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil && fresh {
			err = errors.Join(err, os.Remove(file)) // half of it
		}
	}()
	return write(f)
}

// unsaved refuses a flag's file that is there already, under this name or behind a
// link: it may have been edited. A pipe or a terminal may be written to.
func unsaved(flag, file string) error {
	if file == "-" {
		return usagef("%s -: want the name of a file: what is printed is for people, or JSON", flag)
	}
	if info, err := os.Stat(file); file == "" || err != nil || !info.Mode().IsRegular() {
		return nil // writing says what is wrong
	}
	return &exitError{
		code: exitUsage, err: fmt.Errorf("%s %s: the file exists", flag, file),
		hint: "it may have been edited, and is never overwritten: move it away, or save to another file",
	}
}

// writeUnits writes networkd units to a directory for review. A file that is
// there with other content is left alone.
func writeUnits(dir string, units []network.Unit) error {
	if len(units) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--units: %w", err)
	}
	for _, u := range units {
		if err := writeUnit(filepath.Join(dir, u.Name), u.Text); err != nil {
			return fmt.Errorf("--units: %w", err)
		}
	}
	return nil
}

func writeUnit(path, text string) error {
	old, err := disk.ReadRegular(path)
	switch {
	case err == nil && string(old) == text:
		return nil
	case err == nil:
		return fmt.Errorf("%s exists with other content: move it away or choose another directory", path)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// loadPlan reads a plan that was saved with -o.
func loadPlan(ctx context.Context, file string) (*plan.Plan, error) {
	b, err := await(ctx, func() ([]byte, error) { return os.ReadFile(file) }) // perhaps a pipe
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(err, "`esxodus plan` makes it, with -o "+file)
	}
	if err != nil {
		return nil, err
	}
	p, err := planfile.Read(b)
	if err != nil {
		return nil, withHint(fmt.Errorf("%s: %w", file, err), "nothing was touched; `esxodus plan --help` says what may be edited in a plan")
	}
	return p, nil
}
