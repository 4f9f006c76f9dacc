package inspect

import (
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/disk/part"
)

// inspect reads the tree's files.
func (l *look) inspect() {
	l.efi()
	if len(l.tree.mounts) == 0 {
		return
	}
	l.kernels()
	l.bootLoader()
	if l.tree.mounts["."] == nil {
		return
	}
	l.release()
	l.hostname()
	l.unstableNames()
	l.nics()
	l.agents()
	l.starter()
	l.serialLogins()
}

func (l *look) release() {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		b, ok := l.read(name, maxFile)
		if !ok {
			continue
		}
		a := conf.Assignments(b)
		l.guest.Distro, l.guest.Version, l.guest.PrettyName = conf.Clean(a["ID"]), conf.Clean(a["VERSION_ID"]), conf.Clean(a["PRETTY_NAME"])
		l.guest.DistroLike = append(l.guest.DistroLike, strings.Fields(conf.Clean(a["ID_LIKE"]))...)
		return
	}
	for _, old := range [][2]string{
		{"etc/redhat-release", "rhel"}, {"etc/SuSE-release", "sles"}, {"etc/alpine-release", "alpine"}, {"etc/debian_version", "debian"},
	} {
		distro := old[1]
		b, ok := l.read(old[0], maxFile)
		if !ok {
			continue
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
		l.guest.Distro, l.guest.PrettyName = distro, conf.Clean(first)
		for w := range strings.FieldsSeq(first) {
			if w[0] >= '0' && w[0] <= '9' {
				l.guest.Version = conf.Clean(w)
			}
		}
		if distro == "rhel" && strings.HasPrefix(first, "CentOS") {
			l.guest.Distro = "centos"
		}
		return
	}
}

func (l *look) hostname() {
	for _, name := range []string{"etc/hostname", "etc/HOSTNAME"} {
		if b, ok := l.read(name, maxFstab); ok {
			if ls := conf.Lines(b); len(ls) > 0 {
				l.guest.Hostname = conf.Clean(ls[0])
				return
			}
		}
	}
	if b, ok := l.read("etc/sysconfig/network", maxFstab); ok {
		l.guest.Hostname = conf.Clean(conf.Assignments(b)["HOSTNAME"])
	}
}

// bootLoader finds what the default boot entry says.
func (l *look) bootLoader() {
	cmdline, image := l.defaultBoot()
	l.guest.Config.Cmdline, l.guest.Config.Image = cmdline, image
	l.guest.Cmdline = conf.Clean(cmdline)
	l.guest.Consoles = conf.Consoles(l.guest.Cmdline)
	for w := range strings.FieldsSeq(l.guest.Cmdline) {
		for _, key := range []string{"root=", "resume="} {
			if v, ok := strings.CutPrefix(w, key); ok {
				l.guest.DiskNames = append(l.guest.DiskNames, conf.UnstableName(v))
			}
		}
		if v, ok := strings.CutPrefix(w, "root="); ok {
			l.need(guest.Need{File: "the kernel's command line", Spec: v, Mount: "/"})
		}
	}
}

// defaultBoot returns the default entry's kernel and its command line, uncut.
func (l *look) defaultBoot() (cmdline, image string) {
	env := l.grubEnv()
	entries, def := l.bootEntries(env)
	if e, ok := conf.DefaultEntry(entries, def, env); ok {
		return e.Cmdline, e.Image
	}
	if b, ok := l.read("etc/default/grub", maxFstab); ok {
		a := conf.Assignments(b)
		return strings.TrimSpace(a["GRUB_CMDLINE_LINUX"] + " " + a["GRUB_CMDLINE_LINUX_DEFAULT"]), ""
	}
	return "", ""
}

// grubEnv reads the guest's GRUB environment block; it is empty where there is
// none.
func (l *look) grubEnv() map[string]string {
	for _, name := range []string{"boot/grub/grubenv", "boot/grub2/grubenv"} {
		if b, ok := l.read(name, maxFstab); ok {
			return conf.Grubenv(b)
		}
	}
	return nil
}

// bootEntries lists the menu: GRUB 2's, with the entries in files of their own
// where it uses them, or GRUB 0.9x's.
func (l *look) bootEntries(env map[string]string) (entries []conf.BootEntry, def string) {
	for _, name := range []string{"boot/grub/grub.cfg", "boot/grub2/grub.cfg"} {
		if b, ok := l.read(name, maxFile); ok {
			entries, def = conf.ParseGrubCfg(b)
			break
		}
	}
	if env["saved_entry"] != "" && (def == "" || strings.Contains(def, "$")) {
		def = "saved"
	}
	if len(entries) == 0 {
		files := l.tree.glob("boot/loader/entries", "*.conf")
		slices.SortFunc(files, func(a, b string) int { return conf.CompareVersions(b, a) })
		for _, f := range l.few(files) {
			if b, ok := l.read(f, maxFstab); ok && !strings.Contains(f, "rescue") {
				entries = append(entries, conf.ParseBLS(strings.TrimSuffix(path.Base(f), ".conf"), b, env))
			}
		}
	}
	if len(entries) > 0 {
		return entries, def
	}
	for _, name := range []string{"boot/grub/menu.lst", "boot/grub/grub.conf"} {
		if b, ok := l.read(name, maxFile); ok {
			return conf.ParseGrubLegacy(b)
		}
	}
	return nil, ""
}

func (l *look) configLines(name string) []string {
	b, _ := l.read(name, maxFstab)
	return conf.Lines(b)
}

// nics gathers names of NICs from every place that a Linux keeps them in.
func (l *look) nics() {
	var n conf.NICs
	n.Add(l.interfaces())
	for _, dir := range []string{"lib/netplan", "etc/netplan", "run/netplan"} {
		for _, name := range l.few(l.tree.glob(dir, "*.yaml")) {
			b, ok := l.read(name, maxFile)
			if !ok {
				continue
			}
			more, err := conf.ParseNetplan(b)
			if err != nil {
				l.note("/%s: %v", name, err)
			}
			n.Add(more)
		}
	}
	l.each(&n, "etc/systemd/network", "*.network", func(_ string, b []byte) conf.NICs { return conf.ParseNetworkd(b) })
	for _, name := range l.few(l.tree.glob("etc/systemd/network", "*.link")) {
		b, _ := l.read(name, maxFile) // a link to /dev/null hides a file of systemd's
		n.Add(conf.ParseLink(b))
	}
	l.each(&n, "etc/NetworkManager/system-connections", "*", func(_ string, b []byte) conf.NICs { return conf.ParseKeyfile(b) })
	l.each(&n, "etc/sysconfig/network-scripts", "ifcfg-*", conf.ParseIfcfg)
	l.each(&n, "etc/sysconfig/network", "ifcfg-*", conf.ParseIfcfg)
	l.each(&n, "etc/udev/rules.d", "*net*.rules", func(_ string, b []byte) conf.NICs { return conf.ParseUdevRules(b) })
	l.guest.Interfaces, l.guest.PinnedNames = n.Names, n.Pinned
	noRule := len(l.tree.glob("etc/udev/rules.d", "80-net-setup-link.rules")) > 0
	noNames := slices.Contains(strings.Fields(l.guest.Config.Cmdline), "net.ifnames=0")
	l.guest.Config.OwnNames, l.guest.Config.NamedMACs = n.Own || noRule || noNames, n.MACs
}

func (l *look) each(n *conf.NICs, dir, pattern string, parse func(string, []byte) conf.NICs) {
	for _, name := range l.few(l.tree.glob(dir, pattern)) {
		if strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".bak") || strings.Contains(name, ".dpkg-") || strings.Contains(name, ".rpm") {
			continue
		}
		if b, ok := l.read(name, maxFile); ok {
			n.Add(parse(name, b))
		}
	}
}

// maxIncludes bounds how many files and patterns interfaces(5) may source.
const maxIncludes = 500

// interfaces reads /etc/network/interfaces and what it sources.
func (l *look) interfaces() conf.NICs {
	var n conf.NICs
	patterns := 0
	todo, seen := []string{"etc/network/interfaces"}, map[string]bool{}
	for len(todo) > 0 && len(seen) < maxIncludes && patterns <= maxIncludes {
		name := todo[0]
		todo = todo[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		b, ok := l.read(name, maxFile)
		if !ok {
			continue
		}
		more := conf.ParseInterfaces(b)
		n.Add(more)
		for _, s := range more.Source {
			if patterns++; patterns > maxIncludes { // each lists a directory
				break
			}
			if !path.IsAbs(s) {
				s = path.Join(path.Dir("/"+name), s)
			}
			s = path.Clean(s)[1:]
			if _, info, err := l.tree.resolve(s); err == nil && info.IsDir() {
				s = path.Join(s, "*")
			}
			todo = append(todo, l.tree.glob(path.Dir(s), path.Base(s))...)
		}
	}
	if len(todo) > 0 || patterns > maxIncludes {
		l.unread("/etc/network/interfaces sources more than %d files; the rest isn't read", maxIncludes)
	}
	return n
}

func (l *look) agents() {
	any := func(names ...string) bool { return slices.ContainsFunc(names, l.tree.exists) }
	l.guest.Agent = any("usr/sbin/qemu-ga", "usr/bin/qemu-ga", "sbin/qemu-ga")
	l.guest.VMwareTools = any("etc/vmware-tools/locations", "usr/lib/vmware-tools", "usr/lib/vmware-tools/configurator")
	l.guest.OpenVMTools = !l.guest.VMwareTools && any("usr/bin/vmtoolsd", "usr/sbin/vmtoolsd")
}

// system says which kind of system the disks hold, and notes more than one.
func (l *look) system() {
	found := map[string]bool{}
	l.systemsByContent(found)
	l.systemsByType(found)
	for _, f := range l.guest.EFILoaders {
		if strings.HasPrefix(strings.ToLower(f), "efi/microsoft/") {
			found["windows"] = true
		}
	}
	var systems []string
	for _, s := range []string{"linux", "windows", "bsd"} {
		if found[s] {
			systems = append(systems, s)
		}
	}
	switch {
	case l.guest.Root != "":
		l.guest.OS = "linux"
	case len(systems) > 0:
		l.guest.OS = systems[0]
	}
	if len(systems) > 1 {
		l.note("the disks hold traces of several systems: %s", strings.Join(systems, ", "))
	}
}

// systemsByContent concludes from what volumes hold.
func (l *look) systemsByContent(found map[string]bool) {
	for _, v := range l.volumes {
		switch v.content.Type {
		case "ntfs", "refs":
			found["windows"] = true
		case "bitlocker":
			found["windows"] = true
			l.note("%s is encrypted with BitLocker: have its recovery key at hand, as Windows will ask for it on the new machine", v.where)
		case "luks":
			l.note("%s is encrypted with LUKS: what it holds can't be seen from outside", v.where)
		case "ext2", "ext3", "ext4", "xfs", "btrfs", "lvm2", "md", "swap":
			found["linux"] = true
		case "ufs":
			found["bsd"] = true
		}
	}
}

// systemsByType concludes from the types in partition tables.
func (l *look) systemsByType(found map[string]bool) {
	for _, d := range l.guest.Disks {
		for _, p := range d.Partitions {
			switch {
			case p.Type == "a5" || p.Type == "a6" || p.Type == "a9" || strings.HasSuffix(p.Type, "-6ECF-11D6-8FF8-00022D09712B"):
				found["bsd"] = true
			case p.Type == part.MBRTypeLDM || p.Type == part.TypeLDMData:
				found["windows"] = true
				l.note("%s partition %d is part of a Windows dynamic disk", d.Address, p.Number)
			}
		}
	}
}
