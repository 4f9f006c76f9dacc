package guest

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// kernelVersion is the version in the name of a kernel image in /boot, "" for
// other files and for rescue images.
func kernelVersion(file string) string {
	for _, prefix := range []string{"vmlinuz-", "vmlinux-", "bzImage-", "kernel-"} {
		v, ok := strings.CutPrefix(file, prefix)
		if ok && v != "" && !strings.Contains(v, "rescue") && !strings.HasSuffix(v, ".old") && !strings.HasSuffix(v, ".gz") && !strings.HasSuffix(v, ".hmac") {
			return v
		}
	}
	return ""
}

// initrdNames are what distributions call the initrd of a kernel.
func initrdNames(version string) []string {
	return []string{"initrd.img-" + version, "initramfs-" + version + ".img", "initrd-" + version, "initramfs-" + version, "initrd-" + version + ".img"}
}

// compareVersions orders numbers within text by value: 6.1.0-9 before
// 6.1.0-10.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		an, bn := leadingDigits(a), leadingDigits(b)
		if an != "" && bn != "" {
			x, y := strings.TrimLeft(an, "0"), strings.TrimLeft(bn, "0")
			if c := cmp.Or(len(x)-len(y), strings.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[len(an):], b[len(bn):]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

// kernels finds the kernels in /boot and what their initrds are made for.
func (l *look) kernels() {
	files := l.tree.list("boot")
	for _, f := range files {
		if v := kernelVersion(f); v != "" {
			l.guest.Kernels = append(l.guest.Kernels, clean(v))
		}
	}
	slices.SortFunc(l.guest.Kernels, compareVersions)
	l.guest.Kernels = slices.Compact(l.guest.Kernels)
	how := l.initrdMaker()
	for _, v := range l.guest.Kernels {
		for _, name := range initrdNames(v) {
			if !slices.Contains(files, name) {
				continue
			}
			i := Initrd{Kernel: v, Path: "/boot/" + name, Virtio: how.ready, Evidence: how.evidence, Modules: l.modules(v)}
			if path, ok := l.builtin(v); ok {
				i.Virtio, i.Evidence = Yes, "the kernel has virtio_blk built in: /"+path
			}
			l.guest.Initrds = append(l.guest.Initrds, i)
			break
		}
	}
}

// maxIndex bounds a kernel's list of modules, in bytes; large ones have 1 MiB.
const maxIndex = 8 << 20

// modules lists those modules that a conversion may add to an initrd which a
// kernel has, built in or not, sorted.
func (l *look) modules(version string) []string {
	var have []string
	for _, index := range []string{"modules.builtin", "modules.dep"} {
		b, _ := l.read(path.Join("lib/modules", version, index), maxIndex)
		for line := range strings.Lines(string(b)) {
			file, _, _ := strings.Cut(line, ":")
			name, _, _ := strings.Cut(path.Base(strings.TrimSpace(file)), ".")
			switch name = strings.ReplaceAll(name, "-", "_"); name {
			case "dm_mod", "virtio_pci", "virtio_blk", "virtio_scsi":
				have = append(have, name)
			}
		}
	}
	slices.Sort(have)
	return slices.Compact(have)
}

// builtin reports whether a kernel has the driver built in, and the list that
// says so.
func (l *look) builtin(version string) (string, bool) {
	name := path.Join("lib/modules", version, "modules.builtin")
	b, ok := l.read(name, maxFile)
	return name, ok && strings.Contains(string(b), "/virtio_blk.ko") && strings.Contains(string(b), "/virtio_pci.ko")
}

// verdict is an answer with its reason.
type verdict struct {
	ready    Readiness
	evidence string
}

// initrdMaker says whether the initrds that this guest makes find a disk on
// virtio, from the configuration of the program that makes them.
func (l *look) initrdMaker() verdict {
	switch {
	case l.tree.exists("etc/initramfs-tools/initramfs.conf"):
		return l.initramfsTools()
	case l.tree.exists("etc/dracut.conf") || l.tree.exists("usr/lib/dracut/dracut.conf.d") || l.tree.exists("etc/dracut.conf.d"):
		return l.dracut()
	case l.tree.exists("etc/mkinitcpio.conf"):
		b, _ := l.read("etc/mkinitcpio.conf", maxFile)
		return mkinitcpioReady(b)
	case l.tree.exists("etc/mkinitfs/mkinitfs.conf"):
		b, _ := l.read("etc/mkinitfs/mkinitfs.conf", maxFile)
		return mkinitfsReady(b)
	}
	return verdict{Unknown, "no configuration of a known initrd builder was found"}
}

func (l *look) initramfsTools() verdict {
	confs := append([]string{"etc/initramfs-tools/initramfs.conf"}, l.tree.glob("usr/share/initramfs-tools/conf.d", "*")...)
	confs = append(confs, l.tree.glob("etc/initramfs-tools/conf.d", "*")...)
	modules, from := "", ""
	for _, name := range few(confs) {
		b, _ := l.read(name, maxFile)
		if m := assignments(b)["MODULES"]; m != "" {
			modules, from = m, name
		}
	}
	b, _ := l.read("etc/initramfs-tools/modules", maxFile)
	return initramfsReady(modules, from, b)
}

// initramfsReady judges initramfs-tools: MODULES=most takes every driver of
// disks, dep only those of the machine that it ran on, list only those named.
func initramfsReady(modules, from string, list []byte) verdict {
	named := map[string]bool{}
	for _, line := range lines(list) {
		named[strings.ReplaceAll(strings.Fields(line)[0], "-", "_")] = true
	}
	switch {
	case modules == "most":
		return verdict{Yes, fmt.Sprintf("MODULES=most in /%s: the initrd has the drivers of all disks", from)}
	case named["virtio_blk"] && named["virtio_pci"]:
		return verdict{Yes, "/etc/initramfs-tools/modules names virtio_blk and virtio_pci"}
	case modules == "dep" || modules == "list" || modules == "netboot":
		return verdict{No, fmt.Sprintf("MODULES=%s in /%s: the initrd has the drivers of the machine that it was made on only", modules, from)}
	}
	return verdict{Unknown, "no MODULES= in the configuration of initramfs-tools"}
}

func (l *look) dracut() verdict {
	confs := l.tree.glob("usr/lib/dracut/dracut.conf.d", "*.conf")
	confs = append(confs, "etc/dracut.conf")
	confs = append(confs, l.tree.glob("etc/dracut.conf.d", "*.conf")...)
	settings, from := map[string]string{}, ""
	for _, name := range few(confs) {
		b, ok := l.read(name, maxFile)
		if !ok {
			continue
		}
		for k, v := range assignments(b) {
			switch k {
			case "hostonly":
				settings[k], from = v, name
			case "add_drivers", "force_drivers", "drivers":
				settings[k] += " " + v
			}
		}
	}
	return dracutReady(settings, from)
}

// dracutReady judges dracut, which in the RHEL family takes only the drivers
// of the machine that it ran on.
func dracutReady(settings map[string]string, from string) verdict {
	drivers := strings.Fields(settings["add_drivers"] + " " + settings["force_drivers"] + " " + settings["drivers"])
	switch {
	case slices.Contains(drivers, "virtio_blk"):
		return verdict{Yes, "dracut's configuration names virtio_blk"}
	case settings["hostonly"] == "no":
		return verdict{Yes, fmt.Sprintf("hostonly=no in /%s: the initrd has the drivers of all disks", from)}
	case settings["hostonly"] == "yes":
		return verdict{No, fmt.Sprintf("hostonly=yes in /%s: the initrd has the drivers of the machine that it was made on only", from)}
	}
	return verdict{Unknown, "dracut's configuration doesn't say hostonly=, and its default differs between versions"}
}

// mkinitcpioReady judges Arch's builder by its hook autodetect.
func mkinitcpioReady(b []byte) verdict {
	text := strings.Join(lines(b), "\n")
	switch {
	case strings.Contains(text, "virtio_blk"):
		return verdict{Yes, "/etc/mkinitcpio.conf names virtio_blk"}
	case strings.Contains(text, "autodetect"):
		return verdict{No, "the hook autodetect in /etc/mkinitcpio.conf: the initrd has the drivers of the machine that it was made on only"}
	}
	return verdict{Yes, "no hook autodetect in /etc/mkinitcpio.conf: the initrd has the drivers of all disks"}
}

// mkinitfsReady judges Alpine's builder by its features.
func mkinitfsReady(b []byte) verdict {
	if slices.Contains(strings.Fields(assignments(b)["features"]), "virtio") {
		return verdict{Yes, "/etc/mkinitfs/mkinitfs.conf has the feature virtio"}
	}
	return verdict{No, "/etc/mkinitfs/mkinitfs.conf lacks the feature virtio"}
}
