package adapt

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// dpkg is Debian's way, and that of all that derive from it.
type dpkg struct{}

func (dpkg) hasLVM(b *builder) bool {
	_, ok := b.installed("lvm2")
	return ok
}

func (dpkg) hooks() []guest.Program {
	return []guest.Program{
		{Path: "/etc/kernel/postinst.d/zz-runlilo", Source: "hooks/zz-runlilo", Mode: 0o755},
		{Path: "/etc/kernel/postrm.d/zz-runlilo", Source: "hooks/zz-runlilo", Mode: 0o755},
	}
}

func (dpkg) starts(script string) []string { return []string{"update-rc.d", script, "defaults"} }

func (dpkg) records(b *builder) {
	b.touch("dpkg's and debconf's records", "/var/lib/dpkg/", "/var/log/dpkg.log", "/var/log/alternatives.log", "/var/cache/debconf/", "/var/lib/ucf/",
		"/etc/ld.so.cache", "/var/cache/ldconfig/", "/var/lib/systemd/", "/var/lib/grub/", "/var/lib/shim-signed/")
}

// remove removes boot loaders and VMware's agents, but nothing that another
// package needs.
func (dpkg) remove(b *builder) {
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
		b.touch("GRUB is gone, and so is what it booted from", "/boot/grub/")
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
		for _, pattern := range shorten(n, b.c.FilesOf(n)) {
			b.touch("files of the removed package "+n, pattern)
			if top, _, _ := strings.Cut(pattern[1:], "/"); top == "bin" || top == "sbin" || top == "lib" {
				b.touch("files of the removed package "+n, "/usr"+pattern) // /lib and such may be links
			}
		}
		b.touch("links to services of the removed package "+n, "/etc/rc?.d/*"+literal(n))
		for _, file := range b.c.FilesOf(n) {
			if dir := path.Dir(file); dir == "/lib/systemd/system" || dir == "/usr/lib/systemd/system" {
				b.touch("links to services of the removed package "+n, "/etc/systemd/system/*.wants/"+literal(path.Base(file)))
			}
		}
		b.touch("dpkg's records of the removed package "+n, "/var/lib/dpkg/info/"+n+".*", "/var/lib/dpkg/info/"+n+":*")
	}
	if len(kept) > 0 {
		b.concern(ConcernPackages, ledger.Warning, kept[0], fmt.Sprintf("these packages are kept although unused now: %s (%s)", strings.Join(kept, ", "), strings.Join(why, "; ")),
			"nothing in them runs at boot; remove them by hand, along with what depends on them, if you don't need them (a protected one: dpkg --purge --force-remove-protected)")
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

// images finds out where the guest has its links, or where its packages would
// make them.
func (dpkg) images(b *builder) imageNames {
	dir := b.linkDir()
	return imageNames{path.Join(dir, "vmlinuz"), path.Join(dir, "initrd.img")}
}

// linkDir is the directory that dpkg's kernels keep their links in. What
// kernel-img.conf says comes before links that are there: packages renew only
// those, also where do_symlinks was off until now, for [dpkg.kernelSettings]
// turns it on.
func (b *builder) linkDir() string {
	conf := b.kernelImgSettings()
	dest := path.Clean("/" + conf["image_dest"])
	switch {
	case yes(conf["link_in_boot"]):
		return "/boot"
	case conf["image_dest"] != "" && (dest == "/" || dest == "/boot"):
		return dest
	case b.leads("/vmlinuz"):
		return "/"
	case b.leads("/boot/vmlinuz") || b.g.Distro == "ubuntu":
		return "/boot"
	}
	return "/"
}

const kernelImgFile = "/etc/kernel-img.conf"

// kernelImgSettings reads kernel-img.conf(5), whose syntax is key = value.
func (b *builder) kernelImgSettings() map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(b.c.Files[kernelImgFile].Text) {
		if k, v, ok := strings.Cut(line, "="); ok {
			out[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
		}
	}
	return out
}

func yes(v string) bool {
	switch strings.ToLower(v) {
	case "yes", "true", "1":
		return true
	}
	return false
}

// kernelSettings has kernels' packages keep the links, and run no boot loader
// that is gone: LILO has its hooks.
func (dpkg) kernelSettings(b *builder) {
	file, ok := b.c.Files[kernelImgFile]
	if !ok {
		return // the defaults are right
	}
	var out strings.Builder
	for line := range strings.Lines(file.Text) {
		key, value, assigned := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch k := strings.ToLower(strings.TrimSpace(key)); {
		case assigned && k == "do_symlinks" && !yes(value):
			line = "do_symlinks = yes\n"
		case assigned && k == "do_bootloader" && yes(value):
			line = "do_bootloader = no\n"
		case assigned && (k == "postinst_hook" || k == "postrm_hook") && strings.HasSuffix(value, "update-grub"):
			line = "#" + line
		}
		out.WriteString(line)
	}
	b.change(kernelImgFile, out.String(), "kernels' packages keep the links that LILO follows, and run only its hooks")
}
