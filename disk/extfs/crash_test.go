package extfs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
)

func crash(name, options string, mkfs ...string) disktest.Crash {
	return disktest.Crash{
		Name: name, Kind: "ext4", Size: 128 << 20, Options: options,
		Make: append([]string{"mke2fs", "-q", "-F"}, mkfs...), Check: []string{"e2fsck", "-fn"},
	}
}

// tiny has a journal of 1 MiB, which wraps every few transactions, and as many groups
// as blocks allow: a group's bitmap is seldom written twice.
func tiny(options string) disktest.Crash {
	c := crash("tiny journal and groups, "+options, options, "-t", "ext4", "-b", "1024", "-g", "512", "-J", "size=1")
	c.Size = 64 << 20
	return c
}

// crashes are the kinds of file systems with a journal that are cut off.
func crashes() []disktest.Crash {
	return []disktest.Crash{
		crash("4 KiB", "", "-t", "ext4", "-b", "4096", "-g", "4096", "-J", "size=4"),
		crash("1 KiB, small journal", "", "-t", "ext4", "-b", "1024", "-J", "size=4"),
		crash("ext3", "", "-t", "ext3"),
		crash("2 KiB", "", "-t", "ext4", "-b", "2048"),
		crash("bigalloc", "", "-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "4096", "-J", "size=4"),
		tiny(""),
		crash("4 KiB, no sums", "", "-t", "ext4", "-b", "4096", "-O", "^64bit,^metadata_csum", "-J", "size=6"),
		crash("1 KiB", "", "-t", "ext4", "-b", "1024"),
		tiny("data=journal"),
		crash("32 bits, uninit_bg, no flex_bg", "", "-t", "ext4", "-b", "1024", "-O", "^64bit,^metadata_csum,uninit_bg,^flex_bg", "-J", "size=4"),
		crash("orphan_file", "", "-t", "ext4", "-b", "1024", "-O", "orphan_file", "-J", "size=2"),
		crash("meta_bg, asynchronous commits", "journal_async_commit,data=writeback", "-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode", "-J", "size=2"),
	}
}

// TestCrash: a file system that was cut off at some moment under load loses nothing
// with what is unused overwritten.
func TestCrash(t *testing.T) {
	t.Parallel()
	kinds := crashes()
	for _, seed := range disktest.CrashSeeds(t) {
		c := kinds[seed%uint64(len(kinds))]
		t.Run(fmt.Sprintf("%s, seed %d", c.Name, seed), func(t *testing.T) {
			t.Parallel()
			path := c.Cut(t, seed)
			f, _, _ := openImage(t, path)
			if !f.NeedsRecovery() {
				t.Fatal("it was unmounted")
			}
			runs := f.Unused(context.Background())
			if _, err := unused(f); tooFull(err) {
				runs = right.unused(t, f) // what Unused would yield
			}
			same(t, c, path, runs)
		})
	}
}

// same checks that a file system is the same when what is unused was overwritten.
func same(t *testing.T, c disktest.Crash, path string, unused iter.Seq2[disk.Range, error]) {
	t.Helper()
	copied, n := disktest.Scramble(t, path, unused)
	t.Logf("%d MiB unused", n>>20)
	if diff := c.Differences(t, path, copied); len(diff) > 0 {
		t.Errorf("%d differences: %.2000q", len(diff), diff)
	}
}

// tooFull is the one reason not to trust a file system that was cut off.
func tooFull(err error) bool {
	var untrusted *disk.UntrustedError
	return errors.As(err, &untrusted) && untrusted.Why == "its journal is larger than the free space that it may tell of"
}

// TestCrashRepaired: where e2fsck has replayed the journal, and no more, bitmaps are as good
// as ever.
func TestCrashRepaired(t *testing.T) {
	t.Parallel()
	c := crash("", "", "-t", "ext4", "-b", "1024", "-J", "size=4")
	path := c.Cut(t, disktest.CrashSeeds(t)[0])
	if out, err := fixtures.Try(t, "e2fsck", "-y", "-E", "journal_only", path); err != nil {
		t.Logf("e2fsck: %v: %s", err, out)
	}
	f, _, _ := openImage(t, path)
	if f.NeedsRecovery() {
		t.Error("the journal is still to be replayed")
	}
	same(t, c, path, f.Unused(context.Background()))
}

// rule is the rule of Unused for journals that are to be replayed, or one without
// something that looks needless.
type rule struct {
	copies  bool // those in the journal count
	wrap    bool // of those, the ones behind its end, too
	written bool // what lies where a bitmap belongs counts, whether a descriptor says that it was written or not
}

var right = rule{copies: true, wrap: true, written: true}

// unused is what a file system doesn't use by the rule.
func (r rule) unused(t *testing.T, f *FS) iter.Seq2[disk.Range, error] {
	t.Helper()
	m, err := f.survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j, err := f.openJournal()
	if err != nil {
		t.Fatal(err)
	}
	j.m, j.copies = m, &copies{of: map[int64]bitmap{}, room: maxCopies, rest: make(bitmap, f.groups()/8+1)}
	runs, err := f.runs(t.Context(), j.in, j.blocks)
	if r.copies {
		err = errors.Join(err, j.each(t.Context(), runs, j.look))
	}
	if r.wrap {
		err = errors.Join(err, j.wrap(t.Context(), runs))
	}
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(disk.Range, error) bool) {
		s := newSweep(m, j.copies, func(r disk.Range) bool { return yield(r, nil) })
		err := groups(t, f, func(g group) error {
			b := make([]byte, f.blockSize)
			if r.written || g.flags&flagNoBitmap == 0 {
				var err error
				if b, err = f.block(g.bitmap, 0, f.blockSize); err != nil {
					return err
				}
			}
			return s.group(g, b, g.bitmap)
		})
		if err := errors.Join(err, s.flush()); err != nil {
			t.Error(err)
		}
	}
}

// TestCrashControls: rules that look right lose data sooner or later, and these tests
// see it.
func TestCrashControls(t *testing.T) {
	t.Parallel()
	seeds := disktest.CrashSeeds(t)
	if len(seeds) < 100 {
		t.Skip("takes a quarter of an hour: scripts/test-lab.sh blocks runs it")
	}
	for _, tt := range []struct {
		name  string
		rule  rule
		kinds []disktest.Crash
	}{
		{"bitmaps on the disk alone", rule{written: true}, crashes()},
		{"wrap forgotten", rule{copies: true, written: true}, []disktest.Crash{tiny("")}},
		{"bitmaps that a descriptor on the disk says aren't written", rule{copies: true, wrap: true}, []disktest.Crash{tiny(""), tiny("data=journal")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for i, seed := range seeds {
				if c := tt.kinds[seed%uint64(len(tt.kinds))]; loses(t, c, seed, tt.rule) {
					t.Logf("%s, seed %d: lost after %d rounds", c.Name, seed, i+1)
					return
				}
			}
			t.Errorf("nothing was lost in %d rounds", len(seeds))
		})
	}
}

// loses plays a round and tells whether a rule loses something.
func loses(t *testing.T, c disktest.Crash, seed uint64, r rule) (lost bool) {
	t.Helper()
	t.Run(fmt.Sprint(seed), func(t *testing.T) { // for its temporary files
		path := c.Cut(t, seed)
		f, _, _ := openImage(t, path)
		bytes := func(unused iter.Seq2[disk.Range, error]) (n int64) {
			for r := range unused {
				n += r.Length
			}
			return n
		}
		if bytes(r.unused(t, f)) == bytes(right.unused(t, f)) {
			return
		}
		copied, _ := disktest.Scramble(t, path, r.unused(t, f))
		lost = len(c.Differences(t, path, copied)) > 0
	})
	return lost
}
