package install

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"esxodus/fixtures"
)

// lvm is a volume group on a loop device, with a configuration and locks of its
// own; device-mapper isn't needed.
type lvm struct {
	device string
	env    []string
	sys    *System
}

func newLVM(t *testing.T) *lvm {
	t.Helper()
	need(t, "losetup", "pvcreate", "vgcreate", "vgchange", "strace")
	dir := t.TempDir()
	run := func(argv ...string) string {
		out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output()
		if err != nil {
			t.Fatalf("%q: %v", argv, err)
		}
		return strings.TrimSpace(string(out))
	}
	run("truncate", "-s", "64M", dir+"/disk")
	l := &lvm{device: run("losetup", "--find", "--show", dir+"/disk"), sys: &System{}}
	t.Cleanup(func() {
		_ = exec.CommandContext(context.WithoutCancel(t.Context()), "losetup", "--detach", l.device).Run()
	})
	for name, root := range map[string]**os.Root{"run": &l.sys.Run, "/proc": &l.sys.Proc} {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
			if err := os.MkdirAll(name+"/lock/lvm", 0o700); err != nil {
				t.Fatal(err)
			}
		}
		r, err := os.OpenRoot(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		*root = r
	}
	fixtures.LVM(t, dir, dir+"/run/lock/lvm", l.device)
	l.env = append(os.Environ(), "LVM_SYSTEM_DIR="+dir, "LVM_SUPPRESS_FD_WARNINGS=1")
	l.command(t, "pvcreate", "-y", l.device)
	l.command(t, "vgcreate", "vg", l.device)
	return l
}

// command runs one of LVM's commands.
func (l *lvm) command(t *testing.T, argv ...string) {
	t.Helper()
	if err := l.start(t, argv...)(); err != nil {
		t.Error(err)
	}
}

// start starts one, and returns what waits for it.
func (l *lvm) start(t *testing.T, argv ...string) func() error {
	t.Helper()
	argv = append(argv, "--driverloaded", "n")
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = l.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() error {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%q: %w\n%s", argv, err, &out)
		}
		return nil
	}
}

// slow is vgchange that waits before it writes: it has read sector 0 by then.
func (l *lvm) slow(t *testing.T, tag string) func() error {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	wait := l.start(t, "strace", "-f", "-o", trace, "-e", "trace=io_submit", "-e", "inject=io_submit:delay_enter=5000000:when=3",
		"vgchange", "--addtag", tag, "vg")
	deadline := time.Now().Add(10 * time.Minute)
	for {
		if b, _ := os.ReadFile(trace); bytes.Count(b, []byte("io_submit(")) == 3 {
			if !bytes.Contains(b[bytes.LastIndex(b, []byte("io_submit(")):], []byte("PWRITE")) {
				t.Fatalf("the third I/O is no write:\n%s", b)
			}
			return wait
		}
		if time.Now().After(deadline) {
			t.Fatal("vgchange comes to no write")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// sector writes sector 0 past the cache, or reads it.
func (l *lvm) sector(t *testing.T, b []byte) []byte {
	t.Helper()
	f, err := os.OpenFile(l.device, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &direct{disk: &Disk{node: l.device[5:]}, file: f}
	if d.buf, err = unix.Mmap(-1, 0, directSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if b != nil {
		if err := d.write(0, b); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.read(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(got)
}

// TestLostUpdate has LVM write its head back, sector 0 included, while sector 0
// is written: without its lock that is lost, with it it isn't, whoever comes
// first.
func TestLostUpdate(t *testing.T) {
	l := newLVM(t)
	sector := func(c byte) []byte { return bytes.Repeat([]byte{c}, 512) }

	wait := l.slow(t, "a")
	l.sector(t, sector('1'))
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(l.sector(t, nil), sector('1')) {
		t.Error("what was written without the lock is still there: this test proves nothing here")
	}

	wait = l.slow(t, "b")
	var said string
	lock, err := l.sys.lockGroup(t.Context(), "vg", func(s string) { said = s })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said, "held by process") || !strings.HasSuffix(said, "(vgchange)") {
		t.Errorf("while vgchange had the lock it was said %q", said)
	}
	l.sector(t, sector('2'))
	if err := lock.release(); err != nil {
		t.Fatal(err)
	}
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if got := l.sector(t, nil); !bytes.Equal(got, sector('2')) {
		t.Errorf("sector 0 has % x…; want 2s: LVM was first", got[:8])
	}

	// LVM has looked at the disk, and waits.
	if lock, err = l.sys.lockGroup(t.Context(), "vg", nil); err != nil {
		t.Fatal(err)
	}
	wait = l.start(t, "vgchange", "--addtag", "c", "vg")
	awaitWaiter(t, lock)
	l.sector(t, sector('3'))
	if err := lock.release(); err != nil {
		t.Fatal(err)
	}
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if got := l.sector(t, nil); !bytes.Equal(got, sector('3')) {
		t.Errorf("sector 0 has % x…; want 3s: LVM came second", got[:8])
	}
	l.command(t, "vgck", "vg")
}

// awaitWaiter waits until another process waits for a lock that is held, by the
// kernel's own list: "1: -> FLOCK  ADVISORY  WRITE 12 00:19:34 0 EOF".
func awaitWaiter(t *testing.T, lock *groupLock) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) >= 7 && f[1] == "->" && f[2] == "FLOCK" && slices.Contains(lockFiles(t, lock), f[6]) {
				return
			}
		}
	}
	t.Fatal("nobody comes to wait for the lock")
}

// lockFiles names the files of a lock as /proc/locks does.
func lockFiles(t *testing.T, lock *groupLock) (ids []string) {
	t.Helper()
	for _, name := range []string{lock.name, lock.name + ":aux"} {
		info, err := lock.root.Stat(name)
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			ids = append(ids, fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
		}
	}
	return ids
}

// need skips a test for which a tool is missing, or fails it where it must run.
func need(t *testing.T, tools ...string) {
	t.Helper()
	missing := ""
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing += " " + tool
		}
	}
	if os.Geteuid() != 0 {
		missing += " root"
	}
	switch {
	case missing == "":
	case os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") == "1":
		t.Fatal("missing:" + missing)
	default:
		t.Skip("missing:" + missing)
	}
}
