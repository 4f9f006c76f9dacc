package network

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"esxodus/network/networkd"
)

// ParseUplinks reads the values of --uplink: "vmnic0=eno1", "vSwitch0=eno1", or
// "eno1" for all that no other names.
func ParseUplinks(values []string) (map[string]string, error) {
	uplinks := map[string]string{}
	for _, v := range values {
		i := strings.LastIndexByte(v, '=')
		key, dev := v[:max(i, 0)], v[i+1:]
		if i == 0 {
			return nil, fmt.Errorf("%s %q: nothing before the =; write vmnic0=eno1, or eno1 alone for all uplinks", UplinkFlag, v)
		}
		if err := networkd.CheckName(dev); err != nil {
			return nil, fmt.Errorf("%s %q: %w; write vmnic0=eno1 with an interface that ip link shows on this host", UplinkFlag, v, err)
		}
		if old, twice := uplinks[key]; twice && old != dev {
			if key == "" {
				return nil, fmt.Errorf("%s: %s and %s are both for all uplinks; write which is for which, such as vmnic0=%[2]s", UplinkFlag, old, dev)
			}
			return nil, fmt.Errorf("%s: %q is both %s and %s", UplinkFlag, key, old, dev)
		}
		uplinks[key] = dev
	}
	return uplinks, nil
}

// ParseMap reads the values of --network: "VM Network=macvtap:eno1.42",
// "VM Network=bridge:br0", "VM Network=none". The port group's name may hold
// an = itself.
func ParseMap(values []string) (map[string]string, error) {
	all := map[string]string{}
	for _, v := range values {
		i := strings.LastIndexByte(v, '=')
		if i < 1 {
			return nil, fmt.Errorf("%s %q: want PORTGROUP=macvtap:DEVICE, PORTGROUP=sriov:DEVICE, PORTGROUP=bridge:BRIDGE or PORTGROUP=none", MapFlag, v)
		}
		if _, err := parseTarget(v[i+1:]); err != nil {
			return nil, fmt.Errorf("%s %q: %w", MapFlag, v, err)
		}
		if old, twice := all[v[:i]]; twice && old != v[i+1:] {
			return nil, fmt.Errorf("%s: port group %q goes both to %s and to %s", MapFlag, v[:i], old, v[i+1:])
		}
		all[v[:i]] = v[i+1:]
	}
	return all, nil
}

// ParseFiles reads the values of --network-file: "eno1=10-lan.network", or with
// the path that networkctl status shows: "eno1=/etc/systemd/network/10-lan.network".
// The file's name may hold an = itself.
func ParseFiles(values []string) (map[string]string, error) {
	files := map[string]string{}
	for _, v := range values {
		dev, file, ok := strings.Cut(v, "=")
		if !ok {
			return nil, fmt.Errorf("%s %q: want INTERFACE=FILE, as in eno1=10-lan.network", FileFlag, v)
		}
		if err := networkd.CheckName(dev); err != nil {
			return nil, fmt.Errorf("%s %q: %w; write eno1=10-lan.network with an interface that ip link shows on this host", FileFlag, v, err)
		}
		if dir, name := path.Split(file); slices.Contains(unitDirs(), path.Clean(dir)) {
			file = name
		}
		if err := networkd.CheckFile(file); err != nil {
			return nil, fmt.Errorf("%s %q: %w; networkctl status %s shows it as Network File", FileFlag, v, err, dev)
		}
		if old, twice := files[dev]; twice && old != file {
			return nil, fmt.Errorf("%s: %s has both %q and %q", FileFlag, dev, old, file)
		}
		files[dev] = file
	}
	if err := checkFiles(files); err != nil {
		return nil, fmt.Errorf("%s: %w", FileFlag, err)
	}
	return files, nil
}

// unitDirs are where networkd reads from; drop-ins work across them.
func unitDirs() []string {
	return []string{"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network"}
}

// checkFiles also refuses a file of two interfaces: what a drop-in attaches to
// one, it would attach to the other.
func checkFiles(files map[string]string) error {
	of := map[string]string{}
	for _, dev := range slices.Sorted(maps.Keys(files)) {
		file := files[dev]
		if err := networkd.CheckName(dev); err != nil {
			return err
		}
		if err := networkd.CheckFile(file); err != nil {
			return fmt.Errorf("%s: %w", dev, err)
		}
		if other := of[file]; other != "" {
			return fmt.Errorf("%q configures both %s and %s, so a VLAN device in it would belong to both: give one of them a file of its own, with a name that sorts before %[1]q", file, other, dev)
		}
		of[file] = dev
	}
	return nil
}

// target is what a port group is attached to.
type target struct {
	mode    Mode
	device  string
	macvtap string // libvirt's mode of a macvtap
	vlan    int    // of virtual functions; 0 for the port group's
}

// macvtapModes are those of a macvtap, the first where none is asked for: in bridge
// mode domains on one device reach each other directly, in vepa by a switch that
// sends frames back, in private never; passthrough gives the device to one domain.
func macvtapModes() []string { return []string{"bridge", "vepa", "private", "passthrough"} }

// parseTarget reads "macvtap:eno1.42", "macvtap:eno1,private", "sriov:eno1",
// "sriov:eno1,42", "bridge:br0" or "none".
func parseTarget(s string) (target, error) {
	mode, dev, _ := strings.Cut(s, ":")
	dev, how, asked := strings.Cut(dev, ",")
	out := target{mode: Mode(mode), device: dev}
	switch out.mode {
	case None:
		if dev != "" || asked {
			return out, fmt.Errorf("target %q: none takes no device", s)
		}
		return out, nil
	case Macvtap, Bridge, SRIOV:
		if dev == "" {
			break
		}
		if err := networkd.CheckName(dev); err != nil {
			return out, fmt.Errorf("target %q: %w", s, err)
		}
		if out.mode == SRIOV {
			var err error
			if out.vlan, err = functionVLAN(how, asked); err != nil {
				return out, fmt.Errorf("target %q: %w", s, err)
			}
			return out, nil
		}
		if asked && (out.mode != Macvtap || !slices.Contains(macvtapModes(), how)) {
			return out, fmt.Errorf("target %q: want macvtap:DEVICE,MODE with one of the modes %s", s, strings.Join(macvtapModes(), ", "))
		}
		if out.mode == Macvtap {
			out.macvtap = cmp.Or(how, macvtapModes()[0])
		}
		return out, nil
	}
	return out, fmt.Errorf("target %q: want macvtap:DEVICE, macvtap:DEVICE,MODE, sriov:DEVICE, sriov:DEVICE,VLAN, bridge:BRIDGE or none", s)
}

// functionVLAN reads the VLAN that virtual functions are to carry.
func functionVLAN(text string, given bool) (int, error) {
	if !given {
		return 0, nil
	}
	id, err := strconv.Atoi(text)
	if err != nil || id < 1 || id >= trunkVLAN {
		return 0, fmt.Errorf("want sriov:DEVICE,VLAN with a VLAN from 1 to %d", trunkVLAN-1)
	}
	return id, nil
}

// check finds what would be wrong in every plan.
func (o Options) check() error {
	for _, key := range slices.Sorted(maps.Keys(o.Uplinks)) {
		if err := networkd.CheckName(o.Uplinks[key]); err != nil {
			return fmt.Errorf("uplink %q: %w", key, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Map)) {
		if _, err := parseTarget(o.Map[name]); err != nil {
			return fmt.Errorf("port group %q: %w", name, err)
		}
	}
	for _, dev := range slices.Sorted(maps.Keys(o.Functions)) {
		if err := networkd.CheckName(dev); err != nil {
			return fmt.Errorf("virtual functions: %w", err)
		}
		if o.Functions[dev] < 0 {
			return fmt.Errorf("virtual functions of %s: %d", dev, o.Functions[dev])
		}
	}
	return checkFiles(o.Files)
}
