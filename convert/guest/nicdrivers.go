package guest

import (
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// DriverMatch is where a guest's network configuration picks NICs by a driver
// of VMware's.
type DriverMatch struct {
	File    string
	Pattern string // vmxnet3, vmx*
}

// nicDrivers finds them in what netplan, systemd-networkd, udev and
// NetworkManager read.
func (l *look) nicDrivers() []DriverMatch {
	var out []DriverMatch
	for _, from := range []struct {
		dir, pattern string
		drivers      func([]byte) []string
	}{
		{"lib/netplan", "*.yaml", netplanDrivers},
		{"etc/netplan", "*.yaml", netplanDrivers},
		{"etc/systemd/network", "*.network", networkdDrivers},
		{"etc/systemd/network", "*.link", networkdDrivers},
		{"etc/NetworkManager/system-connections", "*", keyfileDrivers},
		{"etc/udev/rules.d", "*.rules", ruleDrivers},
	} {
		for _, name := range l.tree.regular(l.tree.glob(from.dir, from.pattern)) {
			b, ok := l.read(name, maxFile)
			if !ok {
				continue
			}
			for _, p := range from.drivers(b) {
				if m := (DriverMatch{File: "/" + clean(name), Pattern: clean(p)}); ofVMware(p) && !slices.Contains(out, m) {
					out = append(out, m)
				}
			}
		}
	}
	return out
}

// ofVMware reports whether a pattern is of a driver that only NICs of VMware's
// have. An e1000 stays what it is.
func ofVMware(pattern string) bool {
	return slices.ContainsFunc([]string{"vmxnet3", "vmxnet", "pcnet32"}, func(d string) bool { return matchesDriver(pattern, d) })
}

// unlessVirtio returns patterns of which one must match, none where one matches
// virtio's driver: such a list fits here as well.
func unlessVirtio(patterns []string) []string {
	if slices.ContainsFunc(patterns, func(p string) bool { return matchesDriver(p, "virtio_net") }) {
		return nil
	}
	return patterns
}

func matchesDriver(pattern, driver string) bool {
	ok, err := path.Match(pattern, driver)
	return ok && err == nil
}

// netplanDrivers reads a file of /etc/netplan: driver is a pattern, or since
// 0.104 a list of them.
func netplanDrivers(b []byte) []string {
	var f struct {
		Network struct {
			Ethernets map[string]*struct {
				Match *struct {
					Driver any `json:"driver"`
				} `json:"match"`
			} `json:"ethernets"`
		} `json:"network"`
	}
	if yaml.Unmarshal(b, &f) != nil {
		return nil // told by nics
	}
	var out []string
	for _, nic := range f.Network.Ethernets {
		if nic == nil || nic.Match == nil {
			continue
		}
		var patterns []string
		switch d := nic.Match.Driver.(type) {
		case string:
			patterns = []string{d}
		case []any:
			for _, e := range d {
				if s, ok := e.(string); ok {
					patterns = append(patterns, s)
				}
			}
		}
		out = append(out, unlessVirtio(patterns)...)
	}
	slices.Sort(out)
	return out
}

// networkdDrivers reads a .network or .link file: what Driver= lists, unless
// the list is one of what is not meant.
func networkdDrivers(b []byte) []string {
	var patterns []string
	for _, v := range sections(b)["Match"]["Driver"] {
		if !strings.HasPrefix(v, "!") {
			patterns = append(patterns, strings.Fields(v)...)
		}
	}
	return unlessVirtio(patterns)
}

// keyfileDrivers reads a connection of NetworkManager.
func keyfileDrivers(b []byte) []string {
	var patterns []string
	for _, v := range sections(b)["match"]["driver"] {
		patterns = append(patterns, strings.FieldsFunc(v, func(r rune) bool { return r == ';' || r == ',' })...)
	}
	return unlessVirtio(patterns)
}

// ruleDrivers reads rules of udev.
func ruleDrivers(b []byte) []string {
	var out []string
	for _, line := range lines(b) {
		for term := range strings.SplitSeq(line, ",") {
			term = strings.TrimSpace(term)
			for _, key := range []string{"DRIVERS==", "ENV{ID_NET_DRIVER}==", "DRIVER=="} {
				if v, ok := strings.CutPrefix(term, key); ok {
					out = append(out, unlessVirtio(strings.Split(strings.Trim(v, `"`), "|"))...)
				}
			}
		}
	}
	return out
}
