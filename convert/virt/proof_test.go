package virt

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/convert/volume"
	"esxodus/fixtures"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestProve(t *testing.T) {
	c := system(t)
	const (
		// Time for a guest to start and write, on a busy machine; and the time after
		// which one that shows nothing is given up.
		watched, short = 20 * time.Second, 6 * time.Second
		noPrompt       = "no login prompt on its serial console,"
	)
	tests := []struct {
		name     string
		boot     []byte
		edit     func(xml string) string
		ask      func(*ProofRequest)
		kind     ProofKind // wanted, or
		reason   string    // of the ProofError
		evidence string    // substring of either's line
	}{
		{name: "login prompt", boot: fixtures.Getty("\x1b[2JDebian GNU/Linux 12 web\r\n\r\nweb login: "), kind: LoginPrompt, evidence: "web login:"},
		{name: "login prompt where none is known", boot: fixtures.Getty("web login: "), ask: activity(5 * time.Minute), kind: LoginPrompt, evidence: "web login:"},
		{name: "no prompt", boot: fixtures.BootSector("Last login: Mon\r\nroot failed login: 1\r\nx login: failed\r\n"), ask: login(short), reason: noPrompt},
		{name: "reset after its prompt", boot: fixtures.BootSector("web login: ", 0xea, 0, 0, 0xff, 0xff), ask: func(r *ProofRequest) { r.Stay = time.Minute }, reason: "it powered off, or reset, right after its login prompt,", evidence: "web login:"},
		{name: "hangs after its prompt", boot: fixtures.BootSector("web login: "), ask: func(r *ProofRequest) { r.Answer = 7 * time.Second }, reason: "its login prompt does not answer Enter", evidence: "web login:"},
		{name: "kernel panic", boot: fixtures.BootSector("Booting\r\n[    1.5] Kernel panic - not syncing: VFS: no init found.\r\n[    1.6] CPU: 0\r\n"), reason: "the kernel panicked", evidence: "no init found"},
		{name: "initramfs shell", boot: fixtures.BootSector("Begin: Running /scripts\r\n(initramfs) "), reason: "the initramfs stopped in its shell", evidence: "(initramfs)"},
		{name: "emergency mode of a guest that writes", boot: fixtures.BootSector("You are in emergency mode. After logging in, type\r\n", writesOn()...), ask: activity(5 * time.Minute), reason: "the guest stopped in emergency mode", evidence: "After logging in"},
		{name: "GRUB rescue", boot: fixtures.BootSector("error: no such device: 1234.\r\ngrub rescue> "), reason: "GRUB found nothing to boot", evidence: "grub rescue>"},
		{name: "no boot sector", boot: make([]byte, 512), reason: "the firmware found nothing to boot"},
		// Case P1: silent, writing, and a login is known.
		{name: "silent guest that writes, of which a login is known", boot: fixtures.BootSector("", writesOn()...), edit: noSerial, ask: login(short), reason: noPrompt},
		{name: "silent guest that writes", boot: fixtures.BootSector("", writesOn()...), edit: noSerial, ask: activity(watched), kind: Activity, evidence: "silent serial console"},
		{name: "silent guest that does not write", boot: fixtures.BootSector(""), edit: noSerial, ask: activity(short), reason: "no login prompt, and no sign that it mounted its disks,"},
		{name: "no serial port", boot: fixtures.BootSector("", writesOn()...), edit: noPort, ask: activity(watched), kind: Activity},
		// int 19h through a reset: jmp FFFF:0000
		{name: "resets", boot: fixtures.BootSector("hello\r\n", append(writes64(), 0xea, 0, 0, 0xff, 0xff)...), ask: activity(5 * time.Minute), reason: "it powered off, or reset (and was kept from starting again)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGuest(t, tt.boot)
			if tt.edit != nil {
				g.xml = tt.edit(g.xml)
			}
			before := hash(t, g.base)
			req := g.request(t)
			if tt.ask != nil {
				tt.ask(&req)
			}
			proof, err := c.Prove(t.Context(), req)
			g.gone(t, c)
			if hash(t, g.base) != before {
				t.Error("the base disk has changed")
			}
			t.Logf("%+v, %v", proof, err)
			if tt.reason == "" {
				if err != nil || proof.Kind != tt.kind || !strings.Contains(proof.Evidence, tt.evidence) {
					t.Errorf("Prove = %+v, %v; want kind %s, evidence %q", proof, err, tt.kind, tt.evidence)
				}
				if n := requests(proof.Evidence); tt.kind == Activity && n < leastWrites {
					t.Errorf("evidence = %q; want %d requests or more", proof.Evidence, leastWrites)
				}
				return
			}
			var failed *ProofError
			if !errors.As(err, &failed) || failed.Reason != tt.reason || !strings.Contains(failed.Line, tt.evidence) {
				t.Errorf("Prove = %+v, %v; want reason %q, line with %q", proof, err, tt.reason, tt.evidence)
			}
		})
	}
}

func login(within time.Duration) func(*ProofRequest) {
	return func(r *ProofRequest) { r.Expect, r.For = LoginPrompt, within }
}

func activity(over time.Duration) func(*ProofRequest) {
	return func(r *ProofRequest) { r.Expect, r.For = Activity, over }
}

// requests is how many writes a proof's evidence tells of.
func requests(evidence string) int {
	_, rest, _ := strings.Cut(evidence, " KiB in ")
	n := -1
	_, _ = fmt.Sscanf(rest, "%d requests", &n)
	return n
}

// noSerial keeps the firmware off the serial port.
func noSerial(xml string) string { return strings.Replace(xml, "<bios useserial='yes'/>", "", 1) }

func noPort(xml string) string {
	before, after, _ := strings.Cut(noSerial(xml), "<serial ")
	_, after, _ = strings.Cut(after, "</serial>")
	return before + after
}

func hash(t *testing.T, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

func TestProveRefuses(t *testing.T) {
	c := system(t)
	g := newGuest(t, fixtures.BootSector("login: "))
	tests := []struct {
		name, old, repl, err string
	}{
		{"raw disk", "type='qcow2'", "type='raw'", "neither read-only nor a qcow2 overlay"},
		{"link up", "<link state='down'/>", "<link state='up'/>", "neither has its link down nor is on a wire"},
		{"no link", "<link state='down'/>", "", "neither has its link down nor is on a wire"},
		{"no name", g.name, "", "lacks a name or a UUID"},
		{"not schema-valid", "<vcpu>1</vcpu>", "<vcpu>1</vcpu><frob/>", "XML document failed to validate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.Prove(t.Context(), ProofRequest{XML: strings.Replace(g.xml, tt.old, tt.repl, 1), Expect: LoginPrompt, For: time.Minute})
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Prove = %v, want %q", err, tt.err)
			}
			g.gone(t, c)
		})
	}
}

func TestProveCancel(t *testing.T) {
	c := system(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	g := newGuest(t, fixtures.BootSector("still booting\r\n"))
	stop := errors.New("the admin pressed Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	req := g.request(t)
	req.Line = func(line string) {
		if line == "still booting" {
			cancel(stop)
		}
	}
	if _, err := c.Prove(ctx, req); !errors.Is(err, stop) {
		t.Errorf("Prove = %v, want %v", err, stop)
	}
	g.gone(t, c)
}

// TestProveTinyGuest has a real kernel boot, from scripts/guest-tiny.sh.
func TestProveTinyGuest(t *testing.T) {
	fixtures.Rung(t, "boot") // cmd/esxodus has it migrated, and proven, for make test
	c := system(t)
	cache := cmp.Or(os.Getenv("ESXODUS_CACHE"), "../../.cache")
	disk := filepath.Join(cache, "guests/tiny/tiny-flat.vmdk")
	if _, err := os.Stat(disk); err != nil {
		fixtures.Missing(t, fmt.Sprintf("%v: scripts/guest-tiny.sh makes it", err))
	}
	g := newGuest(t, nil)
	if err := volume.RemoveOverlays(g.dir); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "--sparse=always", disk, g.base).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	g.prepare(t)
	g.xml = noSerial(strings.Replace(g.xml, "<memory unit='MiB'>64<", "<memory unit='MiB'>256<", 1))
	before, stat := hash(t, g.base), statOf(t, g.base)
	req := g.request(t)
	req.For, req.Shutdown = 20*time.Minute, 20*time.Second
	proof, err := c.Prove(t.Context(), req)
	if err != nil || proof.Kind != LoginPrompt {
		t.Fatalf("Prove = %+v, %v", proof, err)
	}
	t.Logf("%s after %v", proof.Evidence, proof.Duration)
	g.gone(t, c)
	if hash(t, g.base) != before {
		t.Error("the base disk has changed")
	}
	after := statOf(t, g.base)
	if after.Mtim != stat.Mtim || after.Mode != stat.Mode {
		t.Errorf("the base's times or mode have changed: %+v, was %+v", after, stat)
	}
	t.Logf("owner of the base: %d, was %d", after.Uid, stat.Uid)
	if err := volume.RemoveOverlays(g.dir); err != nil {
		t.Error(err)
	}
}

func statOf(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// TestProveEFI has EFI firmware find nothing to boot.
func TestProveEFI(t *testing.T) {
	c := system(t)
	caps, err := c.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !caps.EFI {
		fixtures.Missing(t, "no OVMF")
	}
	g := newGuest(t, nil)
	nvram := volume.OverlayNVRAM(g.dir)
	g.xml = strings.NewReplacer(
		"<os>", "<os firmware='efi'>", "machine='pc'>hvm</type>", "machine='q35'>hvm</type><nvram>"+nvram+"</nvram>",
		"<bios useserial='yes'/>", "", "<memory unit='MiB'>64<", "<memory unit='MiB'>256<",
	).Replace(g.xml)
	req := g.request(t)
	req.For = 10 * time.Minute
	_, err = c.Prove(t.Context(), req)
	var failed *ProofError
	if !errors.As(err, &failed) || failed.Reason != "the firmware found nothing to boot" {
		t.Errorf("Prove = %v; want that the firmware found nothing", err)
	}
	t.Log(err)
	g.gone(t, c)
	if err := volume.RemoveOverlays(g.dir); err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{"/var/lib/libvirt/qemu/*" + g.name + "*", "/var/lib/libvirt/qemu/*/*" + g.name + "*", "/run/libvirt/qemu/*" + g.name + "*"} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
	}
}

// TestProveKilled kills a process in the middle of a proof.
func TestProveKilled(t *testing.T) {
	c := system(t)
	g := newGuest(t, fixtures.BootSector("still booting\r\n"))
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProve$")
	cmd.Env = append(os.Environ(), "ESXODUS_TEST_PROVE="+g.xml)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "still booting") {
		t.Log(lines.Text())
	}
	if _, ok, err := c.Lookup(t.Context(), g.name); !ok || err != nil {
		t.Errorf("Lookup before the kill = %v, %v; want it running", ok, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	g.gone(t, c)
}

// TestHelperProve is the process that TestProveKilled kills.
func TestHelperProve(t *testing.T) {
	xml := os.Getenv("ESXODUS_TEST_PROVE")
	if xml == "" {
		t.Skip("not a test of its own")
	}
	c := system(t)
	_, err := c.Prove(t.Context(), ProofRequest{XML: xml, Expect: LoginPrompt, For: 10 * time.Minute, Line: func(s string) { os.Stdout.WriteString(s + "\n") }})
	t.Errorf("Prove returned: %v", err)
}
