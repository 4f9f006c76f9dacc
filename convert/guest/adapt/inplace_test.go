package adapt

import (
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
)

// TestWithoutDrivers: initrds that can't be given drivers, or that the guest may not
// start from, get none, and nobody concludes that they have them. Its NIC keeps its
// name all the same.
func TestWithoutDrivers(t *testing.T) {
	const status, newest = "tree/var/lib/dpkg/status", "tree/usr/lib/modules/6.1.0-18-amd64/modules.dep"
	for _, tt := range []struct {
		name             string
		file, old, text  string
		loader           string
		with             []string // kernels whose initrds get drivers
		overlays         int
		concern, because string
	}{
		{"as it is", status, "x", "x", "", []string{"6.1.0-18-amd64", "6.1.0-9-amd64"}, 2, "", ""},
		{"GRUB", status, "x", "x", "EFI/debian/shimx64.efi", []string{"6.1.0-18-amd64", "6.1.0-9-amd64"}, 2, "", ""},
		{"systemd-boot", status, "x", "x", "EFI/systemd/systemd-bootx64.efi", nil, 2, ConcernFamily, "not those in /boot"},
		{"a unified image", status, "x", "x", "EFI/Linux/6.1.0-18.efi", nil, 2, ConcernFamily, "not those in /boot"},
		{"a maker of its own", status, "Package: initramfs-tools\n", "Package: tiny-initramfs\n", "", nil, 0, ConcernFamily, "esxodus doesn't know how"},
		{"no modules", newest, "virtio_blk", "virtio_net", "", []string{"6.1.0-9-amd64"}, 2, ConcernKernel, "boots by default"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := archive(t, "keep-debian.txtar")
			replaced(t, a, "tree/etc/initramfs-tools/initramfs.conf", "MODULES=most", "MODULES=dep")
			if tt.old != tt.text {
				replaced(t, a, tt.file, tt.old, tt.text)
			}
			in := input(t, a)
			if tt.loader != "" {
				in.Guest.EFILoaders = []string{tt.loader}
			}
			c, _, concerns := New(in)
			var with []string
			for _, o := range c.Overlays {
				if slices.Contains(o.Modules, "virtio_blk") {
					with = append(with, o.Kernel)
				}
			}
			if len(c.Edits) != 2 || len(c.Overlays) != tt.overlays || !slices.Equal(with, tt.with) {
				t.Errorf("New changes %+v and %+v; want two .link files, %d additions, drivers for %q", c.Edits, c.Overlays, tt.overlays, tt.with)
			}
			told := slices.ContainsFunc(concerns, func(c ledger.Concern) bool {
				return c.ID == tt.concern && c.Severity == ledger.Warning && strings.Contains(c.Evidence, tt.because)
			})
			if told != (tt.concern != "") || ledger.Blocked(concerns) {
				t.Errorf("concerns %+v; want %s with %q", concerns, tt.concern, tt.because)
			}
		})
	}
}

// TestNetworkDir: a directory that is made gets its label, too, and one that can't be
// made is found before the copy.
func TestNetworkDir(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		labelled         bool
		refused          string
	}{
		{"none", "tree/etc/other", "", true, ""},
		{"there", "tree/etc/systemd/network/eth0.network", "", false, ""},
		{"leads there", "tree/etc/systemd/network.LINK", "/etc/lvm", false, ""},
		{"leads nowhere", "tree/etc/systemd/network.LINK", "/run/network", false, "/etc/systemd/network leads to /run/network, which is not there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := archive(t, "keep-rhel.txtar")
			a.Files = append(a.Files, txtar.File{Name: tt.file, Data: []byte(tt.text)})
			c, _, concerns := New(input(t, a))
			if got := slices.Contains(c.Commands[len(c.Commands)-1], "/etc/systemd/network"); got != tt.labelled {
				t.Errorf("the last command is %q; want a label of the directory: %v", c.Commands[len(c.Commands)-1], tt.labelled)
			}
			found := slices.ContainsFunc(concerns, func(c ledger.Concern) bool {
				return c.Severity == ledger.Blocker && strings.HasPrefix(c.Evidence, tt.refused)
			})
			if found != (tt.refused != "") {
				t.Errorf("concerns %+v; want a refusal: %q", concerns, tt.refused)
			}
		})
	}
}

// TestUnneededVar: a name for a NIC, and drivers for an initrd, need nothing of /var:
// it isn't mounted, which may change it, and damage to it is in nobody's way.
func TestUnneededVar(t *testing.T) {
	for _, tt := range []struct {
		name, archive string
		mounted       bool
	}{
		{"added to", "keep-debian.txtar", false},
		{"made anew", "keep-rhel.txtar", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := archive(t, tt.archive)
			replaced(t, a, "tree/etc/fstab", "UUID=00000000-1111", "UUID=cccccccc-0000-4000-8000-00000000000f /var ext4 defaults 0 2\nUUID=00000000-1111")
			in := input(t, a)
			in.Layout.Moves = append(in.Layout.Moves, layout.Move{Content: "ext4", Mount: "/var", UUID: "cccccccc-0000-4000-8000-00000000000f", From: "vg/var", To: "vg/var"})
			in.Guest.Faults = []guest.Fault{{Volume: "vg/var", Content: "ext4", Mount: "/var", What: "a hole", Refused: true}}
			c, _, concerns := New(in)
			mounted := slices.ContainsFunc(c.Mounts, func(m guest.Mount) bool { return m.At == "/var" })
			if mounted != tt.mounted || ledger.Blocked(concerns) != tt.mounted || !c.Changes() {
				t.Errorf("mounts %+v, concerns %+v; want /var among them, and a blocker: %v", c.Mounts, concerns, tt.mounted)
			}
		})
	}
}
