package esxi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"esxodus/inventory"

	"go.uber.org/goleak"

	fixture "esxodus/fixtures/esxi"
)

func startHost(tb testing.TB, o fixture.Options) *fixture.Host {
	tb.Helper()
	h, err := fixture.Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

func hostConfig(tb testing.TB, h *fixture.Host) Config {
	tb.Helper()
	u, _, err := ParseURL(h.User() + "@" + strings.TrimPrefix(h.URL(), "https://"))
	if err != nil {
		tb.Fatal(err)
	}
	return Config{URL: u, Password: Secret(h.Password()), Thumbprint: h.Thumbprint(), Stall: patience}
}

func dialHost(tb testing.TB, h *fixture.Host) *Client {
	tb.Helper()
	c, err := Dial(tb.Context(), hostConfig(tb, h))
	if err != nil {
		tb.Fatal(err)
	}
	c.retry = quick
	tb.Cleanup(func() { _ = c.Close(context.WithoutCancel(tb.Context())) })
	return c
}

// TestTLSKinds: pins hold on expired certificates, old TLS only on request.
func TestTLSKinds(t *testing.T) {
	tests := []struct {
		name    string
		options fixture.Options
		change  func(*Config)
		want    error
	}{
		{name: "expired, pinned", options: fixture.Options{ExpiredCert: true}},
		{name: "expired, not pinned", options: fixture.Options{ExpiredCert: true}, change: func(c *Config) { c.Thumbprint = "" }, want: ErrCertificate},
		{name: "old TLS, not allowed", options: fixture.Options{LegacyTLS: true}, want: ErrLegacyTLS},
		{name: "old TLS, allowed and pinned", options: fixture.Options{LegacyTLS: true, Version: "5.5.0"}, change: func(c *Config) { c.LegacyTLS = true }},
		{name: "old TLS, allowed, wrong pin", options: fixture.Options{LegacyTLS: true}, change: func(c *Config) {
			c.LegacyTLS, c.Thumbprint = true, strings.Repeat("00", 32)
		}, want: ErrThumbprint},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := hostConfig(t, startHost(t, tt.options))
			if tt.change != nil {
				tt.change(&cfg)
			}
			c, err := Dial(t.Context(), cfg)
			if err == nil {
				defer c.Close(t.Context())
			}
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("Dial = %v; want %v", err, tt.want)
			}
		})
	}
}

// TestFixtureInventory reads the built-in VMs and compares a few facts that
// other tools get wrong; package vmx compares all of it with the .vmx files.
func TestFixtureInventory(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true})
	c := dialHost(t, h)
	got, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !got.License.ReadOnly || len(got.Datastores) < 2 || len(got.Network.VSwitches) < 2 || len(got.Network.Uplinks) < 2 || !got.AutoStart.Enabled {
		t.Errorf("host = %+v", got)
	}
	vlans := make(map[string]int)
	for _, p := range got.Network.PortGroups {
		vlans[p.Name] = p.VLAN
	}
	if vlans["VLAN 42"] != 42 || vlans["Trunk"] != 4095 || vlans["VM Network"] != 0 || len(vlans) < 6 {
		t.Errorf("port groups %v", vlans)
	}
	for _, vm := range got.VMs {
		if len(vm.Problems) > 0 || len(vm.Other) > 0 {
			t.Errorf("VM %s: problems %v, other devices %v", vm.Name, vm.Problems, vm.Other)
		}
		for _, n := range vm.NICs {
			if _, ok := got.Network.PortGroup(n.PortGroup); !ok {
				t.Errorf("VM %s: %s is on %q, which the host does not list", vm.Name, n.Label, n.PortGroup)
			}
		}
	}
	db, err := got.Find("db")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, d := range db.Disks {
		order = append(order, d.Address())
	}
	if want := "[scsi0:0 scsi0:2 scsi0:10 scsi1:0 scsi1:15]"; fmt.Sprint(order) != want {
		t.Errorf("disks of db %v; want %s", order, want)
	}
	if db.NICs[0].Index != 0 || db.NICs[1].Index != 2 || db.NICs[2].Index != 10 || db.AutoStart == nil || db.AutoStart.Order != 1 {
		t.Errorf("NICs %+v, autostart %+v", db.NICs, db.AutoStart)
	}
	snapped, err := got.Find("snapped")
	if err != nil {
		t.Fatal(err)
	}
	if d := snapped.Disks[0]; len(d.Parents) != 2 || d.Format == "flat" || len(snapped.Snapshots) != 3 || !snapped.ConsolidationNeeded {
		t.Errorf("snapped: disk %+v, snapshots %+v", d, snapped.Snapshots)
	}
	web, err := got.Find("web")
	if err != nil {
		t.Fatal(err)
	}
	if web.Extra["guestinfo.metadata"] != "(24 bytes)" || web.NICs[0].MAC != "00:50:56:01:02:03" || web.NICs[0].MACType != "manual" || !strings.Contains(web.Annotation, "\n\n") {
		t.Errorf("web = %+v", web)
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(h.Password())) || bytes.Contains(b, []byte("aW5zdGFuY2U")) {
		t.Error("the inventory shows a secret")
	}
}

// TestVMDown: an inaccessible VM is listed, and fails nothing.
func TestVMDown(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true})
	h.Faults().VMDown("web", true)
	got, err := dialHost(t, h).Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, vm := range got.VMs {
		if vm.ConnectionState != "" && vm.ConnectionState != "connected" && vm.Name != "" && len(vm.Disks) == 0 {
			return
		}
	}
	t.Error("no VM is listed as inaccessible")
}

// TestFreeLicence: through the API nothing can be changed.
func TestFreeLicence(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true})
	c := dialHost(t, h)
	for name, f := range map[string]func(context.Context, string) error{"Shutdown": c.Shutdown, "PowerOff": c.PowerOff} {
		if err := f(t.Context(), h.ID("db")); !errors.Is(err, ErrRestricted) {
			t.Errorf("%s on the free licence = %v; want %v", name, err, ErrRestricted)
		}
	}
	if p, err := c.Power(t.Context(), h.ID("db")); p != inventory.PoweredOn || err != nil {
		t.Errorf("Power = %v, %v", p, err)
	}
	h = startHost(t, fixture.Options{Builtin: true, Licensed: true})
	c = dialHost(t, h)
	if err := c.Shutdown(t.Context(), h.ID("db")); err != nil {
		t.Errorf("Shutdown on a licensed host: %v", err)
	}
}

// TestFixtureDisks reads every disk of every stopped VM through the opener and
// compares it with the fixture's own bytes, while connections break, stall and
// sessions end.
func TestFixtureDisks(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true})
	c, err := Dial(t.Context(), hostConfig(t, h))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	c.retry = quick
	host, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.cfg.Stall = time.Second
	for _, f := range []fixture.Fault{
		{Kind: fixture.Cut, Skip: 3, Count: 3, After: 1000},
		{Kind: fixture.Stall, Skip: 9, Count: 2, After: 5000},
		{Kind: fixture.Refuse, Skip: 12, Count: 2},
		{Kind: fixture.Status, Code: 503, Skip: 15, Count: 2},
		{Kind: fixture.IgnoreRange, Skip: 20, Count: 1},
		{Kind: fixture.WrongRange, Skip: 22, Count: 1, After: 512},
	} {
		h.Faults().Add(f)
	}
	h.Faults().ExpireSessionsAfter(25)
	files := 0
	for _, vm := range host.VMs {
		if vm.Power != inventory.PoweredOff {
			continue
		}
		for _, d := range vm.Disks {
			for _, file := range d.Files {
				if strings.Contains(d.Path, `"`) && file.Type == "diskExtent" {
					continue // the fixture's layoutEx cuts the extent's name at the quote
				}
				readSame(t, h, c, d.Path, file)
				files++
			}
		}
	}
	if files < 20 {
		t.Errorf("%d files read; want at least 20", files)
	}
	if s := h.Stats(); s.BasicAuths > 0 || s.Unauthorized == 0 {
		t.Errorf("%d password checks on /folder, want none; %d expired sessions, want some", s.BasicAuths, s.Unauthorized)
	}
}

func readSame(t *testing.T, h *fixture.Host, c *Client, descriptor string, file inventory.File) {
	t.Helper()
	opener, err := c.VMDKOpener(t.Context(), descriptor)
	if err != nil {
		t.Fatal(err)
	}
	f, err := opener.Open(file.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	truth, err := h.Open(file.Path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Size() != file.Size || f.Size() != truth.Size() {
		t.Fatalf("%s: size %d; the inventory has %d, the fixture %d", file.Path, f.Size(), file.Size, truth.Size())
	}
	got, want := make([]byte, f.Size()), make([]byte, f.Size())
	var wg sync.WaitGroup
	const part = 1 << 20
	for off := int64(0); off < f.Size(); off += part {
		wg.Go(func() {
			if _, err := f.ReadAt(got[off:min(off+part, f.Size())], off); err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v", file.Path, err)
			}
		})
	}
	wg.Wait()
	if _, err := truth.ReadAt(want, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the bytes differ", file.Path)
	}
}

// TestFixtureLocked: the disks of a running VM.
func TestFixtureLocked(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true})
	c := dialHost(t, h)
	host, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	db, err := host.Find("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []int{403, 404, 500} {
		h.Faults().LockStatus(code)
		for _, file := range db.Disks[0].Files {
			if file.Type != "diskExtent" {
				continue
			}
			if err := openAndRead(t, c, file.Path); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), `VM "db"`) {
				t.Errorf("%d: %v; want %v", code, err, ErrLocked)
			}
		}
	}
}

func openAndRead(t *testing.T, c *Client, path string) error {
	t.Helper()
	f, err := c.Open(t.Context(), path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(make([]byte, 512), 0)
	return err
}

// TestFixtureCalls: the fixture counts, too.
func TestFixtureCalls(t *testing.T) {
	calls := func(n int) int {
		h := startHost(t, fixture.Options{Many: n})
		c := dialHost(t, h)
		before := total(h)
		got, err := c.Inventory(t.Context())
		if err != nil || len(got.VMs) != n {
			t.Fatalf("%d VMs, %v; want %d", len(got.VMs), err, n)
		}
		return total(h) - before
	}
	if few, many := calls(1), calls(100); few != many {
		t.Errorf("%d calls for 1 VM, %d for 100; want the same", few, many)
	}
}

func total(h *fixture.Host) int {
	n := 0
	for _, k := range h.Stats().SOAP {
		n += k
	}
	return n
}

// TestNothingIsLeftBehind: Close logs out, and leaves nothing running.
func TestNothingIsLeftBehind(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true})
	before := goleak.IgnoreCurrent()
	c, err := Dial(t.Context(), hostConfig(t, h))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(t.Context(), "[datastore1] web/web-flat.vmdk"); err != nil { // and never closed
		t.Fatal(err)
	}
	if got := h.Faults().Sessions(); got != 1 {
		t.Errorf("%d sessions; want 1", got)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.Faults().Sessions(); got != 0 {
		t.Errorf("%d sessions after Close; want none", got)
	}
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http.(*conn).serve"))
}

// BenchmarkReadAt reads a disk of 1 GiB with several readers.
func BenchmarkReadAt(b *testing.B) {
	dir := b.TempDir()
	const size = 1 << 30
	makeDisk(b, filepath.Join(dir, "big"), size)
	h := startHost(b, fixture.Options{Dir: dir})
	c := dialHost(b, h)
	f, err := c.Open(b.Context(), "[datastore1] big/big-flat.vmdk")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for _, readers := range []int{1, 2, 4, 8} {
		for _, block := range []int64{1 << 20, 4 << 20, 8 << 20} {
			b.Run(fmt.Sprintf("readers=%d/block=%dMiB", readers, block>>20), func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					readAll(b, f, readers, block)
				}
			})
		}
	}
}

func makeDisk(tb testing.TB, dir string, size int64) {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	name := filepath.Base(dir)
	descriptor := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"vmfs\"\n\nRW %d VMFS \"%s-flat.vmdk\"\n", size/512, name)
	if err := os.WriteFile(filepath.Join(dir, name+".vmdk"), []byte(descriptor), 0o644); err != nil {
		tb.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, name+"-flat.vmdk"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	block := content(8 << 20)
	for off := int64(0); off < size; off += int64(len(block)) {
		if _, err := f.WriteAt(block, off); err != nil {
			tb.Fatal(err)
		}
	}
}

func readAll(b *testing.B, f *File, readers int, block int64) {
	b.Helper()
	var wg sync.WaitGroup
	for r := range int64(readers) {
		wg.Go(func() {
			p := make([]byte, block)
			for off := r * block; off < f.Size(); off += int64(readers) * block {
				if _, err := f.ReadAt(p, off); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
