package inspect

import (
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest/conf"
)

// serialLogins finds the serial ports that the guest's init runs a login on.
func (l *look) serialLogins() {
	add := func(ttys ...string) { l.guest.SerialLogin = append(l.guest.SerialLogin, ttys...) }
	add(l.systemdLogins()...)
	if l.guest.Config.Systemd {
		return // which reads neither inittab nor Upstart's jobs
	}
	if l.readsInittab() {
		add(conf.InittabLogins(l.configLines("etc/inittab"))...)
	}
	for _, name := range l.tree.glob("etc/init", "ttyS*.conf") {
		job := strings.TrimSuffix(name, ".conf")
		if !slices.Contains(slices.Concat(l.configLines(name), l.configLines(job+".override")), "manual") {
			add(path.Base(job))
		}
	}
	if cs := l.guest.Consoles; len(cs) > 0 && l.tree.exists("etc/init/serial.conf") { // EL 6: on the last console=
		add(conf.SerialTTY(cs[len(cs)-1]))
	}
	for _, name := range slices.Concat( // OpenRC, runit
		l.tree.glob("etc/runlevels/default", "*getty*ttyS*"),
		l.tree.glob("etc/runit/runsvdir/default", "*getty-ttyS*"), l.tree.glob("etc/service", "*getty-ttyS*"),
	) {
		if !l.tree.exists(name + "/down") { // runit's way to leave a service off
			add(name[strings.LastIndex(name, "ttyS"):])
		}
	}
}

// readsInittab reports whether the guest's init starts gettys by inittab: Upstart
// takes no more than the runlevel from it, and what an older release left in it
// stays there.
func (l *look) readsInittab() bool {
	program, _ := l.initProgram()
	other := slices.Contains([]string{"runit-init", "openrc-init", "s6-linux-init", "dinit", "upstart"}, path.Base(program))
	return !other && len(l.tree.glob("etc/init", "rc*.conf")) == 0
}

// systemdLogins are the ports with a serial-getty@ that a target wants, and the
// kernel's serial consoles, which systemd-getty-generator(8) gives one. A mask
// takes either away.
func (l *look) systemdLogins() []string {
	var found []string
	for _, dir := range []string{"etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"} {
		for _, target := range []string{"getty", "multi-user", "graphical", "default"} {
			for _, name := range l.tree.glob(path.Join(dir, target+".target.wants"), "serial-getty@ttyS*.service") {
				found = append(found, strings.TrimSuffix(strings.TrimPrefix(path.Base(name), "serial-getty@"), ".service"))
			}
		}
	}
	if l.generatesGettys() {
		for _, c := range l.guest.Consoles {
			found = append(found, conf.SerialTTY(c))
		}
	}
	return slices.DeleteFunc(found, func(tty string) bool {
		unit := "serial-getty@" + tty + ".service"
		off := slices.ContainsFunc([]string{"getty.target", unit, "serial-getty@.service"}, func(u string) bool { return l.masked("etc/systemd/system/" + u) })
		return tty == "" || off || slices.Contains(strings.Fields(l.guest.Config.Cmdline), "systemd.mask="+unit) || !l.unitPrompts(unit)
	})
}

// unitPrompts reports whether what the guest's admin made of a getty's unit still
// writes a prompt. The distribution's own does.
func (l *look) unitPrompts(unit string) bool {
	const dir = "etc/systemd/system/"
	files := []string{dir + unit}
	if !l.tree.exists(dir + unit) {
		files[0] = dir + "serial-getty@.service"
	}
	for _, d := range []string{"serial-getty@.service.d", unit + ".d"} {
		files = append(files, l.few(l.tree.glob(dir+d, "*.conf"))...)
	}
	command := "getty"
	for _, name := range files {
		b, _ := l.read(name, maxFstab)
		for _, c := range conf.Sections(b)["Service"]["ExecStart"] {
			if c != "" { // which takes those before away
				command = c
			}
		}
	}
	return conf.Prompts(command)
}

func (l *look) generatesGettys() bool {
	const generator = "systemd/system-generators/systemd-getty-generator"
	for w := range strings.FieldsSeq(l.guest.Config.Cmdline) {
		switch w {
		case "systemd.getty_auto=0", "systemd.getty_auto=no", "systemd.getty_auto=off", "systemd.getty_auto=false":
			return false
		}
	}
	there := l.tree.exists("usr/lib/"+generator) || l.tree.exists("lib/"+generator)
	return l.guest.Config.Systemd && there && !l.masked("etc/"+generator)
}

// masked reports whether a file of systemd's is a link to /dev/null, or empty.
func (l *look) masked(name string) bool {
	if target, err := l.tree.readLink(name); err == nil {
		return path.Join("/", path.Dir(name), target) == "/dev/null" || path.Clean(target) == "/dev/null"
	}
	_, info, err := l.tree.resolve(name)
	return err == nil && info.Mode().IsRegular() && info.Size() == 0
}
