package hostnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"esxodus/network"
)

// functions reads what a physical link has for SR-IOV.
func (m Machine) functions(l *network.Link) {
	device := m.path("sys/class/net", l.Name, "device")
	at, err := filepath.EvalSymlinks(device)
	if err != nil {
		return
	}
	l.MaxVFs, l.VFs = number(filepath.Join(device, "sriov_totalvfs")), number(filepath.Join(device, "sriov_numvfs"))
	if pf, err := filepath.Glob(filepath.Join(device, "physfn/net/*")); err == nil && len(pf) == 1 {
		l.PF = filepath.Base(pf[0])
	}
	udev := m.udev(l.Index)
	l.Path, l.LinkFile = udev["ID_PATH"], udev["ID_NET_LINK_FILE"]
	if l.MaxVFs == 0 {
		return
	}
	if l.Path == "" {
		l.Path = "pci-" + filepath.Base(at)
	}
	l.UsedVFs = used(device)
	offset, stride := number(filepath.Join(device, "sriov_offset")), number(filepath.Join(device, "sriov_stride"))
	l.VFPaths = functionPaths(filepath.Base(at), l.MaxVFs, offset, stride)
}

// functionPaths are udev's paths of an adapter's virtual functions: their addresses
// follow from its own (PCI Express Base Specification, "VF Discovery").
func functionPaths(pf string, count, offset, stride int) []string {
	var domain, bus, slot, function int
	if n, err := fmt.Sscanf(pf, "%x:%x:%x.%x", &domain, &bus, &slot, &function); err != nil || n != 4 || offset == 0 {
		return nil
	}
	var out []string
	id := bus<<8 | slot<<3 | function
	for i := range count {
		at := id + offset + i*stride
		out = append(out, fmt.Sprintf("pci-%04x:%02x:%02x.%x", domain, at>>8, at>>3&0x1f, at&7))
	}
	return out
}

// used counts the virtual functions that somebody has: a domain, by vfio-pci, or who
// took away the link of one (into a container) or set it up.
func used(device string) (n int) {
	all, _ := filepath.Glob(filepath.Join(device, "virtfn*")) // the pattern is good
	for _, vf := range all {
		if usedBy(vf) != "" {
			n++
		}
	}
	return n
}

// usedBy says who has a virtual function, "" for nobody.
func usedBy(vf string) string {
	driver, err := os.Readlink(filepath.Join(vf, "driver"))
	if err != nil {
		return "" // no driver, so nobody
	}
	name := filepath.Base(driver)
	links, _ := filepath.Glob(filepath.Join(vf, "net/*")) // the pattern is good
	if len(links) == 0 {
		return name
	}
	for _, l := range links {
		const up = 1 // IFF_UP
		flags, err := os.ReadFile(filepath.Join(l, "flags"))
		if err != nil {
			continue
		}
		if f, _ := strconv.ParseUint(strings.TrimSpace(string(flags)), 0, 32); f&up != 0 {
			return filepath.Base(l)
		}
	}
	return ""
}

// udev reads what udev noted of a link, none where it doesn't run.
func (m Machine) udev(index int) map[string]string {
	out := map[string]string{}
	b, err := os.ReadFile(m.path("run/udev/data", "n"+strconv.Itoa(index)))
	if err != nil {
		return out
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if property, ok := strings.CutPrefix(line, "E:"); ok {
			key, value, _ := strings.Cut(property, "=")
			out[key] = value
		}
	}
	return out
}

// iommu reports whether one is at work.
func (m Machine) iommu() bool {
	groups, err := os.ReadDir(m.path("sys/kernel/iommu_groups"))
	return err == nil && len(groups) > 0
}

// MakeFunctions makes an adapter's virtual functions. Another number than none is
// never changed: those that there are would go.
func (m Machine) MakeFunctions(f network.FunctionChange) error {
	file := m.numbers(f.Device)
	switch have := number(file); have {
	case f.Count:
		return nil
	case 0:
		return setNumber(file, f.Count)
	default:
		return fmt.Errorf("%s has %d virtual functions by now, not %d: plan again", f.Device, have, f.Count)
	}
}

// RemoveFunctions removes those that [Machine.MakeFunctions] made, unless somebody has
// one. An adapter that has another number by now is left as it is.
func (m Machine) RemoveFunctions(f network.FunctionChange) error {
	file := m.numbers(f.Device)
	if number(file) != f.Count {
		return nil
	}
	all, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "virtfn*")) // the pattern is good
	slices.Sort(all)
	var busy []string
	for _, vf := range all {
		if who := usedBy(vf); who != "" {
			busy = append(busy, strings.TrimPrefix(filepath.Base(vf), "virtfn")+" ("+who+")")
		}
	}
	if len(busy) > 0 {
		return fmt.Errorf("virtual functions of %s are in use: %s; shut down the domains that have them", f.Device, strings.Join(busy, ", "))
	}
	return setNumber(file, 0)
}

func (m Machine) numbers(device string) string {
	return m.path("sys/class/net", device, "device/sriov_numvfs")
}

func setNumber(file string, n int) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0) // never made: it's the kernel's
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(n))
	return errors.Join(err, f.Close())
}
