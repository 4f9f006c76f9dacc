package extfs

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/disk"
)

// groups calls do for each group.
func groups(tb testing.TB, f *FS, do func(group) error) error {
	tb.Helper()
	for w, err := range f.windows(tb.Context()) {
		if err != nil {
			return err
		}
		for i := range w.len() {
			if err := do(w.at(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// bitmapOf is the block of a group's bitmap.
func bitmapOf(tb testing.TB, f *FS, number int64) (block int64) {
	tb.Helper()
	err := groups(tb, f, func(g group) error {
		if g.number == number {
			block = g.bitmap
		}
		return nil
	})
	if block == 0 || err != nil {
		tb.Fatalf("bitmap of group %d: block %d, %v", number, block, err)
	}
	return block
}

// swap exchanges two bits of a group's bitmap, a used one and one that isn't.
func swap(t *testing.T, path string, number int64) {
	t.Helper()
	f, _, _ := openImage(t, path)
	block, n := bitmapOf(t, f, number), f.accounting.clusters
	b, err := f.block(block, 0, n/8)
	if err != nil {
		t.Fatal(err)
	}
	used, free := bitmap(b).next(0, n, true), bitmap(b).next(0, n, false)
	b[used/8] ^= 1 << (used % 8)
	b[free/8] ^= 1 << (free % 8)
	overwrite(t, path, block*f.blockSize, string(b))
}

// TestUntrusted: what speaks against a file system's bitmaps is said.
func TestUntrusted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, kind, features string
		size                 string // 64M unless given
		debugfs              []string
		swapped              bool   // bits of a bitmap
		overwritten          int64  // 4 bytes there
		want                 string // "" for trusted
		format               bool   // makes no sense
	}{
		{name: "nothing", kind: "ext4"},
		{name: "mounted", kind: "ext2", debugfs: []string{"ssv state 0"}, want: "it wasn't unmounted and has no journal"},
		{name: "faults noted", kind: "ext4", debugfs: []string{"ssv state 3"}, want: "a kernel that had it mounted found errors in it"},
		{name: "orphans", kind: "ext4", debugfs: []string{"ssv last_orphan 12"}, want: "files that were deleted while they were open are still to be freed"},
		{name: "orphans in their file", kind: "ext4", debugfs: []string{"feature orphan_present"}, want: "files that were deleted while they were open are still to be freed"},
		{name: "compatible feature", kind: "ext4", debugfs: []string{"feature FEATURE_C20"}, want: "it has features that aren't known here (0x100000, 0x0, 0x0)"},
		{name: "incompatible feature", kind: "ext4", debugfs: []string{"feature FEATURE_I20"}, want: "it has features that aren't known here (0x0, 0x100000, 0x0)"},
		{name: "feature of writers", kind: "ext4", debugfs: []string{"feature FEATURE_R20"}, want: "it has features that aren't known here (0x0, 0x0, 0x100000)"},
		{name: "shared blocks", kind: "ext4", debugfs: []string{"feature shared_blocks"}, want: "it has features that aren't known here (0x0, 0x0, 0x4000)"},
		{name: "superblock", kind: "ext4", overwritten: superOffset + superSum, want: "the checksum of its superblock is wrong"},
		{name: "descriptor", kind: "ext4", debugfs: []string{"set_bg 1 free_blocks_count 5"}, want: "the checksum of the descriptor of group 1 is wrong"},
		{name: "count", kind: "ext4", features: "^metadata_csum,^uninit_bg", debugfs: []string{"set_bg 1 free_blocks_count 5"}, want: "the bitmap of group 1 has 7934 clusters free, its descriptor 5"},
		{name: "count of a group without bitmap", kind: "ext4", debugfs: []string{"set_bg 6 free_blocks_count 5", "set_bg 6 checksum calc"}, want: "the bitmap of group 6 has 8192 clusters free, its descriptor 5"},
		{name: "bitmap", kind: "ext4", swapped: true, want: "the checksum of the bitmap of group 0 is wrong"},
		{name: "bitmap, 32 bits", kind: "ext4", features: "^64bit", swapped: true, want: "the checksum of the bitmap of group 0 is wrong"},
		{name: "bitmap outside", kind: "ext4", features: "^metadata_csum,^uninit_bg", debugfs: []string{"set_bg 1 block_bitmap 99999"}, want: "malformed ext file system: bitmap or inodes of group 1 at block 99999 of 65536", format: true},
		{name: "inodes outside", kind: "ext4", features: "^metadata_csum,^uninit_bg", debugfs: []string{"set_bg 1 inode_table 65535"}, want: "malformed ext file system: bitmap or inodes of group 1 at block 65535 of 65536", format: true},
		{name: "count beyond", kind: "ext2", debugfs: []string{"set_bg 1 free_blocks_count 9000"}, want: "malformed ext file system: group 1 has 9000 clusters free", format: true},
		{name: "clusters", kind: "ext4", debugfs: []string{"ssv clusters_per_group 8184", "feature bigalloc"}, want: "malformed ext file system: groups of 8192 blocks and 8184 clusters of 1 blocks", format: true},
		{name: "journal forgotten", kind: "ext4", debugfs: []string{"jo", "jw -b 9000 /dev/zero", "jc", "feature ^needs_recovery"}, want: "its journal holds changes, though the superblock says that it doesn't"},
		{name: "needs recovery without a journal", kind: "ext2", debugfs: []string{"feature needs_recovery"}, want: "it wasn't unmounted, and its journal isn't in it"},
		{name: "external journal", kind: "ext4", debugfs: []string{"feature needs_recovery", "ssv journal_dev 0x801"}, want: "it wasn't unmounted, and its journal isn't in it"},
		{name: "flag without sums", kind: "ext4", features: "^metadata_csum,^uninit_bg", debugfs: []string{"set_bg 2 flags 2"}},
		{name: "bitmap of two groups", kind: "ext4", features: "^metadata_csum,^uninit_bg", debugfs: []string{"feature needs_recovery", "set_bg 6 block_bitmap 261"}, want: "malformed ext file system: block 261 is the bitmap of two groups", format: true},
		{name: "journal that doesn't pay", kind: "ext3", size: "2100K", debugfs: []string{"feature needs_recovery"}, want: "its journal is larger than the free space that it may tell of"},
		{name: "external journal, unmounted", kind: "ext4", debugfs: []string{"ssv journal_dev 0x801"}},
		{name: "fast commits", kind: "ext4", features: "fast_commit", debugfs: []string{"feature needs_recovery"}, want: "it wasn't unmounted, and its journal has fast commits, which tell nothing of bitmaps"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := makeImage(t, cmp.Or(tt.size, "64M"), "-t", tt.kind, "-b", "1024", "-O", tt.features)
			if len(tt.debugfs) > 0 {
				debugfs(t, path, tt.debugfs...)
			}
			if tt.swapped {
				swap(t, path, 0)
			}
			if tt.overwritten > 0 {
				overwrite(t, path, tt.overwritten, "\x00\x01\x02\x03")
			}
			f, _, _ := openImage(t, path)
			rs, err := unused(f)
			var untrusted *disk.UntrustedError
			switch {
			case tt.want == "":
				if err != nil || len(rs) == 0 {
					t.Errorf("Unused = %d runs, %v; want some", len(rs), err)
				}
			case err == nil || err.Error() != tt.want || errors.As(err, &untrusted) == tt.format || errors.Is(err, ErrFormat) != tt.format:
				t.Errorf("Unused: %v; want %s", err, tt.want)
			}
		})
	}
}

// debugfs has it do something, in one go.
func debugfs(tb testing.TB, path string, commands ...string) {
	tb.Helper()
	script := filepath.Join(tb.TempDir(), "commands")
	if err := os.WriteFile(script, []byte(strings.Join(commands, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	run(tb, "debugfs", "-w", "-f", script, path)
}

// torn is a reader that fails once it has read some times.
type torn struct {
	io.ReaderAt
	left int
	then func()
	err  error
}

func (r *torn) ReadAt(p []byte, off int64) (int, error) {
	if r.left--; r.left < 0 {
		if r.then != nil {
			r.then()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	return r.ReaderAt.ReadAt(p, off)
}

// TestUnusedInterrupted: an error of reading is passed on, wherever it comes, and
// so is the context's.
func TestUnusedInterrupted(t *testing.T) {
	t.Parallel()
	clean := makeImage(t, "64M", "-t", "ext3", "-b", "1024")
	dirty := makeImage(t, "64M", "-t", "ext3", "-b", "1024")
	debugfs(t, dirty, "feature needs_recovery")
	broken := errors.New("broken")
	for name, path := range map[string]string{"clean": clean, "dirty": dirty} {
		fine := 0
		for n := 1; fine == 0; n++ { // the first is Open's
			_, file, size := openImage(t, path)
			ctx, cancel := context.WithCancel(t.Context())
			for _, r := range []*torn{{ReaderAt: file, left: n, err: broken}, {ReaderAt: file, left: n, then: cancel}} {
				f, err := Open(r, size)
				if err != nil {
					t.Fatal(err)
				}
				for _, err = range f.Unused(ctx) {
				}
				var untrusted *disk.UntrustedError
				want := broken
				if r.err == nil {
					want = context.Canceled
				}
				switch {
				case r.left >= 0:
					if fine++; err != nil {
						t.Errorf("%s: %v", name, err)
					}
				case r.err == nil && r.left == -1: // that was the last of its kind to be read
				case !errors.Is(err, want) || errors.Is(err, ErrFormat) || errors.As(err, &untrusted):
					t.Errorf("%s, read %d: %v; want %v", name, n, err, want)
				}
			}
			cancel()
		}
		if fine != 2 {
			t.Errorf("%s: %d of 2 were read to the end", name, fine)
		}
	}
}

// TestUnusedStops: who has enough gets no more.
func TestUnusedStops(t *testing.T) {
	t.Parallel()
	f, _, _ := openImage(t, makeImage(t, "64M", "-t", "ext4", "-b", "1024"))
	n := 0
	for range f.Unused(t.Context()) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d runs; want 1", n)
	}
}
