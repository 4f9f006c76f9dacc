package inspect

import (
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// need notes a volume that the guest needs. The tables that name them are small
// ([maxFstab]), and so there are never too many.
func (l *look) need(n guest.Need) {
	n.Spec, n.Mount = conf.Clean(n.Spec), conf.Clean(n.Mount)
	l.guest.Config.Needs = append(l.guest.Config.Needs, n)
}

// needBelow notes the device that an encrypted volume lies on, where the guest
// needs that volume.
func (l *look) needBelow(volume, device string) {
	for _, n := range l.guest.Config.Needs {
		if n.Spec == volume {
			l.need(guest.Need{File: "/etc/crypttab", Spec: device, Mount: n.Mount})
			return
		}
	}
}

// starter finds out whether systemd starts the guest. It never waits for the
// device that fstab names for the root, which is mounted by then; older inits
// check that one's file system, and stop if they can't.
func (l *look) starter() {
	c := &l.guest.Config
	real, err := l.initProgram()
	if c.Systemd = strings.HasSuffix("/"+real, "/systemd"); err != nil {
		c.Systemd = l.tree.exists("usr/lib/systemd/systemd") || l.tree.exists("lib/systemd/systemd")
	}
	if c.Systemd {
		c.Needs = slices.DeleteFunc(c.Needs, func(n guest.Need) bool { return n.File == guest.FstabPath && n.Mount == "/" })
	}
}

// initProgram is where the guest's init really is.
func (l *look) initProgram() (string, error) {
	name := "sbin/init"
	for w := range strings.FieldsSeq(l.guest.Config.Cmdline) {
		if v, ok := strings.CutPrefix(w, "init=/"); ok {
			name = v
		}
	}
	real, _, err := l.tree.resolve(name)
	return real, err
}
