package conf

import (
	"slices"
	"strings"
)

// ParseLilo reads the entries of a lilo.conf, the default one first.
func ParseLilo(b []byte) []BootEntry {
	var all []BootEntry
	root, def := "", ""
	for _, line := range Lines(b) {
		key, value, _ := strings.Cut(line, "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		var e *BootEntry
		if len(all) > 0 {
			e = &all[len(all)-1]
		}
		switch key = strings.ToLower(strings.TrimSpace(key)); {
		case key == "image":
			all = append(all, BootEntry{Cmdline: "root=" + root})
		case key == "other":
			all = append(all, BootEntry{Other: "other=" + value})
		case key == "default":
			def = value
		case key == "root" && e == nil:
			root = value
		case e == nil:
		case key == "label" || key == "alias":
			e.id = value
			e.Title = strings.TrimSpace(e.Title + " " + value)
		case key == "root" && e.Other == "":
			e.Cmdline = "root=" + value
		case (key == "append" || key == "addappend") && e.Other == "":
			e.Cmdline += " " + value
		}
	}
	if i := slices.IndexFunc(all, func(e BootEntry) bool { return def != "" && slices.Contains(strings.Fields(e.Title), def) }); i > 0 {
		all = slices.Insert(slices.Delete(slices.Clone(all), i, i+1), 0, all[i])
	}
	return all
}
