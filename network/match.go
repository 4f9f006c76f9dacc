package network

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/network/networkd"
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

// named has files that name no device of the plan's come before those of the host's
// that would: udev heeds only the first .link file that matches, and one for a MAC
// matches the VLAN devices on its NIC as well. It can't rename them, and networkd
// leaves what udev hasn't done with pending for ever.
func (d *differ) named() {
	for _, dev := range d.plan.Devices {
		rivals := d.host.naming(dev)
		if len(rivals) == 0 {
			continue
		}
		i := slices.IndexFunc(linkPrefixes(), func(p string) bool { return p+"esxodus-"+dev.Name+".link" < path.Base(rivals[0]) })
		if i < 0 {
			d.concern(ConcernCaught, ledger.Blocker, dev.Name, fmt.Sprintf("%s matches %s too, and would give it its name; no file can come before that", rivals[0], dev.Name),
				"give it a name that begins with a digit, and plan again")
			continue
		}
		u := networkd.Unnamed(linkPrefixes()[i], dev.Name, rivals)
		d.file(path.Join(Dir, u.Name), u.Text, false)
		d.concern(ConcernCaught, ledger.Note, dev.Name, fmt.Sprintf("%s matches %s too, and would give it its name", strings.Join(rivals, ", "), dev.Name),
			"nothing: "+u.Name+" comes before it, and leaves "+dev.Name+" as it is")
	}
}

// linkPrefixes are what names of .link files may begin with, the usual one first.
func linkPrefixes() []string { return []string{"20-", "10-", "00-", "0-", "+"} }

// naming lists the .link files of others, by name, that match a device and would give
// it another name or address.
func (h *Host) naming(dev Device) []string {
	parent, _ := h.Link(dev.Parent)
	var out []string
	for _, f := range h.Files {
		if !strings.HasSuffix(f.Path, ".link") || ours(f.Path) || !matches(f.Text, dev, parent.MAC) {
			continue
		}
		if text, also := h.linkText(f.Path); renames(text + "\n" + also) {
			out = append(out, f.Path)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Compare(path.Base(a), path.Base(b)) })
	return out
}

// renames reports whether a .link file gives a link a name or an address of its own.
func renames(text string) bool {
	link := sectionOf(text, "[Link]")
	policies := link["NamePolicy"]
	return len(link["Name"]) > 0 || len(link["AlternativeName"]) > 0 || len(link["MACAddress"]) > 0 ||
		len(policies) > 0 && policies[0] != "keep"
}

// matches reports whether the [Match] of a .network or .link file takes a device that
// has a MAC from its parent. What such a device hasn't got (a path, a MAC for good) is never
// matched; what isn't known here is taken for a match.
func matches(text string, dev Device, mac string) bool {
	wants := sectionOf(text, "[Match]")
	for key, words := range wants {
		if !dev.takes(key, words, mac) {
			return false
		}
	}
	return len(wants) > 0
}

// takes reports whether a device fits one line of a [Match].
func (dev Device) takes(key string, words []string, mac string) bool {
	vlan := dev.Kind == KindVLAN
	switch key {
	case "Name", "OriginalName":
		return globbed(words, dev.Name)
	case "Kind":
		return globbed(words, dev.Kind)
	case "Type":
		return globbed(words, "ether") || globbed(words, "vlan")
	case "MACAddress":
		return vlan && slices.ContainsFunc(words, func(w string) bool { return sameMAC(w, mac) })
	case "Driver":
		return vlan && globbed(words, "802.1Q VLAN Support")
	case "Path", "PermanentMACAddress":
		return false
	}
	return true
}

// sameMAC compares addresses that may be written in two ways.
func sameMAC(a, b string) bool {
	x, err := net.ParseMAC(a)
	y, other := net.ParseMAC(b)
	return err == nil && other == nil && bytes.Equal(x, y)
}

// sectionOf returns the words of each key of one of a file's sections.
func sectionOf(text, name string) map[string][]string {
	section, wants := "", map[string][]string{}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != name || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
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
