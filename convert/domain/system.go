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
	legacy  bool
	usb1    bool   // no driver for USB 3 (XHCI)
	virtio1 bool   // has a driver for virtio 1.0; see transitional
	noSCSI  bool   // no driver for virtio-scsi
	from    string // what says so
	kernel  string // the newest kernel, where it was seen
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
	if k, ok := newestKernel(g.Kernels); ok && s.family == linux {
		s.kernel = k.text
		s.legacy, s.usb1 = k.tooOld(), !k.xhci()
		s.virtio1, s.noSCSI = k.virtio1(), !k.virtioSCSI()
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
		" other24x redhat rhel2 rhel3 rhel4 rhel5 debian4 sles10 asianux3 other26x slesguest sles64guest suseguest suse64guest nld9 turbolinux mandrake sjds"
	usb1IDs = "winvista winlonghorn windows7"
)

func byGuestID(id string) system {
	has := func(words string, match func(string, string) bool) bool {
		return slices.ContainsFunc(strings.Fields(words), func(w string) bool { return match(id, w) })
	}
	s := system{legacy: has(legacyIDs, strings.HasPrefix)}
	s.usb1 = s.legacy || has(usb1IDs, strings.HasPrefix) || has(noXHCIIDs, strings.HasPrefix)
	s.virtio1, s.noSCSI = has(virtio1IDs, strings.HasPrefix), has(noSCSIIDs, strings.HasPrefix)
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
