package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"esxodus/convert/guest/apply"
	"esxodus/convert/host"
	"esxodus/convert/plan"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/convert/source"
	"esxodus/convert/survey"
	"esxodus/convert/target"
	"esxodus/convert/volume"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"
	"esxodus/network/hostnet"
	"esxodus/network/wire"

	"github.com/urfave/cli/v2"
)

// sourceURL is the source's address as plans and journals keep it: with the
// user, without the password.
func sourceURL(cfg esxi.Config) string {
	u := *cfg.URL
	u.Path = ""
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return u.String()
}

// origin is where the VMs come from: a host, or files.
type origin interface {
	run.Host
	// Ready asks for what it takes to read it, before anything is done.
	Ready() error
	Close(ctx context.Context) error
}

// esxiOrigin is a host, whose address and password are asked for when they are needed.
func esxiOrigin(c *cli.Context, t terminal, src plan.Source, config func() (esxi.Config, error)) *source.ESXi {
	return &source.ESXi{
		Config:     config,
		Shell:      func(cfg esxi.Config) shell.Config { return shellConfig(t.at(c, cfg.URL), cfg) },
		Datastores: src.Datastores,
		Stage:      src.Stage(),
	}
}

// effects is what a command acts through, and what must be closed after.
type effects struct {
	run.Effects
	log    *slog.Logger
	source origin
	// origins are all that VMs come from, in the order of a plan's sources; source is the
	// first.
	origins []origin
	virt    *target.Libvirt
	guests  *apply.Converter
	// fromFile tells which flags have their value from the configuration file.
	fromFile func(flag string) bool
	// heeding ends the listening to what is asked of copies.
	heeding func()
}

// of are the effects for VMs of one of a plan's sources, by its number.
func (e *effects) of(from int) *effects {
	one := *e
	one.source = e.origins[from]
	one.Host = one.source
	return &one
}

// hosts are what VMs are read from, in the order of a plan's sources.
func (e *effects) hosts() []run.Host {
	out := make([]run.Host, len(e.origins))
	for i, o := range e.origins {
		out[i] = o
	}
	return out
}

// ready asks for what it takes to read the sources, before anything is done.
func (e *effects) ready() error {
	for _, o := range e.origins {
		if err := o.Ready(); err != nil {
			return err
		}
	}
	return nil
}

// sources is what a plan is made from.
func (e *effects) sources() survey.Sources {
	return survey.Sources{Host: e.source, Storage: e.Storage, Virt: e.virt, Guests: e.guests}
}

// newEffects wires the packages together. Nothing is connected yet: a rollback
// that needs no source asks for no source.
func newEffects(c *cli.Context, t terminal, from []origin, storage, libvirtURI string) (*effects, error) {
	log := logger(c, t)
	tool := host.Tool{Log: log}
	store, err := volume.ParseStorage(storage, tool)
	if err != nil {
		return nil, err
	}
	if err := chosen(c, "proof"); err != nil {
		return nil, err
	}
	rate, err := parseRate(c.String("rate"))
	if err != nil {
		return nil, err
	}
	connections, err := connections(c)
	if err != nil {
		return nil, err
	}
	if err := (shell.Config{KeyFile: c.String("ssh-key"), HostKeyFingerprint: c.String("ssh-fingerprint")}).Check(); err != nil {
		return nil, usageErr(err)
	}
	virt := &target.Libvirt{URI: libvirtURI, Log: log}
	progress := newProgress(t)
	for _, o := range from {
		if host, ok := o.(*source.ESXi); ok {
			host.Progress, host.Rate = progress, rate
		}
	}
	inside := &apply.Converter{Tool: tool, LILO: c.String("lilo"), Dir: c.String("packages")}
	e := &effects{
		Effects: run.Effects{
			Host: from[0], Storage: store, Virt: virt, Guests: inside, Tool: tool, Connections: connections, Rate: rate,
			Patience: c.Duration("patience"),
			NoProof:  c.Bool("no-proof"),
			BootOnly: c.String("proof") == proofBoot,
			Progress: progress, Live: takePlaces,
		},
		log: log, source: from[0], origins: from, virt: virt, guests: inside, fromFile: t.settings.fromFile, heeding: func() {},
	}
	if c.String("state") != "" {
		dir, err := stateDir(c)
		if err != nil {
			return nil, err
		}
		e.heeding = dir.Heed(e.throttle)
		e.Progress = newTeller(progress, dir)
	}
	return e, nil
}

// takePlaces takes places beside NICs on this host's networks.
func takePlaces(nics []wire.LiveNIC) (run.Live, error) {
	l, err := wire.OpenLive(nics, func(device, mode string) (wire.Place, error) {
		s, err := hostnet.OpenSpot(device, mode)
		if err != nil {
			return nil, err
		}
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// throttle does what an admin asks of a program that is at work.
func (e *effects) throttle(t runs.Throttle, err error) {
	if err != nil {
		e.log.Warn("what was asked of the copies can't be read", "error", err)
		return
	}
	if t.Rate != nil {
		e.Rate.Set(*t.Rate)
	}
	if t.Connections != nil {
		e.Connections.Set(*t.Connections)
	}
}

// Close ends the connections that were made. What was done through them is done:
// one that doesn't end well is not a failure of the command.
func (e *effects) Close(ctx context.Context) {
	e.heeding()
	if err := e.guests.Close(); err != nil {
		e.log.WarnContext(ctx, "a temporary directory could not be removed", "error", err)
	}
	err := e.virt.Close()
	for _, o := range e.origins {
		err = errors.Join(err, o.Close(context.WithoutCancel(ctx)))
	}
	if err != nil {
		e.log.WarnContext(ctx, "a connection could not be closed properly", "error", err)
	}
}

// logout ends a session. One that the host doesn't hear of expires by itself.
func logout(ctx context.Context, log *slog.Logger, session interface{ Close(context.Context) error }) {
	if err := session.Close(context.WithoutCancel(ctx)); err != nil {
		log.WarnContext(ctx, "the session on the host stays until it expires", "error", err)
	}
}

// shellConfig says how to reach ESXi's SSH; by default as its API.
func shellConfig(c *cli.Context, cfg esxi.Config) shell.Config {
	sc := shell.Config{
		Addr: c.String("ssh"), User: cfg.URL.User.Username(), Password: cfg.Password,
		KeyFile: c.String("ssh-key"), HostKeyFingerprint: c.String("ssh-fingerprint"), Log: slogOr(cfg.Log), Stall: cfg.Stall,
	}
	if home, err := os.UserHomeDir(); err == nil {
		sc.KnownHosts = []string{filepath.Join(home, ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"}
	}
	if sc.Addr == "" {
		sc.Addr = net.JoinHostPort(cfg.URL.Hostname(), "22")
	}
	return sc
}

func slogOr(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
