package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"esxodus/convert"
	"esxodus/convert/host"
	"esxodus/disk"
	"esxodus/disk/vmdk"
	"esxodus/inventory"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"

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

// effects is what a command acts through, and what must be closed after.
type effects struct {
	convert.Effects
	source *source
	virt   *hypervisor
}

// newEffects wires the packages together. Nothing is connected yet: a rollback
// that needs no source asks for no source.
func newEffects(c *cli.Context, t terminal, cfg esxi.Config, storage, libvirtURI string) (*effects, error) {
	log := logger(c, t)
	tool := host.Tool{Log: log}
	store, err := host.ParseStorage(storage, tool)
	if err != nil {
		return nil, err
	}
	rate, err := parseRate(c.String("rate"))
	if err != nil {
		return nil, err
	}
	workers, err := readers(c)
	if err != nil {
		return nil, err
	}
	src := &source{
		config: func() (esxi.Config, error) { return cfg, nil },
		shell:  func(cfg esxi.Config) shell.Config { return shellConfig(c, cfg) },
	}
	virt := &hypervisor{uri: libvirtURI, log: log}
	return &effects{
		Effects: convert.Effects{
			Host: src, Storage: store, Virt: virt, Guests: &guests{tool: tool, lilo: c.String("lilo"), packages: c.String("packages")}, Tool: tool, Log: log, Workers: workers, Rate: rate,
			NoProof:  c.Bool("no-proof"),
			Progress: newProgress(t),
		},
		source: src, virt: virt,
	}, nil
}

// Close ends the connections that were made. What was done through them is done:
// one that doesn't end well is no failure of the command.
func (e *effects) Close(ctx context.Context) {
	if err := errors.Join(e.source.Close(context.WithoutCancel(ctx)), e.virt.Close()); err != nil {
		e.Log.WarnContext(ctx, "a connection did not end well", "error", err)
	}
}

// logout ends a session. One that the host doesn't hear of expires by itself.
func logout(ctx context.Context, log *slog.Logger, client *esxi.Client) {
	if err := client.Close(context.WithoutCancel(ctx)); err != nil {
		log.WarnContext(ctx, "the session on the host stays until it expires", "error", err)
	}
}

// source is the ESXi host as package convert sees it: connected on first use.
type source struct {
	config func() (esxi.Config, error)
	shell  func(esxi.Config) shell.Config
	mu     sync.Mutex
	client *esxi.Client
	// refused is a login that failed: tried again for each VM of a batch it
	// would lock the account.
	refused error
}

func (s *source) dial(ctx context.Context) (*esxi.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	if s.refused != nil {
		return nil, s.refused
	}
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	client, err := esxi.Dial(ctx, cfg)
	if errors.Is(err, esxi.ErrLogin) {
		s.refused = err
	}
	if err != nil {
		return nil, err
	}
	s.client = client
	return client, nil
}

func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	err := s.client.Close(ctx)
	s.client = nil
	return err
}

// Inventory implements convert.Host.
func (s *source) Inventory(ctx context.Context) (*inventory.Host, error) {
	client, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	return client.Inventory(ctx)
}

// OpenDisk implements convert.Host.
func (s *source) OpenDisk(ctx context.Context, path string) (disk.Image, func() error, error) {
	client, err := s.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	return openRemote(ctx, client, path)
}

// openRemote opens the VMDK behind a datastore path.
func openRemote(ctx context.Context, client *esxi.Client, descriptor string) (disk.Image, func() error, error) {
	opener, err := client.VMDKOpener(ctx, descriptor)
	if err != nil {
		return nil, nil, err
	}
	_, file, _ := strings.Cut(descriptor, "] ")
	img, err := vmdk.Open(remoteFiles{opener}, path.Base(file))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", descriptor, err)
	}
	return img, img.Close, nil
}

// remoteFiles lets package vmdk open what package esxi reads; neither knows
// the other.
type remoteFiles struct{ opener *esxi.Opener }

// Open implements vmdk.Opener.
func (r remoteFiles) Open(name string) (vmdk.File, error) { return r.opener.Open(name) }

// Shutdown implements convert.Host.
func (s *source) Shutdown(ctx context.Context, road, id string) error {
	if road == "ssh" {
		return refused(s.onShell(ctx, func(sh *shell.Client) error { return sh.Shutdown(ctx, id) }))
	}
	client, err := s.dial(ctx)
	if err != nil {
		return &convert.RefusedError{Err: err}
	}
	return refused(client.Shutdown(ctx, id))
}

// refused marks the errors after which the guest has not been asked to shut
// down. Of any other it may have been.
func refused(err error) error {
	for _, no := range []error{esxi.ErrRestricted, esxi.ErrNoTools, esxi.ErrPermission, esxi.ErrLogin, errNoShell} {
		if errors.Is(err, no) {
			return &convert.RefusedError{Err: err}
		}
	}
	return err
}

// PowerOn implements convert.Host.
func (s *source) PowerOn(ctx context.Context, road, id string) error {
	if road == "ssh" {
		return s.onShell(ctx, func(sh *shell.Client) error { return sh.PowerOn(ctx, id) })
	}
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	return client.PowerOn(ctx, id)
}

// errNoShell means that no command was sent.
var errNoShell = errors.New("ssh to ESXi")

func (s *source) onShell(ctx context.Context, do func(*shell.Client) error) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	sh, err := shell.Dial(ctx, s.shell(cfg))
	if err != nil {
		return fmt.Errorf("%w: %w", errNoShell, err)
	}
	return errors.Join(do(sh), sh.Close())
}

// shellConfig says how to reach ESXi's SSH; by default as its API.
func shellConfig(c *cli.Context, cfg esxi.Config) shell.Config {
	sc := shell.Config{
		Addr: c.String("ssh"), User: cfg.URL.User.Username(), Password: cfg.Password,
		KeyFile: c.String("ssh-key"), HostKeyFingerprint: c.String("ssh-fingerprint"), Log: slogOr(cfg.Log),
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
