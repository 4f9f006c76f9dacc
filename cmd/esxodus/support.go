package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"esxodus/convert/doctor"
	"esxodus/convert/host"
	"esxodus/convert/report"
	"esxodus/convert/runs"
	"esxodus/convert/support"
	"esxodus/convert/volume"
	"esxodus/inventory/fit"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
)

func supportCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "support",
		Usage:     "pack what somebody who is to help needs to know into a file",
		ArgsUsage: "[VM]",
		Description: `Writes a new tar.gz, and says what is in it: of the VM's migration, or of all, the
journals, the part of the plan, the guest's console and the domain; the versions of
what esxodus uses; what "esxodus doctor" says of this host; LVM's and the network's
reports. It changes nothing else, and sends nothing.

Passwords, keys and tokens are taken out. Names and addresses of hosts and guests
stay in it: look before you hand it on.

  esxodus support web1
  esxodus support -o /root/esxodus.tar.gz`,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "o", DefaultText: "esxodus-support-TIME.tar.gz", Usage: "write it to the new `FILE`"},
			&cli.StringFlag{Name: "password-file", Usage: "take the password in the first line of `FILE` out, too, wherever it stands"},
		}, libvirtFlags(), stateFlags(), outputFlags()),
		Action: func(c *cli.Context) error {
			args, wantJSON, dir, err := runArguments(c, 0, "at most one VM")
			if err != nil {
				return err
			}
			made, err := packSupport(c, t, dir, args)
			if err != nil {
				return err
			}
			if wantJSON {
				return printJSON(t.out, made)
			}
			return printSupport(t, made)
		},
	}
}

// madeSupport is an archive that was made.
type madeSupport struct {
	File    string           `json:"file"`
	Members []support.Member `json:"members"`
}

func packSupport(c *cli.Context, t terminal, dir runs.StateDir, args []string) (made madeSupport, err error) {
	if uri := c.String("libvirt"); redact.Text(uri) != uri {
		return made, usagef("--libvirt %s: a password doesn't belong in the address", redact.Text(uri))
	}
	tool := host.Tool{Log: logger(c, t)}
	now := time.Now()
	k := support.Case{
		Version: version(), Now: now, State: dir, Network: len(args) == 0, Libvirt: c.String("libvirt"), Tool: tool,
	}
	if k.Secrets, err = knownSecrets(c, t); err != nil {
		return made, err
	}
	if k.Names, err = supportNames(dir, args); err != nil {
		return made, err
	}
	storage := ""
	if len(args) == 1 {
		if s, err := dir.State(k.Names[0]); err == nil {
			storage, k.Libvirt = s.Job.Target.Storage, s.Job.Target.Libvirt
		}
	}
	k.Doctor = func(ctx context.Context) (any, error) { return hostReport(ctx, k.Libvirt, storage, tool) }
	if made.File = c.String("o"); made.File == "" {
		made.File = "esxodus-support-" + now.Format("20060102-150405") + ".tar.gz"
	}
	f, err := os.OpenFile(made.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return made, &exitError{code: exitUsage, err: fmt.Errorf("-o: %s exists", made.File), hint: "choose another name: nothing is overwritten"}
	}
	if err != nil {
		return made, fmt.Errorf("-o: %w", err)
	}
	made.Members, err = k.Write(c.Context, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return made, errors.Join(fmt.Errorf("%s: %w", made.File, err), os.Remove(made.File))
	}
	return made, nil
}

// supportNames are the runs that an archive is of. One that can't be read is among them:
// its files are.
func supportNames(dir runs.StateDir, args []string) ([]string, error) {
	if len(args) == 1 {
		name, err := dir.Find(args[0])
		return []string{name}, err
	}
	entries, err := os.ReadDir(filepath.Dir(dir.Dir("x")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// knownSecrets are the passwords that this command is given, in the forms in which they
// may stand in a file.
func knownSecrets(c *cli.Context, t terminal) ([]string, error) {
	secrets := []string{t.getenv("GOVC_PASSWORD")}
	if file := c.String("password-file"); file != "" {
		secret, err := await(c.Context, func() (string, error) { s, err := readPassword(file); return string(s), err })
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, secret)
	}
	out := slices.Clone(t.secrets)
	for _, s := range secrets {
		if s != "" {
			quoted := strconv.Quote(s)
			out = append(out, redact.Known("x:"+s+"@x")...)
			out = append(out, s, quoted[1:len(quoted)-1])
		}
	}
	return out, nil
}

// hostReport is what the doctor says of this host alone.
func hostReport(ctx context.Context, libvirt, where string, tool host.Tool) (r doctor.Report, err error) {
	var store volume.Storage
	if where != "" {
		if store, err = volume.ParseStorage(where, tool); err != nil {
			return r, err
		}
	}
	return r, diagnoseHost(ctx, &r, libvirt, store, tool)
}

func printSupport(t terminal, made madeSupport) error {
	form := t.form(t.out)
	wide := 0
	for _, m := range made.Members {
		wide = max(wide, report.Width(fit.TerminalLine(m.Name)))
	}
	wide = min(wide, form.Width()/2)
	if _, err := fmt.Fprintf(t.out, "%s holds, without passwords, keys and tokens:\n", fit.TerminalLine(made.File)); err != nil {
		return err
	}
	for _, m := range made.Members {
		name := fit.TerminalLine(m.Name)
		if report.Width(name) > wide {
			fmt.Fprintf(t.out, "  %s\n", name)
			name = ""
		}
		pad := fmt.Sprintf("  %s%*s  ", name, wide-report.Width(name), "")
		fmt.Fprint(t.out, report.Wrap(pad, fmt.Sprintf("%s, %s", m.What, fit.Count(int(m.Bytes), "byte")), form.Width()))
	}
	_, err := fmt.Fprintln(t.out, "Names and addresses of hosts and guests are in it: look before you hand it on.")
	return err
}
