package disk_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"esxodus/disk"
)

// TestSweepDigests: a new digest file ends what a killed call left, and touches
// no file that isn't its own.
func TestSweepDigests(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.digests")
	others := []string{"a.digests.x.new", "a.digests.1.news", "aa.digests.1.new", "b.digests.1.new"}
	for _, name := range append([]string{"a.digests.1.new", "a.digests.4294967295.new"}, others...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(path+".2.new", 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := disk.CreateDigests(path, "src", 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(want ...string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("files: %q; want %q", got, want)
		}
	}
	check(append([]string{"a.digests", "a.digests.2.new"}, others...)...)
	for range 2 {
		if err := disk.RemoveDigests(path); err != nil {
			t.Fatal(err)
		}
		check(append([]string{"a.digests.2.new"}, others...)...)
	}
}
