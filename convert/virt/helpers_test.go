package virt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/convert/host"
	"esxodus/convert/volume"
	"esxodus/fixtures"

	"github.com/google/uuid"
)

// system connects to the real libvirtd, and starts one if there is none.
func system(t *testing.T) *Conn {
	t.Helper()
	if testing.Short() {
		t.Skip("boots guests")
	}
	c, err := Connect(t.Context(), SystemURI)
	if err != nil && os.Getuid() == 0 {
		c, err = startDaemons(t)
	}
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

// startDaemons starts libvirt's, which stay for the next test.
func startDaemons(t *testing.T) (c *Conn, err error) {
	t.Helper()
	for _, d := range []string{"virtlogd", "libvirtd"} {
		if out, err := exec.Command(d, "-d").CombinedOutput(); err != nil {
			t.Logf("%s -d: %v: %s", d, err, out)
		}
	}
	for range 600 {
		if c, err = Connect(t.Context(), SystemURI); err == nil {
			return c, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, err
}

// writes64 is code that writes 64 sectors, one by one, over the second sector
// of the first disk: more than any boot loader does.
func writes64() []byte {
	return append([]byte{0xbd, 0x40, 0x00}, append(writeSector(), // mov bp, 64
		0x4d,       // dec bp
		0x75, 0xef, // jnz next
	)...)
}

// writesOn is code that does so without an end.
func writesOn() []byte {
	return append(writeSector(), 0xeb, 0xf0) // jmp next
}

func writeSector() []byte {
	return []byte{
		0xb8, 0x01, 0x03, // next: mov ax, 0301h     write one sector
		0xb9, 0x02, 0x00, //       mov cx, 2         cylinder 0, sector 2
		0xba, 0x80, 0x00, //       mov dx, 80h       head 0, first disk
		0xbb, 0x00, 0x7c, //       mov bx, 7C00h
		0xcd, 0x13, //             int 13h
	}
}

// scratch is a directory that QEMU's user can pass, which t.TempDir is not.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "esxodus-virt-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// guest is a raw disk with an overlay over it, and a proof domain of both.
type guest struct {
	base, dir, name, run, xml string
}

// newGuest makes a guest whose disk begins with boot.
func newGuest(t *testing.T, boot []byte) guest {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		fixtures.Missing(t, fmt.Sprintf("no qemu-img: %v", err))
	}
	g := guest{dir: filepath.Join(scratch(t), "proof"), run: "r" + uuid.NewString()}
	g.base = filepath.Join(filepath.Dir(g.dir), "base.raw")
	disk := make([]byte, 1<<20)
	copy(disk, boot)
	if err := os.WriteFile(g.base, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	g.prepare(t)
	return g
}

func (g *guest) prepare(t *testing.T) {
	t.Helper()
	overlays, err := volume.Overlays(t.Context(), host.Tool{}, g.dir, []string{g.base})
	if err != nil {
		t.Fatal(err)
	}
	g.name = "esxodus-test-" + uuid.NewString()[:8]
	g.xml = proofXML(g.name, g.run, overlays[0])
}

// proofXML is a domain as convert/domain makes it for proofs, in small.
func proofXML(name, run, overlay string) string {
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name>
  <uuid>%s</uuid>
  <metadata><esxodus:run xmlns:esxodus="https://esxodus/1" id="%s"/></metadata>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><bios useserial='yes'/></os>
  <features><acpi/></features>
  <on_reboot>destroy</on_reboot>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>
    <interface type='user'><mac address='52:54:00:12:34:56'/><model type='virtio'/><link state='down'/></interface>
    <serial type='unix'><source mode='bind' path='%s'/></serial>
  </devices>
</domain>`, name, uuid.NewString(), run, overlay, volume.OverlayConsole(filepath.Dir(overlay)))
}

// request is one for guests that take a second, on a machine that has time for
// them.
func (g guest) request(t *testing.T) ProofRequest {
	t.Helper()
	return ProofRequest{XML: g.xml, Expect: LoginPrompt, For: 5 * time.Minute, Stay: 300 * time.Millisecond, Shutdown: 300 * time.Millisecond, Line: func(s string) { t.Log(s) }}
}

// gone checks that nothing is left of the guest in libvirt and no QEMU has its
// disk.
func (g guest) gone(t *testing.T, c *Conn) {
	t.Helper()
	var left string
	for range 600 {
		left = ""
		if _, ok, err := c.Lookup(context.WithoutCancel(t.Context()), g.name); err != nil || ok {
			left = fmt.Sprintf("domain: %v, %v", ok, err)
		}
		left += processes(t, g.name)
		if left == "" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("%s is left: %s", g.name, left)
}

// processes lists those with a word in their arguments.
func processes(t *testing.T, word string) string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range dirs {
		args, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if strings.Contains(string(args), "guest="+word) {
			found = append(found, d)
		}
	}
	return strings.Join(found, " ")
}
