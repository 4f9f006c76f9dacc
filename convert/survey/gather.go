// Package survey reads everything that a plan is made from: the ESXi host, the
// insides of its VMs' disks, and what the target has and can. It changes nothing.
package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/packages"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
	"esxodus/disk"
	"esxodus/disk/part"
	"esxodus/disk/vmdk"
	"esxodus/inventory"
	"esxodus/network"
)

// Host is the ESXi host, as much of it as a plan is made from.
type Host interface {
	// Inventory reads the host again.
	Inventory(ctx context.Context) (*inventory.Host, error)
	// OpenDisk opens the disk behind a descriptor for random reads. The
	// image and its close function are bound to ctx.
	OpenDisk(ctx context.Context, from plan.Origin) (disk.Image, func() error, error)
}

// Hypervisor says what libvirt on the target has and can.
type Hypervisor interface {
	Facts(ctx context.Context) (plan.TargetFacts, error)
	// Network returns the target's networking, nil where that can't be known.
	Network(ctx context.Context) *network.Host
}

// Guests says which guests can be converted here.
type Guests interface {
	// Missing says why no guest with file systems of these types can be
	// converted on this host, "" if it can.
	Missing(types []string) string
	// Packages finds the packages that a guest lacks by its dpkg's records, with what
	// they need.
	Packages(ctx context.Context, g guest.Guest, records []byte, names []string) (packages.Set, error)
}

// Sources is everything that a plan is made from.
type Sources struct {
	Host    Host
	Storage volume.Storage
	Virt    Hypervisor
	Guests  Guests
}

// Gather reads everything that a plan is made from, changes nothing, and returns
// the draft of the plan with all of it. What can't be known of the target or of a
// guest is left open; the plan says so.
func Gather(ctx context.Context, s Sources, src plan.Source, o plan.Options) (*plan.Draft, error) {
	h, err := s.Host.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	return gather(ctx, s, h, src, o)
}

// gather does it for a host whose inventory is known.
func gather(ctx context.Context, s Sources, h *inventory.Host, src plan.Source, o plan.Options) (*plan.Draft, error) {
	src.Host, src.Version = h.Name, h.Version
	f := plan.Facts{Source: src, Host: h, Network: s.Virt.Network(ctx)}
	vms, err := h.Select(o.VMs)
	if err != nil {
		return nil, fmt.Errorf("%w; `esxodus inventory` lists names and ids", err)
	}
	if f.Target, err = s.Virt.Facts(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		f.Target = plan.TargetFacts{Missing: err.Error()}
	}
	if f.Guests, f.Unread, err = lookAll(ctx, s.Host, &src, &o, plan.Plannable(vms)); err != nil {
		return nil, err
	}
	objects(&f, &o, plan.Plannable(vms))
	if err := detour(ctx, s.Host, &f, &o, vms); err != nil {
		return nil, err
	}
	if !o.NoSpeed {
		f.Source.Rate = speed(ctx, s.Host, &f, &o, plan.Plannable(vms))
	}
	d, err := plan.NewDraft(f, o)
	if err != nil {
		return nil, err
	}
	again := func(id string) ([]byte, error) { return records(ctx, s.Host, &f, &o, id) }
	if err := askGuests(ctx, d, s.Guests, again); err != nil {
		return nil, err
	}
	d.Facts.Storage, err = s.Storage.Check(ctx, d.Volumes())
	return d, err
}

// objects notes the disks of VMs that run, which nobody has tried to open, and whose
// datastore says that no file will serve them: to shut the VM down would be for nothing.
func objects(f *plan.Facts, o *plan.Options, vms []*inventory.VM) {
	for _, vm := range vms {
		if f.Unread[vm.ID] != nil || f.Source.MayRun(vm, o.SaysOff(vm)) == "" {
			continue
		}
		for _, d := range slices.Backward(vm.Disks) {
			way := f.Source.Origin(&d, o.Way(vm)).Way
			if err := object(f.Host, &d); err != nil && (way == plan.WayHTTPS || way == plan.WaySSH) {
				f.Unread[vm.ID] = &plan.UnreadError{Address: d.Address(), Err: err}
			}
		}
	}
}

// object says that a disk, or a parent of it, is an object.
func object(h *inventory.Host, d *inventory.Disk) error {
	for _, p := range append(slices.Clone(d.Parents), d.Path) {
		if store, ok := h.DatastoreOf(p); ok && store.Objects() {
			return fmt.Errorf("%s: %w on %s: only a lease of the host serves it", p, vmdk.ErrObject, store.Type)
		}
	}
	return nil
}

// maxDetours is how many VMs in a row are tried another way in vain before the others
// aren't.
const maxDetours = 2

// detour tries those VMs another way whose disks HTTPS doesn't serve, where nothing else
// was asked for: by SSH, and by a lease where there is room for what it brings and the
// licence allows one.
func detour(ctx context.Context, h Host, f *plan.Facts, o *plan.Options, vms []*inventory.VM) error {
	ways := []plan.Way{plan.WaySSH}
	if f.Source.Scratch != "" && !f.Host.License.ReadOnly {
		ways = append(ways, plan.WayNFC)
	}
	failed := make(map[plan.Way]int)
	texts := make(map[string]string)
	for _, vm := range vms {
		u := f.Unread[vm.ID]
		d := slices.IndexFunc(vm.Disks, func(d inventory.Disk) bool { return u != nil && d.Address() == u.Address })
		if d < 0 || o.Way(vm) != "" || f.Source.Origin(&vm.Disks[d], "").Way != plan.WayHTTPS {
			continue
		}
		for _, way := range ways {
			if failed[way] == maxDetours || way == plan.WaySSH && errors.Is(u.Err, vmdk.ErrObject) {
				continue
			}
			ok, err := tryWay(ctx, h, f, o, vm, way)
			if err != nil {
				return err
			}
			if ok {
				g := f.Guests[vm.ID]
				g.Config.Share(texts)
				failed[way] = 0
				break
			}
			failed[way]++
		}
	}
	return nil
}

// by is the options with another way for a VM's disks.
func by(o *plan.Options, vm *inventory.VM, way plan.Way) *plan.Options {
	other := *o
	other.Via = map[string]plan.Way{vm.ID: way}
	return &other
}

// tryWay looks into a VM whose disks come another way than usual. False: they don't.
func tryWay(ctx context.Context, h Host, f *plan.Facts, o *plan.Options, vm *inventory.VM, way plan.Way) (bool, error) {
	found, err := look(ctx, h, &f.Source, by(o, vm, way), vm, new(part.Cache))
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if u, still := errors.AsType[*plan.UnreadError](err); still {
		if way == plan.WayNFC { // what is wrong with HTTPS is known; why the last way failed counts
			f.Unread[vm.ID] = u
		}
		return false, nil
	}
	if err != nil {
		found.Notes = append(found.Notes, "no look inside: "+err.Error())
	}
	if f.Detours == nil {
		f.Detours = map[string]plan.Detour{}
	}
	f.Guests[vm.ID], f.Detours[vm.ID] = found, plan.Detour{Way: way, Why: f.Unread[vm.ID].Err.Error()}
	delete(f.Unread, vm.ID)
	return true, nil
}

// askGuests finds out whether the guests that are to be changed can be converted
// here. records reads those of a VM's dpkg, by its id.
func askGuests(ctx context.Context, d *plan.Draft, guests Guests, records func(id string) ([]byte, error)) error {
	d.Answer(func(n plan.Need) plan.GuestFacts {
		facts := plan.GuestFacts{Missing: guests.Missing(n.Contents)}
		if facts.Missing == "" && len(n.Install) > 0 {
			facts = askPackages(ctx, guests, n, records)
		}
		return facts
	})
	return context.Cause(ctx)
}

// askPackages finds the packages that a guest lacks.
func askPackages(ctx context.Context, guests Guests, n plan.Need, records func(id string) ([]byte, error)) plan.GuestFacts {
	b, err := records(n.VM)
	if err != nil {
		return plan.GuestFacts{Missing: fmt.Sprintf("the guest lacks %s, and what it has can't be read: %v", strings.Join(n.Install, ", "), err)}
	}
	set, err := guests.Packages(ctx, n.Guest, b, n.Install)
	if err != nil {
		return plan.GuestFacts{Missing: fmt.Sprintf("the guest lacks %s, and there is no package for it: %v", strings.Join(n.Install, ", "), err)}
	}
	return plan.GuestFacts{Packages: set}
}
