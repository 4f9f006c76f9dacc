package inspect

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// configFiles are what conversions edit or are decided by.
func configFiles() []string {
	return []string{
		"etc/fstab", "etc/crypttab", "etc/kernel-img.conf", "etc/lilo.conf", "etc/selinux/config", "etc/apt/preferences.d/esxodus-boot",
		"etc/lvm/devices/system.devices", "etc/lvm/lvm.conf", "etc/lvm/lvmlocal.conf",
	}
}

// SystemDirs are the directories that a system's own programs are in and write
// to: what is mounted at one of them a conversion needs.
func SystemDirs() []string {
	return []string{
		"/boot", "/etc", "/lib/modules", "/tmp", "/usr", "/usr/lib", "/usr/sbin", "/usr/share",
		"/var", "/var/cache", "/var/lib", "/var/lib/dpkg", "/var/lib/rpm", "/var/log", "/var/tmp",
	}
}

// probes are paths whose presence decides something.
func probes() []string {
	return []string{
		"usr/sbin/lvm", "sbin/lvm", "usr/sbin/lilo", "sbin/lilo", "boot/map", "boot/grub", "boot/grub/grub.cfg",
		"usr/bin/systemctl", "bin/systemctl", "usr/lib/systemd/system/qemu-guest-agent.service", "lib/systemd/system/qemu-guest-agent.service", "usr/lib/systemd/network/99-default.link", "lib/systemd/network/99-default.link",
		"usr/bin/dracut", "sbin/dracut", "usr/sbin/setfiles", "sbin/setfiles", "usr/bin/apt-get", "usr/bin/debconf-set-selections",
		"usr/bin/vmware-uninstall-tools.pl", "usr/lib/vmware-tools/bin/vmware-uninstall-tools.pl",
		"usr/bin/vmtoolsd", "usr/bin/vmware-user-suid-wrapper", "usr/lib/sysimage/rpm", "var/lib/rpm",
	}
}

// config gathers what a conversion of the guest is made from.
func (l *look) config() {
	if l.tree.mounts["."] == nil {
		return
	}
	c := l.guest.Config // as far as it is known by now
	c.Files, c.Links, c.Has, c.Dirs, c.Owned = map[string]guest.File{}, map[string]guest.Link{}, map[string]bool{}, map[string]string{}, map[string]string{}
	for _, name := range slices.Concat(configFiles(), l.resumeFiles(), l.unitFiles()) {
		l.capture(&c, name)
	}
	for _, name := range l.tree.glob("etc/systemd/network", "*.link") {
		c.Has["/"+name] = true
	}
	l.links(&c, "etc/systemd/system/qemu-guest-agent.service")
	l.links(&c, "etc/systemd/network")
	for _, dir := range []string{".", "boot"} {
		for _, name := range []string{"vmlinuz", "initrd.img", "initramfs.img", "initrd"} {
			l.links(&c, path.Join(dir, name))
			l.links(&c, path.Join(dir, name+".old"))
		}
	}
	for _, name := range probes() {
		if l.tree.exists(name) {
			c.Has["/"+name] = true
		}
	}
	for _, dir := range SystemDirs() {
		if real, _, err := l.tree.resolve(dir[1:]); err == nil && "/"+real != dir {
			c.Dirs[dir] = "/" + real
		}
	}
	c.Free, c.Initrds = l.tree.free(), map[string]int64{}
	for _, i := range l.guest.Initrds {
		if _, info, err := l.tree.resolve(i.Path[1:]); err == nil {
			c.Initrds[i.Path] = info.Size()
		}
	}
	c.Boot = l.tree.list("boot")
	c.Guarded = l.guarded()
	c.MachineID, c.Tools = l.machineID(), l.tools()
	c.NICDrivers = l.nicDrivers()
	l.captureNetwork(&c)
	c.CloudInit = l.cloudInit()
	l.packages(&c)
	c.Fixed = l.fixed(&c)
	for _, name := range []string{"usr/lib/os-release", "etc/os-release"} {
		if b, ok := l.read(name, maxFile); ok {
			c.Codename = conf.Clean(conf.Assignments(b)["VERSION_CODENAME"])
		}
	}
	l.guest.Config = c
}

// captureNetwork gathers the files that configure NICs.
func (l *look) captureNetwork(c *guest.Config) {
	if routes := "etc/sysconfig/network/routes"; l.tree.exists(routes) { // SUSE's
		l.capture(c, routes)
	}
	for _, link := range c.Net.Links {
		if _, have := c.Files[link.File]; !have {
			l.capture(c, strings.TrimPrefix(link.File, "/"))
		}
	}
}

func (l *look) capture(c *guest.Config, name string) {
	real, _, err := l.tree.resolve(name)
	if err == nil {
		var b []byte
		if b, err = l.tree.readFile(real, maxFile); err == nil {
			text, _ := guest.Mask(string(b)) // it goes into the plan
			c.Files["/"+name] = guest.File{Path: "/" + real, Text: text}
			return
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		c.Unread = append(c.Unread, conf.Clean(err.Error()))
	}
}

func (l *look) links(c *guest.Config, name string) {
	info, err := l.tree.lstat(name)
	if err != nil {
		return
	}
	link := guest.Link{Missing: !l.tree.exists(name)}
	if info.Mode()&fs.ModeSymlink != 0 {
		link.Target, _ = l.tree.readLink(name)
	}
	c.Links["/"+name] = link
}

// guarded reports whether a configuration of GRUB sets a password.
func (l *look) guarded() bool {
	for _, name := range []string{"boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/grub2/user.cfg", "boot/grub/menu.lst", "boot/grub/grub.conf"} {
		b, _ := l.read(name, maxFile)
		for _, line := range conf.Lines(b) {
			if strings.HasPrefix(line, "password") || strings.HasPrefix(line, "GRUB2_PASSWORD=") {
				return true
			}
		}
	}
	return false
}

// records is dpkg's list of packages.
const records = "var/lib/dpkg/status"

// packages reads dpkg's records.
func (l *look) packages(c *guest.Config) {
	b, err := l.tree.readFile(records, maxStatus)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.Unread = append(c.Unread, conf.Clean(err.Error()))
		}
		return
	}
	if c.Packages, c.Arch, err = conf.ParseDpkg(b, conf.OfInterest); err != nil {
		l.unread("/%s: %v", records, err)
		return
	}
	for _, p := range c.Packages {
		if !conf.Leaves(p.Name) || strings.Contains(p.Name, "/") {
			continue
		}
		for _, name := range []string{p.Name, p.Name + ":amd64"} {
			b, err := l.tree.readFile("var/lib/dpkg/info/"+name+".list", maxOwned)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.unread("%v", err)
			}
			if err == nil {
				c.Owned[p.Name] = string(b)
			}
		}
	}
}

// Limits of what is read for a conversion, in bytes.
const (
	maxStatus = 16 << 20
	maxOwned  = 1 << 20
)
