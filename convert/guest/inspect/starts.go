package inspect

import (
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// Who claims.
const (
	ByLoader = "boot loader" // its default entry
	ByFstab  = "fstab"       // of the root that was found
)

// maxTitles is how many entries of other systems are noted.
const maxTitles = 16

// starts compares the root that was found with the one that the guest itself
// starts, and finds what else it starts. A root that was left behind when the
// real one moved to where it can't be read (LUKS, Btrfs, a thin volume) looks
// like one all the same.
func (l *look) starts() {
	if l.root == nil {
		return
	}
	first := conf.RootSpec(l.guest.Config.Cmdline)
	entries, others := l.menu()
	if first == "" && len(entries) > 0 && entries[0].Image == "" { // LILO's, of which no more is known
		first = conf.RootSpec(entries[0].Cmdline)
	}
	l.claim(ByLoader, first)
	for _, spec := range l.rootSpecs {
		l.claim(ByFstab, spec)
	}
	for _, e := range entries {
		if spec := conf.RootSpec(e.Cmdline); spec != first && !e.Tool() {
			if _, ok := l.elsewhere(spec); ok {
				others = append(others, e)
			}
		}
	}
	for _, e := range others {
		title := conf.Clean(e.Title)
		if title == "" {
			title = conf.Clean(e.Other)
		}
		if e.Tool() || slices.Contains(l.guest.OtherSystems, title) {
			continue
		}
		if len(l.guest.OtherSystems) == maxTitles {
			l.note("the boot menu starts more than %d other systems; the first are listed", maxTitles)
			break
		}
		l.guest.OtherSystems = append(l.guest.OtherSystems, title)
	}
	l.otherBoots()
}

// claim notes a spec that means another root.
func (l *look) claim(by, spec string) {
	if where, ok := l.elsewhere(spec); ok {
		l.guest.Claims = append(l.guest.Claims, guest.Claim{By: by, Spec: conf.Clean(spec), Volume: where})
	}
}

// elsewhere reports whether a spec means another root than the one that was
// found, or may, and which volume that is, if one is certain.
func (l *look) elsewhere(spec string) (where string, ok bool) {
	if !meansDevice(spec) {
		return "", false
	}
	v := l.bySpec(spec)
	if v == nil && conf.UnstableName(spec) != "" {
		v = l.byNumber(guest.PartitionNumber(spec))
	}
	switch v {
	case l.root:
		return "", false
	case nil:
		return "", true
	}
	return v.where, true
}

// meansDevice reports whether a spec names a device at all: not what GRUB puts
// in for a variable, nor the likes of "rootfs" and "overlay".
func meansDevice(spec string) bool {
	return strings.ContainsAny(spec, "/=:") && !strings.Contains(spec, "$") && spec != "/dev/root"
}

// byNumber finds the only volume that an unstable name, /dev/sdb1, can mean:
// the one that may be a root among the partitions of that number, on whichever
// disk; nil where there is more than one.
func (l *look) byNumber(number int) *volume {
	var found *volume
	for _, v := range l.volumes {
		if v.part == nil || v.partition != number || v != l.root && !v.mayBeRoot() {
			continue
		}
		if found != nil {
			return nil
		}
		found = v
	}
	return found
}

// mayBeRoot reports whether a volume could be a root file system: true unless it is
// known not to be.
func (v *volume) mayBeRoot() bool {
	if v.files != nil {
		return rootScore(v.files) > 0
	}
	return !slices.Contains([]string{"swap", "lvm2", "vfat", "exfat", "ntfs", "refs", "iso9660", "jbd"}, v.content.Type)
}

// menu lists the boot loader's menu: entries boot Linux, others don't. It is
// GRUB's, or LILO's if GRUB has none.
func (l *look) menu() (entries, others []conf.BootEntry) {
	for _, name := range []string{"boot/grub/grub.cfg", "boot/grub2/grub.cfg"} {
		if b, ok := l.read(name, maxFile); ok {
			others = conf.ReadGrubCfg(b).Others
			break
		}
	}
	all, _ := l.bootEntries(l.grubEnv())
	if len(all)+len(others) == 0 {
		b, _ := l.read("etc/lilo.conf", maxFstab)
		all = conf.ParseLilo(b)
	}
	for _, e := range all {
		if e.Other != "" && e.Cmdline == "" {
			others = append(others, e)
		} else {
			entries = append(entries, e)
		}
	}
	return entries, others
}

// otherBoots finds file systems that hold a boot loader's configuration and
// have no place in the tree: one of them may be what really boots.
func (l *look) otherBoots() {
	for _, v := range l.volumes {
		if v.files == nil || v.mount() != "" {
			continue
		}
		for _, name := range []string{"grub/grub.cfg", "grub2/grub.cfg", "grub/menu.lst"} {
			_, err := v.files.Lstat(name)
			if err != nil {
				_, err = v.files.Lstat(path.Join("boot", name))
			}
			if err == nil {
				l.guest.OtherBoots = append(l.guest.OtherBoots, v.where)
				break
			}
		}
	}
}
