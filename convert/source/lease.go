package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"esxodus/convert/plan"
	"esxodus/convert/stage"
	"esxodus/disk"
	"esxodus/disk/vmdk"
	"esxodus/inventory"
	"esxodus/inventory/esxi"
)

// leased opens a disk that a lease brings: from the file where it is kept, and if it
// isn't there in the state that the host has it in, after a lease has brought all disks
// of its VM. One lease at a time: ESXi's NFC service has little memory for them.
func (s *ESXi) leased(ctx context.Context, client *esxi.Client, from plan.Origin) (disk.Image, func() error, error) {
	s.leasing.Lock()
	defer s.leasing.Unlock()
	h, vm, err := owner(ctx, client, from.Path)
	if err != nil {
		return nil, nil, err
	}
	img, err := stage.Open(from.File, staged(h, vm, diskAt(vm, from.Path)))
	if errors.Is(err, stage.ErrAbsent) {
		var of stage.Disk
		if of, err = s.bring(ctx, client, vm, from.Path); err != nil {
			return nil, nil, err
		}
		img, err = stage.Open(from.File, of)
	}
	if err != nil {
		return nil, nil, err
	}
	return img, img.Close, nil
}

// owner is the VM that has a disk, as it is now.
func owner(ctx context.Context, client *esxi.Client, path string) (*inventory.Host, *inventory.VM, error) {
	h, err := client.Inventory(ctx)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(h.VMs, func(vm inventory.VM) bool { return diskAt(&vm, path) != nil })
	if i < 0 {
		return nil, nil, fmt.Errorf("%s: no VM of %s has this disk any more", path, h.Name)
	}
	return h, &h.VMs[i], nil
}

// diskAt is the disk of a VM with this descriptor, nil if there is none.
func diskAt(vm *inventory.VM, path string) *inventory.Disk {
	i := slices.IndexFunc(vm.Disks, func(d inventory.Disk) bool { return d.Path == path })
	if i < 0 {
		return nil
	}
	return &vm.Disks[i]
}

// staged is a disk in the state that the host has it in. Neither a name nor an id is
// any host's or VM's alone.
func staged(h *inventory.Host, vm *inventory.VM, d *inventory.Disk) stage.Disk {
	return stage.Disk{
		Host: h.Name + " " + h.UUID, VM: vm.ID + " " + vm.InstanceUUID, Path: d.Path, Size: d.Capacity,
		ChangeVersion: vm.ChangeVersion, ContentID: d.ContentID,
	}
}

// bring has a lease bring all disks of a VM that aren't kept yet. It returns in which
// state the one at path came.
func (s *ESXi) bring(ctx context.Context, client *esxi.Client, vm *inventory.VM, path string) (of stage.Disk, err error) {
	lease, err := s.export(ctx, client, vm)
	if err != nil {
		return of, err
	}
	defer func() { err = errors.Join(err, lease.Close(ctx)) }()
	// Only from now on nobody can start the VM, which may have run while that was
	// waited for.
	h, vm, err := owner(ctx, client, path)
	if err != nil {
		return of, err
	}
	for _, d := range vm.Disks { // not after hours of others
		if err := lease.Has(d); err != nil {
			return of, err
		}
	}
	for _, d := range vm.Disks {
		if err := s.keep(ctx, lease, h, vm, d); err != nil {
			return of, fmt.Errorf("%s: %w", d.Address(), err)
		}
	}
	return staged(h, vm, diskAt(vm, path)), s.asSent(ctx, lease)
}

// asSent holds what a lease has brought against what the host says that it sent, where it
// says that: what differs isn't kept. The streams' own sums and ends were seen before.
func (s *ESXi) asSent(ctx context.Context, lease *esxi.Export) error {
	err := lease.Verify(ctx)
	if err == nil || errors.Is(err, esxi.ErrUnknown) {
		return nil
	}
	for _, d := range lease.Disks() {
		err = errors.Join(err, stage.Remove(s.Stage.File(d.Path)))
	}
	return err
}

// keep takes a disk into its file, if it isn't there yet.
func (s *ESXi) keep(ctx context.Context, lease *esxi.Export, h *inventory.Host, vm *inventory.VM, d inventory.Disk) error {
	of, file := staged(h, vm, &d), s.Stage.File(d.Path)
	img, err := stage.Open(file, of)
	switch {
	case err == nil:
		return img.Close()
	case errors.Is(err, stage.ErrAbsent):
		return s.persist(ctx, lease, file, of, vm.Name, d)
	}
	return err
}

// streamTries is how often a stream is begun.
const streamTries = 5

// persist takes a disk, and again where its stream breaks: from the beginning, but what
// has come isn't written again.
func (s *ESXi) persist(ctx context.Context, lease *esxi.Export, file string, of stage.Disk, vm string, d inventory.Disk) error {
	for try := 1; ; try++ {
		err := s.take(ctx, lease, file, of, vm, d)
		if !broke(err) || ctx.Err() != nil || try == streamTries {
			return err
		}
		if s.Progress != nil {
			s.Progress.Step(vm, fmt.Sprintf("begin the stream of %s again: %v", d.Address(), err))
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
}

// broke reports whether a stream ended too early, or went silent.
func broke(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, esxi.ErrStalled) || errors.Is(err, io.ErrUnexpectedEOF)
}

// wait waits until something is to be asked for again.
func (s *ESXi) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(cmp.Or(s.askAgain, askAgain)):
		return nil
	}
}

// A lease that nobody renews is gone after five minutes on ESXi.
const (
	longestLocked = 6 * time.Minute
	askAgain      = 5 * time.Second
)

// export asks for a lease on a VM. Where another one is held, as by a run that was
// killed, it waits until that is gone; not for somebody to switch the VM off.
func (s *ESXi) export(ctx context.Context, client *esxi.Client, vm *inventory.VM) (*esxi.Export, error) {
	for start, told := time.Now(), false; ; told = true {
		lease, err := client.Export(ctx, vm.ID)
		if !errors.Is(err, esxi.ErrLocked) || errors.Is(err, esxi.ErrNotOff) || time.Since(start) > longestLocked {
			return lease, err
		}
		if !told && s.Progress != nil {
			s.Progress.Step(vm.Name, fmt.Sprintf("wait for another lease to end, for %s at most: %v", longestLocked, err))
		}
		if err := s.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// take reads a disk's stream into its file.
func (s *ESXi) take(ctx context.Context, lease *esxi.Export, file string, of stage.Disk, vm string, d inventory.Disk) (err error) {
	body, err := lease.Open(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	stream, err := vmdk.OpenStream(body)
	if err != nil {
		return err
	}
	o := disk.Options{Rate: s.Rate}
	if s.Progress != nil {
		add, end := s.Progress.Begin(vm, "bring "+d.Address()+" by a lease", d.Capacity)
		defer end()
		o.Progress = add
	}
	return stage.Take(ctx, file, of, stream, o)
}
