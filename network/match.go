package network

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"esxodus/convert/ledger"
)

// caught finds the host's files that configure a new device instead of the plan's
// own: networkd applies the first one, by name, that matches. One for all links, or
// for a MAC, which a VLAN device has from its uplink, gives it the addresses of
// others.
func (d *differ) caught() {
	for _, dev := range d.made {
		own := "20-esxodus-" + dev.Name + ".network"
		f := d.host.catching(dev)
		if f == "" || path.Base(f) > own || !slices.ContainsFunc(d.plan.Units, func(u Unit) bool { return u.Name == own }) {
			continue
		}
		d.concern(ConcernCaught, ledger.Blocker, dev.Name, fmt.Sprintf("%s matches %s too and sorts before %s: the device would be configured by that", f, dev.Name, own),
			"add Kind=!* to its [Match], so that it takes physical links only, restart this host in a quiet hour, and plan again; or rename it so that it sorts after 20-esxodus")
	}
}

// catching returns the first of the host's own files that matches a device, "" if
// none does.
func (h *Host) catching(dev Device) string {
	parent, _ := h.Link(dev.Parent)
	first := ""
	for _, f := range h.Files {
		if strings.HasSuffix(f.Path, ".network") && !ours(f.Path) && matches(f.Text, dev, parent.MAC) && (first == "" || path.Base(f.Path) < path.Base(first)) {
			first = f.Path
		}
	}
	return first
}

// matches reports whether a .network file's [Match] takes a device that has a MAC
// from its parent. What such a device hasn't got (a path, a MAC for good) is never
// matched; what isn't known here is taken for a match.
func matches(text string, dev Device, mac string) bool {
	wants := matchSection(text)
	for key, words := range wants {
		switch key {
		case "Name":
			if !globbed(words, dev.Name) {
				return false
			}
		case "Kind":
			if !globbed(words, dev.Kind) {
				return false
			}
		case "Type":
			if !globbed(words, "ether") && !globbed(words, "vlan") {
				return false
			}
		case "MACAddress":
			if mac == "" || !slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(strings.ReplaceAll(w, "-", ":"), mac) }) {
				return false
			}
		case "Path", "Driver", "PermanentMACAddress":
			return false
		}
	}
	return len(wants) > 0
}

// matchSection returns the words of each key of a file's [Match].
func matchSection(text string) map[string][]string {
	section, wants := "", map[string][]string{}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "[Match]" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		key = strings.TrimSpace(key)
		words := strings.Fields(value)
		if len(words) == 0 {
			delete(wants, key) // an empty assignment forgets those before
			continue
		}
		wants[key] = append(wants[key], words...)
	}
	return wants
}

// globbed reports whether a list of patterns takes a word: one of them does, or,
// where the first begins with "!", none.
func globbed(patterns []string, word string) bool {
	not := strings.HasPrefix(patterns[0], "!")
	hit := slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(strings.TrimPrefix(p, "!"), word)
		return ok || err != nil
	})
	return hit != not
}
