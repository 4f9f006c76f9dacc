package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loopDisk makes a disk of a file.
func loopDisk(t *testing.T, size string, options ...string) (device, file string) {
	t.Helper()
	need(t, "losetup", "mkfs.ext4", "mount")
	file = filepath.Join(t.TempDir(), "disk")
	sh(t, "truncate", "-s", size, file)
	argv := append([]string{"losetup", "--find", "--show"}, options...)
	device = strings.TrimSpace(sh(t, append(argv, file)...))
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v: %s", err, out)
		}
	})
	return device, file
}

// TestPlain has an ext4 file system on the bare disk. Its superblock shares a
// block with the boot sector, and what its journal has of that block is written
// back after a power cut: to see that this is no idle worry, it is first done
// without a freeze.
func TestPlain(t *testing.T) {
	device, file := loopDisk(t, "64M")
	sh(t, "mkfs.ext4", "-q", "-b", "4096", device)
	dir := t.TempDir()
	sh(t, "mount", device, dir)
	t.Cleanup(func() { _ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", dir).Run() })
	conf := furnish(t, dir)
	mustLilo(t, "-C", conf)
	bootable(t, device)

	sh(t, "e2label", device, "one")
	sh(t, "sync")
	overwriteSector(t, device, bytes.Repeat([]byte("ABCD"), 128))
	if got := afterPowerCut(t, file); bytes.HasPrefix(got, []byte("ABCD")) {
		t.Error("a boot sector written without a freeze survived the journal: this test proves nothing here")
	}

	sh(t, "e2label", device, "two")
	sh(t, "sync")
	mustLilo(t, "-C", conf)
	boot := bootable(t, device)
	if boot.Low {
		t.Error("stage 2 is in sectors 2 to 7, which are the file system's")
	}
	want := readDisk(t, device, 512)
	if got := afterPowerCut(t, file); !bytes.Equal(got, want) {
		t.Error("lilo's boot sector did not survive the journal")
	}
	sh(t, "umount", dir)
	sh(t, "e2fsck", "-fn", device)
	if label := strings.TrimSpace(sh(t, "e2label", device)); label != "two" {
		t.Errorf("the file system's label is %q; want two", label)
	}
	bootable(t, device)
}

// overwriteSector writes sector 0 through the device's cache.
func overwriteSector(t *testing.T, device string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// afterPowerCut mounts the disk as it is at this moment, which replays the
// journal, and returns its sector 0.
func afterPowerCut(t *testing.T, file string) []byte {
	t.Helper()
	device, twin := loopDisk(t, "64M")
	sh(t, "cp", "--sparse=always", file, twin)
	dir := t.TempDir()
	sh(t, "mount", device, dir)
	sh(t, "umount", dir)
	return readDisk(t, device, 512)
}

// TestLargeSectors has a disk with logical sectors of 4096 bytes.
func TestLargeSectors(t *testing.T) {
	device, _ := loopDisk(t, "64M", "--sector-size", "4096")
	dir := mounted(t, device, "ext4")
	r := runLilo(t, "-C", furnish(t, dir))
	if r.code != exitError || !strings.Contains(r.err, "logical sectors of 4096 bytes") {
		t.Errorf("lilo: %+v; want exit status 1, and why", r)
	}
	if got := readDisk(t, device, 4096); !bytes.Equal(got[:1024], make([]byte, 1024)) {
		t.Error("the disk's start was written")
	}
}

// TestBackup has a boot sector of something else.
func TestBackup(t *testing.T) {
	device, _ := loopDisk(t, "64M")
	sh(t, "mkfs.ext4", "-q", device)
	old := append(bytes.Repeat([]byte("x"), 440), make([]byte, 72)...)
	overwriteSector(t, device, old)
	dir := t.TempDir()
	sh(t, "mount", device, dir)
	t.Cleanup(func() { _ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", dir).Run() })
	conf := furnish(t, dir)
	for range 2 {
		mustLilo(t, "-C", conf)
		names, err := filepath.Glob(dir + "/boot.*")
		if err != nil || len(names) != 1 {
			t.Fatalf("copies of the old boot sector: %v, %v", names, err)
		}
		if got, err := os.ReadFile(names[0]); err != nil || !bytes.Equal(got, old) {
			t.Errorf("the copy of the old boot sector has %d bytes of something else, or: %v", len(got), err)
		}
	}
	bootable(t, device)
}

// TestBackupOptions has the command line say where the boot sector of something
// else goes, whatever the configuration says.
func TestBackupOptions(t *testing.T) {
	device, _ := loopDisk(t, "64M")
	dir := mounted(t, device, "ext4")
	furnish(t, dir)
	conf := configure(t, dir, "force-backup="+dir+"/other", "image="+dir+"/vmlinuz\nlabel=Linux\ninitrd="+dir+"/initrd.img")
	for _, tt := range []struct {
		option string
		sector byte
		want   byte // in the file after it
	}{{"-s", 'a', 'a'}, {"-s", 'b', 'a'}, {"-S", 'c', 'c'}} {
		overwriteSector(t, device, append(bytes.Repeat([]byte{tt.sector}, 440), make([]byte, 72)...))
		mustLilo(t, "-C", conf, tt.option, dir+"/kept")
		if got, err := os.ReadFile(dir + "/kept"); err != nil || len(got) != 512 || got[0] != tt.want {
			t.Errorf("after lilo %s with a sector of %c: %.3q, %v; want %c", tt.option, tt.sector, got, err, tt.want)
		}
	}
	if _, err := os.Stat(dir + "/other"); err == nil {
		t.Error("force-backup= counted")
	}
	bootable(t, device)
}

// TestNoWarn has warnings that are wanted by nobody, and such as nothing
// silences.
func TestNoWarn(t *testing.T) {
	device, _ := loopDisk(t, "64M")
	dir := mounted(t, device, "ext4")
	furnish(t, dir)
	linux := "image=" + dir + "/vmlinuz\nlabel=Linux\ninitrd=" + dir + "/initrd.img\n"
	gone := "image=" + dir + "/nix\nlabel=gone\n"
	const stale = "Warning: boot=/dev/nix is stale"
	for _, tt := range []struct {
		name, global, sections string
		args                   []string
		want                   []string // lines of stderr, each by its beginning
	}{
		{"said", "boot=/dev/nix", linux, nil, []string{stale}},
		{"silenced", "boot=/dev/nix\nnowarn", linux, nil, nil},
		{"silenced by -w", "boot=/dev/nix", linux, []string{"-w"}, nil},
		{"said in spite of nowarn", "boot=/dev/nix\nnowarn", linux, []string{"-w+"}, []string{stale}},
		{"an image left out", "nowarn", linux + gone, []string{"-w"}, []string{"Warning: image gone (DIR/nix, line 9) is left out: open DIR/nix: no such file or directory"}},
		{"an optional image", "", linux + gone + "optional", nil, nil},
		{
			"the default left out", "nowarn\ndefault=gone", linux + gone, nil,
			[]string{"Warning: image gone ", "Warning: the default image gone is not there: Linux is the default now"},
		},
		{"no such default", "nowarn\ndefault=nosuch", linux, nil, []string{"Warning: DIR/lilo.conf:6: default=nosuch: no image has this label, so the first one boots; there are Linux"}},
		{"fallback", "nowarn", linux + "alias=other\nfallback=\"OTHER single\"", nil, nil},
		{"no such fallback", "nowarn", linux + "fallback=\"nosuch single\"", nil, []string{"Warning: image Linux (line 6): fallback=nosuch single: no image has this label, so the default boots after it"}},
		{
			"fallback left out", "nowarn", linux + "fallback=gone\n" + gone + "optional", nil,
			[]string{"Warning: image Linux (line 6): fallback=gone: that image is left out, so the default boots after it"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := mustLilo(t, append([]string{"-C", configure(t, dir, tt.global, tt.sections)}, tt.args...)...)
			lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(r.err, dir, "DIR")), "\n")
			if r.err == "" {
				lines = nil
			}
			if !slices.EqualFunc(lines, tt.want, strings.HasPrefix) {
				t.Errorf("lilo said %q; want %q", lines, tt.want)
			}
		})
	}
}

// TestOneShotAlone sets the one-shot line while another lilo writes its map.
func TestOneShotAlone(t *testing.T) {
	device, _ := loopDisk(t, "64M")
	dir := mounted(t, device, "ext4")
	conf := furnish(t, dir)
	mustLilo(t, "-C", conf)
	other, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	mustLilo(t, "-C", conf, "-q")
	mustLilo(t, "-C", conf, "-t", "-R", "Linux")
	if r := runLilo(t, "-C", conf, "-t", "-R", "nix"); r.code != exitError || !strings.Contains(r.err, "-R nix: no image has this label") {
		t.Errorf("lilo -t -R nix: %+v", r)
	}
	said, ended := waitingLilo(t, "Warning: waiting for another lilo, held by process ", "-C", conf, "-w", "-R", "Linux", "single")
	if r := mustLilo(t, "-C", conf, "-q"); r.out != "Linux  *\n" {
		t.Errorf("lilo -q while lilo -R waits: %q", r.out)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("lilo -R: %v: %s", err, said)
	}
	if r := mustLilo(t, "-C", conf, "-q"); r.out != "Linux  *\nNext boot, once: Linux single\n" {
		t.Errorf("lilo -q after lilo -R: %q", r.out)
	}
	bootable(t, device)
}

// TestFileSystems has those from which nothing can be booted.
func TestFileSystems(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		mkfs       []string
	}{
		{"btrfs", "it is on btrfs, where a file's blocks have no lasting place", []string{"mkfs.btrfs", "-q"}},
		{"XFS", "begins with an XFS file system", []string{"mkfs.xfs", "-q"}},
		{"inline data", "kept in its inode", []string{"mkfs.ext4", "-q", "-I", "256", "-O", "inline_data"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			need(t, tt.mkfs[0])
			device, _ := loopDisk(t, "320M")
			sh(t, append(tt.mkfs, device)...)
			dir := t.TempDir()
			sh(t, "mount", device, dir)
			t.Cleanup(func() { _ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", dir).Run() })
			conf := furnish(t, dir)
			sh(t, "rm", dir+"/initrd.img")
			write(t, dir+"/initrd.img", []byte("a few bytes, no more"))
			before := readDisk(t, device, 4096)
			r := runLilo(t, "-C", conf)
			if r.code != exitError || !strings.Contains(r.err, tt.want) {
				t.Errorf("lilo: %+v; want exit status 1 and %q", r, tt.want)
			}
			if !bytes.Equal(before[:512], readDisk(t, device, 512)) {
				t.Error("sector 0 was written")
			}
		})
	}
}
