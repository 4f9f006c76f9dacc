package inspect

import (
	"strings"

	"esxodus/convert/guest/conf"
)

// maxFew bounds how many configuration files of one kind are read.
const maxFew = 200

// few are the first of many names of files.
func few(names []string) []string { return names[:min(len(names), maxFew)] }

// resumeFiles lists what initramfs-tools reads its settings from, RESUME= among
// them, in its order: of several assignments the last one counts.
func (t tree) resumeFiles() []string {
	return t.regular(append([]string{"etc/initramfs-tools/initramfs.conf"}, t.glob("etc/initramfs-tools/conf.d", "*")...))
}

// unitFiles lists the units of the guest's admin that mount file systems or
// use swap, and what adds to units of that kind.
func (t tree) unitFiles() []string {
	const dir = "etc/systemd/system"
	var out []string
	for _, kind := range []string{"*.mount", "*.swap"} {
		out = append(out, t.glob(dir, kind)...)
		for _, more := range t.glob(dir, kind+".d") {
			out = append(out, t.glob(more, "*.conf")...)
		}
	}
	return t.regular(out)
}

// regular returns those names that lead to regular files. A unit that leads to
// /dev/null is masked.
func (t tree) regular(names []string) []string {
	var out []string
	for _, name := range few(names) {
		if _, info, err := t.resolve(name); err == nil && info.Mode().IsRegular() {
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
	for _, name := range l.tree.resumeFiles() {
		b, _ := l.read(name, maxFstab)
		add(conf.Assignments(b)["RESUME"])
	}
	for _, name := range l.tree.unitFiles() {
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
		l.note("/etc/lvm/devices/system.devices lists the disks that LVM may use by names of their old bus: LVM will not find them on a new one")
	}
}
