package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// thinPool makes a pool in the group and has conversions put their volumes into it.
func thinPool(t *testing.T, args func(...string) []string) func(...string) []string {
	t.Helper()
	tool(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "64m", "--chunksize", "64k", "--poolmetadatasize", "4m", "--name", "pool", group)
	return func(more ...string) []string {
		all := args(more...)
		all[slices.Index(all, "--storage")+1] = "lvm:" + group + "/pool"
		return all
	}
}

// foreign makes a thin volume of somebody's, larger than the pool.
func foreign(t *testing.T) (device string) {
	t.Helper()
	tool(t, "lvcreate", "--yes", "--type", "thin", "--virtualsize", "128m", "--thinpool", "pool", "--name", "foreign", group)
	return filepath.Join("/dev", group, "foreign")
}

// wantVolumes compares the group's volumes with those that it should have.
func wantVolumes(t *testing.T, want ...string) {
	t.Helper()
	if got := volumes(t); !slices.Equal(got, want) {
		t.Fatalf("volumes = %q, want %q", got, want)
	}
}

// taken is what a thin volume takes of its pool, in bytes.
func taken(t *testing.T, device string) int64 {
	t.Helper()
	real, err := filepath.EvalSymlinks(device)
	if err != nil {
		t.Fatal(err)
	}
	name, err := os.ReadFile("/sys/class/block/" + filepath.Base(real) + "/dm/name")
	if err != nil {
		t.Fatal(err)
	}
	sectors, err := strconv.ParseInt(strings.Fields(tool(t, "dmsetup", "status", strings.TrimSpace(string(name))))[3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return sectors * 512
}

// TestLVMThin: a whole migration to a thin volume, which stays thin, also where the
// copy was killed; its boot proof, verification, growth, rollback and commit.
func TestLVMThin(t *testing.T) {
	l, device, args := onGroup(t)
	args = thinPool(t, args)
	foreign(t)
	r := l.run(exitDone, args()...)
	if !strings.Contains(r.out, "login prompt") || !strings.Contains(r.out+r.err, "target.overcommit") {
		t.Errorf("no proof by a login prompt, or no word of what the pool promises, in:\n%s\n%s", r.out, r.err)
	}
	l.thin(device)
	l.verifiedSource(fixtures.SmallDisk)
	tool(t, "lvextend", "--size", "+8m", group+"/"+filepath.Base(device))
	b, err := os.ReadFile(device)
	if err != nil || len(b) != fixtures.SmallDisk+8<<20 || len(bytes.Trim(b[fixtures.SmallDisk:], "\x00")) > 0 {
		t.Errorf("after it grew it has %d bytes (%v), want 8 MiB of zeros more", len(b), err)
	}
	l.run(exitDone, l.again("rollback")...)
	wantVolumes(t, "foreign", "pool")

	l.hold(l.vm)
	served := l.served()
	p := l.start(args("--no-proof")...)
	p.until("some of the copy", func() bool { return slices.Contains(l.events(), "begin copy") && l.served() > served+2<<20 })
	p.kill()
	l.host.Faults().Clear()
	l.run(exitDone, l.again("resume")...)
	l.thin(device)
	l.run(exitDone, "commit", l.vm)
	wantVolumes(t, filepath.Base(device), "foreign", "pool")
}

// thin wants a volume that is the small guest's disk, and takes space for what that
// has of data, 3 MiB and a sector.
func (l *lab) thin(device string) {
	l.t.Helper()
	l.sameDisk(l.flat(), device)
	if n := taken(l.t, device); n < 3<<20 || n > 4<<20 {
		l.t.Errorf("%s takes %d bytes of its pool, want those of its data", device, n)
	}
}

// TestLVMThinRefuses: a pool that would show what others wrote, one that lacks the
// space, and no pool.
func TestLVMThinRefuses(t *testing.T) {
	l, _, args := onGroup(t)
	args = thinPool(t, args)
	device := foreign(t)
	refused := func(code int, want string) {
		t.Helper()
		if r := l.run(code, args()...); !strings.Contains(unwrapped(r.out+r.err), want) {
			t.Errorf("want %q in:\n%s\n%s", want, r.out, r.err)
		}
		wantVolumes(t, "foreign", "pool")
	}
	r := l.start("doctor", "--storage", "lvm:"+group+"/pool").wait() // it has its own view of the lab
	for _, want := range []string{"thin pool " + group + "/pool: 64 MiB of 64 MiB free, in chunks of 64 KiB; its volumes have 128 MiB", "may take more than it has", "--errorwhenfull y"} {
		if !strings.Contains(unwrapped(r.out), want) {
			t.Errorf("doctor: want %q in:\n%s", want, r.out)
		}
	}
	tool(t, "lvchange", "--zero", "n", group+"/pool")
	refused(exitFailed, "lvchange --zero y "+group+"/pool")
	tool(t, "lvchange", "--zero", "y", group+"/pool")

	tool(t, "dd", "if=/dev/urandom", "of="+device, "bs=1M", "count=44", "oflag=direct")
	refused(exitPreflight, "target.space")
	tool(t, "lvremove", "--yes", group+"/foreign")
	tool(t, "lvcreate", "--yes", "--extents", "1", "--name", "foreign", group)
	tool(t, "lvremove", "--yes", group+"/pool")
	tool(t, "lvcreate", "--yes", "--extents", "1", "--name", "pool", group)
	refused(exitFailed, "is no thin pool, but linear")
}

// TestLVMThinFull: a pool that fills up in mid-copy undoes the run, whether its writes
// fail at once or wait first.
func TestLVMThinFull(t *testing.T) {
	const timeout = "/sys/module/dm_thin_pool/parameters/no_space_timeout"
	l, device, args := onGroup(t)
	args = thinPool(t, args)
	if err := os.WriteFile(timeout, []byte("5"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(timeout, []byte("60"), 0o600) })
	for _, atOnce := range []string{"y", "n"} {
		tool(t, "lvchange", "--errorwhenfull", atOnce, group+"/pool")
		other := foreign(t)
		r := l.midway(args("--no-proof"), func() {
			out, err := exec.Command("dd", "if=/dev/urandom", "of="+other, "bs=64k", "oflag=direct").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "No space left") {
				t.Fatalf("the pool isn't full: %v: %s", err, out)
			}
		})
		text := unwrapped(r.err)
		for _, want := range []string{device, "the thin pool " + group + "/pool is full", "removed"} {
			if !strings.Contains(text, want) {
				t.Errorf("errorwhenfull %s: want %q in:\n%s", atOnce, want, r.err)
			}
		}
		wantVolumes(t, "foreign", "pool")
		tool(t, "lvremove", "--yes", group+"/foreign")
	}
}

// midway does something while a copy is held, and wants it to fail after that.
func (l *lab) midway(args []string, do func()) result {
	l.t.Helper()
	if err := os.RemoveAll(filepath.Dir(l.journal())); err != nil { // of the round before
		l.t.Fatal(err)
	}
	l.hold(l.vm)
	p := l.start(args...)
	p.until("the copy", func() bool { return slices.Contains(l.events(), "begin copy") })
	do()
	l.host.Faults().Clear()
	return p.want(exitFailed)
}

// TestLVMBroken: a device that fails in mid-copy undoes the run, with its name.
func TestLVMBroken(t *testing.T) {
	l, device, args := onGroup(t)
	disk := tool(t, "vgs", "--noheadings", "-o", "pv_name", group)
	tool(t, "vgremove", group)
	tool(t, "pvremove", disk)
	sectors, err := strconv.ParseInt(tool(t, "blockdev", "--getsz", disk), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	const weak, start = "esxodus-weak", 16 << 11 // or LVM would find the group on the disk as well
	sectors -= start
	tool(t, "dmsetup", "create", weak, "--table", fmt.Sprintf("0 %d linear %s %d", sectors, disk, start))
	t.Cleanup(func() {
		_ = exec.Command("vgchange", "--activate", "n", group).Run()
		_ = exec.Command("dmsetup", "remove", "--retry", weak).Run()
	})
	tool(t, "vgcreate", group, "/dev/mapper/"+weak)
	r := l.midway(args("--no-proof"), func() {
		const sound = 8 << 11 // the group's metadata, and some of the volume
		table := fmt.Sprintf("0 %d linear %s %d\n%d %d error\n", sound, disk, start, sound, sectors-sound)
		tool(t, "dmsetup", "suspend", "--noflush", weak)
		load := exec.Command("dmsetup", "load", weak)
		load.Stdin = strings.NewReader(table)
		if out, err := load.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		tool(t, "dmsetup", "resume", weak)
	})
	for _, want := range []string{device, "input/output error", "removed"} {
		if !strings.Contains(unwrapped(r.err), want) {
			t.Errorf("want %q in:\n%s", want, r.err)
		}
	}
	wantVolumes(t)
}

// usedGuest makes a guest whose disk, no whole number of extents long, has a
// partition with an ext4 that is full of what was there before it, and zeros.
func usedGuest(t *testing.T, dir, name string) (disk []byte) {
	t.Helper()
	const mib, size, first, end = 1 << 20, 41<<20 + 3*512, 1 << 20, 33 << 20
	f := largeGuest(t, dir, name, size)
	disk = bytes.Repeat([]byte("OLD-DATA"), size/8)
	clear(disk[:first])
	clear(disk[36*mib : 38*mib])
	table := disk[446:512]
	table[4] = 0x83
	binary.LittleEndian.PutUint32(table[8:], first/512)
	binary.LittleEndian.PutUint32(table[12:], (end-first)/512)
	table[64], table[65] = 0x55, 0xaa

	work := t.TempDir()
	image, files := filepath.Join(work, "image"), filepath.Join(work, "files")
	random := make([]byte, 3*mib)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random) // never fails
	if err := os.WriteFile(image, disk[first:end], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "data"), random, 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard", "-d", files, image)
	part, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	copy(disk[first:end], part)
	if _, err := f.WriteAt(disk, 0); err != nil {
		t.Fatal(err)
	}
	return disk
}

// TestLVMLeftover: of what lay on the group's extents before no byte can be read from a
// volume, be it where the disk is zero or unused or behind its end.
func TestLVMLeftover(t *testing.T) {
	dir, vm := fixtures.OpenDir(t), uniqueName("u")
	disk := usedGuest(t, filepath.Join(dir, vm), vm)
	for _, thin := range []bool{false, true} {
		t.Run(fmt.Sprintf("thin %t", thin), func(t *testing.T) {
			newGroup(t)
			l := newLab(t, esxi.Options{Dir: dir})
			l.vm = vm
			args := func(more ...string) []string {
				all := l.convert(more...)
				all[slices.Index(all, "--storage")+1] = "lvm:" + group
				return all
			}
			if thin {
				args = thinPool(t, args)
			}
			l.run(exitDone, args("--no-proof", "--layout", "keep")...)
			device := filepath.Join("/dev", group, vm+"_scsi0-0")
			got, err := os.ReadFile(device)
			if err != nil {
				t.Fatal(err)
			}
			left := staysZero(t, got, disk)
			if left < 20<<20 {
				t.Errorf("%d bytes were left out: the test proves little", left)
			}
			if !thin {
				return
			}
			if n := taken(t, device); n > int64(len(disk))-left {
				t.Errorf("the thin volume takes %d bytes, but only %d were copied", n, int64(len(disk))-left)
			}
		})
	}
}

// staysZero counts the bytes of the disk that are zeros on its volume, and wants all else
// of the volume the same, and zeros behind the disk's end.
func staysZero(t *testing.T, volume, disk []byte) (n int64) {
	t.Helper()
	if want := (len(disk) + 4<<20 - 1) &^ (4<<20 - 1); len(volume) != want {
		t.Errorf("the volume has %d bytes, want %d", len(volume), want)
	}
	zeros := make([]byte, 512)
	for at := 0; at < len(volume); at += 512 {
		is, was := volume[at:at+512], zeros
		if at < len(disk) {
			was = disk[at : at+512]
		}
		switch {
		case bytes.Equal(is, was):
		case bytes.Equal(is, zeros):
			n += 512
		default:
			t.Fatalf("sector %d holds %q, which is neither the disk's nor zeros", at/512, is[:32])
		}
	}
	return n
}
