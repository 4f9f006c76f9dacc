package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"esxodus/convert/cutover"
	"esxodus/convert/host"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/convert/source"
	"esxodus/convert/volume"
	"esxodus/inventory/fit"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
)

// credential is what a unit of systemd calls the password: systemd.exec(5), LoadCredential=.
const credential = "esxodus.password"

// credentialFile is where the unit that this is has the password of a host, or "": its
// own, or, unless there are several hosts, the only one.
func credentialFile(getenv func(string) string, host string, several bool) string {
	dir := getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return ""
	}
	names := []string{credentialOf(host), credential}
	if several {
		names = names[:1]
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// credentialOf is what a unit calls the password of one host of several.
func credentialOf(host string) string {
	return credential + "." + strings.ReplaceAll(hostName(host), ":", "-")
}

// detachFlags has a command go on without its terminal.
func detachFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "detach", Usage: "go on as a unit of systemd once it is confirmed, so that the end of this session ends nothing"},
	}
}

// canDetach says why a command can't go on under systemd.
func canDetach(c *cli.Context) error {
	if !c.Bool("detach") {
		return nil
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return &exitError{
			code: exitUsage, err: errors.New("--detach: systemd doesn't run here; nothing was done"),
			hint: "run it without --detach where the end of the session doesn't reach it: in tmux or screen",
		}
	}
	return nil
}

// detached is what a batch that goes on by itself is called, and what can be done with it.
type detached struct {
	Unit   string `json:"unit"`
	Follow string `json:"follow"`
	Stop   string `json:"stop"`
}

// detach starts the command anew as a unit of systemd: with its arguments, with --yes,
// and with the password in a credential, which nobody but root sees, neither in its
// arguments nor in its environment.
func detach(ctx context.Context, c *cli.Context, p *plan.Plan, dir runs.StateDir, e *effects) (d detached, err error) {
	d.Unit = "esxodus-batch-" + time.Now().Format("20060102-150405")
	self, err := os.Executable()
	if err != nil {
		return d, err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return d, err
	}
	env, err := handedOver(os.Environ())
	if err != nil {
		return d, err
	}
	if err := journal.MakePassable(string(dir)); err != nil { // as the first run would, which can't in the unit
		return d, err
	}
	argv := []string{"systemd-run", "--quiet", "--unit=" + d.Unit, "--service-type=exec", "--working-directory=" + cwd, "--description=esxodus batch"}
	for _, property := range unitProperties(dir, p, c.Bool("cutover")) {
		argv = append(argv, "--property="+property)
	}
	for _, v := range env {
		argv = append(argv, "--setenv="+v)
	}
	args, err := anew(c)
	if err != nil {
		return d, err
	}
	secrets, urls, err := e.handOver()
	defer func() { err = errors.Join(err, secrets.remove()) }() // the unit has its copies, or was never there
	if err != nil {
		return d, err
	}
	for name, file := range secrets {
		argv = append(argv, "--property=LoadCredential="+name+":"+file)
	}
	if c.IsSet("esxi") && !e.fromFile("esxi") {
		for _, url := range urls {
			args = append(args, "--esxi="+url)
		}
	}
	argv = append(argv, "--", self, "batch")
	for _, a := range append(args, append([]string{"--"}, c.Args().Slice()...)...) {
		argv = append(argv, strings.ReplaceAll(a, "$", "$$")) // systemd puts variables in
	}
	if _, err := (host.Tool{Log: e.log}).Run(ctx, argv...); err != nil {
		return d, withHint(fmt.Errorf("--detach: the unit was not started: %w", err), "run it without --detach, in tmux or screen")
	}
	d.Follow, d.Stop = "journalctl -fu "+d.Unit, "systemctl stop "+d.Unit
	return d, nil
}

// secretFiles are files with a secret each, by the name that a unit has it under.
type secretFiles map[string]string

func (s secretFiles) remove() (err error) {
	for _, file := range s {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// handOver writes the hosts' passwords for a unit, and returns the hosts' addresses, too.
func (e *effects) handOver() (secrets secretFiles, urls []string, err error) {
	secrets = make(secretFiles)
	for _, o := range e.origins {
		from, ok := o.(*source.ESXi)
		if !ok {
			continue
		}
		cfg, err := from.Config()
		if err != nil {
			return secrets, urls, err
		}
		name := credential
		if len(e.origins) > 1 {
			name = credentialOf(cfg.URL.Host)
		}
		if secrets[name], err = writeSecret(string(cfg.Password)); err != nil {
			delete(secrets, name)
			return secrets, urls, err
		}
		urls = append(urls, sourceURL(cfg))
	}
	return secrets, urls, nil
}

// writeSecret puts a secret into a file in memory that only root can read.
func writeSecret(secret string) (_ string, err error) {
	f, err := os.CreateTemp("/run", "esxodus-password-") // with mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(secret + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// anew are the flags of this command line for a command that asks nothing. What comes
// from the configuration file does so again.
func anew(c *cli.Context) ([]string, error) {
	args := []string{"--yes"}
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if !c.IsSet(name) || slices.Contains([]string{"detach", "yes", "password-file", "esxi", "help"}, name) {
			continue
		}
		values := []string{fmt.Sprint(c.Value(name))}
		if _, list := f.(*cli.StringSliceFlag); list {
			values = c.StringSlice(name)
		}
		for _, v := range values {
			if redact.Text(v) != v || len(redact.Known(v)) > 0 {
				return nil, usagef("--%s %s with --detach: anybody on this host can read a unit's arguments, and this has a password in it", name, redact.Text(v, redact.Known(v)...))
			}
			args = append(args, "--"+name+"="+v)
		}
	}
	return args, nil
}

// handedOver is what of an environment a unit needs. Anybody can read it there.
func handedOver(all []string) ([]string, error) {
	var out []string
	for _, v := range all {
		name, value, _ := strings.Cut(v, "=")
		if !host.Handed(name) && !slices.Contains([]string{"GOVC_USERNAME", "GOVC_INSECURE", "GOVC_TLS_KNOWN_HOSTS"}, name) {
			continue
		}
		if redact.Text(value) != value || len(redact.Known(value)) > 0 {
			return nil, usagef("%s with --detach: anybody on this host can read a unit's environment, and this has a password in it", name)
		}
		out = append(out, v)
	}
	return out, nil
}

// unitProperties confine a batch to what it needs: it writes where journals, disks and
// what a lease brings are, where LVM and locks are, and to temporary directories. It
// needs devices, libvirt's socket, packets of its own making, a network of its own for
// them, and QEMU for the appliance, which writes code as it runs and has this host's
// kernel modules in it.
func unitProperties(dir runs.StateDir, p *plan.Plan, cutsOver bool) []string {
	out := []string{
		// A stop is a first Ctrl-C, for the program alone, which gets time to finish steps.
		"KillMode=mixed", "KillSignal=SIGINT", "TimeoutStopSec=15min", "OOMPolicy=continue",
		"ProtectSystem=strict", "ProtectHome=read-only", "NoNewPrivileges=yes",
		"ProtectKernelLogs=yes", "ProtectKernelTunables=yes", "ProtectControlGroups=yes", "ProtectHostname=yes",
		"LockPersonality=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes", "SystemCallArchitectures=native",
		"RestrictNamespaces=net", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET",
		"CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_TIME CAP_SYSLOG CAP_SYS_PTRACE CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_AUDIT_WRITE CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_SYS_PACCT CAP_SYS_TTY_CONFIG CAP_LEASE CAP_BPF CAP_PERFMON CAP_CHECKPOINT_RESTORE",
	}
	places := []string{string(dir), "-/etc/lvm", "-/run", "/tmp", "/var/tmp"}
	if path, is := strings.CutPrefix(p.Target.Storage, volume.KindDir+":"); is {
		places = append(places, path)
	}
	if cutsOver { // which makes units that start domains in their order
		places = append(places, "-"+cutover.UnitDir)
	}
	for _, s := range p.Sources() {
		if s.Scratch != "" {
			places = append(places, s.Scratch)
		}
	}
	for _, path := range places {
		out = append(out, "ReadWritePaths="+unitQuote(path))
	}
	return out
}

// unitQuote makes one word of a path, as systemd reads words.
func unitQuote(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

// detachBatch has a batch go on by itself, and says how to follow it.
func detachBatch(ctx context.Context, c *cli.Context, t terminal, p *plan.Plan, dir runs.StateDir, e *effects, wantJSON bool) error {
	d, err := detach(ctx, c, p, dir, e)
	if err != nil {
		return err
	}
	if wantJSON {
		return printJSON(t.out, d)
	}
	_, err = fmt.Fprintf(t.out, "The batch goes on by itself, as the unit %s.\n  follow: %s\n      or: %s\n    stop: %s\n          (begins no VM any more, stops copies where they are, and finishes other steps)\n",
		fit.TerminalLine(d.Unit), d.Follow, strings.Trim(t.advice.complete("`esxodus status`"), "`"), d.Stop)
	return err
}
