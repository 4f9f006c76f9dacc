package domain

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kernel is the version of a Linux kernel, as /boot names it.
type kernel struct {
	text    string // "3.10.0-327.el7.x86_64"
	version [3]int
	release int    // the distribution's: 327
	el      string // el6, el7: Red Hat's, whose version says little of its drivers
}

var kernelVersion = regexp.MustCompile(`^(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:-(\d{1,6}))?`)

// parseKernel takes versions such as "6.1.0-18-amd64".
func parseKernel(s string) (kernel, bool) {
	m := kernelVersion.FindStringSubmatch(s)
	if m == nil {
		return kernel{}, false
	}
	number := func(digits string) int {
		n, _ := strconv.Atoi(digits) // six digits at most; "" is 0
		return n
	}
	k := kernel{text: s, version: [3]int{number(m[1]), number(m[2]), number(m[3])}, release: number(m[4])}
	for _, el := range []string{"el6", "el7"} {
		if slices.Contains(strings.Split(s, "."), el) { // not el7uek, Oracle's own
			k.el = el
		}
	}
	return k, true
}

// newestKernel returns the highest of kernel versions: the one that boots when
// nobody chooses.
func newestKernel(versions []string) (newest kernel, ok bool) {
	for _, v := range versions {
		k, good := parseKernel(v)
		if good && (!ok || slices.Compare(append(k.version[:], k.release), append(newest.version[:], newest.release)) > 0) {
			newest, ok = k, true
		}
	}
	return newest, ok
}

func (k kernel) before(version ...int) bool { return slices.Compare(k.version[:], version) < 0 }

// tooOld reports whether the kernel has no virtio that a disk could be
// trusted to; 2.6.25 is the first with block, net and PCI drivers that last.
func (k kernel) tooOld() bool { return k.before(2, 6, 25) }

// virtio1 reports whether the kernel drives virtio 1.0 devices: Linux 4.0
// does, and Red Hat's 3.10 from EL 7.2 on.
func (k kernel) virtio1() bool {
	return !k.before(4, 0) || k.el == "el7" && !k.before(3, 10) && k.release >= 327
}

// virtioSCSI reports whether the kernel has virtio-scsi: Linux 3.4, and Red
// Hat's 2.6.32 from EL 6.4 on.
func (k kernel) virtioSCSI() bool {
	return !k.before(3, 4) || k.el == "el6" && !k.before(2, 6, 32) && k.release >= 358
}

// xhci reports whether the kernel has a driver for USB 3.
func (k kernel) xhci() bool { return !k.before(2, 6, 31) }

// Beginnings of the guest ids, in lower case, that promise a driver for
// virtio 1.0 (Linux 4.0, FreeBSD 13). What isn't here is older, or an id for
// old and new alike (ubuntu64Guest, centos64Guest, otherLinux64Guest).
const virtio1IDs = "debian9 debian10 debian11 debian12 debian13 rhel8 rhel9 rhel10 centos8 centos9 oraclelinux8 oraclelinux9 oraclelinux10" +
	" rocky alma sles15 sles16 asianux8 asianux9 coreos vmwarephoton amazonlinux crx flatcar other4x other5x other6x other7x" +
	" freebsd13 freebsd14 freebsd15 freebsd16"

// Of the guest ids, those of systems from before virtio-scsi, and from before
// drivers for USB 3.
const (
	noSCSIIDs = "debian5 debian6 debian7 rhel6 centos6 oraclelinux6 sles11 asianux4"
	noXHCIIDs = "debian5 sles11"
)

// transitional reports whether virtio devices must be of the form from before
// virtio 1.0, which a guest with drivers for either form drives.
//
// A virtio device in a PCI Express slot is of the new form only (1af4:1042 for
// a disk), and a kernel without a driver for that finds neither disk nor NIC.
// A transitional one has to be in a conventional PCI slot. There are three
// places for that: behind a pcie-to-pci-bridge, where libvirt would put it; on
// machine type pc; and on q35's root complex. It's the last: no bridge stands
// between an old kernel and its disk, AHCI and EFI stay, hosts without pc
// (EL 10) do, and names come out as predictable as elsewhere: the device in
// slot 16 is enp0s16. The price is that these devices can't be plugged while
// the guest runs.
func (s system) transitional() bool { return s.virtio() && !s.virtio1 }

// virtioModel is libvirt's model of each virtio device.
func (s system) virtioModel() string {
	if s.transitional() {
		return "virtio-transitional"
	}
	return "virtio"
}

// virtioReason says why a device is virtio of its form.
func (s system) virtioReason() string {
	if s.transitional() {
		return "of the older form, which every virtio driver knows: " + s.oldness()
	}
	return "the guest's kernel has its driver"
}

// oldness says from what it is known, or not known, how old the guest is.
func (s system) oldness() string {
	first := "Linux 4.0"
	if s.family == bsd {
		first = "FreeBSD 13"
	}
	if s.kernel != "" {
		return fmt.Sprintf("the guest's kernel %s is older than the driver for virtio 1.0 (%s)", s.kernel, first)
	}
	return fmt.Sprintf("%s doesn't promise the driver for virtio 1.0 (%s)", s.from, first)
}
