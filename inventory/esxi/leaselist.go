package esxi

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"strings"
	"sync/atomic"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/types"
)

// maxItems bounds a lease's list: a VM has 256 disks at most.
const maxItems = 1024

// leaseItem is a disk that a lease streams.
type leaseItem struct {
	disk inventory.Disk
	key  string // as the manifest has it
	url  string

	read atomic.Int64          // bytes, since it was opened last
	got  atomic.Pointer[taken] // nil until it was read to its end
}

// taken is a stream that was read to its end.
type taken struct {
	size int64 // bytes
	sum  string
}

// list makes the lease's disks of what the host lists: each item goes by the
// VM's device that it names. ISO images and the NVRAM are left out.
func (x *Export) list(ctx context.Context, urls []types.HttpNfcLeaseDeviceUrl) ([]*leaseItem, error) {
	if len(urls) > maxItems {
		return nil, fmt.Errorf("%w: the lease lists %d files", ErrProtocol, len(urls))
	}
	disks, err := x.devices(ctx)
	if err != nil {
		return nil, err
	}
	var out []*leaseItem
	for _, u := range urls {
		name := path.Base(u.Key)
		d, ok := disks[name]
		if u.Disk != nil && !*u.Disk || u.Disk == nil && !ok {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("%w: the lease lists a disk %.80q, but the VM has none there, or has it in the list twice", ErrProtocol, u.Key)
		}
		delete(disks, name)
		address, err := x.c.streamURL(u.Url)
		if err != nil {
			return nil, fmt.Errorf("%s (%.80q): %w", d.Address(), u.Key, err)
		}
		out = append(out, &leaseItem{disk: d, key: u.Key, url: address})
	}
	return out, nil
}

// devices are the VM's disks as they are under the lease, by what the lease
// calls them: the type, bus and unit of "ParaVirtualSCSIController0:2".
func (x *Export) devices(ctx context.Context) (map[string]inventory.Disk, error) {
	var list []types.BaseVirtualDevice
	err := x.c.retrieve(ctx, of(vmRef(x.vm), "config.hardware.device"), func(o object) {
		list = prop[types.ArrayOfVirtualDevice](o, "config.hardware.device").VirtualDevice
	})
	if err != nil {
		return nil, fmt.Errorf("the VM's devices: %w", err)
	}
	var vm inventory.VM
	mapDevices(&vm, list)
	kinds := make(map[string]string)
	for _, d := range list {
		if c, ok := d.(types.BaseVirtualController); ok {
			class, _ := controllerModel(d)
			kinds[fmt.Sprintf("%s%d", class, c.GetVirtualController().BusNumber)] = typeName(d)
		}
	}
	out := make(map[string]inventory.Disk, len(vm.Disks))
	for _, d := range vm.Disks {
		name := fmt.Sprintf("%s%d:%d", kinds[fmt.Sprintf("%s%d", d.Class, d.Bus)], d.Bus, d.Unit)
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%w: two disks at %s", ErrProtocol, d.Address())
		}
		out[name] = d
	}
	return out, nil
}

// streamURL is where a stream is, by the URL that the lease gives. The host writes * for
// itself, or a name that it may have in its own network alone: whatever it writes, only
// the host that we are connected to is asked, and sent the session's cookie.
func (c *Client) streamURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%w: the lease gives a URL that is none: %.80q", ErrProtocol, s)
	}
	switch {
	case u.Scheme != "https" || u.User != nil:
		return "", fmt.Errorf("%w: the lease gives the URL %.80q: want one of https without a user", ErrProtocol, u.Redacted())
	case !strings.HasPrefix(u.Path, "/nfc/") || path.Clean(u.Path) != u.Path:
		return "", fmt.Errorf("%w: the lease gives the path %.80q: want one below /nfc", ErrProtocol, u.Path)
	}
	u.Host, u.Fragment, u.RawFragment = c.cfg.URL.Host, "", ""
	return u.String(), nil
}

// item finds a disk of the VM in the list.
func (x *Export) item(d inventory.Disk) (*leaseItem, error) {
	for _, i := range x.items {
		if i.disk.Address() != d.Address() {
			continue
		}
		if d.Capacity != 0 && d.Capacity != i.disk.Capacity {
			return nil, fmt.Errorf("%w: it has %d bytes, and had %d", ErrChanged, i.disk.Capacity, d.Capacity)
		}
		return i, nil
	}
	return nil, fmt.Errorf("%w: the host's export leaves it out, as some do with independent disks and raw device mappings: clone it to a disk of its own, or leave it behind", ErrNotFound)
}

// progress is how much was read of what all disks hold, in percent.
func (x *Export) progress() int32 {
	var read, total float64
	for _, i := range x.items {
		read, total = read+float64(i.read.Load()), total+float64(i.disk.Capacity)
		if i.got.Load() != nil {
			read += float64(i.disk.Capacity) - float64(i.read.Load()) // what was left out are zeros
		}
	}
	const most = 99 // 100 is Complete's
	if total <= 0 || read <= 0 {
		return 0
	}
	return int32(min(most, read*100/total))
}

// whole reports whether all that the host lists was read.
func (x *Export) whole() bool {
	for _, i := range x.items {
		if i.got.Load() == nil {
			return false
		}
	}
	return len(x.items) > 0
}
