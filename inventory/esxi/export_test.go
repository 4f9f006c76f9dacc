package esxi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
	"esxodus/inventory"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"go.uber.org/goleak"

	fixture "esxodus/fixtures/esxi"
)

// exportOf gets a lease on a VM, which the test closes.
func exportOf(t *testing.T, h *fixture.Host, c *Client, vm string) *Export {
	t.Helper()
	x, err := c.Export(t.Context(), h.ID(vm))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close(context.WithoutCancel(t.Context())) })
	return x
}

// drain reads a disk's stream to its end.
func drain(t *testing.T, x *Export, d inventory.Disk) ([]byte, error) {
	t.Helper()
	r, err := x.Open(t.Context(), d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// sameDisk compares a stream with the disk as its VM sees it.
func sameDisk(t *testing.T, h *fixture.Host, d inventory.Disk, stream []byte) {
	t.Helper()
	f, err := h.Disk(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fixtures.AsRaw(t, stream), want) {
		t.Errorf("%s: the stream isn't the disk that the VM sees", d.Path)
	}
}

// ends compares how leases ended.
func ends(t *testing.T, h *fixture.Host, want string) {
	t.Helper()
	if got := fmt.Sprint(h.Stats().Leases); got != "map["+want+"]" {
		t.Errorf("the host's leases ended %s; want %s", got, want)
	}
}

// await looks until something has happened.
func await(t *testing.T, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Error("it doesn't happen")
			return
		}
	}
}

// TestExport reads all disks of all VMs that are off.
func TestExport(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
	c := dialHost(t, h)
	host, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	vms, disks := 0, 0
	for _, vm := range host.VMs {
		if vm.Power != inventory.PoweredOff || len(vm.Disks) == 0 {
			continue
		}
		x := exportOf(t, h, c, vm.Name)
		want := slices.DeleteFunc(slices.Clone(vm.Disks), func(d inventory.Disk) bool { return d.Format == inventory.FormatRawPhysical })
		byPlace := func(d inventory.Disk) string {
			return fmt.Sprintf("%d %s %s %d", d.Key, d.Address(), d.Path, d.Capacity)
		}
		var listed, have []string
		for _, d := range x.Disks() {
			listed = append(listed, byPlace(d))
		}
		for _, d := range want {
			have = append(have, byPlace(d))
			b, err := drain(t, x, d)
			if err != nil {
				t.Fatal(err)
			}
			sameDisk(t, h, d, b)
			disks++
		}
		slices.Sort(listed)
		slices.Sort(have)
		if !slices.Equal(listed, have) {
			t.Errorf("%s: the lease lists %q; want %q", vm.Name, listed, have)
		}
		if err := x.Verify(t.Context()); err != nil {
			t.Errorf("%s: Verify: %v", vm.Name, err)
		}
		if err := errors.Join(x.Close(t.Context()), x.Close(t.Context())); err != nil {
			t.Errorf("%s: Close: %v", vm.Name, err)
		}
		vms++
	}
	if disks < 12 {
		t.Errorf("%d disks read; want 12 at least", disks)
	}
	ends(t, h, fmt.Sprintf("completed:%d", vms))
	if s := h.Stats(); s.BasicAuths > 0 || s.SOAP["HttpNfcLeaseAbort"] > 0 {
		t.Errorf("%d passwords sent, %d leases aborted; want none", s.BasicAuths, s.SOAP["HttpNfcLeaseAbort"])
	}
}

// TestExportObjects: disks on vSAN and vVols, of which no file can be read.
func TestExportObjects(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range []string{"vsan", "vvol"} {
		makeDisk(t, filepath.Join(dir, kind), 8<<20)
		if err := os.WriteFile(filepath.Join(dir, kind, "vm.json"), []byte(`{"objects": "`+kind+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := startHost(t, fixture.Options{Dir: dir, Licensed: true})
	c := dialHost(t, h)
	for _, kind := range []string{"vsan", "vvol"} {
		x := exportOf(t, h, c, kind)
		d := x.Disks()[0]
		if b, err := c.ReadFile(t.Context(), d.Path, 64<<10); err != nil || !strings.Contains(string(b), kind+"://") {
			t.Errorf("descriptor %s: %v\n%s", d.Path, err, b)
		}
		if _, err := c.Open(t.Context(), strings.Replace(d.Path, ".vmdk", "-flat.vmdk", 1)); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open of %s's data = %v; want %v", kind, err, ErrNotFound)
		}
		b, err := drain(t, x, d)
		if err != nil {
			t.Fatal(err)
		}
		sameDisk(t, h, d, b)
	}
}

// TestExportRefused: what a host says instead of a lease.
func TestExportRefused(t *testing.T) {
	free := startHost(t, fixture.Options{Builtin: true})
	h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
	s := newSim(t, func(m *simulator.Model) { m.Map().Any("VirtualMachine") })
	s.faults["ExportVm"] = []types.BaseMethodFault{&types.NoPermission{PrivilegeId: PrivilegeExport}, &types.FileLocked{}}
	c := dialHost(t, h)
	exportOf(t, h, c, "web")
	for _, tt := range []struct {
		name string
		c    *Client
		vm   string
		want error
		says string
	}{
		{"free licence", dialHost(t, free), free.ID("web"), ErrRestricted, "read its disks by HTTPS or SSH"},
		{"running", c, h.ID("db"), ErrNotOff, "it is powered on: shut it down first"},
		{"suspended", c, h.ID("sleeper"), ErrNotOff, "it is suspended: shut it down first"},
		{"exported already", c, h.ID("web"), ErrLocked, "another export"},
		{"no such VM", c, "4711", ErrNotFound, "VM 4711"},
		{"no permission", dialSim(t, s), "x", ErrPermission, PrivilegeExport},
		{"a file is locked", dialSim(t, s), "x", ErrLocked, "another export"},
	} {
		x, err := tt.c.Export(t.Context(), tt.vm)
		if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.says) || x != nil {
			t.Errorf("%s: Export = %v, %v; want %v with %q", tt.name, x, err, tt.want, tt.says)
		}
	}
	if free.Stats().SOAP["HttpNfcLeaseAbort"] > 0 {
		t.Error("a lease that was refused is aborted")
	}
}

// TestExportList: what the host lists, right and wrong.
func TestExportList(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
	c := dialHost(t, h)
	item := func(key, url string, disk *bool) fixture.LeaseFault {
		return fixture.LeaseFault{Extra: []types.HttpNfcLeaseDeviceUrl{{Key: key, Url: url, Disk: disk}}, Without: "scsi0:1"}
	}
	const second = "/vm/VirtualLsiLogicSASController0:1"
	here := strings.TrimPrefix(h.URL(), "https://")
	_, port, _ := strings.Cut(here, ":")
	for _, tt := range []struct {
		name  string
		fault fixture.LeaseFault
		want  error
		says  string
		disks int
	}{
		{"an ISO image", item("/vm/VirtualAHCIController0:0", "https://*/nfc/TICKET/disk-9.iso", new(false)), nil, "", 1},
		{"what doesn't say what it is", item("/vm/nvram", "https://*/nfc/TICKET/disk-9.nvram", nil), nil, "", 1},
		{"a disk that doesn't say so", item(second, "https://*/nfc/TICKET/disk-0.vmdk", nil), nil, "", 2},
		{"sizes, and another thumbprint", fixture.LeaseFault{FileSize: 1 << 62, Thumbprint: "00:11"}, nil, "", 2},
		{"this host by its name", fixture.LeaseFault{Host: here}, nil, "", 2},
		{"another host", fixture.LeaseFault{Host: "evil.example.net"}, nil, "", 2},
		{"another host, the same port", fixture.LeaseFault{Host: "evil.example.net:" + port}, nil, "", 2},
		{"this host and port", fixture.LeaseFault{Host: "*:" + port}, nil, "", 2},
		{"another port of this host", fixture.LeaseFault{Host: "127.0.0.1:1"}, nil, "", 2},
		{"another port", fixture.LeaseFault{Host: "*:1"}, nil, "", 2},
		{"no TLS", item(second, "http://*/nfc/TICKET/disk-0.vmdk", nil), ErrProtocol, "want one of https", 0},
		{"a user", item(second, "https://a:b@*/nfc/TICKET/disk-0.vmdk", nil), ErrProtocol, "want one of https without a user", 0},
		{"another place", item(second, "https://*/folder/x", nil), ErrProtocol, "below /nfc", 0},
		{"out of its place", item(second, "https://*/nfc/../folder/x", nil), ErrProtocol, "below /nfc", 0},
		{"no URL", item(second, "https://%zz/", nil), ErrProtocol, "a URL that is none", 0},
		{"a disk twice", item("/vm/VirtualLsiLogicSASController0:0", "https://*/nfc/TICKET/disk-0.vmdk", new(true)), ErrProtocol, "twice", 0},
		{"a disk that the VM lacks", item("/vm/VirtualLsiLogicSASController0:9", "https://*/nfc/TICKET/disk-0.vmdk", new(true)), ErrProtocol, "the VM has none there", 0},
		{"a controller of another type", item("/vm/ParaVirtualSCSIController0:1", "https://*/nfc/TICKET/disk-0.vmdk", new(true)), ErrProtocol, "the VM has none there", 0},
		{"far too many", fixture.LeaseFault{Extra: make([]types.HttpNfcLeaseDeviceUrl, maxItems)}, ErrProtocol, "lists 1027 files", 0},
	} {
		h.Faults().Leases(tt.fault)
		x, err := c.Export(t.Context(), h.ID("win2019"))
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil || !strings.Contains(fmt.Sprint(err), tt.says) {
			t.Errorf("%s: Export = %v; want %v with %q", tt.name, err, tt.want, tt.says)
		}
		if h.Leased("win2019") != (tt.want == nil) {
			t.Errorf("%s: the host holds the VM: %t", tt.name, h.Leased("win2019"))
		}
		if err != nil {
			continue
		}
		if len(x.Disks()) != tt.disks {
			t.Errorf("%s: %d disks; want %d", tt.name, len(x.Disks()), tt.disks)
		}
		for _, d := range x.Disks() {
			if _, err := drain(t, x, d); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		if err := x.Close(t.Context()); err != nil {
			t.Errorf("%s: Close: %v", tt.name, err)
		}
	}
	h.Faults().Leases(fixture.LeaseFault{Without: "scsi0:1"})
	x := exportOf(t, h, c, "win2019")
	if _, err := x.Open(t.Context(), inventory.Disk{Class: "scsi", Unit: 1}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "disk scsi0:1: not found: the host's export leaves it out") {
		t.Errorf("Open of a disk that isn't listed = %v; want %v", err, ErrNotFound)
	}
	if _, err := x.Open(t.Context(), inventory.Disk{Class: "scsi", Capacity: 512}); !errors.Is(err, ErrChanged) {
		t.Errorf("Open of a disk of another size = %v; want %v", err, ErrChanged)
	}
}

// TestStreamFaults: a stream that breaks is an error, and can be had again.
func TestStreamFaults(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
	c := dialHost(t, h)
	for _, tt := range []struct {
		fault fixture.Fault
		want  error // nil: what it reads is whole or ends in order
		says  string
		size  int // bytes read; 0: all
	}{
		{fixture.Fault{Kind: fixture.Cut, After: 70000, Count: 1}, io.ErrUnexpectedEOF, "disk scsi0:0: after 70000 bytes of its stream", 70000},
		{fixture.Fault{Kind: fixture.Stall, After: 70000, Count: 1}, ErrStalled, "nothing arrived for", 70000},
		{fixture.Fault{Kind: fixture.ShortBody, After: 70000, Count: 1}, nil, "", 70000},
		{fixture.Fault{Kind: fixture.Status, Code: 503, Count: 2}, nil, "", 0},
		{fixture.Fault{Kind: fixture.Refuse, Count: 2}, nil, "", 0},
		{fixture.Fault{Kind: fixture.Status, Code: 404, Count: 1}, ErrNotFound, "", 0},
		{fixture.Fault{Kind: fixture.Status, Code: 403, Count: 1}, ErrPermission, "", 0},
		{fixture.Fault{Kind: fixture.Status, Code: 401, Count: 1}, nil, "", 0},
	} {
		name := fmt.Sprintf("%s %d", tt.fault.Kind, tt.fault.Code)
		h.Faults().Clear()
		x := exportOf(t, h, c, "snapped")
		d := x.Disks()[0]
		whole, err := drain(t, x, d)
		if err != nil {
			t.Fatal(err)
		}
		if tt.fault.Kind == fixture.Stall {
			x.silence = 100 * time.Millisecond
		}
		tt.fault.Path = "/nfc/"
		h.Faults().Add(tt.fault)
		want := whole
		if tt.size > 0 {
			want = whole[:tt.size]
		}
		got, err := drain(t, x, d)
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil || !strings.Contains(fmt.Sprint(err), tt.says) {
			t.Errorf("%s: the stream ends with %v; want %v with %q", name, err, tt.want, tt.says)
		}
		if (tt.want == nil || tt.size > 0) && !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes read; want %d, or they differ", name, len(got), len(want))
		}
		x.silence = patience
		if got, err := drain(t, x, d); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: the stream, opened again: %d bytes, %v; want %d", name, len(got), err, len(whole))
		}
		if err := x.Close(t.Context()); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
	}
	ends(t, h, "aborted:7") // the second disk wasn't read; the last lease went with its session
}

// stalled begins to read a stream that doesn't go on, of a host whose leases
// last so long without a word.
func stalled(t *testing.T, lease time.Duration) (*fixture.Host, *Client, *Export, io.ReadCloser) {
	t.Helper()
	h := startHost(t, fixture.Options{Builtin: true, Licensed: true, LeaseTimeout: lease})
	c := dialHost(t, h)
	h.Faults().Add(fixture.Fault{Kind: fixture.Stall, Path: "/nfc/", After: 70000})
	x := exportOf(t, h, c, "web")
	r, err := x.Open(t.Context(), x.Disks()[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if _, err := io.ReadFull(r, make([]byte, 70000)); err != nil {
		t.Fatal(err)
	}
	return h, c, x, r
}

// TestLeaseLost: streams end with the lease, and say why.
func TestLeaseLost(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lease time.Duration
		lose  func(*fixture.Host)
		says  string
		ends  string
	}{
		{"the host ends it", time.Hour, func(h *fixture.Host) { h.Faults().ExpireLease("web") }, `the host ended it: "The operation timed out." (Timedout)`, "expired:1"},
		{"it can't be renewed", 4 * time.Second, func(h *fixture.Host) { h.Faults().SOAPStatus("HttpNfcLeaseProgress", 503, 0, 0) }, "the lease on the VM is lost", ""},
		{"the host forgets it", time.Hour, func(h *fixture.Host) {
			h.Faults().ExpireSessions()
			h.Faults().ExpireLease("web")
		}, "the host has it no more", "expired:1"},
		{"its session ends", 4 * time.Second, func(h *fixture.Host) { h.Faults().ExpireSessions() }, "the host has it no more", "expired:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, _, x, r := stalled(t, tt.lease)
			tt.lose(h)
			n, err := r.Read(make([]byte, 1))
			if n != 0 || !errors.Is(err, ErrLease) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Read = %d, %v; want %v with %q", n, err, ErrLease, tt.says)
			}
			if _, err := x.Open(t.Context(), x.Disks()[0]); !errors.Is(err, ErrLease) {
				t.Errorf("Open = %v; want %v", err, ErrLease)
			}
			if err := x.Close(t.Context()); err != nil {
				t.Errorf("Close = %v", err)
			}
			await(t, func() bool { return !h.Leased("web") }) // at the latest when its time is out
			if tt.ends != "" {
				ends(t, h, tt.ends)
			}
		})
	}
}

// TestHopeless: which errors of a renewal end the lease at once.
func TestHopeless(t *testing.T) {
	fault := func(f types.AnyType) error {
		s := &soap.Fault{}
		s.Detail.Fault = f
		return soap.WrapSoapFault(s)
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{fault(types.Timedout{}), true},
		{fault(types.InvalidState{}), true},
		{fault(types.ManagedObjectNotFound{}), true},
		{fault(types.SystemError{}), false},
		{fault(types.HostCommunication{}), false},
		{io.ErrUnexpectedEOF, false},
		{ErrStalled, false},
		{ErrLogin, true},
		{ErrThumbprint, true},
		{wrapFault(fault(types.ManagedObjectNotFound{})), true},
		{leaseState{state: types.HttpNfcLeaseStateDone}.lost(), true},
	} {
		if got := hopeless(t.Context(), tt.err); got != tt.want {
			t.Errorf("hopeless(%v) = %t; want %t", tt.err, got, tt.want)
		}
	}
}

// TestCloseFails: the host doesn't hear of the end. The streams end, and the
// error says what that means.
func TestCloseFails(t *testing.T) {
	h, _, x, r := stalled(t, time.Hour)
	h.Faults().SOAPStatus("HttpNfcLeaseAbort", 503, 0, 0)
	if err := x.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "lets nobody switch the VM on until it notices, within 1h0m0s") {
		t.Errorf("Close = %v; want the host's 503 and what it means", err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errClosed) {
		t.Errorf("Read = %v; want %v", err, errClosed)
	}
	if !h.Leased("web") {
		t.Error("the lease is gone")
	}
}

// TestKeepAlive holds a lease for longer than the host keeps it without a word,
// while nothing is read and some calls fail.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	h := startHost(t, fixture.Options{Builtin: true, Licensed: true, LeaseTimeout: 12 * time.Second})
	c := dialHost(t, h)
	x := exportOf(t, h, c, "web")
	d := x.Disks()[0]
	r, err := x.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	begin := time.Now()
	h.Faults().SOAPStatus("HttpNfcLeaseProgress", 503, 1, 4)
	first := make([]byte, 16<<10)
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return len(h.Stats().LeasePercents) >= 6 || !h.Leased("web") })
	if !h.Leased("web") {
		t.Fatalf("the lease is gone after %s: %v", time.Since(begin), h.Stats().Leases)
	}
	if time.Since(begin) < 14*time.Second {
		t.Errorf("6 reports in %s; want four in each 12 s", time.Since(begin))
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	sameDisk(t, h, d, append(first, rest...))
	if err := x.Close(t.Context()); err != nil {
		t.Error(err)
	}
	ends(t, h, "completed:1")
}

// TestProgress: what is reported grows with what was read, and never falls.
func TestProgress(t *testing.T) {
	x := &Export{}
	for range 2 {
		x.items = append(x.items, &leaseItem{disk: inventory.Disk{Capacity: 1000}})
	}
	for _, tt := range []struct {
		read, read2 int64
		end         bool // of the first
		want        int32
		whole       bool
	}{
		{0, 0, false, 0, false}, {500, 0, false, 25, false}, {500, 0, true, 50, false}, {500, 900, true, 95, false}, {500, 5000, true, 99, false},
	} {
		x.items[0].read.Store(tt.read)
		x.items[1].read.Store(tt.read2)
		if tt.end {
			x.items[0].got.Store(&taken{})
		}
		if got := x.progress(); got != tt.want || x.whole() != tt.whole {
			t.Errorf("%+v: progress() = %d, whole() = %t", tt, got, x.whole())
		}
	}
	if (&Export{}).progress() != 0 || (&Export{}).whole() {
		t.Error("an export of nothing is done")
	}
}

// TestExportEnds: whatever ends an export, the host hears of it.
func TestExportEnds(t *testing.T) {
	before := goleak.IgnoreCurrent()
	held := func(t *testing.T, h *fixture.Host) {
		t.Helper()
		await(t, func() bool { return !h.Leased("web") })
		ends(t, h, "aborted:1")
	}
	t.Run("its context", func(t *testing.T) {
		h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
		c := dialHost(t, h)
		ctx, cancel := context.WithCancelCause(t.Context())
		x, err := c.Export(ctx, h.ID("web"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := x.Open(t.Context(), x.Disks()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		why := errors.New("enough")
		cancel(why)
		held(t, h)
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, why) {
			t.Errorf("Read = %v; want %v", err, why)
		}
		if err := x.Close(t.Context()); err != nil {
			t.Errorf("Close = %v", err)
		}
		ends(t, h, "aborted:1")
	})
	t.Run("a panic", func(t *testing.T) {
		h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
		c := dialHost(t, h)
		func() {
			defer func() { _ = recover() }()
			x := exportOf(t, h, c, "web")
			defer x.Close(t.Context())
			panic("a bug")
		}()
		held(t, h)
	})
	t.Run("its client", func(t *testing.T) {
		h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
		c, err := Dial(t.Context(), hostConfig(t, h))
		if err != nil {
			t.Fatal(err)
		}
		x := exportOf(t, h, c, "web")
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		held(t, h)
		if _, err := x.Open(t.Context(), x.Disks()[0]); !errors.Is(err, errClosed) {
			t.Errorf("Open = %v; want %v", err, errClosed)
		}
		if n := h.Faults().Sessions(); n != 0 {
			t.Errorf("%d sessions; want none", n)
		}
	})
	t.Run("while it is asked for", func(t *testing.T) {
		h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
		c := dialHost(t, h)
		h.Faults().SOAPStall("ExportVm", time.Second, 0, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		x, err := c.Export(ctx, h.ID("web"))
		if err == nil { // only where this machine was busy for a second
			_ = x.Close(t.Context())
		}
		held(t, h)
		if _, err := c.Export(ctx, h.ID("web")); !errors.Is(err, context.DeadlineExceeded) || h.Stats().SOAP["ExportVm"] != 1 {
			t.Errorf("Export when all is over = %v, asked %d times; want %v, once", err, h.Stats().SOAP["ExportVm"], context.DeadlineExceeded)
		}
	})
	t.Run("before it is ready", func(t *testing.T) {
		h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
		c := dialHost(t, h)
		h.Faults().Leases(fixture.LeaseFault{Hold: true})
		ctx, cancel := context.WithCancel(t.Context())
		context.AfterFunc(t.Context(), cancel)
		go func() {
			await(t, func() bool { return h.Leased("web") })
			cancel()
		}()
		if _, err := c.Export(ctx, h.ID("web")); !errors.Is(err, context.Canceled) {
			t.Errorf("Export = %v; want %v", err, context.Canceled)
		}
		held(t, h)
	})
	t.Run("the host, before it is ready", func(t *testing.T) {
		h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
		c := dialHost(t, h)
		h.Faults().Leases(fixture.LeaseFault{Fault: &types.FileFault{File: "web.vmdk"}, Text: "File web.vmdk is damaged"})
		if _, err := c.Export(t.Context(), h.ID("web")); !errors.Is(err, ErrLease) || !strings.Contains(err.Error(), `"File web.vmdk is damaged" (FileFault)`) {
			t.Errorf("Export = %v; want %v with the host's words", err, ErrLease)
		}
		ends(t, h, "failed:1")
	})
	goleak.VerifyNone(t, before)
}

// TestVerify: what arrived is compared with what the host says that it sent.
func TestVerify(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true, Licensed: true})
	c := dialHost(t, h)
	x := exportOf(t, h, c, "web")
	if _, err := drain(t, x, x.Disks()[0]); err != nil {
		t.Fatal(err)
	}
	i := x.items[0]
	right := *i.got.Load()
	for _, tt := range []struct {
		got  taken
		want error
	}{
		{right, nil}, {taken{right.size - 1, right.sum}, ErrProtocol}, {taken{right.size, strings.Repeat("0", 40)}, ErrProtocol},
	} {
		i.got.Store(&tt.got)
		if err := x.Verify(t.Context()); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%+v: Verify = %v; want %v", tt.got, err, tt.want)
		}
	}
	if !x.whole() {
		t.Error("the only disk was read, but not all")
	}
	if r, err := x.Open(t.Context(), i.disk); err != nil || x.whole() {
		t.Errorf("its stream is opened again: %v, and still all was read: %t", err, x.whole())
	} else {
		defer r.Close()
	}
	i.got.Store(&right)
	i.key = "/vm/other"
	if err := x.Verify(t.Context()); !errors.Is(err, ErrUnknown) {
		t.Errorf("without the manifest's word: Verify = %v; want %v", err, ErrUnknown)
	}
}
