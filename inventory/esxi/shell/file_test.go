package shell

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"esxodus/inventory/esxi"

	"esxodus/fixtures"
	fixture "esxodus/fixtures/esxi"
)

// flat is a disk of the built-in host, with a name that a shell would take apart.
const flat = "/vmfs/volumes/datastore1/Büro Nr. 5 (50% \"alt\")/Büro Nr. 5 (50% \"alt\")-flat.vmdk"

// reading opens a file over SSH, and gives its true content.
func reading(t *testing.T, h *fixture.Host, path string) (*File, []byte) {
	t.Helper()
	r := NewReader(config(h))
	r.pause = time.Millisecond
	t.Cleanup(func() { _ = r.Close() })
	f, err := r.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := h.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer truth.Close()
	want, err := io.ReadAll(io.NewSectionReader(truth, 0, truth.Size()))
	if err != nil || int64(len(want)) != f.Size() {
		t.Fatalf("%d bytes, %v; opened were %d", len(want), err, f.Size())
	}
	return f, want
}

func TestReader(t *testing.T) {
	h := start(t, fixture.Options{Builtin: true})
	f, want := reading(t, h, flat)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				off := rand.Int64N(int64(len(want)))
				p := make([]byte, rand.IntN(300<<10)+1)
				n, err := f.ReadAt(p, off)
				if wantN := min(len(p), len(want)-int(off)); n != wantN || errors.Is(err, io.EOF) != (n < len(p)) || n == len(p) && err != nil || !bytes.Equal(p[:n], want[off:off+int64(n)]) {
					t.Errorf("ReadAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
				}
			}
		})
	}
	wg.Wait()
	small, text := reading(t, h, "/vmfs/volumes/datastore1/web/web.vmdk")
	if err := iotest.TestReader(io.NewSectionReader(small, 0, small.Size()), text); err != nil {
		t.Error(err)
	}
	if logins := h.Stats().SSHLogins; logins != 2 {
		t.Errorf("%d logins for two readers", logins)
	}
}

// TestReaderGoesOn: what breaks or stalls is asked again from where it was.
func TestReaderGoesOn(t *testing.T) {
	for _, kind := range []fixture.Kind{fixture.Cut, fixture.Stall} {
		t.Run(string(kind), func(t *testing.T) {
			h := start(t, fixture.Options{Builtin: true})
			f, want := reading(t, h, flat)
			if kind == fixture.Stall {
				f.r.cfg.Stall = 2 * time.Second
				f.r.broken(f.r.client) // the next connection has it
			}
			h.Faults().Add(fixture.Fault{Kind: kind, Path: "flat", After: 100 << 10, Count: 9})
			p := make([]byte, 4<<20)
			if n, err := f.ReadAt(p, 1<<20); n != len(p) || !bytes.Equal(p, want[1<<20:5<<20]) {
				t.Errorf("ReadAt = %d, %v", n, err)
			}
			if hits := h.Faults().Hits(kind); hits != 9 {
				t.Errorf("the fault hit %d times", hits)
			}
			h.Faults().Clear()
			f.r.cfg.Stall = patience
			h.Faults().Add(fixture.Fault{Kind: fixture.Cut, Path: "flat"})
			if _, err := f.ReadAt(p, 0); err == nil || !strings.Contains(err.Error(), "gave up after 6 tries") {
				t.Errorf("a host that cuts each read = %v", err)
			}
		})
	}
}

func TestReaderErrors(t *testing.T) {
	dir := t.TempDir()
	if err := fixtures.SmallGuest(filepath.Join(dir, "small"), "small"); err != nil {
		t.Fatal(err)
	}
	h := start(t, fixture.Options{Dir: dir})
	f, _ := reading(t, h, "/vmfs/volumes/datastore1/small/small-flat.vmdk")
	p := make([]byte, 4096)
	h.Faults().Add(fixture.Fault{Kind: fixture.ShortBody, Path: "flat", After: 1000, Count: 1})
	if _, err := f.ReadAt(p, 0); !errors.Is(err, esxi.ErrProtocol) || !strings.Contains(err.Error(), "1000 of 4096") {
		t.Errorf("a dd that gives less = %v", err)
	}
	h.SetPower("small", true)
	if _, err := f.ReadAt(p, 0); !errors.Is(err, esxi.ErrLocked) {
		t.Errorf("a running VM's disk = %v", err)
	}
	h.SetPower("small", false)
	if err := os.Chtimes(filepath.Join(dir, "small/small-flat.vmdk"), time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(p, 0); !errors.Is(err, esxi.ErrChanged) {
		t.Errorf("a file that was written to = %v", err)
	}
	if _, err := f.r.Open(t.Context(), "/vmfs/volumes/datastore1/small/no.vmdk"); !errors.Is(err, esxi.ErrNotFound) {
		t.Errorf("a file that isn't there = %v", err)
	}
	wrong := config(h)
	wrong.Password = "wrong"
	r := NewReader(wrong)
	if _, err := r.Open(t.Context(), flat); !errors.Is(err, esxi.ErrLogin) || r.refused == nil {
		t.Errorf("a wrong password = %v, which must not be tried again", err)
	}
}

func TestDDRange(t *testing.T) {
	for _, tt := range []struct {
		off, length int64
		want        string
		skip        int64
	}{
		{0, 4 << 20, "bs=1048576 skip=0 count=4", 0},
		{8 << 20, 512, "bs=512 skip=16384 count=1", 0},
		{1000, 100, "bs=512 skip=1 count=2", 488},
		{65536, 196608, "bs=65536 skip=1 count=3", 0},
		{62 << 40, 4 << 20, "bs=1048576 skip=65011712 count=4", 0},
	} {
		argv, skip := ddRange("x", tt.off, tt.length)
		if got := strings.Join(argv[2:], " "); got != tt.want || skip != tt.skip {
			t.Errorf("ddRange(%d, %d) = %s, %d; want %s, %d", tt.off, tt.length, got, skip, tt.want, tt.skip)
		}
	}
}
