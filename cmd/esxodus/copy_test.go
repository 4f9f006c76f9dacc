package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// copyLab is a lab with a raw disk of data and holes, 24 MiB and a sector.
func copyLab(t *testing.T) (l *lab, raw string) {
	t.Helper()
	l = newLabWithout(t, esxi.Options{})
	raw = filepath.Join(l.dir, "disk.raw")
	random := rand.NewChaCha8([32]byte{7})
	f, err := os.Create(raw)
	if err != nil {
		t.Fatal(err)
	}
	const size = 24<<20 + 512
	for _, at := range []int64{0, 5 << 20, 13<<20 + 4096, size - 100_000} {
		if _, err := io.CopyN(io.NewOffsetWriter(f, at), random, 100_000); err != nil {
			t.Fatal(err)
		}
	}
	l.check(f.Truncate(size))
	l.check(f.Close())
	return l, raw
}

// sameAs compares the target with the raw disk, of which it may be the start.
func (l *lab) sameAs(raw, target string) {
	l.t.Helper()
	out, err := exec.Command(fixtures.Tool(l.t, "qemu-img"), "compare", "-f", "raw", "-F", "raw", raw, target).CombinedOutput()
	if err != nil {
		l.t.Errorf("%s differs: %s", target, out)
	}
}

// TestCopyFormats copies what qemu-img made, in every format that it makes and
// this program reads.
func TestCopyFormats(t *testing.T) {
	t.Parallel()
	l, raw := copyLab(t)
	for _, format := range []string{"monolithicFlat", "monolithicSparse", "streamOptimized", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"} {
		t.Run(format, func(t *testing.T) {
			src, dst := filepath.Join(l.dir, "s p "+format+".vmdk"), filepath.Join(l.dir, format+".raw")
			must(t, fixtures.Tool(t, "qemu-img"), "convert", "-O", "vmdk", "-o", "subformat="+format, raw, src)
			r := l.run(exitDone, "copy", src, dst, "--verify", "--output", "json")
			var c copied
			if err := json.Unmarshal([]byte(r.out), &c); err != nil {
				t.Fatalf("%v in %s", err, r.out)
			}
			if c.Bytes != 24<<20+512 || !c.Verify || c.Written > 2<<20 {
				t.Errorf("copied = %+v, want 24 MiB and 512 bytes, some 400 kB written, verified", c)
			}
			l.sameAs(raw, dst)
		})
	}
}

// TestCopyHTTPS copies from an ESXi host, by URL and by datastore path.
func TestCopyHTTPS(t *testing.T) {
	t.Parallel()
	l := newLabWithout(t, esxi.Options{})
	login := l.login()
	url := strings.Replace(l.host.FolderURL("[datastore1] "+l.vm+"/small.vmdk"), "https://", "https://root@", 1)
	for name, args := range map[string][]string{
		"url":            append([]string{"copy", url, "url.raw"}, login[2:]...),
		"datastore path": append([]string{"copy", "[datastore1] " + l.vm + "/small.vmdk", "path.raw"}, login...),
	} {
		r := l.run(exitDone, append(args, "--verify")...)
		if !strings.HasPrefix(r.out, args[2]+": 24 MiB") {
			t.Errorf("%s: stdout = %q", name, r.out)
		}
		l.sameDisk(l.flat(), filepath.Join(l.dir, args[2]))
	}
	r := l.run(exitFailed, append([]string{"copy", "[datastore1] " + l.vm + "/nosuch.vmdk", "no.raw"}, login...)...)
	if !strings.Contains(r.err, "nosuch.vmdk") || !strings.Contains(r.err, "not found") {
		t.Errorf("a disk that isn't there: %s", r.err)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "no.raw")); err == nil {
		t.Error("a target was made for a disk that isn't there")
	}
	l.untouched()
}

// TestCopyRemovesItsTarget leaves no half of a disk behind, and touches no
// file that was there.
func TestCopyRemovesItsTarget(t *testing.T) {
	t.Parallel()
	l := newLabWithout(t, esxi.Options{})
	src, dst := "[datastore1] "+l.vm+"/small.vmdk", filepath.Join(l.dir, "x.raw")
	args := append([]string{"copy", src, dst}, l.login()...)
	gone := func(what string) {
		t.Helper()
		if _, err := os.Stat(dst); err == nil {
			t.Errorf("%s: the target is left", what)
		}
	}
	l.fault(esxi.Fault{Kind: esxi.Changed, From: 16 << 20, To: 20 << 20})
	r := l.run(exitFailed, args...)
	if !strings.Contains(r.err, dst+" was removed") {
		t.Errorf("stderr:\n%s", r.err)
	}
	gone("a failure")
	l.host.Faults().Clear()

	l.hold(l.vm)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		served := l.served()
		p := l.start(args...)
		p.until("the target", func() bool { _, err := os.Stat(dst); return err == nil })
		p.until("some of the copy", func() bool { return l.served() > served })
		p.signal(sig)
		if r := p.want(exitInterrupted); !strings.Contains(r.err, "was removed") {
			t.Errorf("%v: stderr:\n%s", sig, r.err)
		}
		gone(sig.String())
	}
	l.host.Faults().Clear()

	l.write(dst, "mine")
	r = l.run(exitFailed, args...)
	if b, err := os.ReadFile(dst); err != nil || string(b) != "mine" || !strings.Contains(r.err, "hint: esxodus overwrites nothing") {
		t.Errorf("a file that exists: %q, %v; stderr:\n%s", b, err, r.err)
	}
	r = l.run(exitFailed, append([]string{"copy", src, filepath.Join(l.dir, "no", "such", "dir")}, l.login()...)...)
	if !strings.Contains(r.err, "no such file or directory") {
		t.Errorf("no such directory: %s", r.err)
	}
	device := "/dev/esxodus-none-" + filepath.Base(l.dir)
	r = l.run(exitFailed, append([]string{"copy", src, device}, l.login()...)...)
	if _, err := os.Stat(device); err == nil || !strings.Contains(r.err, "there is no device "+device) || !strings.Contains(r.err, "hint: make the volume first, such as by lvcreate --size ") {
		t.Errorf("a device that isn't there: %v; stderr:\n%s", err, r.err)
	}
}

// TestCopyDevice writes to a block device that is blank, and to no other
// unless it may.
func TestCopyDevice(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		fixtures.Missing(t, "the right to make a loop device")
	}
	l, raw := copyLab(t)
	src := filepath.Join(l.dir, "d.vmdk")
	must(t, fixtures.Tool(t, "qemu-img"), "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, src)
	device := func(size int64, fill byte) string {
		t.Helper()
		file := filepath.Join(l.dir, fmt.Sprint("back", size, fill))
		l.check(os.WriteFile(file, []byte(strings.Repeat(string(rune(fill)), 1<<20)), 0o600))
		l.check(os.Truncate(file, size))
		out, err := exec.Command(fixtures.Tool(t, "losetup"), "--find", "--show", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		dev := strings.TrimSpace(string(out))
		t.Cleanup(func() { must(t, "losetup", "-d", dev) })
		return dev
	}
	small, used, blank := device(8<<20, 0), device(32<<20, 'x'), device(28<<20, 0)

	r := l.run(exitFailed, "copy", src, small)
	if !strings.Contains(r.err, "has 8388608 bytes, but the disk needs 25166336") {
		t.Errorf("too small: %s", r.err)
	}
	r = l.run(exitFailed, "copy", src, used)
	if !strings.Contains(r.err, "is not blank") || !strings.Contains(r.err, "--overwrite") {
		t.Errorf("in use: %s", r.err)
	}
	l.run(exitDone, "copy", src, blank, "--verify")
	l.run(exitDone, "copy", src, used, "--verify", "--overwrite")
	for _, dev := range []string{blank, used} {
		whole := filepath.Join(l.dir, "whole")
		must(t, "cp", raw, whole)
		out, err := exec.Command("blockdev", "--getsize64", dev).Output()
		l.check(err)
		var size int64
		_, err = fmt.Sscan(string(out), &size)
		l.check(err)
		l.check(os.Truncate(whole, size)) // the rest of the device is zeros too
		l.sameAs(whole, dev)
	}
	if _, err := os.Stat(blank); err != nil {
		t.Errorf("the device is gone: %v", err)
	}
}

// TestCopyRate keeps to the rate that is asked for.
func TestCopyRate(t *testing.T) {
	t.Parallel()
	l := newLabWithout(t, esxi.Options{})
	args := append([]string{"copy", "[datastore1] " + l.vm + "/small.vmdk", "r.raw"}, l.login()...)
	begin := time.Now()
	l.run(exitDone, append(args, "--rate", "8M")...)
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("24 MiB at 8 MiB/s took %v: want 3 s, or more on a busy machine", took)
	}
	l.check(os.Remove(filepath.Join(l.dir, "r.raw")))
	for _, rate := range []string{"8X", "-1", "0", "fast", "99999999999999999999"} {
		r := l.run(exitUsage, append(args, "--rate="+rate)...)
		if !strings.Contains(r.err, "--rate") {
			t.Errorf("--rate %s: %s", rate, r.err)
		}
		if _, err := os.Stat(filepath.Join(l.dir, "r.raw")); err == nil {
			t.Errorf("--rate %s: a target was made", rate)
		}
	}
}

// TestCopyHostile is given what isn't a disk.
func TestCopyHostile(t *testing.T) {
	t.Parallel()
	l, raw := copyLab(t)
	dst := filepath.Join(l.dir, "x.raw")
	escape := "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"vmfs\"\nRW 8 VMFS \"/etc/passwd\"\n"
	link := strings.Replace(escape, "/etc/passwd", "../../../../etc/passwd", 1)
	for name, tt := range map[string]struct{ content, want string }{
		"empty":          {"", "x.vmdk"},
		"noise":          {strings.Repeat("\xa5\x5a", 4096), "x.vmdk"},
		"extent outside": {escape, "/etc/passwd"},
		"extent above":   {link, "etc/passwd"},
		"huge":           {strings.Replace(escape, "RW 8 VMFS \"/etc/passwd\"", `RW 9223372036854775807 ZERO`, 1), "x.vmdk"},
	} {
		l.write(filepath.Join(l.dir, "x.vmdk"), tt.content)
		r := l.run(exitFailed, "copy", filepath.Join(l.dir, "x.vmdk"), dst)
		if !strings.Contains(r.err, tt.want) || strings.Contains(r.err, "goroutine") {
			t.Errorf("%s: %s", name, r.err)
		}
		if _, err := os.Stat(dst); err == nil {
			t.Errorf("%s: a target was made", name)
		}
	}
	r := l.run(exitFailed, "copy", raw, dst)
	if !strings.Contains(r.err, raw) {
		t.Errorf("a raw file: %s", r.err)
	}
}
