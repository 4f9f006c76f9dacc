// Package unused finds what nothing on a VM's disks needs, so that it isn't moved:
// the free space of file systems, the pages of swap, extents of LVM in no logical
// volume, and the gaps between partitions.
//
// A wrong guess loses data, so the rule is: what isn't understood is used. A file
// system that wasn't unmounted, or whose own records don't agree, is used as a whole
// ([Space.Why]); so is what another program may have taken over, and what lies under
// a layer that isn't read here.
//
// Words: a space is a part of the disks that one thing decides about: a partition, a
// logical volume, the free extents of a volume group, the gaps between partitions.
package unused

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"

	"esxodus/disk"
	"esxodus/disk/btrfs"
	"esxodus/disk/extfs"
	"esxodus/disk/lvm"
	"esxodus/disk/ntfs"
	"esxodus/disk/part"
	"esxodus/disk/xfs"
	"esxodus/inventory/fit"
)

// Disk is a disk to look into.
type Disk struct {
	Address string // the source's: "scsi0:0"
	Image   disk.Image
}

// Space is what was found of a part of the disks. Size is Used and Unused and Zero.
type Space struct {
	Where   string `json:"where"`         // "scsi0:0 partition 1", "vg0/root", "vg0, free extents"
	Content string `json:"content"`       // ext4, swap, ntfs …; "" unknown
	Size    int64  `json:"size"`          // bytes
	Used    int64  `json:"used"`          // bytes that are read
	Zero    int64  `json:"zero"`          // bytes that are known to be zero, and aren't read
	Unused  int64  `json:"unused"`        // bytes that nothing needs
	Why     string `json:"why,omitempty"` // all of it counts as used
}

// Found is what nothing needs of a VM's disks.
type Found struct {
	Masks  []*disk.Mask // of the disks, in their order
	Spaces []Space
}

// Find reads partition tables, LVM's metadata and the maps of the file systems on a
// VM's disks. They are together, for a volume group may lie on several. What makes no
// sense counts as used; an error is one of reading.
func Find(ctx context.Context, disks []Disk) (Found, error) {
	f := &finder{disks: disks, seen: emptied(len(disks))}
	for i := range disks {
		if err := f.disk(ctx, i); err != nil {
			return Found{}, fmt.Errorf("what isn't used of %s: %w", disks[i].Address, err)
		}
	}
	if err := f.groups(ctx); err != nil {
		return Found{}, fmt.Errorf("what isn't used: %w", err)
	}
	return f.found(ctx)
}

// finder is one Find at work.
type finder struct {
	disks  []Disk
	seen   []hidden // of the disks
	spaces []space
	pvs    []physical
	vgs    []lvm.VG
	asleep string // where a hibernated system is, if there is one
}

// space is a part of the disks on the way to a [Space].
type space struct {
	Space

	place   []run // in the order of its bytes
	logical bool  // a logical volume
	told    bool  // others tell of its bytes
}

// run is a part of a space on a disk.
type run struct {
	disk           int
	offset, length int64 // bytes, on the disk
	start          int64 // bytes, in the space
}

// put adds a part at the end of the space.
func (s *space) put(disk int, offset, length int64) {
	start := int64(0)
	if n := len(s.place) - 1; n >= 0 {
		start = s.place[n].start + s.place[n].length
	}
	s.place = append(s.place, run{disk: disk, offset: offset, length: length, start: start})
}

// physical is a physical volume and where it lies.
type physical struct {
	lvm.Located

	disk   int
	offset int64 // bytes, on the disk
	space  int   // its number
}

// disk looks at what a disk is divided in.
func (f *finder) disk(ctx context.Context, i int) error {
	img := part.Cached(f.disks[i].Image)
	table, err := part.Read(img)
	whole := space{Space: Space{Where: f.disks[i].Address, Size: img.Size()}, place: []run{{disk: i, length: img.Size()}}}
	if err == nil && table.Kind == part.KindNone {
		return f.content(ctx, whole, img)
	}
	if err == nil {
		err = strange(table, img)
	}
	if f.doubted(whole, err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range table.Entries {
		if e.Container {
			continue
		}
		s := space{
			Space: Space{Where: fmt.Sprintf("%s partition %d", f.disks[i].Address, e.Number), Size: e.Length},
			place: []run{{disk: i, offset: e.Offset, length: e.Length}},
		}
		if err := f.content(ctx, s, part.Section(img, e.Offset, e.Length)); err != nil {
			return err
		}
	}
	f.gaps(i, table)
	return nil
}

// content looks at what a partition, a logical volume, or a disk without a table holds.
func (f *finder) content(ctx context.Context, s space, img disk.Image) error {
	cs, err := part.Signatures(img, img.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", s.Where, err)
	}
	if len(cs) > 0 {
		s.Content = cs[0].Type
	}
	if slices.ContainsFunc(cs, suspended) { // whatever else is wrong with it
		f.asleep = s.Where
	}
	divided, err := nested(img)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", s.Where, err)
	case divided:
		f.used(s, "there is a partition table in it: it may be the disk of another machine")
	case len(cs) == 0:
		f.used(s, "what it holds isn't known")
	case len(cs) > 1:
		f.used(s, fmt.Sprintf("it has the signature of %s, too: one of the two is out of date", cs[1].Type))
	case s.Content != "lvm2":
		return f.fileSystem(ctx, s, img, cs[0])
	case s.logical:
		f.used(s, "a volume group inside a logical volume isn't looked into")
	default:
		return f.physical(s, img)
	}
	return nil
}

// nested reports whether there is a partition table in a partition, a logical volume, or
// a disk that was found to have none.
func nested(img disk.Image) (bool, error) {
	table, err := part.Read(img)
	if err != nil && !errors.Is(err, part.ErrFormat) {
		return false, err
	}
	return err != nil || len(table.Entries) > 0, nil
}

// mapped is a file system that tells what it doesn't use.
type mapped interface {
	Unused(ctx context.Context) iter.Seq2[disk.Range, error]
}

// fileSystem hides what a file system, or swap, doesn't use.
func (f *finder) fileSystem(ctx context.Context, s space, img disk.Image, c part.Content) error {
	m, err := open(img, c)
	if err == nil {
		err = f.hide(ctx, &s, m)
	}
	if f.doubted(s, err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Where, err)
	}
	f.spaces = append(f.spaces, s)
	return nil
}

// doubted notes a space whose map isn't relied on by what was found, if that is so.
func (f *finder) doubted(s space, err error) bool {
	why, ok := doubt(err)
	if !ok {
		return false
	}
	if u, ok := errors.AsType[*disk.UntrustedError](err); ok && u.Asleep {
		f.asleep = s.Where
	}
	f.used(s, why)
	return true
}

// suspended reports whether a signature is that of swap with a hibernated system.
func suspended(c part.Content) bool { return c.Suspended }

// open opens what a range holds, if its map is read here.
func open(img disk.Image, c part.Content) (mapped, error) {
	switch c.Type {
	case "ext2", "ext3", "ext4":
		return extfs.Open(img, img.Size())
	case "xfs":
		return xfs.Open(img, img.Size())
	case "btrfs":
		return btrfs.Open(img, img.Size())
	case "ntfs":
		return openNTFS(img)
	case "swap":
		return swap{c, img.Size()}, nil
	}
	return nil, &disk.UntrustedError{Why: "the map of its free space isn't read by esxodus"}
}

// openNTFS opens a volume whose last driver says when it has it mounted.
func openNTFS(img disk.Image) (mapped, error) {
	f, err := ntfs.Open(img, img.Size())
	if err != nil {
		return nil, err
	}
	empty, err := f.EmptyLog()
	if err == nil && empty {
		err = &disk.UntrustedError{Why: "its log is empty, as mkntfs and ntfs-3g leave it, and that doesn't say whether it was unmounted"}
	}
	return f, err
}

// doubt says why the map of a space isn't relied on, as against an error of reading.
func doubt(err error) (why string, ok bool) {
	if u, ok := errors.AsType[*disk.UntrustedError](err); ok {
		return fit.Line(u.Why), true
	}
	for _, malformed := range []error{extfs.ErrFormat, xfs.ErrFormat, ntfs.ErrFormat, btrfs.ErrFormat, lvm.ErrFormat, part.ErrFormat} {
		if errors.Is(err, malformed) {
			return fit.Line(err.Error()), true
		}
	}
	return "", false
}

// hide hides what m doesn't use of the space that it fills.
func (f *finder) hide(ctx context.Context, s *space, m mapped) error {
	mine := emptied(len(f.disks)) // only a map that was read to its end counts
	for r, err := range m.Unused(ctx) {
		if err != nil {
			return err
		}
		if r.Offset < 0 || r.Length <= 0 || r.Offset > s.Size || r.Length > s.Size-r.Offset {
			return &disk.UntrustedError{Why: fmt.Sprintf("its map has %d unused bytes at %d of %d", r.Length, r.Offset, s.Size)}
		}
		s.each(r, func(at run) { mine[at.disk].add(disk.Range{Offset: at.offset, Length: at.length}) })
	}
	for i := range mine {
		f.seen[i].addAll(&mine[i])
	}
	return ctx.Err()
}

// each gives the places on the disks of a range of the space.
func (s *space) each(r disk.Range, give func(run)) {
	first := sort.Search(len(s.place), func(i int) bool { return s.place[i].start+s.place[i].length > r.Offset })
	for _, p := range s.place[first:] {
		from, to := max(r.Offset, p.start), min(r.Offset+r.Length, p.start+p.length)
		if from >= to {
			break
		}
		give(run{disk: p.disk, offset: p.offset + from - p.start, length: to - from})
	}
}

// wake hides nothing of any disk if a hibernated system is on one: when it goes on, what
// it knows counts, of pages in other swap, and of blocks that no map on a disk has yet.
func (f *finder) wake() {
	if f.asleep == "" {
		return
	}
	f.seen = emptied(len(f.disks))
	for i := range f.spaces {
		if s := &f.spaces[i]; s.Why == "" {
			s.Why = fmt.Sprintf("a hibernated system is in %s, and may go on with any of the disks", f.asleep)
		}
	}
}

// found sums up.
func (f *finder) found(ctx context.Context) (out Found, err error) {
	f.wake()
	var images []disk.Image
	for i, d := range f.disks {
		m, err := f.seen[i].mask(d.Image.Size())
		if err != nil {
			return Found{}, fmt.Errorf("%s: %w; --all-blocks copies all of it", d.Address, err)
		}
		out.Masks, images = append(out.Masks, m), append(images, m.Over(d.Image))
	}
	for _, s := range f.spaces {
		if s.told {
			continue
		}
		for _, p := range s.place {
			if err := s.count(ctx, images[p.disk], p); err != nil {
				return Found{}, fmt.Errorf("%s: %w", s.Where, err)
			}
		}
		s.Used = s.Size - s.Zero - s.Unused
		out.Spaces = append(out.Spaces, s.Space)
	}
	return out, nil
}

// count adds what isn't read of a part of the space.
func (s *space) count(ctx context.Context, img disk.Image, p run) error {
	for e, err := range disk.ExtentsFrom(img, p.offset) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		n := min(e.Offset+e.Length, p.offset+p.length) - max(e.Offset, p.offset)
		if n <= 0 {
			break
		}
		switch e.Kind {
		case disk.Zero:
			s.Zero += n
		case disk.Unused:
			s.Unused += n
		case disk.Data:
		}
	}
	return nil
}

// used notes a space that is used as a whole, and why.
func (f *finder) used(s space, why string) {
	s.Why = why
	f.spaces = append(f.spaces, s)
}

// swap is a swap space: nothing but its header is needed, unless a system sleeps in it.
type swap struct {
	part.Content

	size int64
}

// Unused is all but the first page, which is 64 KiB at most.
func (s swap) Unused(context.Context) iter.Seq2[disk.Range, error] {
	return func(yield func(disk.Range, error) bool) {
		const header = 64 << 10
		switch end := min(s.Size, s.size); {
		case s.Suspended:
			yield(disk.Range{}, &disk.UntrustedError{Why: "a hibernated system is in it", Asleep: true})
		case s.Version == "0":
			yield(disk.Range{}, &disk.UntrustedError{Why: "it is swap of an old kind"})
		case s.Version != "1":
			yield(disk.Range{}, &disk.UntrustedError{Why: "its header makes no sense: it may be left from what was here before"})
		case s.Size > s.size:
			yield(disk.Range{}, &disk.UntrustedError{Why: fmt.Sprintf("it says that it has %d bytes, more than there is room for", s.Size)})
		case end > header:
			yield(disk.Range{Offset: header, Length: end - header}, nil)
		}
	}
}
