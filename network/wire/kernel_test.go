package wire

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"esxodus/fixtures"
)

// machine is an emulated machine with a real kernel, on wires.
type machine struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (m *machine) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.Write(b)
}

func (m *machine) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.String()
}

// boot starts a machine with a NIC on each wire that runs a command; it ends with the
// test.
func boot(t *testing.T, w *Wire, command string) *machine {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	fixtures.Tool(t, "qemu-system-x86_64")
	dir := strings.TrimSpace(fixtures.Run(t, fixtures.Script(t, "guest-net.sh")))
	lines := strings.Split(dir, "\n")
	dir = lines[len(lines)-1]
	args := []string{
		"--", "-machine", "q35", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-nic", "none",
		"-kernel", filepath.Join(dir, "vmlinux"), "-initrd", filepath.Join(dir, "initrd.img"),
		"-append", "console=ttyS0 quiet no_timer_check mitigations=off panic=-1 -- \"" + command + "\"",
	}
	for i, e := range w.Ends() {
		args = append(args, "-netdev", fmt.Sprintf("socket,id=n%d,udp=127.0.0.1:%d,localaddr=127.0.0.1:%d", i, e.Ours, e.Guest),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=n%d,mac=%s", i, w.ports[i].mac))
	}
	m := &machine{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, fixtures.Script(t, "emulate"), args...)
	cmd.Stdout, cmd.Stderr = m, m
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("console:\n%s", m)
		}
	})
	return m
}

// TestKernel has a real kernel answer.
func TestKernel(t *testing.T) {
	t.Parallel()
	static := nic("192.0.2.10/24")
	w := open(t, static)
	w.run(t)
	boot(t, w, "ip link set eth0 up; ip addr add 192.0.2.10/24 dev eth0; ip route add default via 192.0.2.1")
	await(t, "the kernel's answers", w.Complete)
	want := `^ens192 has 192\.0\.2\.10 \(00:0c:29:01:02:03\), answered ARP after \d+ s and ping after \d+ s$`
	if got := w.Results()[0].String(); !w.Answered() || !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("answered %v: %s", w.Answered(), got)
	} else {
		t.Log(got)
	}
}
