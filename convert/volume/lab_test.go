package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/convert/host"
	"esxodus/fixtures"

	"golang.org/x/sys/unix"
)

// The tests of this file need device-mapper and blank disks. scripts/lab runs
// them as root in a virtual machine, where ESXODUS_LAB is 1 and
// ESXODUS_LAB_DISKS names the disks.

// labGroup makes a volume group over the lab's first n disks, and returns them as
// well.
func labGroup(t *testing.T, n int) (LVM, []string) {
	t.Helper()
	vg, disks := fixtures.LabGroup(t, n)
	return LVM{VG: vg, Tool: host.Tool{}}, disks
}

// deviceSize returns a block device's size in bytes.
func deviceSize(t *testing.T, path string) int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fill writes a pattern over a volume, and holds checks it.
func fill(t *testing.T, v Volume) []byte {
	t.Helper()
	pattern := bytes.Repeat([]byte(v.LV+" "), int(deviceSize(t, v.Path))/(len(v.LV)+1)+1)[:deviceSize(t, v.Path)]
	f, err := os.OpenFile(v.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(pattern)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return pattern
}

func holds(t *testing.T, v Volume, want []byte) {
	t.Helper()
	got, err := os.ReadFile(v.Path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s no longer holds what was written: %v", v, err)
	}
}

func TestLVMLife(t *testing.T) {
	l, _ := labGroup(t, 1)
	ctx := t.Context()
	v := lvmVolume(t, l, "web-1.disk", 10<<20+512)
	facts, err := l.Check(ctx, []Volume{v})
	if err != nil || facts.Volumes[0].Size != 12<<20 || facts.Unit != 4<<20 || facts.Free <= 0 {
		t.Errorf("Check = %+v, %v", facts, err)
	}
	wantState(t, l, v, "r1", Identity{}, Absent)
	var id Identity
	if err := l.Create(ctx, v, "r1", func(i Identity) error { id = i; return nil }); err != nil {
		t.Fatal(err)
	}
	wantState(t, l, v, "r1", id, Ours)
	wantState(t, l, v, "r2", id, Foreign)
	if n := deviceSize(t, v.Path); n != 12<<20 {
		t.Errorf("%s has %d bytes, want 12 MiB", v.Path, n)
	}
	pattern := fill(t, v)
	fixtures.Run(t, "lvchange", "--activate", "n", v.String()) // as after a boot without autoactivation
	if _, err := os.Stat(v.Path); err == nil {
		t.Errorf("%s is there and inactive", v.Path)
	}
	for range 2 {
		if err := l.Activate(ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, v, pattern)
	if err := l.Create(ctx, v, "r2", noClaim); !errors.Is(err, ErrExists) {
		t.Errorf("Create by another run = %v, want ErrExists", err)
	}
	if err := l.Remove(ctx, v, "r2", id); err != nil {
		t.Error(err)
	}
	holds(t, v, pattern)
	for range 2 {
		if err := l.Remove(ctx, v, "r1", id); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, v, "r1", id, Absent)
	}
	if _, err := os.Stat(v.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after Remove: %v", v.Path, err)
	}
	if now, err := l.Check(ctx, nil); err != nil || now.Free != facts.Free {
		t.Errorf("Check = %+v, %v; want all %d bytes free again", now, err, facts.Free)
	}
}

// TestLVMForeign has a volume of somebody else's in the way.
func TestLVMForeign(t *testing.T) {
	l, _ := labGroup(t, 1)
	fixtures.Run(t, "lvcreate", "--yes", "--extents", "2", "--name", "web", l.VG)
	v := lvmVolume(t, l, "web", 1<<20)
	pattern := fill(t, v)
	if err := l.Create(t.Context(), v, "r1", func(Identity) error { t.Error("claimed"); return nil }); !errors.Is(err, ErrExists) {
		t.Errorf("Create = %v, want ErrExists", err)
	}
	wantState(t, l, v, "r1", Identity{}, Foreign)
	if err := l.Remove(t.Context(), v, "r1", Identity{}); err != nil {
		t.Error(err)
	}
	holds(t, v, pattern)
	// It is made between our look and our lvcreate: lvcreate refuses.
	w := lvmVolume(t, l, "late", 1<<20)
	err := l.Create(t.Context(), w, "r1", func(Identity) error {
		fixtures.Run(t, "lvcreate", "--yes", "--extents", "1", "--name", "late", l.VG)
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("Create = %v, want that it exists", err)
	}
	wantState(t, l, w, "r1", Identity{}, Foreign)
}

func TestLVMFull(t *testing.T) {
	l, _ := labGroup(t, 1)
	facts, err := l.Check(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	v := lvmVolume(t, l, "big", facts.Free-4<<20+1) // the last extent, for one byte
	if err := l.Create(t.Context(), v, "r1", noClaim); err != nil {
		t.Fatal(err)
	}
	if n := deviceSize(t, v.Path); n != facts.Free {
		t.Errorf("%s has %d bytes, want %d", v, n, facts.Free)
	}
	w := lvmVolume(t, l, "small", 1)
	err = l.Create(t.Context(), w, "r1", func(Identity) error { t.Error("claimed"); return nil })
	if err == nil || !strings.Contains(err.Error(), "has 0 bytes free, but esxodus-lab/small needs 4194304") {
		t.Errorf("Create = %v, want that the group is full", err)
	}
	if err := l.Remove(t.Context(), v, "r1", Identity{}); err != nil {
		t.Fatal(err)
	}
	// The space goes between our look and our lvcreate.
	err = l.Create(t.Context(), w, "r1", func(Identity) error {
		fixtures.Run(t, "lvcreate", "--yes", "--extents", "100%FREE", "--name", "hog", l.VG)
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "nsufficient") {
		t.Errorf("Create = %v, want that the space is gone", err)
	}
	wantState(t, l, w, "r1", Identity{}, Absent)
}

// TestLVMStale has a volume come to lie where another was that held a file
// system and a volume group: udev must not see them, lvcreate must not ask.
func TestLVMStale(t *testing.T) {
	l, _ := labGroup(t, 1)
	ctx := t.Context()
	v := lvmVolume(t, l, "web", 32<<20)
	for _, mkfs := range [][]string{{"mkfs.ext4", "-q", "-F"}, {"mkswap"}, {"pvcreate", "--yes", "--config", "devices/scan_lvs=1"}} {
		if err := l.Create(ctx, v, "r1", noClaim); err != nil {
			t.Fatal(err)
		}
		fixtures.Run(t, append(mkfs, v.Path)...)
		if out := fixtures.Run(t, "wipefs", "--noheadings", "--no-act", v.Path); out == "" {
			t.Fatalf("%q left no signature: the test proves nothing", mkfs)
		}
		if err := l.Remove(ctx, v, "r1", Identity{}); err != nil {
			t.Fatal(err)
		}
		if err := l.Create(ctx, v, "r2", noClaim); err != nil {
			t.Fatal(err)
		}
		if out := fixtures.Run(t, "wipefs", "--noheadings", "--no-act", v.Path); out != "" {
			t.Errorf("after %q the new volume shows %q", mkfs, out)
		}
		if err := l.Remove(ctx, v, "r2", Identity{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLVMInUse(t *testing.T) {
	l, _ := labGroup(t, 1)
	v := lvmVolume(t, l, "web", 4<<20)
	if err := l.Create(t.Context(), v, "r1", noClaim); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(v.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(t.Context(), v, "r1", Identity{}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Remove of an open volume = %v, want that it is in use", err)
	}
	wantState(t, l, v, "r1", Identity{}, Ours)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context(), v, "r1", Identity{}); err != nil { // its tag goes, it stays
		t.Error(err)
	}
	if err := l.Remove(t.Context(), v, "r1", Identity{}); err != nil {
		t.Error(err)
	}
	wantState(t, l, v, "r1", Identity{}, Foreign)
}

func TestLVMGroups(t *testing.T) {
	l, disks := labGroup(t, 2)
	ctx := t.Context()
	v := lvmVolume(t, l, "web", 4<<20)
	refused := func(what, want string) {
		t.Helper()
		if _, err := l.Check(ctx, []Volume{v}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check of %s = %v, want %q", what, err, want)
		}
		if err := l.Create(ctx, v, "r1", noClaim); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Create in %s = %v, want %q", what, err, want)
		}
	}
	fixtures.Run(t, "vgexport", l.VG)
	refused("an exported group", "is exported: vgimport")
	fixtures.Run(t, "vgimport", l.VG)
	fixtures.Run(t, "wipefs", "--all", "--force", "--quiet", disks[1])
	fixtures.Run(t, "pvscan", "--cache")
	refused("a group that lacks a disk", "lacks a physical volume")
	l.VG = "esxodus-none"
	v = lvmVolume(t, l, "web", 4<<20)
	refused("no group", "this host has no volume group esxodus-none")
}

// TestLVMKilled has a process killed at any instant of Create and Remove, and
// checks that resume or rollback comes to the right end.
func TestLVMKilled(t *testing.T) {
	l, _ := labGroup(t, 1)
	ctx := t.Context()
	facts, err := l.Check(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := lvmVolume(t, l, "web", 8<<20)
	seen := map[State]int{}
	for i := range 12 {
		verb := []string{"create", "remove"}[i%2]
		if verb == "remove" {
			if err := l.Create(ctx, v, "r1", noClaim); err != nil {
				t.Fatal(err)
			}
		}
		killHelper(t, v, verb, time.Duration(rand.Int64N(int64(1500*time.Millisecond))))
		state, err := l.State(ctx, v, "r1", Identity{})
		if err != nil || state == Foreign {
			t.Fatalf("after a kill in %s: State = %q, %v", verb, state, err)
		}
		seen[state]++
		if state == Absent && i%4 < 2 { // resume
			if err := l.Create(ctx, v, "r1", noClaim); err != nil {
				t.Fatal(err)
			}
			state = Ours
		}
		if state == Ours {
			if err := l.Activate(ctx, v); err != nil {
				t.Fatal(err)
			}
			holds(t, v, fill(t, v))
		}
		if err := l.Remove(ctx, v, "r1", Identity{}); err != nil { // rollback
			t.Fatal(err)
		}
		if now, err := l.Check(ctx, nil); err != nil || now.Free != facts.Free {
			t.Errorf("Check = %+v, %v; want all %d bytes free again", now, err, facts.Free)
		}
	}
	t.Logf("found after kills: %v", seen)
}

// killHelper runs a verb in another process, and kills it and all that it
// started at an instant after the verb has begun.
func killHelper(t *testing.T, v Volume, verb string, after time.Duration) {
	t.Helper()
	begun := filepath.Join(t.TempDir(), "begun")
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperLVM$")
	cmd.Env = append(os.Environ(), "ESXODUS_TEST_VERB="+verb, "ESXODUS_TEST_VOLUME="+v.String(), "ESXODUS_TEST_BEGUN="+begun)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 5*time.Minute; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(begun); err == nil {
			break
		}
	}
	time.Sleep(after)
	_ = cmd.Process.Signal(unix.SIGSTOP) // so that it starts nothing while its children are counted
	time.Sleep(50 * time.Millisecond)
	left := children(t, cmd.Process.Pid)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	// As a power cut does, half of the times; else lvcreate goes on alone,
	// and is done before anyone can type resume.
	if rand.IntN(2) == 0 {
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	for _, pid := range left {
		for start := time.Now(); unix.Kill(pid, 0) == nil && time.Since(start) < 5*time.Minute; {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// children lists the processes that a process has started, from whichever of
// its threads.
func children(t *testing.T, parent int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var pid, ppid int
		var state string
		_, rest, _ := strings.Cut(string(b), ") ")
		if _, err := fmt.Sscan(string(b), &pid); err != nil {
			continue
		}
		if _, err := fmt.Sscan(rest, &state, &ppid); err == nil && ppid == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestHelperLVM is the process that TestLVMKilled kills.
func TestHelperLVM(t *testing.T) {
	verb := os.Getenv("ESXODUS_TEST_VERB")
	if verb == "" {
		t.Skip("not a test of its own")
	}
	vg, lv, _ := strings.Cut(os.Getenv("ESXODUS_TEST_VOLUME"), "/")
	l := LVM{VG: vg, Tool: host.Tool{}}
	v := lvmVolume(t, l, lv, 8<<20)
	if err := os.WriteFile(os.Getenv("ESXODUS_TEST_BEGUN"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if verb == "create" {
		err = l.Create(t.Context(), v, "r1", noClaim)
	} else {
		err = l.Remove(t.Context(), v, "r1", Identity{})
	}
	if err != nil {
		t.Error(err)
	}
}

// TestLVMOverlay has qemu-img make an overlay over a volume, and checks that the
// volume stays as it was.
func TestLVMOverlay(t *testing.T) {
	l, _ := labGroup(t, 1)
	fixtures.Tool(t, "qemu-img")
	v := lvmVolume(t, l, "web", 8<<20)
	if err := l.Create(t.Context(), v, "r1", noClaim); err != nil {
		t.Fatal(err)
	}
	pattern := fill(t, v)
	testOverlay(t, v.Path, deviceSize(t, v.Path))
	holds(t, v, pattern)
}
