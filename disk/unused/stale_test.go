package unused

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/disk"
)

// put writes bytes at an offset of a disk.
func put(t *testing.T, path string, at int64, b string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(b), at); err != nil {
		t.Fatal(err)
	}
}

// mbrSlot is one of the four descriptions in an MBR, in sectors.
func mbrSlot(kind byte, start, count uint32) string {
	b := make([]byte, 16)
	b[4] = kind
	binary.LittleEndian.PutUint32(b[8:], start)
	binary.LittleEndian.PutUint32(b[12:], count)
	return string(b)
}

// TestFindForeignTable: where another table than the disk's own says what lies where, all
// counts as used.
func TestFindForeignTable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		table string // four slots from byte 446 on
		why   string
	}{
		// boot1 of FreeBSD, on a disk that is "dangerously dedicated": whatever its size, the
		// table has one slice of 50,000 sectors that begins at sector 0.
		"FreeBSD's, dedicated": {strings.Repeat("\x00", 48) + mbrSlot(0xa5, 0, 50000), "begins at the disk's first sector"},
		"one from sector 0":    {mbrSlot(0x83, 0, 20480), "begins at the disk's first sector"},
		// The bounds of OpenBSD's part of the disk are in its own label (disklabel -E, b).
		"OpenBSD's": {mbrSlot(0xa6, 64, 20480), "a label of its own"},
		"NetBSD's":  {mbrSlot(0x83, 2048, 2048) + mbrSlot(0xa9, 8192, 20480), "a label of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := blank(t, 60*mib)
			zero(t, path, 0, 4096)
			put(t, path, 446, tt.table)
			put(t, path, 510, "\x55\xaa")
			found := find(t, path)
			if n := found.Masks[0].Unused(); n != 0 || len(found.Spaces) != 1 || !strings.Contains(found.Spaces[0].Why, tt.why) {
				t.Errorf("%d bytes unused, %+v; want none: %q", n, found.Spaces, tt.why)
			}
		})
	}
}

// TestFindStaleSwap: an old header of swap isn't swap where something else is there now.
func TestFindStaleSwap(t *testing.T) {
	t.Parallel()
	const at, size = mib, 40 * mib
	for name, tt := range map[string]struct {
		change func(t *testing.T, path string)
		why    string
	}{
		// Windows' and old tools' tables take the first sector alone: the disk of a VM that
		// runs in this one, or what BSD's successors put in their partitions.
		"a partition table": {func(t *testing.T, path string) {
			t.Helper()
			put(t, path, at+446, mbrSlot(7, 63, 60000))
			put(t, path, at+510, "\x55\xaa")
		}, "partition table in it"},
		// pvcreate writes four sectors and from byte 4096 on. In encryption without a header
		// here (plain, or LUKS with it elsewhere) it can't find the old swap, nor is it found.
		"an encrypted physical volume": {func(t *testing.T, path string) {
			t.Helper()
			put(t, path, at, strings.Repeat("\x93\x1f\xa2\x5b\xd7\x0c\x66\xe9", 2048/8))
			put(t, path, at+4096, strings.Repeat("\xc3\x47\x8d\x10\x2e\xf6\x9b\x51", mib/8))
		}, "its header makes no sense"},
		"one that is too long": {func(t *testing.T, path string) {
			t.Helper()
			put(t, path, at+1028, "\x00\x28\x00\x00") // the last page: 10240, one too many
		}, "more than there is room for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := blank(t, 60*mib)
			zero(t, path, 0, mib)
			tool(t, "label: dos\n1M 40M 83\n", "sfdisk", "--quiet", "--no-reread", path)
			within(t, path, at, size, "mkswap", "@")
			if s := find(t, path).Spaces[0]; s.Content != "swap" || s.Unused != size-64<<10 {
				t.Fatalf("before: %+v; want swap", s)
			}
			tt.change(t, path)
			if s := find(t, path).Spaces[0]; s.Unused != 0 || !strings.Contains(s.Why, tt.why) {
				t.Errorf("%+v; want all of it used: %q", s, tt.why)
			}
		})
	}
}

// TestFindHibernated: a system that sleeps knows of pages in other swap and of blocks that
// no file system's map has yet.
func TestFindHibernated(t *testing.T) {
	t.Parallel()
	first, second := blank(t, 60*mib), blank(t, 60*mib)
	zero(t, first, 0, mib)
	tool(t, "label: dos\n1M 20M 82\n22M 20M 83\n", "sfdisk", "--quiet", "--no-reread", first)
	within(t, first, mib, 20*mib, "mkswap", "@")
	within(t, first, 22*mib, 20*mib, "mkfs.ext4", "-q", "-F", "@")
	within(t, second, 0, 60*mib, "mkswap", "@")
	put(t, second, 4086, "S1SUSPEND\x00")
	found := find(t, first, second)
	for i, m := range found.Masks {
		if n := m.Unused(); n != 0 {
			t.Errorf("of disk %d %d bytes are unused; want none", i, n)
		}
	}
	for _, s := range found.Spaces {
		if s.Used != s.Size || !strings.Contains(s.Why, "hibernated") {
			t.Errorf("%+v; want all of it used: hibernated", s)
		}
	}
}

// TestFindHibernatedBeside: a system sleeps also where something else is to be seen beside
// its swap: it is a mirror's member, or there is a table.
func TestFindHibernatedBeside(t *testing.T) {
	t.Parallel()
	for name, beside := range map[string]func(t *testing.T, path string){
		"a mirror's superblock": func(t *testing.T, path string) {
			t.Helper()
			put(t, path, 60*mib-64<<10, "\xfc\x4e\x2b\xa9\x00\x00\x00\x00\x5a\x00\x00\x00")
		},
		"an old Btrfs": func(t *testing.T, path string) { t.Helper(); put(t, path, 64<<10+64, "_BHRfS_M") },
		"a partition table": func(t *testing.T, path string) {
			t.Helper()
			put(t, path, 446, mbrSlot(0x83, 2048, 60000))
			put(t, path, 510, "\x55\xaa")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := blank(t, 60*mib), blank(t, 60*mib)
			within(t, first, 0, 60*mib, "mkfs.ext4", "-q", "-F", "@")
			within(t, second, 0, 60*mib, "mkswap", "@")
			beside(t, second)
			if n := find(t, first, second).Masks[0].Unused(); n == 0 {
				t.Fatal("nothing is unused; the test wants that while no system sleeps")
			}
			put(t, second, 4086, "S1SUSPEND\x00")
			for i, m := range find(t, first, second).Masks {
				if n := m.Unused(); n != 0 {
					t.Errorf("of disk %d %d bytes are unused; want none", i, n)
				}
			}
		})
	}
}

// TestFindHibernatedVolume: a system sleeps also in swap on stripes, and in a volume that is
// a part of another, as a mirror's leg is.
func TestFindHibernatedVolume(t *testing.T) {
	t.Parallel()
	backup := filepath.Join(t.TempDir(), "vg")
	for name, commands := range map[string][][]string{
		"stripes": {volume("swap", "20m", "-i", "2")},
		"a part": {
			volume("swap", "20m", "@0"),
			{"vgcfgbackup", "-q", "-f", backup, "vg"},
			{"sh", "-c", `sed -i 's/, "VISIBLE"//' "$0"`, backup},
			{"vgcfgrestore", "-q", "-f", backup, "vg"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second, other := blank(t, 64*mib), blank(t, 64*mib), blank(t, 60*mib)
			within(t, other, 0, 60*mib, "mkfs.ext4", "-q", "-F", "@")
			group(t, []disk.Range{{Length: 64 * mib}, {Length: 64 * mib}}, []string{first, second}, append([][]string{
				{"pvcreate", "-y", "-q", "@0"}, {"pvcreate", "-y", "-q", "@1"}, {"vgcreate", "-q", "-s", "1m", "vg", "@0", "@1"},
			}, commands...)...)
			within(t, first, mib, 10*mib, "mkswap", "@")
			if n := find(t, first, second, other).Masks[2].Unused(); n == 0 {
				t.Fatal("nothing is unused; the test wants that while no system sleeps")
			}
			put(t, first, mib+4086, "S1SUSPEND\x00")
			for i, m := range find(t, first, second, other).Masks {
				if n := m.Unused(); n != 0 {
					t.Errorf("of disk %d %d bytes are unused; want none", i, n)
				}
			}
		})
	}
}

// TestFindSplit: two physical volumes whose metadata went its own way in one step each (a
// disk that was reverted alone) have the same number in sequence, but not one group.
func TestFindSplit(t *testing.T) {
	t.Parallel()
	first, second := blank(t, 64*mib), blank(t, 64*mib)
	cat := func(from, to string) []string { return []string{"sh", "-c", `cat "$0" >"$1"`, from, to} }
	group(t, []disk.Range{{Length: 64 * mib}, {Length: 64 * mib}}, []string{first, second},
		[]string{"pvcreate", "-y", "-q", "@0"}, []string{"pvcreate", "-y", "-q", "@1"},
		[]string{"vgcreate", "-q", "-s", "1m", "vg", "@0", "@1"},
		cat(first, first+".base"), cat(second, second+".base"),
		volume("here", "20m", "@0"),
		cat(first, first+".one"), cat(first+".base", first), cat(second+".base", second),
		volume("there", "20m", "@1"),
		cat(first+".one", first))
	for _, s := range find(t, first, second).Spaces {
		if s.Unused != 0 || !strings.Contains(s.Why, "isn't what the other physical volumes of vg have") {
			t.Errorf("%+v; want all of it used", s)
		}
	}
}

// TestFindClaimed: a physical volume without metadata of its own that two groups claim is
// neither's.
func TestFindClaimed(t *testing.T) {
	t.Parallel()
	paths := []string{blank(t, 64*mib), blank(t, 64*mib), blank(t, 64*mib)}
	cat := func(from, to string) []string { return []string{"sh", "-c", `cat "$0" >"$1"`, from, to} }
	all := disk.Range{Length: 64 * mib}
	group(t, []disk.Range{all, all, all}, paths,
		[]string{"pvcreate", "-y", "-q", "@0", "@2"}, []string{"pvcreate", "-y", "-q", "--metadatacopies", "0", "@1"},
		[]string{"vgcreate", "-q", "-s", "1m", "other", "@2", "@1"}, cat(paths[2], paths[2]+".other"),
		[]string{"vgreduce", "-q", "other", "@1"},
		[]string{"vgcreate", "-q", "-s", "1m", "vg", "@0", "@1"},
		volume("there", "20m", "@1"), cat(paths[2]+".other", paths[2]))
	for i, m := range find(t, paths...).Masks {
		if n := m.Unused(); n != 0 {
			t.Errorf("of disk %d %d bytes are unused; want none", i, n)
		}
	}
}

// TestFindGrown: on a disk that was grown the second GPT is where the end was, until a tool
// moves it: it stays, with what is around it.
func TestFindGrown(t *testing.T) {
	t.Parallel()
	path := blank(t, 60*mib)
	zero(t, path, 0, mib)
	tool(t, "label: gpt\n1M 8M L\n", "sfdisk", "--quiet", "--no-reread", path)
	if err := os.Truncate(path, 100*mib); err != nil {
		t.Fatal(err)
	}
	want(t, find(t, path), [][]disk.Range{{
		{Offset: 10 * mib, Length: 49*mib - 33*512},
		{Offset: 61*mib - 33*512, Length: 38*mib + 33*512},
	}}, []Space{
		{Where: "scsi0:0 partition 1", Size: 8 * mib, Why: "what it holds isn't known"},
		{Where: "scsi0:0, between partitions", Size: 87 * mib, Unused: 87 * mib},
	})
}

// TestFindCovered: an extended partition may have a primary one inside it. What is in it
// behind that one isn't free.
func TestFindCovered(t *testing.T) {
	t.Parallel()
	path := blank(t, 60*mib)
	zero(t, path, 0, mib)
	const sectors = mib / 512
	put(t, path, 446, mbrSlot(5, 2*sectors, 38*sectors)+mbrSlot(0x83, 4*sectors, 2*sectors))
	put(t, path, 510, "\x55\xaa")
	for at, slots := range map[int64]string{
		2 * mib:  mbrSlot(0x83, sectors, sectors/2) + mbrSlot(5, 18*sectors, 12*sectors),
		20 * mib: mbrSlot(0x83, sectors, 8*sectors),
	} {
		zero(t, path, at, 512)
		put(t, path, at+446, slots)
		put(t, path, at+510, "\x55\xaa")
	}
	got := ranges(t, find(t, path).Masks[0])
	if diff := cmp.Diff([]disk.Range{{Offset: 41 * mib, Length: 18 * mib}}, got); diff != "" {
		t.Errorf("mask (-want +got):\n%s", diff)
	}
}
