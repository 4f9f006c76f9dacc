package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"esxodus/convert/guest"
	"esxodus/convert/guest/inspect"
	"esxodus/convert/plan"
	"esxodus/disk/part"
	"esxodus/disk/unused"
	"esxodus/inventory"
	"esxodus/inventory/esxi"

	"golang.org/x/sync/errgroup"
)

const (
	// lookers is how many VMs are looked into at a time.
	lookers = 4
	// maxVain is how many VMs in a row a datastore may answer only after many tries, and
	// then with a refusal, before its others aren't tried: each one takes a minute.
	maxVain = 4
)

// lookAll looks into the disks of every VM that can be looked into. Both maps
// are by VM id.
func lookAll(ctx context.Context, h Host, src *plan.Source, o *plan.Options, vms []*inventory.VM) (map[string]guest.Guest, map[string]*plan.UnreadError, error) {
	l := looks{guests: make(map[string]guest.Guest), unread: make(map[string]*plan.UnreadError), vain: make(map[string][]error), texts: make(map[string]string)}
	caches := make(chan *part.Cache, lookers)
	for range lookers {
		caches <- new(part.Cache)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookers)
	for _, vm := range vms {
		g.Go(func() error {
			var found guest.Guest
			err := closed(src, o, vm)
			if err == nil {
				err = l.tired(vm)
			}
			if err == nil {
				cache := <-caches // one is free, as there is one for each that looks
				found, err = look(ctx, h, src, o, vm, cache)
				caches <- cache
			}
			if err != nil && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			l.add(vm, found, err)
			return nil
		})
	}
	return l.guests, l.unread, g.Wait()
}

// looks is what looks into several VMs at a time have found.
type looks struct {
	mu     sync.Mutex
	guests map[string]guest.Guest
	unread map[string]*plan.UnreadError
	vain   map[string][]error // of the VMs in a row, by datastore
	texts  map[string]string  // of the guests' files, each once
}

// tired says that a VM isn't tried, after so many others on its datastore.
func (l *looks) tired(vm *inventory.VM) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(vm.Disks) == 0 || len(l.vain[storeOf(vm)]) < maxVain {
		return nil
	}
	why := l.vain[storeOf(vm)]
	return &plan.UnreadError{Address: vm.Disks[0].Address(), Err: fmt.Errorf("not tried, after %d VMs on %s in vain: %w", len(why), storeOf(vm), why[0])}
}

// add notes what a look has found, or why there is none.
func (l *looks) add(vm *inventory.VM, found guest.Guest, err error) {
	if err != nil {
		found.Notes = append(found.Notes, "no look inside: "+err.Error())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	found.Config.Share(l.texts)
	l.guests[vm.ID] = found
	u, ok := errors.AsType[*plan.UnreadError](err)
	if ok {
		l.unread[vm.ID] = u
	}
	switch {
	case len(vm.Disks) == 0 || len(l.vain[storeOf(vm)]) >= maxVain:
	case err == nil:
		delete(l.vain, storeOf(vm))
	case ok && errors.Is(err, esxi.ErrGaveUp):
		l.vain[storeOf(vm)] = append(l.vain[storeOf(vm)], u.Err)
	}
}

// storeOf is the datastore of a VM that has disks, as its first disk's path names it.
func storeOf(vm *inventory.VM) string {
	store, _, _ := strings.Cut(vm.Disks[0].Path, "] ")
	return store + "]"
}

// look opens a VM's disks and looks inside. A VM whose disks can't be read
// (it runs, or they are not flat files) is said in a note. The cache, which it empties, is
// of both that look inside: they read much the same.
func look(ctx context.Context, h Host, src *plan.Source, o *plan.Options, vm *inventory.VM, cache *part.Cache) (_ guest.Guest, err error) {
	if err := closed(src, o, vm); err != nil {
		return guest.Guest{}, err
	}
	defer cache.Forget()
	sources, closeAll, err := open(ctx, h, src, o, vm, cache)
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return guest.Guest{}, err
	}
	g, err := inspect.Look(ctx, sources)
	if err != nil || o.AllBlocks {
		return g, err
	}
	var disks []unused.Disk
	for _, s := range sources {
		disks = append(disks, unused.Disk(s))
	}
	found, err := unused.Find(ctx, disks)
	if err != nil && ctx.Err() != nil {
		return g, context.Cause(ctx)
	}
	if err != nil { // the run looks again
		g.Notes = append(g.Notes, err.Error())
	}
	g.Spaces = found.Spaces
	return g, nil
}

// open opens a VM's disks, to be read through the cache. What it has opened is to be
// closed after an error, too.
func open(ctx context.Context, h Host, src *plan.Source, o *plan.Options, vm *inventory.VM, cache *part.Cache) (sources []inspect.Source, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, c := range slices.Backward(closers) {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	for _, d := range vm.Disks {
		img, closeImage, err := h.OpenDisk(ctx, src.Origin(&d, o.Way(vm)))
		if err != nil {
			return nil, closeAll, &plan.UnreadError{Address: d.Address(), Err: err}
		}
		closers = append(closers, closeImage)
		if img.Size() != d.Capacity {
			return nil, closeAll, &plan.UnreadError{Address: d.Address(), Err: fmt.Errorf("%s holds %d bytes, but the VM's configuration says %d", d.Path, img.Size(), d.Capacity)}
		}
		sources = append(sources, inspect.Source{Address: d.Address(), Image: cache.Image(img)})
	}
	return sources, closeAll, nil
}

// records reads those of the dpkg in a VM that was looked into, by its id: once more,
// where apt is to be asked, as to hold them for every VM until then takes a MiB each.
func records(ctx context.Context, h Host, f *plan.Facts, o *plan.Options, id string) (_ []byte, err error) {
	i := slices.IndexFunc(f.Host.VMs, func(vm inventory.VM) bool { return vm.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("there is no VM %s", id)
	}
	vm := &f.Host.VMs[i]
	if way := f.Detours[id].Way; way != "" {
		o = by(o, vm, way)
	}
	sources, closeAll, err := open(ctx, h, &f.Source, o, vm, new(part.Cache))
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return nil, err
	}
	return inspect.Records(ctx, sources)
}

// closed says why a VM's disks aren't opened at all.
func closed(src *plan.Source, o *plan.Options, vm *inventory.VM) error {
	if why := src.MayRun(vm, o.SaysOff(vm)); why != "" {
		return errors.New(why)
	}
	if cs := plan.FormatConcerns(vm); len(cs) > 0 {
		return errors.New(cs[0].Evidence)
	}
	return nil
}
