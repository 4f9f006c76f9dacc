package lilo

import (
	"strings"
	"testing"
)

// bootable is a disk with two images, of which the first has an initrd.
func bootable(tb testing.TB) (*testDisk, *Menu) {
	tb.Helper()
	d := newTestDisk(16384)
	initrd := d.file("initrd", noise(1<<20+6, 7), 300)
	return d, &Menu{
		Images: []Image{
			{Label: "Linux", Alias: "new", Cmdline: "root=/dev/vg/root ro", Kernel: d.file("vmlinuz", payload(tb, 1<<20, 1), 200), Initrd: &initrd},
			{Label: "LinuxOLD", Cmdline: "root=/dev/vg/root", Kernel: d.file("vmlinuz.old", payload(tb, 70000, 2), 1)},
		},
		Serial: &Serial{Port: 0, BPS: 115200, Parity: 'n', Bits: 8},
	}
}

func TestBoot(t *testing.T) {
	for _, bus := range []string{"virtio-blk", "virtio-scsi"} {
		t.Run(bus, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			d.install(t, m, true)
			vm := hardware{bus: bus}.boot(t, d.save(t))
			vm.expect("LILO ")
			got := vm.payload()
			if want := "auto BOOT_IMAGE=Linux root=/dev/vg/root ro"; strings.TrimSpace(got.line) != want {
				t.Errorf("command line %q; want %q", got.line, want)
			}
			t.Logf("%+v", got)
		})
	}
}
