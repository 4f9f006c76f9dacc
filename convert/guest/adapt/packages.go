package adapt

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/guest"
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
	b.touch("files of lvm2 and of what it needs", "/etc/lvm/")
	for _, usr := range []string{"", "/usr"} {
		b.touch("files of lvm2 and of what it needs", usr+"/sbin/lv*", usr+"/sbin/vg*", usr+"/sbin/pv*", usr+"/sbin/dm*", usr+"/sbin/fsadm", usr+"/sbin/blkdeactivate",
			usr+"/lib/*/libdevmapper*", usr+"/lib/*/liblvm2*", usr+"/lib/*/libaio*", usr+"/lib/*/device-mapper/",
			usr+"/lib/systemd/system/*lvm*", usr+"/lib/systemd/system/dm-event*", usr+"/lib/systemd/system/blk-availability*", usr+"/lib/systemd/system-generators/lvm*",
			usr+"/lib/udev/rules.d/*-dm*.rules", usr+"/lib/udev/rules.d/*lvm*.rules")
	}
	b.touch("files of lvm2 and of what it needs", "/etc/init.d/lvm2*", "/etc/rc?.d/*lvm2*", "/etc/systemd/system/*.wants", "/etc/systemd/system/*.wants/*lvm2*", "/etc/systemd/system/*.wants/dm-event*", "/etc/systemd/system/*.wants/blk-availability*",
		"/usr/lib/tmpfiles.d/lvm2.conf", "/usr/lib/lvm2/", "/usr/libexec/lvm2/", "/usr/share/initramfs-tools/hooks/lvm2", "/usr/share/initramfs-tools/hooks/dmsetup", "/usr/share/initramfs-tools/scripts/*/lvm2")
	for _, name := range []string{"lvm2", "dm*", "libdevmapper*", "liblvm2*", "libaio*"} {
		b.touch("documentation and records of lvm2 and of what it needs", "/usr/share/doc/"+name+"/", "/usr/share/lintian/overrides/"+name, "/var/lib/dpkg/info/"+name+".*", "/var/lib/dpkg/info/"+name+":*")
	}
	b.touch("manual pages of lvm2 and of what it needs", "/usr/share/man/man?/*")
}

// removeDpkg removes boot loaders and VMware's agents, but nothing that another
// package needs.
func (b *builder) removeDpkg() {
	var loaders, tools []string
	for _, p := range b.c.Packages {
		switch {
		case guest.LoaderPackage(p.Name) && b.in.Layout.Boot != nil && !b.ownLilo:
			loaders = append(loaders, p.Name)
		case strings.HasPrefix(p.Name, "open-vm-tools"):
			tools = append(tools, p.Name)
		}
	}
	kept := b.remove(loaders, "the disk has another boot loader")
	if len(kept) > 0 {
		b.divert()
		b.disarm(kept)
	}
	b.pinLoaders(kept)
	b.remove(tools, "there is no VMware any more")
	if len(tools) > 0 {
		b.touch("links to services of open-vm-tools, and its settings", "/etc/systemd/system/*/open-vm-tools.service", "/etc/systemd/system/*/vgauth.service", "/etc/systemd/system/vmtoolsd.service",
			"/etc/systemd/system/*.requires/", "/etc/vmware-tools/", "/etc/init.d/open-vm-tools", "/etc/rc?.d/*open-vm-tools")
	}
	if len(loaders) > len(kept) {
		b.touch("settings of a boot loader that is gone", "/etc/default/grub", "/etc/default/grub.d/", "/etc/default/grub.ucf-dist", "/etc/kernel/postinst.d/zz-update-grub", "/etc/kernel/postrm.d/zz-update-grub")
	}
	if len(loaders) > 0 && len(kept) == 0 && b.has("/boot/grub") {
		b.command("rm", "-rf", "--one-file-system", "--", "/boot/grub")
		b.touch("GRUB is gone, and what it booted from with it", "/boot/grub/")
	}
}

// remove removes packages and returns those that have to stay.
func (b *builder) remove(names []string, reason string) (kept []string) {
	going, why := b.removable(names)
	for _, n := range names {
		if !slices.Contains(going, n) {
			kept = append(kept, n)
			continue
		}
		p, _ := b.installed(n)
		b.out.Remove = append(b.out.Remove, n)
		b.entry("guest.packages["+n+"]", p.Version, "", reason)
		for _, pattern := range shorten(n, b.c.Owned[n]) {
			b.touch("files of the removed package "+n, pattern)
			if top, _, _ := strings.Cut(pattern[1:], "/"); top == "bin" || top == "sbin" || top == "lib" {
				b.touch("files of the removed package "+n, "/usr"+pattern) // /lib and such may be links
			}
		}
		b.touch("links to services of the removed package "+n, "/etc/rc?.d/*"+literal(n))
		for _, file := range b.c.Owned[n] {
			if dir := path.Dir(file); dir == "/lib/systemd/system" || dir == "/usr/lib/systemd/system" {
				b.touch("links to services of the removed package "+n, "/etc/systemd/system/*.wants/"+literal(path.Base(file)))
			}
		}
		b.touch("dpkg's records of the removed package "+n, "/var/lib/dpkg/info/"+n+".*", "/var/lib/dpkg/info/"+n+":*")
	}
	if len(kept) > 0 {
		b.concern(ConcernPackages, ledger.Warning, kept[0], fmt.Sprintf("packages stay that have no work any more: %s, for %s", strings.Join(kept, ", "), strings.Join(why, "; ")),
			"nothing of them runs when the guest boots; remove them by hand if they and what needs them are not wanted (a protected one: dpkg --purge --force-remove-protected)")
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

// removable returns those packages that can go: neither protected nor needed by
// one that stays; and why the others stay.
func (b *builder) removable(names []string) (going, why []string) {
	for _, n := range names {
		if p, _ := b.installed(n); p.Protected {
			why = append(why, n+" is marked as protected")
		} else {
			going = append(going, n)
		}
	}
	for again := true; again; {
		again = false
		for _, p := range b.c.Packages {
			by := needed(p, going)
			if by == nil {
				continue
			}
			again = true
			going = slices.DeleteFunc(going, func(n string) bool { return slices.Contains(by, n) })
			if !slices.Contains(names, p.Name) {
				why = append(why, p.Name+" needs "+strings.Join(by, " or "))
			}
		}
	}
	return going, why
}

// needed returns those of the packages that go of which one that stays needs
// one.
func needed(p guest.Package, going []string) []string {
	if slices.Contains(going, p.Name) {
		return nil
	}
	for _, by := range p.Needs {
		if !slices.ContainsFunc(by, func(n string) bool { return !slices.Contains(going, n) }) {
			return by
		}
	}
	return nil
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

// argShown is how many paths a concern names.
const argShown = 5

// vmwareTools removes VMware's own tools by their installer's record. Their
// uninstaller isn't run: it expects to run in the system that it changes, and
// puts old versions of configuration files back.
func (b *builder) vmwareTools() {
	goes, stays := b.c.Tools.Goes, b.c.Tools.Stays
	b.commands([]string{"rm", "-rf", "--one-file-system", "--"}, goes)
	for _, name := range goes {
		b.touch("files of VMware's own tools", literal(name))
	}
	if len(goes) > 0 {
		b.entry("guest.vmwareTools", "installed by VMware's installer", "", "there is no VMware any more; their kernel modules stay in /lib/modules, and nothing loads them")
	}
	switch {
	case len(goes) == 0:
		advice := "they don't start here; remove /etc/vmware-tools and their services by hand"
		if b.has("/usr/bin/vmware-uninstall-tools.pl", "/usr/lib/vmware-tools/bin/vmware-uninstall-tools.pl") {
			advice = "they don't start here; run vmware-uninstall-tools.pl in the guest, before the migration or after it"
		}
		b.concern(ConcernTools, ledger.Warning, "", "VMware's own tools are installed, not open-vm-tools, and the record of their files can't be used", advice)
	case len(stays) > 0:
		b.concern(ConcernTools, ledger.Note, "", fmt.Sprintf("%d file(s) of VMware's own tools stay, being edited since or not theirs by name: %s", len(stays), strings.Join(stays[:min(len(stays), argShown)], ", ")),
			"nothing starts them; remove what you don't need")
	}
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
