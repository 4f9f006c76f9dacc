package inspect

import (
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/convert/guest/netconf"
)

// network reads what a Linux says of its NICs, from every place that it may be in.
func (l *look) network() {
	n := &l.guest.Config.Net
	n.Add(l.ifupdown())
	more, errs := netconf.Netplan(l.netplanFiles()...)
	for _, err := range errs {
		l.note("%v", err)
	}
	n.Add(more)
	n.Add(netconf.Networkd(slices.Concat(l.systemdFiles("*.network"), l.systemdFiles("*.netdev"))))
	for _, f := range l.systemdFiles("*.link") {
		n.LinkFiles = append(n.LinkFiles, netconf.ParseLink(f))
	}
	n.Add(netconf.Keyfiles(slices.Concat(l.files("etc/NetworkManager/system-connections", "*"), l.files("usr/lib/NetworkManager/system-connections", "*"))))
	for _, f := range l.files("var/lib/NetworkManager", "timestamps") {
		n.Used = netconf.ParseTimestamps(f.Text)
	}
	n.Add(netconf.Ifcfg(slices.Concat(l.files("etc/sysconfig", "network"), l.files("etc/sysconfig/network-scripts", "*"), l.files("etc/sysconfig/network", "*"))))
	for _, f := range l.files("etc/udev/rules.d", "*.rules") {
		n.Rules = append(n.Rules, netconf.ParseRules(f.Path, f.Text)...)
	}
	for _, f := range l.files("etc", "mactab") {
		n.Rules = append(n.Rules, netconf.ParseMactab(f.Path, f.Text)...)
	}
	cmdline := strings.Join(append(l.configLines("etc/kernel/cmdline"), l.guest.Config.Cmdline), " ") // the file is systemd-boot's
	n.Rules = append(n.Rules, netconf.CmdlineNames(cmdline)...)
	if l.ipv6Off(strings.Fields(cmdline)) {
		n.WithoutIPv6()
	}
	l.guest.Interfaces, l.guest.PinnedNames = netconf.Names(*n)
	l.guest.Config.Naming = l.naming(strings.Fields(cmdline))
}

// ipv6Off reports whether the kernel has IPv6 off, by its command line or by sysctl.
func (l *look) ipv6Off(cmdline []string) bool {
	off := false
	for _, f := range slices.Concat(l.files("usr/lib/sysctl.d", "*.conf"), l.files("etc/sysctl.d", "*.conf"), l.files("etc", "sysctl.conf")) {
		for key, value := range conf.Assignments(f.Text) {
			switch strings.ReplaceAll(strings.TrimPrefix(key, "-"), "/", ".") {
			case "net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6":
				off = value == "1"
			}
		}
	}
	return off || slices.Contains(cmdline, "ipv6.disable=1")
}

// naming finds what decides about names besides.
func (l *look) naming(cmdline []string) guest.Naming {
	there := func(names ...string) bool { return slices.ContainsFunc(names, l.tree.exists) }
	masked := func(name string) bool {
		b, err := l.tree.readFile("etc/udev/rules.d/"+name, maxFile)
		return err == nil && len(b) == 0 || l.toNull("etc/udev/rules.d/"+name)
	}
	n := guest.Naming{
		LinkFiles:  there("usr/lib/systemd/network/99-default.link", "lib/systemd/network/99-default.link", "usr/lib/udev/rules.d/80-net-setup-link.rules", "lib/udev/rules.d/80-net-setup-link.rules"),
		NoPolicy:   slices.Contains(cmdline, "net.ifnames=0"),
		NoLinkRule: masked("80-net-setup-link.rules") || masked("80-net-name-slot.rules"),
		HWAddr:     there("usr/lib/udev/rename_device", "lib/udev/rename_device"),
	}
	manager := there("usr/sbin/NetworkManager", "usr/bin/NetworkManager") && l.startsService("NetworkManager")
	for _, s := range []struct {
		style guest.NetStyle
		there bool
	}{
		{guest.Ifupdown, there("etc/network") && there("sbin/ifup", "usr/sbin/ifup") && l.startsService("networking")},
		{guest.Netplan, there("usr/sbin/netplan", "usr/lib/systemd/system-generators/netplan", "lib/systemd/system-generators/netplan")},
		{guest.Networkd, l.enabled("systemd-networkd.service")},
		{guest.NetworkManager, manager},
		{guest.Ifcfg, l.startsService("network") || l.startsService("wicked") || manager && l.readsIfcfg()},
	} {
		if s.there {
			n.Active = append(n.Active, s.style)
		}
	}
	return n
}

// toNull reports whether a name is a link to /dev/null.
func (l *look) toNull(name string) bool {
	target, err := l.tree.readLink(name)
	return err == nil && target == "/dev/null"
}

// enabled reports whether a unit of systemd is wanted by a target.
func (l *look) enabled(unit string) bool {
	for _, dir := range l.tree.glob("etc/systemd/system", "*.wants") {
		if slices.Contains(l.tree.list(dir), unit) {
			return true
		}
	}
	return false
}

// startsService reports whether the guest's init system starts a service: systemd, SysV's
// scripts, Upstart or OpenRC.
func (l *look) startsService(service string) bool {
	if l.enabled(service+".service") || l.tree.exists("etc/init/"+service+".conf") || l.tree.exists("etc/runlevels/boot/"+service) || l.tree.exists("etc/runlevels/default/"+service) {
		return true
	}
	for _, dir := range []string{"etc/rcS.d", "etc/rc2.d", "etc/rc3.d", "etc/rc5.d", "etc/rc.d/rc3.d", "etc/rc.d/rc5.d", "etc/init.d/boot.d", "etc/init.d/rc3.d", "etc/init.d/rc5.d"} {
		if len(l.tree.glob(dir, "S[0-9][0-9]"+service)) > 0 {
			return true
		}
	}
	return false
}

// readsIfcfg reports whether NetworkManager has the plugin that reads ifcfg files,
// which it has up to RHEL 9.
func (l *look) readsIfcfg() bool {
	const plugin = "libnm-settings-plugin-ifcfg-rh.so"
	for _, dir := range []string{"usr/lib64/NetworkManager", "usr/lib/NetworkManager"} {
		for _, at := range append(l.tree.glob(dir, "*"), dir) {
			if l.tree.exists(path.Join(at, plugin)) {
				return true
			}
		}
	}
	return false
}

// files reads those of a directory that a pattern fits, without copies that editors
// and package managers leave.
func (l *look) files(dir, pattern string) []netconf.File {
	var out []netconf.File
	for _, name := range l.regular(l.tree.glob(dir, pattern)) {
		left := func(mark string) bool { return strings.Contains(path.Base(name), mark) }
		if strings.HasSuffix(name, "~") || slices.ContainsFunc([]string{".bak", ".old", ".orig", ".rej", ".dpkg-", ".rpmsave", ".rpmnew", ".rpmorig", ".aug"}, left) {
			continue
		}
		if b, ok := l.read(name, maxFile); ok {
			out = append(out, netconf.File{Path: "/" + conf.Clean(name), Text: b})
		}
	}
	return out
}

// systemdFiles reads files of udev's and networkd's from all their directories. One
// that leads to /dev/null, or is empty, hides those of its name.
func (l *look) systemdFiles(pattern string) []netconf.File {
	var out []netconf.File
	for _, dir := range l.systemdDirs() {
		out = append(out, l.files(dir, pattern)...)
		for _, name := range l.few(l.tree.glob(dir, pattern)) {
			if l.toNull(name) {
				out = append(out, netconf.File{Path: "/" + conf.Clean(name)})
			}
		}
	}
	left := maxKind
	for i := range out {
		if left <= 0 {
			l.unread("the drop-ins of /etc/systemd/network have more than %d bytes; the rest isn't read", maxKind)
			break
		}
		left -= l.dropIns(&out[i])
	}
	return out
}

// systemdDirs are where udev and networkd look for files.
func (l *look) systemdDirs() []string {
	dirs := []string{"etc/systemd/network", "usr/local/lib/systemd/network", "usr/lib/systemd/network"}
	if !l.merged() {
		dirs = append(dirs, "lib/systemd/network")
	}
	return dirs
}

// dropIns adds those of a file, in the order of their names, whatever their directory,
// and returns how many bytes they have.
func (l *look) dropIns(f *netconf.File) (size int) {
	var all []netconf.File
	for _, dir := range l.systemdDirs() {
		all = append(all, l.files(path.Join(dir, path.Base(f.Path)+".d"), "*.conf")...)
	}
	slices.SortStableFunc(all, func(a, b netconf.File) int { return strings.Compare(path.Base(a.Path), path.Base(b.Path)) })
	all = slices.CompactFunc(all, func(a, b netconf.File) bool { return path.Base(a.Path) == path.Base(b.Path) })
	for _, d := range all {
		size += len(d.Text)
		if len(f.Text) > 0 { // an empty file hides what is for its name
			f.Text, f.Also = slices.Concat(f.Text, []byte("\n"), d.Text), append(f.Also, d.Path)
		}
	}
	return size
}

// merged reports whether /lib is /usr/lib.
func (l *look) merged() bool {
	real, _, err := l.tree.resolve("lib")
	return err == nil && real == "usr/lib"
}

// netplanFiles lists netplan's files in the order in which it reads them. Of several
// of one name the last directory's counts: /lib, /etc, /run.
func (l *look) netplanFiles() []netconf.File {
	byName := map[string]netconf.File{}
	var names []string
	for _, dir := range []string{"lib/netplan", "usr/lib/netplan", "etc/netplan", "run/netplan"} {
		for _, f := range l.files(dir, "*.yaml") {
			if _, twice := byName[path.Base(f.Path)]; !twice {
				names = append(names, path.Base(f.Path))
			}
			byName[path.Base(f.Path)] = f
		}
	}
	slices.Sort(names)
	var out []netconf.File
	for _, n := range names {
		out = append(out, byName[n])
	}
	return out
}

// sourced lists the files that a pattern in a file of interfaces(5) is for.
func (l *look) sourced(by, pattern string) []string {
	whole := strings.HasSuffix(pattern, "/")
	if !path.IsAbs(pattern) {
		pattern = path.Join(path.Dir("/"+by), pattern)
	}
	pattern = path.Clean(pattern)[1:]
	if _, info, err := l.tree.resolve(pattern); err == nil && info.IsDir() {
		pattern = path.Join(pattern, "*")
	}
	found := l.tree.glob(path.Dir(pattern), path.Base(pattern))
	if whole { // ifupdown passes over names with a dot there
		found = slices.DeleteFunc(found, func(f string) bool { return strings.ContainsAny(path.Base(f), ".~") })
	}
	return found
}

// maxIncludes bounds how many files and patterns interfaces(5) may source.
const maxIncludes = 500

// ifupdown reads /etc/network/interfaces and what it sources.
func (l *look) ifupdown() guest.Net {
	var n guest.Net
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
		more, sources := netconf.ParseInterfaces("/"+conf.Clean(name), b)
		n.Add(more)
		for _, s := range sources {
			if patterns++; patterns > maxIncludes { // each lists a directory
				break
			}
			todo = append(todo, l.sourced(name, s)...)
		}
	}
	if len(todo) > 0 || patterns > maxIncludes {
		l.unread("/etc/network/interfaces sources more than %d files; the rest isn't read", maxIncludes)
	}
	return n
}
