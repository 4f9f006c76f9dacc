// Package source is where VMs come from: an ESXi host, through its API and its
// SSH.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"esxodus/convert/plan"
	"esxodus/convert/stage"
	"esxodus/disk"
	"esxodus/disk/vmdk"
	"esxodus/inventory"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"
)

// ESXi is a host as survey and run see it: connected on first use.
type ESXi struct {
	// Config says how to reach its API, Shell from that its SSH. Neither is asked
	// before something is to be done.
	Config func() (esxi.Config, error)
	Shell  func(esxi.Config) shell.Config
	// Datastores are directories of this machine where some are mounted, by name.
	Datastores map[string]string
	// Stage keeps what leases bring.
	Stage stage.Dir
	// Progress and Rate are of what leases bring: who is told of it, and how fast it may
	// come. Both may be nil.
	Progress Progress
	Rate     *disk.Rate

	leasing  sync.Mutex    // held while a lease is
	askAgain time.Duration // between two tries to get one, or a stream of it; 0 is [askAgain]

	mu     sync.Mutex
	client *esxi.Client
	reader *shell.Reader
	// refused is a login that failed: tried again for each VM of a batch it
	// would lock the account.
	refused error
}

// Progress is told of long work.
type Progress interface {
	// Begin is called when work on a VM begins that has so many bytes, add whenever some
	// are done, and end when it is over.
	Begin(vm, what string, total int64) (add func(n int64), end func())
	// Step announces a step that has no measure.
	Step(vm, what string)
}

// Client is its API, connected. It belongs to s.
func (s *ESXi) Client(ctx context.Context) (*esxi.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	if s.refused != nil {
		return nil, s.refused
	}
	cfg, err := s.Config()
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

// Ready makes sure that all is known that it takes to reach the host.
func (s *ESXi) Ready() error {
	_, err := s.Config()
	return err
}

// Close ends the connection, if there is one.
func (s *ESXi) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
		s.reader = nil
	}
	if s.client != nil {
		errs = append(errs, s.client.Close(ctx))
		s.client = nil
	}
	return errors.Join(errs...)
}

// Inventory reads the host again.
func (s *ESXi) Inventory(ctx context.Context) (*inventory.Host, error) {
	client, err := s.Client(ctx)
	if err != nil {
		return nil, err
	}
	return client.Inventory(ctx)
}

// OpenDisk opens the disk behind a descriptor for random reads, by the way that its
// origin says. The image and its close function are bound to ctx.
func (s *ESXi) OpenDisk(ctx context.Context, from plan.Origin) (disk.Image, func() error, error) {
	client, err := s.Client(ctx)
	if err != nil {
		return nil, nil, err
	}
	if from.Way == plan.WayNFC {
		return s.leased(ctx, client, from)
	}
	opener, err := client.VMDKOpener(ctx, from.Path)
	if err != nil {
		return nil, nil, err
	}
	var files vmdk.Opener = remoteFiles{opener}
	switch from.Way {
	case plan.WayFile:
		files = mountedFiles{opener, s.Datastores}
	case plan.WaySSH:
		reader, err := s.shellReader()
		if err != nil {
			return nil, nil, err
		}
		files = shellFiles{ctx, opener, reader}
	case plan.WayHTTPS, plan.WayNFC:
	}
	return openImage(files, fileOf(from.Path), cmp.Or(from.File, from.Path))
}

// OpenVMDK opens the VMDK behind a datastore path, with a function that closes it.
func OpenVMDK(ctx context.Context, client *esxi.Client, descriptor string) (disk.Image, func() error, error) {
	opener, err := client.VMDKOpener(ctx, descriptor)
	if err != nil {
		return nil, nil, err
	}
	return openImage(remoteFiles{opener}, fileOf(descriptor), descriptor)
}

// fileOf is the name of a file in its directory, by its datastore path.
func fileOf(datastorePath string) string {
	_, file, _ := strings.Cut(datastorePath, "] ")
	return path.Base(file)
}

// openImage opens a disk by the name of its descriptor, which errors call as said.
func openImage(files vmdk.Opener, name, called string) (disk.Image, func() error, error) {
	img, err := vmdk.Open(files, name)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", called, err)
	}
	return img, img.Close, nil
}

// remoteFiles lets package vmdk open what package esxi reads; neither knows
// the other.
type remoteFiles struct{ opener *esxi.Opener }

// Open implements vmdk.Opener.
func (r remoteFiles) Open(name string) (vmdk.File, error) { return r.opener.Open(name) }

// Parent implements vmdk.Opener.
func (r remoteFiles) Parent(hint string) (vmdk.Opener, string, error) {
	opener, name, err := r.opener.Parent(hint)
	return remoteFiles{opener}, name, err
}

// Shutdown asks a guest to shut down through the API or SSH, and returns once the
// VM is off. An error whose method Refused returns true means that the guest was
// not asked.
func (s *ESXi) Shutdown(ctx context.Context, via inventory.Via, id string) error {
	if via == inventory.ViaSSH {
		return refused(s.onShell(ctx, func(sh *shell.Client) error { return sh.Shutdown(ctx, id) }))
	}
	client, err := s.Client(ctx)
	if err != nil {
		return &refusedError{err}
	}
	return refused(client.Shutdown(ctx, id))
}

// refusedError is a shutdown that the guest wasn't asked for.
type refusedError struct{ error }

// Refused reports that, across packages.
func (e *refusedError) Refused() bool { return true }

// Unasked reports that nobody can ask the guest, for want of VMware Tools in it.
func (e *refusedError) Unasked() bool { return errors.Is(e.error, esxi.ErrNoTools) }

// Unwrap returns why.
func (e *refusedError) Unwrap() error { return e.error }

// refused marks the errors after which the guest has not been asked to shut
// down. Of any other it may have been.
func refused(err error) error {
	for _, no := range []error{esxi.ErrRestricted, esxi.ErrNoTools, esxi.ErrPermission, esxi.ErrLogin, errNoShell} {
		if errors.Is(err, no) {
			return &refusedError{err}
		}
	}
	if errors.Is(err, esxi.ErrStillOn) {
		return &stillOnError{err}
	}
	return err
}

// stillOnError is a guest that was asked to shut down, and hasn't.
type stillOnError struct{ error }

// StillOn reports that, across packages.
func (e *stillOnError) StillOn() bool { return true }
func (e *stillOnError) Unwrap() error { return e.error }

// PowerOn powers a VM on.
func (s *ESXi) PowerOn(ctx context.Context, via inventory.Via, id string) error {
	return s.by(ctx, via, func(h changer) error { return h.PowerOn(ctx, id) })
}

// PowerOff cuts a VM's power, and returns once it is off.
func (s *ESXi) PowerOff(ctx context.Context, via inventory.Via, id string) error {
	return s.by(ctx, via, func(h changer) error { return h.PowerOff(ctx, id) })
}

// AutoStart returns a VM's entry in the host's autostart, the zero one where it has
// none.
func (s *ESXi) AutoStart(ctx context.Context, via inventory.Via, id string) (e inventory.AutoStartEntry, err error) {
	err = s.by(ctx, via, func(h changer) (err error) { e, err = h.AutoStartEntry(ctx, id); return err })
	return e, err
}

// SetAutoStart changes it.
func (s *ESXi) SetAutoStart(ctx context.Context, via inventory.Via, id string, e inventory.AutoStartEntry) error {
	return s.by(ctx, via, func(h changer) error { return h.SetAutoStart(ctx, id, e) })
}

// Away reports whether an error is that the host can't be reached.
func (s *ESXi) Away(err error) bool { return esxi.Away(err) }

// changer is what changes something on a host: its API, or its shell.
type changer interface {
	PowerOn(ctx context.Context, id string) error
	PowerOff(ctx context.Context, id string) error
	AutoStartEntry(ctx context.Context, id string) (inventory.AutoStartEntry, error)
	SetAutoStart(ctx context.Context, id string, e inventory.AutoStartEntry) error
}

// by has a host asked by a way.
func (s *ESXi) by(ctx context.Context, via inventory.Via, do func(changer) error) error {
	if via == inventory.ViaSSH {
		return s.onShell(ctx, func(sh *shell.Client) error { return do(sh) })
	}
	client, err := s.Client(ctx)
	if err != nil {
		return err
	}
	return do(client)
}

// errNoShell means that no command was sent.
var errNoShell = errors.New("ssh to ESXi")

func (s *ESXi) onShell(ctx context.Context, do func(*shell.Client) error) error {
	cfg, err := s.Config()
	if err != nil {
		return err
	}
	sh, err := shell.Dial(ctx, s.Shell(cfg))
	if err != nil {
		return fmt.Errorf("%w: %w", errNoShell, err)
	}
	return errors.Join(do(sh), sh.Close())
}
