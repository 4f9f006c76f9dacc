package network

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Fleeting lists the devices that domains of a plan attach to and that won't be
// there after the next boot: nothing of what this host says of itself makes them.
// It lists none where that can't be known.
func (h *Host) Fleeting(p *Plan) []string {
	if h.Networkd.Unknown != "" {
		return nil
	}
	var out []string
	for _, d := range p.Devices {
		if !h.makes(d) && len(h.managers(d.Name)) == 0 {
			out = append(out, d.Name)
		}
	}
	for _, pool := range p.Pools {
		if !h.lends(pool) {
			out = append(out, "the virtual functions of "+pool.Device+" and libvirt's network "+pool.Network)
		}
	}
	return out
}

// makes reports whether networkd makes a device when it starts: it has a file for
// it, and one that is above another also a line in the file of that.
func (h *Host) makes(d Device) bool {
	if !h.Networkd.Running {
		return false
	}
	made := regexp.MustCompile(`(?m)^\s*Name\s*=\s*` + regexp.QuoteMeta(d.Name) + `\s*$`)
	attached := regexp.MustCompile(fmt.Sprintf(`(?mi)^\s*%s\s*=(.*\s)?%s(\s|$)`, d.Kind, regexp.QuoteMeta(d.Name)))
	netdev := func(f File) bool { return strings.HasSuffix(f.Path, ".netdev") && made.MatchString(f.Text) }
	parent := func(f File) bool { return f.network() && attached.MatchString(f.Text) }
	return slices.ContainsFunc(h.Files, netdev) && (d.Parent == "" || slices.ContainsFunc(h.Files, parent))
}
