package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"esxodus/convert/lilo/install"
)

// The tests of this file need device-mapper and two blank disks:
//
//	scripts/lab test ./cmd/lilo --disk 600M --disk 600M -run TestLab

func TestLabMaps(t *testing.T) {
	for _, fs := range []string{"ext4", "xfs", "ext2"} {
		t.Run(fs, func(t *testing.T) {
			disk := labDisks(t)[0]
			// The kernel is larger than the volume's first part; the second one is
			// not behind it. What is written piece by piece, by turns, lies in
			// pieces.
			sh(t, "pvcreate", "-qy", disk)
			sh(t, "vgcreate", "-qy", "vg-t", disk)
			sh(t, "lvcreate", "-qy", "-L", "4m", "-n", "boot", "vg-t")
			sh(t, "lvcreate", "-qy", "-L", "64m", "-n", "between", "vg-t")
			sh(t, "lvextend", "-q", "-L", "320m", "vg-t/boot")
			dir := mounted(t, "/dev/vg-t/boot", fs)
			conf := furnish(t, dir)
			write(t, dir+"/vmlinuz", fakeKernel(1, 5<<20))
			fragments(t, dir+"/initrd.img", dir+"/other", noise(3, 400<<10+5))
			before := readDisk(t, disk, 1<<20)
			out := mustLilo(t, "-C", conf, "-v", "-v").out
			for _, want := range []string{"Added Linux  *\n", "of vg-t\n"} {
				if !strings.Contains(out, want) {
					t.Errorf("lilo said %q; want %q in it", out, want)
				}
			}
			report := bootable(t, disk)
			if !report.Low || labels(report) != "Linux" {
				t.Errorf("Verify = %+v; want stage 2 in sectors 2 to 7, and the image Linux", report)
			}
			heads(t, before, readDisk(t, disk, 1<<20))
			second := secondSegment(t, "vg-t/boot")
			if report.Highest < second {
				t.Errorf("all sectors are below %d; want some from %d on, in the volume's second segment", report.Highest, second)
			}
			t.Logf("initrd: %s", strings.TrimSpace(mustLilo(t, "-C", conf, "-q", "-v").out))
			sh(t, "vgck", "vg-t")
		})
	}
}

// fragments writes a file in pieces of 4 KiB, by turns with another one.
func fragments(t *testing.T, path, other string, b []byte) {
	t.Helper()
	open := func(name string) *os.File {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_SYNC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, c := open(path), open(other)
	defer a.Close()
	defer c.Close()
	for len(b) > 0 {
		n := min(len(b), 4096)
		if _, err := a.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
}

// secondSegment returns the first sector of a volume's second segment.
func secondSegment(t *testing.T, lv string) uint64 {
	t.Helper()
	table := sh(t, "dmsetup", "table", "/dev/"+lv)
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 2 {
		t.Fatalf("%s has the table %q; want two segments", lv, table)
	}
	var start, count, offset uint64
	var kind, dev string
	if _, err := fmt.Sscan(lines[1], &start, &count, &kind, &dev, &offset); err != nil {
		t.Fatal(err)
	}
	return offset
}

// heads holds that nothing of LVM's was touched at the start of a disk.
func heads(t *testing.T, before, after []byte) {
	t.Helper()
	if !bytes.Equal(after[446:510], make([]byte, 64)) {
		t.Errorf("there is a partition table: % x", after[446:510])
	}
	if !bytes.Equal(before[512:1024], after[512:1024]) || !bytes.Equal(before[4096:], after[4096:]) {
		t.Error("sector 1, or what is behind sector 7, has changed")
	}
}

func TestLabRefusals(t *testing.T) {
	for _, tt := range []struct {
		name string
		lv   []string
		do   func(t *testing.T, dir, conf string)
		want string
	}{
		{"empty", nil, func(t *testing.T, dir, _ string) {
			t.Helper()
			write(t, dir+"/initrd.img", nil)
		}, "is empty"},
		{"no kernel", nil, func(t *testing.T, dir, _ string) {
			t.Helper()
			write(t, dir+"/vmlinuz", noise(7, 100000))
		}, "no Linux kernel"},
		{"directory", nil, func(t *testing.T, dir, _ string) {
			t.Helper()
			sh(t, "rm", dir+"/vmlinuz")
			sh(t, "mkdir", dir+"/vmlinuz")
		}, "is not a regular file"},
		{"fifo", nil, func(t *testing.T, dir, _ string) {
			t.Helper()
			sh(t, "rm", dir+"/vmlinuz")
			sh(t, "mkfifo", dir+"/vmlinuz")
		}, "is not a regular file"},
		{"striped volume", []string{"--type", "striped", "-i", "2", "-L", "128m"}, func(*testing.T, string, string) {}, `mapped by "striped"`},
		{"journalled file", nil, func(t *testing.T, dir, _ string) {
			t.Helper()
			sh(t, "chattr", "+j", dir+"/vmlinuz")
		}, "data=journal"},
		{"journalled file system", nil, func(t *testing.T, dir, _ string) {
			t.Helper()
			sh(t, "umount", dir)
			sh(t, "mount", "-o", "data=journal", "/dev/vgt/boot", dir)
		}, "data=journal"},
		{"initrd on tmpfs", nil, func(t *testing.T, dir, _ string) {
			t.Helper()
			write(t, "/dev/shm/initrd.img", noise(4, 100000))
			sh(t, "ln", "-sf", "/dev/shm/initrd.img", dir+"/initrd.img")
		}, "on tmpfs"},
		{"initrd on another disk", nil, func(t *testing.T, dir, _ string) {
			t.Helper()
			write(t, "/var/tmp/initrd.img", noise(4, 100000))
			sh(t, "ln", "-sf", "/var/tmp/initrd.img", dir+"/initrd.img")
		}, "the loader reads only one disk"},
		{"volume under a snapshot", nil, func(t *testing.T, _, _ string) {
			t.Helper()
			sh(t, "lvcreate", "-qy", "-s", "-L", "16m", "-n", "snap", "vgt/boot")
		}, `mapped by "snapshot-origin"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disks := labDisks(t)
			if len(tt.lv) > 0 {
				sh(t, "pvcreate", "-qy", disks[0], disks[1])
				sh(t, "vgcreate", "-qy", "vgt", disks[0], disks[1])
				sh(t, append([]string{"lvcreate", "-qy", "-n", "boot", "vgt"}, tt.lv...)...)
			} else {
				sh(t, "pvcreate", "-qy", disks[0])
				sh(t, "vgcreate", "-qy", "vgt", disks[0])
				sh(t, "lvcreate", "-qy", "-n", "boot", "vgt", "-L", "128m")
			}
			dir := mounted(t, "/dev/vgt/boot", "ext4")
			conf := furnish(t, dir)
			tt.do(t, dir, conf)
			before := readDisk(t, disks[0], 1<<20)
			r := runLilo(t, "-C", conf)
			if r.code != exitError || !strings.Contains(r.err, tt.want) {
				t.Errorf("lilo: exit status %d, %s%s; want 1 and %q", r.code, r.out, r.err, tt.want)
			}
			if !bytes.Equal(before, readDisk(t, disks[0], 1<<20)) {
				t.Error("the disk's first MiB has changed")
			}
			if _, err := os.Lstat(dir + "/map~"); err == nil {
				t.Error("map~ was left behind")
			}
		})
	}
}

// TestLabHoles has files with holes, and with blocks that were reserved and
// never written.
func TestLabHoles(t *testing.T) {
	for _, fs := range []string{"ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) {
			disk := labDisks(t)[0]
			dir := labVolume(t, disk, "vgt", fs)
			conf := furnish(t, dir)
			sh(t, "fallocate", "-p", "-o", "65536", "-l", "81920", dir+"/vmlinuz")
			sh(t, "fallocate", "-p", "-o", "65536", "-l", "8192", dir+"/initrd.img")
			sh(t, "fallocate", "-l", "4M", dir+"/initrd.img")
			sh(t, "truncate", "-s", "5M", dir+"/initrd.img")
			mustLilo(t, "-C", conf)
			bootable(t, disk)
			whole := fingerprint(t, disk)
			mustLilo(t, "-C", conf, "-t")
			if fingerprint(t, disk) != whole {
				t.Error("lilo -t changed the disk")
			}
		})
	}
}

// TestLabOtherDisks has disks that are no whole physical volumes.
func TestLabOtherDisks(t *testing.T) {
	for _, tt := range []struct {
		name, fs string
		make     func(t *testing.T, disk string) string
		want     string
	}{
		{"partition", "ext4", func(t *testing.T, disk string) string {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), "sfdisk", "-q", disk)
			cmd.Stdin = strings.NewReader("label: dos\n2048,600000,8e\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("sfdisk: %v %s", err, out)
			}
			sh(t, "udevadm", "settle")
			sh(t, "pvcreate", "-qy", disk+"1")
			sh(t, "vgcreate", "-qy", "vgp", disk+"1")
			sh(t, "lvcreate", "-qy", "-L", "128m", "-n", "boot", "vgp")
			return "/dev/vgp/boot"
		}, "has a partition table"},
		{"XFS on the bare disk", "xfs", func(_ *testing.T, disk string) string { return disk }, "begins with an XFS file system"},
		{"label in sector 0", "ext4", func(t *testing.T, disk string) string {
			t.Helper()
			sh(t, "pvcreate", "-qy", "--labelsector", "0", disk)
			sh(t, "vgcreate", "-qy", "vgl", disk)
			sh(t, "lvcreate", "-qy", "-L", "128m", "-n", "boot", "vgl")
			return "/dev/vgl/boot"
		}, "label in sector 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := labDisks(t)[0]
			dir := mounted(t, tt.make(t, disk), tt.fs)
			conf := furnish(t, dir)
			before := readDisk(t, disk, 8192)
			r := runLilo(t, "-C", conf)
			if r.code != exitError || !strings.Contains(r.err, tt.want) {
				t.Errorf("lilo: exit status %d, %s%s; want 1 and %q", r.code, r.out, r.err, tt.want)
			}
			if !bytes.Equal(before, readDisk(t, disk, 8192)) {
				t.Error("the disk's start has changed")
			}
		})
	}
}

// TestLabLabelElsewhere has LVM's label where stage 2 would go.
func TestLabLabelElsewhere(t *testing.T) {
	disk := labDisks(t)[0]
	sh(t, "pvcreate", "-qy", "--labelsector", "3", disk)
	sh(t, "vgcreate", "-qy", "vgl", disk)
	sh(t, "lvcreate", "-qy", "-L", "128m", "-n", "boot", "vgl")
	dir := mounted(t, "/dev/vgl/boot", "ext4")
	before := readDisk(t, disk, 1<<20)
	mustLilo(t, "-C", furnish(t, dir))
	if report := bootable(t, disk); report.Low {
		t.Error("stage 2 went over LVM's label")
	}
	if !bytes.Equal(before[512:], readDisk(t, disk, 1<<20)[512:]) {
		t.Error("more than sector 0 has changed")
	}
}

func TestLabCommands(t *testing.T) {
	disks := labDisks(t)
	disk := disks[0]
	dir := labVolume(t, disk, "vgt", "ext4")
	old := "image=" + dir + "/vmlinuz.old\nlabel=LinuxOLD\nalias=o\ninitrd=" + dir + "/initrd.img\noptional"
	conf := furnish(t, dir, old)

	t.Run("nothing there yet", func(t *testing.T) {
		for _, args := range [][]string{{"-q"}, {"-R", "Linux"}, {"-R"}} {
			r := runLilo(t, append([]string{"-C", conf}, args...)...)
			if r.code != exitError || !strings.Contains(r.err, "lilo was never run here") {
				t.Errorf("lilo %q: %+v", args, r)
			}
		}
	})
	t.Run("a trial writes nothing", func(t *testing.T) {
		before := fingerprint(t, disk)
		r := mustLilo(t, "-C", conf, "-tv")
		if !strings.Contains(r.out, "*NOT* been altered") || !strings.Contains(r.out, "Added Linux  *") {
			t.Errorf("lilo -tv said %q", r.out)
		}
		if fingerprint(t, disk) != before {
			t.Error("lilo -t changed the disk")
		}
	})
	t.Run("missing images", func(t *testing.T) {
		r := mustLilo(t, "-C", conf)
		if r.out != "Added Linux  *\n" || r.err != "" {
			t.Errorf("an optional image is missing, and lilo said %q, %q", r.out, r.err)
		}
		write(t, dir+"/vmlinuz.old", fakeKernel(5, 700000))
		if r := mustLilo(t, "-C", conf); r.out != "Added Linux  *\nAdded LinuxOLD  (alias o)\n" {
			t.Errorf("lilo said %q", r.out)
		}
		hidden := configure(t, dir, "default=gone", "image="+dir+"/nix\nlabel=gone", old)
		r = mustLilo(t, "-C", hidden)
		if r.out != "Added LinuxOLD  (alias o)  *\n" || !strings.Contains(r.err, "image gone") || !strings.Contains(r.err, "LinuxOLD is the default now") {
			t.Errorf("the default is missing, and lilo said %q, %q", r.out, r.err)
		}
		if got := bootable(t, disk); labels(got) != "LinuxOLD" || got.Default != "LinuxOLD" {
			t.Errorf("on the disk: %+v", got)
		}
		before := fingerprint(t, disk)
		r = runLilo(t, "-m", dir+"/map", "-C", configure(t, "/var/tmp", "", "image="+dir+"/nix\nlabel=gone"))
		if r.code != exitError || !strings.Contains(r.err, "no image of the configuration can be booted") || fingerprint(t, disk) != before {
			t.Errorf("nothing is left to boot: %+v, or the disk has changed", r)
		}
	})
	conf = furnish(t, dir, old)
	t.Run("default", func(t *testing.T) {
		if r := mustLilo(t, "-C", conf, "-D", "o"); !strings.Contains(r.out, "Added LinuxOLD  (alias o)  *") {
			t.Errorf("lilo -D o said %q", r.out)
		}
		if got := bootable(t, disk); got.Default != "LinuxOLD" {
			t.Errorf("the default is %q", got.Default)
		}
		if r := runLilo(t, "-C", conf, "-D", "nix"); r.code != exitError || !strings.Contains(r.err, "-D nix: no image") {
			t.Errorf("lilo -D nix: %+v", r)
		}
	})
	t.Run("query and one-shot line", func(t *testing.T) {
		mustLilo(t, "-C", conf)
		if r := mustLilo(t, "-C", conf, "-q"); r.out != "Linux  *\nLinuxOLD\n" {
			t.Errorf("lilo -q said %q", r.out)
		}
		mustLilo(t, "-C", conf, "-R", "o", "single", "x=y z")
		if r := mustLilo(t, "-C", conf, "-q"); r.out != "Linux  *\nLinuxOLD\nNext boot, once: o single x=y z\n" {
			t.Errorf("lilo -q after -R said %q", r.out)
		}
		bootable(t, disk)
		mustLilo(t, "-C", conf, "-R")
		if r := mustLilo(t, "-C", conf, "-q"); strings.Contains(r.out, "Next boot") {
			t.Errorf("lilo -q after -R alone said %q", r.out)
		}
		for _, bad := range []string{"nix", "Linux \x1b", "Linux " + strings.Repeat("x", 300)} {
			if r := runLilo(t, "-C", conf, "-R", bad); r.code != exitError {
				t.Errorf("lilo -R %q: %+v", bad, r)
			}
		}
	})
	t.Run("stale boot=", func(t *testing.T) {
		other := readDisk(t, disks[1], 1<<20)
		uuid := strings.TrimSpace(sh(t, "pvs", "--noheadings", "-o", "pv_uuid", disk))
		for _, tt := range []struct{ boot, warning string }{
			{"/dev/sda", "boot=/dev/sda is stale: it is not a device here"},
			{disks[1], "boot=" + disks[1] + " is stale: it is the device"},
			{"/dev/vgt/boot", "boot=/dev/vgt/boot is stale"},
			{disk, ""},
			{"/dev/disk/by-id/lvm-pv-uuid-" + uuid, ""},
		} {
			c := configure(t, dir, "boot="+tt.boot, "image="+dir+"/vmlinuz\nlabel=Linux\ninitrd="+dir+"/initrd.img")
			r := mustLilo(t, "-C", c)
			if !strings.Contains(r.err, tt.warning) || tt.warning == "" && r.err != "" {
				t.Errorf("boot=%s: %q; want %q", tt.boot, r.err, tt.warning)
			}
			bootable(t, disk)
		}
		if r := runLilo(t, "-C", conf, "-b", disks[1]); r.code != exitError || !strings.Contains(r.err, "the boot sector must be on the disk that has the map") {
			t.Errorf("lilo -b %s: %+v", disks[1], r)
		}
		mustLilo(t, "-C", conf, "-b", disk)
		if !bytes.Equal(other, readDisk(t, disks[1], 1<<20)) {
			t.Error("something was written to the other disk")
		}
	})
	t.Run("password", func(t *testing.T) {
		c := configure(t, dir, "password=\"very secret\"", "image="+dir+"/vmlinuz\nlabel=Linux\ninitrd="+dir+"/initrd.img", old+"\nbypass")
		if err := os.Chmod(c, 0o644); err != nil {
			t.Fatal(err)
		}
		r := mustLilo(t, "-C", c)
		if r.out != "Added Linux  *p\nAdded LinuxOLD  (alias o)\n" || !strings.Contains(r.err, "chmod 600") {
			t.Errorf("lilo said %q, %q", r.out, r.err)
		}
		m, err := os.ReadFile(dir + "/map")
		if err != nil || bytes.Contains(m, []byte("secret")) {
			t.Errorf("the map has the password in it, or: %v", err)
		}
	})
	t.Run("another bus", func(t *testing.T) {
		mustLilo(t, "-C", conf, "--bus", "scsi")
		mustLilo(t, "-C", conf, "--bus=virtio")
		if r := runLilo(t, "-C", conf, "--bus", "usb"); r.code != exitError {
			t.Errorf("lilo --bus usb: %+v", r)
		}
	})
}

// TestLabRoot has a tree with nothing of /dev, /proc and /sys in it.
func TestLabRoot(t *testing.T) {
	disk := labDisks(t)[0]
	dir := labVolume(t, disk, "vgt", "xfs")
	write(t, dir+"/boot/vmlinuz-6.1", fakeKernel(1, 1<<20))
	write(t, dir+"/boot/initrd.img-6.1", noise(2, 1<<20))
	for _, link := range [][2]string{{"/boot/vmlinuz-6.1", "vmlinuz"}, {"boot/initrd.img-6.1", "initrd.img"}} {
		if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir+"/etc/lilo.conf", []byte("root=current\nread-only\nimage=/vmlinuz\nlabel=Linux\ninitrd=/initrd.img\n"))
	r := mustLilo(t, "-r", dir, "-v")
	if !strings.Contains(r.out, "command line: root=/dev/mapper/vgt-boot ro\n") {
		t.Errorf("lilo -r said %q", r.out)
	}
	bootable(t, disk)
	if r := mustLilo(t, "-r", dir, "-q"); r.out != "Linux  *\n" {
		t.Errorf("lilo -r -q said %q", r.out)
	}
	mustLilo(t, "-r", dir, "-R", "Linux")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("in the tree there are %v, %v; want boot, etc and two links", entries, err)
	}
}

// TestLabInterrupted has map~ as runs leave it that are cut short after sector
// 0 was written, and before.
func TestLabInterrupted(t *testing.T) {
	disk := labDisks(t)[0]
	dir := labVolume(t, disk, "vgt", "ext4")
	conf := furnish(t, dir)
	mustLilo(t, "-C", conf)
	sh(t, "cp", dir+"/map", dir+"/older")
	sh(t, "mv", dir+"/map", dir+"/map~")
	sh(t, "mv", dir+"/older", dir+"/map")
	bootable(t, disk)
	if r := mustLilo(t, "-C", conf, "-q"); r.out != "Linux  *\n" || r.err != "" {
		t.Errorf("lilo -q said %q, %q", r.out, r.err)
	}
	mustLilo(t, "-C", conf, "-R", "Linux", "once")
	if r := mustLilo(t, "-C", conf, "-q"); !strings.Contains(r.out, "Next boot, once: Linux once") {
		t.Errorf("lilo -q said %q", r.out)
	}
	// What boots is map~: were it removed before sector 0 is written, its blocks
	// would be free for the new one.
	r := mustLilo(t, "-C", conf, "-v")
	if !strings.Contains(r.out, "finishing it first") {
		t.Errorf("lilo said %q", r.out)
	}
	bootable(t, disk)
	write(t, dir+"/map~", noise(1, 8192))
	mustLilo(t, "-C", conf)
	bootable(t, disk)
	if _, err := os.Lstat(dir + "/map~"); err == nil {
		t.Error("map~ was left behind")
	}
}

// TestLabLock has someone hold LVM's lock.
func TestLabLock(t *testing.T) {
	disk := labDisks(t)[0]
	dir := labVolume(t, disk, "vgt", "ext4")
	conf := furnish(t, dir)
	mustLilo(t, "-C", conf)
	release := holdLock(t, "/run/lock/lvm/V_vgt")
	said, ended := waitingLilo(t, fmt.Sprintf("waiting for LVM's lock of vgt, held by process %d ", os.Getpid()), "-C", conf)
	select {
	case err := <-ended:
		t.Fatalf("lilo ended (%v) while the lock was held; it said %q", err, said)
	case <-time.After(2 * time.Second):
	}
	release()
	if err := <-ended; err != nil {
		t.Fatalf("lilo: %v: %s", err, said)
	}
	bootable(t, disk)

	// Given up, nothing is changed.
	release = holdLock(t, "/run/lock/lvm/V_vgt")
	before := readDisk(t, disk, 512)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said = &watched{text: said.text, seen: make(chan struct{})}
	go func() {
		select {
		case <-said.seen:
			time.Sleep(2 * time.Second)
			cancel()
		case <-ctx.Done():
		}
	}()
	if r := run(ctx, []string{"-C", conf}, os.Stderr, said); r != exitError {
		t.Errorf("lilo got a lock that is held")
	}
	release()
	if !bytes.Equal(before, readDisk(t, disk, 512)) {
		t.Error("sector 0 has changed")
	}
	bootable(t, disk)
}

// holdLock takes a lock as LVM does, and returns what gives it back.
func holdLock(t *testing.T, path string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	release = func() { _ = f.Close() }
	t.Cleanup(release) // or LVM would wait for it when the disks are wiped
	return release
}

// waitingLilo starts a lilo that has to wait for something, and to say so; ended
// tells how it ended.
func waitingLilo(t *testing.T, text string, args ...string) (said *watched, ended <-chan error) {
	t.Helper()
	said = &watched{text: text, seen: make(chan struct{})}
	cmd := liloCommand(t.Context(), args...)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	select {
	case <-said.seen:
	case err := <-end:
		t.Fatalf("lilo %q ended (%v) and said %q; want it to wait and to say %q", args, err, said, text)
	}
	return said, end
}

// watched is what lilo says: seen is closed once the text is in it.
type watched struct {
	text string
	seen chan struct{}

	mu  sync.Mutex
	all []byte
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := bytes.Contains(w.all, []byte(w.text))
	w.all = append(w.all, p...)
	if !before && bytes.Contains(w.all, []byte(w.text)) {
		close(w.seen)
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.all)
}

// TestLabRace runs LVM commands that write the head of the disk in a loop, while
// lilo runs in a loop: whatever the order, sector 0 is always the last lilo's.
func TestLabRace(t *testing.T) {
	disk := labDisks(t)[0]
	dir := labVolume(t, disk, "vgt", "ext4")
	conf := furnish(t, dir)
	mustLilo(t, "-C", conf)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group sync.WaitGroup
	var tags atomic.Int64
	for i := range 2 {
		group.Go(func() {
			for ctx.Err() == nil {
				for _, what := range []string{"--addtag", "--deltag"} {
					if out, err := exec.CommandContext(context.WithoutCancel(ctx), "vgchange", "-q", what, fmt.Sprint("t", i), "vgt").CombinedOutput(); err != nil {
						t.Errorf("vgchange: %v\n%s", err, out)
					}
					tags.Add(1)
				}
			}
		})
	}
	// As often as a machine can in 40 seconds, and often enough on a slow one.
	const least, most = 40 * time.Second, 15 * time.Minute
	const leastRuns, leastTags = 5, 10
	runs := 0
	enough := func(took time.Duration) bool {
		return took > most || took > least && runs >= leastRuns && tags.Load() >= leastTags
	}
	for start := time.Now(); !enough(time.Since(start)); runs++ {
		mustLilo(t, "-C", conf)
		sys, err := install.OpenSystem()
		if err != nil {
			t.Fatal(err)
		}
		in, err := install.Query(sys, dir+"/map")
		if err != nil || !in.Live {
			t.Fatalf("after %d runs sector 0 doesn't refer to the map: %+v, %v", runs, in, err)
		}
		_ = in.Close()
		_ = sys.Close()
		bootable(t, disk)
	}
	cancel()
	group.Wait()
	bootable(t, disk)
	sh(t, "vgck", "vgt")
	t.Logf("%d runs of lilo against %d of vgchange", runs, tags.Load())
	if runs < leastRuns || tags.Load() < leastTags {
		t.Error("too few to tell anything")
	}
}

// TestLabKilled kills lilo at any time; what is on the disk boots, and the next
// run succeeds.
func TestLabKilled(t *testing.T) {
	disk := labDisks(t)[0]
	dir := labVolume(t, disk, "vgt", "ext4")
	conf := furnish(t, dir)
	start := time.Now()
	mustLilo(t, "-C", conf)
	whole := time.Since(start)
	random := rand.New(rand.NewPCG(1, 1))
	killed := 0
	for range 40 {
		cmd := liloCommand(t.Context(), "-C", conf)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(whole))))
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		bootable(t, disk)
	}
	mustLilo(t, "-C", conf)
	bootable(t, disk)
	t.Logf("%d of 40 runs were killed in time", killed)
	if killed == 0 {
		t.Error("not one run was killed in time: this tells nothing")
	}
}
