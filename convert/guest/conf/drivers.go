package conf

import (
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// OfVMware reports whether a pattern is of a driver that only NICs of VMware's
// have. An e1000 stays what it is.
func OfVMware(pattern string) bool {
	return slices.ContainsFunc([]string{"vmxnet3", "vmxnet", "pcnet32"}, func(d string) bool { return MatchesDriver(pattern, d) })
}

// unlessVirtio returns patterns of which one must match, none where one matches
// virtio's driver: such a list fits here as well.
func unlessVirtio(patterns []string) []string {
	if slices.ContainsFunc(patterns, func(p string) bool { return MatchesDriver(p, "virtio_net") }) {
		return nil
	}
	return patterns
}

// MatchesDriver reports whether a pattern of netplan's or networkd's matches a
// driver.
func MatchesDriver(pattern, driver string) bool {
	ok, err := path.Match(pattern, driver)
	return ok && err == nil
}

// NetplanDrivers reads a file of /etc/netplan: driver is a pattern, or since
// 0.104 a list of them.
func NetplanDrivers(b []byte) []string {
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

// NetworkdDrivers reads a .network or .link file: what Driver= lists, unless
// the list is one of what is not meant.
func NetworkdDrivers(b []byte) []string {
	var patterns []string
	for _, v := range Sections(b)["Match"]["Driver"] {
		if !strings.HasPrefix(v, "!") {
			patterns = append(patterns, strings.Fields(v)...)
		}
	}
	return unlessVirtio(patterns)
}

// KeyfileDrivers reads a connection of NetworkManager.
func KeyfileDrivers(b []byte) []string {
	var patterns []string
	for _, v := range Sections(b)["match"]["driver"] {
		patterns = append(patterns, strings.FieldsFunc(v, func(r rune) bool { return r == ';' || r == ',' })...)
	}
	return unlessVirtio(patterns)
}

// RuleDrivers reads rules of udev.
func RuleDrivers(b []byte) []string {
	var out []string
	for _, line := range Lines(b) {
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
