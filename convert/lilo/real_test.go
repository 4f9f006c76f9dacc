package lilo

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
)

// ask sends a line to the machine's monitor and returns the answer.
func (m *machine) ask(line string) string {
	m.tb.Helper()
	conn, err := net.Dial("unix", m.monitor)
	if err != nil {
		m.tb.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	r := bufio.NewReader(conn)
	prompt := func() string {
		var b []byte
		for !bytes.HasSuffix(b, []byte("(qemu) ")) {
			c, err := r.ReadByte()
			if err != nil {
				m.tb.Fatalf("monitor after %q: %v", b, err)
			}
			b = append(b, c)
		}
		return string(b)
	}
	prompt()
	if _, err := fmt.Fprintln(conn, line); err != nil {
		m.tb.Fatal(err)
	}
	return prompt()
}

// screen returns the text on the screen, each line's end as it is.
func (m *machine) screen() string {
	m.tb.Helper()
	var b strings.Builder
	for line := range strings.Lines(m.ask("xp /2000xh 0xb8000")) {
		_, words, _ := strings.Cut(line, ": ")
		for word := range strings.FieldsSeq(words) {
			var cell uint16
			if n, _ := fmt.Sscanf(word, "0x%04x", &cell); n == 1 {
				b.WriteByte(byte(cell))
			}
		}
	}
	return b.String()
}

// TestScreenAndKeyboard uses no serial port.
func TestScreenAndKeyboard(t *testing.T) {
	fixtures.Rung(t, "lab")
	t.Parallel()
	d, m := bootable(t)
	m.Prompt, m.Serial = true, nil
	d.install(t, m, true)
	vm := hardware{vga: true}.boot(t, d.save(t))
	wait := func(text string) {
		t.Helper()
		var got string
		for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if _, err := os.Stat(vm.monitor); err != nil {
				continue
			}
			if got = vm.screen(); strings.Contains(got, text) {
				return
			}
		}
		t.Fatalf("screen shows %q; want %q", got, text)
	}
	wait("boot: ")
	vm.ask("sendkey tab")
	wait("*Linux/new                             LinuxOLD")
	for _, key := range []string{"shift-l", "i", "n", "u", "x", "spc", "s", "t", "backspace", "left", "ret"} {
		vm.ask("sendkey " + key)
	}
	wait("boot: Linux s ")
	vm.starts(d, m, linux+" s")
	if got := vm.console(); strings.Contains(got, "boot:") {
		t.Errorf("the serial port shows %q; want nothing of the loader", got)
	}
}

// kernel returns Debian's kernel.
func kernel(tb testing.TB) []byte {
	tb.Helper()
	path := filepath.Join(cmp.Or(os.Getenv("ESXODUS_CACHE"), "../../.cache"), "kernel", "vmlinuz")
	b, err := os.ReadFile(path)
	if err != nil {
		fixtures.Missing(tb, "the kernel of scripts/kernel.sh")
	}
	return b
}

// initrd makes an initrd of busybox and a large file, of which it tells the sum
// after the kernel's command line.
func initrd(tb testing.TB, large []byte) []byte {
	tb.Helper()
	dir := tb.TempDir()
	busybox, err := os.ReadFile(fixtures.Tool(tb, "busybox"))
	if err != nil {
		tb.Fatal(err)
	}
	script := "#!/busybox sh\n/busybox mkdir /proc\n/busybox mount -t proc proc /proc\n" +
		"echo \"line=$(/busybox cat /proc/cmdline)\"\necho \"sum=$(/busybox sha256sum </large)\"\necho initrd ends\n/busybox sleep 999\n"
	for name, content := range map[string][]byte{"busybox": busybox, "init": []byte(script), "large": large} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	cpio := exec.CommandContext(tb.Context(), fixtures.Tool(tb, "cpio"), "-o", "-H", "newc", "--quiet")
	cpio.Dir, cpio.Stdin = dir, strings.NewReader("busybox\ninit\nlarge\n")
	b, err := cpio.Output()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestRealKernel boots Debian's kernel into user space, from pieces.
func TestRealKernel(t *testing.T) {
	fixtures.Rung(t, "lab")
	t.Parallel()
	large := noise(4<<20, 3)
	d := newTestDisk(64 << 11)
	rd := d.file("initrd", initrd(t, large), 1000)
	m := &Menu{
		Images: []Image{{Label: "Linux", Cmdline: "console=ttyS0 panic=1", Kernel: d.file("vmlinuz", kernel(t), 777), Initrd: &rd}},
		Prompt: true, Serial: &Serial{BPS: 115200, Parity: 'n', Bits: 8},
	}
	d.install(t, m, true)
	vm := hardware{bus: "virtio-scsi", memory: 4096}.boot(t, d.save(t))
	vm.expect("boot: ")
	start := time.Now()
	vm.send("linux quiet\r")
	vm.expect("Loading Linux")
	vm.expect("line=")
	if got, want := vm.expect("\n"), "BOOT_IMAGE=Linux console=ttyS0 panic=1 quiet"; got != want {
		t.Errorf("kernel's command line %q; want %q", got, want)
	}
	vm.expect("sum=")
	if got, want := vm.expect(" "), fmt.Sprintf("%x", sha256.Sum256(large)); got != want {
		t.Errorf("file in the initrd has the sum %s; want %s", got, want)
	}
	vm.expect("initrd ends")
	t.Logf("from Enter to user space in %v", time.Since(start).Round(time.Millisecond))
}
