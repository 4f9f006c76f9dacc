package xfs

import (
	"errors"
	"fmt"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

// crash is the kind of file system that a round of a seed cuts off.
func crash(seed uint64) disktest.Crash {
	kinds := [][]string{
		nil, {"-b", "size=1024"}, {"-m", "rmapbt=1"}, {"-d", "agcount=6"}, {"-l", "size=1368b"}, {"-m", "reflink=0", "-i", "sparse=0"},
	}
	argv := append([]string{"mkfs.xfs", "--unsupported", "-q"}, kinds[seed%uint64(len(kinds))]...)
	return disktest.Crash{Name: fmt.Sprint(argv), Kind: "xfs", Size: 112 * mib, Make: argv, Check: []string{"xfs_repair", "-n"}}
}

// TestCrash cuts file systems off under load. As long as the log is to be
// replayed nothing is told; then what is told can be overwritten.
func TestCrash(t *testing.T) {
	needMount(t)
	for _, seed := range disktest.CrashSeeds(t) {
		c := crash(seed)
		t.Run(fmt.Sprintf("ESXODUS_CRASH_SEED=%d", seed), func(t *testing.T) {
			t.Parallel()
			path := c.Cut(t, seed)
			dirty := dirtyBy(t, path)
			runs, err := unused(t, path)
			var why *disk.UntrustedError
			switch {
			case dirty && (!errors.As(err, &why) || len(runs) > 0):
				t.Fatalf("%s: Unused with a log that is to be replayed: %d runs, %v; want an UntrustedError", c.Name, len(runs), err)
			case !dirty: // nothing had reached the log yet
				t.Logf("%s: the log is clean", c.Name)
				differences(t, c, path)
			}
			mounted(t, path, func(string) {}) // replays it
			differences(t, c, path)
		})
	}
}

// differences overwrites what an image says it doesn't use, and compares.
func differences(t *testing.T, c disktest.Crash, path string) {
	t.Helper()
	copied, _ := disktest.Scramble(t, path, disktest.Each(trusted(t, path)))
	if diff := c.Differences(t, path, copied); len(diff) > 0 {
		t.Errorf("%s: %d differences: %.1000s", c.Name, len(diff), diff[0])
	}
}

// TestCrashControl: where the log is to be replayed, what the trees call
// free is not; else the rule above would be in vain.
func TestCrashControl(t *testing.T) {
	needMount(t)
	t.Parallel()
	const rounds = 12
	for seed := range uint64(rounds) {
		c := crash(seed)
		path := c.Cut(t, seed)
		fsys, _, size := openImage(t, path)
		if !fsys.NeedsRecovery() {
			continue
		}
		fsys.dirty = false
		runs, err := disktest.Runs(t, fsys.Unused(t.Context()), size)
		if err != nil {
			t.Logf("%s: the trees make no sense before the log is replayed: %v", c.Name, err)
			continue
		}
		copied, _ := disktest.Scramble(t, path, disktest.Each(runs))
		if diff := c.Differences(t, path, copied); len(diff) > 0 {
			t.Logf("round %d: %s: %d differences: %.300s", seed, c.Name, len(diff), diff[0])
			return
		}
	}
	t.Errorf("nothing was lost in %d rounds: the test is blind", rounds)
}
