package virt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/fixtures"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// fake connects to libvirt's test driver, which needs no daemon. What a
// connection defines there, others of the process do not see.
func fake(t *testing.T) *Conn {
	t.Helper()
	c, err := Connect(t.Context(), "test:///default")
	if err != nil {
		fixtures.Missing(t, fmt.Sprintf("no libvirt: %v", err))
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// testXML is a domain for the test driver.
func testXML(virtType, name, id, run string) string {
	return fmt.Sprintf(`<domain type='%s'>
  <name>%s</name>
  <uuid>%s</uuid>
  <metadata>
    <other:thing xmlns:other="https://example.com/1">x</other:thing>
    <esxodus:run xmlns:esxodus="https://esxodus/1" id="%s"/>
  </metadata>
  <memory unit='MiB'>64</memory>
  <vcpu>2</vcpu>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/var/tmp/a &amp; b.raw'/><target dev='vda' bus='virtio'/><serial>s1</serial></disk>
    <disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg0/web-1'/><target dev='vdb' bus='virtio'/></disk>
    <interface type='direct'><mac address='00:50:56:AA:bb:01'/><source dev='lo' mode='bridge'/><model type='virtio'/></interface>
    <interface type='direct'><mac address='00:50:56:aa:bb:02'/><source dev='lo' mode='bridge'/><model type='e1000'/><link state='down'/></interface>
  </devices>
</domain>`, virtType, name, id, run)
}

func TestDefine(t *testing.T) {
	for _, tt := range []struct {
		virtType string
		connect  func(*testing.T) *Conn
	}{{"test", fake}, {"qemu", system}} {
		t.Run(tt.virtType, func(t *testing.T) {
			c := tt.connect(t)
			ctx := t.Context()
			name, id, run := "esxodus-test-"+uuid.NewString()[:8], uuid.NewString(), uuid.NewString()
			t.Cleanup(func() { _ = c.Undefine(context.WithoutCancel(ctx), name, run) })
			xml := testXML(tt.virtType, name, id, run)
			for range 2 { // again, as after a crash
				if err := c.Define(ctx, xml, true, run); err != nil {
					t.Fatal(err)
				}
			}
			info, ok, err := c.Lookup(ctx, name)
			want := Info{
				Name: name, UUID: id, Persistent: true, AutoStart: true, Run: run, XML: info.XML,
				MACs: []string{"00:50:56:aa:bb:01", "00:50:56:aa:bb:02"}, Disks: []string{"/var/tmp/a & b.raw", "/dev/vg0/web-1"},
			}
			if diff := cmp.Diff(info, want); diff != "" || !ok || err != nil {
				t.Errorf("Lookup = (-got +want) %s, %v, %v", diff, ok, err)
			}
			byUUID, ok, err := c.LookupUUID(ctx, id)
			if diff := cmp.Diff(byUUID, want); diff != "" || !ok || err != nil {
				t.Errorf("LookupUUID = (-got +want) %s, %v, %v", diff, ok, err)
			}
			all, err := c.Domains(ctx)
			if err != nil || !slices.ContainsFunc(all, func(i Info) bool { return cmp.Equal(i, want) }) {
				t.Errorf("Domains = %+v, %v; want %+v among them", all, err, want)
			}
			testOthers(t, c, tt.virtType, info)
			for range 2 {
				if err := c.Undefine(ctx, name, run); err != nil {
					t.Fatal(err)
				}
			}
			if _, ok, err := c.Lookup(ctx, name); ok || err != nil {
				t.Errorf("Lookup after Undefine = %v, %v", ok, err)
			}
		})
	}
}

// testOthers checks that another run cannot touch the domain.
func testOthers(t *testing.T, c *Conn, virtType string, mine Info) {
	t.Helper()
	ctx, other := t.Context(), uuid.NewString()
	tests := []struct {
		name, xml, run, err string
	}{
		{"same name and UUID", testXML(virtType, mine.Name, mine.UUID, other), other, "exists already (UUID " + mine.UUID + ")"},
		{"same name", testXML(virtType, mine.Name, uuid.NewString(), other), other, "exists already (UUID " + mine.UUID + ")"},
		{"same UUID", testXML(virtType, mine.Name+"2", mine.UUID, other), other, "has the UUID " + mine.UUID + " already"},
		{"own UUID, other name", testXML(virtType, mine.Name+"2", mine.UUID, mine.Run), mine.Run, "has the UUID " + mine.UUID + " already"},
		{"other run than the XML's", testXML(virtType, mine.Name, mine.UUID, other), mine.Run, "marked with run"},
		{"no run", testXML(virtType, mine.Name, mine.UUID, ""), "", "marked with run"},
		{"not schema-valid", strings.Replace(testXML(virtType, mine.Name, mine.UUID, mine.Run), "<vcpu>2</vcpu>", "<vcpu>2</vcpu><frob/>", 1), mine.Run, "frob"},
		{"no XML", "<domain", mine.Run, "domain XML: "},
	}
	for _, tt := range tests {
		if err := c.Define(ctx, tt.xml, false, tt.run); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: Define = %v, want %q", tt.name, err, tt.err)
		}
	}
	if err := c.Undefine(ctx, mine.Name, other); err != nil {
		t.Errorf("Undefine by another run = %v", err)
	}
	if err := c.CleanProof(ctx, mine.Name, mine.Run); err == nil || !strings.Contains(err.Error(), "is not a boot proof") {
		t.Errorf("CleanProof of a persistent domain = %v", err)
	}
	if now, ok, err := c.Lookup(ctx, mine.Name); !ok || err != nil || !cmp.Equal(now, mine) {
		t.Errorf("Lookup = %+v, %v, %v; want it unchanged", now, ok, err)
	}
}

// TestUndefineState has libvirt make NVRAM, TPM state and a snapshot, and
// checks that none of it stays.
func TestUndefineState(t *testing.T) {
	c := system(t)
	ctx := t.Context()
	caps, err := c.Capabilities(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !caps.EFI {
		fixtures.Missing(t, "no OVMF")
	}
	name, run := "esxodus-test-"+uuid.NewString()[:8], uuid.NewString()
	xml := fmt.Sprintf(`<domain type='qemu'><name>%s</name><uuid>%s</uuid>
  <metadata><esxodus:run xmlns:esxodus="https://esxodus/1" id="%s"/></metadata>
  <memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
</domain>`, name, uuid.NewString(), run)
	t.Cleanup(func() { _ = c.Undefine(context.WithoutCancel(ctx), name, run) })
	if err := c.Define(ctx, xml, false, run); err != nil {
		t.Fatal(err)
	}
	dom, err := c.lv.LookupDomainByName(name)
	if err != nil {
		t.Fatal(err)
	}
	defer dom.Free()
	if err := dom.Create(); err != nil {
		t.Fatal(err)
	}
	if err := c.Undefine(ctx, name, run); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("Undefine while running = %v", err)
	}
	if err := c.Define(ctx, xml, false, run); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("Define while running = %v", err)
	}
	if err := dom.Destroy(); err != nil {
		t.Fatal(err)
	}
	nvram := filepath.Join("/var/lib/libvirt/qemu/nvram", name+"_VARS.fd")
	if _, err := os.Stat(nvram); err != nil {
		t.Errorf("the domain has no NVRAM: %v", err)
	}
	if err := c.Undefine(ctx, name, run); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(nvram); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("NVRAM after Undefine: %v, want it gone", err)
	}
}

func TestVerify(t *testing.T) {
	id := uuid.NewString()
	base := testXML("qemu", "web", id, "r1")
	tests := []struct {
		name, old, repl, err string
	}{
		{"the same", "", "", ""},
		{"KiB for MiB", "<memory unit='MiB'>64</memory>", "<memory unit='KiB'>65536</memory>", ""},
		{"memory", "<memory unit='MiB'>64</memory>", "<memory unit='KiB'>65535</memory>", "memory 67107840, want 67108864"},
		{"vCPUs", "<vcpu>2</vcpu>", "<vcpu>1</vcpu>", "vCPUs 1, want 2"},
		{"MAC", "00:50:56:aa:bb:02", "00:50:56:aa:bb:03", "NIC 1 00:50:56:aa:bb:03"},
		{"model", "e1000", "virtio", "NIC 1 00:50:56:aa:bb:02 virtio"},
		{"link", "<link state='down'/>", "", "want 00:50:56:aa:bb:02 e1000 direct lo bridge link=down"},
		{"disk", "/dev/vg0/web-1", "/dev/vg0/web-2", "disk 1 disk virtio vdb /dev/vg0/web-2 raw"},
		{"serial", "<serial>s1</serial>", "", "want disk virtio vda /var/tmp/a & b.raw raw serial=s1"},
		{"UUID", id, uuid.NewString(), "want " + id},
		{"run", `id="r1"`, `id="r2"`, "run r2, want r1"},
	}
	want, err := parse(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			info := Info{Name: "web", Persistent: true, XML: strings.Replace(base, tt.old, tt.repl, 1)}
			err := verify(want, info, false)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("verify = %v, want %q", err, tt.err)
			}
		})
	}
	if err := verify(want, Info{Active: true, XML: base}, true); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("verify = %v; want persistent, active and autostart", err)
	}
}

func TestCapabilities(t *testing.T) {
	caps, err := system(t).Capabilities(t.Context())
	if err != nil || !slices.Contains(caps.VirtTypes, "qemu") || caps.CPUs < 1 || caps.Memory < 1<<28 ||
		!slices.Contains(caps.Machines, "q35") || strings.Count(caps.Libvirt, ".") != 2 {
		t.Errorf("Capabilities = %+v, %v", caps, err)
	}
	_, ovmf := os.Stat("/usr/share/OVMF/OVMF_CODE_4M.fd")
	if caps.EFI != (ovmf == nil) {
		t.Errorf("EFI = %v; and OVMF: %v", caps.EFI, ovmf)
	}
	t.Logf("%+v", caps)
	if caps, err := fake(t).Capabilities(t.Context()); err == nil {
		t.Logf("%+v", caps)
	} else if !strings.Contains(err.Error(), "runs no x86_64 guests") {
		t.Error(err)
	}
}

func TestConnectErrors(t *testing.T) {
	tests := []struct {
		name, uri, err string
	}{
		{"no daemon", "qemu+unix:///system?socket=" + filepath.Join(t.TempDir(), "sock"), "systemctl start libvirtd"},
		{"no such driver", "frob:///system", "libvirt at frob:///system: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Connect(t.Context(), tt.uri); err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Connect = %v, want %q", err, tt.err)
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := Connect(ctx, ""); !errors.Is(err, stop) {
		t.Errorf("Connect with an ended context = %v", err)
	}
}
