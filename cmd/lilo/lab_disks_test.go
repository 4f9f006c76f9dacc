package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestLabTwoDisks has a volume group over two disks, and a volume that is partly
// on each: what is loaded has to be on the one that boots, which doesn't change
// with where a file happens to lie.
func TestLabTwoDisks(t *testing.T) {
	disks := labDisks(t)
	sh(t, "pvcreate", "-qy", disks[0], disks[1])
	sh(t, "vgcreate", "-qy", "vgt", disks[0], disks[1])
	sh(t, "lvcreate", "-qy", "-L", "40m", "-n", "boot", "vgt", disks[0])
	sh(t, "lvextend", "-q", "-L", "+200m", "vgt/boot", disks[1])
	dir := mounted(t, "/dev/vgt/boot", "ext4")
	conf := furnish(t, dir)
	near := "image=" + dir + "/vmlinuz\nlabel=Linux\ninitrd=" + dir + "/initrd.img"
	other := readDisk(t, disks[1], 1<<20)
	mustLilo(t, "-C", conf)
	bootable(t, disks[0])

	// A kernel that is larger than the first part.
	write(t, dir+"/far", fakeKernel(9, 45<<20))
	uuid := strings.TrimSpace(sh(t, "pvs", "--noheadings", "-o", "pv_uuid", disks[0]))
	for _, boot := range []string{"", "boot=" + disks[0], "boot=/dev/disk/by-id/lvm-pv-uuid-" + uuid} {
		conf = configure(t, dir, "default=far\n"+boot, "image="+dir+"/far\nlabel=far", near)
		r := runLilo(t, "-C", conf)
		if r.code != exitOK || r.out != "Added Linux  *\n" || !strings.Contains(r.err, "image far") {
			t.Errorf("with %q: %+v; want far left out", boot, r)
		}
		if report := bootable(t, disks[0]); labels(report) != "Linux" {
			t.Errorf("with %q: on the disk are %s", boot, labels(report))
		}
	}
	if !bytes.Equal(other, readDisk(t, disks[1], 1<<20)) {
		t.Error("the start of the second disk was written")
	}
}
