package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/disk/extfs"
	"esxodus/disk/part"
	"esxodus/disk/xfs"
)

// Limits on files of the guest, in bytes.
const (
	maxFile  = 1 << 20
	maxFstab = 64 << 10
)

// findRoot opens what file systems it can and picks the one that looks most
// like a root; then it mounts the others that its fstab names.
func (l *look) findRoot() {
	var best []*volume
	high := 0
	for _, v := range l.volumes {
		if l.open(v); v.files == nil {
			continue
		}
		switch score := rootScore(v.files); {
		case score > high:
			high, best = score, []*volume{v}
		case score == high && score > 0:
			best = append(best, v)
		}
	}
	if len(best) == 0 {
		l.bootOnly()
		return
	}
	root := best[0]
	if len(best) > 1 {
		var names []string
		for _, v := range best {
			names = append(names, v.where)
		}
		l.note("several volumes look like a root: %s; the first is used", strings.Join(names, ", "))
		l.guest.OtherRoots = names[1:]
	}
	l.root, l.guest.Root = root, root.where
	l.tree.mounts["."] = root.files
	l.fstab()
	root.setMount("/")
}

// open opens a volume's file system, if it is one that is read here.
func (l *look) open(v *volume) {
	var files fileSystem
	var err error
	switch v.content.Type {
	case "ext2", "ext3", "ext4":
		files, err = extfs.Open(v.img, v.img.Size())
	case "xfs":
		files, err = xfs.Open(v.img, v.img.Size())
	default:
		return
	}
	if err != nil {
		l.note("%s: %v", v.where, err)
		return
	}
	v.files = files
	// Of ext the superblock says it, which [part.Probe] has read.
	if files.NeedsRecovery() && !v.content.Dirty {
		v.setDirty()
		l.state(v.where, v.img, v.content)
	}
}

// setDirty notes that a volume's journal is to be replayed.
func (v *volume) setDirty() {
	v.content.Dirty = true
	v.content.Features = append(v.content.Features, "needs_recovery")
	if v.part != nil {
		v.part.Dirty = true
	} else {
		v.lv.Dirty = true
	}
}

// rootScore says how much a file system looks like a root, 0 for not at all.
func rootScore(f fs.ReadLinkFS) int {
	score := 0
	for _, group := range [][]string{
		{"etc/fstab"},
		{"etc/os-release", "usr/lib/os-release", "etc/debian_version", "etc/redhat-release", "etc/SuSE-release", "etc/alpine-release"},
		{"sbin", "usr/sbin"},
	} {
		if slices.ContainsFunc(group, func(name string) bool { _, err := f.Lstat(name); return err == nil }) {
			score++
		}
	}
	if score < 2 {
		return 0
	}
	return score
}

// bootOnly notes what can't be read, and reads a /boot of its own, which a root
// on Btrfs or an encrypted one often has.
func (l *look) bootOnly() {
	for _, v := range l.volumes {
		switch v.content.Type {
		case "btrfs", "zfs", "luks", "md":
			l.note("%s holds %s, whose files aren't read before the copy: what depends on them isn't known yet", v.where, v.content.Type)
		}
	}
	for _, v := range l.volumes {
		if v.files == nil {
			continue
		}
		for _, dir := range []string{"grub2", "grub", "loader"} {
			if _, err := v.files.Lstat(dir); err == nil {
				l.tree.mounts["boot"] = v.files
				v.setMount("/boot")
				return
			}
		}
	}
}

// fstab reads the root's fstab: where volumes are mounted, and by which names.
func (l *look) fstab() {
	b, ok := l.read("etc/fstab", maxFstab)
	if !ok {
		return
	}
	for _, m := range conf.ParseFstab(b) {
		if strings.Contains(m.Options, "x-initrd.") {
			continue
		}
		if n := conf.UnstableName(m.Spec); guest.Idle(m.Options) {
			l.idle = append(l.idle, n)
		} else if n != "" {
			l.guest.DiskNames = append(l.guest.DiskNames, n)
		}
		if m.Mount == "/" {
			l.rootSpecs = append(l.rootSpecs, m.Spec)
		}
		if guest.Required(m.Kind, m.Options) {
			l.need(guest.Need{File: guest.FstabPath, Spec: m.Spec, Mount: m.Mount})
			for _, n := range m.Besides() {
				l.need(n)
			}
		}
		v := l.bySpec(m.Spec)
		if v == nil {
			continue
		}
		v.setMount(conf.Clean(m.Mount))
		at := strings.TrimPrefix(m.Mount, "/")
		if v.files != nil && at != "" && m.Mount != "swap" && fs.ValidPath(at) {
			l.tree.mounts[path.Clean(at)] = v.files
		}
	}
	l.swapFiles(b)
}

// swapFiles looks at the swap files of an fstab.
func (l *look) swapFiles(fstab []byte) {
	for _, m := range conf.ParseFstab(fstab) {
		if name, ok := strings.CutPrefix(m.Spec, "/"); ok && m.Mount == "swap" && !strings.HasPrefix(name, "dev/") {
			l.swapFile(path.Clean(name))
		}
	}
}

// swapFile looks for a hibernated system in a swap file.
func (l *look) swapFile(name string) {
	const first = 64 << 10 // swapon's header is a page, of up to that
	b, err := l.tree.head(name, first)
	if err != nil {
		return // swapon tells the guest
	}
	cs, err := part.Signatures(bytes.NewReader(b), int64(len(b)))
	if err != nil || !slices.ContainsFunc(cs, func(c part.Content) bool { return c.Suspended }) {
		return
	}
	fsys, _, _, err := l.tree.regular(name)
	for _, v := range l.volumes {
		if err == nil && v.files != nil && fs.ReadLinkFS(v.files) == fsys {
			v.setSuspended()
			l.state(v.where+", "+conf.Clean("/"+name), v.img, part.Content{Type: "swap", Suspended: true})
		}
	}
}

// index notes the names by which the guest's tables may call each volume.
func (l *look) index() {
	l.named = map[string][]*volume{}
	disks := guest.DiskNames(l.guest.Disks)
	for _, v := range l.volumes {
		var names []string
		if v.part != nil {
			for _, d := range disks[v.disk] {
				names = append(names, guest.PartitionName(d, v.partition))
			}
			names = append(names, guest.TableNames(&l.guest.Disks[v.disk], v.part)...)
		} else {
			names = append(names, "/dev/mapper/"+guest.MapperName(v.lv.Group, v.lv.Name), v.lv.Link())
		}
		if v.content.UUID != "" {
			names = append(names, "UUID="+v.content.UUID)
		}
		if v.content.Label != "" {
			names = append(names, "LABEL="+v.content.Label)
		}
		for _, n := range names {
			n = guest.Canonical(n)
			if have := l.named[n]; len(have) == 0 || have[len(have)-1] != v {
				l.named[n] = append(have, v)
			}
		}
	}
}

// bySpec finds the volume that a line of fstab means, nil if none is certain:
// a name shared by two volumes identifies neither.
func (l *look) bySpec(spec string) *volume {
	if vs := l.named[guest.Canonical(spec)]; len(vs) == 1 {
		return vs[0]
	}
	return nil
}

// efi lists the loaders on EFI system partitions.
func (l *look) efi() {
	for _, v := range l.volumes {
		if v.content.Type != "vfat" || v.part == nil {
			continue
		}
		esp := v.part.Type == part.TypeESP || v.part.Type == part.MBRTypeESP
		if !esp && v.part.Mount != "/boot/efi" && v.part.Mount != "/efi" {
			continue
		}
		fsys, err := part.FAT(v.img, v.img.Size())
		if err != nil {
			l.note("%s: %v", v.where, err)
			continue
		}
		found, err := efiLoaders(fsys)
		if err != nil {
			l.note("%s: %v", v.where, err)
		}
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			l.guest.Config.ESP = true
		}
		l.guest.EFILoaders = append(l.guest.EFILoaders, found...)
	}
}

// maxEFIDirs bounds how many directories of loaders are read.
const maxEFIDirs = 1000

// efiLoaders lists *.efi in EFI/* and, for Windows, EFI/Microsoft/Boot.
func efiLoaders(fsys fs.FS) ([]string, error) {
	var out []string
	dirs, err := fs.ReadDir(fsys, "EFI")
	if err != nil {
		return nil, err
	}
	for i, d := range dirs {
		if i == maxEFIDirs {
			return out, fmt.Errorf("EFI holds %d directories, of which only the first %d are read", len(dirs), i)
		}
		if !d.IsDir() {
			continue
		}
		dir := path.Join("EFI", d.Name())
		if strings.EqualFold(d.Name(), "Microsoft") {
			dir = path.Join(dir, "Boot")
		}
		files, err := fs.ReadDir(fsys, dir)
		if err != nil {
			return out, err
		}
		for _, f := range files {
			if !f.IsDir() && strings.EqualFold(path.Ext(f.Name()), ".efi") {
				out = append(out, path.Join(dir, f.Name()))
			}
		}
	}
	return out, nil
}
