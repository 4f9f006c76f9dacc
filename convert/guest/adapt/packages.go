package adapt

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/layout"
	"esxodus/convert/ledger"
)

// packages decides which packages go and come.
func (b *builder) packages() {
	if b.in.Layout.Boot != nil {
		b.ownLilo = b.keepsLilo()
	}
	if b.family.dpkg {
		b.removeDpkg()
	} else {
		b.removeRPM()
	}
	if b.g.VMwareTools {
		b.vmwareTools()
	}
	b.installLVM()
}

// lvm reports whether the target needs LVM in the guest.
func (b *builder) lvm() bool {
	return b.in.Layout.Kind == layout.LVM
}

func (b *builder) hasLVM() bool {
	_, ok := b.installed("lvm2")
	return ok || !b.family.dpkg && b.has("/usr/sbin/lvm", "/sbin/lvm")
}

// installLVM puts LVM into a guest that had no use for it.
func (b *builder) installLVM() {
	if !b.lvm() || b.hasLVM() {
		return
	}
	b.out.Install = append(b.out.Install, "lvm2")
	b.entry("guest.packages[lvm2]", "not installed", "lvm2 and what it needs", "the guest's root is a logical volume now")
	b.touch("files and records of lvm2 and of what it needs", "/etc/lvm/", "/usr/sbin/*", "/sbin/*", "/usr/lib/*/*.so*", "/lib/*/*.so*",
		"/usr/lib/*/device-mapper/", "/usr/lib/lvm2/", "/usr/libexec/lvm2/", "/usr/lib/systemd/system*/", "/lib/systemd/system*/",
		"/usr/lib/udev/rules.d/*", "/lib/udev/rules.d/*", "/usr/lib/tmpfiles.d/lvm2.conf", "/etc/systemd/system/*.wants/*", "/etc/init.d/lvm2*", "/etc/rc?.d/*lvm2*",
		"/etc/tmpfiles.d/", "/usr/share/initramfs-tools/", "/usr/share/doc/*/", "/usr/share/man/man*/", "/usr/share/lintian/", "/usr/share/bash-completion/", "/usr/share/bug/", "/usr/share/python3/", "/etc/default/*", "/var/lib/systemd/deb-systemd-helper-enabled/")
}

// loaderPackages are those of boot loaders that have no work any more.
func loaderPackage(name string) bool {
	return name == "os-prober" || slices.ContainsFunc([]string{"grub", "shim-", "systemd-boot"}, func(p string) bool { return strings.HasPrefix(name, p) })
}

// removeDpkg removes boot loaders and VMware's agents, but nothing that another
// package needs.
func (b *builder) removeDpkg() {
	var loaders, tools []string
	for _, p := range b.c.Packages {
		switch {
		case loaderPackage(p.Name) && b.in.Layout.Boot != nil && !b.ownLilo:
			loaders = append(loaders, p.Name)
		case strings.HasPrefix(p.Name, "open-vm-tools"):
			tools = append(tools, p.Name)
		case p.Name == "lilo" && b.in.Layout.Boot != nil && !b.ownLilo:
			loaders = append(loaders, p.Name)
		}
	}
	kept := b.remove(loaders, "the disk has another boot loader")
	if len(kept) > 0 {
		b.divert()
	}
	b.remove(tools, "there is no VMware any more")
	if len(loaders) > len(kept) && b.has("/boot/grub") {
		b.command("rm", "-rf", "--one-file-system", "--", "/boot/grub")
		b.touch("GRUB is gone, and what it booted from with it", "/boot/grub/")
	}
}

// remove removes packages and returns those that have to stay.
func (b *builder) remove(names []string, reason string) (kept []string) {
	going := slices.Clone(names)
	for again := true; again; {
		again = false
		for _, p := range b.c.Packages {
			if slices.Contains(going, p.Name) {
				continue
			}
			for _, by := range p.Needs {
				if !slices.ContainsFunc(by, func(n string) bool { return !slices.Contains(going, n) }) {
					going = slices.DeleteFunc(going, func(n string) bool { return slices.Contains(by, n) })
					again = true
					b.concern(ConcernPackages, ledger.Warning, by[0], fmt.Sprintf("%s stays: the package %s needs it", strings.Join(by, ", "), p.Name),
						"nothing of it runs when the guest boots; see what "+p.Name+" is for, and remove both when it isn't needed")
				}
			}
		}
	}
	for _, n := range names {
		if !slices.Contains(going, n) {
			kept = append(kept, n)
			continue
		}
		p, _ := b.installed(n)
		b.out.Remove = append(b.out.Remove, n)
		b.entry("guest.packages["+n+"]", p.Version, "", reason)
		b.touch("files of the removed package "+n, shorten(b.c.Owned[n])...)
		b.touch("dpkg's records of the removed package "+n, "/var/lib/dpkg/info/"+n+".*", "/var/lib/dpkg/info/"+n+":*")
	}
	return kept
}

// divert keeps the hooks of a GRUB that stays from running: names with a dot
// are none to run-parts.
func (b *builder) divert() {
	for _, hook := range []string{"/etc/kernel/postinst.d/zz-update-grub", "/etc/kernel/postrm.d/zz-update-grub"} {
		b.command("dpkg-divert", "--local", "--rename", "--divert", hook+".esxodus", "--add", hook)
		b.touch("GRUB stays, but kernels' packages don't run it", hook, hook+".esxodus")
	}
	b.touch("dpkg's record of diversions", "/var/lib/dpkg/diversions", "/var/lib/dpkg/diversions-old")
}

// crowd is how many files of a package in one directory are shown as all of it.
const crowd = 8

// shorten makes patterns of a package's list of files: directories in which it
// has many are taken whole.
func shorten(files []string) []string {
	dirs := map[string]bool{} // that are in the list because something is in them
	count := map[string]int{}
	for _, f := range files {
		dirs[path.Dir(f)] = true
		count[path.Dir(f)]++
	}
	var out []string
	for _, f := range files {
		switch {
		case dirs[f] || !path.IsAbs(f) || path.Clean(f) != f:
		case count[path.Dir(f)] > crowd && strings.Count(f, "/") > 3:
			out = append(out, literal(path.Dir(f))+"/")
		default:
			out = append(out, literal(f))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// literal is a pattern that matches only the path itself.
func literal(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

// removeRPM removes VMware's agents. GRUB stays: kernels' packages need its
// tools.
func (b *builder) removeRPM() {
	if b.has("/usr/bin/vmtoolsd") && !b.g.VMwareTools {
		names := []string{"open-vm-tools"}
		if b.has("/usr/bin/vmware-user-suid-wrapper") {
			names = append(names, "open-vm-tools-desktop")
		}
		b.out.Remove = append(b.out.Remove, names...)
		for _, n := range names {
			b.entry("guest.packages["+n+"]", "installed", "", "there is no VMware any more")
		}
		b.touch("files of the removed open-vm-tools", "/etc/vmware-tools/", "/usr/bin/vm*", "/usr/lib64/open-vm-tools/", "/usr/lib64/libvm*", "/usr/lib64/libhgfs*", "/usr/lib64/libguestlib*", "/usr/lib64/libDeployPkg*",
			"/usr/lib/systemd/system/vm*", "/etc/systemd/system/*/vm*", "/usr/lib/udev/rules.d/*vmware*", "/etc/pam.d/vmtoolsd", "/usr/share/doc/open-vm-tools*/", "/usr/share/licenses/open-vm-tools*/")
	}
	if b.in.Layout.Boot != nil {
		b.entry("guest.packages[grub2]", "installed", "installed", "kernels' packages need its tools; nothing of it runs when the guest boots")
	}
}

// vmwareTools tells what to do about VMware's own tools, whose uninstaller
// expects to run in the system that it changes.
func (b *builder) vmwareTools() {
	advice := "they don't start here; remove /etc/vmware-tools and their services by hand"
	if b.has("/usr/bin/vmware-uninstall-tools.pl", "/usr/lib/vmware-tools/bin/vmware-uninstall-tools.pl") {
		advice = "they don't start here; run vmware-uninstall-tools.pl in the guest, before the migration or after it"
	}
	b.concern(ConcernTools, ledger.Warning, "", "VMware's own tools are installed, not open-vm-tools", advice)
}

// keepsLilo reports whether the guest's own LILO stays in charge.
func (b *builder) keepsLilo() bool {
	p, ok := b.installed("lilo")
	if !ok && !b.has("/sbin/lilo", "/usr/sbin/lilo") {
		return false
	}
	_, conf := b.c.Files[liloConf]
	var why string
	switch {
	case !ok:
		why = "it is of no package, and its version isn't known"
	case !conf || !b.has(liloMap):
		why = "it has no lilo.conf and map, so it isn't what boots"
	case b.has("/boot/grub/grub.cfg"):
		why = "there is a GRUB as well, and which of them boots can't be seen"
	case !atLeast(p.Version, 22, 7):
		why = "before 22.7 it knows no LVM"
	case !b.lvm() || b.in.Layout.Boot.UEFI:
		why = "it can't be told to boot this layout"
	default:
		return true
	}
	b.concern(ConcernLilo, ledger.Note, "", strings.TrimSpace("the guest's own LILO "+p.Version)+" is replaced: "+why, "its lilo.conf is in the plan's diff: carry over what you need")
	return false
}

// atLeast compares the first two numbers of a Debian version.
func atLeast(v string, major, minor int) bool {
	if _, after, ok := strings.Cut(v, ":"); ok {
		v = after
	}
	v, _, _ = strings.Cut(v, "-")
	f := strings.SplitN(v, ".", 3)
	number := func(i int) int {
		if i >= len(f) {
			return 0
		}
		n, err := strconv.Atoi(f[i][:len(f[i])-len(strings.TrimLeft(f[i], "0123456789"))])
		if err != nil {
			return 0
		}
		return n
	}
	return cmp.Or(number(0)-major, number(1)-minor) >= 0
}
