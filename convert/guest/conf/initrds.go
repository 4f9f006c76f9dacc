package conf

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
)

// Verdict is an answer with its reason.
type Verdict struct {
	Ready    guest.Readiness
	Evidence string
}

// InitramfsReady judges initramfs-tools: MODULES=most takes every driver of
// disks, dep only those of the machine that it ran on, list only those named.
func InitramfsReady(modules, from string, list []byte) Verdict {
	named := map[string]bool{}
	for _, line := range Lines(list) {
		named[strings.ReplaceAll(strings.Fields(line)[0], "-", "_")] = true
	}
	switch {
	case modules == "most":
		return Verdict{guest.Yes, fmt.Sprintf("MODULES=most in /%s: the initrd has the drivers of all disks", from)}
	case named["virtio_blk"] && named["virtio_pci"]:
		return Verdict{guest.Yes, "/etc/initramfs-tools/modules names virtio_blk and virtio_pci"}
	case modules == "dep" || modules == "list" || modules == "netboot":
		return Verdict{guest.No, fmt.Sprintf("MODULES=%s in /%s: the initrd has only the drivers of the machine on which it was made", modules, from)}
	}
	return Verdict{guest.Unknown, "no MODULES= in the configuration of initramfs-tools"}
}

// DracutReady judges dracut, which in the RHEL family takes only the drivers
// of the machine that it ran on.
func DracutReady(settings map[string]string, from string) Verdict {
	drivers := strings.Fields(settings["add_drivers"] + " " + settings["force_drivers"] + " " + settings["drivers"])
	switch {
	case slices.Contains(drivers, "virtio_blk"):
		return Verdict{guest.Yes, "dracut's configuration names virtio_blk"}
	case settings["hostonly"] == "no":
		return Verdict{guest.Yes, fmt.Sprintf("hostonly=no in /%s: the initrd has the drivers of all disks", from)}
	case settings["hostonly"] == "yes":
		return Verdict{guest.No, fmt.Sprintf("hostonly=yes in /%s: the initrd has only the drivers of the machine on which it was made", from)}
	}
	return Verdict{guest.Unknown, "dracut's configuration doesn't say hostonly=, and its default differs between versions"}
}

// MkinitcpioReady judges Arch's builder by its hook autodetect.
func MkinitcpioReady(b []byte) Verdict {
	text := strings.Join(Lines(b), "\n")
	switch {
	case strings.Contains(text, "virtio_blk"):
		return Verdict{guest.Yes, "/etc/mkinitcpio.conf names virtio_blk"}
	case strings.Contains(text, "autodetect"):
		return Verdict{guest.No, "the hook autodetect in /etc/mkinitcpio.conf: the initrd has only the drivers of the machine on which it was made"}
	}
	return Verdict{guest.Yes, "no hook autodetect in /etc/mkinitcpio.conf: the initrd has the drivers of all disks"}
}

// MkinitfsReady judges Alpine's builder by its features.
func MkinitfsReady(b []byte) Verdict {
	if slices.Contains(strings.Fields(Assignments(b)["features"]), "virtio") {
		return Verdict{guest.Yes, "/etc/mkinitfs/mkinitfs.conf has the feature virtio"}
	}
	return Verdict{guest.No, "/etc/mkinitfs/mkinitfs.conf lacks the feature virtio"}
}
