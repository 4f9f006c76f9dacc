package inspect

import (
	"crypto/sha256"
	"fmt"
	"path"
	"regexp"
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
	l.network()
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

// machineID is the start of a digest of that by which the guest's programs know it
// (machine-id(5)), "" where it has none yet.
func (l *look) machineID() string {
	for _, name := range []string{"etc/machine-id", "var/lib/dbus/machine-id"} {
		b, _ := l.read(name, maxFstab)
		if id := strings.TrimSpace(string(b)); machineID.MatchString(id) {
			return fmt.Sprintf("%x", sha256.Sum256([]byte("esxodus "+id)))[:12]
		}
	}
	return ""
}

var machineID = regexp.MustCompile(`^[0-9a-f]{32}$`)

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
