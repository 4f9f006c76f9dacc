package lilo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"esxodus/fixtures"
)

// machine is a virtual machine that boots a disk from its sector 0.
type machine struct {
	tb      testing.TB
	in      io.WriteCloser
	cmd     *exec.Cmd
	monitor string // path of its socket
	gdb     string // the same of QEMU's debugger

	mu   sync.Mutex
	out  []byte
	done bool
	more chan struct{} // has an element after each read
	seen int           // bytes of out that expect has passed
}

// hardware is what a machine is made of; the zero value is good.
type hardware struct {
	board  string // q35
	bus    string // virtio-blk
	memory int    // MiB, 64
	vga    bool
	com2   bool // the console is COM2
	locked bool // the disk can't be written
	bad    int  // a sector that can't be read
}

// drive describes the disk in a file.
func (h *hardware) drive(disk string) string {
	disk = strings.ReplaceAll(disk, ",", ",,")
	s := fmt.Sprintf("if=none,id=d0,format=raw,cache=unsafe,readonly=%s", map[bool]string{true: "on", false: "off"}[h.locked])
	if h.bad == 0 {
		return s + ",file=" + disk
	}
	return s + fmt.Sprintf(",file.driver=blkdebug,file.image.driver=file,file.image.filename=%s,file.inject-error.0.event=read_aio,file.inject-error.0.sector=%d", disk, h.bad)
}

func (h *hardware) args() []string {
	device := []string{"-device", "virtio-blk-pci,drive=d0"}
	switch h.bus {
	case "virtio-scsi":
		device = []string{"-device", "virtio-scsi-pci,id=hba", "-device", "scsi-hd,bus=hba.0,drive=d0"}
	case "ahci":
		device = []string{"-device", "ahci,id=hba", "-device", "ide-hd,bus=hba.0,drive=d0"}
	}
	vga := "none"
	if h.vga {
		vga = "std"
	}
	if h.com2 {
		device = append(device, "-serial", "null")
	}
	device = append(device, "-serial", "chardev:c0")
	return append(device, "-machine", cmp.Or(h.board, "q35"), "-m", fmt.Sprint(max(h.memory, 64)), "-vga", vga)
}

// boot starts a machine; it ends with the test.
func (h hardware) boot(tb testing.TB, disk string) *machine {
	tb.Helper()
	qemu := fixtures.Tool(tb, "qemu-system-x86_64")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	m := &machine{tb: tb, more: make(chan struct{}, 1), monitor: filepath.Join(tb.TempDir(), "monitor"), gdb: filepath.Join(tb.TempDir(), "gdb")}
	m.cmd = exec.CommandContext(ctx, qemu, append([]string{
		"-accel", "tcg", "-nodefaults", "-nic", "none", "-display", "none", "-no-reboot",
		"-chardev", "stdio,id=c0,signal=off",
		"-monitor", "unix:" + strings.ReplaceAll(m.monitor, ",", ",,") + ",server=on,wait=off",
		"-gdb", "unix:" + strings.ReplaceAll(m.gdb, ",", ",,") + ",server=on,wait=off",
		"-drive", h.drive(disk),
	}, h.args()...)...)
	in, err := m.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	m.in = in
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	m.cmd.Stderr = tb.Output()
	if err := m.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	read := make(chan struct{})
	go m.read(out, read)
	tb.Cleanup(func() {
		cancel()
		<-read
		m.cmd.Wait()
		if tb.Failed() {
			tb.Logf("console:\n%s", m.console())
		}
	})
	return m
}

func (m *machine) read(r io.Reader, done chan struct{}) {
	defer close(done)
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		m.mu.Lock()
		m.out = append(m.out, bytes.ReplaceAll(buf[:n], []byte("\r"), nil)...)
		m.done = err != nil
		m.mu.Unlock()
		select {
		case m.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (m *machine) console() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.out)
}

// expect waits until the console shows text after all that was expected so far,
// and returns what was between.
func (m *machine) expect(text string) string {
	m.tb.Helper()
	timeout := time.After(10 * time.Minute) // machines here are emulated, and many at once
	for {
		m.mu.Lock()
		rest := string(m.out[m.seen:])
		done := m.done
		m.mu.Unlock()
		if before, _, ok := strings.Cut(rest, text); ok {
			m.seen += len(before) + len(text)
			return before
		}
		if done {
			m.tb.Fatalf("the machine ended; got %q; want %q", rest, text)
		}
		select {
		case <-m.more:
		case <-timeout:
			m.tb.Fatalf("console shows %q; want %q", rest, text)
		}
	}
}

func (m *machine) send(keys string) {
	m.tb.Helper()
	if _, err := io.WriteString(m.in, keys); err != nil {
		m.tb.Fatal(err)
	}
}

// stop ends the machine, so that its disk can be looked at or booted again.
func (m *machine) stop() {
	m.cmd.Process.Kill()
	for !m.ended() {
		<-m.more
	}
}

// ended reports whether the machine is no more: it ends instead of a restart.
func (m *machine) ended() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done
}

// gift is what the payload says that it was given.
type gift struct {
	line                 string
	initrd, size         uint64
	video, loader, flags uint64
	heap, ss, sp         uint64
	ram                  []Region
	kernelSum, initrdSum uint64
}

// payload waits for the payload and returns what it says.
func (m *machine) payload() gift {
	m.tb.Helper()
	m.expect("line=")
	var g gift
	text := m.expect("\npayload ends")
	g.line, text, _ = strings.Cut(text, "\n")
	for line := range strings.Lines(text) {
		var r Region
		if n, _ := fmt.Sscanf(line, "ram=%x,%x", &r.Start, &r.Length); n == 2 {
			g.ram = append(g.ram, r)
			continue
		}
		fmt.Sscanf(line, "initrd=%x,%x video=%x loader=%x,%x heap=%x stack=%x,%x",
			&g.initrd, &g.size, &g.video, &g.loader, &g.flags, &g.heap, &g.ss, &g.sp)
		fmt.Sscanf(line, "sums=%x,%x", &g.kernelSum, &g.initrdSum)
	}
	return g
}

// payload assembles the kernel that tells what it was given, with size more
// bytes behind its setup code that depend on seed.
func payload(tb testing.TB, size int, seed byte) []byte {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "payload")
	cmd := exec.CommandContext(tb.Context(), fixtures.Tool(tb, "nasm"), "-f", "bin", "-o", out, "testdata/payload.asm")
	if msg, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("nasm: %v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	size &^= 15
	binary.LittleEndian.PutUint32(b[0x1f4:], uint32(size/16))
	return append(b, noise(size, seed)...)
}

func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// save writes the disk to a file of so many bytes at least.
func (d *testDisk) save(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "disk")
	if err := os.WriteFile(path, d.bytes, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
