package volume

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"esxodus/convert/host"
	"esxodus/disk"
	"esxodus/fixtures"
)

// labPool makes a thin pool of 64 MiB in a group whose extents are full of what was
// there before.
func labPool(t *testing.T) LVM {
	t.Helper()
	l, _ := labGroup(t, 1)
	fixtures.Run(t, "lvcreate", "--yes", "--size", "96m", "--name", "old", l.VG)
	fill(t, lvmVolume(t, l, "old", 96<<20))
	fixtures.Run(t, "lvremove", "--yes", l.VG+"/old")
	fixtures.Run(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "64m", "--chunksize", "64k", "--poolmetadatasize", "4m", "--name", "pool", l.VG)
	l.Pool = "pool"
	return l
}

func TestLVMThinLife(t *testing.T) {
	l := labPool(t)
	ctx := t.Context()
	v := lvmVolume(t, l, "web-1.disk", 130<<20+512) // more than the pool has
	facts, err := l.Check(ctx, []Volume{v})
	if err != nil || facts.Free != 64<<20 || facts.Volumes[0].Size != 132<<20 || *facts.Pool != (Pool{"esxodus-lab/pool", 64 << 20, 0, 64 << 10, facts.Pool.Metadata, true}) {
		t.Errorf("Check = %+v, %+v, %v", facts, facts.Pool, err)
	}
	if m := facts.Pool.Metadata; m <= 0 || m >= 4<<20 {
		t.Errorf("%d bytes are free of 4 MiB for metadata", m)
	}
	if err := l.Create(ctx, v, "r1", noClaim); err != nil {
		t.Fatal(err)
	}
	wantState(t, l, v, "r1", Identity{}, Ours)
	blank(t, l, v, 0)
	r, err := disk.OpenRaw(v.Path, true)
	if err != nil {
		t.Fatal(err)
	}
	r.Blank(0)
	_, err = r.WriteAt([]byte("data"), 70<<10)
	if err := errors.Join(err, r.Zero(0, 70<<10), r.Zero(71<<10, r.Size()-71<<10), r.Sync(), r.Close()); err != nil {
		t.Fatal(err)
	}
	blank(t, l, v, 128<<10) // one chunk, the second
	b, err := os.ReadFile(v.Path)
	if err != nil || len(b) != 132<<20 || string(bytes.Trim(b, "\x00")) != "data" {
		t.Errorf("the volume has %d bytes, and more than was written (%v)", len(b), err)
	}
	now, err := l.Check(ctx, nil)
	if err != nil || now.Pool.Virtual != 132<<20 || facts.Free-now.Free < 64<<10 || facts.Free-now.Free > 128<<10 {
		t.Errorf("Check = %+v, %+v, %v", now, now.Pool, err)
	}
	fixtures.Run(t, "lvchange", "--activate", "n", v.String())
	if err := l.Activate(ctx, v); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Remove(ctx, v, "r1", Identity{}); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, v, "r1", Identity{}, Absent)
	}
}

// blank wants nothing to be written from a byte on.
func blank(t *testing.T, l LVM, v Volume, want int64) {
	t.Helper()
	if from, ok, err := l.Blank(t.Context(), v); from != want || !ok || err != nil {
		t.Errorf("Blank = %d, %t, %v; want %d", from, ok, err, want)
	}
}

func TestLVMThinPools(t *testing.T) {
	l := labPool(t)
	pool := l.VG + "/pool"
	refused := func(want string) {
		t.Helper()
		if _, err := l.Check(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check = %v, want %q", err, want)
		}
	}
	fixtures.Run(t, "lvchange", "--zero", "n", pool)
	refused("lvchange --zero y " + pool)
	fixtures.Run(t, "lvchange", "--zero", "y", pool)
	fixtures.Run(t, "lvchange", "--activate", "n", pool)
	refused("isn't active")
	fixtures.Run(t, "lvchange", "--activate", "y", pool)
	fixtures.Run(t, "lvchange", "--errorwhenfull", "y", pool)
	if f, err := l.Check(t.Context(), nil); err != nil || f.Pool.Waits {
		t.Errorf("Check = %+v, %v", f.Pool, err)
	}
	l.Pool = "pond"
	refused("there is no thin pool")
	l = LVM{VG: l.VG, Tool: host.Tool{}}
	if _, ok, err := l.Blank(t.Context(), lvmVolume(t, l, "x", 1)); ok || err != nil {
		t.Errorf("Blank of a linear volume = %t, %v", ok, err)
	}
}
