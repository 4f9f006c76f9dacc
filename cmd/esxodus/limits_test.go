package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// bigGuest makes a guest with a disk of size bytes, all holes but for some
// data every 64 MiB.
func bigGuest(t *testing.T, dir, name string, size int64) {
	t.Helper()
	f := largeGuest(t, dir, name, size)
	for at := int64(64 << 20); at < size; at += 64 << 20 {
		if _, err := f.WriteAt(fmt.Appendf(nil, "data at %d", at), at+at/1000); err != nil {
			t.Fatal(err)
		}
	}
}

// largeGuest makes a guest with a disk of size bytes, all holes behind the small
// guest's, and opens its data for writing until the test ends.
func largeGuest(t *testing.T, dir, name string, size int64) *os.File {
	t.Helper()
	if err := fixtures.SmallGuest(dir, name); err != nil {
		t.Fatal(err)
	}
	descriptor := filepath.Join(dir, "small.vmdk")
	b, err := os.ReadFile(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Replace(b, fmt.Append(nil, "RW ", fixtures.SmallDisk/512), fmt.Append(nil, "RW ", size/512), 1)
	if err := os.WriteFile(descriptor, b, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "small-flat.vmdk"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestMemory migrates a disk that is larger than the memory that the program
// may take.
func TestMemory(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("sends much")
	}
	const size, most = 768 << 20, 256 << 20
	dir, vm := fixtures.OpenDir(t), uniqueName("m")
	bigGuest(t, filepath.Join(dir, vm), vm, size)
	l := newLab(t, esxi.Options{Dir: dir})
	l.vm = vm
	t.Cleanup(func() { l.forget(vm) })
	peak := l.peak(l.convert("--no-proof", "--connections", "8")...)
	t.Logf("peak memory: %d MiB", peak>>20)
	if peak == 0 || peak > most {
		t.Errorf("peak memory = %d bytes, want at most %d", peak, most)
	}
	l.checkDone()
	if info, err := os.Stat(l.disk()); err != nil || info.Size() != size {
		t.Errorf("target: %v, %v", info, err)
	}
	if used := diskUsage(t, l.disk()); used > 64<<20 {
		t.Errorf("the target takes %d bytes: holes were written", used)
	}
}

// peakRSS is the most memory that the process has had so far, in bytes; 0 once
// it has ended. What wait4 tells isn't it: that counts the test's own memory,
// from before the exec.
func (p *process) peakRSS() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib << 10
}

// diskUsage is what a file takes on its file system, in bytes.
func diskUsage(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%s: no stat", path)
	}
	return stat.Blocks * 512
}

// TestSecret looks for the password where it must not be: in the program's
// arguments and environment, in what it writes, in what it prints.
func TestSecret(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	secret := []byte(l.host.Password())
	l.hold(l.vm)
	l.host.SetPower(l.vm, true)
	p := l.start(l.convert(slices.Concat(l.ssh(), shortStall(), []string{"--shutdown", "ssh", "--verbose", "--no-proof"})...)...)
	p.until("the copy", func() bool { return slices.Contains(l.events(), "begin copy") })
	for _, file := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
		l.check(err)
		if bytes.Contains(b, secret) {
			t.Errorf("the password is in /proc/PID/%s", file)
		}
	}
	l.host.Faults().Clear()
	r := p.want(exitDone)
	if !strings.Contains(r.err, "level=") {
		t.Error("--verbose logs nothing")
	}
	l.run(exitDone, slices.Concat(l.again("rollback"), l.ssh(), []string{"--verbose"})...)
	l.run(exitDone, l.plan(l.vm, "-o", "plan.yaml", "--units", "units", "--verbose")...)
	escaped := []byte(strings.Trim(fmt.Sprintf("%q", secret), `"`))
	for name, text := range map[string][]byte{"stdout": []byte(r.out), "stderr": []byte(r.err)} {
		if bytes.Contains(text, secret) || bytes.Contains(text, escaped) {
			t.Errorf("the password is in %s", name)
		}
	}
	err := filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == l.passwordFile() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, secret) || bytes.Contains(b, escaped) {
			t.Errorf("the password is in %s", path)
		}
		return err
	})
	l.check(err)
}

// TestLargestDisk migrates a disk of 64 TiB, all holes but for a small guest, from
// where its datastore is mounted, and verifies it at both ends.
func TestLargestDisk(t *testing.T) {
	fixtures.Rung(t, "boot") // make test has the copies of 64 TiB in disk
	t.Parallel()
	const size, most = 64 << 40, 256 << 20
	shm, err := os.MkdirTemp("/dev/shm", "esxodus-largest-") //nolint:usetesting // few file systems have files of that size
	if err != nil {
		fixtures.Missing(t, fmt.Sprintf("a directory in memory (%v)", err))
	}
	t.Cleanup(func() { _ = os.RemoveAll(shm) })
	guests, disks, vm := filepath.Join(shm, "guests"), filepath.Join(shm, "disks"), uniqueName("m")
	largeGuest(t, filepath.Join(guests, vm), vm, size)
	l := newLab(t, esxi.Options{Dir: guests})
	l.vm = vm
	l.check(errors.Join(os.Chmod(shm, 0o755), os.Mkdir(disks, 0o755)))
	t.Cleanup(func() { l.forget(vm) })
	args := replaced(l.convert("--no-proof", "--connections", "8", "--datastore", "datastore1="+guests), "--storage", "dir:"+disks)
	verify := append(l.again("verify"), "--source", "--connections", "8")
	for _, args := range [][]string{args, verify} {
		begin := time.Now()
		peak := l.peak(args...)
		t.Logf("%s: peak memory %d MiB, in %v", args[0], peak>>20, time.Since(begin).Round(time.Second))
		if peak == 0 || peak > most {
			t.Errorf("%s: peak memory = %d bytes, want at most %d", args[0], peak, most)
		}
	}
	l.run(exitDone, l.again("rollback")...)
}

// peak runs the program to its end, which must be a good one, and returns the most
// memory that it had, in bytes.
func (l *lab) peak(args ...string) (peak int64) {
	l.t.Helper()
	p := l.start(args...)
	p.until("the end", func() bool {
		peak = max(peak, p.peakRSS())
		select {
		case <-p.done:
			return true
		case <-time.After(10 * time.Millisecond):
			return false
		}
	})
	p.want(exitDone)
	return peak
}
