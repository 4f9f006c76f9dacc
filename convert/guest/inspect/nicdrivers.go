package inspect

import (
	"slices"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// nicDrivers finds them in what netplan, systemd-networkd, udev and
// NetworkManager read.
func (l *look) nicDrivers() []guest.DriverMatch {
	var out []guest.DriverMatch
	for _, from := range []struct {
		dir, pattern string
		drivers      func([]byte) []string
	}{
		{"lib/netplan", "*.yaml", conf.NetplanDrivers},
		{"etc/netplan", "*.yaml", conf.NetplanDrivers},
		{"etc/systemd/network", "*.network", conf.NetworkdDrivers},
		{"etc/systemd/network", "*.link", conf.NetworkdDrivers},
		{"etc/NetworkManager/system-connections", "*", conf.KeyfileDrivers},
		{"etc/udev/rules.d", "*.rules", conf.RuleDrivers},
	} {
		for _, name := range l.regular(l.tree.glob(from.dir, from.pattern)) {
			b, ok := l.read(name, maxFile)
			if !ok {
				continue
			}
			for _, p := range from.drivers(b) {
				if m := (guest.DriverMatch{File: "/" + conf.Clean(name), Pattern: conf.Clean(p)}); conf.OfVMware(p) && !slices.Contains(out, m) {
					out = append(out, m)
				}
			}
		}
	}
	return out
}
