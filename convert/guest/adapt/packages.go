package adapt

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

// packages decides which packages go and come.
func (b *builder) packages() {
	if b.in.Layout.Boot != nil {
		b.ownLilo = b.keepsLilo()
	}
	b.family.remove(b)
	if b.g.VMwareTools {
		b.vmwareTools()
	}
	b.installLVM()
}

// lvm reports whether the target needs LVM in the guest.
func (b *builder) lvm() bool {
	return b.in.Layout.Kind == layout.LVM
}

// installLVM puts LVM into a guest that had no use for it.
func (b *builder) installLVM() {
	if !b.lvm() || b.family.hasLVM(b) {
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
		b.concern(ConcernTools, ledger.Note, "", fmt.Sprintf("%s of VMware's own tools stay, because they were edited or have names of others: %s", fit.Count(len(stays), "file"), strings.Join(stays[:min(len(stays), argShown)], ", ")),
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
		why = "it belongs to no package, and its version isn't known"
	case !conf || !b.has(liloMap):
		why = "it has no lilo.conf and map, so it isn't what boots"
	case b.has("/boot/grub/grub.cfg"):
		why = "there is a GRUB as well, and which of them boots can't be seen"
	case !atLeast(p.Version, 22, 7):
		why = "before 22.7 it doesn't support LVM"
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
