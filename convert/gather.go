package convert

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"esxodus/convert/guest"
	"esxodus/convert/host"
	"esxodus/inventory"

	"golang.org/x/sync/errgroup"
)

// lookers is how many VMs are looked into at a time.
const lookers = 4

// Gather reads everything that a plan is made from and changes nothing. What
// can't be known of the target or of a guest is left open; the plan says so.
func Gather(ctx context.Context, e Effects, src Source, o Options) (Facts, error) {
	h, err := e.Host.Inventory(ctx)
	if err != nil {
		return Facts{}, err
	}
	src.Host, src.Version = h.Name, h.Version
	f := Facts{Source: src, Host: h}
	vms, err := h.Select(o.VMs)
	if err != nil {
		return f, fmt.Errorf("%w; `esxodus inventory` lists names and ids", err)
	}
	if f.Target, err = e.Virt.Facts(ctx); err != nil {
		if ctx.Err() != nil {
			return f, context.Cause(ctx)
		}
		f.Target = TargetFacts{Missing: err.Error()}
	}
	vms = plannable(vms)
	if f.Guests, f.Unread, err = lookAll(ctx, e, vms); err != nil {
		return f, err
	}
	if err := f.askGuests(ctx, e.Guests, vms, o); err != nil {
		return f, err
	}
	return f, f.askStorage(ctx, e.Storage, vms, o)
}

// askStorage asks what is there for volumes as large as the layouts need them.
// A VM whose volumes the storage can't even name is left to [New], which says
// so.
func (f *Facts) askStorage(ctx context.Context, storage Storage, vms []*inventory.VM, o Options) error {
	var all []host.Volume
	for _, vm := range vms {
		vols, err := volumes(vm, f.lay(vm, o), storage)
		if err == nil {
			all = append(all, vols...)
		}
	}
	facts, err := storage.Check(ctx, all)
	if err != nil {
		return err
	}
	f.Storage = facts
	return nil
}

// unreadError is a disk that can't be opened, though what the host says of its
// VM lets one expect that it can.
type unreadError struct {
	address string
	err     error
}

func (e *unreadError) Error() string { return e.address + ": " + e.err.Error() }
func (e *unreadError) Unwrap() error { return e.err }

// lookAll looks into the disks of every VM that can be looked into. Both maps
// are by VM id.
func lookAll(ctx context.Context, e Effects, vms []*inventory.VM) (map[string]guest.Guest, map[string]*unreadError, error) {
	guests, unread := make(map[string]guest.Guest), make(map[string]*unreadError)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookers)
	for _, vm := range vms {
		g.Go(func() error {
			found, err := look(ctx, e.Host, vm)
			if err != nil && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				found.Notes = append(found.Notes, "no look inside: "+err.Error())
			}
			mu.Lock()
			defer mu.Unlock()
			guests[vm.ID] = found
			if u, ok := errors.AsType[*unreadError](err); ok {
				unread[vm.ID] = u
			}
			return nil
		})
	}
	return guests, unread, g.Wait()
}

// look opens a VM's disks and looks inside. A VM whose disks can't be read
// (it runs, or they are no flat files) is told by a note.
func look(ctx context.Context, h Host, vm *inventory.VM) (_ guest.Guest, err error) {
	if vm.Power != inventory.PoweredOff {
		return guest.Guest{}, fmt.Errorf("the VM is %s and its disks are locked", vm.Power)
	}
	if cs := formatConcerns(vm); len(cs) > 0 {
		return guest.Guest{}, errors.New(cs[0].Evidence)
	}
	var sources []guest.Source
	for _, d := range vm.Disks {
		img, closeImage, err := h.OpenDisk(ctx, d.Path)
		if err != nil {
			return guest.Guest{}, &unreadError{d.Address(), err}
		}
		defer func() { err = errors.Join(err, closeImage()) }()
		if img.Size() != d.Capacity {
			return guest.Guest{}, &unreadError{d.Address(), fmt.Errorf("%s holds %d bytes, the VM's configuration says %d", d.Path, img.Size(), d.Capacity)}
		}
		sources = append(sources, guest.Source{Address: d.Address(), Image: img})
	}
	return guest.Look(ctx, sources)
}
