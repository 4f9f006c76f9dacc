package guest

import (
	"path"
	"slices"
	"strings"
)

// serialLogins finds the serial ports that the guest's init runs a login on.
func (l *look) serialLogins() {
	add := func(ttys ...string) { l.guest.SerialLogin = append(l.guest.SerialLogin, ttys...) }
	add(l.systemdLogins()...)
	if l.guest.Config.Systemd {
		return // which reads neither inittab nor Upstart's jobs
	}
	add(inittabLogins(l.configLines("etc/inittab"))...)
	for _, name := range l.tree.glob("etc/init", "ttyS*.conf") {
		add(strings.TrimSuffix(path.Base(name), ".conf"))
	}
	if cs := l.guest.Consoles; len(cs) > 0 && l.tree.exists("etc/init/serial.conf") { // EL 6: on the last console=
		add(serialTTY(cs[len(cs)-1]))
	}
	for _, name := range slices.Concat( // OpenRC, runit
		l.tree.glob("etc/runlevels/default", "*getty*ttyS*"),
		l.tree.glob("etc/runit/runsvdir/default", "*getty-ttyS*"), l.tree.glob("etc/service", "*getty-ttyS*"),
	) {
		add(name[strings.LastIndex(name, "ttyS"):])
	}
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
			found = append(found, serialTTY(c))
		}
	}
	return slices.DeleteFunc(found, func(tty string) bool {
		return tty == "" || l.masked("etc/systemd/system/serial-getty@"+tty+".service") || l.masked("etc/systemd/system/serial-getty@.service")
	})
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

// masked reports whether a file of systemd's is a link to /dev/null.
func (l *look) masked(name string) bool {
	target, err := l.tree.readLink(name)
	return err == nil && target == "/dev/null"
}

// serialTTY is the serial port of a console=, "" where it is none.
func serialTTY(console string) string {
	tty, _, _ := strings.Cut(console, ",")
	if !strings.HasPrefix(tty, "ttyS") {
		return ""
	}
	return tty
}

// inittabLogins are the serial ports that lines of inittab run a getty on in the
// default runlevel.
func inittabLogins(lines []string) []string {
	var found []string
	level := ""
	for _, line := range lines {
		if f := strings.SplitN(line, ":", 4); len(f) > 2 && f[2] == "initdefault" {
			level = f[1]
		}
	}
	for _, line := range lines {
		f := strings.SplitN(line, ":", 4)
		if len(f) == 4 && (f[2] == "off" || f[1] != "" && level != "" && !strings.Contains(f[1], level)) {
			continue
		}
		found = append(found, inittabSerial(line))
	}
	return found
}

// inittabSerial is the serial port that a line of inittab starts a getty on, or
// that BusyBox's asks to press Enter on.
func inittabSerial(line string) string {
	f := strings.SplitN(line, ":", 4)
	if len(f) < 4 || !strings.Contains(f[3], "getty") && f[2] != "askfirst" {
		return ""
	}
	for w := range strings.FieldsSeq(f[0] + " " + f[3]) {
		if w = strings.TrimPrefix(w, "/dev/"); strings.HasPrefix(w, "ttyS") {
			return w
		}
	}
	return ""
}
