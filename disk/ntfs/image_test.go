package ntfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
)

const mib = 1 << 20

// mkfs makes a volume in a sparse file, with sectors behind it that aren't its.
func mkfs(tb testing.TB, size int64, argv ...string) string {
	tb.Helper()
	fixtures.Tool(tb, "mkfs.ntfs")
	path := filepath.Join(disktest.FastDir(tb), "img")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		tb.Fatal(err)
	}
	fixtures.Run(tb, append(append([]string{"mkfs.ntfs", "-F", "-Q", "-q"}, argv...), path)...)
	return path
}

// mounted has ntfs-3g mount an image while use runs: in a namespace of its own, so that no
// other test's keeps the mount from ending.
func mounted(tb testing.TB, path string, use func(dir string)) {
	tb.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		fixtures.Missing(tb, "root with /dev/fuse, to mount NTFS,")
	}
	point := tb.TempDir()
	cmd := exec.Command(fixtures.Tool(tb, "ntfs-3g"), "-o", "no_detach,permissions", path, point)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	var errs strings.Builder
	cmd.Stderr = &errs
	runtime.LockOSThread() // the thread's end is what Pdeathsig speaks of
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tb.Cleanup(func() { _ = cmd.Process.Kill() }) // where the test failed
	dir := fmt.Sprintf("/proc/%d/root%s", cmd.Process.Pid, point)
	var before unix.Stat_t
	if err := unix.Stat(point, &before); err != nil {
		tb.Fatal(err)
	}
	for st := before; st.Dev == before.Dev; time.Sleep(time.Millisecond) {
		select {
		case err := <-done:
			tb.Fatalf("ntfs-3g: %v: %s", err, errs.String())
		default:
		}
		if err := unix.Stat(dir, &st); err != nil && !errors.Is(err, os.ErrNotExist) {
			tb.Fatal(err)
		}
	}
	use(dir)
	// Lazily, for a child that isn't a program yet may hold files.
	fixtures.Run(tb, fixtures.Tool(tb, "nsenter"), fmt.Sprintf("--mount=/proc/%d/ns/mnt", cmd.Process.Pid), "umount", "--lazy", point)
	if err := <-done; err != nil {
		tb.Fatalf("ntfs-3g: %v: %s", err, errs.String())
	}
}

// sound has ntfsresize compare $Bitmap with the clusters of all files.
func sound(tb testing.TB, path string) {
	tb.Helper()
	out, err := fixtures.Try(tb, "ntfsresize", "--info", "--force", "--no-progress-bar", path)
	if err != nil && !strings.Contains(out, "Volume is full") {
		tb.Errorf("ntfsresize: %v: %s", err, out)
	}
	if out, err := fixtures.Try(tb, "ntfsfix", "--no-action", path); err != nil {
		tb.Errorf("ntfsfix: %v: %s", err, out)
	}
}

func openImage(tb testing.TB, path string) (*FS, int64) {
	tb.Helper()
	r, size := disktest.OpenFile(tb, path)
	f, err := Open(r, size)
	if err != nil {
		tb.Fatal(err)
	}
	return f, size
}

// unused collects what an image doesn't use.
func unused(tb testing.TB, path string) ([]disk.Range, error) {
	tb.Helper()
	f, size := openImage(tb, path)
	return disktest.Runs(tb, f.Unused(tb.Context()), size)
}

// trusted fails the test where an image's free space can't be told.
func trusted(tb testing.TB, path string) []disk.Range {
	tb.Helper()
	runs, err := unused(tb, path)
	if err != nil {
		tb.Fatalf("Unused: %v", err)
	}
	var free int64
	for _, r := range runs {
		free += r.Length
	}
	f, _ := openImage(tb, path)
	var clusters int64
	out := fixtures.Run(tb, "ntfsinfo", "-m", "-f", path)
	for line := range strings.Lines(out) {
		_, _ = fmt.Sscanf(strings.TrimSpace(line), "Free Clusters: %d", &clusters) // the others don't match
	}
	if clusters*f.cluster != free || free == 0 {
		tb.Fatalf("Unused has %d bytes; ntfsinfo says %d clusters of %d bytes: %s", free, clusters, f.cluster, out)
	}
	return runs
}

// why is the reason that Unused gives for an image, "" for none.
func why(tb testing.TB, path string) string {
	tb.Helper()
	runs, err := unused(tb, path)
	var u *disk.UntrustedError
	switch {
	case err == nil && len(runs) > 0:
		return ""
	case !errors.As(err, &u) || len(runs) > 0:
		tb.Fatalf("Unused: %d runs, %v; want runs or an UntrustedError", len(runs), err)
	}
	return u.Why
}

// patch changes bytes of an image.
func patch(tb testing.TB, path string, at int64, b []byte) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(b, at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		tb.Fatal(err)
	}
}
