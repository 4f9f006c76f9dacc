package extfs

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

// crashes are the kinds of file systems with a journal that are cut off.
func crashes() []disktest.Crash {
	of := func(name, options string, mkfs ...string) disktest.Crash {
		return disktest.Crash{
			Name: name, Kind: "ext4", Size: 128 << 20, Options: options,
			Make: append([]string{"mke2fs", "-q", "-F"}, mkfs...), Check: []string{"e2fsck", "-fn"},
		}
	}
	return []disktest.Crash{
		of("4 KiB", "", "-t", "ext4", "-b", "4096", "-g", "4096", "-J", "size=4"),
		of("1 KiB, small journal", "", "-t", "ext4", "-b", "1024", "-J", "size=4"),
		of("ext3", "", "-t", "ext3"),
		of("2 KiB", "", "-t", "ext4", "-b", "2048"),
		of("bigalloc", "", "-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "16384", "-J", "size=4"),
		of("4 KiB, no sums", "", "-t", "ext4", "-b", "4096", "-O", "^64bit,^metadata_csum", "-J", "size=6"),
		of("1 KiB", "", "-t", "ext4", "-b", "1024"),
		of("all in the journal", "data=journal", "-t", "ext4", "-b", "4096", "-J", "size=8"),
		of("1 KiB, 32 bits, uninit_bg", "", "-t", "ext4", "-b", "1024", "-O", "^64bit,^metadata_csum,uninit_bg", "-J", "size=4"),
		of("1 KiB, tiny journal", "", "-t", "ext4", "-b", "1024", "-J", "size=1"),
		of("orphan_file, no flex_bg", "", "-t", "ext4", "-b", "1024", "-O", "orphan_file,^flex_bg"),
	}
}

// cut makes the file system of a round.
func cut(t *testing.T, seed uint64) (disktest.Crash, string) {
	t.Helper()
	kinds := crashes()
	c := kinds[seed%uint64(len(kinds))]
	return c, c.Cut(t, seed)
}

// TestCrash: a file system that was cut off at some moment under load loses nothing with what
// is unused overwritten.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, seed := range disktest.CrashSeeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c, path := cut(t, seed)
			f, _, _ := openImage(t, path)
			if !f.NeedsRecovery() {
				t.Fatalf("%s: it was unmounted", c.Name)
			}
			if _, err := unused(f); isWhole(err) {
				t.Skipf("%s: %v", c.Name, err)
			}
			copied, bytes := disktest.Scramble(t, path, f.Unused(context.Background()))
			t.Logf("%s: %d MiB unused", c.Name, bytes>>20)
			if diff := c.Differences(t, path, copied); len(diff) > 0 {
				t.Errorf("%s, ESXODUS_CRASHES=1 ESXODUS_CRASH_SEED=%d: %d differences: %.2000q", c.Name, seed, len(diff), diff)
			}
		})
	}
}

// isWhole is the one reason not to trust a file system that was cut off.
func isWhole(err error) bool {
	var untrusted *disk.UntrustedError
	return errors.As(err, &untrusted) && untrusted.Why == "its journal is larger than the free space that it may tell of"
}
