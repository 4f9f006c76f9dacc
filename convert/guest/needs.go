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

// FstabPath is the table of a guest's file systems.
const FstabPath = "/etc/fstab"

// driveName is what Linux and udev call drives of discs and floppies.
var driveName = regexp.MustCompile(`^/dev/(sr[0-9]+|scd[0-9]+|(cdrom|cdrw|dvd|dvdrw)[0-9]*|fd[0-9])$`)

// Drive reports whether what is needed is in a drive.
func (n Need) Drive() bool { return driveName.MatchString(n.Spec) }

// Lasts reports whether the name is there still when a conversion has rewritten
// those of volumes, in the columns where they stand.
func (n Need) Lasts() bool { return n.Drive() || strings.HasPrefix(n.File, FstabPath+"'s ") }

// Idle reports whether a line of fstab is for people alone: nothing mounts it at
// boot, or when it is used.
func Idle(options string) bool {
	o := strings.Split(options, ",")
	return slices.Contains(o, "noauto") && !slices.Contains(o, "x-systemd.automount") && !slices.Contains(o, "comment=systemd.automount")
}

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
