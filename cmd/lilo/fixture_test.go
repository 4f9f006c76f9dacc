package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"esxodus/convert/lilo"
	"esxodus/fixtures"
)

// TestMain lets the test binary be lilo, so that it can be killed and chrooted.
func TestMain(m *testing.M) {
	if os.Getenv("LILO_TEST_COMMAND") == "1" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// result is how a run of lilo ended.
type result struct {
	code     int
	out, err string
}

// command makes a lilo that can be started.
func liloCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(cmd.Environ(), "LILO_TEST_COMMAND=1")
	return cmd
}

func runLilo(t *testing.T, args ...string) result {
	t.Helper()
	cmd := liloCommand(t.Context(), args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// mustLilo runs lilo, which has to succeed.
func mustLilo(t *testing.T, args ...string) result {
	t.Helper()
	r := runLilo(t, args...)
	if r.code != exitOK {
		t.Fatalf("lilo %q: exit status %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r
}

// sh runs a program, which has to succeed.
func sh(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// labDisks returns the blank disks of the lab, without anything on them.
func labDisks(t *testing.T) []string {
	t.Helper()
	disks := fixtures.LabDisks(t, 2)
	wipe := func() {
		ctx := context.WithoutCancel(t.Context())
		_ = exec.CommandContext(ctx, "vgchange", "-qan").Run()
		for _, d := range disks {
			_ = exec.CommandContext(ctx, "wipefs", "-aqf", d).Run()
			_ = exec.CommandContext(ctx, "dd", "if=/dev/zero", "of="+d, "bs=1M", "count=2", "status=none", "conv=fsync").Run()
			_ = exec.CommandContext(ctx, "udevadm", "settle").Run()
		}
	}
	wipe()
	t.Cleanup(wipe)
	return disks
}

// labVolume makes a volume group on a disk with a file system in a logical
// volume, and mounts that; it returns where. lvcreate's arguments come last.
func labVolume(t *testing.T, disk, group, fs string, size ...string) string {
	t.Helper()
	sh(t, "pvcreate", "-qy", disk)
	sh(t, "vgcreate", "-qy", group, disk)
	if len(size) == 0 {
		size = []string{"-L", "320m"}
	}
	sh(t, append([]string{"lvcreate", "-qy", "-n", "boot", group}, size...)...)
	return mounted(t, "/dev/"+group+"/boot", fs)
}

// mounted makes a file system on a device and mounts it, so that nothing is
// written to it but what is asked for: no times of reading, no tables later on.
func mounted(t *testing.T, device, fs string) string {
	t.Helper()
	argv := []string{"mkfs." + fs, "-q", device}
	if fs != "xfs" {
		argv = append(argv, "-E", "lazy_itable_init=0,lazy_journal_init=0")
	}
	sh(t, argv...)
	dir := t.TempDir()
	sh(t, "mount", "-o", "noatime", device, dir)
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// fakeKernel returns a kernel as far as loader and map are concerned.
func fakeKernel(seed uint64, size int) []byte {
	b := noise(seed, size)
	le := binary.LittleEndian
	b[0x1f1] = 31 // sectors of setup code but one
	copy(b[0x202:], "HdrS")
	le.PutUint16(b[0x206:], 0x20f)
	b[0x211] = 1
	le.PutUint32(b[0x22c:], 0x7fffffff)
	le.PutUint32(b[0x238:], 2047)
	le.PutUint64(b[0x258:], 0x1000000)
	le.PutUint32(b[0x260:], 0x2000000)
	return b
}

func noise(seed uint64, size int) []byte {
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, size)
	_, _ = random.Read(b)
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// furnish puts a kernel, an initrd and a lilo.conf into a directory, and returns
// the configuration's path. Sections are added to it.
func furnish(t *testing.T, dir string, sections ...string) string {
	t.Helper()
	write(t, dir+"/vmlinuz", fakeKernel(1, 300<<10+300))
	write(t, dir+"/initrd.img", noise(2, 500<<10+77))
	return configure(t, dir, "", append([]string{"image=" + dir + "/vmlinuz\nlabel=Linux\ninitrd=" + dir + "/initrd.img"}, sections...)...)
}

func configure(t *testing.T, dir, global string, sections ...string) string {
	t.Helper()
	conf := dir + "/lilo.conf"
	write(t, conf, []byte("map="+dir+"/map\nprompt\ntimeout=50\nappend=\"console=ttyS0\"\n"+global+"\n"+strings.Join(sections, "\n")+"\n"))
	return conf
}

// readDisk reads n bytes of a disk past the cache.
func readDisk(t *testing.T, disk string, n int) []byte {
	t.Helper()
	f, err := os.OpenFile(disk, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(buf)
	if _, err := io.ReadFull(f, buf); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf)
}

// fingerprint is of all that is on a disk. It is made of words, since a hash
// takes minutes where every instruction is emulated.
func fingerprint(t *testing.T, disk string) uint64 {
	t.Helper()
	sh(t, "sync")
	f, err := os.OpenFile(disk, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(buf)
	sum := uint64(1)
	for {
		n, err := io.ReadFull(f, buf)
		for b := buf[:n]; len(b) >= 8; b = b[8:] {
			sum = (sum ^ binary.NativeEndian.Uint64(b)) * 0x9e3779b97f4a7c15
			sum ^= sum >> 29
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return sum
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// bootable follows the loader's way over a disk as it lies there.
func bootable(t *testing.T, disk string) *lilo.Report {
	t.Helper()
	report, err := verify(t, disk)
	if err != nil {
		t.Fatalf("%s doesn't boot: %v", disk, err)
	}
	return report
}

// verify reads past the disk's own cache in memory, which file systems upon it
// don't use.
func verify(t *testing.T, disk string) (*lilo.Report, error) {
	t.Helper()
	f, err := os.OpenFile(disk, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0); err != nil {
		t.Fatal(err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	return lilo.Verify(t.Context(), f, size)
}

// labels lists a report's images.
func labels(r *lilo.Report) string {
	var all []string
	for _, i := range r.Images {
		all = append(all, i.Label)
	}
	return strings.Join(all, " ")
}
