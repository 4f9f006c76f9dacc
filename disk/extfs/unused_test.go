package extfs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
)

// unused is what Unused yields, and its error.
func unused(f *FS) ([]disk.Range, error) {
	var rs []disk.Range
	for r, err := range f.Unused(context.Background()) {
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// freeBlocks is what dumpe2fs lists as free, which knows the same formats in
// another's code: an oracle for clean file systems.
func freeBlocks(t *testing.T, path string, f *FS) []disk.Range {
	t.Helper()
	var rs []disk.Range
	for line := range strings.Lines(run(t, "dumpe2fs", path)) {
		list, found := strings.CutPrefix(strings.TrimRight(line, "\n"), "  Free blocks: ")
		if !found || list == "" {
			continue
		}
		for piece := range strings.SplitSeq(list, ", ") {
			var from, to int64
			if n, err := fmt.Sscanf(piece, "%d-%d", &from, &to); n == 1 {
				to = from
			} else if n == 0 {
				t.Fatalf("dumpe2fs: %q: %v", line, err)
			}
			end := min(to+f.accounting.ratio, f.blocks) // a cluster goes by its first block
			r := disk.Range{Offset: from * f.blockSize, Length: (end - from) * f.blockSize}
			if last := len(rs) - 1; last >= 0 && rs[last].Offset+rs[last].Length == r.Offset {
				rs[last].Length += r.Length
			} else {
				rs = append(rs, r)
			}
		}
	}
	return rs
}

// makeImage makes a file system in an image.
func makeImage(t *testing.T, size string, argv ...string) string {
	t.Helper()
	path := filepath.Join(disktest.FastDir(t), "img")
	run(t, append(append([]string{"mke2fs", "-q", "-F"}, argv...), path, size)...)
	return path
}

// TestUnused: file systems of all kinds lose nothing with what is unused overwritten,
// and can be written to.
func TestUnused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, size string
		argv       []string
		after      []string // a command, whose argument is the image
		unmounted  bool     // no kernel here mounts it
	}{
		{name: "ext2, 1 KiB", size: "40M", argv: []string{"-t", "ext2", "-b", "1024"}},
		{name: "ext2, revision 0", size: "40M", argv: []string{"-t", "ext2", "-r", "0", "-O", "none"}},
		{name: "ext2, 4 KiB", size: "80M", argv: []string{"-t", "ext2", "-b", "4096"}},
		{name: "ext3", size: "40M", argv: []string{"-t", "ext3"}},
		{name: "ext4", size: "150M", argv: []string{"-t", "ext4", "-b", "4096"}},
		{name: "ext4, 1 KiB, last group short", size: "70001K", argv: []string{"-t", "ext4", "-b", "1024"}},
		{name: "ext4, 2 KiB", size: "40M", argv: []string{"-t", "ext4", "-b", "2048"}},
		{name: "32 bits", size: "40M", argv: []string{"-t", "ext4", "-b", "1024", "-O", "^64bit"}},
		{name: "uninit_bg without flex_bg", size: "40M", argv: []string{"-t", "ext4", "-b", "1024", "-O", "^flex_bg,^metadata_csum,uninit_bg,^64bit"}},
		{name: "no flex_bg", size: "40M", argv: []string{"-t", "ext4", "-b", "1024", "-O", "^flex_bg"}},
		{name: "no sums", size: "40M", argv: []string{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^uninit_bg"}},
		{name: "meta_bg", size: "90M", argv: []string{"-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode"}},
		{name: "meta_bg without flex_bg", size: "90M", argv: []string{"-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode,^flex_bg"}},
		{name: "sparse_super2", size: "40M", argv: []string{"-t", "ext4", "-b", "1024", "-O", "sparse_super2"}},
		{name: "no sparse_super", size: "40M", argv: []string{"-t", "ext4", "-b", "1024", "-O", "^sparse_super,^resize_inode"}},
		{name: "bigalloc", size: "150M", argv: []string{"-t", "ext4", "-O", "bigalloc", "-C", "16384", "-b", "4096"}},
		{name: "bigalloc, several groups", size: "70001K", argv: []string{"-t", "ext4", "-O", "bigalloc", "-C", "2048", "-b", "1024"}},
		{name: "bigalloc, 1 MiB", size: "90M", argv: []string{"-t", "ext4", "-O", "bigalloc,^resize_inode", "-C", "1048576"}},
		{name: "bigalloc, several groups, no flex_bg", size: "90M", argv: []string{"-t", "ext4", "-O", "bigalloc,^flex_bg", "-C", "4096", "-b", "1024"}},
		{name: "flex_bg of 4", size: "90M", argv: []string{"-t", "ext4", "-b", "1024", "-G", "4"}},
		{name: "small groups", size: "40M", argv: []string{"-t", "ext4", "-b", "4096", "-g", "1024"}},
		{name: "mmp", size: "40M", argv: []string{"-t", "ext4", "-O", "mmp"}, unmounted: true}, // takes a minute
		{name: "orphan_file", size: "40M", argv: []string{"-t", "ext4", "-O", "orphan_file"}},
		{name: "no journal", size: "40M", argv: []string{"-t", "ext4", "-O", "^has_journal"}},
		{name: "fast_commit", size: "40M", argv: []string{"-t", "ext4", "-O", "fast_commit"}},
		{name: "quota", size: "40M", argv: []string{"-t", "ext4", "-O", "quota,project"}, after: []string{"e2fsck", "-fy"}, unmounted: true},
		{name: "64 KiB", size: "64M", argv: []string{"-t", "ext4", "-b", "65536"}, unmounted: true},
		{name: "grown", size: "40M", argv: []string{"-t", "ext4", "-b", "1024"}, after: []string{"resize2fs", "-f", "90M"}},
		{name: "shrunk", size: "70M", argv: []string{"-t", "ext4", "-b", "1024"}, after: []string{"resize2fs", "-f", "40M"}},
		{name: "checked", size: "40M", argv: []string{"-t", "ext4", "-b", "1024"}, after: []string{"e2fsck", "-fyD"}},
		{name: "to 64 bits", size: "40M", argv: []string{"-t", "ext4", "-b", "1024", "-O", "^64bit"}, after: []string{"resize2fs", "-b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.unmounted {
				tt.argv = append(tt.argv, "-d", tree(t))
			}
			path := makeImage(t, tt.size, tt.argv...)
			c := disktest.Crash{Kind: "ext4", Check: []string{"e2fsck", "-fn"}}
			change := func(path string, seed uint64) {
				m, err := disktest.Mount(t, "ext4", path, "")
				if err != nil {
					t.Fatal(err)
				}
				disktest.Load(t, m.Dir, seed, 80, nil)
				m.Unmount(t)
			}
			if !tt.unmounted {
				change(path, 1)
			}
			if len(tt.after) > 0 {
				argv := []string{tt.after[0], tt.after[1], path}
				_, _ = fixtures.Try(t, append(argv, tt.after[2:]...)...) // e2fsck may well have something to repair
			}
			fsys, _, _ := openImage(t, path)
			got, err := unused(fsys)
			if diff := cmp.Diff(freeBlocks(t, path, fsys), got); diff != "" || err != nil {
				t.Fatalf("Unused: %v; against dumpe2fs (-want +got):\n%.2000s", err, diff)
			}
			copied, _ := disktest.Scramble(t, path, fsys.Unused(t.Context()))
			if tt.unmounted {
				run(t, "e2fsck", "-fn", copied)
				other, _, _ := openImage(t, copied)
				if diff := cmp.Diff(snapshot(t, fsys), snapshot(t, other)); diff != "" {
					t.Errorf("tree (-want +got):\n%.2000s", diff)
				}
				return
			}
			if diff := c.Differences(t, path, copied); len(diff) > 0 {
				t.Errorf("%d differences: %.2000q", len(diff), diff)
			}
			change(copied, 2)
			run(t, "e2fsck", "-fn", copied)
		})
	}
}

// TestUnwrittenControl: bitmaps that were never written, read as they lie there, lose
// copies of the superblock.
func TestUnwrittenControl(t *testing.T) {
	t.Parallel()
	path := makeImage(t, "60M", "-t", "ext4", "-b", "1024", "-O", "^flex_bg")
	f, _, _ := openImage(t, path)
	copied, _ := disktest.Scramble(t, path, func(yield func(disk.Range, error) bool) {
		s := newSweep(&metadata{f: f}, nil, func(r disk.Range) bool { return yield(r, nil) })
		err := groups(t, f, func(g group) (err error) {
			if s.used, err = f.block(g.bitmap, 0, f.accounting.clusters/8); err != nil {
				return err
			}
			return s.add(f.start(g.number), f.count(g.number), f.count(g.number))
		})
		if err = errors.Join(err, s.flush()); err != nil {
			t.Error(err)
		}
	})
	for path, lost := range map[string]bool{path: false, copied: true} {
		if out, err := fixtures.Try(t, "dumpe2fs", "-h", "-o", "superblock=8193", "-o", "blocksize=1024", path); (err != nil) != lost {
			t.Errorf("dumpe2fs %s: %v: %s; want it lost: %v", path, err, out, lost)
		}
	}
}

// TestUnusedCluster: of a cluster that the file system's end cuts, no more than is there is unused.
func TestUnusedCluster(t *testing.T) {
	t.Parallel()
	path := makeImage(t, "64M", "-t", "ext4", "-b", "1024", "-O", "bigalloc,^metadata_csum,uninit_bg", "-C", "4096")
	debugfs(t, path, "ssv blocks_count 65533")
	f, _, _ := openImage(t, path)
	rs, err := unused(f)
	if err != nil || len(rs) == 0 {
		t.Fatalf("Unused = %v, %v", rs, err)
	}
	if last := rs[len(rs)-1]; last.Offset+last.Length != 65533*1024 {
		t.Errorf("the last is %+v; want it to end at block 65533", last)
	}
}
