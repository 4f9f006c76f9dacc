package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestLabIfChanged: --if-changed writes nothing where nothing has changed, whoever
// has been at the configuration or the files; and follows whatever has.
func TestLabIfChanged(t *testing.T) {
	disk := labDisks(t)[0]
	dir := labVolume(t, disk, "vgt", "ext4")
	write(t, dir+"/vmlinuz", fakeKernel(1, 300<<10))
	write(t, dir+"/initrd.img", noise(2, 500<<10))
	conf := configure(t, dir, "password=secret\nrestricted\n", "image="+dir+"/vmlinuz\nlabel=Linux\ninitrd="+dir+"/initrd.img",
		"image="+dir+"/vmlinuz.old\nlabel=Old\noptional")
	writes := func() bool {
		t.Helper()
		before, err := os.Stat(dir + "/map")
		mustLilo(t, "-C", conf, "--if-changed")
		after, err2 := os.Stat(dir + "/map")
		if err2 != nil {
			t.Fatal(err2)
		}
		bootable(t, disk)
		return err != nil || !os.SameFile(before, after)
	}
	for _, step := range []struct {
		name string
		do   func()
		want bool
	}{
		{"no map yet", func() {}, true},
		{"nothing", func() {}, false},
		{"one-shot line", func() { mustLilo(t, "-C", conf, "-R", "Linux single") }, false},
		{"times", func() { sh(t, "touch", dir+"/vmlinuz", dir+"/initrd.img", conf) }, false},
		{"initrd in place", func() { write(t, dir+"/initrd.img", noise(3, 500<<10)) }, true},
		{"one byte in its block", func() {
			sh(t, "dd", "if=/dev/zero", "of="+dir+"/initrd.img", "bs=1", "count=1", "seek=70000", "conv=notrunc", "status=none")
		}, true},
		{"initrd renamed", func() {
			write(t, dir+"/new", noise(4, 400<<10))
			sh(t, "mv", dir+"/new", dir+"/initrd.img")
		}, true},
		{"kernel", func() { write(t, dir+"/vmlinuz", fakeKernel(5, 310<<10)) }, true},
		{"an image comes", func() { write(t, dir+"/vmlinuz.old", fakeKernel(6, 310<<10)) }, true},
		{"and goes", func() { sh(t, "rm", dir+"/vmlinuz.old") }, true},
		{"password", func() { sh(t, "sed", "-i", "s/secret/other/", conf) }, true},
		{"nothing again", func() {}, false},
		{"one-shot line still", func() {
			if out := mustLilo(t, "-C", conf, "-q").out; !strings.Contains(out, "Next boot, once: Linux single") {
				t.Errorf("lilo -q says %q; want the one-shot line, which nobody took back", out)
			}
		}, false},
		{"boot sector", func() {
			sh(t, "dd", "if=/dev/zero", "of="+disk, "bs=512", "count=1", "conv=notrunc,fsync", "oflag=direct", "status=none")
		}, true},
		{"stage 2", func() {
			sh(t, "dd", "if=/dev/zero", "of="+disk, "bs=512", "seek=3", "count=1", "conv=notrunc,fsync", "oflag=direct", "status=none")
		}, true},
	} {
		step.do()
		if got := writes(); got != step.want {
			t.Errorf("%s: lilo --if-changed wrote a map: %v, want %v", step.name, got, step.want)
		}
	}
	mustLilo(t, "-C", conf, "-R", "Linux single")
	mustLilo(t, "-C", conf)
	if out := mustLilo(t, "-C", conf, "-q").out; strings.Contains(out, "Next boot") {
		t.Errorf("after a plain lilo: %q; want no one-shot line", out)
	}
}

// TestLabBeingWritten: --if-changed waits until an initrd is whole.
func TestLabBeingWritten(t *testing.T) {
	disk := labDisks(t)[0]
	dir := labVolume(t, disk, "vgt", "ext4")
	conf := furnish(t, dir)
	mustLilo(t, "-C", conf)
	f, err := os.OpenFile(dir+"/initrd.img", os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole := noise(9, 400<<10)
	if _, err := f.Write(whole[:100<<10]); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(dir + "/map")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan result)
	go func() { done <- runLilo(t, "-C", conf, "--if-changed") }()
	select {
	case r := <-done:
		t.Fatalf("lilo didn't wait for who writes the initrd: %+v", r)
	case <-time.After(2 * time.Second):
	}
	if now, err := os.Stat(dir + "/map"); err != nil || !os.SameFile(before, now) {
		t.Errorf("there is another map while the initrd is half there (%v)", err)
	}
	if _, err := f.Write(whole[100<<10:]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.code != exitOK || !strings.Contains(r.out, "Added Linux") {
		t.Errorf("lilo --if-changed: %+v", r)
	}
	if got := bootable(t, disk).Images[0].Initrd; got != int64(len(whole)) {
		t.Errorf("the map has an initrd of %d bytes, want %d", got, len(whole))
	}
}

// TestLabLastResort: the copies are there from the first run on, survive whatever
// happens to the files that they were made of, and are renewed by what booted, and by
// nothing else.
func TestLabLastResort(t *testing.T) {
	for _, fs := range []string{"ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) { lastResort(t, fs) })
	}
}

func lastResort(t *testing.T, fs string) {
	t.Helper()
	disk := labDisks(t)[0]
	dir := labVolume(t, disk, "vgt", fs)
	own := dir + "/lilo"
	conf := furnish(t, dir, "image="+own+"/vmlinuz\nlabel=LastResort\ninitrd="+own+"/initrd.img\nlast-resort")
	holds := func(when string, kernel, initrd []byte) {
		t.Helper()
		k, err1 := os.ReadFile(own + "/vmlinuz")
		i, err2 := os.ReadFile(own + "/initrd.img")
		if err1 != nil || err2 != nil || !bytes.Equal(k, kernel) || !bytes.Equal(i, initrd) {
			t.Errorf("%s: the copies aren't what they should be (%v, %v)", when, err1, err2)
		}
		if left, _ := filepath.Glob(own + "/*.new"); len(left) > 0 {
			t.Errorf("%s: %q were left", when, left)
		}
		if got := labels(bootable(t, disk)); got != "Linux LastResort" {
			t.Errorf("%s: the map has %q", when, got)
		}
	}
	kernel, initrd := fakeKernel(1, 300<<10+300), noise(2, 500<<10+77)
	mustLilo(t, "-C", conf)
	holds("after the first run", kernel, initrd)

	// In place, and what it frees is written to. Copies on XFS share it.
	was := firstSector(t, dir+"/initrd.img")
	write(t, dir+"/initrd.img", noise(7, 900<<10))
	sh(t, "sync")
	if fs == "ext4" && firstSector(t, dir+"/initrd.img") != was {
		sh(t, "dd", "if=/dev/urandom", "of="+disk, "bs=512", "seek="+was, "count=1", "conv=notrunc,fsync", "oflag=direct", "status=none")
		if report, err := verify(t, disk); err == nil || !strings.Contains(err.Error(), `image "Linux"`) {
			t.Errorf("the initrd has changed, and Verify = %+v, %v", report, err)
		}
	}
	mustLilo(t, "-C", conf)
	holds("after an initrd that never booted", kernel, initrd)

	booted := func(label string) result {
		t.Helper()
		cmdline := filepath.Join(t.TempDir(), "cmdline")
		write(t, cmdline, fmt.Appendf(nil, "auto BOOT_IMAGE=%s ro BOOT_IMAGE=x\n", label))
		sh(t, "mount", "--bind", cmdline, "/proc/cmdline")
		defer sh(t, "umount", "/proc/cmdline")
		return mustLilo(t, "-C", conf, "--booted")
	}
	write(t, dir+"/initrd.img", noise(10, 800<<10)) // since it booted: nobody knows what
	booted("Linux")
	holds("after a boot that is not the map's", kernel, initrd)
	booted("LinuxOLD")
	holds("after a boot by another loader", kernel, initrd)
	if r := booted("LastResort"); !strings.Contains(r.err, "booted by its last resort, LastResort") {
		t.Errorf("after the last resort has booted lilo said %q", r.err)
	}
	holds("after a boot by it", kernel, initrd)
	booted("Linux")
	holds("after a boot", kernel, noise(10, 800<<10))

	// There is no room for another kernel besides: the old copies stay.
	write(t, dir+"/initrd.img", noise(11, 900<<10))
	sh(t, "sh", "-c", "dd if=/dev/zero of="+dir+"/full bs=64k 2>/dev/null; sync; truncate -s -1200K "+dir+"/full; sync")
	mustLilo(t, "-C", conf)
	booted("Linux")
	holds("without room", kernel, noise(10, 800<<10))
	sh(t, "rm", dir+"/full")
	booted("Linux")
	holds("with room again", kernel, noise(11, 900<<10))

	// One of the copies is lost.
	sh(t, "rm", own+"/initrd.img")
	mustLilo(t, "-C", conf, "--if-changed")
	holds("after a loss", kernel, noise(11, 900<<10))
}

// firstSector is where on the disk of a labVolume a file begins.
func firstSector(t *testing.T, file string) string {
	t.Helper()
	const areaStart = 2048 // of the first volume
	for line := range strings.Lines(sh(t, "filefrag", "-b512", "-v", file)) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == "0:" {
			n, err := strconv.Atoi(strings.TrimSuffix(f[3], ".."))
			if err != nil {
				t.Fatal(err)
			}
			return strconv.Itoa(n + areaStart)
		}
	}
	t.Fatalf("%s has no extents", file)
	return ""
}
