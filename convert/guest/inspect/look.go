// Package inspect looks inside a VM's disks, in place and before anything is
// copied, for what decides whether and how it will run as a domain.
//
// [Look] reads partition tables, the signatures of what partitions and linear
// logical volumes hold, and, where the root is ext2, ext3, ext4 or XFS, the files
// that matter: os-release, fstab, the boot loader's configuration, the network
// configuration, what the initrds are made for. A few MiB of a disk are read
// for that. The guest's files are as hostile as its disks: every file is read
// up to a limit, and links are followed inside the guest only.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/disk"
	"esxodus/disk/lvm"
	"esxodus/disk/part"
)

// Source is a disk to look into.
type Source struct {
	Address string // the source's: "scsi0:0"
	Image   disk.Image
}

// Look reads what it can of a VM's disks. What makes no sense or can't be read
// by esxodus becomes a note; an error means that a disk could not be read at
// all (its transport failed) or that ctx ended.
func Look(ctx context.Context, disks []Source) (guest.Guest, error) {
	if err := ctx.Err(); err != nil {
		return guest.Guest{}, context.Cause(ctx)
	}
	l, stop := begin(ctx, disks)
	defer stop()
	l.inspect()
	l.config()
	l.starts()
	l.system()
	for i, g := range l.guards {
		if g.spent() {
			l.unread("%s: %v", disks[i].Address, errTooMuch)
		}
	}
	l.faults() // what is too much for these decides nothing
	if err := l.failure(disks); err != nil {
		return guest.Guest{}, err
	}
	l.finish()
	return l.guest, nil
}

// Records reads all of dpkg's records in a guest, nil where there are none.
func Records(ctx context.Context, disks []Source) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	l, stop := begin(ctx, disks)
	defer stop()
	b, err := l.tree.readFile(records, maxStatus)
	if failed := l.failure(disks); failed != nil {
		return nil, failed
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// begin finds the volumes on a VM's disks and the root among them. Its look stops when ctx
// ends, until stop is called.
func begin(ctx context.Context, disks []Source) (l *look, stop func()) {
	l = &look{tree: tree{mounts: map[string]fs.ReadLinkFS{}}}
	l.tree.unlisted = func(err error) { l.unread("%v", err) }
	l.guest.Disks = make([]guest.DiskLayout, len(disks))
	images := make([]disk.Image, len(disks))
	for i, d := range disks {
		g := new(guarded)
		images[i] = part.Through(d.Image, func(img disk.Image) disk.Image { g.img = img; return g })
		l.guards = append(l.guards, g)
	}
	unhook := context.AfterFunc(ctx, func() {
		for _, g := range l.guards {
			g.fail(context.Cause(ctx))
		}
	})
	for i, d := range disks {
		l.disk(i, d.Address, images[i])
	}
	l.groups()
	l.index()
	l.findRoot()
	return l, func() { unhook() }
}

// failure is the first error of a disk's transport, nil when all was read.
func (l *look) failure(disks []Source) error {
	for i, g := range l.guards {
		if err := g.failure(disks[i].Address); err != nil {
			return err
		}
	}
	return nil
}

// look is one Look at work.
type look struct {
	guest   guest.Guest
	guards  []*guarded
	volumes []*volume
	named   map[string][]*volume // by canonical specs
	pvs     []physical
	tree    tree
	cut     []string // what decides about a conversion, and wasn't read to its end

	root      *volume  // nil where none was found
	rootSpecs []string // what its fstab mounts at /
	idle      []string // unstable names that lines of fstab have which nothing mounts by itself
}

// volume is something that may hold a file system.
type volume struct {
	where   string // "scsi0:0 partition 1", "vg0/root"
	img     disk.Image
	content part.Content
	files   fileSystem // once opened

	disk, partition int              // of a partition; the number is 0 for a whole disk
	part            *guest.Partition // one of these two is set
	lv              *guest.Volume
}

func (v *volume) setMount(at string) {
	if v.part != nil {
		v.part.Mount = at
	} else {
		v.lv.Mount = at
	}
}

func (v *volume) setSuspended() {
	if v.part != nil {
		v.part.Suspended = true
	} else {
		v.lv.Suspended = true
	}
}

func (v *volume) mount() string {
	if v.part != nil {
		return v.part.Mount
	}
	return v.lv.Mount
}

// physical is a physical volume of LVM and where it was found.
type physical struct {
	where string
	pv    lvm.PV
	img   disk.Image

	disk   string // address
	number int    // of the partition, 0 for a whole disk
	offset int64  // bytes, on the disk
}

func (l *look) note(format string, args ...any) {
	n := conf.Clean(fmt.Sprintf(format, args...))
	if !slices.Contains(l.guest.Notes, n) {
		l.guest.Notes = append(l.guest.Notes, n)
	}
}

// unread notes what was not read, or not to its end, and keeps anything from being
// decided by the part that was.
func (l *look) unread(format string, args ...any) {
	l.note(format, args...)
	if u := conf.Clean(fmt.Sprintf(format, args...)); !slices.Contains(l.cut, u) {
		l.cut = append(l.cut, u)
	}
}

// disk reads a disk's table and what its partitions hold.
func (l *look) disk(i int, address string, img disk.Image) {
	d := &l.guest.Disks[i]
	table, err := part.Read(img)
	*d = guest.DiskLayout{Address: address, Size: img.Size(), Table: table.Kind, TableID: table.ID, BootCode: table.BootCode}
	if err != nil {
		l.note("%s: %v", address, err)
		d.Problem = conf.Clean(err.Error())
	}
	if d.Hybrid = table.Hybrid; table.SectorSize != disk.SectorSize {
		d.SectorSize = table.SectorSize
	}
	for _, n := range table.Notes {
		l.note("%s: %s", address, n)
	}
	if table.Kind == part.KindNone {
		d.Partitions = []guest.Partition{{Length: img.Size()}}
		l.probe(address, i, img, &d.Partitions[0])
		if d.Partitions[0].Content == "" {
			d.Partitions = nil
		}
		return
	}
	// Appended to in full first: volumes keep pointers into it.
	for _, e := range table.Entries {
		d.Partitions = append(d.Partitions, guest.Partition{
			Number: e.Number, Offset: e.Offset, Length: e.Length, Type: e.Type, TypeName: e.TypeName,
			Name: conf.Clean(e.Name), GUID: e.GUID, Active: e.Active, Logical: e.Logical, Container: e.Container,
		})
	}
	for j := range d.Partitions {
		p := &d.Partitions[j]
		if p.Container || p.Offset > img.Size()-p.Length {
			continue
		}
		l.probe(fmt.Sprintf("%s partition %d", address, p.Number), i, part.Section(img, p.Offset, p.Length), p)
	}
}

// probe notes what a partition, or a disk without table, holds.
func (l *look) probe(where string, diskIndex int, img disk.Image, p *guest.Partition) {
	c, err := part.Probe(img, img.Size())
	if err != nil {
		l.note("%s: %v", where, err)
		return
	}
	p.Content, p.Label, p.UUID, p.Dirty, p.Suspended = c.Type, conf.Clean(c.Label), conf.Clean(c.UUID), c.Dirty, c.Suspended
	p.Cut = c.Size > img.Size()
	l.state(where, img, c)
	if c.Type == "lvm2" {
		pv, err := lvm.Read(img)
		if err != nil {
			l.note("%s: %v", where, err)
		}
		l.pvs = append(l.pvs, physical{
			where: where, pv: pv, img: img, disk: l.guest.Disks[diskIndex].Address, number: p.Number, offset: p.Offset,
		})
	}
	l.volumes = append(l.volumes, &volume{where: where, img: img, content: c, disk: diskIndex, partition: p.Number, part: p})
}

// state notes what a content's state means for reading it.
func (l *look) state(where string, img disk.Image, c part.Content) {
	switch {
	case c.Suspended:
		l.note("%s: the swap holds a hibernated system: start the VM and shut it down", where)
	case c.Dirty && slices.Contains(c.Features, "needs_recovery"):
		l.note("%s: the journal of the %s file system holds changes, so the machine is running or was not shut down; its files may be some seconds old", where, c.Type)
	case c.Dirty:
		l.note("%s: the %s file system was not cleanly unmounted", where, c.Type)
	}
	if c.Size > img.Size() {
		l.note("%s: the %s says that it has %d bytes, but the space has %d", where, c.Type, c.Size, img.Size())
	}
}

// groups finds the volume groups on the physical volumes and what their linear
// logical volumes hold.
func (l *look) groups() {
	var pvs []lvm.Located
	for _, p := range l.pvs {
		pvs = append(pvs, lvm.Located{PV: p.pv, Image: p.img})
	}
	groups, images, twice := lvm.Groups(pvs)
	for _, i := range twice {
		l.note("%s: the physical volume %s is on another disk, too", l.pvs[i].where, l.pvs[i].pv.UUID)
	}
	var found []*volume
	for _, vg := range groups {
		found = append(found, l.group(vg, images)...)
		l.guest.Groups = append(l.guest.Groups, l.facts(vg))
	}
	// Only now, for they point into guest.Volumes, which grew until here.
	for i, v := range found {
		if v != nil {
			l.logical(v, &l.guest.Volumes[i])
		}
	}
}

// group notes the visible volumes of a group, and returns as many, nil where
// what they hold can't be read.
func (l *look) group(vg lvm.VG, pvs map[string]disk.Image) []*volume {
	for _, m := range vg.PVs {
		if _, ok := pvs[m.UUID]; !ok {
			l.note("volume group %s: its physical volume %s (last seen as %s) is on none of the VM's disks", vg.Name, m.UUID, m.Device)
		}
	}
	var found []*volume
	for _, lv := range vg.LVs {
		if !lv.Visible() {
			continue
		}
		v := guest.Volume{
			Group: conf.Clean(vg.Name), Name: conf.Clean(lv.Name), Length: lv.Extents() * vg.ExtentSize, Kind: conf.Clean(strings.Join(lv.Types(), ",")),
			ID: conf.Clean("LVM-" + strings.ReplaceAll(vg.UUID+lv.UUID, "-", "")),
		}
		var open *volume
		if lv.Linear() {
			v.PVs = onPVs(vg, lv)
			if img, err := vg.Image(lv.Name, pvs); err != nil {
				l.note("%v", err)
			} else {
				open = &volume{img: img}
			}
		} else {
			l.note("logical volume %s/%s is %s: what it holds can't be seen from outside", vg.Name, lv.Name, v.Kind)
		}
		l.guest.Volumes = append(l.guest.Volumes, v)
		found = append(found, open)
	}
	return found
}

// onPVs lists the physical volumes of a linear logical volume, each once.
func onPVs(vg lvm.VG, lv lvm.LV) []string {
	left := map[string]string{} // UUIDs by the metadata's own names
	for _, m := range vg.PVs {
		left[m.Name] = conf.Clean(m.UUID)
	}
	var ids []string
	for _, s := range lv.Segments {
		if id, ok := left[s.Stripes[0].PV]; ok {
			ids = append(ids, id)
			delete(left, s.Stripes[0].PV)
		}
	}
	return ids
}

// logical notes what a logical volume holds.
func (l *look) logical(v *volume, lv *guest.Volume) {
	v.where = lv.Group + "/" + lv.Name
	c, err := part.Probe(v.img, v.img.Size())
	if err != nil {
		l.note("%s: %v", v.where, err)
		return
	}
	lv.Content, lv.Label, lv.UUID, lv.Dirty, lv.Suspended = c.Type, conf.Clean(c.Label), conf.Clean(c.UUID), c.Dirty, c.Suspended
	lv.Cut = c.Size > v.img.Size()
	l.state(v.where, v.img, c)
	v.content, v.lv = c, lv
	l.volumes = append(l.volumes, v)
}

// finish sorts what was gathered in the order of finding.
func (l *look) finish() {
	g := &l.guest
	g.Config.IdleNames = slices.DeleteFunc(conf.Set(l.idle), func(n string) bool { return slices.Contains(g.DiskNames, n) })
	g.DiskNames = append(g.DiskNames, g.Config.IdleNames...)
	g.Interfaces, g.PinnedNames, g.DiskNames = conf.Set(g.Interfaces), conf.Set(g.PinnedNames), conf.Set(g.DiskNames)
	g.Config.Unread = append(g.Config.Unread, l.cut...)
	g.EFILoaders, g.SerialLogin = conf.Set(g.EFILoaders), conf.Set(g.SerialLogin)
}

// read reads a file of the tree. What fails other than by being absent is
// noted.
func (l *look) read(name string, limit int64) ([]byte, bool) {
	b, err := l.tree.readFile(name, limit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.note("%v", err)
	}
	return b, err == nil
}
