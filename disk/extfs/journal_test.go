package extfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// header is how a block of a journal begins.
func header(kind uint32) []byte {
	be := binary.BigEndian
	return be.AppendUint32(be.AppendUint32(be.AppendUint32(nil, journalMagic), kind), 1)
}

// TestJournalRing: blocks belong to the descriptor before them, as many as it has tags, up to
// one that was written later; those of the last go on behind the journal's superblock.
func TestJournalRing(t *testing.T) {
	t.Parallel()
	full := bytes.Repeat([]byte{0xff}, 1024)
	commit := append(header(2), make([]byte, 1012)...)
	for _, tt := range []struct {
		name   string
		at     int64 // of the descriptor; from the end if negative
		flags  [3]uint16
		blocks [][]byte // behind it
		used   [3]bool  // groups 4, 5, 6
	}{
		{"all", 1, [3]uint16{0, tagSameUUID, tagSameUUID | tagLast}, [][]byte{full, full, full}, [3]bool{true, true, true}},
		{"fewer tags", 1, [3]uint16{0, tagSameUUID | tagLast, tagSameUUID}, [][]byte{full, full, full}, [3]bool{true, true, false}},
		{"UUIDs", 1, [3]uint16{0, 0, tagLast}, [][]byte{full, full, full}, [3]bool{true, true, true}},
		{"overwritten", 1, [3]uint16{0, tagSameUUID, tagSameUUID | tagLast}, [][]byte{full, commit, full}, [3]bool{true, false, false}},
		{"wrapped", -1, [3]uint16{0, tagSameUUID, tagSameUUID | tagLast}, [][]byte{full, full, full}, [3]bool{true, true, true}},
		{"wrapped later", -3, [3]uint16{0, tagSameUUID, tagSameUUID | tagLast}, [][]byte{full, full, full}, [3]bool{true, true, true}},
		{"wrapped, overwritten", -1, [3]uint16{0, tagSameUUID, tagSameUUID | tagLast}, [][]byte{full, full, commit, full}, [3]bool{true, true, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := makeImage(t, "64M", "-t", "ext4", "-b", "1024", "-O", "^64bit,^metadata_csum", "-J", "size=1")
			debugfs(t, path, "feature needs_recovery")
			f, _, _ := openImage(t, path)
			before, err := unused(f)
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
			descriptor := header(blockDescriptor)
			for i, flags := range tt.flags {
				descriptor = be.AppendUint16(be.AppendUint16(be.AppendUint32(descriptor, uint32(bitmapOf(t, f, int64(4+i)))), 0), flags)
				if flags&tagSameUUID == 0 {
					descriptor = append(descriptor, make([]byte, 16)...)
				}
			}
			at := (tt.at + j.blocks) % j.blocks
			for _, b := range append([][]byte{descriptor}, tt.blocks...) {
				overwrite(t, path, (runs[0].start+at)*1024, string(b))
				if at++; at == j.blocks {
					at = j.first
				}
			}
			f, _, _ = openImage(t, path)
			after, err := unused(f)
			if err != nil {
				t.Fatal(err)
			}
			for i, used := range tt.used {
				want := f.count(int64(4+i)) * 1024
				if !used {
					want = usedIn(f, int64(4+i), before)
				}
				if got := usedIn(f, int64(4+i), after); got != want {
					t.Errorf("group %d: %d bytes are used; want %d", 4+i, got, want)
				}
			}
		})
	}
}

// TestJournalWide: block numbers of 64 bits are told apart by all of them.
func TestJournalWide(t *testing.T) {
	t.Parallel()
	j := journal{
		f: &FS{blockSize: 1024}, m: &metadata{bitmaps: []bitmapSpan{{100, 2, 3}, {1<<32 | 100, 2, 9}}},
		tagSize: 12, tagsEnd: 1024, wide: true,
	}
	be := binary.BigEndian
	b := header(blockDescriptor)
	for _, block := range []uint64{101, 1<<32 | 101, 2<<32 | 101, 1<<63 | 101} {
		b = be.AppendUint32(be.AppendUint32(be.AppendUint32(b, uint32(block)), tagSameUUID), uint32(block>>32))
	}
	want := []tag{{group: 4}, {group: 10}, {group: tagOther}, {group: tagOther}}
	if got := j.describe(append(b, make([]byte, 1024)...)[:1024])[:4]; !slices.Equal(got, want) {
		t.Errorf("tags = %v; want %v", got, want)
	}
}

// TestJournalOdd: a journal whose superblock isn't as the kernel writes it keeps the file
// system whole.
func TestJournalOdd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		at    int64 // in the superblock
		value uint32
		want  string // about a file system to recover, behind "its journal "
		clean string // about one that was unmounted; "same" as want
	}{
		{"nothing", 244, 0, "", ""},
		{"magic", 0, 1, "has no superblock", "same"},
		{"kind", 4, 1, "has no superblock", "same"},
		{"block size", 12, 2048, "has 1024 blocks of 2048 bytes, the first is 1, in a file of 1048576 bytes", "same"},
		{"length", 16, 1025, "has 1025 blocks of 1024 bytes, the first is 1, in a file of 1048576 bytes", "same"},
		{"first", 20, 0, "has 1024 blocks of 1024 bytes, the first is 0, in a file of 1048576 bytes", "same"},
		{"first behind", 20, 1024, "has 1024 blocks of 1024 bytes, the first is 1024, in a file of 1048576 bytes", "same"},
		{"start", 28, 5, "", "holds changes, though the superblock says that it doesn't"},
		{"error", 32, 5, "notes an error", "same"},
		{"compatible feature", 36, 2, "has features that aren't known here (0x2, 0x0, 0x0)", ""},
		{"incompatible feature", 40, 0x20, "has features that aren't known here (0x0, 0x20, 0x0)", ""},
		{"feature of writers", 44, 1, "has features that aren't known here (0x0, 0x0, 0x1)", ""},
		{"sum", 40, 0x10, "has a superblock whose checksum is wrong", "same"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := makeImage(t, "64M", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum", "-J", "size=1")
			f, _, _ := openImage(t, path)
			in, err := f.inode(8)
			if err != nil {
				t.Fatal(err)
			}
			block, _, err := f.find(in, 0)
			if err != nil {
				t.Fatal(err)
			}
			overwrite(t, path, block*1024+tt.at, string(binary.BigEndian.AppendUint32(nil, tt.value)))
			if tt.clean == "same" {
				tt.clean = tt.want
			}
			for _, want := range []string{tt.clean, tt.want} {
				f, _, _ := openImage(t, path)
				rs, err := unused(f)
				if want == "" && (err != nil || len(rs) == 0) || want != "" && (err == nil || err.Error() != "its journal "+want) {
					t.Errorf("needs recovery: %v: Unused = %d runs, %v; want %q", f.NeedsRecovery(), len(rs), err, want)
				}
				incompat := f.incompat | incompatRecover
				overwrite(t, path, superOffset+96, string(binary.LittleEndian.AppendUint32(nil, incompat)))
			}
		})
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
			// The rest is the root, the journal, lost+found, and the one block of the
			// resize inode that isn't room for descriptors.
			want := int64(0)
			for _, in := range []string{"<2>", "<8>", "<11>"} {
				_, list, _ := strings.Cut(run(t, "debugfs", "-R", "blocks "+in, path), "\n") // below its version
				want += int64(len(strings.Fields(list))) * 1024
			}
			if f.accounting.compat&0x10 != 0 { // resize_inode
				want += 1024
			}
			debugfs(t, path, "feature needs_recovery")
			for n := range f.groups() {
				overwrite(t, path, bitmapOf(t, f, n)*1024, string(make([]byte, 1024)))
			}
			f, _, _ = openImage(t, path)
			rs, err := unused(f)
			if err != nil {
				t.Fatal(err)
			}
			files := int64(0)
			for n := range f.groups() {
				files += usedIn(f, n, clean) - usedIn(f, n, rs)
			}
			if files != want {
				t.Errorf("%d bytes of it aren't metadata; want %d", files, want)
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
