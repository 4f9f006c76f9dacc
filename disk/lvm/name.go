package lvm

import (
	"regexp"
	"slices"
	"strings"
)

var name = regexp.MustCompile(`^[A-Za-z0-9_+.][A-Za-z0-9_+.-]*$`)

// ValidName reports whether LVM takes a name for a volume group, or, unless it
// is [Reserved], for a logical volume (lvm(8), "Valid names").
func ValidName(s string) bool {
	return name.MatchString(s) && s != "." && s != ".." && len(s) <= 127
}

// Reserved returns the part of a logical volume's name because of which LVM keeps
// it for its own volumes (lvm(8), "Reserved names"), and "" if there is none.
func Reserved(s string) string {
	for _, p := range []string{"snapshot", "pvmove"} {
		if strings.HasPrefix(s, p) {
			return p
		}
	}
	parts := []string{
		"_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_imeta", "_iorig", "_mimage", "_mlog", "_pmspare",
		"_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata", "_vorigin", "_wcorig",
	}
	if i := slices.IndexFunc(parts, func(p string) bool { return strings.Contains(s, p) }); i >= 0 {
		return parts[i]
	}
	return ""
}
