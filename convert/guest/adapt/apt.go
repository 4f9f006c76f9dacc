package adapt

import (
	"slices"
	"strings"

	"esxodus/convert/guest"
)

// pinFile says what apt must not install. apt reads names without an extension.
const pinFile = "/etc/apt/preferences.d/esxodus-boot"

// loaders are the packages whose scripts put a boot loader on a disk, or in the
// place of esxodus's. Kernels' packages recommend some of them: Ubuntu's
// grub-pc | grub-efi-amd64 | grub-efi-ia32 | grub | lilo. Packages that only
// bring files, as grub-pc-bin does, can be wanted for something else.
var loaders = []string{ //nolint:gochecknoglobals // a constant table
	"grub", "grub2", "grub-legacy", "grub-pc", "grub-coreboot", "grub-efi", "grub-efi-amd64", "grub-efi-amd64-signed", "grub-efi-ia32",
	"grub-cloud-amd64", "lilo", "shim-signed", "systemd-boot",
}

// pinLoaders keeps boot loaders from coming with the next kernel: their scripts
// fail where no disk has a place for them, and leave dpkg half done. Those
// that stay can be upgraded, see [builder.disarm].
func (b *builder) pinLoaders(kept []string) {
	if b.in.Layout.Boot == nil || b.ownLilo || !b.has("/usr/bin/apt-get") {
		return
	}
	never := slices.DeleteFunc(slices.Clone(loaders), func(n string) bool { return slices.Contains(kept, n) })
	b.change(pinFile, strings.Join([]string{
		"Explanation: Made by esxodus. This system is booted by LILO (man 8 lilo), from a disk",
		"Explanation: without partitions. Kernels' packages recommend other boot loaders, whose",
		"Explanation: scripts fail on such a disk and leave dpkg half done; a LILO of the",
		"Explanation: distribution's would take the place of the one that boots.",
		"Explanation: To have one of them nonetheless, remove this file.",
		"Package: " + strings.Join(never, " "),
		"Pin: version *",
		"Pin-Priority: -1",
	}, "\n")+"\n", "the next kernel's package must not bring another boot loader, whose scripts fail on this disk")
	b.entry("guest.apt", "any boot loader", "only those that stay", "kernels' packages recommend some, whose scripts fail on a disk without partitions; "+pinFile+" says how to take that back")
}

// disarm takes away what makes the scripts of a GRUB that stays put it on a disk
// again when it is upgraded. They look for what it once wrote into /boot/grub,
// and make a menu anew where there is one (postinst of grub-pc, grub-efi-amd64,
// grub-efi-amd64-signed and shim-signed in Debian 12 and 13, Ubuntu 20.04, 22.04
// and 24.04); those of Ubuntu's cloud images ask debconf instead. The directory
// stays: services of theirs write to it.
func (b *builder) disarm(kept []string) {
	const reason = "GRUB stays, but its upgrades don't write to a disk"
	if b.has("/boot/grub") {
		files := []string{
			"/boot/grub/grub.cfg", "/boot/grub/device.map", "/boot/grub/core.img", "/boot/grub/i386-pc/core.img",
			"/boot/grub/x86_64-efi/core.img", "/boot/grub/x86_64-efi/core.efi",
		}
		b.commands([]string{"rm", "-f", "--"}, files)
		b.touch(reason, files...)
	}
	if slices.Contains(kept, "grub-pc") && b.has("/usr/bin/debconf-set-selections") {
		b.command("sh", "-c", `printf '%s\n' "$@" | debconf-set-selections`, "sh",
			"grub-pc grub-pc/install_devices multiselect", "grub-pc grub-pc/install_devices_empty boolean true", "grub-pc grub-pc/cloud_style_installation boolean false")
		b.touch(reason, "/var/cache/debconf/")
	}
}

// outlive has the plan's lilo.conf come after the package lilo is gone: its
// purge renames the file that there was.
func (b *builder) outlive() {
	if !slices.Contains(b.out.Remove, "lilo") {
		return
	}
	b.touch("what purging lilo does to its files", liloConf+"_backup", "/boot/*.bmp", "/boot/*.dat")
	i := slices.IndexFunc(b.out.Edits, func(e guest.Edit) bool { return e.Path == b.c.Files[liloConf].Path && !e.Make && !e.Remove })
	if i < 0 {
		return
	}
	e := b.out.Edits[i]
	b.out.Edits[i] = guest.Edit{Path: e.Path, Remove: true, Old: e.Old, Reason: "its package is removed, and removes it"}
	b.out.Edits = slices.Insert(b.out.Edits, i+1, guest.Edit{Path: e.Path, Make: true, Mode: 0o644, New: e.New, Reason: e.Reason})
}
