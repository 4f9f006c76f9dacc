// Package survey reads everything that a plan is made from: the ESXi host, the
// insides of its VMs' disks, and what the target has and can. It changes nothing.
package survey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"esxodus/convert/guest"
	"esxodus/convert/guest/inspect"
	"esxodus/convert/ledger"
	"esxodus/convert/packages"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
	"esxodus/disk"
	"esxodus/inventory"

	"golang.org/x/sync/errgroup"
)

// lookers is how many VMs are looked into at a time.
const lookers = 4

// Host is the ESXi host, as much of it as a plan is made from.
type Host interface {
	// Inventory reads the host anew.
	Inventory(ctx context.Context) (*inventory.Host, error)
	// OpenDisk opens the disk behind a descriptor for random reads. The
	// image and its close function are bound to ctx.
	OpenDisk(ctx context.Context, path string) (disk.Image, func() error, error)
}

// Hypervisor says what libvirt on the target has and can.
type Hypervisor interface {
	Facts(ctx context.Context) (plan.TargetFacts, error)
}

// Guests says which guests can be converted here.
type Guests interface {
	// Missing says why no guest with file systems of these types can be
	// converted on this host, "" if it can.
	Missing(types []string) string
	// Packages finds the packages that a guest lacks, with what they need.
	Packages(ctx context.Context, g guest.Guest, names []string) (packages.Set, error)
}

// Sources is everything that a plan is made from.
type Sources struct {
	Host    Host
	Storage volume.Storage
	Virt    Hypervisor
	Guests  Guests
}

// Gather reads everything that a plan is made from and changes nothing. What
// can't be known of the target or of a guest is left open; the plan says so.
func Gather(ctx context.Context, s Sources, src plan.Source, o plan.Options) (plan.Facts, error) {
	h, err := s.Host.Inventory(ctx)
	if err != nil {
		return plan.Facts{}, err
	}
	src.Host, src.Version = h.Name, h.Version
	f := plan.Facts{Source: src, Host: h}
	vms, err := h.Select(o.VMs)
	if err != nil {
		return f, fmt.Errorf("%w; `esxodus inventory` lists names and ids", err)
	}
	if f.Target, err = s.Virt.Facts(ctx); err != nil {
		if ctx.Err() != nil {
			return f, context.Cause(ctx)
		}
		f.Target = plan.TargetFacts{Missing: err.Error()}
	}
	vms = plan.Plannable(vms)
	if f.Guests, f.Unread, err = lookAll(ctx, s.Host, vms); err != nil {
		return f, err
	}
	if err := askGuests(ctx, &f, s.Guests, vms, o); err != nil {
		return f, err
	}
	return f, askStorage(ctx, &f, s.Storage, vms, o)
}

// askStorage asks what is there for volumes as large as the layouts need them.
// A VM whose volumes the storage can't even name is left to [New], which says
// so.
func askStorage(ctx context.Context, f *plan.Facts, storage volume.Storage, vms []*inventory.VM, o plan.Options) error {
	var all []volume.Volume
	for _, vm := range vms {
		vols, err := plan.Volumes(vm, f.Lay(vm, o), storage)
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

// lookAll looks into the disks of every VM that can be looked into. Both maps
// are by VM id.
func lookAll(ctx context.Context, h Host, vms []*inventory.VM) (map[string]guest.Guest, map[string]*plan.UnreadError, error) {
	guests, unread := make(map[string]guest.Guest), make(map[string]*plan.UnreadError)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookers)
	for _, vm := range vms {
		g.Go(func() error {
			found, err := look(ctx, h, vm)
			if err != nil && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				found.Notes = append(found.Notes, "no look inside: "+err.Error())
			}
			mu.Lock()
			defer mu.Unlock()
			guests[vm.ID] = found
			if u, ok := errors.AsType[*plan.UnreadError](err); ok {
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
	if cs := plan.FormatConcerns(vm); len(cs) > 0 {
		return guest.Guest{}, errors.New(cs[0].Evidence)
	}
	var sources []inspect.Source
	for _, d := range vm.Disks {
		img, closeImage, err := h.OpenDisk(ctx, d.Path)
		if err != nil {
			return guest.Guest{}, &plan.UnreadError{Address: d.Address(), Err: err}
		}
		defer func() { err = errors.Join(err, closeImage()) }()
		if img.Size() != d.Capacity {
			return guest.Guest{}, &plan.UnreadError{Address: d.Address(), Err: fmt.Errorf("%s holds %d bytes, the VM's configuration says %d", d.Path, img.Size(), d.Capacity)}
		}
		sources = append(sources, inspect.Source{Address: d.Address(), Image: img})
	}
	return inspect.Look(ctx, sources)
}

// askGuests finds out, for each guest that could get a new layout, whether it
// can be converted here.
func askGuests(ctx context.Context, f *plan.Facts, guests Guests, vms []*inventory.VM, o plan.Options) error {
	f.Convertible = make(map[string]plan.GuestFacts)
	for _, vm := range vms {
		v := plan.VMPlan{Source: *vm, Guest: f.Guests[vm.ID], Layout: f.Lay(vm, o)}
		if !v.Relaid() {
			continue
		}
		facts := plan.GuestFacts{Missing: guests.Missing(contents(&v))}
		if facts.Missing == "" {
			facts = askPackages(ctx, guests, &v)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f.Convertible[vm.ID] = facts
	}
	return nil
}

// contents lists the types of the guest's file systems.
func contents(v *plan.VMPlan) []string {
	var types []string
	for _, m := range v.Layout.Moves {
		types = append(types, m.Content)
	}
	return types
}

// askPackages finds what speaks against a guest's conversion, and the packages
// that it lacks.
func askPackages(ctx context.Context, guests Guests, v *plan.VMPlan) plan.GuestFacts {
	conv, _, cs := v.GuestConversion()
	for _, c := range cs {
		if c.Severity == ledger.Blocker {
			return plan.GuestFacts{Missing: c.Evidence + " (" + c.Advice + ")"}
		}
	}
	var facts plan.GuestFacts
	if len(conv.Install) > 0 {
		var err error
		if facts.Packages, err = guests.Packages(ctx, v.Guest, conv.Install); err != nil {
			return plan.GuestFacts{Missing: fmt.Sprintf("the guest lacks %s, and there is no package of it: %v", strings.Join(conv.Install, ", "), err)}
		}
	}
	if err := v.Guest.Room(&conv, len(facts.Packages.Packages), facts.Packages.Unpacked); err != nil {
		return plan.GuestFacts{Missing: err.Error()}
	}
	return facts
}
