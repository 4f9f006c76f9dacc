package inspect

import (
	"strings"

	"esxodus/convert/guest/conf"
)

// What is read of configuration files of one kind: so many of them, and so many
// bytes of all together. No guest that anyone uses has more.
const (
	maxFew  = 2000
	maxKind = 16 << 20
)

// few are those of many files that are read: all, or the guest can't be
// converted.
func (l *look) few(names []string) []string {
	var size int64
	for i, name := range names {
		if _, info, err := l.tree.resolve(name); err == nil {
			size += min(info.Size(), maxFile)
		}
		if i >= maxFew || size > maxKind {
			l.unread("there are %d files like /%s, of which only the first %d are read", len(names), name, i)
			return names[:i]
		}
	}
	return names
}

// resumeFiles lists what initramfs-tools reads its settings from, RESUME= among
// them, in its order: of several assignments the last one counts.
func (l *look) resumeFiles() []string {
	return l.regular(append([]string{"etc/initramfs-tools/initramfs.conf"}, l.tree.glob("etc/initramfs-tools/conf.d", "*")...))
}

// unitFiles lists the units of the guest's admin that mount file systems or
// use swap, and what adds to units of that kind.
func (l *look) unitFiles() []string {
	const dir = "etc/systemd/system"
	var out []string
	for _, kind := range []string{"*.mount", "*.swap"} {
		out = append(out, l.tree.glob(dir, kind)...)
		for _, more := range l.tree.glob(dir, kind+".d") {
			out = append(out, l.tree.glob(more, "*.conf")...)
		}
	}
	return l.regular(out)
}

// regular returns those names that lead to regular files. A unit that leads to
// /dev/null is masked.
func (l *look) regular(names []string) []string {
	var out []string
	for _, name := range l.few(names) {
		if _, info, err := l.tree.resolve(name); err == nil && info.Mode().IsRegular() {
			out = append(out, name)
		}
	}
	return out
}

// unstableNames looks for names of disks in configuration other than fstab.
func (l *look) unstableNames() {
	add := func(names ...string) {
		for _, n := range names {
			l.guest.DiskNames = append(l.guest.DiskNames, conf.UnstableName(n))
		}
	}
	for _, line := range l.configLines("etc/crypttab") {
		if f := strings.Fields(line); len(f) > 1 {
			add(f[1])
			l.needBelow("/dev/mapper/"+f[0], f[1])
		}
	}
	for _, name := range l.resumeFiles() {
		b, _ := l.read(name, maxFstab)
		add(conf.Assignments(b)["RESUME"])
	}
	for _, name := range l.unitFiles() {
		b, _ := l.read(name, maxFstab)
		s := conf.Sections(b)
		add(append(s["Mount"]["What"], s["Swap"]["What"]...)...)
	}
	for _, name := range []string{"boot/grub/device.map", "boot/grub2/device.map"} {
		for _, line := range l.configLines(name) {
			if f := strings.Fields(line); len(f) > 1 {
				add(f[1])
			}
		}
	}
	if l.tree.exists("etc/lvm/devices/system.devices") {
		l.note("/etc/lvm/devices/system.devices lists the disks that LVM may use by names from their old bus: LVM won't find them on a new one")
	}
}
