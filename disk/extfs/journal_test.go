package extfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"esxodus/disk"
)

// usedIn counts the bytes of a group that aren't unused.
func usedIn(f *FS, group int64, rs []disk.Range) int64 {
	from := f.start(group) * f.blockSize
	to := from + f.count(group)*f.blockSize
	used := to - from
	for _, r := range rs {
		used -= max(min(r.Offset+r.Length, to)-max(r.Offset, from), 0)
	}
	return used
}

// TestJournalFormats: bitmaps are found in journals that debugfs writes, in all of
// their formats; what is behind their last tag isn't taken for one.
func TestJournalFormats(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, features, open string
		tagSize              int
	}{
		{"32 bits", "^64bit,^metadata_csum", "jo", 8},
		{"64 bits", "64bit,^metadata_csum", "jo", 12},
		{"32 bits, sums of version 2", "^64bit", "jo -c -v 2", 10},
		{"64 bits, sums of version 2", "64bit", "jo -c -v 2", 14},
		{"32 bits, sums of version 3", "^64bit", "jo -c -v 3", 16},
		{"64 bits, sums of version 3", "64bit", "jo -c -v 3", 16},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := makeImage(t, "64M", "-t", "ext4", "-b", "1024", "-O", tt.features)
			f, _, _ := openImage(t, path)
			before, err := unused(f)
			if err != nil {
				t.Fatal(err)
			}
			// Group 5 is all used, of group 6 the clusters are that the magic
			// number at its bitmap's start has, and nothing of group 4 is.
			content := slices.Concat(bytes.Repeat([]byte{0xff}, 1024), binary.BigEndian.AppendUint32(nil, journalMagic), make([]byte, 1020), make([]byte, 1024))
			file := filepath.Join(t.TempDir(), "blocks")
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			debugfs(t, path, tt.open, fmt.Sprintf("jw -b %d,%d,%d %s", bitmapOf(t, f, 5), bitmapOf(t, f, 6), bitmapOf(t, f, 4), file), "jc")
			f, _, _ = openImage(t, path)
			j, err := f.openJournal()
			if err != nil || j.odd != "" || j.tagSize != tt.tagSize {
				t.Fatalf("journal: tags of %d bytes, %q, %v; want %d", j.tagSize, j.odd, err, tt.tagSize)
			}
			after, err := unused(f)
			if err != nil || !f.NeedsRecovery() {
				t.Fatalf("needs recovery: %v; Unused: %v", f.NeedsRecovery(), err)
			}
			magic := int64(len(bytes.ReplaceAll(fmt.Appendf(nil, "%b", uint32(journalMagic)), []byte("0"), nil)))
			for group, want := range map[int64]int64{4: 0, 5: f.count(5) * 1024, 6: magic * 1024} {
				if group != 5 {
					want += usedIn(f, group, before)
				}
				if got := usedIn(f, group, after); got != want {
					t.Errorf("group %d: %d bytes are used; want %d", group, got, want)
				}
			}
		})
	}
}

// TestJournalSuperblock: a copy of the superblock that tells of something else than the
// disk's keeps the file system whole.
func TestJournalSuperblock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, blockSize, change, want string
	}{
		{"same", "1024", "mtime now", ""},
		{"grown", "1024", "blocks_count 70000", "its journal has a superblock of 70000 blocks, the file system 65536: it was being grown"},
		{"grown, 4 KiB", "4096", "blocks_count 70000", "its journal has a superblock of 70000 blocks, the file system 16384: it was being grown"},
		{"faults", "2048", "state 2", "its journal has a superblock in which a kernel noted errors"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := makeImage(t, "64M", "-t", "ext4", "-b", tt.blockSize, "-J", "size=4")
			f, _, _ := openImage(t, path)
			other := filepath.Join(t.TempDir(), "other")
			run(t, "cp", "--sparse=always", path, other)
			debugfs(t, other, "ssv "+tt.change)
			super := superOffset / f.blockSize
			block := filepath.Join(t.TempDir(), "block")
			run(t, "dd", "if="+other, "of="+block, "bs="+tt.blockSize, "count=1", fmt.Sprintf("skip=%d", super))
			debugfs(t, path, "jo -c -v 3", fmt.Sprintf("jw -b %d %s", super, block), "jc")
			f, _, _ = openImage(t, path)
			rs, err := unused(f)
			if tt.want == "" && (err != nil || len(rs) == 0) || tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("Unused = %d runs, %v; want %q", len(rs), err, tt.want)
			}
		})
	}
}

// TestJournalRing: blocks that belong to the last descriptor go on behind the journal's
// superblock, up to one that was written later.
func TestJournalRing(t *testing.T) {
	t.Parallel()
	path := makeImage(t, "64M", "-t", "ext4", "-b", "1024", "-O", "^64bit,^metadata_csum", "-J", "size=1")
	f, _, _ := openImage(t, path)
	debugfs(t, path, "feature needs_recovery")
	before := map[int64]int64{}
	rs, err := unused(f)
	if err != nil {
		t.Fatal(err)
	}
	j, err := f.openJournal()
	if err != nil {
		t.Fatal(err)
	}
	runs, err := f.runs(t.Context(), j.in, j.blocks)
	if err != nil || len(runs) != 1 {
		t.Fatalf("the journal lies in %v, %v", runs, err)
	}
	be := binary.BigEndian
	header := func(kind uint32) []byte {
		return be.AppendUint32(be.AppendUint32(be.AppendUint32(nil, journalMagic), kind), 1)
	}
	// The last block describes bitmaps of groups 4 to 6, the first of them with a
	// UUID behind its tag; of these blocks the third was overwritten.
	last := header(blockDescriptor)
	for i, flags := range []uint16{0, tagSameUUID, tagSameUUID | tagLast} {
		before[int64(4+i)] = usedIn(f, int64(4+i), rs)
		last = be.AppendUint16(be.AppendUint16(be.AppendUint32(last, uint32(bitmapOf(t, f, int64(4+i)))), 0), flags)
		if i == 0 {
			last = append(last, make([]byte, 16)...)
		}
	}
	full := string(bytes.Repeat([]byte{0xff}, 1024))
	overwrite(t, path, (runs[0].start+j.blocks-1)*1024, string(last))
	overwrite(t, path, (runs[0].start+1)*1024, full+full+string(header(2)))
	f, _, _ = openImage(t, path)
	if rs, err = unused(f); err != nil {
		t.Fatal(err)
	}
	for group, want := range map[int64]int64{4: f.count(4) * 1024, 5: f.count(5) * 1024, 6: before[6]} {
		if got := usedIn(f, group, rs); got != want {
			t.Errorf("group %d: %d bytes are used; want %d", group, got, want)
		}
	}
}

// TestUnwritten: what lies in place of a bitmap that was never written doesn't count, unless the
// journal is to be replayed: then the bitmap may be in its place before its descriptor is.
func TestUnwritten(t *testing.T) {
	t.Parallel()
	path := makeImage(t, "64M", "-t", "ext4", "-b", "1024")
	f, _, _ := openImage(t, path)
	rs, err := unused(f)
	if err != nil {
		t.Fatal(err)
	}
	want := usedIn(f, 6, rs)
	overwrite(t, path, bitmapOf(t, f, 6)*1024, string([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 1}))
	for _, command := range []string{"quit", "feature needs_recovery"} {
		debugfs(t, path, command)
		f, _, _ := openImage(t, path)
		if f.NeedsRecovery() {
			want += 9 * 1024
		}
		if rs, err := unused(f); err != nil || usedIn(f, 6, rs) != want {
			t.Errorf("%s: %d bytes of group 6 are used, %v; want %d", command, usedIn(f, 6, rs), err, want)
		}
	}
}

// TestMetadata: the metadata of all groups counts as used in a file system whose journal is
// to be replayed, even where bitmaps on the disk have none of it.
func TestMetadata(t *testing.T) {
	t.Parallel()
	for _, features := range []string{"", "^flex_bg", "meta_bg,^resize_inode", "sparse_super2", "^64bit,^metadata_csum"} {
		t.Run(features, func(t *testing.T) {
			t.Parallel()
			path := makeImage(t, "64M", "-t", "ext4", "-b", "1024", "-g", "2048", "-O", features)
			f, _, _ := openImage(t, path)
			clean := freeBlocks(t, path, f)
			debugfs(t, path, "feature needs_recovery")
			for n := range f.groups() {
				overwrite(t, path, bitmapOf(t, f, n)*1024, string(make([]byte, 1024)))
			}
			f, _, _ = openImage(t, path)
			rs, err := unused(f)
			if err != nil {
				t.Fatal(err)
			}
			// What is used of a new file system is metadata, but for the journal and
			// some directories, which may hold no more than these here.
			files := int64(0)
			for n := range f.groups() {
				files += usedIn(f, n, clean) - usedIn(f, n, rs)
			}
			in, err := f.inode(8)
			if err != nil {
				t.Fatal(err)
			}
			if few := int64(50 << 10); files < in.size || files > in.size+few {
				t.Errorf("%d bytes of it are files; want the journal's %d and at most %d", files, in.size, few)
			}
		})
	}
}

// TestCopiesOverflow: a group for whose copies there is no room counts as used.
func TestCopiesOverflow(t *testing.T) {
	t.Parallel()
	c := copies{of: map[int64]bitmap{}, room: 15, rest: make(bitmap, 2)}
	c.add(3, bitmap{1, 0, 0, 0, 0, 0, 0, 0})
	c.add(9, bitmap{2, 0, 0, 0, 0, 0, 0, 0})
	c.add(3, bitmap{4, 0, 0, 0, 0, 0, 0, 0})
	for group, want := range map[int64]bitmap{3: {5, 0, 0, 0, 0, 0, 0, 8}, 4: {0, 0, 0, 0, 0, 0, 0, 8}, 9: bytes.Repeat([]byte{255}, 8)} {
		used := bitmap{0, 0, 0, 0, 0, 0, 0, 8}
		if c.mark(group, used); !slices.Equal(used, want) {
			t.Errorf("group %d: used = %v; want %v", group, used, want)
		}
	}
}
