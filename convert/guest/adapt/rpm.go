package adapt

import "esxodus/convert/guest"

// rpm is the way of Red Hat and SUSE.
type rpm struct{}

// images are the links of the hook, or SUSE's: there kernels' packages move both, and
// know no such hook.
func (rpm) images(b *builder) imageNames {
	if b.leads("/boot/vmlinuz") && b.leads("/boot/initrd") {
		return imageNames{"/boot/vmlinuz", "/boot/initrd"}
	}
	return imageNames{"/boot/vmlinuz", "/boot/initramfs.img"}
}

func (rpm) hasLVM(b *builder) bool { return b.has("/usr/sbin/lvm", "/sbin/lvm") }

func (rpm) hooks() []guest.Program {
	return []guest.Program{{Path: "/etc/kernel/install.d/95-lilo.install", Source: "hooks/95-lilo.install", Mode: 0o755}}
}

func (rpm) starts(script string) []string { return []string{"chkconfig", "--add", script} }

func (rpm) kernelSettings(*builder) {}

func (rpm) records(b *builder) {
	b.touch("rpm's records", "/var/lib/rpm/", "/usr/lib/sysimage/rpm/", "/etc/ld.so.cache", "/var/cache/ldconfig/")
}

// remove removes VMware's agents. GRUB stays: kernels' packages need its
// tools.
func (rpm) remove(b *builder) {
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
