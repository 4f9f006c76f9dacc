package layout

import "strings"

// device is the device mapper's name of "group/volume": hyphens are doubled.
func device(place string) string {
	group, lv, ok := strings.Cut(place, "/")
	if !ok {
		return ""
	}
	double := func(s string) string { return strings.ReplaceAll(s, "-", "--") }
	return "/dev/mapper/" + double(group) + "-" + double(lv)
}
