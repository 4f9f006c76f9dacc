package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// TestLabTwoDisks has a volume group over two disks, and a volume that is partly
// on each: what is loaded has to be on the one that has the map.
func TestLabTwoDisks(t *testing.T) {
	disks := labDisks(t)
	sh(t, "pvcreate", "-qy", disks[0], disks[1])
	sh(t, "vgcreate", "-qy", "vgt", disks[0], disks[1])
	sh(t, "lvcreate", "-qy", "-L", "40m", "-n", "boot", "vgt", disks[0])
	sh(t, "lvextend", "-q", "-L", "+100m", "vgt/boot", disks[1])
	dir := mounted(t, "/dev/vgt/boot", "ext4")
	conf := furnish(t, dir)
	other := readDisk(t, disks[1], 1<<20)
	mustLilo(t, "-C", conf)
	bootable(t, disks[0])

	// With the first disk full, another kernel comes to lie on the second one.
	_ = exec.CommandContext(t.Context(), "dd", "if=/dev/zero", "of="+dir+"/filler", "bs=1M", "count=60", "status=none").Run()
	write(t, dir+"/far", fakeKernel(9, 300<<10))
	conf = configure(t, dir, "default=far", "image="+dir+"/far\nlabel=far", "image="+dir+"/vmlinuz\nlabel=Linux\ninitrd="+dir+"/initrd.img")
	r := runLilo(t, "-C", conf)
	t.Logf("%+v", r)
	for _, disk := range disks {
		if report, err := verify(t, disk); err == nil {
			t.Logf("%s boots %s", disk, labels(report))
		} else if disk == disks[0] {
			t.Errorf("%s boots no more: %v", disk, err)
		}
	}
	if r.code == exitOK && !strings.Contains(r.err, "image far") {
		t.Errorf("lilo took a kernel from another disk: %+v", r)
	}
	if !bytes.Equal(other, readDisk(t, disks[1], 1<<20)) {
		t.Error("the start of the second disk was written")
	}
}
