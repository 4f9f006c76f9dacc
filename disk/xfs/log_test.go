package xfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dirtyBy asks xfs_logprint, which uses the code that xfs_repair uses.
func dirtyBy(tb testing.TB, path string) bool {
	tb.Helper()
	out := run(tb, "xfs_logprint", "-t", path)
	switch {
	case strings.Contains(out, "<CLEAN>"):
		return false
	case strings.Contains(out, "<DIRTY>"):
		return true
	}
	tb.Fatalf("xfs_logprint says neither clean nor dirty: %s", out)
	return false
}

// churn changes files and removes them, which fills the log.
func churn(tb testing.TB, dir string, rounds int) {
	tb.Helper()
	for i := range rounds {
		sub := filepath.Join(dir, fmt.Sprintf("churn %d", i))
		if err := os.Mkdir(sub, 0o755); err != nil {
			tb.Fatal(err)
		}
		for j := range 500 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(j)), nil, 0o600); err != nil {
				tb.Fatal(err)
			}
			if j%50 == 0 { // the kernel logs what changed between syncs but once
				run(tb, "sync", "-f", dir)
			}
		}
		if err := os.RemoveAll(sub); err != nil {
			tb.Fatal(err)
		}
	}
}

func logAt(tb testing.TB, f *FS) int64 {
	tb.Helper()
	at, err := f.linear(f.logStart, f.logBlocks)
	if err != nil {
		tb.Fatal(err)
	}
	return at * f.blockSize
}

// used mounts a file system, changes it and unmounts it.
func used(rounds int) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		mount(t, path, func(dir string) { churn(t, dir, rounds) })
	}
}

// pulled does so, but the file system is cut off from its disk before.
func pulled(rounds int, shutdown string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		mount(t, path, func(dir string) {
			churn(t, dir, rounds)
			run(t, "xfs_io", "-x", "-c", shutdown, dir)
		})
	}
}

// TestLog compares with xfs_logprint whether the log must be replayed.
func TestLog(t *testing.T) {
	small := []string{"-l", "size=1368b"}
	for _, tt := range []struct {
		name   string
		argv   []string
		change func(t *testing.T, path string)
		want   bool
	}{
		{"just made", nil, nil, false},
		{"just made, version 4", []string{"-m", "crc=0"}, nil, false},
		{"just made, version 4, old log", []string{"-m", "crc=0", "-l", "version=1"}, nil, false},
		{"unmounted", nil, used(1), false},
		{"unmounted after rounds", small, used(25), false},
		{"large records", []string{"-l", "su=256k"}, used(2), false},
		{"pulled", nil, pulled(1, "shutdown -f"), true},
		{"pulled after rounds", small, pulled(25, "shutdown"), true},
		{"recovered", nil, func(t *testing.T, path string) {
			t.Helper()
			pulled(1, "shutdown -f")(t, path)
			mount(t, path, func(string) {})
		}, false},
		{"log thrown away", nil, func(t *testing.T, path string) {
			t.Helper()
			pulled(1, "shutdown -f")(t, path)
			run(t, "xfs_repair", "-L", path)
		}, false},
		{"another UUID", small, func(t *testing.T, path string) {
			t.Helper()
			used(9)(t, path)
			run(t, "xfs_admin", "-U", "generate", path)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := mkfs(t, 128*mib, tt.argv...)
			if tt.change != nil {
				tt.change(t, path)
			}
			fsys, _, _ := openImage(t, path)
			if strings.Contains(tt.name, "rounds") {
				l := &ring{f: fsys, start: logAt(t, fsys), sectors: fsys.logBlocks * fsys.blockSize / 512}
				if r, err := l.round(0); err != nil || r < 2 {
					t.Fatalf("the log is in round %d, %v; the test wants it to have gone round", r, err)
				}
			}
			if got, tool := fsys.NeedsRecovery(), dirtyBy(t, path); got != tt.want || got != tool {
				t.Errorf("NeedsRecovery = %v; want %v, and xfs_logprint says %v", got, tt.want, tool)
			}
		})
	}
}

// TestLogOfRunning looks at copies of a file system in use, whose log may be
// cut anywhere: what xfs_logprint calls dirty must not look clean.
func TestLogOfRunning(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := mkfs(t, 64*mib, "-l", "size=1368b")
	mount(t, path, func(dir string) {
		for i := range 12 {
			churn(t, dir, 1+i%3)
			image := filepath.Join(t.TempDir(), "copy")
			run(t, "cp", "--sparse=always", path, image)
			fsys, _, _ := openImage(t, image)
			if !fsys.NeedsRecovery() || !dirtyBy(t, image) {
				t.Errorf("copy %d: NeedsRecovery = %v, xfs_logprint says %v; want true", i, fsys.NeedsRecovery(), dirtyBy(t, image))
			}
		}
	})
}

func TestLogElsewhere(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, make([]byte, 16*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	fsys, _, _ := openImage(t, mkfs(t, 64*mib, "-l", "logdev="+log))
	if _, err := fsys.ReadDir("."); !fsys.NeedsRecovery() || err != nil {
		t.Errorf("NeedsRecovery = %v with a log on another device, ReadDir: %v; want true, nil", fsys.NeedsRecovery(), err)
	}
}
