package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"esxodus/convert/plan"
	"esxodus/convert/stage"
	fixture "esxodus/fixtures/esxi"
	"esxodus/inventory"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"

	"golang.org/x/crypto/ssh"
)

// licensed is a host that has the built-in VMs and grants leases, as a source that keeps
// what they bring in dir.
func licensed(t *testing.T, dir string) (*fixture.Host, *ESXi) {
	t.Helper()
	host, s := sourceOf(t, fixture.Options{Builtin: true, Licensed: true})
	s.Stage = stage.Dir{Path: dir, Host: host.URL()}
	s.askAgain = time.Millisecond
	return host, s
}

// byLease opens the first disk of a VM, and closes it again.
func byLease(t *testing.T, s *ESXi, vm string) error {
	t.Helper()
	h, err := s.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	vms, err := h.Select([]string{vm})
	if err != nil {
		t.Fatal(err)
	}
	return openLeased(t.Context(), s, vms[0].Disks[0])
}

func openLeased(ctx context.Context, s *ESXi, d inventory.Disk) error {
	_, closeImage, err := s.OpenDisk(ctx, plan.Origin{Path: d.Path, Way: plan.WayNFC, File: s.Stage.File(d.Path)})
	if err == nil {
		err = closeImage()
	}
	return err
}

// TestLeaseHosts: two hosts that call themselves, their datastores and their VMs the
// same may share a directory. Neither takes the other's disks for its own, nor do they
// drive each other's out.
func TestLeaseHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, sourceA := licensed(t, dir)
	b, sourceB := licensed(t, dir)
	for range 2 {
		for _, s := range []*ESXi{sourceA, sourceB} {
			if err := byLease(t, s, "web"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if x, y := a.Stats().NFCGET, b.Stats().NFCGET; x == 0 || x != y || a.Stats().Leases["completed"] != 1 || b.Stats().Leases["completed"] != 1 {
		t.Errorf("%d and %d streams, leases %v and %v; want one lease each", x, y, a.Stats().Leases, b.Stats().Leases)
	}
}

// TestLeaseLacks: what a lease leaves out is said before it streams the other disks.
func TestLeaseLacks(t *testing.T) {
	t.Parallel()
	host, s := licensed(t, t.TempDir())
	host.SetPower("db", false)
	host.Faults().Leases(fixture.LeaseFault{Without: "scsi1:15"})
	if err := byLease(t, s, "db"); !errors.Is(err, esxi.ErrNotFound) || !strings.Contains(fmt.Sprint(err), "scsi1:15") {
		t.Errorf("OpenDisk = %v", err)
	}
	if st := host.Stats(); st.NFCGET != 0 || st.Leases["aborted"] != 1 {
		t.Errorf("%d streams, leases %v", st.NFCGET, st.Leases)
	}
}

// TestLeaseBroken: a stream that breaks is begun again under the same lease, and what had
// come isn't written again; one that breaks each time is given up.
func TestLeaseBroken(t *testing.T) {
	t.Parallel()
	for _, kind := range []fixture.Kind{fixture.Cut, fixture.NoEnd} {
		host, s := licensed(t, t.TempDir())
		host.Faults().Add(fixture.Fault{Kind: kind, Path: "/nfc/", After: 10 << 10, Count: streamTries - 1})
		if err := byLease(t, s, "web"); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if st := host.Stats(); st.Leases["completed"] != 1 || len(st.Leases) != 1 || st.NFCGET < streamTries {
			t.Errorf("%s: %d streams, leases %v", kind, st.NFCGET, st.Leases)
		}
	}
	host, s := licensed(t, t.TempDir())
	host.Faults().Add(fixture.Fault{Kind: fixture.Cut, Path: "/nfc/", After: 10 << 10})
	if err := byLease(t, s, "web"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("OpenDisk = %v", err)
	}
	if st := host.Stats(); st.NFCGET != streamTries || st.Leases["aborted"] != 1 {
		t.Errorf("%d streams, leases %v; want %d", st.NFCGET, st.Leases, streamTries)
	}
}

// atStep is a [Progress] that does something when a step is announced.
type atStep struct{ do func(what string) }

func (a atStep) Begin(string, string, int64) (func(int64), func()) { return func(int64) {}, func() {} }
func (a atStep) Step(_, what string)                               { a.do(what) }

// TestLeaseRunning: another lease is waited for, not a VM that somebody has started.
func TestLeaseRunning(t *testing.T) {
	t.Parallel()
	host, s := licensed(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Progress = atStep{func(what string) {
		t.Errorf("it says: %s", what)
		cancel()
	}}
	h, err := s.Inventory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	vms, err := h.Select([]string{"web"})
	if err != nil {
		t.Fatal(err)
	}
	host.SetPower("web", true)
	if err := openLeased(ctx, s, vms[0].Disks[0]); !errors.Is(err, esxi.ErrNotOff) {
		t.Errorf("OpenDisk = %v; want %v", err, esxi.ErrNotOff)
	}
}

// TestLeaseMeanwhile: what happens to a VM while its lease is waited for counts: here
// somebody makes a snapshot.
func TestLeaseMeanwhile(t *testing.T) {
	t.Parallel()
	host, s := licensed(t, t.TempDir())
	client, err := s.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other, err := client.Export(t.Context(), host.ID("web"))
	if err != nil {
		t.Fatal(err)
	}
	s.Progress = atStep{func(string) {
		if err := errors.Join(other.Close(t.Context()), snapshot(t, host, "web")); err != nil {
			t.Error(err)
		}
	}}
	if err := byLease(t, s, "web"); err == nil || !strings.Contains(err.Error(), "has this disk any more") {
		t.Errorf("OpenDisk = %v", err)
	}
	if st := host.Stats(); st.NFCGET != 0 {
		t.Errorf("%d streams", st.NFCGET)
	}
}

// snapshot makes one on the host's shell.
func snapshot(t *testing.T, host *fixture.Host, vm string) error {
	t.Helper()
	c, err := shell.Dial(t.Context(), shell.Config{
		Addr: host.SSHAddr(), User: host.User(), Password: esxi.Secret(host.Password()), HostKeyFingerprint: ssh.FingerprintSHA256(host.SSHHostKey()),
	})
	if err != nil {
		return err
	}
	_, err = c.Run(t.Context(), "vim-cmd", "vmsvc/snapshot.create", host.ID(vm), "before", "", "0", "0")
	return errors.Join(err, c.Close())
}
