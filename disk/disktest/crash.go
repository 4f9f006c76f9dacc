package disktest

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"esxodus/disk"
	"esxodus/fixtures"
)

// Crash is a kind of file system that is cut off under load, to see whether what
// it says of its free space can be relied on then.
type Crash struct {
	Name    string
	Kind    string   // as the kernel calls it
	Size    int64    // of the image, bytes
	Make    []string // mkfs's command line, but for the image
	Options string   // of each mount, separated by commas
	Check   []string // fsck's command line, but for the image; it must change nothing
}

// CrashSeeds gives the seeds of as many rounds as ESXODUS_CRASHES says, 3 unless
// it does. They follow one upon the other, so that a table of kinds is gone through
// in turn; ESXODUS_CRASH_SEED is the first, to play rounds once more.
func CrashSeeds(tb testing.TB) []uint64 {
	tb.Helper()
	rounds, first := uint64(3), rand.Uint64N(1<<32)
	for name, v := range map[string]*uint64{"ESXODUS_CRASHES": &rounds, "ESXODUS_CRASH_SEED": &first} {
		if s := os.Getenv(name); s != "" {
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				tb.Fatalf("%s: %v", name, err)
			}
			*v = n
		}
	}
	seeds := make([]uint64, rounds)
	for i := range seeds {
		seeds[i] = first + uint64(i)
	}
	return seeds
}

// Cut makes a file system, loads it and cuts it off at a moment that the seed
// says. It returns the path of the image. One in three has been loaded and
// unmounted before, so that its journal holds old blocks; one in four is nearly full.
func (c Crash) Cut(tb testing.TB, seed uint64) string {
	tb.Helper()
	rng := rand.New(rand.NewPCG(seed, 1<<63))
	path := filepath.Join(FastDir(tb), "img")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, c.Size)); err != nil {
		tb.Fatal(err)
	}
	fixtures.Run(tb, append(slices.Clip(c.Make), path)...)
	if rng.IntN(3) == 0 {
		m := c.mount(tb, path)
		Load(tb, m.Dir, seed+1<<32, 100+rng.IntN(900), nil)
		m.Unmount(tb)
	}
	m := c.mount(tb, path)
	if rng.IntN(4) == 0 {
		fill(tb, m.Dir, rng.Int64N(c.Size/16))
	}
	flush := rng.IntN(2) == 0
	Load(tb, m.Dir, seed, 20+rng.IntN(1500), func() { Shutdown(tb, m.Dir, flush) })
	m.Unmount(tb)
	return path
}

func (c Crash) mount(tb testing.TB, path string) *Mounted {
	tb.Helper()
	m, err := Mount(tb, c.Kind, path, c.Options)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// Shutdown cuts a file system off from its device: nothing more is written, as by
// xfs_io's command of that name. Its journal may be flushed before.
func Shutdown(tb testing.TB, dir string, flush bool) {
	tb.Helper()
	const request = 0x8004587d // FS_IOC_SHUTDOWN, _IOR('X', 125, __u32)
	how := 2                   // FS_SHUTDOWN_FLAGS_NOLOGFLUSH
	if flush {
		how = 1
	}
	d, err := os.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	err = unix.IoctlSetPointerInt(int(d.Fd()), request, how)
	if err = errors.Join(err, d.Close()); err != nil {
		tb.Fatalf("shutdown: %v", err)
	}
}

// fill leaves so many bytes free.
func fill(tb testing.TB, dir string, free int64) {
	tb.Helper()
	f, err := os.Create(dir + "/full")
	if err != nil {
		tb.Fatal(err)
	}
	n, err := io.Copy(f, rand.NewChaCha8([32]byte{1}))
	if !errors.Is(err, unix.ENOSPC) {
		tb.Fatalf("filling: %v", err)
	}
	if err := errors.Join(f.Truncate(max(n-free, 0)), f.Sync(), f.Close()); err != nil {
		tb.Fatal(err)
	}
}

// Differences mounts an image of a file system that was cut off, and a copy of it,
// and says how the copy differs: in a file, or in what fsck says. None is right.
func (c Crash) Differences(tb testing.TB, whole, copied string) []string {
	tb.Helper()
	want, err := c.recovered(tb, whole)
	if err != nil {
		tb.Fatal(err)
	}
	got, err := c.recovered(tb, copied)
	if err != nil {
		return []string{err.Error()}
	}
	if out := want["fsck"]; out != "" {
		tb.Fatalf("fsck of the original: %s", out)
	}
	return TreeDiff(want, got)
}

// recovered is what a file system holds when the kernel has replayed its journal,
// and what fsck says of it, if that's anything.
func (c Crash) recovered(tb testing.TB, path string) (map[string]string, error) {
	tb.Helper()
	m, err := Mount(tb, c.Kind, path, c.Options)
	if err != nil {
		return nil, err
	}
	tree := Tree(m.Dir)
	m.Unmount(tb)
	if out, err := fixtures.Try(tb, append(slices.Clip(c.Check), path)...); err != nil {
		tree["fsck"] = fmt.Sprintf("%v: %s", err, out)
	}
	return tree, nil
}

// Scramble copies an image, but for what is unused, which is 0xa5 in the copy:
// zeros would hide errors. It returns the copy's path, and how many bytes are unused.
func Scramble(tb testing.TB, path string, unused iter.Seq2[disk.Range, error]) (copied string, bytes int64) {
	tb.Helper()
	copied = filepath.Join(FastDir(tb), "copy")
	fixtures.Run(tb, "cp", "--sparse=always", path, copied)
	f, err := os.OpenFile(copied, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	garbage := slices.Repeat([]byte{0xa5}, 1<<20)
	for r, err := range unused {
		if err != nil {
			tb.Fatalf("unused: %v", err)
		}
		for bytes += r.Length; r.Length > 0; {
			n, err := f.WriteAt(garbage[:min(r.Length, int64(len(garbage)))], r.Offset)
			if err != nil {
				tb.Fatal(err)
			}
			r = disk.Range{Offset: r.Offset + int64(n), Length: r.Length - int64(n)}
		}
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return copied, bytes
}

// FastDir is a temporary directory in memory where there is one for that: what is synced
// there costs nothing.
func FastDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "esxodus") //nolint:usetesting // not where tb.TempDir is
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
