package shell

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"esxodus/inventory/esxi"

	"esxodus/fixtures"
	fixture "esxodus/fixtures/esxi"

	"golang.org/x/crypto/ssh"
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
	off := config(h)
	for addr, why := range map[string]error{"127.0.0.1:1": syscall.ECONNREFUSED, "224.0.0.1:22": syscall.ENETUNREACH} {
		off.Addr = addr
		never := NewReader(off) // it would wait for a second, and longer then
		if _, err := never.Open(t.Context(), "/vmfs/volumes/datastore1/small/small-flat.vmdk"); !errors.Is(err, errOff) || !errors.Is(err, why) {
			t.Errorf("where SSH is off: %v", err)
		}
	}
	wrong := config(h)
	wrong.Password = "wrong"
	r := NewReader(wrong)
	if _, err := r.Open(t.Context(), flat); !errors.Is(err, esxi.ErrLogin) || r.refused == nil {
		t.Errorf("a wrong password = %v, which must not be tried again", err)
	}
}

// talking is a host whose shell answers each command with what say returns.
func talking(t *testing.T, stall time.Duration, say func(command string) (stdout, stderr string, ok bool)) *Reader {
	t.Helper()
	addr, fingerprint := server(t, &ssh.ServerConfig{NoClientAuth: true}, func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		for r := range reqs {
			if r.Type != "exec" {
				continue
			}
			out, errs, ok := say(string(r.Payload[4:]))
			if !ok {
				continue
			}
			_ = r.Reply(true, nil)
			_, _ = ch.Write([]byte(out))
			_, _ = ch.Stderr().Write([]byte(errs))
			_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
			_ = ch.Close()
		}
	})
	r := NewReader(Config{Addr: addr, Password: "x", HostKeyFingerprint: fingerprint, Stall: stall})
	r.pause = time.Millisecond
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// TestReaderGreeted: a host that greets before each command's output would shift a
// disk's bytes.
func TestReaderGreeted(t *testing.T) {
	for name, extra := range map[string]string{"before": "Welcome\n", "": ""} {
		r := talking(t, patience, func(command string) (string, string, bool) {
			if strings.HasPrefix(command, "stat") {
				return "4096 7\n", "", true
			}
			return extra + strings.Repeat("x", 4096), "4096 7\n", true
		})
		f, err := r.Open(t.Context(), "/x")
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 4096)
		if n, err := f.ReadAt(p, 0); name == "" && err != nil || name != "" && !errors.Is(err, esxi.ErrProtocol) {
			t.Errorf("greeted %s: ReadAt = %d, %v", name, n, err)
		}
	}
}

// TestReaderWaits: who waits for the reads of others takes that for no stall, and
// breaks no connection that those have.
func TestReaderWaits(t *testing.T) {
	r := talking(t, 2*time.Second, func(string) (string, string, bool) { return "1 7\n", "1 7\n", true })
	f, err := r.Open(t.Context(), "/x")
	if err != nil {
		t.Fatal(err)
	}
	c := r.client
	for range maxChannels { // others read
		c.slots <- struct{}{}
	}
	done := make(chan error)
	go func() {
		_, err := f.ReadAt(make([]byte, 1), 0)
		done <- err
	}()
	time.Sleep(3 * time.Second)
	for range maxChannels {
		<-c.slots
	}
	if err := <-done; !errors.Is(err, esxi.ErrProtocol) { // "1 7" is no byte of the file
		t.Errorf("ReadAt = %v", err)
	}
	if r.client != c {
		t.Error("the connection of the others was closed")
	}
}

// TestReaderUnanswered: a host that opens a session and never starts the command in it
// holds nobody up.
func TestReaderUnanswered(t *testing.T) {
	r := talking(t, 300*time.Millisecond, func(string) (string, string, bool) { return "", "", false })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := r.Open(ctx, "/x")
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("it was opened")
		}
	case <-time.After(time.Minute):
		t.Error("it is still waited for")
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
		argv, skip, _ := ddRange("x", tt.off, tt.length)
		if got := strings.Join(argv[2:], " "); got != tt.want || skip != tt.skip {
			t.Errorf("ddRange(%d, %d) = %s, %d; want %s, %d", tt.off, tt.length, got, skip, tt.want, tt.skip)
		}
	}
}
