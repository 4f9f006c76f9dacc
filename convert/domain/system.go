package domain

import (
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/guest"
	"esxodus/inventory"
)

// The families of guests, in the words of [guest.Guest].
const (
	linux   = "linux"
	windows = "windows"
	bsd     = "bsd"
)

// system is what is known of the guest's operating system, as far as devices
// depend on it.
type system struct {
	family string // linux, windows, bsd, or "" for unknown
	// legacy guests predate AHCI: they get a 440FX machine with IDE, which
	// every system since DOS has a driver for.
	legacy bool
	usb1   bool   // no driver for USB 3 (XHCI)
	from   string // what says so
}

// virtio reports whether the guest's own kernel has virtio drivers.
func (s system) virtio() bool { return (s.family == linux || s.family == bsd) && !s.legacy }

// classify decides by what the look inside found; the guest id, which is what
// somebody once picked from a list, is the second best.
func classify(vm *inventory.VM, g guest.Guest) system {
	id := strings.ToLower(vm.GuestID)
	s := byGuestID(id)
	s.from = "guest id " + strconv.Quote(vm.GuestID)
	if g.OS == "" {
		return s
	}
	if g.OS != s.family {
		s = system{family: g.OS}
	}
	s.from = "its disk"
	if g.PrettyName != "" {
		s.from += " (" + strconv.Quote(g.PrettyName) + ")"
	}
	if major, minor, ok := newestKernel(g.Kernels); ok {
		// Linux 2.4 has neither AHCI nor virtio.
		s.legacy = major < 2 || major == 2 && minor < 6
	}
	return s
}

// Beginnings of guest ids in lower case (for Linux, parts of them); see
// VirtualMachineGuestOsIdentifier in the vSphere API reference.
const (
	windowsIDs = "win"
	bsdIDs     = "freebsd openbsd netbsd"
	linuxIDs   = "linux debian ubuntu rhel redhat centos rocky fedora oracle sles suse nld9 oes sjds asianux mandrake mandriva" +
		" coreos photon crxpod crxsys kylin fusionos prolinux pardus flatcar"
	legacyIDs = "dos os2 ecomstation netware openserver unixware solaris6 solaris7 solaris8 solaris9" +
		" win31 win95 win98 winme winnt win2000 winxp winnet" +
		" other24x redhat rhel2 rhel3 rhel4 debian4 slesguest sles64guest suseguest suse64guest nld9 turbolinux mandrake sjds"
	usb1IDs = "winvista winlonghorn windows7"
)

func byGuestID(id string) system {
	has := func(words string, match func(string, string) bool) bool {
		return slices.ContainsFunc(strings.Fields(words), func(w string) bool { return match(id, w) })
	}
	s := system{legacy: has(legacyIDs, strings.HasPrefix)}
	s.usb1 = s.legacy || has(usb1IDs, strings.HasPrefix)
	switch {
	case has(windowsIDs, strings.HasPrefix):
		s.family = windows
	case has(bsdIDs, strings.HasPrefix):
		s.family = bsd
	case has(linuxIDs, strings.Contains):
		s.family = linux
	}
	return s
}

// newestKernel returns the highest major and minor of kernel versions such as
// "6.1.0-18-amd64".
func newestKernel(versions []string) (major, minor int, ok bool) {
	for _, v := range versions {
		first, rest, _ := strings.Cut(v, ".")
		second, _, _ := strings.Cut(rest, ".")
		second, _, _ = strings.Cut(second, "-")
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(second)
		if err1 != nil || err2 != nil {
			continue
		}
		if !ok || a > major || a == major && b > minor {
			major, minor, ok = a, b, true
		}
	}
	return major, minor, ok
}
