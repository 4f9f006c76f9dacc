package netconf

import (
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// ParseRules reads the names that rules of udev give to NICs, as udev of old wrote
// them into 70-persistent-net.rules. An address in capitals never matches.
func ParseRules(file string, b []byte) []guest.NICRule {
	var out []guest.NICRule
	for _, line := range conf.Lines(b) {
		if r, ok := parseRule(line); ok && len(out) < maxLinks {
			r.File = file
			out = append(out, r)
		}
	}
	return out
}

func parseRule(line string) (guest.NICRule, bool) {
	var r guest.NICRule
	net := false
	for term := range strings.SplitSeq(line, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(term), `="`)
		if !ok || !strings.HasSuffix(value, `"`) {
			continue
		}
		value = strings.TrimSuffix(value, `"`)
		key = strings.TrimSpace(strings.TrimRight(key, "=:"))
		switch {
		case key == "NAME":
			r.Name = value
		case key == "SUBSYSTEM" && value == "net":
			net = true
		case key == "ATTR{address}" || key == "SYSFS{address}" || key == "ATTRS{address}":
			m := macs(value)
			if len(m) == 0 || m[0] != value {
				return r, false
			}
			r.Match.MACs, net = m, true
		case key == "KERNEL" && value != "eth*" && value != "*":
			r.Match.Names = strings.Split(value, "|")
		case key == "DRIVERS" && value != "?*" && value != "*", key == "ENV{ID_NET_DRIVER}", key == "DRIVER":
			r.Match.Drivers = strings.Split(value, "|")
		case key == "ENV{ID_PATH}":
			r.Match.Paths = strings.Split(value, "|")
		case key == "KERNELS" && strings.ContainsRune(value, ':'):
			r.Match.Paths = []string{"pci-" + value}
		}
	}
	return r, net && Usable(r.Name)
}

// ParseMactab reads nameif's table, which Alpine has: a name and an address a line.
func ParseMactab(file string, b []byte) []guest.NICRule {
	var out []guest.NICRule
	for _, line := range conf.Lines(b) {
		f := strings.Fields(line)
		if len(f) != 2 || !Usable(f[0]) || len(out) == maxLinks {
			continue
		}
		if m := macs(strings.TrimPrefix(f[1], "mac=")); len(m) > 0 {
			out = append(out, guest.NICRule{File: file, Name: f[0], Match: guest.NICMatch{MACs: m}})
		}
	}
	return out
}

// CmdlineNames are the names that ifname= gives on a kernel's command line,
// dracut.cmdline(7).
func CmdlineNames(cmdline string) []guest.NICRule {
	var out []guest.NICRule
	for w := range strings.FieldsSeq(cmdline) {
		name, mac, ok := strings.Cut(strings.TrimPrefix(w, "ifname="), ":")
		if m := macs(mac); ok && strings.HasPrefix(w, "ifname=") && len(m) > 0 && Usable(name) && len(out) < maxLinks {
			out = append(out, guest.NICRule{File: "the kernel's command line", Name: name, Match: guest.NICMatch{MACs: m}})
		}
	}
	return out
}
