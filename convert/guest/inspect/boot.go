package inspect

import (
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// kernels finds the kernels in /boot and what their initrds are made for.
func (l *look) kernels() {
	files := map[string]bool{}
	for _, f := range l.tree.list("boot") {
		files[f] = true
		if v := conf.KernelVersion(f); v != "" {
			l.guest.Kernels = append(l.guest.Kernels, conf.Clean(v))
		}
	}
	slices.SortFunc(l.guest.Kernels, conf.CompareVersions)
	l.guest.Kernels = slices.Compact(l.guest.Kernels)
	if more := len(l.guest.Kernels) - maxKernels; more > 0 {
		l.unread("/boot holds %d kernels, of which only the newest %d are read", len(l.guest.Kernels), maxKernels)
		l.guest.Kernels = l.guest.Kernels[more:]
	}
	how := l.initrdMaker()
	for _, v := range l.guest.Kernels {
		for _, name := range conf.InitrdNames(v) {
			if !files[name] {
				continue
			}
			i := guest.Initrd{Kernel: v, Path: "/boot/" + name, Virtio: how.Ready, Evidence: how.Evidence, Modules: l.modules(v)}
			if path, ok := l.builtin(v); ok {
				i.Virtio, i.Evidence = guest.Yes, "the kernel has virtio_blk built in: /"+path
			}
			l.guest.Initrds = append(l.guest.Initrds, i)
			break
		}
	}
}

// maxKernels bounds how many kernels are looked at.
const maxKernels = 1000

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
				have = append(have, strings.Clone(name)) // a part would hold the whole index
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

// initrdMaker says whether the initrds that this guest makes find a disk on
// virtio, from the configuration of the program that makes them.
func (l *look) initrdMaker() conf.Verdict {
	switch {
	case l.tree.exists("etc/initramfs-tools/initramfs.conf"):
		return l.initramfsTools()
	case l.tree.exists("etc/dracut.conf") || l.tree.exists("usr/lib/dracut/dracut.conf.d") || l.tree.exists("etc/dracut.conf.d"):
		return l.dracut()
	case l.tree.exists("etc/mkinitcpio.conf"):
		b, _ := l.read("etc/mkinitcpio.conf", maxFile)
		return conf.MkinitcpioReady(b)
	case l.tree.exists("etc/mkinitfs/mkinitfs.conf"):
		b, _ := l.read("etc/mkinitfs/mkinitfs.conf", maxFile)
		return conf.MkinitfsReady(b)
	}
	return conf.Verdict{Ready: guest.Unknown, Evidence: "no configuration of a known initrd builder was found"}
}

func (l *look) initramfsTools() conf.Verdict {
	confs := append([]string{"etc/initramfs-tools/initramfs.conf"}, l.tree.glob("usr/share/initramfs-tools/conf.d", "*")...)
	confs = append(confs, l.tree.glob("etc/initramfs-tools/conf.d", "*")...)
	modules, from := "", ""
	for _, name := range l.few(confs) {
		b, _ := l.read(name, maxFile)
		if m := conf.Assignments(b)["MODULES"]; m != "" {
			modules, from = m, name
		}
	}
	b, _ := l.read("etc/initramfs-tools/modules", maxFile)
	return conf.InitramfsReady(modules, from, b)
}

func (l *look) dracut() conf.Verdict {
	confs := l.tree.glob("usr/lib/dracut/dracut.conf.d", "*.conf")
	confs = append(confs, "etc/dracut.conf")
	confs = append(confs, l.tree.glob("etc/dracut.conf.d", "*.conf")...)
	settings, from := map[string]string{}, ""
	for _, name := range l.few(confs) {
		b, ok := l.read(name, maxFile)
		if !ok {
			continue
		}
		for k, v := range conf.Assignments(b) {
			switch k {
			case "hostonly":
				settings[k], from = v, name
			case "add_drivers", "force_drivers", "drivers":
				settings[k] += " " + v
			}
		}
	}
	return conf.DracutReady(settings, from)
}
