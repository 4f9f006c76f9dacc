package proofs

import (
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/fixtures/machine"
)

// TestKept boots guests that keep their layout, and the loader that they had:
// their NICs have the names that they had, and the one whose initrd was made for a
// controller that QEMU doesn't have finds its disk on virtio. Nothing else of them
// differs.
func TestKept(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		guest   string
		changes []string
		modules bool // are added to its initrd
	}{
		{"debian", nil, false},
		{"debian-lvm", []string{
			`command "sed -i s/^MODULES=.*/MODULES=list/ /etc/initramfs-tools/initramfs.conf"`,
			`write-append /etc/initramfs-tools/modules "mptspi\nsd_mod\next4\n"`,
			`command "update-initramfs -u -k all"`,
		}, true},
	} {
		t.Run(tt.guest, func(t *testing.T) {
			s := convertedTo(t, tt.guest, layout.Keep, tt.changes...)
			c := s.plan.Conversion
			if s.plan.Layout.Kind != layout.Keep || c == nil || !strings.Contains(s.plan.Domain.XML, `bus="virtio"`) {
				t.Fatalf("layout %s, conversion %+v; want the layout kept, edits, and virtio:\n%s", s.plan.Layout.Kind, c, s.plan.Domain.XML)
			}
			if got := slices.ContainsFunc(c.Overlays, func(o guest.Overlay) bool { return slices.Contains(o.Modules, "virtio_blk") }); got != tt.modules {
				t.Errorf("additions to initrds %+v; with drivers: %v", c.Overlays, tt.modules)
			}
			m := started(t, s, machine.Config{Bus: machine.VirtioBlk})
			m.Login("root", "esxodus")
			network(t, m)
			m.PowerOff(machine.BootPatience)
			everyFile(t, s)
		})
	}
}
