package guest

import (
	"regexp"
	"slices"
	"strings"
)

// Need is a volume without which the guest doesn't come up: it waits for it, and
// then stops in its initrd or in emergency mode.
type Need struct {
	File  string // that says so
	Spec  string // how it names the volume
	Mount string // where it is mounted
}

// driveName is what Linux and udev call drives of discs and floppies.
var driveName = regexp.MustCompile(`^/dev/(sr[0-9]+|scd[0-9]+|(cdrom|cdrw|dvd|dvdrw)[0-9]*|fd[0-9])$`)

// Drive reports whether what is needed is in a drive.
func (n Need) Drive() bool { return driveName.MatchString(n.Spec) }

// Lasts reports whether the name is there still when a conversion has rewritten
// those of volumes, in the columns where they stand.
func (n Need) Lasts() bool { return n.Drive() || strings.HasPrefix(n.File, fstabPath+"'s ") }

const (
	fstabPath = "/etc/fstab"
	maxNeeds  = 200
)

// Required reports whether a guest that doesn't find the file system of a line
// of fstab stops at boot: systemd's local-fs.target then starts emergency mode,
// and so do the scripts of older inits. Swap is only waited for, and what is
// mounted over the network, on demand or for another unit stops nothing
// (systemd.mount(5), "fstab").
func Required(kind, options string) bool {
	if kind == "swap" {
		return false
	}
	for o := range strings.SplitSeq(options, ",") {
		switch key, _, _ := strings.Cut(strings.TrimSpace(o), "="); key {
		case "noauto", "nofail", "nobootwait", "_netdev", "x-systemd.automount", "x-systemd.wanted-by", "x-systemd.required-by":
			return false
		}
		if o == "comment=systemd.automount" { // before x-systemd
			return false
		}
	}
	return true
}

func (l *look) need(n Need) {
	if c := &l.guest.Config; len(c.Needs) < maxNeeds {
		n.Spec, n.Mount = clean(n.Spec), clean(n.Mount)
		c.Needs = append(c.Needs, n)
	}
}

// needBelow notes the device that an encrypted volume lies on, where the guest
// needs that volume.
func (l *look) needBelow(volume, device string) {
	for _, n := range l.guest.Config.Needs {
		if n.Spec == volume {
			l.need(Need{File: "/etc/crypttab", Spec: device, Mount: n.Mount})
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
		c.Needs = slices.DeleteFunc(c.Needs, func(n Need) bool { return n.File == fstabPath && n.Mount == "/" })
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
