package disk_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
)

// TestPowerCut cuts the power in mid-copy, by the kernel's own record of what was
// written to a device, and flushed (dm-log-writes): whatever of the unflushed writes
// arrived, a resume with the digests of that moment ends in a copy that is
// bit-identical. What the digests say one checkpoint later doesn't hold at that
// moment: the test would see digests that run ahead of the disk.
func TestPowerCut(t *testing.T) {
	disks := fixtures.LabDisks(t, 2)
	const size = 10*disk.BlockSize + 512*77
	content := disktest.Content(size, 5)
	clear(content[4*disk.BlockSize : 6*disk.BlockSize])
	maps := disk.Whole(disk.FromReaderAt(bytes.NewReader(content), size))
	garbage(t, disks[0], size)
	l := logWrites(t, disks[0], disks[1], size)
	digests := filepath.Join(t.TempDir(), "digests")
	cuts := l.copied(t, digests, maps)
	entries := readLog(t, disks[1])
	if len(cuts) < 4 || len(entries) < len(cuts) {
		t.Fatalf("%d moments and %d writes are on record; want several", len(cuts), len(entries))
	}
	skipped, ahead := int64(0), 0
	for n := range cuts {
		for _, seed := range []uint64{0, 1} {
			replay(t, disks[0], size, entries, n, seed)
			st, err := resumed(t, disks[0], digests, cuts[n], maps)
			if err != nil {
				t.Fatalf("moment %d, seed %d: %v", n, seed, err)
			}
			skipped += st.Skipped
			compareDevice(t, fmt.Sprintf("moment %d, seed %d", n, seed), disks[0], content)
		}
		if n+1 == len(cuts) {
			continue
		}
		replay(t, disks[0], size, entries, n, 0)
		_, err := resumed(t, disks[0], digests, cuts[n+1], maps)
		if m := (*disk.MismatchError)(nil); errors.As(err, &m) {
			ahead++
		}
	}
	if skipped == 0 || ahead == 0 {
		t.Errorf("%d bytes didn't need to be copied again, digests ahead of the disk were seen %d times; want some of both", skipped, ahead)
	}
}

// garbage fills the start of a device with what was there before.
func garbage(t *testing.T, device string, size int) {
	t.Helper()
	writeDevice(t, device, bytes.Repeat([]byte{0x5a}, size), 0)
}

func writeDevice(t *testing.T, device string, b []byte, off int64) {
	t.Helper()
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(b, off)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func compareDevice(t *testing.T, when, device string, want []byte) {
	t.Helper()
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f, got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: byte %d is %#x; want %#x", when, i, got[i], want[i])
		}
	}
}

// logged is a device whose writes are logged.
type logged struct {
	*disk.Raw

	t       *testing.T
	name    string
	digests string
	cuts    [][]byte // the digest file at each moment, before what was written is on stable storage
}

// logWrites makes one of the first size bytes of a device.
func logWrites(t *testing.T, device, log string, size int) *logged {
	t.Helper()
	fixtures.Run(t, "modprobe", "dm-log-writes")
	l := &logged{t: t, name: "esxodus-logged"}
	fixtures.Run(t, "dmsetup", "create", l.name, "--table", fmt.Sprintf("0 %d log-writes %s %s", size/512, device, log))
	return l
}

// Sync notes the moment before it.
func (l *logged) Sync() error {
	b, err := os.ReadFile(l.digests)
	if err != nil {
		return err
	}
	fixtures.Run(l.t, "dmsetup", "message", l.name, "0", fmt.Sprintf("mark %d", len(l.cuts)))
	l.cuts = append(l.cuts, b)
	return l.Raw.Sync()
}

// copied copies to the device and returns the digest files of all moments.
func (l *logged) copied(t *testing.T, digests string, maps []disk.Mapping) [][]byte {
	t.Helper()
	raw, err := disk.OpenRaw("/dev/mapper/"+l.name, true)
	if err != nil {
		t.Fatal(err)
	}
	l.Raw, l.digests = raw, digests
	d, err := disk.CreateDigests(digests, "a", raw.Size(), maps)
	if err != nil {
		t.Fatal(err)
	}
	d.CheckpointEvery(2 * disk.BlockSize)
	_, err = disk.Copy(context.Background(), l, maps, disk.Options{Digests: d, Workers: 2})
	if err := errors.Join(err, d.Close(), raw.Close()); err != nil {
		t.Fatal(err)
	}
	fixtures.Run(t, "dmsetup", "remove", l.name)
	return l.cuts
}

// resumed goes on with a copy, with the digests of some moment, and verifies it.
func resumed(t *testing.T, device, path string, digests []byte, maps []disk.Mapping) (disk.Stats, error) {
	t.Helper()
	if err := os.WriteFile(path, digests, 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := disk.OpenRaw(device, true)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	dst := part{raw, maps[0].Length}
	d, err := disk.OpenDigests(path, "a", dst.Size(), maps)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	st, err := disk.Copy(context.Background(), dst, maps, disk.Options{Digests: d})
	if err == nil {
		_, err = disk.Verify(context.Background(), dst, maps, disk.Options{Digests: d})
	}
	return st, err
}

// part is the start of a disk.
type part struct {
	disk.Target

	size int64
}

func (p part) Size() int64 { return p.size }

// entry is a write of the log: a sector of its own, then its data
// (Documentation/admin-guide/device-mapper/log-writes.rst).
type entry struct {
	sector, sectors int64
	flags           uint64
	data            []byte // of a write
	mark            string
}

const (
	logFlush   = 1 << 0
	logDiscard = 1 << 2
	logMark    = 1 << 3
)

func readLog(t *testing.T, device string) (entries []entry) {
	t.Helper()
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	le, head := binary.LittleEndian, make([]byte, 512)
	if _, err := io.ReadFull(f, head); err != nil {
		t.Fatal(err)
	}
	if le.Uint64(head) != 0x6a736677736872 || le.Uint32(head[24:]) != 512 {
		t.Fatalf("%s is no log of writes in sectors of 512 bytes: % x", device, head[:32])
	}
	for range le.Uint64(head[16:]) {
		b := make([]byte, 512)
		if _, err := io.ReadFull(f, b); err != nil {
			t.Fatal(err)
		}
		e := entry{sector: int64(le.Uint64(b)), sectors: int64(le.Uint64(b[8:])), flags: le.Uint64(b[16:])}
		switch {
		case e.flags&logMark != 0:
			e.mark = strings.TrimRight(string(b[32:32+le.Uint64(b[24:])]), "\x00")
		case e.flags&logDiscard == 0:
			e.data = make([]byte, e.sectors*512)
			if _, err := io.ReadFull(f, e.data); err != nil {
				t.Fatal(err)
			}
		}
		entries = append(entries, e)
	}
	return entries
}

// replay makes a device what a power cut at a moment may have left: all that was
// flushed by then and, of what was written since, a part that the seed chooses, none
// for 0.
func replay(t *testing.T, device string, size int, entries []entry, moment int, seed uint64) {
	t.Helper()
	b := bytes.Repeat([]byte{0x5a}, size)
	end, flushed := 0, 0
	for i, e := range entries {
		if e.mark == fmt.Sprint(moment) {
			end = i
			break
		}
		if e.flags&logFlush != 0 {
			flushed = i
		}
	}
	r := rand.New(rand.NewPCG(seed, uint64(moment)))
	for i, e := range entries[:end] {
		if i > flushed && (seed == 0 || r.IntN(2) == 0) {
			continue
		}
		copy(b[min(e.sector*512, int64(size)):], e.data)
	}
	writeDevice(t, device, b, 0)
}
