package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"esxodus/fixtures"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// noClaim is for tests that do not look at identities.
func noClaim(Identity) error { return nil }

// names lists a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(names(t, dir), append([]string{}, want...)); diff != "" {
		t.Errorf("files in the directory (-got +want):\n%s", diff)
	}
}

func wantState(t *testing.T, s Storage, v Volume, run string, id Identity, want State) {
	t.Helper()
	if got, err := s.State(t.Context(), v, run, id); got != want || err != nil {
		t.Errorf("State = %q, %v; want %q", got, err, want)
	}
}

func dirVolume(t *testing.T, name string, size int64) (Dir, Volume) {
	t.Helper()
	d := Dir{Path: t.TempDir()}
	v, err := d.Volume(name, size)
	if err != nil {
		t.Fatal(err)
	}
	return d, v
}

func TestDirLife(t *testing.T) {
	for _, name := range []string{"web.raw", "Büro's \"disk\" 100% <x> & y.raw", strings.Repeat("x", maxFile)} {
		t.Run(name[:7], func(t *testing.T) {
			d, v := dirVolume(t, name, 10<<30+512)
			ctx := t.Context()
			wantState(t, d, v, "r1", Identity{}, Absent)
			var id Identity
			if err := d.Create(ctx, v, "r1", func(i Identity) error { id = i; return nil }); err != nil {
				t.Fatal(err)
			}
			wantNames(t, d.Path, name)
			var st syscall.Stat_t
			if err := syscall.Stat(v.Path, &st); err != nil || st.Size != v.Size || st.Blocks*512 > 64<<10 || st.Mode&0o777 != 0o600 {
				t.Errorf("stat = %+v, %v; want %d bytes, sparse, 0600", st, err, v.Size)
			}
			wantState(t, d, v, "r1", id, Ours)
			wantState(t, d, v, "r1", Identity{}, Foreign)
			if err := d.Activate(ctx, v); err != nil {
				t.Error(err)
			}
			// Filling the file must not change whose it is.
			if err := os.WriteFile(v.Path, []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
			wantState(t, d, v, "r1", id, Ours)
			for range 2 {
				if err := d.Remove(ctx, v, "r1", id); err != nil {
					t.Error(err)
				}
				wantNames(t, d.Path)
			}
		})
	}
}

func TestDirClash(t *testing.T) {
	tests := []struct {
		name string
		make func(path string) error
	}{
		{"file", func(p string) error { return os.WriteFile(p, []byte("precious"), 0o644) }},
		{"directory", func(p string) error { return os.Mkdir(p, 0o755) }},
		{"dangling link", func(p string) error { return os.Symlink("/nonexistent", p) }},
		{"fifo", func(p string) error { return syscall.Mkfifo(p, 0o600) }},
	}
	for _, tt := range tests {
		for _, when := range []string{"before", "as the file is claimed"} {
			t.Run(tt.name+" "+when, func(t *testing.T) {
				d, v := dirVolume(t, "web.raw", 1<<20)
				ctx := t.Context()
				if when == "before" {
					if err := tt.make(v.Path); err != nil {
						t.Fatal(err)
					}
				}
				var id Identity
				err := d.Create(ctx, v, "r1", func(i Identity) error {
					id = i
					if when == "before" {
						t.Error("claimed what is another's")
						return nil
					}
					return tt.make(v.Path)
				})
				if !errors.Is(err, ErrExists) {
					t.Errorf("Create = %v, want ErrExists", err)
				}
				wantState(t, d, v, "r1", id, Foreign)
				if err := d.Remove(ctx, v, "r1", id); err != nil {
					t.Error(err)
				}
				wantNames(t, d.Path, "web.raw")
				if tt.name == "file" {
					if b, err := os.ReadFile(v.Path); string(b) != "precious" || err != nil {
						t.Errorf("the file is now %q, %v", b, err)
					}
				}
			})
		}
	}
}

// TestDirReplaced has somebody put another file in the place of ours, which
// ext4 gives the same inode number.
func TestDirReplaced(t *testing.T) {
	d, v := dirVolume(t, "web.raw", 4096)
	var id Identity
	if err := d.Create(t.Context(), v, "r1", func(i Identity) error { id = i; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(v.Path); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the kernel's clock for files ticks every few milliseconds
	if err := os.WriteFile(v.Path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(v.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	now, err := identify(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("inode %d, was %d; birth %d, was %d", now.Ino, id.Ino, now.Birth, id.Birth)
	wantState(t, d, v, "r1", id, Foreign)
	if err := d.Remove(t.Context(), v, "r1", id); err != nil {
		t.Error(err)
	}
	wantNames(t, d.Path, "web.raw")
}

func TestDirCreateFails(t *testing.T) {
	stop := errors.New("journal: disk full")
	d, v := dirVolume(t, "web.raw", 4096)
	if err := d.Create(t.Context(), v, "r1", func(Identity) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Create = %v, want %v", err, stop)
	}
	wantNames(t, d.Path)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := d.Create(ctx, v, "r1", noClaim); !errors.Is(err, stop) {
		t.Errorf("Create with an ended context = %v", err)
	}
	for _, run := range []string{"", "../x", "a/b", ".x", "a b", strings.Repeat("x", 65)} {
		if err := d.Create(t.Context(), v, run, noClaim); err == nil || !strings.Contains(err.Error(), "run id") {
			t.Errorf("Create for run %q = %v", run, err)
		}
	}
	v.Path = "/etc/x"
	if err := d.Create(t.Context(), v, "r1", noClaim); err == nil || !strings.Contains(err.Error(), "/etc/x is not a file in "+d.Path) {
		t.Errorf("Create elsewhere = %v", err)
	}
	wantNames(t, d.Path)
	gone := Dir{Path: filepath.Join(d.Path, "gone")}
	v.Path = filepath.Join(gone.Path, "web.raw")
	if err := gone.Create(t.Context(), v, "r1", noClaim); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Create in no directory = %v", err)
	}
}

// TestDirKilled has another process killed at each instant that matters, and
// checks that the run's next step comes to the right end.
func TestDirKilled(t *testing.T) {
	for _, when := range []string{"before the claim", "after the claim", "between two names"} {
		t.Run(when, func(t *testing.T) {
			d, v := dirVolume(t, "web.raw", 1<<20)
			cmd := exec.Command(os.Args[0], "-test.run=^TestHelperDir$")
			cmd.Env = append(os.Environ(), "ESXODUS_TEST_DIR="+v.Path, "ESXODUS_TEST_WHEN="+when)
			out, err := cmd.Output()
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
				t.Fatalf("helper: %v: %s", err, out)
			}
			var id Identity // as the journal has it
			if when != "before the claim" {
				if _, err := fmt.Sscan(string(out), &id.Dev, &id.Ino, &id.Birth); err != nil {
					t.Fatalf("helper: %v: %s", err, out)
				}
			}
			ctx := t.Context()
			if when == "between two names" {
				wantNames(t, d.Path, ".web.raw.r1.tmp", "web.raw")
				wantState(t, d, v, "r1", id, Ours)
				if err := d.Activate(ctx, v); err != nil {
					t.Error(err)
				}
				wantNames(t, d.Path, "web.raw")
			} else {
				wantNames(t, d.Path, ".web.raw.r1.tmp")
				wantState(t, d, v, "r1", id, Absent)
				if err := d.Create(ctx, v, "r1", func(i Identity) error { id = i; return nil }); err != nil { // resume
					t.Error(err)
				}
				wantNames(t, d.Path, "web.raw")
			}
			if err := d.Remove(ctx, v, "r1", id); err != nil { // rollback
				t.Error(err)
			}
			wantNames(t, d.Path)
		})
	}
}

// TestHelperDir is the process that TestDirKilled has killed.
func TestHelperDir(t *testing.T) {
	path := os.Getenv("ESXODUS_TEST_DIR")
	if path == "" {
		t.Skip("not a test of its own")
	}
	d := Dir{Path: filepath.Dir(path)}
	v := Volume{Kind: KindDir, Path: path, Size: 1 << 20}
	err := d.Create(t.Context(), v, "r1", func(id Identity) error {
		switch when := os.Getenv("ESXODUS_TEST_WHEN"); when {
		case "after the claim", "between two names":
			fmt.Println(id.Dev, id.Ino, id.Birth)
			if when == "between two names" { // where renameat2 cannot do it at once
				if err := os.Link(tempPath(v, "r1"), path); err != nil {
					return err
				}
			}
		}
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	})
	t.Errorf("Create returned: %v", err)
}

func TestDirRemoveLeavesOthersTemps(t *testing.T) {
	d, v := dirVolume(t, "web.raw", 4096)
	other := filepath.Join(d.Path, ".web.raw.r2.tmp")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(t.Context(), v, "r1", noClaim); err != nil {
		t.Fatal(err)
	}
	if err := d.Activate(t.Context(), v); err != nil {
		t.Error(err)
	}
	wantNames(t, d.Path, ".web.raw.r2.tmp", "web.raw")
}

func TestDirCheck(t *testing.T) {
	d, v := dirVolume(t, "web.raw", 4097)
	if err := os.WriteFile(filepath.Join(d.Path, "old.raw"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := d.Volume("old.raw", 512)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := d.Check(t.Context(), []Volume{v, old})
	if err != nil {
		t.Fatal(err)
	}
	want := []Found{
		{Volume: v, Size: (4097 + facts.Unit - 1) / facts.Unit * facts.Unit},
		{Volume: old, Size: facts.Unit, Exists: "a file of 1 bytes"},
	}
	if diff := cmp.Diff(facts.Volumes, want); diff != "" {
		t.Errorf("volumes (-got +want):\n%s", diff)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(d.Path, &st); err != nil {
		t.Fatal(err)
	}
	if facts.Free <= 0 || facts.FSType == "" || !facts.Sparse {
		t.Errorf("facts = %+v", facts)
	}
	wantNames(t, d.Path, "old.raw")
	file := filepath.Join(d.Path, "old.raw")
	for path, want := range map[string]string{d.Path + "/none": "make the directory", file: "is not a directory", "/proc": "/proc"} {
		if _, err := (Dir{Path: path}).Check(t.Context(), nil); (err == nil) != (path == "/proc") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Check of %s = %v, want %q", path, err, want)
		}
	}
}

func TestUnpassable(t *testing.T) {
	base, err := os.MkdirTemp("/var/tmp", "esxodus-host-test-") //nolint:usetesting // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	deep := filepath.Join(base, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := Unpassable(deep); got != base {
		t.Errorf("Unpassable = %q, want %q", got, base)
	}
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	if got := Unpassable(deep); got != "" {
		t.Errorf("Unpassable = %q, want none", got)
	}
	if err := os.Chmod(deep, 0o770); err != nil {
		t.Fatal(err)
	}
	if got := Unpassable(deep); got != deep {
		t.Errorf("Unpassable = %q, want %q", got, deep)
	}
	if err := os.Symlink(deep, base+"/link"); err != nil {
		t.Fatal(err)
	}
	if got := Unpassable(base + "/link"); got != deep {
		t.Errorf("Unpassable by a link = %q, want %q", got, deep)
	}
}

// TestDirLoop uses small file systems of their own: one that is full, one
// that takes no large files, one that is read-only.
func TestDirLoop(t *testing.T) {
	if os.Getuid() != 0 {
		fixtures.Missing(t, "not root")
	}
	tests := []struct {
		name, mkfs string
		size       int64
		check, err string
	}{
		{"ext2 with small blocks", "mkfs.ext2", 64 << 30, "", "can't hold a file of 68719476736 bytes"},
		{"ext4", "mkfs.ext4", 1 << 30, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Dir{Path: mountImage(t, tt.mkfs)}
			v, err := d.Volume("web.raw", tt.size)
			if err != nil {
				t.Fatal(err)
			}
			facts, err := d.Check(t.Context(), []Volume{v})
			if (err == nil) != (tt.check == "") || err != nil && !strings.Contains(err.Error(), tt.check) {
				t.Errorf("Check = %+v, %v; want %q", facts, err, tt.check)
			}
			before := names(t, d.Path)
			err = d.Create(t.Context(), v, "r1", noClaim)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Create = %v, want %q", err, tt.err)
			}
			if err != nil {
				wantNames(t, d.Path, before...)
			}
		})
	}
	t.Run("full", func(t *testing.T) {
		d := Dir{Path: mountImage(t, "mkfs.ext4", "-N", "16")}
		var err error
		for i := range 32 {
			v, e := d.Volume(fmt.Sprintf("disk%d.raw", i), 1<<20)
			if e != nil {
				t.Fatal(e)
			}
			if err = d.Create(t.Context(), v, "r1", noClaim); err != nil {
				break
			}
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("Create = %v, want ENOSPC", err)
		}
		for _, n := range names(t, d.Path) {
			if strings.HasSuffix(n, ".tmp") {
				t.Errorf("%s is left", n)
			}
		}
	})
	t.Run("read-only", func(t *testing.T) {
		d := Dir{Path: mountImage(t, "mkfs.ext4")}
		if err := unix.Mount("", d.Path, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Check(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "is mounted read-only") {
			t.Errorf("Check = %v", err)
		}
	})
}

func TestFits(t *testing.T) {
	for _, tt := range []struct {
		kind       string
		unit, size int64
		want       string
	}{
		{"vfat", 4096, 1<<32 - 1, ""},
		{"vfat", 4096, 1 << 32, "/x: 4294967296 bytes, but a file on this vfat has at most 4294967295"},
		{"ext4", 1024, 1<<42 - 1024, ""},
		{"ext4", 1024, 1 << 42, "at most 4398046510080"},
		{"ext4", 4096, 1<<44 - 4096, ""},
		{"ext4", 4096, 1 << 44, "at most 17592186040320"},
		{"xfs", 4096, 1 << 60, ""},
	} {
		v := Volume{Kind: KindDir, Path: "/x", Size: tt.size}
		if err := fits(Facts{FSType: tt.kind, Unit: tt.unit}, v); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %d: fits = %v, want %q", tt.kind, tt.size, err, tt.want)
		}
	}
}

// TestFitsKernel: what ext4 holds at most, as the kernel has it.
func TestFitsKernel(t *testing.T) {
	d := Dir{Path: mountImage(t, "mkfs.ext4", "-q", "-b", "1024")}
	for size, want := range map[int64]bool{1<<42 - 1024: true, 1 << 42: false} {
		v, err := d.Volume(strconv.FormatInt(size, 10), size)
		if err != nil {
			t.Fatal(err)
		}
		facts, err := d.Check(t.Context(), []Volume{v})
		if err != nil || (facts.Volumes[0].Unfit == "") != want {
			t.Errorf("Check of %d = %q, %v; want that it fits: %v", size, facts.Volumes[0].Unfit, err, want)
		}
		if err := d.Create(t.Context(), v, "r1", noClaim); (err == nil) != want {
			t.Errorf("Create of %d = %v; want that it fits: %v", size, err, want)
		}
	}
}

// mountImage mounts a new file system of 16 MiB.
func mountImage(t *testing.T, mkfs string, args ...string) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "fs"), t.TempDir()
	if err := os.WriteFile(image, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, append(args, image)...).CombinedOutput(); err != nil {
		fixtures.Missing(t, fmt.Sprintf("%s: %v: %s", mkfs, err, out))
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		fixtures.Missing(t, fmt.Sprintf("mount: %v: %s", err, out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}
