package source

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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
	h, err := client.Inventory(ctx)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(h.VMs, func(vm inventory.VM) bool {
		return slices.ContainsFunc(vm.Disks, func(d inventory.Disk) bool { return d.Path == from.Path })
	})
	if i < 0 {
		return nil, nil, fmt.Errorf("%s: no VM of %s has this disk any more", from.Path, h.Name)
	}
	vm := &h.VMs[i]
	d := &vm.Disks[slices.IndexFunc(vm.Disks, func(d inventory.Disk) bool { return d.Path == from.Path })]
	img, err := stage.Open(from.File, staged(h, vm, d))
	if errors.Is(err, stage.ErrAbsent) {
		if err := s.bring(ctx, client, h, vm, filepath.Dir(from.File)); err != nil {
			return nil, nil, err
		}
		img, err = stage.Open(from.File, staged(h, vm, d))
	}
	if err != nil {
		return nil, nil, err
	}
	return img, img.Close, nil
}

// staged is a disk in the state that the host has it in.
func staged(h *inventory.Host, vm *inventory.VM, d *inventory.Disk) stage.Disk {
	return stage.Disk{Host: h.Name, VM: vm.ID, Path: d.Path, Size: d.Capacity, ChangeVersion: vm.ChangeVersion, ContentID: d.ContentID}
}

// bring has a lease bring all disks of a VM that aren't kept yet.
func (s *ESXi) bring(ctx context.Context, client *esxi.Client, h *inventory.Host, vm *inventory.VM, dir string) (err error) {
	lease, err := s.export(ctx, client, vm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Close(ctx)) }()
	for _, d := range vm.Disks {
		of, file := staged(h, vm, &d), stage.File(dir, d.Path)
		img, err := stage.Open(file, of)
		if err == nil {
			err = img.Close()
		} else if errors.Is(err, stage.ErrAbsent) {
			err = s.take(ctx, lease, file, of, vm.Name, d)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.Address(), err)
		}
	}
	if err := lease.Verify(ctx); !errors.Is(err, esxi.ErrUnknown) {
		return err
	}
	return nil // the streams' own sums and ends were seen
}

// A lease that nobody renews is gone after five minutes on ESXi.
const (
	longestLocked = 6 * time.Minute
	askAgain      = 5 * time.Second
)

// export asks for a lease on a VM that is off. Where another one is held, as by a run
// that was killed, it waits until that is gone.
func (s *ESXi) export(ctx context.Context, client *esxi.Client, vm *inventory.VM) (*esxi.Export, error) {
	for start, told := time.Now(), false; ; told = true {
		lease, err := client.Export(ctx, vm.ID)
		if !errors.Is(err, esxi.ErrLocked) || vm.Power != inventory.PoweredOff || time.Since(start) > longestLocked {
			return lease, err
		}
		if !told && s.Progress != nil {
			s.Progress.Step(vm.Name, fmt.Sprintf("wait for another lease to end, for %s at most: %v", longestLocked, err))
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(askAgain):
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
